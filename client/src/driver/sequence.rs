//! The place of this client in the server's numbered stream: what comes twice
//! is dropped, what is missing is said. Pure.

use crate::types::message::Gap;

/// The meaning of a numbered frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is the next one.
    Next,
    /// It came before.
    Seen,
    /// It is new, but something before it is missing.
    After(Gap),
}

/// A place in the stream of one server process. See
/// [`Client::position`](crate::Client::position).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The id of the stream, which lasts as long as the server process.
    pub stream: String,
    /// The number of the last frame that was received; 0 before the first.
    pub seq: u64,
}

/// The sequence numbers of one client, over all its connections. Numbers of one
/// stream are never compared with those of another.
#[derive(Debug, Default)]
pub(super) struct SequenceTracker {
    stream: Option<String>,
    /// The number of the last frame that counts as received.
    last: u64,
}

impl SequenceTracker {
    /// Begins after the frame `seq` of the stream that the server has.
    pub(super) fn after(seq: u64) -> Self {
        Self { stream: None, last: seq }
    }

    /// Begins at the position that another client has reached.
    pub(super) fn at(position: Position) -> Self {
        Self { stream: Some(position.stream), last: position.seq }
    }

    /// The id of the stream, once it is known.
    pub(super) fn stream(&self) -> Option<&str> {
        self.stream.as_deref()
    }

    /// The number of the last frame that counts as received.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// A connection was accepted, by a server that has named its stream and the
    /// number of its first new frame. Returns true if it is another stream than
    /// before.
    pub(super) fn connected(&mut self, stream: Option<&str>, next: Option<u64>) -> bool {
        let restarted = self.stream.is_some() && self.stream.as_deref() != stream;
        if restarted {
            self.last = 0;
        } else if self.stream.is_none()
            && let Some(next) = next
        {
            // A number that the server has not given out is of another stream:
            // it was restarted since it told the number.
            self.last = self.last.min(next.saturating_sub(1));
        }
        self.stream = stream.map(str::to_owned);
        restarted
    }

    /// The server says that it no longer keeps `from` to `to`.
    pub(super) fn gap(&mut self, from: u64, to: u64) -> Option<Gap> {
        let from = from.max(self.last.saturating_add(1));
        self.last = self.last.max(to);
        (from <= to).then_some(Gap { from: Some(from), to: Some(to) })
    }

    /// All frames up to `seq` have come that are for this client.
    pub(super) fn skip_to(&mut self, seq: u64) {
        self.last = self.last.max(seq);
    }

    /// A numbered frame has come.
    pub(super) fn frame(&mut self, seq: u64) -> Outcome {
        if seq <= self.last {
            return Outcome::Seen;
        }
        let from = self.last + 1;
        self.last = seq;
        if seq > from {
            Outcome::After(Gap { from: Some(from), to: Some(seq - 1) })
        } else {
            Outcome::Next
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(from: u64, to: u64) -> Gap {
        Gap { from: Some(from), to: Some(to) }
    }

    fn at(stream: &str, seq: u64) -> SequenceTracker {
        SequenceTracker::at(Position { stream: stream.into(), seq })
    }

    #[test]
    fn each_frame_counts_once_and_a_hole_is_said() {
        let mut sequence = SequenceTracker::default();
        assert!(!sequence.connected(Some("a"), None));
        assert_eq!(sequence.frame(1), Outcome::Next);
        assert_eq!(sequence.frame(1), Outcome::Seen);
        assert_eq!(sequence.frame(2), Outcome::Next);
        assert_eq!(sequence.frame(5), Outcome::After(gap(3, 4)));
        assert_eq!((sequence.stream(), sequence.last()), (Some("a"), 5));
    }

    #[test]
    fn the_servers_gap_moves_the_place() {
        let mut sequence = at("a", 3);
        assert!(!sequence.connected(Some("a"), Some(10)));
        assert_eq!(sequence.gap(4, 9), Some(gap(4, 9)));
        assert_eq!(sequence.gap(4, 9), None);
        assert_eq!(sequence.frame(10), Outcome::Next);
    }

    #[test]
    fn another_stream_is_counted_from_its_own_beginning() {
        let mut sequence = at("a", 300);
        assert!(sequence.connected(Some("b"), Some(1)));
        // The server's way to say that nothing of its stream is missing.
        assert_eq!(sequence.gap(1, 0), None);
        assert_eq!(sequence.frame(1), Outcome::Next);

        let mut sequence = at("a", 300);
        assert!(sequence.connected(Some("b"), Some(8)));
        assert_eq!(sequence.gap(1, 7), Some(gap(1, 7)));
        assert_eq!(sequence.frame(8), Outcome::Next);
        assert!(!sequence.connected(Some("b"), Some(9)));
    }

    #[test]
    fn a_number_that_the_server_has_not_given_out_yet_hides_nothing() {
        let mut sequence = SequenceTracker::after(499);
        assert!(!sequence.connected(Some("b"), Some(1)));
        assert_eq!(sequence.frame(1), Outcome::Next);
    }

    #[test]
    fn a_server_without_numbers_has_no_stream() {
        let mut sequence = SequenceTracker::default();
        assert!(!sequence.connected(None, None));
        assert_eq!(sequence.stream(), None);
    }
}
