//! Log of refused requests, with a rate limit.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use claude_relay_listen::access::Cause;

/// Minimum interval between two log lines for the same cause. A page or an
/// attacker can cause thousands of refusals per second.
const INTERVAL: Duration = Duration::from_secs(60);

/// Name of the counter in `/metrics`.
const REFUSALS: &str = "claude_relay_requests_refused_total";

/// Counts refusals and logs each cause at most once per interval, with the
/// number of refusals since. An operator who forgot `--allow-origin` sees it at
/// once, and nobody can fill the log.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Mutex<BTreeMap<Cause, LoggedCause>>);

#[derive(Debug)]
struct LoggedCause {
    logged_at: Instant,
    suppressed: u64,
    total: u64,
}

impl RefusalLog {
    /// Logs a refusal, or counts it for the next log line.
    pub(super) fn log(&self, cause: Cause) {
        match self.count(cause, Instant::now()) {
            Some(0) => tracing::warn!("a request was refused: {cause}"),
            Some(more) => {
                tracing::warn!(
                    "a request was refused, and {more} more since the last report: {cause}"
                );
            }
            None => {}
        }
    }

    /// Returns the number of refusals by cause since the start, as Prometheus
    /// text.
    pub(super) fn metrics(&self) -> String {
        let causes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut text = format!(
            "# HELP {REFUSALS} Requests that access control refused.\n# TYPE {REFUSALS} counter\n"
        );
        for cause in Cause::ALL {
            let total = causes.get(&cause).map_or(0, |logged| logged.total);
            text += &format!("{REFUSALS}{{cause=\"{}\"}} {total}\n", cause.name());
        }
        text
    }

    /// Returns the number of refusals since the last log line if one is due
    /// now.
    fn count(&self, cause: Cause, now: Instant) -> Option<u64> {
        // Counting does not panic; and counts of a poisoned lock are still
        // valid.
        let mut causes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match causes.get_mut(&cause) {
            Some(logged) if now.duration_since(logged.logged_at) < INTERVAL => {
                logged.suppressed += 1;
                logged.total += 1;
                None
            }
            logged => {
                let (quiet, before) =
                    logged.map_or((0, 0), |logged| (logged.suppressed, logged.total));
                let logged = LoggedCause { logged_at: now, suppressed: 0, total: before + 1 };
                causes.insert(cause, logged);
                Some(quiet)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_logged_at_once_and_then_once_per_interval() {
        let refusals = RefusalLog::default();
        let start = Instant::now();
        assert_eq!(refusals.count(Cause::NoToken, start), Some(0));
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            assert_eq!(refusals.count(Cause::NoToken, now), None);
        }
        assert_eq!(refusals.count(Cause::WrongToken, start), Some(0));
        assert_eq!(refusals.count(Cause::NoToken, start + INTERVAL), Some(59));
        assert_eq!(refusals.count(Cause::NoToken, start + INTERVAL * 2), Some(0));
        let metrics = refusals.metrics();
        assert!(metrics.contains("{cause=\"no_token\"} 62\n"), "{metrics}");
        assert!(metrics.contains("{cause=\"bad_host\"} 0\n"), "{metrics}");
    }
}
