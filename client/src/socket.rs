//! The WebSocket, in whole messages. The only room that knows frames.
//!
//! fastwebsockets does the framing; what it leaves open is closed here: a
//! bound for the whole message and not only for one frame, the order of
//! fragments, UTF-8 across them. Its `read_frame` must not be dropped half
//! way, so [`Reader::read`] is only ever called by a loop that lives as long
//! as the connection.

use std::io::Cursor;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use fastwebsockets::{
    Frame, OpCode, Payload, Role, WebSocketError, WebSocketRead, WebSocketWrite,
    after_handshake_split,
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, BufReader};

use crate::dial::Stream;
use crate::error::Error;

type BoxedRead = Box<dyn AsyncRead + Send + Unpin>;
type BoxedWrite = Box<dyn AsyncWrite + Send + Unpin>;

/// The most bytes that a control frame can carry.
const MAX_CONTROL_BYTES: usize = 125;

/// How much is read in one system call.
const READ_BYTES: usize = 64 << 10;

/// What came.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(ByteString),
    Ping(Bytes),
    Pong(Bytes),
    Close { code: u16, reason: String },
}

/// The code that stands for a close frame without one.
pub(crate) const NO_CODE: u16 = 1005;

/// The reading half.
pub(crate) struct Reader {
    inner: WebSocketRead<BoxedRead>,
    /// The fragments so far of a message that is not whole.
    partial: Option<BytesMut>,
    limit_bytes: usize,
}

/// The writing half.
pub(crate) struct Writer {
    inner: WebSocketWrite<BoxedWrite>,
}

/// Takes over a connection after its upgrade.
pub(crate) fn split(upgraded: TokioIo<Upgraded>, limit_bytes: usize) -> (Reader, Writer) {
    // Below hyper's wrapper is our own stream, and what hyper has read of the
    // first frames. If it is not, the wrapper serves as well, only slower.
    let (read, write): (BoxedRead, BoxedWrite) =
        match upgraded.into_inner().downcast::<TokioIo<Box<dyn Stream>>>() {
            Ok(parts) => {
                let (read, write) = tokio::io::split(parts.io.into_inner());
                // The library reads 8 KiB at a time; fewer system calls pay for
                // the copy.
                let read = BufReader::with_capacity(READ_BYTES, read);
                (Box::new(Cursor::new(parts.read_buf).chain(read)), Box::new(write))
            }
            Err(upgraded) => {
                let (read, write) = tokio::io::split(TokioIo::new(upgraded));
                (Box::new(read), Box::new(write))
            }
        };
    let (mut reader, writer) = after_handshake_split(read, write, Role::Client);
    reader.set_auto_close(false);
    reader.set_auto_pong(false);
    // The library refuses a frame of exactly its limit.
    reader.set_max_message_size(limit_bytes.saturating_add(1));
    (Reader { inner: reader, partial: None, limit_bytes }, Writer { inner: writer })
}

impl Reader {
    /// The next message or control frame. Must not be dropped half way.
    pub(crate) async fn read(&mut self) -> Result<Incoming, Error> {
        loop {
            // Nothing is sent from here: that is the write loop's.
            let frame = self
                .inner
                .read_frame(&mut |_| std::future::ready(Ok::<(), std::convert::Infallible>(())))
                .await
                .map_err(|error| read_error(error, self.limit_bytes))?;
            let (fin, opcode) = (frame.fin, frame.opcode);
            let payload = match frame.payload {
                Payload::Bytes(bytes) => bytes.freeze(),
                other => Bytes::from(Vec::from(other)),
            };
            match opcode {
                OpCode::Ping | OpCode::Pong | OpCode::Close
                    if payload.len() > MAX_CONTROL_BYTES =>
                {
                    return Err(Error::Protocol("a control frame is over 125 bytes".into()));
                }
                OpCode::Ping => return Ok(Incoming::Ping(payload)),
                OpCode::Pong => return Ok(Incoming::Pong(payload)),
                OpCode::Close => return close(&payload),
                OpCode::Text | OpCode::Binary if self.partial.is_some() => {
                    return Err(Error::Protocol("a message begins inside another".into()));
                }
                // JSON is text, whatever the frame is called.
                OpCode::Text | OpCode::Binary if fin => return text(payload),
                OpCode::Text | OpCode::Binary => {
                    self.partial = Some(payload.into());
                }
                OpCode::Continuation => {
                    let Some(partial) = &mut self.partial else {
                        return Err(Error::Protocol("a fragment belongs to no message".into()));
                    };
                    if partial.len() + payload.len() > self.limit_bytes {
                        return Err(Error::TooBig { limit_bytes: self.limit_bytes });
                    }
                    partial.extend_from_slice(&payload);
                    if fin {
                        return text(self.partial.take().unwrap_or_default().freeze());
                    }
                }
            }
        }
    }
}

fn text(payload: Bytes) -> Result<Incoming, Error> {
    ByteString::try_from(payload)
        .map(Incoming::Text)
        .map_err(|_| Error::Protocol("a message is not UTF-8".into()))
}

fn close(payload: &[u8]) -> Result<Incoming, Error> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(Incoming::Close { code: NO_CODE, reason: String::new() }),
            _ => Err(Error::Protocol("a close frame of one byte".into())),
        };
    };
    let code = u16::from_be_bytes(*code);
    let reason = str::from_utf8(reason)
        .map_err(|_| Error::Protocol("the reason of a close frame is not UTF-8".into()))?;
    Ok(Incoming::Close { code, reason: reason.to_owned() })
}

fn read_error(error: WebSocketError, limit_bytes: usize) -> Error {
    match error {
        WebSocketError::IoError(error) => Error::lost(error),
        WebSocketError::UnexpectedEOF | WebSocketError::ConnectionClosed => {
            Error::lost("it ended without a close frame")
        }
        WebSocketError::FrameTooLarge => Error::TooBig { limit_bytes },
        WebSocketError::InvalidUTF8 => Error::Protocol("a message is not UTF-8".into()),
        other => Error::Protocol(other.to_string()),
    }
}

impl Writer {
    /// Writes one message whole. An error means that the server cannot have
    /// received all of it. The text is copied: masking changes it.
    pub(crate) async fn text(&mut self, text: &str) -> Result<(), Error> {
        self.write(Frame::text(Payload::Owned(text.into()))).await
    }

    pub(crate) async fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.write(Frame::new(true, OpCode::Ping, None, Payload::Owned(payload.into()))).await
    }

    pub(crate) async fn pong(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.write(Frame::pong(Payload::Owned(payload.into()))).await
    }

    pub(crate) async fn close(&mut self, code: u16) -> Result<(), Error> {
        self.write(Frame::close(code, b"")).await
    }

    async fn write(&mut self, frame: Frame<'static>) -> Result<(), Error> {
        self.inner.write_frame(frame).await.map_err(Error::lost)
    }

    /// Hands what was written to the system: TLS keeps it back until then.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        self.inner.flush().await.map_err(Error::lost)
    }
}
