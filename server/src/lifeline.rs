//! The lifeline of a server that another program starts: its stdin and its
//! parent.

use std::io::{self, Read as _};

use claude_relay_system::{Parent, Woken};
use tokio::sync::oneshot;

/// Stack size of the thread that watches, whose call depth is small.
const STACK_BYTES: usize = 64 << 10;

/// The ways in which the lifeline ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// Stdin is closed.
    #[error("stdin is closed")]
    Stdin,
    /// The parent has ended.
    #[error("the parent process has ended")]
    Parent,
}

/// A lifeline that is being watched.
#[derive(Debug)]
pub struct Lifeline(oneshot::Receiver<End>);

impl Lifeline {
    /// Begins to watch. Bytes on stdin are dropped.
    ///
    /// # Errors
    ///
    /// Returns the system's error if it cannot be watched.
    pub fn watch() -> io::Result<Self> {
        let parent = Parent::watch()?;
        let (ended_to, ended) = oneshot::channel();
        // A thread, because stdin may be anything, and reading it may block. It
        // ends with the program.
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            if let Ok(end) = wait(&parent) {
                let _ = ended_to.send(end);
            }
        })?;
        Ok(Self(ended))
    }

    /// Waits for its end. `None`: it can no longer be watched.
    pub async fn ended(self) -> Option<End> {
        self.0.await.ok()
    }
}

fn wait(parent: &Parent) -> io::Result<End> {
    let input = io::stdin();
    let mut bytes = [0; 4096];
    loop {
        match parent.wait(&input)? {
            Woken::Parent => return Ok(End::Parent),
            Woken::Input if input.lock().read(&mut bytes).is_ok_and(|n| n > 0) => {}
            Woken::Input => return Ok(End::Stdin),
        }
    }
}
