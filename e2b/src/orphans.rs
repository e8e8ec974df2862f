//! Sandboxes that nobody holds any more: found by their marks, and ended.
//!
//! A process that is killed cannot kill its sandboxes. They carry marks, so
//! that another process finds them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tokio::task::JoinSet;

use crate::error::Error;
use crate::http::E2b;
use crate::sandbox_id::SandboxId;
use crate::sandboxes::{Filter, Killed, SandboxInfo};

pub use crate::cleanup::KILLS_AT_A_TIME;

/// The mark of every sandbox that claude-relay starts.
pub const OWNER_MARK: &str = "started-by";
/// What the mark says.
pub const OWNER: &str = "claude-relay";
/// The mark that tells one start from every other.
pub const START_MARK: &str = "claude-relay-start";
/// The mark with the name of a pool.
pub const POOL_MARK: &str = "claude-relay-pool";

/// The sandboxes that claude-relay started, those of one pool only if named.
#[must_use]
pub fn owned(pool: Option<&str>) -> Filter {
    let mut metadata = BTreeMap::from([(OWNER_MARK.to_owned(), OWNER.to_owned())]);
    if let Some(pool) = pool {
        metadata.insert(POOL_MARK.to_owned(), pool.to_owned());
    }
    Filter { metadata, states: Vec::new() }
}

impl E2b {
    /// The sandboxes that fit and were started at least `age` ago.
    ///
    /// # Errors
    /// As [`E2b::list`].
    pub async fn list_older_than(
        &self,
        filter: &Filter,
        age: Duration,
    ) -> Result<Vec<SandboxInfo>, Error> {
        let now = SystemTime::now();
        let mut found = self.list(filter).await?;
        // A clock that is behind the server's sees a start in the future.
        found.retain(|info| now.duration_since(info.started_at).unwrap_or_default() >= age);
        Ok(found)
    }

    /// Kills them all, [`KILLS_AT_A_TIME`] at a time, and tells of each what
    /// became of it. One that cannot be killed does not stop the others.
    pub async fn kill_all(
        &self,
        ids: impl IntoIterator<Item = SandboxId>,
    ) -> Vec<(SandboxId, Result<Killed, Error>)> {
        let mut ids = ids.into_iter();
        let mut kills = JoinSet::new();
        let mut done = Vec::new();
        loop {
            while kills.len() < KILLS_AT_A_TIME {
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
