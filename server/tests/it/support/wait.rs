//! Waiting with an end: every wait of a test has a deadline and says what it
//! waited for when that passes.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long any one thing may take before a test gives up on it. Generous: the
/// real CLI needs half a second to start on an idle machine, and a test
/// machine is seldom idle.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// How many times slower than an idle one a machine may be on which the tests
/// are to hold.
const SLOWNESS: u32 = 5;

/// How often a condition without a notification of its own is looked at.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);

/// The future's outcome, or a panic that names `what` after [`DEADLINE`].
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(outcome) => outcome,
        Err(_) => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// The first `Some` of `probe`, or a panic that names `what` after [`DEADLINE`].
pub(crate) async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    within(what, async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    })
    .await
}

/// [`until`] for a condition that has to be asked for.
pub(crate) async fn until_async(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    within(what, async {
        while !probe().await {
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
    })
    .await;
}

/// Fails if what began at `start` took longer than it may, but for what a slow
/// machine adds.
#[track_caller]
pub(crate) fn was_within(limit: Duration, start: Instant) {
    let took = start.elapsed();
    assert!(took < limit * SLOWNESS, "{took:?}, where {limit:?} is enough on an idle machine");
}

/// [`until`] for code that cannot await, such as a `Drop`: `None` when
/// `deadline` passes.
pub(crate) fn until_blocking<T>(
    deadline: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if start.elapsed() > deadline {
            return None;
        }
        std::thread::sleep(PROBE_INTERVAL);
    }
}
