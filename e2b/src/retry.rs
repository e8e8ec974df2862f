//! Repetition of requests: one row for each operation.
//!
//! An answer that proves that nothing happened (a rate limit with a time, a lack
//! of capacity that the API names as such, a sandbox between two states) is
//! waited for in every operation. After any other failure only an operation is
//! repeated whose second run does no harm.

use std::time::Duration;

use claude_relay_protocol::Backoff;

use crate::error::Error;

/// An operation of E2B's API or of envd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "template"), allow(dead_code, reason = "two are those of templates"))]
pub(crate) enum Operation {
    /// Creates a sandbox with an idempotency key.
    CreateOnce,
    /// Creates a sandbox without one.
    Create,
    /// Connects to a sandbox, or resumes it.
    Connect,
    /// Reads: a sandbox, a list, a log, metrics, a file, a state of a build.
    Read,
    /// Sets a time, a network, tags: the second run sets the same.
    Set,
    /// Pauses a sandbox.
    Pause,
    /// Kills a sandbox.
    Kill,
    /// Forks a sandbox.
    Fork,
    /// Takes a snapshot.
    Snapshot,
    /// Creates a secret, or gives it another value: each run makes a version.
    Secret,
    /// Writes or removes files.
    Write,
    /// Moves a file.
    Move,
    /// Begins the build of a template.
    Build,
    /// Uploads an archive.
    Upload,
    /// Runs a command.
    Execute,
}

/// The row of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// The second run has no effect beside the first.
    pub(crate) is_repeatable: bool,
    /// The most repetitions.
    pub(crate) retries: u32,
    /// The first wait, which doubles, and the longest.
    pub(crate) waits: (Duration, Duration),
}

const MS: fn(u64) -> Duration = Duration::from_millis;

impl Operation {
    /// Returns the row of this operation.
    pub(crate) fn policy(self) -> RetryPolicy {
        let row = |is_repeatable, retries, first, longest| RetryPolicy {
            is_repeatable,
            retries,
            waits: (MS(first), MS(longest)),
        };
        match self {
            Self::CreateOnce => row(true, 3, 250, 2000),
            Self::Create => row(false, 3, 250, 2000),
            // A state change takes up to a minute.
            Self::Connect => row(true, 8, 250, 5000),
            Self::Read | Self::Set | Self::Write => row(true, 3, 250, 2000),
            // A second pause is answered with 409, which is a success.
            Self::Pause => row(true, 3, 250, 2000),
            // A sandbox that lives on costs money.
            Self::Kill => row(true, 5, 500, 4000),
            Self::Upload => row(true, 2, 250, 2000),
            Self::Fork
            | Self::Snapshot
            | Self::Secret
            | Self::Move
            | Self::Build
            | Self::Execute => row(false, 3, 250, 2000),
        }
    }
}

impl RetryPolicy {
    pub(crate) fn backoff(self) -> Backoff {
        Backoff::new(self.waits.0, self.waits.1)
    }

    /// Returns true if the request is to be repeated after this failure.
    pub(crate) fn allows(self, operation: Operation, error: &Error) -> bool {
        match error {
            Error::RateLimited { retry_after: Some(_), .. }
            | Error::Busy(_)
            | Error::InTransition(_) => true,
            // The limit of an account, which waiting does not change, is none
            // on ending something.
            Error::RateLimited { .. } => operation == Operation::Kill,
            Error::Failed(refusal) => match refusal.should_retry {
                Some(asked) => asked && self.is_repeatable,
                None => {
                    let gateway = matches!(refusal.status, 502..=504);
                    let internal = matches!(operation, Operation::Kill | Operation::Upload);
                    self.is_repeatable && (gateway || internal)
                }
            },
            Error::Unreachable { sent, .. } => {
                self.is_repeatable && (*sent || operation == Operation::Kill)
            }
            Error::PortClosed { .. } => self.is_repeatable,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn repeats(
        operation: Operation,
        status: u16,
        headers: &[(&'static str, &'static str)],
    ) -> bool {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let error = Error::of_answer("ask", status, &headers, b"{}");
        operation.policy().allows(operation, &error)
    }

    #[test]
    fn what_may_have_had_an_effect_is_repeated_where_that_does_no_harm() {
        use Operation::*;
        for (operation, gateway, internal, limited) in [
            (CreateOnce, true, false, false),
            (Create, false, false, false),
            (Connect, true, false, false),
            (Read, true, false, false),
            (Set, true, false, false),
            (Pause, true, false, false),
            (Kill, true, true, true),
            (Fork, false, false, false),
            (Snapshot, false, false, false),
            (Write, true, false, false),
            (Move, false, false, false),
            (Build, false, false, false),
            (Upload, true, true, false),
            (Execute, false, false, false),
        ] {
            assert_eq!(repeats(operation, 502, &[]), gateway, "{operation:?}");
            assert_eq!(repeats(operation, 500, &[]), internal, "{operation:?}");
            assert_eq!(repeats(operation, 429, &[]), limited, "{operation:?}");
            assert!(repeats(operation, 429, &[("retry-after", "1")]), "{operation:?}");
            assert!(!repeats(operation, 403, &[]), "{operation:?}");
            assert!(!repeats(operation, 502, &[("should-retry", "false")]), "{operation:?}");
        }
    }
}
