//! Wrapper around a client's socket that validates request heads before hyper
//! reads them, lets unauthenticated ones wait at the gate, and closes the
//! connection with a lingering close.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::net::IpAddr;
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

use super::head::{self, BadHead, MAX_HEAD_BYTES};
use super::request_gate::RequestGate;

/// Maximum time for the head of a request, and for an idle connection. An
/// ordinary client needs a fraction of a second.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum free capacity of the read buffer. Most heads are smaller, and a
/// client that sends single bytes occupies no more than this.
const READ_BYTES: usize = 1 << 10;

/// Maximum time of a lingering close: the server reads and discards input after
/// its last response. Closing a socket with unread input resets the connection,
/// and a client that is still sending a refused body (413) would see the reset
/// instead of the response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Size of the buffer for discarded input.
const DISCARD_BYTES: usize = 16 << 10;

/// Number of buffers that are discarded before the next wait at the gate. Hundreds
/// of clients that send a refused body must not be read to their ends one after
/// the other while everyone else waits.
const DISCARDS: usize = 4;

/// A request that hyper gets in place of a refused head, so that the error
/// response is sent after those of earlier requests.
const REFUSED_METHOD: &str = "REFUSED";
const REFUSED_HEAD: &[u8] = b"REFUSED / HTTP/1.1\r\nconnection: close\r\n\r\n";

/// A [`TcpStream`] whose request heads have been validated.
#[derive(Debug)]
pub struct HeadGuard {
    stream: TcpStream,
    /// Bytes read from the socket and not yet passed on.
    buffered: BytesMut,
    /// Number of buffered bytes that may be passed on.
    deliverable: usize,
    /// Number of buffered bytes that are known to hold no complete head.
    searched: usize,
    gate: Arc<RequestGate>,
    /// A wait at the gate: of an unauthenticated request before its head is passed
    /// on, or of a client whose input is discarded.
    passing: Option<Passing>,
    /// True if the last request shows the token.
    shows_token: bool,
    /// Interpretation of the bytes after `deliverable`.
    state: ReadState,
    refused: RefusedHead,
    linger: Option<Pin<Box<Sleep>>>,
}

/// The wait of a request at the gate.
struct Passing(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passing")
    }
}

/// State of the reading side of a connection.
#[derive(Debug)]
enum ReadState {
    Head,
    /// The body of a request or another protocol, until the connection ends.
    PassThrough,
    /// A head has been refused; further input is ignored.
    Refused,
}

/// The reason for which a head of this connection was refused.
#[derive(Debug, Clone, Default)]
pub(crate) struct RefusedHead(Arc<OnceLock<BadHead>>);

impl RefusedHead {
    /// Returns the reason if this request stands for a refused head.
    pub(crate) fn error_for<B>(&self, request: &Request<B>) -> Option<&BadHead> {
        self.0.get().filter(|_| request.method() == REFUSED_METHOD)
    }
}

impl HeadGuard {
    /// Waits for the first complete head, and for its turn at the gate. Returns
    /// `None` if the connection ends first or the time is up. Until then the
    /// connection costs only the bytes of its head.
    pub async fn wait_for_head(stream: TcpStream, gate: Arc<RequestGate>) -> Option<Self> {
        let mut guard = Self {
            stream,
            gate,
            passing: None,
            shows_token: false,
            buffered: BytesMut::new(),
            deliverable: 0,
            searched: 0,
            state: ReadState::Head,
            refused: RefusedHead::default(),
            linger: None,
        };
        let head = poll_fn(|cx| guard.poll_head(cx));
        timeout(HEAD_TIMEOUT, head).await.ok()?.ok()?;
        (guard.deliverable > 0).then_some(guard)
    }

