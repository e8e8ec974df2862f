//! Proxies that cut the connections that go through them, or are slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use claude_relay_testing::tcp_service::TcpService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
#[cfg(feature = "e2b")]
use tokio::sync::watch;
use tokio::time::interval;

pub(crate) struct Proxy {
    pub(crate) url: String,
    pub(crate) cuts: Arc<AtomicUsize>,
    _service: TcpService,
}

impl Proxy {
    /// Passes bytes to `port`, and cuts a connection after as many bytes of
    /// the server as `next` says. Until `armed`, nothing is cut.
    pub(crate) async fn start(
        port: u16,
        armed: Arc<AtomicBool>,
        mut next: impl FnMut() -> Option<usize> + Send + 'static,
    ) -> Self {
        let cuts = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&cuts);
        let service = TcpService::start(move |client| {
            let limit = if armed.load(Ordering::SeqCst) { next() } else { None };
            let count = Arc::clone(&count);
            async move {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                if pass(client, server, limit).await {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        let service = service.await;
        Self { url: format!("http://127.0.0.1:{}", service.port), cuts, _service: service }
    }

    /// Passes the client's request and so many of its frames to `port`, and then
    /// resets the connection.
    pub(crate) async fn resetting(port: u16, frames: usize) -> Self {
        let cuts = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&cuts);
        let service = TcpService::start(move |mut client| {
            let count = Arc::clone(&count);
            async move {
                let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut from_server, mut to_server) = server.split();
                let (mut from_client, mut to_client) = client.split();
                let reset = tokio::select! {
                    passed = pass_frames(&mut from_client, &mut to_server, frames) => passed,
                    _ = tokio::io::copy(&mut from_server, &mut to_client) => false,
                };
                if reset {
                    count.fetch_add(1, Ordering::SeqCst);
                    client.set_zero_linger().unwrap();
                }
            }
        });
        let service = service.await;
        Self { url: format!("http://127.0.0.1:{}", service.port), cuts, _service: service }
    }

    /// Passes bytes to `port` while `open` is true, and cuts every connection while
    /// not.
    #[cfg(feature = "e2b")]
    pub(crate) async fn while_open(port: u16, open: watch::Receiver<bool>) -> Self {
        let service = TcpService::start(move |client| {
            let mut open = open.clone();
            async move {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                tokio::select! {
                    biased;
                    _ = open.wait_for(|open| !open) => {}
                    _ = pass(client, server, None) => {}
                }
            }
        });
        let service = service.await;
        let url = format!("http://127.0.0.1:{}", service.port);
        Self { url, cuts: Arc::default(), _service: service }
    }

    /// Passes so many bytes of the client to `port` in each tenth of a second.
    pub(crate) async fn slow(port: u16, bytes: usize) -> Self {
        let service = TcpService::start(move |client| async move {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let up = async {
                let mut pace = interval(Duration::from_millis(100));
                let mut buffer = vec![0; bytes];
                loop {
                    pace.tick().await;
                    match from_client.read(&mut buffer).await {
                        Ok(0) | Err(_) => return,
                        Ok(count) if to_server.write_all(&buffer[..count]).await.is_err() => return,
                        Ok(_) => {}
                    }
                }
            };
            tokio::select! {
                () = up => {}
                _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
            }
        });
        let service = service.await;
        let url = format!("http://127.0.0.1:{}", service.port);
        Self { url, cuts: Arc::default(), _service: service }
    }
}

/// Passes the heads of requests, the last of which is for a WebSocket, and so many
/// frames. Returns false if there were less.
async fn pass_frames(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, frames: usize) -> bool {
    let mut bytes = Vec::new();
    let mut passed = None;
    while passed != Some(frames) {
        let end = if passed.is_none() { end_of_head } else { end_of_frame };
        let whole = loop {
            if let Some(whole) = end(&bytes).filter(|whole| *whole <= bytes.len()) {
                break whole;
            }
            if !matches!(from.read_buf(&mut bytes).await, Ok(1..)) {
                return false;
            }
        };
        if to.write_all(&bytes[..whole]).await.is_err() {
            return false;
        }
        passed = match passed {
            None => bytes.starts_with(b"GET /ws").then_some(0),
            Some(passed) => Some(passed + 1),
        };
        bytes.drain(..whole);
    }
    true
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4)
}

/// The length of a client's frame, once it is known.
fn end_of_frame(bytes: &[u8]) -> Option<usize> {
    const MASK: usize = 4;
    let (header, length) = match bytes.get(1)? & 0x7f {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()).into()),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize),
        short => (2, short.into()),
    };
    Some(header + MASK + length)
}

/// Returns true if it cut the connection.
async fn pass(client: TcpStream, server: TcpStream, limit: Option<usize>) -> bool {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = async {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        false
    };
    let down = async {
        let mut left = limit.unwrap_or(usize::MAX);
        let mut buffer = vec![0; 16 << 10];
        loop {
            let room = buffer.len().min(left);
            match from_server.read(&mut buffer[..room]).await {
                Ok(0) | Err(_) => return false,
                Ok(count) => {
                    if to_client.write_all(&buffer[..count]).await.is_err() {
                        return false;
                    }
                    left -= count;
                    if left == 0 {
                        return true;
                    }
                }
            }
        }
    };
    tokio::select! {
        cut = up => cut,
        cut = down => cut,
    }
}
