//! A server whose every byte the test decides, for tests of clients.
//!
//! It writes frames by hand, so that it can write wrong ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::tcp_service::TcpService;

/// The first frame of a relay with numbered frames.
pub const CONNECTED: &str = r#"{"type":"connected","stream":"s1","next":1}"#;

/// A request, as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub path: String,
    /// Its headers in order.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Request {
    /// Returns the first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

/// Serves until dropped, each connection by `script`.
pub struct FakeRelay {
    /// Its address, `http://127.0.0.1:PORT`.
    pub url: String,
    /// Its port.
    pub port: u16,
    requests: Arc<AtomicUsize>,
    _service: TcpService,
}

impl FakeRelay {
    /// `script` is called with every request and its number, from 0.
    pub async fn start<F, D>(script: F) -> Self
    where
        F: Fn(usize, Request, Peer<TcpStream>) -> D + Send + Sync + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        let requests = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&requests);
        let script = Arc::new(script);
        let service = TcpService::start(move |stream| {
            let script = Arc::clone(&script);
            let count = Arc::clone(&count);
            async move {
                let mut peer = Peer { stream };
                if let Some(request) = peer.request().await {
                    script(count.fetch_add(1, Ordering::SeqCst), request, peer).await;
                }
            }
        });
        let service = service.await;
        let port = service.port;
        Self { url: format!("http://127.0.0.1:{port}"), port, requests, _service: service }
    }

    /// Answers `/health` as a relay does, accepts every WebSocket, sends
    /// [`CONNECTED`] on it and passes it to `script` with its number, from 0.
    pub async fn relay<F, D>(script: F) -> Self
    where
        F: Fn(usize, Request, Peer<TcpStream>) -> D + Send + Sync + 'static,
        D: Future<Output = ()> + Send + 'static,
    {
        let sockets = AtomicUsize::new(0);
        let script = Arc::new(script);
        Self::start(move |_, request, mut peer| {
            let socket =
                request.path.contains("/ws").then(|| sockets.fetch_add(1, Ordering::SeqCst));
            let script = Arc::clone(&script);
            async move {
                match socket {
                    Some(number) => {
                        peer.upgrade(&request).await;
                        peer.text(CONNECTED).await;
                        script(number, request, peer).await;
                    }
                    None => peer.health().await,
                }
            }
        })
        .await
    }

    /// Number of requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// One connection, from the server's side.
pub struct Peer<S> {
    /// The stream, after the bytes that were read.
    pub stream: S,
}

/// A frame of the client, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    /// It ends its message.
    pub is_last: bool,
    /// The opcode.
    pub opcode: u8,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

/// Opcode of a text frame.
pub const TEXT: u8 = 1;
/// Opcode of the later parts of a message.
pub const CONTINUATION: u8 = 0;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Reads one request; `None` when the client is gone.
    pub async fn request(&mut self) -> Option<Request> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?;
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut request = Request { method, path, headers, body: String::new() };
        let length = request.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        request.body = String::from_utf8(body).ok()?;
        Some(request)
    }

    /// Writes bytes as they are.
    pub async fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        // The client may be gone; then the test sees it elsewhere.
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Writes an HTTP answer with this content type.
    pub async fn answer(&mut self, status: &str, kind: &str, body: &str) {
        let length = body.len();
        self.raw(format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    }

    /// Writes an HTTP answer in JSON.
    pub async fn json(&mut self, status: &str, body: &str) {
        self.answer(status, "application/json", body).await;
    }

    /// Answers `/health`.
    pub async fn health(&mut self) {
        self.json(
            "200 OK",
            r#"{"status":"ok","version":"9.9.9","replay":{"first":1,"next":1,"bytes":0}}"#,
        )
        .await;
    }

    /// Completes the WebSocket handshake.
    pub async fn upgrade(&mut self, request: &Request) {
        let key = request.header("sec-websocket-key").expect("a WebSocket");
        let accept = Sha1::new()
            .chain_update(key)
            .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
            .finalize();
        let accept = base64::engine::general_purpose::STANDARD.encode(accept);
        self.raw(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        ))
        .await;
    }

    /// Writes one frame; `first` holds the opcode and the flags.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        self.raw(frame(first, payload)).await;
    }

    /// Writes a text frame.
    pub async fn text(&mut self, text: &str) {
        self.frame(0x80 | TEXT, text.as_bytes()).await;
    }

    /// A numbered line with the number in it.
    pub async fn line(&mut self, seq: u64) {
        self.text(&numbered(seq)).await;
    }

    /// Writes a close frame.
    pub async fn close(&mut self, code: u16, reason: &str) {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        self.frame(0x80 | CLOSE, &payload).await;
    }

    /// The next frame of the client; `None` when it is gone.
    pub async fn receive(&mut self) -> Option<Received> {
        let first = self.stream.read_u8().await.ok()?;
        let length = self.stream.read_u8().await.ok()?;
        assert!(length & 0x80 != 0, "a client masks what it sends");
        let length = match length & 0x7f {
            126 => u64::from(self.stream.read_u16().await.ok()?),
            127 => self.stream.read_u64().await.ok()?,
            length => u64::from(length),
        };
        let mut mask = [0; 4];
        self.stream.read_exact(&mut mask).await.ok()?;
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).await.ok()?;
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte ^= mask[at % 4];
        }
        Some(Received { is_last: first & 0x80 != 0, opcode: first & 0x0f, payload })
    }

    /// The next message of the client, of all its parts. Pings before its end are
    /// answered, the ping that follows it is not.
    pub async fn message(&mut self) -> Option<String> {
        let mut text = Vec::new();
        loop {
            let Received { is_last, opcode, payload } = self.receive().await?;
            match opcode {
                TEXT | CONTINUATION => {
                    text.extend(payload);
                    if is_last {
                        return Some(String::from_utf8(text).unwrap());
                    }
                }
                PING => self.frame(0x80 | PONG, &payload).await,
                CLOSE => {
                    self.frame(0x80 | CLOSE, &payload).await;
                    return None;
                }
                _ => {}
            }
        }
    }

    /// Answers pings and a close until the client is gone.
    pub async fn idle(&mut self) {
        while self.message().await.is_some() {}
    }
}

/// The bytes of one unmasked frame; `first` holds the opcode and the flags.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(u8::try_from(length).unwrap()),
        length @ 126..65536 => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A message with this sequence number, whose line holds the number too.
pub fn numbered(seq: u64) -> String {
    format!(r#"{{"type":"sdk_message","seq":{seq},"data":{{"type":"x","n":{seq}}}}}"#)
}
