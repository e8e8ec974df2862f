//! Background work after a dropped guard or a lost answer. No kill is lost, and
//! the number of concurrent kills is limited.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::task::TaskTracker;

use crate::sandbox_id::SandboxId;

/// Maximum number of concurrent kills of orphans and of dropped guards.
pub const MAX_CONCURRENT_KILLS: usize = 20;

/// Background tasks of one client.
pub(crate) struct Cleanup {
    /// The kills that dropped guards have started; none of them may be lost.
    pub(crate) tasks: TaskTracker,
    kills: Semaphore,
    // A std mutex: it is not held across an await.
    unended: Mutex<Unended>,
}

/// Sandboxes that the background work could not end.
#[derive(Default)]
struct Unended {
    ids: BTreeSet<SandboxId>,
    /// A sandbox may have been made that could not be looked for.
    nameless: bool,
}

impl Cleanup {
    pub(crate) fn new() -> Self {
        Self {
            tasks: TaskTracker::new(),
            kills: Semaphore::new(MAX_CONCURRENT_KILLS),
            unended: Mutex::default(),
        }
    }

    fn unended(&self) -> MutexGuard<'_, Unended> {
        self.unended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a sandbox that could not be killed.
    pub(crate) fn could_not_end(&self, id: &SandboxId) {
        self.unended().ids.insert(id.clone());
    }

    /// Notes that a sandbox may live which could not be looked for.
    pub(crate) fn could_not_look(&self) {
        self.unended().nameless = true;
    }

    /// Forgets a sandbox that is gone.
    pub(crate) fn is_gone(&self, id: &SandboxId) {
        self.unended().ids.remove(id);
    }

    /// Returns the sandboxes that could not be killed and may live.
    pub(crate) fn unended_ids(&self) -> Vec<SandboxId> {
        self.unended().ids.iter().cloned().collect()
    }

    /// Returns whether something may live that should not. One that could not be
    /// looked for is told once.
    pub(crate) fn has_left_something(&self) -> bool {
        let mut unended = self.unended();
        std::mem::take(&mut unended.nameless) || !unended.ids.is_empty()
    }

    /// Waits for a permit to kill: hundreds of guards may be dropped at once.
    pub(crate) async fn kill_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.kills.acquire().await.ok()
    }
}