    /// The address of the peer; `None` once the connection is gone.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.stream.peer_addr().ok().map(|address| address.ip().to_canonical())
    }

    /// Returns true if the request whose head is passed on next shows the token.
    pub(crate) fn shows_token(&self) -> bool {
        self.shows_token
    }

    /// Returns a handle that recognizes requests that stand for refused heads.
    pub(crate) fn refused(&self) -> RefusedHead {
        self.refused.clone()
    }

    /// Returns the socket for use with another protocol, with the bytes that
    /// were read ahead.
    pub(crate) fn into_parts(self) -> (TcpStream, Bytes) {
        (self.stream, self.buffered.freeze())
    }

    /// Reads until a head is complete and may pass, or the input ends.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.deliverable == 0 {
                self.find_head();
            }
            if self.deliverable > 0 {
                ready!(self.poll_pass(cx));
                // A client that has reset the connection gets no response.
                // hyper would send one, because it does not notice the reset
                // (see `half_close`).
                return Poll::Ready(self.stream.take_error()?.map_or(Ok(()), Err));
            }
            self.buffered.reserve(READ_BYTES);
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read_buf(&mut self.buffered) {
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Searches the buffered bytes for a head.
    fn find_head(&mut self) {
        // Empty lines before a head are ignored (RFC 9112, 2.2).
        while self.buffered.starts_with(b"\r\n") {
            self.buffered.advance(2);
            self.searched = 0;
        }
        let new = &self.buffered[self.searched..];
        // Parse again only at the end of a line, so that a client that sends
        // single bytes does not cause one parse per byte.
        let is_same_line = self.searched > 0 && memchr(b'\n', new).is_none();
        if new.is_empty() || (is_same_line && self.buffered.len() < MAX_HEAD_BYTES) {
            return;
        }
        self.searched = self.buffered.len();
        let shows_token = |request: &httparse::Request<'_, '_>| self.gate.shows_token(request);
        self.shows_token = match head::find(&self.buffered, shows_token) {
            Ok(None) => return,
            Ok(Some(head)) => {
                self.deliverable = head.bytes;
                if head.ends_keep_alive {
                    self.state = ReadState::PassThrough;
                }
                head.shows_token
            }
            Err(error) => {
                self.buffered = REFUSED_HEAD.into();
                self.deliverable = REFUSED_HEAD.len();
                self.state = ReadState::Refused;
                // Set once at most: nothing is read after a refusal.
                let _ = self.refused.0.set(error);
                false
            }
        };
        if !self.shows_token {
            self.wait_at_gate();
        }
        self.searched = 0;
    }

    /// Discards input until the client closes its side or the deadline passes.
    fn poll_drain(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; DISCARD_BYTES];
        loop {
            ready!(self.poll_pass(cx));
            for _ in 0..DISCARDS {
                if Instant::now() >= deadline {
                    return Poll::Ready(());
                }
                let mut buffer = ReadBuf::new(&mut scratch);
                match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                    Ok(()) if !buffer.filled().is_empty() => {}
                    Ok(()) | Err(_) => return Poll::Ready(()),
                }
            }
            self.wait_at_gate();
        }
    }

    /// Begins a wait at the gate.
    fn wait_at_gate(&mut self) {
        self.passing = Some(Passing(Box::pin(Arc::clone(&self.gate).pass())));
    }

    /// Waits for the end of a wait at the gate, if there is one.
    fn poll_pass(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(Passing(passing)) = &mut self.passing {
            ready!(passing.as_mut().poll(cx));
            self.passing = None;
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
        if this.passing.is_some() {
            ready!(this.poll_head(cx))?;
        } else if this.deliverable == 0 {
            match this.state {
                ReadState::Head => ready!(this.poll_head(cx))?,
                ReadState::PassThrough if this.buffered.is_empty() => {
                    return Pin::new(&mut this.stream).poll_read(cx, buffer);
                }
                ReadState::PassThrough => this.deliverable = this.buffered.len(),
                // The connection ends after the error response.
                ReadState::Refused => return Poll::Pending,
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
        let linger = this.linger.get_or_insert_with(|| Box::pin(sleep(LINGER_TIMEOUT)));
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
    use crate::access::{AccessPolicy, AccessRules};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    const HEAD: &[u8] = b"GET /ws HTTP/1.1\r\nUpgrade: x\r\n\r\n";

    fn gate() -> Arc<RequestGate> {
        Arc::new(RequestGate::new(Arc::new(AccessPolicy::new(AccessRules::default()))))
    }

    /// Both ends of a connection, on which the client has sent `sent`.
    async fn connection(sent: &[u8]) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(sent).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_after_a_head_are_kept() {
        let (_client, server) = connection(&[HEAD, b"more than is taken"].concat()).await;
        let mut guard = HeadGuard::wait_for_head(server, gate()).await.unwrap();
        let mut taken = vec![0; HEAD.len()];
        guard.read_exact(&mut taken).await.unwrap();
        assert_eq!(taken, HEAD);
        assert_eq!(&guard.into_parts().1[..], b"more than is taken");
    }

    #[tokio::test]
    async fn a_connection_closed_within_a_head_is_dropped() {
        let (client, server) = connection(&HEAD[..HEAD.len() - 1]).await;
        drop(client);
        assert!(HeadGuard::wait_for_head(server, gate()).await.is_none());
    }

    #[tokio::test]
    async fn a_reset_connection_is_dropped() {
        let (client, server) = connection(HEAD).await;
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(HeadGuard::wait_for_head(server, gate()).await.is_none());
        // A client that has closed its side may still read.
        let (client, server) = connection(HEAD).await;
        drop(client);
        assert!(HeadGuard::wait_for_head(server, gate()).await.is_some());
    }
}
