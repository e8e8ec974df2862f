//! Helpers that the tests share: servers of every kind, the program on a
//! terminal and without one.

#[allow(dead_code, reason = "other packages' tests use more of it")]
#[path = "../../../../client/tests/it/support/cli_kit.rs"]
pub(crate) mod cli_kit;
#[allow(dead_code, reason = "other packages' tests use more of it")]
#[path = "../../../../client/tests/it/support/fake.rs"]
pub(crate) mod fake;
#[allow(dead_code, reason = "other packages' tests use more of it")]
#[path = "../../../../client/tests/it/support/real.rs"]
pub(crate) mod real;

pub(crate) mod claude;
pub(crate) mod codex;
pub(crate) mod program;
pub(crate) mod terminal;

use std::time::Duration;

/// A bound for everything that takes a moment: a test fails and does not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits, at most [`PATIENCE`].
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it took too long")
}
