//! Progress output on stderr: during a long task each line has the time since
//! the start.

use std::io::{self, IsTerminal, Write};
use std::time::Instant;

use claude_relay_e2b::strip_ansi::strip_ansi;

/// Writer of progress lines.
pub(crate) struct Report {
    started: Instant,
    out: Box<dyn Write + Send>,
    /// Lines have a time stamp only during a long task.
    stamped: bool,
    is_terminal: bool,
}

impl Report {
    pub(crate) fn stderr() -> Self {
        Self {
            started: Instant::now(),
            out: Box::new(io::stderr()),
            stamped: false,
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Starts the clock: from now on lines have the time since this call.
    pub(crate) fn start_clock(&mut self) {
        self.started = Instant::now();
        self.stamped = true;
    }

    /// Returns the time since the clock was started, as text.
    pub(crate) fn elapsed(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        match seconds < 60.0 {
            true => format!("{seconds:.1}s"),
            false => format!("{}m{:02}s", seconds as u64 / 60, seconds as u64 % 60),
        }
    }

    /// Prints text without terminal control sequences, which a server may send.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        let stamp = match self.stamped {
            true => format!("[{:>7}] ", self.elapsed()),
            false => String::new(),
        };
        for line in strip_ansi(text).trim_end().split('\n') {
            writeln!(self.out, "{stamp}{line}")?;
        }
        self.out.flush()
    }

    /// Prints a heading, in bold on a terminal.
    pub(crate) fn heading(&mut self, text: &str) -> io::Result<()> {
        match self.is_terminal {
            true => {
                write!(self.out, "\u{1b}[1m")?;
                self.line(text)?;
                write!(self.out, "\u{1b}[0m")?;
                self.out.flush()
            }
            false => self.line(text),
        }
    }
}
