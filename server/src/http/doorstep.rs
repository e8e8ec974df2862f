//! A socket while HTTP is spoken on it: heads are looked at on their way in,
//! and the end of a connection waits for the client to have read it.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::head_scan::HeadScan;

/// How long the server reads on after its last answer. A socket that is closed
/// with something unread resets the connection, and a client that is still
/// sending a body that was refused (413) would see that in place of the answer.
const LINGER: Duration = Duration::from_secs(2);

/// How much is read at once then, to be thrown away.
const SCRATCH_BYTES: usize = 16 << 10;

/// A [`TcpStream`] behind which hyper listens.
#[derive(Debug)]
pub(super) struct Doorstep {
    stream: TcpStream,
    heads: HeadScan,
    linger: Option<Pin<Box<Sleep>>>,
}

impl Doorstep {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, heads: HeadScan::default(), linger: None }
    }

    /// The socket, when something else than HTTP is spoken on it.
    pub(super) fn into_inner(self) -> TcpStream {
        self.stream
    }

    /// Throws away what still comes, until the client ends or time is up.
    fn poll_end(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; SCRATCH_BYTES];
        while Instant::now() < deadline {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Doorstep {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.heads.look(&mut buffer.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Doorstep {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let deadline = linger.deadline();
        if linger.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        this.poll_end(deadline, cx).map(Ok)
    }
}
