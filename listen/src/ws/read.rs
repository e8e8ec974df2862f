//! The read loop of a connection.
//!
//! fastwebsockets parses frames. This module checks what the library does not:
//! masking, the length of control frames, the size of fragmented messages, and
//! their UTF-8.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fastwebsockets::{Frame, OpCode, Payload, WebSocketError, WebSocketRead};
use tokio::io::AsyncRead;
use tokio::sync::{Semaphore, mpsc};

use super::channels::{ClientEvent, Close, MessageBudget, PriorityMessage};

/// Limit of a message of refused clients. Their input is read only so that they
/// can read the close frame, and there can be many of them.
const REFUSED_LIMIT: usize = 64 << 10;

/// Maximum number of empty fragments in a message. They have no size, so the
/// size limit does not bound them.
const MAX_EMPTY_FRAGMENTS: usize = 1024;

/// Size from which a message is parsed on another thread. All others would
/// wait for one of millions of elements.
const LARGE_BYTES: usize = 1 << 20;

/// Maximum payload of a control frame (RFC 6455, 5.5).
const MAX_CONTROL_PAYLOAD: usize = 125;

/// Reason for which reading ended.
#[derive(Debug)]
pub(super) enum End {
    /// The client sent a close frame with this code.
    Closed(Option<u16>),
    /// The client violated the protocol.
    Violation(Close),
    /// The socket ended without a close frame, or the session dropped its
    /// channel.
    Gone,
}

impl End {
    /// Returns the close frame to send, if any.
    pub(super) fn answer(&self) -> Option<Close> {
        match self {
            Self::Closed(code) => Some(Close { code: *code, reason: "" }),
            Self::Violation(close) => Some(close.clone()),
            Self::Gone => None,
        }
    }
}

/// Parses the messages of a connection.
#[derive(Debug)]
pub struct Parser<R> {
    /// Parses a message, or says why it is malformed.
    pub parse: fn(BytesMut) -> Result<R, String>,
    /// Maximum size of a message.
    pub limit: usize,
    /// Permit for a large one, which is parsed on another thread.
    pub large: Arc<Semaphore>,
    /// True if messages are passed on as they came, too.
    pub keeps_raw: bool,
}

impl<R: Send + 'static> Parser<R> {
    async fn parse(&self, message: BytesMut) -> Result<R, String> {
        let parse = self.parse;
        if message.len() < LARGE_BYTES {
            return parse(message);
        }
        let permit = Arc::clone(&self.large).acquire_owned().await;
        let parsed = tokio::task::spawn_blocking(move || {
            let parsed = parse(message);
            drop(permit);
            parsed
        });
        let failed = |error| Err(format!("the message could not be parsed: {error}"));
        parsed.await.unwrap_or_else(failed)
    }
}

/// Reads until the connection ends. Without `events` the connection was
/// refused, and its frames are discarded.
pub(super) async fn read_loop<S: AsyncRead + Unpin, R: Send + 'static>(
    mut reader: WebSocketRead<S>,
    events: Option<mpsc::Sender<ClientEvent<R>>>,
    priority: &mpsc::Sender<PriorityMessage>,
    parser: Parser<R>,
) -> End {
    reader.set_auto_close(false);
    reader.set_auto_pong(false);
    let limit = if events.is_some() { parser.limit } else { REFUSED_LIMIT };
    // The library refuses messages of this size and above.
    reader.set_max_message_size(limit + 1);
    let mut message = Assembly::new(limit);
    let budget = MessageBudget::default();
    loop {
        let mut frame = match reader.read_frame(&mut no_reply).await {
            Ok(frame) => frame,
            Err(error) => return end_of(&error),
        };
        if !is_masked(&mut frame) {
            return End::Violation(Close::PROTOCOL_ERROR);
        }
        let is_control = matches!(frame.opcode, OpCode::Close | OpCode::Ping | OpCode::Pong);
        if is_control && frame.payload.len() > MAX_CONTROL_PAYLOAD {
            return End::Violation(Close::PROTOCOL_ERROR);
        }
        let event = match frame.opcode {
            OpCode::Close => return close_frame(&frame.payload),
            OpCode::Ping => {
                let payload = into_bytes(frame.payload).freeze();
                // Backpressure: a client that sends pings faster than it reads
                // pongs is not read here.
                if priority.send(PriorityMessage::Pong(payload)).await.is_err() {
                    return End::Gone;
                }
                ClientEvent::Alive
            }
            OpCode::Pong => ClientEvent::Alive,
            OpCode::Text | OpCode::Binary | OpCode::Continuation => match message.add(frame) {
                Ok(None) => continue,
                Ok(Some(text)) if events.is_some() => {
                    let mut bytes = budget.take(text.len()).await;
                    bytes.raw = parser.keeps_raw.then(|| Bytes::copy_from_slice(&text));
                    ClientEvent::Request(parser.parse(text).await, bytes)
                }
                Ok(Some(_)) => continue,
                Err(close) => return End::Violation(close),
            },
        };
        if let Some(events) = &events
            && events.send(event).await.is_err()
        {
            return End::Gone;
        }
    }
}

