//! A WebSocket client that reads as fast as bytes can be split into frames, and
//! gives a test its socket: for streams of hundreds of megabytes, and for ends
//! that no library brings about.

use crate::support::ws::client_frame;
use claude_relay_testing::wait;
use std::net::SocketAddr;
use std::ops::Range;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Number of bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// One connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
    /// Everything before this in the buffer has been returned.
    taken: usize,
}

impl Raw {
    /// Upgrades `path`; `early` goes out in the same packet.
    pub(crate) async fn upgrade(address: SocketAddr, path: &str, early: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let request = [head.as_bytes(), early].concat();
        stream.write_all(&request).await.expect("the server reads");
        let mut raw = Self { stream, buffer: Vec::new(), taken: 0 };
        let head = wait::within("an answer to an upgrade", async {
            loop {
                if let Some(end) = raw.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                    return end + 4;
                }
                assert!(raw.fill().await > 0, "no answer to an upgrade");
            }
        })
        .await;
        assert!(raw.buffer.starts_with(b"HTTP/1.1 101 "), "{:?}", raw.buffer);
        raw.taken = head;
        raw
    }

    /// Reads more; how much it was, 0 at the end.
    async fn fill(&mut self) -> usize {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.buffer).await.unwrap_or(0)
    }

    /// The next frame: its first byte and its payload; `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<(u8, &[u8])> {
        let (first, payload) = self.next().await?;
        Some((first, &self.buffer[payload]))
    }

    /// The next frame, its payload as a place in the buffer.
    async fn next(&mut self) -> Option<(u8, Range<usize>)> {
        let (start, end) = loop {
            if let Some((start, end)) = whole_frame(&self.buffer[self.taken..]) {
                break (self.taken + start, self.taken + end);
            }
            if wait::within("a frame", self.fill()).await == 0 {
                return None;
            }
        };
        let first = self.buffer[self.taken];
        self.taken = end;
        Some((first, start..end))
    }

    /// The payload of the next text frame; pings are answered on the way.
    /// `None` at a close frame or the end.
    pub(crate) async fn text(&mut self) -> Option<&[u8]> {
        loop {
            match self.next().await? {
                (0x81, payload) => return Some(&self.buffer[payload]),
                (0x89, _) => self.send(0x8A, b"").await,
                _ => return None,
            }
        }
    }

    /// Sends one whole frame.
    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        let frame = client_frame(first, payload);
        wait::within("the server to read", self.stream.write_all(&frame))
            .await
            .expect("the connection is open");
    }

    /// Sends a user message.
    pub(crate) async fn say(&mut self, content: &str) {
        let message = user_message(content);
        self.send(0x81, message.as_bytes()).await;
    }
}

/// The frame of a user message.
pub(crate) fn user_message(content: &str) -> String {
    serde_json::json!({
        "type": "user_message",
        "data": { "type": "user", "message": { "role": "user", "content": content } },
    })
    .to_string()
}

/// Range of the payload of the first frame, if it is all there.
fn whole_frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        short => (2, u64::from(short)),
    };
    let end = start + usize::try_from(length).ok()?;
    (end <= bytes.len()).then_some((start, end))
}
