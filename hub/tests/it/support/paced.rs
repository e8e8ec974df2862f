//! A connection whose client reads slowly.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Interval, interval};

/// The size of what is read in each interval, until it is ended.
#[derive(Clone)]
pub(crate) struct Pace {
    bytes: usize,
    each: Duration,
    is_over: Arc<AtomicBool>,
}

impl Pace {
    pub(crate) fn of(bytes: usize, each: Duration) -> Self {
        Self { bytes, each, is_over: Arc::default() }
    }

    /// Lets everything be read at once from now on.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// A connection that is read at this pace.
pub(crate) struct Paced {
    stream: TcpStream,
    pace: Pace,
    tick: Interval,
    left: usize,
}

impl Paced {
    pub(crate) fn new(stream: TcpStream, pace: &Pace) -> Self {
        Self { stream, pace: pace.clone(), tick: interval(pace.each), left: 0 }
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.pace.is_over.load(Ordering::Relaxed) {
            return Pin::new(&mut self.stream).poll_read(context, buffer);
        }
        if self.left == 0 {
            ready!(self.tick.poll_tick(context));
            self.left = self.pace.bytes;
        }
        let mut part = buffer.take(self.left);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let read = part.filled().len();
        // `part` has filled the same memory.
        let part = part.filled().to_vec();
        buffer.put_slice(&part);
        self.left -= read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
