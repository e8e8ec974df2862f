//! Orphans: sandboxes without an owner, found by their marks and killed.
//!
//! A process that is killed cannot kill its sandboxes. Their marks let another
//! process find them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

use crate::error::Error;
use crate::http::E2b;
use crate::sandbox_id::SandboxId;
use crate::sandboxes::{Filter, Killed, SandboxInfo};

pub use crate::cleanup::MAX_CONCURRENT_KILLS;

/// Metadata key of every sandbox that claude-relay starts.
pub const OWNER_MARK: &str = "started-by";
/// Value of that key.
pub const OWNER: &str = "claude-relay";
/// Metadata key with a unique value for every start.
pub const START_MARK: &str = "claude-relay-start";
/// Metadata key with the name of a pool.
pub const POOL_MARK: &str = "claude-relay-pool";

/// Returns a filter for the sandboxes that claude-relay started, optionally
/// those of one pool.
#[must_use]
pub fn owned(pool: Option<&str>) -> Filter {
    let mut metadata = BTreeMap::from([(OWNER_MARK.to_owned(), OWNER.to_owned())]);
    if let Some(pool) = pool {
        metadata.insert(POOL_MARK.to_owned(), pool.to_owned());
    }
    Filter { metadata, states: Vec::new() }
}

impl E2b {
    /// Returns the matching sandboxes that were started at least `age` ago.
    ///
    /// # Errors
    /// Same as [`E2b::list`].
    pub async fn list_older_than(
        &self,
        filter: &Filter,
        age: Duration,
    ) -> Result<Vec<SandboxInfo>, Error> {
        let now = SystemTime::now();
        let mut found = self.list(filter).await?;
        // A clock behind the server's sees a start in the future.
        found.retain(|info| now.duration_since(info.started_at).unwrap_or_default() >= age);
        Ok(found)
    }

    /// Kills all of them, [`MAX_CONCURRENT_KILLS`] at a time, and returns each
    /// result. One failed kill does not stop the others.
    pub async fn kill_all(
        &self,
        ids: impl IntoIterator<Item = SandboxId>,
    ) -> Vec<(SandboxId, Result<Killed, Error>)> {
        let mut ids = ids.into_iter();
        let mut kills = JoinSet::new();
        let mut done = Vec::new();
        loop {
            while kills.len() < MAX_CONCURRENT_KILLS {
                let Some(id) = ids.next() else {
                    break;
                };
                let e2b = self.clone();
                kills.spawn(async move {
                    let killed = e2b.kill(&id).await;
                    (id, killed)
                });
            }
            match kills.join_next().await {
                Some(Ok(killed)) => done.push(killed),
                // A kill neither panics nor is cancelled.
                Some(Err(_)) => {}
                None => return done,
            }
        }
    }
}
