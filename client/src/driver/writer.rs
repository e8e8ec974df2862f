//! One connection's writing side and its clock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;

use crate::driver::pending::{Desk, Direction, Outgoing};
use crate::error::Error;
use crate::net::socket::Writer;
use crate::types::connection::Options;

/// A control frame to write. They never wait behind more than one message.
#[derive(Debug)]
pub(crate) enum Control {
    Ping,
    Pong(Bytes),
    /// With its code; the last frame.
    Close(u16),
}

/// Messages without a confirmation, by the number of the ping behind them.
type Unconfirmed = VecDeque<(u64, oneshot::Sender<Result<(), Error>>)>;

/// What the loops of one connection tell each other.
pub(crate) struct Link {
    /// How many frames have been read. A count, because looking at the time
    /// for each would cost more than the rest of the bookkeeping.
    heard: AtomicU64,
    /// A subscriber holds up the reading.
    blocked: AtomicBool,
    /// An answer is due soon: for the clock.
    expecting: Notify,
    /// The same, for a reader that is held up.
    wanted: Notify,
    /// Written, each followed by a ping of its number. The pong proves that
    /// the server has read it.
    unconfirmed: Mutex<Unconfirmed>,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            heard: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            expecting: Notify::new(),
            wanted: Notify::new(),
            unconfirmed: Mutex::default(),
        }
    }

    pub(crate) fn hear(&self) {
        // Only the reader counts, so this need not be one step.
        self.heard.store(self.heard() + 1, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(crate) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    /// Whether somebody waits for a pong.
    pub(crate) fn is_wanted(&self) -> bool {
        self.with(|unconfirmed| !unconfirmed.is_empty())
    }

    /// Waits until somebody begins to.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    fn with<R>(&self, f: impl FnOnce(&mut Unconfirmed) -> R) -> R {
        f(&mut self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A pong has come: everything written before its ping has been read.
    pub(crate) fn confirm(&self, payload: &[u8]) {
        let Ok(number) = payload.try_into().map(u64::from_be_bytes) else { return };
        self.with(|unconfirmed| {
            while unconfirmed.front().is_some_and(|(first, _)| *first <= number) {
                if let Some((_, done)) = unconfirmed.pop_front() {
                    let _ = done.send(Ok(()));
                }
            }
        });
    }

    pub(crate) fn fail_unconfirmed(&self, error: &Error) {
        self.with(|unconfirmed| {
            for (_, done) in unconfirmed.drain(..) {
                let _ = done.send(Err(Error::delivery_unknown(error.clone())));
            }
        });
    }
}

/// Writes until the connection breaks or is closed, and says why it ended.
///
/// `unsent` holds the message that is being written: if this future is
/// dropped half way, it is still there for the next connection.
pub(crate) async fn write_loop(
    writer: &mut Writer,
    link: &Link,
    mut controls: mpsc::Receiver<Control>,
    outgoing: &mut mpsc::Receiver<Outgoing>,
    unsent: &mut Option<Outgoing>,
    desk: &Desk,
) -> Error {
    let mut number = 0_u64;
    loop {
        let control = tokio::select! {
            biased;
            control = controls.recv() => control,
            next = outgoing.recv(), if unsent.is_none() => {
                if next.is_none() {
                    return Error::Stopped;
                }
                *unsent = next;
                None
            }
            () = std::future::ready(()), if unsent.is_some() => None,
        };
        let written = match control {
            Some(Control::Ping) => writer.ping(&number.to_be_bytes()).await,
            Some(Control::Pong(payload)) => writer.pong(&payload).await,
            Some(Control::Close(code)) => {
                let _ = writer.close(code).await;
                let _ = writer.flush().await;
                return Error::Stopped;
            }
            None => write_message(writer, link, unsent, desk, &mut number).await,
        };
        let flushed = match written {
            Ok(()) => writer.flush().await,
            error => error,
        };
        if let Err(error) = flushed {
            return error;
        }
    }
}

async fn write_message(
    writer: &mut Writer,
    link: &Link,
    unsent: &mut Option<Outgoing>,
    desk: &Desk,
    number: &mut u64,
) -> Result<(), Error> {
    // Nobody waits for it any more: it is withdrawn.
    let Some(message) = unsent.as_ref().filter(|message| !message.done.is_closed()) else {
        *unsent = None;
        return Ok(());
    };
    writer.text(&message.text).await?;
    if let Some(Outgoing { text, done }) = unsent.take() {
        desk.tap(Direction::Sent, &text);
        *number += 1;
        link.with(|unconfirmed| unconfirmed.push_back((*number, done)));
        writer.ping(&number.to_be_bytes()).await?;
        link.expecting.notify_one();
        link.wanted.notify_one();
    }
    Ok(())
}

/// Notices a server that is gone without a word.
pub(crate) async fn clock(
    link: &Link,
    control: &mpsc::Sender<Control>,
    options: &Options,
) -> Error {
    loop {
        let before = link.heard();
        let quiet = tokio::select! {
            () = sleep(options.ping_interval) => true,
            () = link.expecting.notified() => false,
        };
        if quiet {
            if link.heard() != before || link.is_blocked() {
                continue;
            }
            // If there is no place for it, one is waiting already.
            let _ = control.try_send(Control::Ping);
        }
        let before = link.heard();
        sleep(options.pong_timeout).await;
        if link.heard() == before && !link.is_blocked() && (quiet || link.is_wanted()) {
            return Error::lost(format!("no sign of life for {:?}", options.pong_timeout));
        }
    }
}
