//! How long to wait before an agent that keeps ending is started again.

use std::time::{Duration, Instant};

use claude_relay_protocol as protocol;

/// The waits from the second failure in a row on.
const WAITS: protocol::Backoff =
    protocol::Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// Counts failures in a row. Pure.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// The agent has ended by itself without finishing a turn.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(now);
    }

    /// It has finished a turn: whatever comes next is a first failure.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many failures there were in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// What is left of the wait after the last failure.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let over = self.last.map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        self.delay().saturating_sub(over)
    }

    /// How long to wait after the last failure. Once is an accident and not
    /// worth a wait.
    pub(super) fn delay(&self) -> Duration {
        match self.failures {
            0 | 1 => Duration::ZERO,
            more => WAITS.nth(more - 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_from_one_second_to_thirty() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let delays: Vec<u64> = (0..9)
            .map(|_| {
                backoff.failed(now);
                backoff.delay().as_secs()
            })
            .collect();
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
        backoff.succeeded();
        assert_eq!(backoff.delay(), Duration::ZERO);
        (0..100).for_each(|_| backoff.failed(now));
        assert_eq!(backoff.delay(), Duration::from_secs(30));
    }

    #[test]
    fn a_wait_that_is_over_is_not_waited_again() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        assert_eq!(backoff.left(now), Duration::ZERO);
        (0..3).for_each(|_| backoff.failed(now));
        assert_eq!(backoff.left(now), Duration::from_secs(2));
        assert_eq!(backoff.left(now + Duration::from_millis(1500)), Duration::from_millis(500));
        assert_eq!(backoff.left(now + Duration::from_secs(3600)), Duration::ZERO);
    }
}
