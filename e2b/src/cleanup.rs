//! What goes on behind a dropped guard or a lost answer, so that no kill is
//! lost and not too many are under way.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;

/// How many kills of orphans and of dropped guards are under way at a time.
pub const KILLS_AT_A_TIME: usize = 20;

/// The tasks of one client that nobody holds.
pub(crate) struct Cleanup {
    /// The kills that dropped guards have started and that must not be lost.
    pub(crate) tasks: TaskTracker,
    kills: Semaphore,
}

impl Cleanup {
    pub(crate) fn new() -> Self {
        Self { tasks: TaskTracker::new(), kills: Semaphore::new(KILLS_AT_A_TIME) }
    }

    /// A place among the kills that may be under way at a time: hundreds of
    /// guards may be dropped at once.
    pub(crate) async fn place_to_kill(&self) -> Option<SemaphorePermit<'_>> {
        self.kills.acquire().await.ok()
    }
}
