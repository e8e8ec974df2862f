//! Permission requests among the frames from before a connection. Most of them
//! were answered long ago, and frames behind them say so; only what is open
//! where the new frames begin is asked. Pure.

use std::collections::VecDeque;

use crate::types::permission::PermissionRequest;

/// How much may wait for the end of a replay: as much as a server keeps by
/// default. Beyond it the oldest is asked all the same, rather than lost.
const LIMIT_BYTES: usize = 16 << 20;

/// What is held back on one connection.
#[derive(Debug, Default)]
pub(super) struct ReplayedPermissions {
    /// Frames below this number are from before the connection.
    next: u64,
    requests: VecDeque<(Box<PermissionRequest>, usize)>,
    bytes: usize,
}

impl ReplayedPermissions {
    /// A connection was accepted. `next` is the number of its first new frame,
    /// if the server numbers them. What the last connection left open comes
    /// again.
    pub(super) fn connected(&mut self, next: Option<u64>) {
        *self = Self { next: next.unwrap_or(0), ..Self::default() };
    }

    /// Whether a request of this number is one from before.
    pub(super) fn takes(&self, seq: Option<u64>) -> bool {
        seq.is_some_and(|seq| seq < self.next)
    }

    /// Holds a request back that came in a frame of `bytes`.
    pub(super) fn hold(&mut self, request: Box<PermissionRequest>, bytes: usize) {
        // It was sent again to a client in between.
        if self.requests.iter().all(|(known, _)| known.id != request.id) {
            self.bytes += bytes;
            self.requests.push_back((request, bytes));
        }
    }

    /// A request was settled: whether it was held back here.
    pub(super) fn settle(&mut self, id: &str) -> bool {
        let Some(at) = self.requests.iter().position(|(request, _)| request.id == id) else {
            return false;
        };
        self.bytes -= self.requests.remove(at).map_or(0, |(_, bytes)| bytes);
        true
    }

    /// The next request that is to be asked, when the frame `last` has come.
    pub(super) fn open(&mut self, last: u64) -> Option<(Box<PermissionRequest>, usize)> {
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
    use crate::types::raw_json::RawJson;

    fn request(id: &str) -> Box<PermissionRequest> {
        let empty = || RawJson::new("{}").unwrap();
        Box::new(PermissionRequest {
            id: id.to_owned(),
            tool: "Bash".to_owned(),
            input: empty(),
            context: empty(),
        })
    }

    fn opened(held: &mut ReplayedPermissions, last: u64) -> Vec<String> {
        std::iter::from_fn(|| held.open(last).map(|(request, _)| request.id)).collect()
    }

    #[test]
    fn a_request_open_at_the_end_of_a_replay_is_asked_once() {
        let mut held = ReplayedPermissions::default();
        held.connected(Some(6));
        assert!(held.takes(Some(5)) && !held.takes(Some(6)) && !held.takes(None));
        for id in ["a", "b", "a"] {
            held.hold(request(id), 10);
        }
        assert_eq!(opened(&mut held, 4), [""; 0]);
        assert!(held.settle("a") && !held.settle("a"));
        assert_eq!(opened(&mut held, 5), ["b"]);
        assert_eq!(held.bytes, 0);
    }

    #[test]
    fn another_connection_begins_anew() {
        let mut held = ReplayedPermissions::default();
        held.connected(Some(6));
        held.hold(request("a"), 10);
        held.connected(None);
        assert!(!held.takes(Some(1)));
        assert_eq!(opened(&mut held, 9), [""; 0]);
    }

    #[test]
    fn too_much_is_asked_and_not_lost() {
        let mut held = ReplayedPermissions::default();
        held.connected(Some(u64::MAX));
        for id in ["a", "b", "c"] {
            held.hold(request(id), LIMIT_BYTES / 2);
        }
        assert_eq!(opened(&mut held, 3), ["a"]);
    }
}
