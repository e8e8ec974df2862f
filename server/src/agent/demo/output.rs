//! Buffered output on stdout.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use claude_relay_system as system;
use serde_json::Value;

/// Lines are buffered up to this size and written at once. Every wait is
/// preceded by a flush, so that no line stays in the buffer for long.
const BLOCK_BYTES: usize = 64 << 10;

/// Requested capacity of the pipe at stdout, which is the maximum of Linux for
/// ordinary users: each write then moves as much as possible.
const PIPE_BYTES: usize = 1 << 20;

/// The agent's stdout.
pub(super) struct Output {
    // A duplicate of the descriptor, because the standard library's handle is
    // line-buffered.
    file: File,
    buffer: Vec<u8>,
}

impl Output {
    /// Duplicates stdout.
    ///
    /// # Errors
    ///
    /// Returns an error if stdout is closed.
    pub(super) fn stdout() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        system::set_pipe_capacity(&file, PIPE_BYTES);
        Ok(Self { file, buffer: Vec::new() })
    }

    /// Adds a line of JSON.
    pub(super) fn line(&mut self, line: &Value) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, line)?;
        self.buffer.push(b'\n');
        if self.buffer.len() >= BLOCK_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes many lines without copying them.
    pub(super) fn lines(&mut self, lines: &[u8]) -> io::Result<()> {
        self.flush()?;
        self.file.write_all(lines)
    }

    /// Writes the buffer.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        self.buffer.shrink_to(BLOCK_BYTES * 2);
        Ok(())
    }
}

/// Writes a line to stderr. Errors are ignored.
pub(super) fn stderr(text: &str) {
    let mut line = text.to_owned();
    if !line.ends_with('\n') {
        line.push('\n');
    }
    let _ = io::stderr().write_all(line.as_bytes());
}
