//! Background work after a dropped guard or a lost answer. No kill is lost, and
//! the number of concurrent kills is limited.

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;

/// Maximum number of concurrent kills of orphans and of dropped guards.
pub const MAX_CONCURRENT_KILLS: usize = 20;

/// Background tasks of one client.
pub(crate) struct Cleanup {
    /// The kills that dropped guards have started; none of them may be lost.
    pub(crate) tasks: TaskTracker,
    kills: Semaphore,
}

impl Cleanup {
    pub(crate) fn new() -> Self {
        Self { tasks: TaskTracker::new(), kills: Semaphore::new(MAX_CONCURRENT_KILLS) }
    }

    /// Waits for a permit to kill: hundreds of guards may be dropped at once.
    pub(crate) async fn kill_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.kills.acquire().await.ok()
    }
}
