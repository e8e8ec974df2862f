//! Delay before an agent that keeps failing is restarted.

use std::time::{Duration, Instant};

use claude_relay_protocol as protocol;

/// Delays from the second failure in a row on.
const DELAYS: protocol::Backoff =
    protocol::Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// Counter of failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    last: Option<Instant>,
}

impl Backoff {
    /// Records that the agent has ended by itself without finishing a turn.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some(now);
    }

    /// Records that it has finished a turn, which resets the count.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Returns the number of failures in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns the rest of the delay after the last failure.
    pub(super) fn remaining(&self, now: Instant) -> Duration {
        let elapsed = self.last.map_or(Duration::MAX, |last| now.saturating_duration_since(last));
        self.delay().saturating_sub(elapsed)
    }

    /// Returns the delay after the last failure. A single failure has none.
    pub(super) fn delay(&self) -> Duration {
        match self.failures {
            0 | 1 => Duration::ZERO,
            more => DELAYS.nth(more - 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_from_one_second_to_thirty() {
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
    fn time_that_has_passed_counts_towards_the_delay() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        assert_eq!(backoff.remaining(now), Duration::ZERO);
        (0..3).for_each(|_| backoff.failed(now));
        assert_eq!(backoff.remaining(now), Duration::from_secs(2));
        assert_eq!(
            backoff.remaining(now + Duration::from_millis(1500)),
            Duration::from_millis(500)
        );
        assert_eq!(backoff.remaining(now + Duration::from_secs(3600)), Duration::ZERO);
    }
}
