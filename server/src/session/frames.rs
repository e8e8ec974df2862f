//! Frames that the relay itself makes, on their way into the replay buffer.

use std::panic::Location;
use std::time::Instant;

use claude_relay_protocol::{ServerMessage, text};

use super::Session;
use super::replay::Feature;
use crate::recording::Kind;

/// Maximum number of characters of an error in the log.
const LOGGED_CHARS: usize = 2000;

impl Session {
    /// Appends a frame to the replay buffer.
    pub(super) fn push(&mut self, frame: &str) {
        self.record(Kind::ToClient(Some(self.replay.next())), frame.as_bytes());
        self.replay.push([frame.as_bytes(), &[], &[]]);
    }

    /// Appends a frame for clients with `feature` only.
    pub(super) fn push_for(&mut self, feature: Feature, frame: &str) {
        let seq = self.replay.next();
        self.replay.push_for(feature, [frame.as_bytes(), &[], &[]]);
        if self.replay.next() > seq {
            self.record(Kind::ToClient(Some(seq)), frame.as_bytes());
        }
    }

    /// Reports an error to the client, and logs it: each cause, which is the
    /// place that reports it, once a minute.
    #[track_caller]
    pub(super) fn error(&mut self, text: &str) {
        let cause = Location::caller();
        match self.warnings.count((cause.file(), cause.line()), Instant::now()) {
            Some(0) => tracing::warn!("{}", text::cut(text, LOGGED_CHARS)),
            Some(more) => {
                let text = text::cut(text, LOGGED_CHARS);
                tracing::warn!("{text} ({more} more of this kind since the last report)");
            }
            None => {}
        }
        self.push(&ServerMessage::error(text).to_json());
    }

    pub(super) fn info(&mut self, text: &str) {
        self.push(&ServerMessage::info(text).to_json());
    }
}
