//! The WebSocket, in whole messages. The only room that knows frames.
//!
//! fastwebsockets writes; what comes is read here, because that is the hot
//! path: a system call reads as much as there is, and a message is a slice of
//! what was read, proven once to be UTF-8.

mod form;
mod frame;

use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use bytestring::ByteString;
use fastwebsockets::{
    Frame, OpCode, Payload, Role, WebSocketError, WebSocketWrite, after_handshake_split,
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::task::yield_now;

pub use self::form::MessageForm;
pub(crate) use self::form::PART_BYTES;
use self::frame::Front;
use crate::error::ConnectionError;
use crate::net::dial::Stream;

type BoxedRead = Box<dyn AsyncRead + Send + Unpin>;
type BoxedWrite = Box<dyn AsyncWrite + Send + Unpin>;

/// The memory that is read into at a time. The messages in it share it, so
/// that one that is kept keeps so much.
const BLOCK_BYTES: usize = 64 << 10;

/// Less room than this is not worth a system call: a new block is begun.
const MIN_READ_BYTES: usize = 16 << 10;

/// A frame that has come.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(ByteString),
    Ping(Bytes),
    Pong(Bytes),
    Close { code: u16, reason: String },
}

/// The time that a close handshake may take before the socket is dropped.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// The code that stands for a close frame without one.
pub(crate) const NO_CODE: u16 = 1005;

/// The reading half.
pub(crate) struct Reader {
    stream: BoxedRead,
    /// The bytes that have been read and not been taken.
    buffer: BytesMut,
    /// The bytes that it must hold before there is another frame.
    needed: usize,
    /// The last system call brought as much as there was room for.
    more: bool,
    /// The fragments so far of a message that is not whole.
    partial: Option<BytesMut>,
    limit_bytes: usize,
}

/// The writing half.
pub(crate) struct Writer {
    inner: WebSocketWrite<BoxedWrite>,
    form: MessageForm,
}

/// Takes over a connection after its upgrade.
pub(crate) fn split(upgraded: TokioIo<Upgraded>, limit_bytes: usize) -> (Reader, Writer) {
    // Below hyper's wrapper is our own stream, and what hyper has read of the
    // first frames. If it is not, the wrapper serves as well, only slower.
    let (stream, write, buffer): (BoxedRead, BoxedWrite, _) =
        match upgraded.into_inner().downcast::<TokioIo<Box<dyn Stream>>>() {
            Ok(parts) => {
                let (read, write) = tokio::io::split(parts.io.into_inner());
                (Box::new(read), Box::new(write), BytesMut::from(parts.read_buf))
            }
            Err(upgraded) => {
                let (read, write) = tokio::io::split(TokioIo::new(upgraded));
                (Box::new(read), Box::new(write), BytesMut::new())
            }
        };
    let (_, writer) = after_handshake_split(tokio::io::empty(), write, Role::Client);
    let reader = Reader { stream, buffer, needed: 0, more: false, partial: None, limit_bytes };
    (reader, Writer { inner: writer, form: MessageForm::default() })
}

impl Reader {
    /// The next message or control frame. Cancelling it loses nothing.
    pub(crate) async fn read(&mut self) -> Result<Incoming, ConnectionError> {
        loop {
            if let Some(incoming) = self.take()? {
                return Ok(incoming);
            }
            self.fill().await?;
        }
    }

    /// The next message or control frame of what has been read; `None` if
    /// there is no other one whole.
    pub(crate) fn take(&mut self) -> Result<Option<Incoming>, ConnectionError> {
        loop {
            let (fin, opcode, header_bytes, payload_bytes) =
                match frame::front(&self.buffer, self.limit_bytes)? {
                    Front::Whole { fin, opcode, header_bytes, payload_bytes } => {
                        (fin, opcode, header_bytes, payload_bytes)
                    }
                    Front::Needs(bytes) => {
                        self.needed = bytes;
                        return Ok(None);
                    }
                };
            self.buffer.advance(header_bytes);
            let payload = self.buffer.split_to(payload_bytes);
            if payload_bytes > BLOCK_BYTES {
                // Its memory goes when it goes, and does not stay for small
                // ones.
                self.buffer = BytesMut::from(&self.buffer[..]);
            }
            match opcode {
                OpCode::Text | OpCode::Binary if self.partial.is_some() => {
                    return Err(ConnectionError::protocol("a message begins inside another"));
                }
                // JSON is text, whatever the frame is called.
                OpCode::Text | OpCode::Binary if fin => return text(payload).map(Some),
                OpCode::Text | OpCode::Binary => self.partial = Some(payload),
                OpCode::Continuation => {
                    let Some(partial) = &mut self.partial else {
                        return Err(ConnectionError::protocol("a fragment belongs to no message"));
                    };
                    if partial.len() + payload.len() > self.limit_bytes {
                        return Err(ConnectionError::TooBig { limit_bytes: self.limit_bytes });
                    }
                    partial.extend_from_slice(&payload);
                    if fin {
                        return text(self.partial.take().unwrap_or_default()).map(Some);
                    }
                }
                OpCode::Ping => return Ok(Some(Incoming::Ping(payload.freeze()))),
                OpCode::Pong => return Ok(Some(Incoming::Pong(payload.freeze()))),
                OpCode::Close => return close(&payload).map(Some),
            }
        }
    }

