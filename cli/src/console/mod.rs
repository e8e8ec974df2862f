//! Keys and lines that a person types.
//!
//! One [`Console`] owns its input for the life of the program, so that no byte
//! is lost between two lines, and a line can be put aside while a question is
//! answered.

mod editor;
mod history;
mod keys;
mod layout;
mod tty;

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write as _};

use tokio::sync::mpsc;

pub(crate) use self::editor::{LineEditor, Outcome};
pub(crate) use self::history::History;
pub(crate) use self::keys::Key;
use self::keys::KeyParser;
use self::tty::{RawMode, Tty};

/// Chunks that were read and not taken. The reading thread waits beyond that.
const CHUNK_CAPACITY: usize = 16;

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 1024;

/// A terminal, or a pipe in its place.
pub(crate) struct Console {
    chunks: mpsc::Receiver<Vec<u8>>,
    parser: KeyParser,
    keys: VecDeque<Key>,
    ended: bool,
    /// The screen to draw lines on; `None` for a pipe.
    screen: Option<Tty>,
    /// Keys come one by one and unechoed; without it the terminal itself edits
    /// lines.
    raw: Option<RawMode>,
}

impl Console {
    /// Opens the terminal of this program, also when stdin is a file. With
    /// `flush`, keys that were typed before are thrown away.
    pub(crate) fn terminal(flush: bool) -> io::Result<Self> {
        let tty = Tty::open()?;
        let raw = tty::understands_escapes().then(|| RawMode::enter(&tty)).transpose()?;
        if flush {
            tty.flush_input();
        }
        let chunks = read_in_thread(tty.try_clone()?);
        let parser = if raw.is_some() { KeyParser::terminal() } else { KeyParser::pipe() };
        Ok(Self { chunks, parser, keys: VecDeque::new(), ended: false, screen: Some(tty), raw })
    }

    /// Reads lines from stdin, which is not a terminal.
    pub(crate) fn pipe() -> Self {
        Self {
            chunks: read_in_thread(io::stdin()),
            parser: KeyParser::pipe(),
            keys: VecDeque::new(),
            ended: false,
            screen: None,
            raw: None,
        }
    }

    /// Returns true if stdin is a terminal that a person types on.
    pub(crate) fn stdin_is_terminal() -> bool {
        io::stdin().is_terminal()
    }

    /// The next key. Cancelling it loses nothing. After
    /// [`Key::Closed`] it waits for ever.
    pub(crate) async fn next(&mut self) -> Key {
        loop {
            if let Some(key) = self.keys.pop_front() {
                return key;
            }
            if self.ended {
                return std::future::pending().await;
            }
            match self.chunks.recv().await {
                Some(chunk) => self.keys.extend(self.parser.feed(&chunk)),
                None => {
                    self.ended = true;
                    self.keys.extend(self.parser.finish());
                }
            }
        }
    }

    /// Takes the keys that have been typed so far, without waiting.
    pub(crate) fn typed(&mut self) -> Vec<Key> {
        while let Ok(chunk) = self.chunks.try_recv() {
            self.keys.extend(self.parser.feed(&chunk));
        }
        self.keys.drain(..).collect()
    }

    /// Returns true if lines are drawn by this program.
    pub(crate) fn draws(&self) -> bool {
        self.raw.is_some()
    }

    /// Enters raw mode anew, after the program was stopped and continued.
    pub(crate) fn resume(&mut self) {
        if let (Some(_), Some(screen)) = (&self.raw, &self.screen) {
            // The terminal can be gone; its end is seen by the reader.
            self.raw = RawMode::enter(screen).ok();
        }
    }

    /// Columns of the screen.
    pub(crate) fn columns(&self) -> usize {
        self.screen.as_ref().map_or(80, Tty::columns)
    }

    /// Writes to the screen; to stderr if there is none.
    pub(crate) fn write(&mut self, text: &str) {
        // A terminal that is gone is seen by the reader.
        let _ = match &mut self.screen {
            Some(screen) => screen.write_all(text.as_bytes()),
            None => io::stderr().lock().write_all(text.as_bytes()),
        };
    }
}

/// Reads in a thread of its own, because a terminal or a pipe cannot be waited
/// for otherwise. The thread ends with its input or with the program.
fn read_in_thread(mut input: impl io::Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(CHUNK_CAPACITY);
    std::thread::spawn(move || {
        let mut buffer = [0; CHUNK_BYTES];
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    receiver
}
