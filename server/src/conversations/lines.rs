//! The lines of a transcript.

use std::borrow::Cow;
use std::io::{self, BufRead};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// Longest line that is read. A longer one is skipped.
const LINE_BYTES: usize = 64 << 20;

/// The fields of a line that count.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Line<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) uuid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) parent_uuid: Option<Cow<'a, str>>,
    pub(crate) is_sidechain: Option<bool>,
    pub(crate) is_meta: Option<bool>,
    pub(crate) is_compact_summary: Option<bool>,
    pub(crate) team_name: Option<IgnoredAny>,
    #[serde(borrow)]
    pub(crate) cwd: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) timestamp: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) message: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) custom_title: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) ai_title: Option<Cow<'a, str>>,
    #[serde(rename = "totalCostUSD")]
    pub(crate) total_cost_usd: Option<f64>,
}

impl<'a> Line<'a> {
    /// Reads a line; `None` for one that is not understood.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Returns true for what belongs to the conversation itself, and not to a
    /// sub-agent.
    pub(crate) fn is_own(&self) -> bool {
        self.is_sidechain != Some(true) && self.team_name.is_none()
    }

    /// Returns true for a message that people see.
    pub(crate) fn is_message(&self) -> bool {
        matches!(self.kind.as_deref(), Some("user" | "assistant"))
            && self.is_own()
            && self.is_meta != Some(true)
    }
}

/// Reads line by line, with the place of each.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    line: Vec<u8>,
    /// Bytes read so far.
    pub(crate) read: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, line: Vec::new(), read: 0 }
    }

    /// Returns the next line without its end, and where it begins.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        loop {
            let begin = self.read;
            let mut is_whole = true;
            self.line.clear();
            loop {
                let available = self.reader.fill_buf()?;
                if available.is_empty() {
                    break;
                }
                let end = memchr::memchr(b'\n', available);
                let part = end.map_or(available.len(), |end| end + 1);
                if self.line.len() + part > LINE_BYTES {
                    is_whole = false;
                    self.line.clear();
                }
                if is_whole {
                    self.line.extend_from_slice(&available[..part]);
                }
                self.reader.consume(part);
                self.read += part as u64;
                if end.is_some() {
                    break;
                }
            }
            if self.read == begin {
                return Ok(None);
            }
            if is_whole {
                break;
            }
        }
        let begin = self.read - self.line.len() as u64;
        Ok(Some((begin, self.line.trim_ascii_end())))
    }
}
