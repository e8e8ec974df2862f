//! Signs of life within a frame.
//!
//! A client can neither answer a ping nor send one before the frame that it is
//! sending has ended, and a large message over a slow link takes longer than a
//! client may be silent. So its bytes count as they come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc::WeakSender;

use super::channels::ClientEvent;

/// Shortest time between two signs of life.
const INTERVAL: Duration = Duration::from_millis(100);

/// The bytes of a client, which is reported as alive while they come.
pub(super) struct Arriving<S, R> {
    stream: S,
    /// Weak, because the end of the channel is the end of the read loop.
    events: WeakSender<ClientEvent<R>>,
    reported: Instant,
}

impl<S, R> Arriving<S, R> {
    pub(super) fn new(stream: S, events: WeakSender<ClientEvent<R>>) -> Self {
        Self { stream, events, reported: Instant::now() }
    }

    fn report(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.reported) < INTERVAL {
            return;
        }
        self.reported = now;
        if let Some(events) = self.events.upgrade() {
            // A full channel holds signs of life already.
            let _ = events.try_send(ClientEvent::Alive);
        }
    }
}

impl<S: AsyncRead + Unpin, R> AsyncRead for Arriving<S, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.report();
        }
        read
    }
}
