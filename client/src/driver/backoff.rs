//! How long to wait before the next attempt. Pure: the caller brings the
//! randomness and does the waiting.

use std::time::Duration;

/// The first wait, before the jitter.
pub(crate) const FIRST: Duration = Duration::from_millis(50);

/// The longest wait.
pub(crate) const LONGEST: Duration = Duration::from_secs(15);

/// Waits that double up to a bound, each with a random part so that many
/// clients of one server do not come back in step.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait: between half of the step and all of it, by `random`.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let step = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        let half = step / 2;
        let spread = u64::try_from(half.as_micros()).unwrap_or(u64::MAX).saturating_add(1);
        half + Duration::from_micros(random % spread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_keep_half_of_it() {
        let mut shortest = Backoff::default();
        let mut longest = Backoff::default();
        let mut step = FIRST;
        for _ in 0..40 {
            assert_eq!(shortest.next(0), step / 2);
            let half = u64::try_from((step / 2).as_micros()).unwrap();
            assert_eq!(longest.next(half), step);
            step = (step * 2).min(LONGEST);
        }
    }
}
