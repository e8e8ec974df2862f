//! The loss of the connection to the run, and its return.

use std::time::Duration;

use claude_relay_client::RequestError;
use tokio::time::Instant;

use super::end::Failure;
use super::shim::{Shim, State};

/// Time for a connection to come back. The Python SDK gives up after it.
pub(super) const RECONNECT_LIMIT: Duration = Duration::from_secs(60);

/// Time for the first connection where nobody listens at the address.
const FIRST_LIMIT: Duration = Duration::from_secs(2);

/// Delays between attempts.
pub(super) const FIRST_DELAY: Duration = Duration::from_millis(20);
const MAX_DELAY: Duration = Duration::from_secs(1);

/// A connection that held so long is no failed attempt.
const HELD: Duration = Duration::from_secs(5);

impl Shim {
    /// Why the connection is given up, if it is.
    pub(super) fn lost_for_good(&self, is_up: bool, now: Instant) -> Option<&'static str> {
        if is_up {
            return None;
        }
        let is_over = |since: Instant| now >= since + RECONNECT_LIMIT;
        if self.stuck_since.is_some_and(is_over) {
            return Some("broke each time before anything came through");
        }
        is_over(self.down_since).then_some("was lost and could not be restored")
    }

    pub(super) fn disconnected(&mut self, now: Instant) {
        self.down_since = now;
        match self.progress || now >= self.up_since + HELD {
            true => self.stuck_since = None,
            false => drop(self.stuck_since.get_or_insert(now)),
        }
        self.paced = !self.progress;
        self.form.connection_ended(self.progress);
        self.greeted = false;
        // Where something came through, the next connection may bring more at once.
        let delay = if self.progress { Duration::ZERO } else { self.delay };
        self.state = State::Down(now + delay);
        self.delay = (self.delay * 2).min(MAX_DELAY);
    }

    pub(super) fn not_opened(&mut self, error: RequestError, now: Instant) -> Result<(), Failure> {
        let may_heal = match &error {
            // Before the first connection it says that there are too many runs.
            RequestError::Unavailable { .. } | RequestError::NotARelay { .. } => self.was_up,
            error => error.is_transient(),
        };
        if let RequestError::RunLost { .. } = error {
            return Err(self.lost("it does not know it any more"));
        }
        let is_first = !self.was_up && matches!(error, RequestError::Connect { .. });
        // A program that asks for the version goes on without it.
        let limit = if self.version_only { Duration::ZERO } else { FIRST_LIMIT };
        if !may_heal || (is_first && now >= self.down_since + limit) {
            return Err(Failure::of(&error, &self.url));
        }
        self.state = State::Down(now + self.delay);
        self.delay = (self.delay * 2).min(MAX_DELAY);
        Ok(())
    }
}
