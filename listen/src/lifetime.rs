//! The time for which an HTTP connection is served.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Maximum time for which a connection is served before it is shut down
/// gracefully. A WebSocket is not counted. This is the only bound on clients
/// that send requests and never read the responses.
const CONNECTION_LIFETIME: Duration = Duration::from_secs(120);

/// Time that a connection gets for the next part of a body once its ordinary
/// time is over.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// The end of a connection's time, which bodies that make progress move.
#[derive(Debug)]
pub struct Lifetime(Mutex<Instant>);

impl Default for Lifetime {
    fn default() -> Self {
        Self(Mutex::new(Instant::now() + CONNECTION_LIFETIME))
    }
}

impl Lifetime {
    /// Notes that a part of a body has been received, or taken by the socket.
    pub fn on_progress(&self) {
        let mut end = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *end = (*end).max(Instant::now() + PROGRESS_TIMEOUT);
    }

    /// Runs `work` until its time is over; returns `None` then.
    pub(crate) async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let end = self.end();
            match tokio::time::timeout_at(end, &mut work).await {
                Ok(done) => return Some(done),
                Err(_) if self.end() > end => {}
                Err(_) => return None,
            }
        }
    }

    fn end(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn progress_moves_the_end() {
        let lifetime = Lifetime(Mutex::new(Instant::now()));
        let never = std::future::pending::<()>();
        assert_eq!(lifetime.bound(never).await, None);
        lifetime.on_progress();
        assert_eq!(lifetime.bound(tokio::task::yield_now()).await, Some(()));
        // A part of a body does not shorten the time that is left.
        let lifetime = Lifetime::default();
        let end = lifetime.end();
        lifetime.on_progress();
        assert_eq!(lifetime.end(), end);
    }
}
