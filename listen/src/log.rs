//! The log, to stderr.
//!
//! The server has one thread. A log that nobody reads must not stop it, so
//! stderr gets no more than it takes at once; the rest waits, within a bound.

mod line_limit;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use line_limit::LineLimit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::callsite::Identifier;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

/// What a pipe that reports room takes without blocking: `PIPE_BUF`.
const CHUNK_BYTES: usize = 4096;

/// What waits at most for a stderr that is not read. Lines beyond it are
/// dropped, each whole.
const WAITING_BYTES: usize = 256 << 10;

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// A filter that cannot be read. The text says what is expected.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(String);

/// Starts logging what passes the filter.
///
/// # Errors
///
/// When the filter cannot be read.
pub fn start(filter: &str, format: LogFormat) -> Result<(), BadFilter> {
    let filter = self::filter(filter)?;
    let is_terminal = io::stderr().is_terminal();
    let stderr = Stderr { shared: Arc::default(), is_terminal, format };
    let layer = fmt::layer().with_writer(stderr).log_internal_errors(false);
    let layer = match format {
        LogFormat::Text => layer.with_target(false).with_ansi(is_terminal).boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).init();
    Ok(())
}

/// Reads a filter. A word alone is a level: as a target it would turn everything
/// else off.
fn filter(text: &str) -> Result<Targets, BadFilter> {
    let expected = "expected error, warn, info, debug, trace, off, or target=level pairs";
    let is_wrong = |part: &&str| !part.contains('=') && part.parse::<LevelFilter>().is_err();
    if let Some(word) = text.split(',').map(str::trim).find(is_wrong) {
        return Err(BadFilter(format!("{expected}, got {word:?}")));
    }
    text.parse().map_err(|error| BadFilter(format!("{expected}, got {text:?}: {error}")))
}

/// Writes what stderr takes at once, in order and line by line.
struct Stderr {
    shared: Arc<Mutex<Shared>>,
    /// Whether colours are among the text.
    is_terminal: bool,
    format: LogFormat,
}

#[derive(Default)]
struct Shared {
    /// Lines that stderr has not taken yet.
    waiting: VecDeque<u8>,
    limit: LineLimit<Identifier>,
}

/// Takes the lines of one statement of the program.
struct Lines<'a> {
    stderr: &'a Stderr,
    statement: Option<(Identifier, Level)>,
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Lines<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Lines { stderr: self, statement: None }
    }

    fn make_writer_for(&'a self, of: &Metadata<'_>) -> Self::Writer {
        Lines { stderr: self, statement: Some((of.callsite(), *of.level())) }
    }
}

impl Write for Lines<'_> {
    /// Takes one whole line of the log.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut shared = self.stderr.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Shared { waiting, limit } = &mut *shared;
        let left_out = match self.statement.clone() {
            Some((statement, level)) => limit.count(statement, level, Instant::now()),
            None => Some(0),
        };
        let Some(left_out) = left_out else { return Ok(line.len()) };
        let mut shown = one_line(line, self.stderr.is_terminal);
        if left_out > 0 {
            line_limit::tell(shown.to_mut(), left_out, self.stderr.format);
        }
        if waiting.len() + shown.len() <= WAITING_BYTES {
            waiting.extend(shown.iter());
        }
        let stderr = io::stderr();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        while !waiting.is_empty() {
            let mut ready = [PollFd::new(&stderr, PollFlags::OUT)];
            if !poll(&mut ready, Some(&now)).is_ok_and(|ready| ready > 0) {
                break;
            }
            let chunk = waiting.as_slices().0;
            let chunk = &chunk[..chunk.len().min(CHUNK_BYTES)];
            match stderr.lock().write(chunk) {
                Ok(written @ 1..) => drop(waiting.drain(..written)),
                // A log that has gone away is no reason to stop.
                _ => waiting.clear(),
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns `line` with its one newline at the end. What an agent or a client
/// wrote can stand in it and must be no line of its own, nor steer a terminal.
fn one_line(line: &[u8], has_colours: bool) -> Cow<'_, [u8]> {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    let steers = |byte: u8| byte.is_ascii_control() && !(has_colours && byte == 0x1b);
    if !text.iter().copied().any(steers) && text.len() < line.len() {
        return Cow::Borrowed(line);
    }
    let mut shown = Vec::with_capacity(line.len() + 8);
    for byte in text.iter().copied() {
        if steers(byte) {
            shown.extend(byte.escape_ascii());
        } else {
            shown.push(byte);
        }
    }
    shown.push(b'\n');
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_turns_nothing_off() {
        for good in ["info", "WARN", "off", "claude_relay_server=debug", "warn,hyper=trace", "3"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["warning", "verbose", "info,noise", "a=loud"] {
            let error = filter(bad).map(|_| ()).unwrap_err().to_string();
            assert!(error.contains("expected error, warn"), "{bad}: {error}");
        }
    }

    #[test]
    fn a_line_of_the_log_stays_one_line() {
        assert_eq!(&*one_line(b"plain\n", false), b"plain\n");
        let forged = b"agent: a\n2026 WARN forged\x1b[2J\r\n";
        assert_eq!(&*one_line(forged, false), b"agent: a\\n2026 WARN forged\\x1b[2J\\r\n");
        assert_eq!(&*one_line(b"\x1b[2mred\x1b[0m\tx\n", true), b"\x1b[2mred\x1b[0m\\tx\n");
    }
}
