//! What goes out on stdout, in blocks as large as they come.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;

use serde::Deserialize;
use serde_json::Value;

/// Lines are collected up to this many bytes, then written at once. Whoever
/// waits for anything flushes first, so nothing lies here for long.
const BLOCK_BYTES: usize = 64 << 10;

/// The size asked for the pipe behind stdout, the most that Linux gives to
/// everybody: each write then moves as much as possible.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1 << 20;

/// How the bytes are cut into writes.
#[derive(Clone, Copy, Default)]
pub(super) enum Cut {
    /// As few writes as possible.
    #[default]
    Block,
    /// One for each line.
    Line,
    /// One for each so many bytes.
    Bytes(usize),
}

/// A standard stream, to be closed by a script.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// The agent's stdout.
pub(super) struct Output {
    // A duplicate of the descriptor, because the standard library's handle
    // looks for line ends and writes at each of them.
    file: File,
    buffer: Vec<u8>,
    pub(super) cut: Cut,
}

impl Output {
    /// Takes stdout over.
    ///
    /// # Errors
    ///
    /// When stdout cannot be duplicated, which is when it is closed.
    pub(super) fn stdout() -> io::Result<Self> {
        let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        #[cfg(target_os = "linux")]
        // Only a matter of speed, and refused where stdout is no pipe.
        let _ = rustix::pipe::fcntl_setpipe_size(&file, PIPE_BYTES);
        Ok(Self { file, buffer: Vec::new(), cut: Cut::Block })
    }

    /// Adds a line of JSON.
    pub(super) fn line(&mut self, line: &Value) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, line)?;
        self.buffer.push(b'\n');
        self.settle()
    }

    /// Adds bytes as they are, to be followed by others.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.settle()
    }

    /// Writes many lines of `line_bytes` each without copying them.
    pub(super) fn lines(&mut self, lines: &[u8], line_bytes: usize) -> io::Result<()> {
        self.flush()?;
        match self.cut {
            Cut::Block => self.file.write_all(lines),
            Cut::Line => lines.chunks(line_bytes).try_for_each(|line| self.file.write_all(line)),
            Cut::Bytes(count) => lines.chunks(count).try_for_each(|part| self.file.write_all(part)),
        }
    }

    fn settle(&mut self) -> io::Result<()> {
        if matches!(self.cut, Cut::Line) || self.buffer.len() >= BLOCK_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what has been collected.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        match self.cut {
            Cut::Block | Cut::Line => self.file.write_all(&self.buffer)?,
            Cut::Bytes(count) => {
                self.buffer.chunks(count).try_for_each(|part| self.file.write_all(part))?;
            }
        }
        self.buffer.clear();
        self.buffer.shrink_to(BLOCK_BYTES * 2);
        Ok(())
    }

    /// Closes stdout; whatever is written from now on goes nowhere.
    pub(super) fn close(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file = nowhere(Stream::Stdout)?;
        Ok(())
    }
}

/// Puts `/dev/null` in the place of a standard stream, which closes it, and
/// returns it.
pub(super) fn nowhere(stream: Stream) -> io::Result<File> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    match stream {
        Stream::Stdin => rustix::stdio::dup2_stdin(&null)?,
        Stream::Stdout => rustix::stdio::dup2_stdout(&null)?,
        Stream::Stderr => rustix::stdio::dup2_stderr(&null)?,
    }
    Ok(null)
}

/// Writes a line to stderr. That nobody reads it is no reason to stop.
pub(super) fn stderr(text: &str) {
    let mut line = text.to_owned();
    if !line.ends_with('\n') {
        line.push('\n');
    }
    let _ = io::stderr().write_all(line.as_bytes());
}
