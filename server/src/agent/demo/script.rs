//! Scripts: messages that are JSON objects.

use std::time::{Duration, Instant};

use serde::{Deserialize, de};

/// Maximum line length that `size` can ask for.
const MAX_SIZE_BYTES: usize = 256 << 20;

/// Maximum number of lines that `n` can ask for: their numbers have twelve
/// digits.
const MAX_N: u64 = 10_u64.pow(DIGITS as u32) - 1;

/// Size of the block of lines that is built once and written repeatedly.
const BLOCK_BYTES: usize = 256 << 10;

const DIGITS: usize = 12;

/// A script. The keys and their order are in the module's documentation.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Script {
    pub(super) sleep_ms: u64,
    pub(super) stderr: Option<String>,
    pub(super) permission: Option<String>,
    pub(super) echo: bool,
    /// Arbitrary data of the host, returned by `echo`.
    pub(super) note: de::IgnoredAny,
    pub(super) n: u64,
    pub(super) size: usize,
    pub(super) rate: Option<f64>,
    pub(super) exit: Option<u8>,
}

impl Script {
    /// Parses a script. Returns `None` if `text` is not a JSON object.
    ///
    /// # Errors
    ///
    /// Returns a message if the object is not a valid script.
    pub(super) fn parse(text: &str) -> Option<Result<Self, String>> {
        if !text.trim_start().starts_with('{') {
            return None;
        }
        let script = match serde_json::from_str::<Self>(text) {
            Ok(script) => script,
            // Checked only after a failure, because the text may be huge.
            Err(error) => {
                serde_json::from_str::<de::IgnoredAny>(text).ok()?;
                return Some(Err(error.to_string()));
            }
        };
        Some(match script {
            Self { n, .. } if n > MAX_N => Err(format!("n: at most {MAX_N}")),
            Self { size, .. } if size > MAX_SIZE_BYTES => {
                Err(format!("size: at most {MAX_SIZE_BYTES} bytes"))
            }
            Self { rate: Some(rate), .. } if !(rate > 0.0 && rate.is_finite()) => {
                Err("rate: more than 0 lines a second".to_owned())
            }
            script => Ok(script),
        })
    }
}

/// Numbered `assistant` lines of one exact size, which are built once and then
/// only renumbered. This makes millions of lines per second possible.
pub(super) struct Lines {
    block: Vec<u8>,
    line_bytes: usize,
    /// Positions of the number in a line.
    positions: [usize; 2],
    count: usize,
    number: [u8; DIGITS],
}

impl Lines {
    /// Creates lines of `size` bytes without the newline, or of the minimum
    /// size. `total` is the number of lines that will be needed, and `run`
    /// distinguishes the uuids from those of other scripts: 8 hex digits.
    pub(super) fn new(size: usize, total: u64, session_id: &str, run: &str) -> Self {
        let (mut line, mut positions) = (Vec::new(), [0; 2]);
        line.extend_from_slice(
            br#"{"type":"assistant","message":{"role":"assistant","content":[{"type":"text","text":""#,
        );
        positions[0] = line.len();
        line.extend_from_slice(&[b'0'; DIGITS]);
        let rest = format!(
            r#""}}]}},"parent_tool_use_id":null,"session_id":{},"uuid":"{run}-0000-4000-8000-"#,
            serde_json::Value::from(session_id)
        );
        let after = rest.len() + DIGITS + 2;
        let padding = size.saturating_sub(line.len() + after);
        line.resize(line.len() + padding, b'x');
        line.extend_from_slice(rest.as_bytes());
        positions[1] = line.len();
        line.extend_from_slice(&[b'0'; DIGITS]);
        line.extend_from_slice(b"\"}\n");
        let count = (BLOCK_BYTES / line.len()).max(1).min(total.max(1) as usize);
        Self {
            line_bytes: line.len(),
            block: line.repeat(count),
            positions,
            count,
            number: [b'0'; DIGITS],
        }
    }

    /// Returns the length of a line, including its newline.
    pub(super) fn line_bytes(&self) -> usize {
        self.line_bytes
    }

    /// Returns the next lines: as many as fit into the block, but at most
    /// `most`.
    pub(super) fn next(&mut self, most: u64) -> (&[u8], u64) {
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(self.count);
        let bytes = count * self.line_bytes;
        for line in self.block[..bytes].chunks_exact_mut(self.line_bytes) {
            for digit in self.number.iter_mut().rev() {
                if *digit < b'9' {
                    *digit += 1;
                    break;
                }
                *digit = b'0';
            }
            for at in self.positions {
                line[at..at + DIGITS].copy_from_slice(&self.number);
            }
        }
        (&self.block[..bytes], count as u64)
    }
}

/// Schedule of the lines.
pub(super) struct Schedule {
    start: Instant,
    rate: Option<f64>,
}

impl Schedule {
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self { start: Instant::now(), rate }
    }

    /// Returns the number of lines due by now; the first one is due at once.
    pub(super) fn due(&self, total: u64) -> u64 {
        match self.rate {
            Some(rate) => {
                ((self.start.elapsed().as_secs_f64() * rate) as u64).saturating_add(1).min(total)
            }
            None => total,
        }
    }

    /// Returns the time until line `number`, counted from 0, is due.
    pub(super) fn until(&self, number: u64) -> Duration {
        let at = number as f64 / self.rate.unwrap_or(f64::INFINITY);
        let at = Duration::try_from_secs_f64(at).unwrap_or(Duration::MAX);
        at.saturating_sub(self.start.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: &str = "11111111-2222-4333-8444-555555555555";

    fn parse(text: &str) -> Result<Script, String> {
        Script::parse(text).expect("a JSON object")
    }

    #[test]
    fn only_a_json_object_is_a_script() {
        for text in ["hi", "{ not json", "[1]", "5", ""] {
            assert!(Script::parse(text).is_none(), "{text}");
        }
        assert_eq!(parse(r#" {"n":3,"size":300} "#).unwrap().n, 3);
    }

    #[test]
    fn an_invalid_script_has_a_reason() {
        for (text, word) in [
            (r#"{"typo":1}"#, "typo"),
            (r#"{"n":-1}"#, "-1"),
            (r#"{"n":1000000000000}"#, "n:"),
            (r#"{"size":999999999}"#, "size"),
            (r#"{"rate":0}"#, "rate"),
            (r#"{"exit":256}"#, "256"),
        ] {
            let error = parse(text).err().expect(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn lines_have_their_size_and_count_up() {
        let smallest = Lines::new(0, 1, SESSION, "12345678").line_bytes() - 1;
        assert_eq!(smallest, 225);
        for (size, total) in [(0, 3_000), (250, 3_000), (300, 3_000), (301, 1), (1 << 20, 3)] {
            let mut lines = Lines::new(size, total, SESSION, "12345678");
            let mut number = 1;
            while number <= total {
                let (block, _) = lines.next(total + 1 - number);
                for line in block.split_inclusive(|byte| *byte == b'\n') {
                    assert_eq!(line.len() - 1, size.max(smallest));
                    let line: serde_json::Value = serde_json::from_slice(line).unwrap();
                    let text = line["message"]["content"][0]["text"].as_str().unwrap();
                    assert_eq!(text[..DIGITS].parse(), Ok(number));
                    assert_eq!(line["uuid"], format!("12345678-0000-4000-8000-{number:012}"));
                    number += 1;
                }
            }
            assert_eq!(number, total + 1);
        }
    }
}
