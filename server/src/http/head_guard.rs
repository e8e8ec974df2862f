//! A socket while HTTP is spoken on it: a head goes in when it is whole and
//! good, and the end of a connection waits for the client to have read it.

use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use hyper::Request;
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::head::{self, BadHead, HEAD_BYTES};

/// How long a client may take for the head of a request, and how long an idle
/// connection is kept. An honest one needs a fraction of a second.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How much room there is at least for the next bytes of a head. Most heads
/// are smaller; whoever sends one byte at a time holds no more than this.
const STEP_BYTES: usize = 1 << 10;

/// How long the server reads on after its last answer. A socket that is closed
/// with something unread resets the connection, and a client that is still
/// sending a body that was refused (413) would see that in place of the answer.
const LINGER: Duration = Duration::from_secs(2);

/// How much is read at once then, to be thrown away.
const SCRATCH_BYTES: usize = 16 << 10;

/// What hyper gets in the place of a head that is refused, so that the answer
/// has its turn behind those that are under way.
const REFUSED_METHOD: &str = "REFUSED";
const REFUSED_HEAD: &[u8] = b"REFUSED / HTTP/1.1\r\nconnection: close\r\n\r\n";

/// A [`TcpStream`] behind which hyper listens.
#[derive(Debug)]
pub struct HeadGuard {
    stream: TcpStream,
    /// What has been read and not handed on.
    buffered: BytesMut,
    /// How much of what is held may be handed on.
    deliverable: usize,
    /// How much of what is held has been found to be no whole head.
    searched: usize,
    /// What is held beyond `whole`, and what comes after it.
    expected: Expected,
    refused: Refused,
    linger: Option<Pin<Box<Sleep>>>,
}

/// What comes next on a connection.
#[derive(Debug)]
enum Expected {
    Head,
    /// A body or another protocol, which ends with the connection.
    Anything,
    /// Nothing that counts: a head has been refused.
    Nothing,
}

/// Why a head of this connection was refused, once one was.
#[derive(Debug, Clone, Default)]
pub(super) struct Refused(Arc<OnceLock<BadHead>>);

impl Refused {
    /// Why this request is refused, if it stands for a head that was.
    pub(super) fn of<B>(&self, request: &Request<B>) -> Option<&BadHead> {
        self.0.get().filter(|_| request.method() == REFUSED_METHOD)
    }
}

impl HeadGuard {
    /// Waits for the first request; none if it does not come, or not in time.
    /// What it costs until then is the bytes of its head.
    pub async fn wait_for_head(stream: TcpStream) -> Option<Self> {
        let mut guard = Self {
            stream,
            buffered: BytesMut::new(),
            deliverable: 0,
            searched: 0,
            expected: Expected::Head,
            refused: Refused::default(),
            linger: None,
        };
        let head = poll_fn(|cx| guard.poll_head(cx));
        timeout(HEAD_TIMEOUT, head).await.ok()?.ok()?;
        (guard.deliverable > 0).then_some(guard)
    }

    /// Tells the requests that stand for refused heads.
    pub(super) fn refused(&self) -> Refused {
        self.refused.clone()
    }

    /// The socket, when something else than HTTP is spoken on it, and what has
    /// been read of that.
    pub(super) fn into_parts(self) -> (TcpStream, Bytes) {
        (self.stream, self.buffered.freeze())
    }

    /// Reads until a head is whole; or to the end, and then none is.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.find_head();
            if self.deliverable > 0 {
                // Who has reset the connection meanwhile wants no answer. hyper
                // would make one, as it does not look (see `half_close`).
                return Poll::Ready(self.stream.take_error()?.map_or(Ok(()), Err));
            }
            self.buffered.reserve(STEP_BYTES);
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read_buf(&mut self.buffered) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Looks for a head in what has come.
    fn find_head(&mut self) {
        // Empty lines before a head are nothing.
        while self.buffered.starts_with(b"\r\n") {
            self.buffered.advance(2);
            self.searched = 0;
        }
        let new = &self.buffered[self.searched..];
        // The middle of a line tells nothing new, and whoever sends it byte by
        // byte is not to be paid for with a reading each.
        let goes_on = self.searched > 0 && memchr(b'\n', new).is_none();
        if new.is_empty() || (goes_on && self.buffered.len() < HEAD_BYTES) {
            return;
        }
        self.searched = self.buffered.len();
        match head::find(&self.buffered) {
            Ok(None) => return,
            Ok(Some(head)) => {
                self.deliverable = head.bytes;
                if head.ends_keep_alive {
                    self.expected = Expected::Anything;
                }
            }
            Err(bad) => {
                self.buffered = REFUSED_HEAD.into();
                self.deliverable = REFUSED_HEAD.len();
                self.expected = Expected::Nothing;
                // There is one at most: nothing is read after it.
                let _ = self.refused.0.set(bad);
            }
        }
        self.searched = 0;
    }

    /// Throws away what still comes, until the client ends or time is up.
    fn poll_drain(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
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

impl AsyncRead for HeadGuard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.deliverable == 0 {
            match this.expected {
                Expected::Head => ready!(this.poll_head(cx))?,
                Expected::Anything if this.buffered.is_empty() => {
                    return Pin::new(&mut this.stream).poll_read(cx, buffer);
                }
                Expected::Anything => this.deliverable = this.buffered.len(),
                // The answer, which is under way, ends the connection.
                Expected::Nothing => return Poll::Pending,
            }
        }
        let bytes = this.deliverable.min(buffer.remaining());
        buffer.put_slice(&this.buffered.split_to(bytes));
        this.deliverable -= bytes;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HeadGuard {
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
        this.poll_drain(deadline, cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    const HEAD: &[u8] = b"GET /ws HTTP/1.1\r\nUpgrade: x\r\n\r\n";

    /// Both ends of a connection; the first has said `words`.
    async fn connection(words: &[u8]) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(words).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn what_follows_a_head_is_not_lost() {
        let (_client, server) = connection(&[HEAD, b"more than is taken"].concat()).await;
        let mut guard = HeadGuard::wait_for_head(server).await.unwrap();
        let mut taken = vec![0; HEAD.len()];
        guard.read_exact(&mut taken).await.unwrap();
        assert_eq!(taken, HEAD);
        assert_eq!(&guard.into_parts().1[..], b"more than is taken");
    }

    #[tokio::test]
    async fn whoever_leaves_before_the_end_of_a_head_is_not_met() {
        let (client, server) = connection(&HEAD[..HEAD.len() - 1]).await;
        drop(client);
        assert!(HeadGuard::wait_for_head(server).await.is_none());
    }

    #[tokio::test]
    async fn whoever_has_reset_the_connection_is_not_met() {
        let (client, server) = connection(HEAD).await;
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(HeadGuard::wait_for_head(server).await.is_none());
        // Whoever has closed it may still read.
        let (client, server) = connection(HEAD).await;
        drop(client);
        assert!(HeadGuard::wait_for_head(server).await.is_some());
    }
}
