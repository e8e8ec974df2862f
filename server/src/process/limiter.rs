//! Rate limit for diagnostic output of the agent.
//!
//! Its stderr, and lines of its stdout that are not JSON, are sent to the
//! client as `info`. Some of them help a person, but a flood must not evict the
//! conversation from the replay buffer.

use std::time::Instant;

/// Capacity of the token bucket, and its refill rate.
const BURST_BYTES: u64 = 256 << 10;
const BYTES_PER_SECOND: u64 = 64 << 10;

/// Below this level, output is dropped without being split into lines.
const LOW_BYTES: u64 = 16 << 10;

/// Cost of a line in addition to its bytes, because an empty line is a frame
/// too.
const LINE_COST_BYTES: u64 = 64;

/// Token bucket that counts the lines it drops.
#[derive(Debug)]
pub struct Limiter {
    allowance: u64,
    since: Instant,
    dropped: u64,
}

impl Limiter {
    /// Creates a limiter with a full bucket.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { allowance: BURST_BYTES, since: now, dropped: 0 }
    }

    /// Returns true if a line of `bytes` may pass now, and counts it as dropped
    /// otherwise.
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

    /// Counts lines that were dropped without a call of [`admit`](Self::admit).
    pub fn drop_lines(&mut self, lines: u64) {
        self.dropped += lines;
    }

    /// Returns true if the bucket is below the level at which output is split
    /// into lines.
    pub fn is_exhausted(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.allowance < LOW_BYTES
    }

    /// Returns true if lines were dropped since the last call of
    /// [`take_dropped`](Self::take_dropped).
    #[must_use]
    pub fn has_dropped(&self) -> bool {
        self.dropped > 0
    }

    /// Returns the number of lines dropped since the last call.
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
    fn a_flood_is_dropped_and_counted_until_the_bucket_refills() {
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
