//! The bytes that watchers may be sent, all together: a token bucket. The client
//! of a busy agent gets more than a hundred times as much.

use std::time::{Duration, Instant};

/// Bytes for each second.
const PER_SECOND: f64 = (8 << 20) as f64;

/// Most bytes that are saved up.
const MOST: f64 = (2 << 20) as f64;

/// The bytes that are left. One batch may go beyond them, which the next ones wait
/// for.
#[derive(Debug)]
pub(super) struct Allowance {
    bytes: f64,
    /// Time of the last refill.
    at: Option<Instant>,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { bytes: MOST, at: None }
    }
}

impl Allowance {
    /// Adds what has come since the last refill.
    pub(super) fn refill(&mut self, now: Instant) {
        let since = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = Some(now);
        self.bytes = MOST.min(self.bytes + since.as_secs_f64() * PER_SECOND);
    }

    pub(super) fn is_left(&self) -> bool {
        self.bytes > 0.0
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.bytes -= bytes as f64;
    }

    /// Returns the time at which there is something again; `None` if there is
    /// now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let missing = Duration::from_secs_f64((-self.bytes).max(0.0) / PER_SECOND);
        // The timer is as coarse.
        let until = missing + Duration::from_millis(1);
        self.at.filter(|_| !self.is_left()).map(|at| at + until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BATCH: usize = 1 << 20;

    #[test]
    fn watchers_get_so_much_a_second_at_full_load() {
        let begin = Instant::now();
        let mut allowance = Allowance::default();
        let (mut sent, mut now) = (0, begin);
        while now < begin + Duration::from_secs(10) {
            allowance.refill(now);
            if allowance.is_left() {
                assert_eq!(allowance.deadline(), None);
                allowance.spend(BATCH);
                sent += BATCH;
                now += Duration::from_micros(10);
            } else {
                now = allowance.deadline().unwrap();
            }
        }
        let most = 10.0 * PER_SECOND + MOST + BATCH as f64;
        assert!((0.9 * most..=most).contains(&(sent as f64)), "{sent}");
    }

    #[test]
    fn what_is_saved_up_is_bounded() {
        let now = Instant::now();
        let mut allowance = Allowance::default();
        allowance.refill(now);
        allowance.refill(now + Duration::from_secs(3600));
        allowance.spend(MOST as usize);
        assert!(!allowance.is_left());
        allowance.refill(now);
        assert!(!allowance.is_left(), "a clock that goes back gives nothing");
    }
}
