//! How long to wait before an agent that keeps ending is started again.

use std::time::Duration;

/// The wait after the second failure in a row; it doubles from there.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts failures in a row. Pure.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The agent has ended by itself without finishing a turn.
    pub(super) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// It has finished a turn: whatever comes next is a first failure.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many failures there were in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait now. Once is an accident and not worth a wait.
    pub(super) fn delay(&self) -> Duration {
        match self.failures {
            0 | 1 => Duration::ZERO,
            more => FIRST.saturating_mul(1 << (more - 2).min(16)).min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_from_one_second_to_thirty() {
        let mut backoff = Backoff::default();
        let delays: Vec<u64> = (0..9)
            .map(|_| {
                backoff.failed();
                backoff.delay().as_secs()
            })
            .collect();
        assert_eq!(delays, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
        backoff.succeeded();
        assert_eq!(backoff.delay(), Duration::ZERO);
        (0..100).for_each(|_| backoff.failed());
        assert_eq!(backoff.delay(), LONGEST);
    }
}
