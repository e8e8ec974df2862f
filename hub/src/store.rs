//! The hub's files: the state, the logs of the agents, the token.
//!
//! One task writes. What changes while it does is written together, next.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::hub::log::{Log, LogChange};
use crate::hub::state::Kept;

/// The version of the state file.
const VERSION: u32 = 1;

/// Reason for which the hub's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read or written.
    #[error("{path:?} cannot be used")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The state is no state.
    #[error("{path:?} is no state of a hub: move it away to begin anew")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The fault.
        #[source]
        source: serde_json::Error,
    },
    /// Another version of the hub has written it.
    #[error("{path:?} is of version {found}; this hub knows version {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it has.
        found: u32,
    },
    /// Another hub has the directory.
    #[error("another hub uses {0:?}")]
    Taken(PathBuf),
}

/// The directory with the hub's files, which one hub has.
#[derive(Debug, Clone)]
pub struct Store {
    directory: Arc<PathBuf>,
    /// Locked as long as there is a store.
    _lock: Arc<File>,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    #[serde(flatten)]
    kept: &'a Kept,
}

impl Store {
    /// Opens the directory, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let failed = |path: &Path, source| StoreError::Io { path: path.to_owned(), source };
        for path in [directory.to_owned(), directory.join("logs"), directory.join("relays")] {
            create_private(&path).map_err(|source| failed(&path, source))?;
        }
        let path = directory.join("lock");
        let lock = private().open(&path).map_err(|source| failed(&path, source))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(StoreError::Taken(directory.to_owned()));
        }
        Ok(Self { directory: Arc::new(directory.to_owned()), _lock: Arc::new(lock) })
    }

    /// Reads the state; an empty one if there is none.
    pub(crate) fn load(&self) -> Result<Kept, StoreError> {
        #[derive(serde::Deserialize)]
        struct Version {
            version: u32,
        }
        let path = self.state();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
            Err(source) => return Err(StoreError::Io { path, source }),
        };
        let malformed = |source| StoreError::Malformed { path: path.clone(), source };
        let Version { version } = serde_json::from_slice(&text).map_err(malformed)?;
        if version != VERSION {
            return Err(StoreError::Version { path, found: version });
        }
        serde_json::from_slice(&text).map_err(malformed)
    }

    /// Reads the log of an agent; an empty one if there is none.
    pub(crate) fn load_log(&self, agent: &str, logged: u64) -> Log {
        match fs::read(self.log(agent)) {
            Ok(text) => Log::read(&text, logged),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Log::default(),
            Err(error) => {
                tracing::warn!(agent, "a log cannot be read: {error}");
                Log::default()
            }
        }
    }

    /// Replaces the state in one step.
    pub(crate) fn save(&self, kept: &Kept) -> io::Result<()> {
        let text = serde_json::to_vec(&Written { version: VERSION, kept })?;
        self.replace(&self.state(), &text)
    }

    /// Changes the log of an agent.
    pub(crate) fn save_log(&self, agent: &str, change: &LogChange) -> io::Result<()> {
        match change {
            LogChange::Replace(whole) => self.replace(&self.log(agent), whole),
            LogChange::Append(more) => {
                private().append(true).open(self.log(agent))?.write_all(more)
            }
        }
    }

    /// Removes what is left of an agent.
    pub(crate) fn remove(&self, agent: &str) {
        for path in [self.log(agent), self.relay_log(agent)] {
            // One that never was there is as good.
            let _ = fs::remove_file(path);
        }
    }

    /// Returns the token that was drawn before, or draws it.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written.
    pub fn token(&self) -> Result<String, StoreError> {
        let path = self.directory.join("token");
        let failed = |source| StoreError::Io { path: path.clone(), source };
        match fs::read_to_string(&path) {
            Ok(token) if token.trim().len() >= 32 => return Ok(token.trim().to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed(source)),
        }
        let token = claude_relay_random::hexadecimal::<32>();
        self.replace(&path, token.as_bytes()).map_err(failed)?;
        Ok(token)
    }

    /// The file that the relay of an agent logs to, which is locked as long as
    /// anything of that relay lives.
    pub(crate) fn relay_log(&self, agent: &str) -> PathBuf {
        self.directory.join("relays").join(format!("{agent}.log"))
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state.json")
    }

    fn log(&self, agent: &str) -> PathBuf {
        self.directory.join("logs").join(format!("{agent}.jsonl"))
    }

    fn replace(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let next = path.with_extension("next");
        let mut file = private().truncate(true).open(&next)?;
        file.write_all(text)?;
        file.sync_all()?;
        fs::rename(next, path)
    }
}

/// Options for a file that its owner alone can read.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn create_private(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
