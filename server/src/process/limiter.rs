//! How much noise of the agent may pass.
//!
//! What it writes to stderr, and lines of its stdout that are no JSON, go to
//! the client as `info`. A person reads a few of them; a flood must not push
//! the conversation out of the replay buffer.

use std::time::Instant;

/// What may pass at once, and what comes on top each second.
const BURST_BYTES: u64 = 256 << 10;
const BYTES_PER_SECOND: u64 = 64 << 10;

/// With less than this left, lines are not even looked at.
const LOW_BYTES: u64 = 16 << 10;

/// What a line costs beside its bytes: an empty one is a frame too.
const LINE_COST_BYTES: u64 = 64;

/// Lets through what its rate allows and counts the rest.
#[derive(Debug)]
pub struct Limiter {
    allowance: u64,
    since: Instant,
    dropped: u64,
}

impl Limiter {
    /// One that lets a full burst through at first.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { allowance: BURST_BYTES, since: now, dropped: 0 }
    }

    /// Whether a line of `bytes` may pass now. One that may not is counted.
    pub fn admit(&mut self, bytes: usize, now: Instant) -> bool {
        self.refill(now);
        let cost = bytes as u64 + LINE_COST_BYTES;
        if cost > self.allowance {
            self.dropped += 1;
            return false;
        }
        self.allowance -= cost;
        true
    }

    /// Counts lines that were not even looked at.
    pub fn drop_lines(&mut self, lines: u64) {
        self.dropped += lines;
    }

    /// Whether so little may pass now that looking is not worth it.
    pub fn is_exhausted(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.allowance < LOW_BYTES
    }

    /// How many were dropped since this was asked last.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn refill(&mut self, now: Instant) {
        let gained =
            now.saturating_duration_since(self.since).as_millis() as u64 * BYTES_PER_SECOND / 1000;
        if gained > 0 {
            self.allowance = (self.allowance + gained).min(BURST_BYTES);
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted_and_passes_again_later() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let passed = (0..10_000).filter(|_| limiter.admit(1000, start)).count();
        assert!((200..300).contains(&passed), "{passed}");
        assert_eq!(limiter.take_dropped() as usize, 10_000 - passed);
        assert!(limiter.is_exhausted(start));
        let later = start + Duration::from_secs(1);
        assert!(!limiter.is_exhausted(later));
        assert!(limiter.admit(1000, later));
    }
}
