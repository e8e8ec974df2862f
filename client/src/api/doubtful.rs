//! Lines of a turn that may be another one.

use crate::types::message::ServerMessage;

/// Lines that are held back.
#[derive(Debug, Default)]
pub(super) struct Doubtful {
    lines: Vec<ServerMessage>,
    bytes: usize,
}

impl Doubtful {
    /// The most bytes that are held back. More are given all the same.
    const MAX_BYTES: usize = 8 << 20;

    pub(super) fn has_room(&self) -> bool {
        self.bytes < Self::MAX_BYTES
    }

    pub(super) fn push(&mut self, line: ServerMessage) {
        if let ServerMessage::Sdk(line) = &line {
            self.bytes += line.frame().len();
        }
        self.lines.push(line);
    }

    pub(super) fn take(&mut self) -> Vec<ServerMessage> {
        std::mem::take(self).lines
    }
}
