//! Limit of the lines that one statement of the program may log. Many of them
//! follow what a client, an unauthenticated peer or the agent does, at any rate.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use tracing::Level;

use super::LogFormat;

/// Maximum number of lines of one statement in each [`INTERVAL`]: some 100 KiB.
/// An operator who asks for `debug` or `trace` gets those whole.
const LINES: u32 = 600;

/// Time after which a statement may log again.
const INTERVAL: Duration = Duration::from_secs(60);

/// Lines that each statement of the program has logged.
#[derive(Debug)]
pub(super) struct LineLimit<S>(HashMap<S, Logged>);

#[derive(Debug)]
struct Logged {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl<S> Default for LineLimit<S> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<S: Eq + Hash> LineLimit<S> {
    /// Counts a line of a statement. Returns `None` if it is left out, otherwise
    /// the number of lines that have been since the last one.
    pub(super) fn count(&mut self, statement: S, level: Level, now: Instant) -> Option<u64> {
        if level > Level::INFO {
            return Some(0);
        }
        let new = Logged { since: now, lines: 0, left_out: 0 };
        let logged = self.0.entry(statement).or_insert(new);
        if now.duration_since(logged.since) >= INTERVAL {
            (logged.since, logged.lines) = (now, 0);
        }
        if logged.lines == LINES {
            logged.left_out += 1;
            return None;
        }
        logged.lines += 1;
        Some(std::mem::take(&mut logged.left_out))
    }
}

/// Writes before the end of `line` that so many were left out.
pub(super) fn tell(line: &mut Vec<u8>, left_out: u64, format: LogFormat) {
    let (end, text) = match format {
        LogFormat::Text => ("\n", format!(" ({left_out} more of this kind were left out before)")),
        LogFormat::Json => ("}\n", format!(r#","left_out":{left_out}"#)),
    };
    if line.ends_with(end.as_bytes()) {
        line.truncate(line.len() - end.len());
        line.extend(text.bytes().chain(end.bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_logs_so_many_lines_a_minute_and_tells_of_those_left_out() {
        let mut limit = LineLimit::default();
        let start = Instant::now();
        let mut count = |statement, level, now| limit.count(statement, level, now);
        for _ in 0..LINES {
            assert_eq!(count(1, Level::INFO, start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(count(1, Level::INFO, start), None);
        }
        assert_eq!(count(2, Level::WARN, start), Some(0), "another statement has its own");
        assert_eq!(count(1, Level::DEBUG, start), Some(0), "who asks for these gets all");
        assert_eq!(count(1, Level::INFO, start + INTERVAL), Some(7));
        assert_eq!(count(1, Level::INFO, start + INTERVAL), Some(0));
    }

    #[test]
    fn a_line_tells_how_many_were_left_out_before_it() {
        let told = |line: &str, format| {
            let mut line = line.as_bytes().to_vec();
            tell(&mut line, 3, format);
            String::from_utf8(line).unwrap()
        };
        let text = told("INFO client connected\n", LogFormat::Text);
        assert_eq!(text, "INFO client connected (3 more of this kind were left out before)\n");
        let json = told("{\"level\":\"INFO\"}\n", LogFormat::Json);
        assert_eq!(json, "{\"level\":\"INFO\",\"left_out\":3}\n");
    }
}
