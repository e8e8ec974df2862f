//! A bare frame reader: it looks at headers and skips what they announce.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::Outcome;

/// Bytes of an `sdk_message` frame beside the line.
pub(crate) const ENVELOPE_BYTES: usize = br#"{"type":"sdk_message","data":}"#.len();

const READ_BYTES: usize = 256 << 10;

/// Nothing here takes this long; a server that hangs is not waited for.
const DEADLINE: Duration = Duration::from_secs(60);

/// Endpoint of the server that a client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// `/ws`, for the clients of the relay.
    Ws,
    /// `/agent` in its raw form, for an Agent SDK.
    Agent,
}

pub(crate) struct Client {
    endpoint: Endpoint,
    socket: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Client {
    /// Connects to `/ws` and waits for `connected`.
    pub(crate) fn connect(port: u16, query: &str) -> Outcome<Self> {
        let mut client = Self::open(port, Endpoint::Ws, &format!("/ws{query}"))?;
        let first = client.message()?;
        if !first.starts_with(br#"{"type":"connected""#) {
            return Err(format!("not connected: {}", String::from_utf8_lossy(&first)).into());
        }
        Ok(client)
    }

    /// Connects to `/agent`, which begins with the first line of the agent.
    pub(crate) fn connect_to_agent(port: u16) -> Outcome<Self> {
        Self::open(port, Endpoint::Agent, "/agent")
    }

    fn open(port: u16, endpoint: Endpoint, path: &str) -> Outcome<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(request.as_bytes())?;
        let mut client = Self { endpoint, socket, buffer: vec![0; READ_BYTES], start: 0, end: 0 };
        loop {
            client.fill()?;
            let head = memchr::memmem::find(&client.buffer[..client.end], b"\r\n\r\n");
            if let Some(head) = head {
                client.start = head + 4;
                break;
            }
        }
        if !client.buffer.starts_with(b"HTTP/1.1 101") {
            return Err("the server refused the handshake".into());
        }
        Ok(client)
    }

    /// Returns the payload of the frame with a line of `size` bytes.
    pub(crate) fn payload(&self, size: usize) -> usize {
        match self.endpoint {
            Endpoint::Ws => size + ENVELOPE_BYTES,
            // Its newline comes along.
            Endpoint::Agent => size + 1,
        }
    }

    /// Sends a user message with this text.
    pub(crate) fn say(&mut self, text: &str) -> Outcome {
        let content = serde_json::to_string(text)?;
        let line = format!(
            r#"{{"type":"user","message":{{"role":"user","content":{content}}},"parent_tool_use_id":null,"session_id":""}}"#
        );
        let payload = match self.endpoint {
            Endpoint::Ws => format!(r#"{{"type":"user_message","data":{line}}}"#),
            Endpoint::Agent => line,
        };
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend_from_slice(&u16::try_from(payload.len())?.to_be_bytes());
        // A mask of zeros is a mask.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload.as_bytes());
        Ok(self.socket.write_all(&frame)?)
    }

    /// Reads until `count` frames with a payload of `payload` bytes have come,
    /// others not counted.
    pub(crate) fn count(&mut self, payload: usize, count: u64) -> Outcome {
        let mut left = count;
        while left > 0 {
            let (_, length) = self.header()?;
            left -= u64::from(length == payload);
            self.skip(length)?;
        }
        Ok(())
    }

    /// Reads until a frame of another size has come behind those, the turn's
    /// `result`.
    pub(crate) fn rest(&mut self, payload: usize) -> Outcome {
        while self.header().and_then(|(_, length)| self.skip(length).map(|()| length))? == payload {
        }
        Ok(())
    }

    /// Reads until the `result` of a turn.
    pub(crate) fn result(&mut self) -> Outcome {
        const RESULT: &[u8] = br#""result_index""#;
        loop {
            let (_, length) = self.header()?;
            // It is longer than what it stands behind here, or much shorter.
            if !(1000..4000).contains(&length) {
                self.skip(length)?;
                continue;
            }
            while self.end - self.start < length {
                self.fill()?;
            }
            let payload = &self.buffer[self.start..self.start + length];
            self.start += length;
            if memchr::memmem::find(payload, RESULT).is_some() {
                return Ok(());
            }
        }
    }

    /// Reads until the server closes the connection.
    pub(crate) fn drain(mut self) {
        while self.header().and_then(|(_, length)| self.skip(length)).is_ok() {}
    }

    /// The next message, whole.
    pub(crate) fn message(&mut self) -> Outcome<Vec<u8>> {
        let (_, length) = self.header()?;
        while self.end - self.start < length {
            self.fill()?;
        }
        let message = self.buffer[self.start..self.start + length].to_vec();
        self.start += length;
        Ok(message)
    }

    fn header(&mut self) -> Outcome<(u8, usize)> {
        loop {
            if let Some((used, opcode, length)) = header(&self.buffer[self.start..self.end]) {
                self.start += used;
                return Ok((opcode, length));
            }
            self.fill()?;
        }
    }

    fn skip(&mut self, mut length: usize) -> Outcome {
        loop {
            let here = length.min(self.end - self.start);
            self.start += here;
            length -= here;
            if length == 0 {
                return Ok(());
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Outcome {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start.., 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                self.buffer.resize(self.end * 2, 0);
            }
        }
        let count = self.socket.read(&mut self.buffer[self.end..])?;
        if count == 0 {
            return Err("the server has closed the connection".into());
        }
        self.end += count;
        Ok(())
    }
}

/// Length of the header, its opcode, the length it announces. Not masked.
fn header(bytes: &[u8]) -> Option<(usize, u8, usize)> {
    let opcode = bytes.first()? & 0x0f;
    match bytes.get(1)? & 0x7f {
        126 => {
            let length = bytes.get(2..4)?.try_into().ok()?;
            Some((4, opcode, u16::from_be_bytes(length).into()))
        }
        127 => {
            let length = bytes.get(2..10)?.try_into().ok()?;
            Some((10, opcode, usize::try_from(u64::from_be_bytes(length)).ok()?))
        }
        length => Some((2, opcode, length.into())),
    }
}

/// A whole frame of a client from the front of `bytes`, and what follows it.
pub(crate) fn take_frame(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (used, _, length) = header(bytes)?;
    let mask: [u8; 4] = bytes.get(used..used + 4)?.try_into().ok()?;
    let payload = bytes.get(used + 4..used + 4 + length)?;
    let clear = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((clear, &bytes[used + 4 + length..]))
}
