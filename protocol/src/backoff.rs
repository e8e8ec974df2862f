//! Exponential backoff. Pure: the caller supplies random numbers and waits.

use std::time::Duration;

/// Exponential backoff: `first`, twice that, four times that, up to `longest`.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    /// Returns a backoff before its first wait.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempts: 0 }
    }

    /// Returns the next wait and doubles the one after it.
    pub fn next_wait(&mut self) -> Duration {
        let wait = self.nth(self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        wait
    }

    /// Returns the next wait with its second half random, so that the clients
    /// of one server do not all reconnect at the same time.
    pub fn next_jittered(&mut self, random: u64) -> Duration {
        let wait = self.next_wait();
        let half = wait / 2;
        let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_micros(random % spread)
    }

    /// Returns the wait number `n`, counted from 0.
    #[must_use]
    pub fn nth(&self, n: u32) -> Duration {
        let factor = 1_u32.checked_shl(n).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }

    /// Starts again with the first wait.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(15);

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let mut expected = FIRST;
        for _ in 0..100 {
            assert_eq!(backoff.next_wait(), expected);
            expected = (expected * 2).min(LONGEST);
        }
        backoff.reset();
        assert_eq!(backoff.next_wait(), FIRST);
        assert_eq!(backoff.nth(u32::MAX), LONGEST);
    }

    #[test]
    fn jitter_keeps_half_of_the_wait() {
        let (mut shortest, mut longest) =
            (Backoff::new(FIRST, LONGEST), Backoff::new(FIRST, LONGEST));
        for n in 0..40 {
            let wait = shortest.nth(n);
            assert_eq!(shortest.next_jittered(0), wait / 2);
            let half = u64::try_from((wait / 2).as_micros()).unwrap();
            assert_eq!(longest.next_jittered(half), wait);
        }
    }
}
