//! An agent that does nothing but what a bench needs: it answers each message
//! with one line, so that a round trip is the relay's time and not its own, or
//! writes many lines with noise on stderr beside them.

use std::io::{self, BufRead as _, Write};
use std::thread;

use crate::Outcome;

/// Its answer. With what stands around it this is a frame of
/// [`ECHO_FRAME_BYTES`].
const ECHO: &str = r#"{"type":"assistant","echo":true}"#;

/// The payload that the client gets for one answer.
pub(crate) const ECHO_FRAME_BYTES: usize = ECHO.len() + super::client::ENVELOPE_BYTES;

/// The text of a message that asks for lines and noise.
pub(crate) fn noise(lines: u64, size: usize, stderr_mib: usize) -> String {
    format!("noise {lines} {size} {stderr_mib}")
}

/// The text of a message that asks for lines, each in a write of its own.
pub(crate) fn lines(count: u64, size: usize) -> String {
    format!("lines {count} {size}")
}

pub(crate) fn run() -> Outcome {
    let mut out = rustix::io::dup(io::stdout()).map(std::fs::File::from)?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.contains("control_request") {
            continue;
        }
        if let Some(numbers) = numbers(&line, "lines ")? {
            let [count, size] = numbers[..] else { return Err("lines COUNT SIZE".into()) };
            let line = line_of(size);
            for _ in 0..count {
                out.write_all(line.as_bytes())?;
            }
        }
        let Some(numbers) = numbers(&line, "noise ")? else {
            out.write_all(ECHO.as_bytes())?;
            out.write_all(b"\n")?;
            continue;
        };
        let [lines, size, mib] = numbers[..] else { return Err("noise LINES SIZE MIB".into()) };
        let noise = thread::spawn(move || shout(mib));
        let line = line_of(size);
        let block = line.repeat((64 << 10) / line.len() + 1);
        let in_block = block.len() / line.len();
        let mut left = lines;
        while left > 0 {
            let now = left.min(in_block);
            out.write_all(&block.as_bytes()[..now * line.len()])?;
            left -= now;
        }
        noise.join().map_err(|_| "the noise has failed")??;
    }
    Ok(())
}

/// The numbers behind `word` in a message.
fn numbers(message: &str, word: &str) -> Outcome<Option<Vec<usize>>> {
    let asked = message.split_once(word).and_then(|(_, rest)| rest.split_once('"'));
    let Some((numbers, _)) = asked else { return Ok(None) };
    Ok(Some(numbers.split(' ').map(str::parse).collect::<Result<_, _>>()?))
}

/// A line of `size` bytes and its newline.
fn line_of(size: usize) -> String {
    format!("{{\"type\":\"assistant\",\"x\":\"{}\"}}\n", "x".repeat(size - 27))
}

fn shout(mib: usize) -> io::Result<()> {
    let block = format!("{}\n", "noise ".repeat(21)).repeat(512);
    let mut left = mib << 20;
    let mut out = io::stderr();
    while left > 0 {
        let now = left.min(block.len());
        out.write_all(&block.as_bytes()[..now])?;
        left -= now;
    }
    Ok(())
}
