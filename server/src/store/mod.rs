//! The store: conversations outlive the machine.
//!
//! Claude Code writes each line of its transcript to a file and, when it is
//! asked to, to its output (`--session-mirror`). The session hands those lines
//! to a [`Mirror`], which writes them below the keys of the Agent SDK's session
//! store. [`Store::fetch`] puts a conversation back into the CLI's directory, on
//! any machine.

pub mod access;
pub mod backend;
#[cfg(feature = "s3")]
mod bucket;
mod compare;
mod damage;
mod fetch;
pub mod key;
mod list;
mod local;
pub mod location;
mod reconcile;
mod spool;
mod writer;

use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use backend::StoreError;
pub use fetch::{Fetched, Wanted};
pub use writer::{Progress, split};

use access::BucketAccess;
use backend::{Backend, Directory};
use key::Key;
use location::Location;
use spool::Spool;
use writer::{CAPACITY_BYTES, Command, lock};

/// Time for the last lines to be settled when the server ends.
const FINISH: Duration = Duration::from_secs(10);

/// A store, and what waits for it on this disk.
#[derive(Debug)]
pub struct Store {
    location: Location,
    backend: Backend,
    spool: Option<Arc<Mutex<Spool>>>,
}

/// Reason for which a store cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The agent could write it.
    #[error(
        "--store {0}: it lies in the workspace, where the agent could change what it has said; name a directory outside of it"
    )]
    InWorkspace(Location),
    /// There is no client for the bucket.
    #[error("--store {location}: {reason}")]
    Bucket {
        /// The store.
        location: Location,
        /// Why it cannot be used, without secrets.
        reason: String,
    },
    /// Nothing could wait for the store.
    #[error("the spool of the store cannot be opened: {0}")]
    Spool(#[source] io::Error),
}

impl Store {
    /// Opens the store at `location` for the server of `workspace`. What it does
    /// not take waits below `state`, at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. A store that is down is no error.
    pub fn open(
        location: &Location,
        access: Option<&BucketAccess>,
        workspace: &Path,
        state: Option<&Path>,
        limit: u64,
    ) -> Result<Self, OpenError> {
        let canonical = |path: &Path| {
            path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?))).map(
                |(above, real)| match path.strip_prefix(above) {
                    Ok(rest) => real.join(rest),
                    Err(_) => real,
                },
            )
        };
        let backend = match location {
            Location::Directory(path) => {
                if let (Some(path), Some(workspace)) = (canonical(path), canonical(workspace))
                    && path.starts_with(workspace)
                {
                    return Err(OpenError::InWorkspace(location.clone()));
                }
                Backend::Directory(Directory::new(path.clone()))
            }
            Location::Bucket { bucket, prefix } => open_bucket(bucket, prefix, access)
                .map_err(|reason| OpenError::Bucket { location: location.clone(), reason })?,
        };
        let mut spool = None;
        if let Some(state) = state {
            let mut hash = Sha256::new();
            hash.update(location.to_string().as_bytes());
            hash.update([0]);
            hash.update(workspace.as_os_str().as_bytes());
            let mut name = String::from("store-");
            for byte in hash.finalize().iter().take(16) {
                // Writing to a String cannot fail.
                let _ = write!(name, "{byte:02x}");
            }
            let base = state.join("claude-relay").join(name);
            spool =
                Some(Arc::new(Mutex::new(Spool::open(&base, limit).map_err(OpenError::Spool)?)));
        }
        Ok(Self { location: location.clone(), backend, spool })
    }

    /// Its place.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Starts to take lines. Must be called within a runtime.
    #[must_use]
    pub fn mirror(self: &Arc<Self>) -> Mirror {
        writer::start(Arc::clone(self), CAPACITY_BYTES)
    }

    fn waiting(&self) -> (usize, u64) {
        let spool = self.spool.as_ref();
        spool.map_or((0, 0), |spool| {
            let spool = lock(spool);
            (spool.len(), spool.bytes())
        })
    }

    fn has_waiting(&self) -> bool {
        self.waiting().0 > 0
    }
}

#[cfg(feature = "s3")]
fn open_bucket(
    bucket: &str,
    prefix: &str,
    access: Option<&BucketAccess>,
) -> Result<Backend, String> {
    let access = access.ok_or("it needs credentials in the environment")?;
    bucket::Bucket::new(bucket, prefix, access).map(Backend::Bucket)
}

#[cfg(not(feature = "s3"))]
fn open_bucket(_: &str, _: &str, _: Option<&BucketAccess>) -> Result<Backend, String> {
    Err("this build knows directories alone: build it with `--features s3`".to_owned())
}

/// Takes lines of transcripts for a store.
#[derive(Debug)]
pub struct Mirror {
    store: Arc<Store>,
    to: mpsc::Sender<Command>,
    progress: watch::Receiver<Progress>,
    /// Number of commands that were handed over, and their bytes.
    handed: u64,
    handed_bytes: u64,
    /// Bytes that may wait, but for a single command.
    capacity_bytes: u64,
    task: JoinHandle<()>,
}

impl Mirror {
    /// The store.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Takes lines, each with its end. Returns false if there is no room.
    #[must_use]
    pub fn append(&mut self, key: Key, lines: Bytes) -> bool {
        self.send(Command::Append(key, lines))
    }

    /// Tells where a conversation lies, and the time of its last part. Returns
    /// false if there is no room.
    #[must_use]
    pub fn set_home(&mut self, session: &str, project: &str, after: u64) -> bool {
        let (session, project) = (session.to_owned(), project.to_owned());
        self.send(Command::Home { session, project, after })
    }

    fn send(&mut self, command: Command) -> bool {
        let bytes = command.bytes();
        let waiting = self.handed_bytes - self.progress.borrow().settled_bytes;
        if waiting > 0 && waiting + bytes > self.capacity_bytes {
            return false;
        }
        let is_sent = self.to.try_send(command).is_ok();
        if is_sent {
            self.handed += 1;
            self.handed_bytes += bytes;
        }
        is_sent
    }

    /// Returns true once everything that was taken is in the store, or in the
    /// spool, or lost and told.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.progress.borrow().settled >= self.handed
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until what was taken so far is settled.
    pub fn settled(&self) -> impl Future<Output = ()> + use<> {
        let (mut progress, handed) = (self.progress.clone(), self.handed);
        async move {
            // Without the task, there is nothing to wait for.
            let _ = progress.wait_for(|progress| progress.settled >= handed).await;
        }
    }

    /// Waits until it has come further.
    pub async fn progressed(&mut self) {
        if self.progress.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until the last lines are settled, for a bounded time.
    pub async fn finish(self) {
        let Self { to, task, .. } = self;
        drop(to);
        if timeout(FINISH, task).await.is_err() {
            tracing::error!("the last lines of a conversation were not stored within {FINISH:?}");
        }
    }
}
