//! Waits with a deadline. When it passes, the test fails and names what it
//! waited for.

use std::future::Future;
use std::time::{Duration, Instant};

/// Longest time that a test waits for one thing. The real CLI needs half a
/// second to start on an idle machine, and a test machine is seldom idle.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Factor by which a machine may be slower than an idle one.
const SLOWNESS: u32 = 5;

/// Time until a condition without a notification is checked again: at first, and at
/// most. A check costs something, and many tests wait beside one another.
const PROBE_INTERVALS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

/// The times between the checks of a condition.
#[derive(Debug)]
pub struct Probes(Duration);

impl Probes {
    /// The first is short, and each next one longer.
    pub const fn new() -> Self {
        Self(PROBE_INTERVALS.0)
    }

    fn next(&mut self) -> Duration {
        let longer = PROBE_INTERVALS.1.min(self.0 * 2);
        std::mem::replace(&mut self.0, longer)
    }

    /// Waits for the next check.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self::new()
    }
}

/// The future's outcome, or a panic that names `what` after [`DEADLINE`].
///
/// The end of the time polls the future once more. One that is ready only then was
/// not woken when it should have been, which is a failure too.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let begin = tokio::time::Instant::now();
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(outcome) if begin.elapsed() < DEADLINE => outcome,
        Ok(_) => panic!("{what} came with the end of the {DEADLINE:?}: nobody was woken for it"),
        Err(_) => panic!("waited {DEADLINE:?} in vain for {what}"),
    }
}

/// The future's outcome, or a panic after [`DEADLINE`].
///
/// # Panics
/// After the deadline.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    within("what the test does here", future).await
}

/// The first `Some` of `probe`, or a panic that names `what` after [`DEADLINE`].
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    within(what, async {
        let mut probes = Probes::new();
        loop {
            if let Some(found) = probe() {
                return found;
            }
            probes.pause().await;
        }
    })
    .await
}

/// [`until`] for a condition that is asynchronous.
pub async fn until_async(what: &str, mut probe: impl AsyncFnMut() -> bool) {
    within(what, async {
        let mut probes = Probes::new();
        while !probe().await {
            probes.pause().await;
        }
    })
    .await;
}

/// Fails if more time than `limit` has passed since `start`, with an allowance
/// for a slow machine.
#[track_caller]
pub fn was_within(limit: Duration, start: Instant) {
    let took = start.elapsed();
    assert!(took < limit * SLOWNESS, "{took:?}, where {limit:?} is enough on an idle machine");
}

/// [`until`] for code that cannot await, such as a `Drop`: `None` when
/// `deadline` passes.
pub fn until_blocking<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    let mut probes = Probes::new();
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if start.elapsed() > deadline {
            return None;
        }
        std::thread::sleep(probes.next());
    }
}
