//! The command line's program on a terminal.

use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitStatus;

use pty_process::{OwnedReadPty, OwnedWritePty, Size};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;

use super::{DEADLINE, soon};

pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_D: &str = "\x04";

/// The program on a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    device: OwnedFd,
    screen: OwnedReadPty,
    keyboard: OwnedWritePty,
    /// Text that has been shown and not looked at.
    pub(crate) shown: String,
}

impl Terminal {
    pub(crate) fn start(url: &str, arguments: &[&str], color: bool) -> Self {
        let (pty, pts) = pty_process::open().unwrap();
        pty.resize(Size::new(40, 200)).unwrap();
        let mut command = pty_process::Command::new(env!("CARGO_BIN_EXE_claude-relay"))
            .args(arguments)
            .env_clear()
            .env("TERM", "xterm")
            .env("CLAUDE_RELAY_URL", url)
            .kill_on_drop(true);
        if !color {
            command = command.env("NO_COLOR", "1");
        }
        let child = command.spawn(pts).unwrap();
        let device = pty.as_fd().try_clone_to_owned().unwrap();
        let (screen, keyboard) = pty.into_split();
        Self { child, device, screen, keyboard, shown: String::new() }
    }

    pub(crate) async fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits until `text` is shown, and gives all up to its end.
    pub(crate) async fn shows(&mut self, text: &str) -> String {
        let wait = async {
            loop {
                if let Some(at) = self.shown.find(text) {
                    return self.shown.drain(..at + text.len()).collect();
                }
                let mut buffer = [0; 4096];
                let count = self.screen.read(&mut buffer).await.expect("it ended early");
                assert!(count > 0, "it ended early");
                self.shown += &String::from_utf8_lossy(&buffer[..count]);
            }
        };
        let found = tokio::time::timeout(DEADLINE, wait).await;
        found.unwrap_or_else(|_| panic!("{text:?} was not shown, but {:?}", self.shown))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        super::program::signal(&self.child, signal);
    }

    /// The local modes of the terminal, by their names.
    pub(crate) fn modes(&self) -> String {
        format!("{:?}", rustix::termios::tcgetattr(&self.device).unwrap().local_modes)
    }

    /// Waits for its end.
    pub(crate) async fn ends(mut self) -> ExitStatus {
        self.waits_for_its_end().await
    }

    /// Waits for its end; the screen is read on, or it could not end.
    pub(crate) async fn waits_for_its_end(&mut self) -> ExitStatus {
        let drain = async {
            let mut buffer = [0; 4096];
            while self.screen.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            status = soon(self.child.wait()) => status.unwrap(),
            () = drain => unreachable!("it waits for ever"),
        }
    }
}
