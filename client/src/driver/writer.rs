//! The writing side of one connection: one frame at a time, the ones that keep
//! the connection alive before messages.
//!
//! A frame that is being written is never given up half-way while the
//! connection is in use: the writing future stays here when a wait for it is
//! cancelled.

use std::pin::Pin;

use bytes::Bytes;

use crate::error::ConnectionError;
use crate::net::socket::Writer;

type Writing = Pin<Box<dyn Future<Output = (Writer, Result<(), ConnectionError>)> + Send>>;

/// A frame that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// A ping or pong.
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
}

impl FrameWriter {
    pub(super) fn new(writer: Writer) -> Self {
        Self { state: State::Idle(writer), ping: None, pong: None, close: None }
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

    /// Returns true while a frame is being written.
    pub(super) fn is_writing(&self) -> bool {
        matches!(self.state, State::Writing(..))
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
            let writing = async move {
                let written = writer.ping(&number.to_be_bytes()).await;
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
        } else if let Some(text) = message {
            let text = text.to_owned();
            // Not flushed: the ping that follows it is.
            let writing = async move {
                let written = writer.text(text).await;
                (writer, written)
            };
            (Box::pin(writing), Written::Message)
        } else {
            self.state = State::Idle(writer);
            return;
        };
        self.state = State::Writing(writing, kind);
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
