//! Requests to the program among the frames from before a connection. Most of them
//! were answered long ago, and frames behind them say so; only what is open
//! where the new frames begin is asked. Pure.

use std::collections::VecDeque;

use crate::types::message::ServerMessage;

/// The bytes that may wait for the end of a replay: as much as a server keeps by
/// default. Beyond it the oldest is asked all the same, rather than lost.
const LIMIT_BYTES: usize = 16 << 20;

/// The requests that are held back on one connection.
#[derive(Debug, Default)]
pub(super) struct ReplayedRequests {
    /// Frames below this number are from before the connection.
    next: u64,
    requests: VecDeque<(ServerMessage, usize)>,
    bytes: usize,
}

impl ReplayedRequests {
    /// A connection was accepted. `next` is the number of its first new frame,
    /// if the server numbers them. Requests that the last connection left open come
    /// again.
    pub(super) fn connected(&mut self, next: Option<u64>) {
        *self = Self { next: next.unwrap_or(0), ..Self::default() };
    }

    /// Returns true if a request of this number is from before.
    pub(super) fn is_replayed(&self, seq: Option<u64>) -> bool {
        seq.is_some_and(|seq| seq < self.next)
    }

    /// Holds a request back that came in a frame of `bytes`.
    pub(super) fn defer(&mut self, request: ServerMessage, bytes: usize) {
        // It was sent again to a client in between.
        if self.requests.iter().all(|(known, _)| known.asks() != request.asks()) {
            self.bytes += bytes;
            self.requests.push_back((request, bytes));
        }
    }

    /// A request was answered or withdrawn. Returns true if it was held back here.
    pub(super) fn withdraw(&mut self, id: &str) -> bool {
        let Some(at) = self.requests.iter().position(|(request, _)| request.asks() == Some(id))
        else {
            return false;
        };
        self.bytes -= self.requests.remove(at).map_or(0, |(_, bytes)| bytes);
        true
    }

    /// The next request that is to be asked, when the frame `last` has come.
    pub(super) fn open(&mut self, last: u64) -> Option<(ServerMessage, usize)> {
        if last.saturating_add(1) < self.next && self.bytes <= LIMIT_BYTES {
            return None;
        }
        let (request, bytes) = self.requests.pop_front()?;
        self.bytes -= bytes;
        Some((request, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::permission::PermissionRequest;
    use crate::types::raw_json::RawJson;

    fn request(id: &str) -> ServerMessage {
        let empty = || RawJson::new("{}").unwrap();
        ServerMessage::PermissionRequest(Box::new(PermissionRequest {
            id: id.to_owned(),
            tool: "Bash".to_owned(),
            input: empty(),
            context: empty(),
        }))
    }

    fn opened(replayed: &mut ReplayedRequests, last: u64) -> Vec<String> {
        std::iter::from_fn(|| {
            replayed.open(last).and_then(|(request, _)| request.asks().map(str::to_owned))
        })
        .collect()
    }

    #[test]
    fn a_request_open_at_the_end_of_a_replay_is_asked_once() {
        let mut replayed = ReplayedRequests::default();
        replayed.connected(Some(6));
        assert!(
            replayed.is_replayed(Some(5))
                && !replayed.is_replayed(Some(6))
                && !replayed.is_replayed(None)
        );
        for id in ["a", "b", "a"] {
            replayed.defer(request(id), 10);
        }
        assert_eq!(opened(&mut replayed, 4), [""; 0]);
        assert!(replayed.withdraw("a") && !replayed.withdraw("a"));
        assert_eq!(opened(&mut replayed, 5), ["b"]);
        assert_eq!(replayed.bytes, 0);
    }

    #[test]
    fn another_connection_begins_anew() {
        let mut replayed = ReplayedRequests::default();
        replayed.connected(Some(6));
        replayed.defer(request("a"), 10);
        replayed.connected(None);
        assert!(!replayed.is_replayed(Some(1)));
        assert_eq!(opened(&mut replayed, 9), [""; 0]);
    }

    #[test]
    fn too_much_is_asked_and_not_lost() {
        let mut replayed = ReplayedRequests::default();
        replayed.connected(Some(u64::MAX));
        for id in ["a", "b", "c"] {
            replayed.defer(request(id), LIMIT_BYTES / 2);
        }
        assert_eq!(opened(&mut replayed, 3), ["a"]);
    }
}
