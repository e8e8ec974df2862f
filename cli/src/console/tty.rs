//! The terminal device: its modes, its size, its input queue.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd as _;

use rustix::termios::{
    InputModes, LocalModes, OptionalActions, QueueSelector, SpecialCodeIndex, Termios, tcflush,
    tcgetattr, tcgetwinsize, tcsetattr,
};

/// Pasted text comes between marks.
const PASTE_MARKS_ON: &str = "\x1b[?2004h";
const PASTE_MARKS_OFF: &str = "\x1b[?2004l";

/// The terminal that this program runs on.
#[derive(Debug)]
pub(super) struct Tty(File);

impl Tty {
    /// Opens the controlling terminal; where there is none, stdin if it is a
    /// terminal.
    pub(super) fn open() -> io::Result<Self> {
        let opened = OpenOptions::new().read(true).write(true).open("/dev/tty");
        opened.map(Self).or_else(|error| {
            let stdin = io::stdin();
            if rustix::termios::isatty(&stdin) {
                Ok(Self(File::from(stdin.as_fd().try_clone_to_owned()?)))
            } else {
                Err(error)
            }
        })
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }

    /// Throws away what was typed and not read.
    pub(super) fn flush_input(&self) {
        // A device that cannot is left as it is.
        let _ = tcflush(&self.0, QueueSelector::IFlush);
    }

    pub(super) fn columns(&self) -> usize {
        match tcgetwinsize(&self.0) {
            Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
            _ => 80,
        }
    }
}

impl Read for Tty {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Tty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Keys come one by one and unechoed while this lives. Ctrl-C and Ctrl-Z still
/// make signals.
#[derive(Debug)]
pub(super) struct RawMode {
    tty: Tty,
    before: Termios,
}

impl RawMode {
    pub(super) fn enter(tty: &Tty) -> io::Result<Self> {
        let mut tty = tty.try_clone()?;
        let before = tcgetattr(&tty.0)?;
        let mut raw = before.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        raw.input_modes -= InputModes::ICRNL | InputModes::INLCR | InputModes::IXON;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&tty.0, OptionalActions::Drain, &raw)?;
        tty.write_all(PASTE_MARKS_ON.as_bytes())?;
        Ok(Self { tty, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = self.tty.write_all(PASTE_MARKS_OFF.as_bytes());
        let _ = tcsetattr(&self.tty.0, OptionalActions::Drain, &self.before);
    }
}

/// Returns false for terminals that cannot move the cursor.
#[allow(
    clippy::disallowed_methods,
    reason = "TERM is a convention of terminals and no setting of ours"
)]
pub(super) fn understands_escapes() -> bool {
    std::env::var_os("TERM")
        .is_some_and(|term| !["", "dumb", "cons25", "emacs"].iter().any(|no| term == *no))
}