    /// Reads what there is. Cancelling it loses nothing.
    pub(crate) async fn fill(&mut self) -> Result<(), ConnectionError> {
        if self.more {
            // The program has its turn, so that it finds what there is in the
            // cache, and the memory of it can be used again.
            yield_now().await;
        }
        let (room, held) = (self.buffer.capacity(), self.buffer.len());
        if room < self.needed || room - held < MIN_READ_BYTES {
            self.buffer.reserve(self.needed.max(BLOCK_BYTES).saturating_sub(held));
        }
        if self.stream.read_buf(&mut self.buffer).await.map_err(ConnectionError::lost)? == 0 {
            let ended = "it ended without a close frame";
            return Err(ConnectionError::lost(io::Error::new(io::ErrorKind::UnexpectedEof, ended)));
        }
        self.more = self.buffer.len() == self.buffer.capacity();
        Ok(())
    }
}

fn text(payload: BytesMut) -> Result<Incoming, ConnectionError> {
    ByteString::try_from(payload.freeze())
        .map(Incoming::Text)
        .map_err(|_| ConnectionError::protocol("a message is not UTF-8"))
}

fn close(payload: &[u8]) -> Result<Incoming, ConnectionError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(Incoming::Close { code: NO_CODE, reason: String::new() }),
            _ => Err(ConnectionError::protocol("a close frame of one byte")),
        };
    };
    let code = u16::from_be_bytes(*code);
    let reason = str::from_utf8(reason)
        .map_err(|_| ConnectionError::protocol("the reason of a close frame is not UTF-8"))?;
    Ok(Incoming::Close { code, reason: reason.to_owned() })
}

impl Writer {
    /// Writes one message whole. An error means that the server cannot have
    /// received all of it. Masking changes the text in place.
    ///
    /// A long message may go in parts: see [`MessageForm`].
    pub(crate) async fn text(&mut self, text: String) -> Result<(), ConnectionError> {
        let part_bytes = self.part_bytes(text.len());
        if text.len() <= part_bytes {
            return self.part(text.into_bytes(), true, true).await;
        }
        let mut parts = text.as_bytes().chunks(part_bytes).peekable();
        let mut is_first = true;
        while let Some(part) = parts.next() {
            let is_last = parts.peek().is_none();
            self.part(part.to_vec(), is_first, is_last).await?;
            if !is_last {
                self.ping(&[]).await?;
            }
            is_first = false;
        }
        Ok(())
    }

    /// Returns the most bytes in one part of a message of so many bytes.
    pub(crate) fn part_bytes(&self, message_bytes: usize) -> usize {
        self.form.part_bytes(message_bytes)
    }

    /// Writes one part of a message.
    pub(crate) async fn part(
        &mut self,
        bytes: Vec<u8>,
        is_first: bool,
        is_last: bool,
    ) -> Result<(), ConnectionError> {
        let opcode = if is_first { OpCode::Text } else { OpCode::Continuation };
        self.write(Frame::new(is_last, opcode, None, Payload::Owned(bytes))).await
    }

    /// Sets the form of long messages.
    pub(crate) fn set_form(&mut self, form: MessageForm) {
        self.form = form;
    }

    pub(crate) async fn ping(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        self.write(Frame::new(true, OpCode::Ping, None, Payload::Owned(payload.into()))).await
    }

    pub(crate) async fn pong(&mut self, payload: &[u8]) -> Result<(), ConnectionError> {
        self.write(Frame::pong(Payload::Owned(payload.into()))).await
    }

    pub(crate) async fn close(&mut self, code: u16) -> Result<(), ConnectionError> {
        self.write(Frame::close(code, b"")).await
    }

    async fn write(&mut self, frame: Frame<'static>) -> Result<(), ConnectionError> {
        self.inner.write_frame(frame).await.map_err(failed)
    }

    /// Hands what was written to the system: TLS keeps it back until then.
    pub(crate) async fn flush(&mut self) -> Result<(), ConnectionError> {
        self.inner.flush().await.map_err(failed)
    }
}

fn failed(error: WebSocketError) -> ConnectionError {
    ConnectionError::lost(match error {
        WebSocketError::IoError(error) => error,
        error => io::Error::other(error),
    })
}
