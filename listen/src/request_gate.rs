//! Gate for unauthenticated requests: those that do not show the server's token.
//! Thousands of them that arrive together must not be answered before the next
//! request of the token's holder, nor before the messages of the client.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::access::AccessPolicy;

/// Number of unauthenticated requests that pass in one turn of the runtime, in which
/// every other task is polled as well. An answer takes some 10 µs, so they add
/// little to what the client waits for, and a server that has nothing else to do
/// still answers tens of thousands a second.
const PER_TURN: usize = 16;

/// Gate in front of the requests of all connections.
#[derive(Debug)]
pub struct RequestGate {
    access: Arc<AccessPolicy>,
    turns: Semaphore,
}

impl RequestGate {
    /// Creates a gate that knows the token's holder by `access`.
    #[must_use]
    pub fn new(access: Arc<AccessPolicy>) -> Self {
        Self { access, turns: Semaphore::new(PER_TURN) }
    }

    /// Returns true if a request shows the token, and does not have to wait.
    /// Where no token is set, none does.
    pub(crate) fn shows_token(&self, request: &httparse::Request<'_, '_>) -> bool {
        self.access.shows_token(request)
    }

    /// Waits until an unauthenticated request may pass, in the order of arrival.
    pub(crate) async fn pass(self: Arc<Self>) {
        let Ok(_turn) = self.turns.acquire().await else { return };
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::AccessRules;

    #[tokio::test]
    async fn few_unauthenticated_requests_pass_in_a_turn_of_the_runtime() {
        const REQUESTS: usize = 100;
        let access = Arc::new(AccessPolicy::new(AccessRules::default()));
        let gate = Arc::new(RequestGate::new(access));
        let passing: Vec<_> =
            (0..REQUESTS).map(|_| tokio::spawn(Arc::clone(&gate).pass())).collect();
        let mut turns = 0;
        while !passing.iter().all(tokio::task::JoinHandle::is_finished) {
            tokio::task::yield_now().await;
            turns += 1;
        }
        assert!((REQUESTS / PER_TURN..=REQUESTS).contains(&turns), "{turns}");
    }
}
