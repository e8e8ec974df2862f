//! Where this client stands in the server's numbered stream: what comes twice
//! is dropped, what is missing is said. Pure.

use crate::types::message::Gap;

/// What to do with a numbered frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next one.
    Next,
    /// It came before.
    Seen,
    /// It is new, but something before it is missing.
    After(Gap),
}

/// A place in the stream of one server life. See [`crate::Client::position`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The id of the server's life.
    pub stream: String,
    /// The number of the last frame that was received; 0 before the first.
    pub seq: u64,
}

/// The order of one client, over all its connections.
#[derive(Debug, Default)]
pub(crate) struct SequenceTracker {
    stream: Option<String>,
    /// The number of the last frame that counts as received.
    last: u64,
    /// The server began a new stream, and the program has not been told.
    restarted: bool,
}

impl SequenceTracker {
    pub(crate) fn new(position: Option<Position>) -> Self {
        match position {
            None => Self::default(),
            Some(Position { stream, seq }) => {
                Self { stream: Some(stream), last: seq, restarted: false }
            }
        }
    }

    /// Where to go on, if the server numbers its frames.
    pub(crate) fn position(&self) -> Option<Position> {
        let stream = self.stream.clone()?;
        Some(Position { stream, seq: self.last })
    }

    /// The number of the last frame that counts as received.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The first connection starts after `seq`, whatever the stream.
    pub(crate) fn start_after(&mut self, seq: u64) {
        self.last = seq;
    }

    /// A connection was accepted. What it said about its stream.
    pub(crate) fn connected(&mut self, stream: Option<&str>) {
        if self.stream.as_deref() == stream {
            return;
        }
        if self.stream.is_some() {
            self.restarted = true;
            self.last = 0;
        }
        self.stream = stream.map(str::to_owned);
    }

    /// The server says that it no longer keeps `from` to `to`.
    pub(crate) fn gap(&mut self, from: u64, to: u64) -> Option<Gap> {
        let restarted = std::mem::take(&mut self.restarted);
        let from = from.max(self.last.saturating_add(1));
        self.last = self.last.max(to);
        (restarted || from <= to).then_some(Gap { from: Some(from), to: Some(to), restarted })
    }

    /// A numbered frame.
    pub(crate) fn frame(&mut self, seq: u64) -> Verdict {
        if seq <= self.last {
            return Verdict::Seen;
        }
        let from = self.last + 1;
        self.last = seq;
        let restarted = std::mem::take(&mut self.restarted);
        if restarted || seq > from {
            Verdict::After(Gap { from: Some(from), to: Some(seq - 1), restarted })
        } else {
            Verdict::Next
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from: u64, to: u64, restarted: bool) -> Gap {
        Gap { from: Some(from), to: Some(to), restarted }
    }

    #[test]
    fn each_frame_counts_once_and_a_hole_is_said() {
        let mut sequence = SequenceTracker::default();
        sequence.connected(Some("a"));
        assert_eq!(sequence.frame(1), Verdict::Next);
        assert_eq!(sequence.frame(1), Verdict::Seen);
        assert_eq!(sequence.frame(2), Verdict::Next);
        assert_eq!(sequence.frame(5), Verdict::After(gap(3, 4, false)));
        assert_eq!(sequence.position(), Some(Position { stream: "a".into(), seq: 5 }));
    }

    #[test]
    fn the_servers_gap_moves_the_place() {
        let mut sequence = SequenceTracker::new(Some(Position { stream: "a".into(), seq: 3 }));
        sequence.connected(Some("a"));
        assert_eq!(sequence.gap(4, 9), Some(gap(4, 9, false)));
        assert_eq!(sequence.gap(4, 9), None);
        assert_eq!(sequence.frame(10), Verdict::Next);
    }

    #[test]
    fn a_new_life_of_the_server_is_told_even_when_nothing_of_it_is_missing() {
        let mut sequence = SequenceTracker::new(Some(Position { stream: "a".into(), seq: 3 }));
        sequence.connected(Some("b"));
        assert_eq!(sequence.frame(1), Verdict::After(gap(1, 0, true)));
        assert_eq!(sequence.frame(2), Verdict::Next);

        let mut sequence = SequenceTracker::new(Some(Position { stream: "a".into(), seq: 3 }));
        sequence.connected(Some("b"));
        assert_eq!(sequence.gap(1, 7), Some(gap(1, 7, true)));
        assert_eq!(sequence.frame(8), Verdict::Next);
    }

    #[test]
    fn a_server_without_numbers_has_no_position() {
        let mut sequence = SequenceTracker::default();
        sequence.connected(None);
        assert_eq!(sequence.position(), None);
    }
}
