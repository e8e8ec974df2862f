//! An agent that does nothing but what a bench needs: it answers each message
//! with one line, so that a round trip is the relay's time and not its own, or
//! writes many lines: in pieces, at a pace, with noise on stderr beside them.

use std::io::{self, BufRead as _, Write};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::Outcome;

/// Its answer. With what stands around it on `/ws` this is a frame of
/// [`ECHO_FRAME_BYTES`].
const ECHO: &str = r#"{"type":"assistant","echo":true}"#;

/// The payload that the client gets for one answer.
pub(crate) const ECHO_FRAME_BYTES: usize = ECHO_BYTES + super::client::ENVELOPE_BYTES;

/// Size of the answer alone.
pub(crate) const ECHO_BYTES: usize = ECHO.len();

/// The text of a message that asks for lines and noise.
pub(crate) fn noise(lines: u64, size: usize, stderr_mib: usize) -> String {
    format!("noise {lines} {size} {stderr_mib}")
}

/// The text of a message that asks for lines, `piece` bytes in a write; 0 stands
/// for a write for each line.
pub(crate) fn lines(count: u64, size: usize, piece: usize) -> String {
    format!("lines {count} {size} {piece}")
}

/// The text of a message that asks for lines one by one, so many a second. Each
/// begins with [`STAMP`] and the time of its write.
pub(crate) fn paced(count: u64, size: usize, per_second: u64) -> String {
    format!("paced {count} {size} {per_second}")
}

/// What stands before the time in a paced line. Ten digits of seconds and nine
/// of nanoseconds follow.
pub(crate) const STAMP: &str = r#"{"type":"assistant","at":""#;

/// Returns the time of the clock that agent and client share.
pub(crate) fn now() -> Duration {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
}

pub(crate) fn run() -> Outcome {
    let mut out = rustix::io::dup(io::stdout()).map(std::fs::File::from)?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        if line.contains("control_request") {
            continue;
        }
        if let Some(numbers) = numbers(&line, "lines ")? {
            let [count, size, piece] = numbers[..] else {
                return Err("lines COUNT SIZE PIECE".into());
            };
            write_lines(&mut out, count, &line_of(size), piece)?;
        }
        if let Some(numbers) = numbers(&line, "paced ")? {
            let [count, size, rate] = numbers[..] else {
                return Err("paced COUNT SIZE RATE".into());
            };
            write_paced(&mut out, count, size, rate)?;
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

fn write_lines(out: &mut impl Write, count: usize, line: &str, piece: usize) -> io::Result<()> {
    if piece == 0 {
        return (0..count).try_for_each(|_| out.write_all(line.as_bytes()));
    }
    // A piece begins anywhere in a line, as those of a program with a buffer do.
    let block = line.repeat(piece / line.len() + 2);
    let (mut left, mut at) = (count * line.len(), 0);
    while left > 0 {
        let now = left.min(piece);
        out.write_all(&block.as_bytes()[at..at + now])?;
        left -= now;
        at = (at + now) % line.len();
    }
    Ok(())
}

fn write_paced(out: &mut impl Write, count: usize, size: usize, rate: usize) -> io::Result<()> {
    let between = Duration::from_secs(1) / u32::try_from(rate.max(1)).unwrap_or(u32::MAX);
    let mut next = now();
    for _ in 0..count {
        next += between;
        thread::sleep(next.saturating_sub(now()));
        let at = now();
        let stamp = format!("{STAMP}{:010}{:09}\",\"x\":\"", at.as_secs(), at.subsec_nanos());
        let rest = "x".repeat(size - stamp.len() - 2);
        out.write_all(format!("{stamp}{rest}\"}}\n").as_bytes())?;
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
