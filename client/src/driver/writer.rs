//! The writing side of one connection: one frame at a time, the ones that keep
//! the connection alive before messages.
//!
//! A frame that is being written is never given up half-way while the
//! connection is in use: the writing future stays here when a wait for it is
//! cancelled.
//!
//! The last part of a long message waits until the server has answered those
//! before: what the system took of a connection that then breaks is not taken for
//! a message that may have arrived.

use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;

use crate::error::ConnectionError;
use crate::net::socket::Writer;

type Writing = Pin<Box<dyn Future<Output = (Writer, Result<(), ConnectionError>)> + Send>>;

/// A frame that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// A ping, a pong, or a part of a message with more to come.
    Control,
    /// A message, whole.
    Message,
    /// The close frame, the last one.
    Close,
}

enum State {
    Idle(Writer),
    Writing(Writing, Written),
    Done,
}

pub(super) struct FrameWriter {
    state: State,
    ping: Option<u64>,
    pong: Option<Bytes>,
    close: Option<u16>,
    parts: Parts,
}

/// The parts of the long message that is being written.
#[derive(Debug, Default)]
struct Parts {
    /// The bytes of it that have been written.
    bytes: usize,
    /// The number of parts so far on this connection, which their pings carry.
    written: u64,
    /// The last of them that the server has answered.
    answered: u64,
}

impl Parts {
    /// The payload of the ping behind a part, which no message is confirmed by.
    fn ping(&self) -> [u8; 9] {
        let [a, b, c, d, e, f, g, h] = self.written.to_be_bytes();
        [b'p', a, b, c, d, e, f, g, h]
    }

    fn on_pong(&mut self, payload: &[u8]) {
        if let [b'p', number @ ..] = payload
            && let Ok(number) = number.try_into()
        {
            self.answered = self.answered.max(u64::from_be_bytes(number));
        }
    }

    fn are_answered(&self) -> bool {
        self.answered >= self.written
    }
}

impl FrameWriter {
    pub(super) fn new(writer: Writer) -> Self {
        let parts = Parts::default();
        Self { state: State::Idle(writer), ping: None, pong: None, close: None, parts }
    }

    /// A pong has come.
    pub(super) fn on_pong(&mut self, payload: &[u8]) {
        self.parts.on_pong(payload);
    }

    /// Answers to the parts so far are given up.
    pub(super) fn no_pong_comes(&mut self) {
        self.parts.answered = self.parts.written;
    }

    /// Returns true while an answer of the server is waited for within a message.
    pub(super) fn awaits_pong(&self) -> bool {
        self.parts.bytes > 0 && !self.parts.are_answered()
    }

    /// Asks for a ping. One that is due already is replaced: the later number
    /// confirms more.
    pub(super) fn ping(&mut self, number: u64) {
        self.ping = Some(number);
    }

    /// Asks for a pong. Only the last ping needs an answer.
    pub(super) fn pong(&mut self, payload: Bytes) {
        self.pong = Some(payload);
    }

    /// Asks for the close frame, after which nothing is written.
    pub(super) fn close(&mut self, code: u16) {
        self.close = Some(code);
    }

    /// Returns true while a frame is being written, or a message in parts.
    pub(super) fn is_writing(&self) -> bool {
        self.parts.bytes > 0 || matches!(self.state, State::Writing(..))
    }

    /// Returns true when the close frame was written, or nothing more can be.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Begins the next frame, if none is being written: of what was asked for,
    /// or else `message`.
    pub(super) fn start(&mut self, message: Option<&str>) {
        let mut writer = match std::mem::replace(&mut self.state, State::Done) {
            State::Idle(writer) => writer,
            other => {
                self.state = other;
                return;
            }
        };
        let (writing, kind): (Writing, _) = if let Some(number) = self.ping.take() {
            let payload = self.ping_payload(number);
            let writing = async move {
                let written = writer.ping(&payload).await;
                flush(writer, written).await
            };
            (Box::pin(writing), Written::Control)
        } else if let Some(code) = self.close.take() {
            let writing = async move {
                let written = writer.close(code).await;
                flush(writer, written).await
            };
            (Box::pin(writing), Written::Close)
        } else if let Some(payload) = self.pong.take() {
            let writing = async move {
                let written = writer.pong(&payload).await;
                flush(writer, written).await
            };
            (Box::pin(writing), Written::Control)
        } else if let Some(text) = message
            && let Some(part) = self.next_part(text, writer.part_bytes(text.len()))
        {
            let Range { start, end } = part;
            let (is_first, is_last) = (start == 0, end == text.len());
            let bytes = text.as_bytes()[part].to_vec();
            if is_last {
                self.parts.bytes = 0;
                // Not flushed: the ping that follows it is.
                let writing = async move {
                    let written = writer.part(bytes, is_first, true).await;
                    (writer, written)
                };
                (Box::pin(writing), Written::Message)
            } else {
                self.parts.bytes = end;
                self.parts.written += 1;
                let ping = self.parts.ping();
                let writing = async move {
                    let written = match writer.part(bytes, is_first, false).await {
                        Ok(()) => writer.ping(&ping).await,
                        error => error,
                    };
                    flush(writer, written).await
                };
                (Box::pin(writing), Written::Control)
            }
        } else {
            self.state = State::Idle(writer);
            return;
        };
        self.state = State::Writing(writing, kind);
    }

    /// Returns the payload of a ping of this number. Within a message whose parts are
    /// not answered, it is their ping once more: a server may answer the newest ping
    /// alone.
    fn ping_payload(&self, number: u64) -> Vec<u8> {
        match self.awaits_pong() {
            true => self.parts.ping().to_vec(),
            false => number.to_be_bytes().to_vec(),
        }
    }

    /// Returns the part of a message to write now, if there is one.
    fn next_part(&self, text: &str, part_bytes: usize) -> Option<Range<usize>> {
        let start = self.parts.bytes;
        let end = text.len().min(start + part_bytes);
        let waits = end == text.len() && start > 0 && !self.parts.are_answered();
        (!waits).then_some(start..end)
    }

    /// Waits for the frame that is being written. Cancelling it loses nothing.
    pub(super) async fn written(&mut self) -> Result<Written, ConnectionError> {
        let State::Writing(writing, kind) = &mut self.state else {
            return std::future::pending().await;
        };
        let kind = *kind;
        let (writer, written) = writing.as_mut().await;
        self.state = match kind {
            Written::Close => State::Done,
            Written::Control | Written::Message => State::Idle(writer),
        };
        written.map(|()| kind)
    }
}

async fn flush(
    mut writer: Writer,
    written: Result<(), ConnectionError>,
) -> (Writer, Result<(), ConnectionError>) {
    let flushed = match written {
        Ok(()) => writer.flush().await,
        error => error,
    };
    (writer, flushed)
}
