//! Warnings that somebody else can cause at any rate: each cause is logged at
//! most once a minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Minimum interval between two log lines for the same cause.
const INTERVAL: Duration = Duration::from_secs(60);

/// Counts warnings by their cause. The number of causes is the program's, never
/// that of what somebody sent.
#[derive(Debug)]
pub struct Warnings<K>(BTreeMap<K, Logged>);

#[derive(Debug)]
struct Logged {
    at: Instant,
    suppressed: u64,
}

impl<K> Default for Warnings<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Warnings<K> {
    /// Counts a warning. Returns the number of warnings since the last log line
    /// of this cause if one is due now.
    pub fn count(&mut self, cause: K, now: Instant) -> Option<u64> {
        match self.0.get_mut(&cause) {
            Some(logged) if now.duration_since(logged.at) < INTERVAL => {
                logged.suppressed += 1;
                None
            }
            logged => {
                let suppressed = logged.map_or(0, |logged| logged.suppressed);
                self.0.insert(cause, Logged { at: now, suppressed: 0 });
                Some(suppressed)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_logged_at_once_and_then_once_per_interval() {
        let mut warnings = Warnings::default();
        let start = Instant::now();
        assert_eq!(warnings.count("a", start), Some(0));
        for second in 1..60 {
            assert_eq!(warnings.count("a", start + Duration::from_secs(second)), None);
        }
        assert_eq!(warnings.count("b", start), Some(0));
        assert_eq!(warnings.count("a", start + INTERVAL), Some(59));
        assert_eq!(warnings.count("a", start + INTERVAL * 2), Some(0));
    }
}