/// Discards the library's replies to pings and close frames; automatic replies
/// are off.
async fn no_reply(_: Frame<'_>) -> Result<(), WebSocketError> {
    Ok(())
}

/// Returns true if the frame was masked, as RFC 6455 requires of clients. The
/// library unmasks frames and exposes the mask bit only in a header that it
/// writes.
fn is_masked(frame: &mut Frame<'_>) -> bool {
    const MASK_BIT: u8 = 0x80;
    let mut head = [0; 16];
    frame.fmt_head(&mut head);
    head[1] & MASK_BIT != 0
}

fn end_of(error: &WebSocketError) -> End {
    End::Violation(match error {
        WebSocketError::InvalidUTF8 => Close::NOT_UTF8,
        WebSocketError::FrameTooLarge => Close::TOO_BIG,
        WebSocketError::IoError(_)
        | WebSocketError::UnexpectedEOF
        | WebSocketError::ConnectionClosed => return End::Gone,
        _ => Close::PROTOCOL_ERROR,
    })
}

fn close_frame(payload: &[u8]) -> End {
    let (code, reason) = match payload {
        [] => return End::Closed(None),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
        [_] => return End::Violation(Close::PROTOCOL_ERROR),
    };
    // 1004 to 1006 and 1015 must not be sent, and undefined codes are reserved.
    let defined = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    if !defined {
        return End::Violation(Close::PROTOCOL_ERROR);
    }
    if simdutf8::basic::from_utf8(reason).is_err() {
        return End::Violation(Close::NOT_UTF8);
    }
    End::Closed(Some(code))
}

/// Fragments of an incomplete message.
#[derive(Debug)]
struct Assembly {
    limit: usize,
    parts: BytesMut,
    open: bool,
    is_text: bool,
    empty: usize,
}

impl Assembly {
    fn new(limit: usize) -> Self {
        Self { limit, parts: BytesMut::new(), open: false, is_text: false, empty: 0 }
    }

    /// Adds a data frame. Returns the message when it is complete.
    fn add(&mut self, frame: Frame<'_>) -> Result<Option<BytesMut>, Close> {
        let continues = frame.opcode == OpCode::Continuation;
        if continues != self.open {
            return Err(Close::PROTOCOL_ERROR);
        }
        if self.parts.len() + frame.payload.len() > self.limit {
            return Err(Close::TOO_BIG);
        }
        self.open = !frame.fin;
        if !continues {
            self.is_text = frame.opcode == OpCode::Text;
        }
        if !continues && frame.fin {
            return Ok(Some(into_bytes(frame.payload)));
        }
        if frame.payload.is_empty() {
            self.empty += 1;
            if self.empty > MAX_EMPTY_FRAGMENTS {
                return Err(Close::PROTOCOL_ERROR);
            }
        }
        self.parts.extend_from_slice(&frame.payload);
        if !frame.fin {
            return Ok(None);
        }
        self.empty = 0;
        let message = std::mem::take(&mut self.parts);
        // The library has validated text that came in one frame.
        if self.is_text && simdutf8::basic::from_utf8(&message).is_err() {
            return Err(Close::NOT_UTF8);
        }
        Ok(Some(message))
    }
}

fn into_bytes(payload: Payload<'_>) -> BytesMut {
    match payload {
        Payload::Bytes(bytes) => bytes,
        other => BytesMut::from(&other[..]),
    }
}

#[cfg(test)]
mod tests;
