//! What the log says of those who were turned away.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::access::Cause;

/// How often a cause is logged at most. A page or a guesser can be refused
/// thousands of times in a second.
const INTERVAL: Duration = Duration::from_secs(60);

/// Counts refusals, and tells of each cause once in a while how many there
/// were: the operator who forgot `--allow-origin` sees it at once, and nobody
/// can fill the log.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<Cause, Told>>);

#[derive(Debug)]
struct Told {
    at: Instant,
    since: u64,
}

impl Refusals {
    /// Logs a refusal, or counts it for later.
    pub(super) fn log(&self, cause: Cause) {
        match self.count(cause, Instant::now()) {
            Some(0) => tracing::warn!("a request was refused: {cause}"),
            Some(more) => {
                tracing::warn!(
                    "a request was refused, and {more} like it since last told: {cause}"
                );
            }
            None => {}
        }
    }

    /// How many were kept quiet, if it is time to tell.
    fn count(&self, cause: Cause, now: Instant) -> Option<u64> {
        // Counting does not panic; and if it did, the counts are still numbers.
        let mut causes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match causes.get_mut(&cause) {
            Some(told) if now.duration_since(told.at) < INTERVAL => {
                told.since += 1;
                None
            }
            told => {
                let quiet = told.map_or(0, |told| told.since);
                causes.insert(cause, Told { at: now, since: 0 });
                Some(quiet)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_at_once_and_then_once_in_a_while() {
        let refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.count(Cause::NoToken, start), Some(0));
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(refusals.count(Cause::NoToken, now), None);
        }
        assert_eq!(refusals.count(Cause::WrongToken, start), Some(0));
        assert_eq!(refusals.count(Cause::NoToken, start + INTERVAL), Some(59));
        assert_eq!(refusals.count(Cause::NoToken, start + INTERVAL * 2), Some(0));
    }
}
