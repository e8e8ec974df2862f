//! The version of Claude Code's CLI, known before it is started: flags and
//! messages depend on it.
//!
//! The executable is asked once, and again when its file has changed.

use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Mutex, oneshot};

use super::capabilities;
use crate::agent::Version;
use crate::runtime::Runtime;

/// An executable as it was when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    path: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// The executable as it is now.
    pub fn of(path: &Path) -> Option<Self> {
        let path = path.canonicalize().ok()?;
        let metadata = path.metadata().ok()?;
        Some(Self { bytes: metadata.len(), modified: metadata.modified().ok(), path })
    }
}

/// What the executable said, or why its version is not known.
type Said = Result<String, String>;

/// What the executable said last. Whoever asks meanwhile waits for the same
/// answer.
#[derive(Debug, Default)]
pub struct VersionCache(Mutex<Option<(Stamp, Said)>>);

impl VersionCache {
    /// Asks the executable, unless it has not changed since it was asked.
    pub async fn ask(&self, runtime: &Runtime, executable: Result<PathBuf, String>) -> Said {
        let path = executable?;
        let Some(stamp) = Stamp::of(&path) else {
            return capabilities::version(runtime, Ok(path)).await;
        };
        let mut kept = self.0.lock().await;
        match &*kept {
            Some((known, said)) if *known == stamp => said.clone(),
            _ => {
                let said = capabilities::version(runtime, Ok(path)).await;
                *kept = Some((stamp, said.clone()));
                said
            }
        }
    }
}

/// The version for the next start.
#[derive(Debug, Default)]
pub(super) struct CliVersion {
    pub(super) cache: Arc<VersionCache>,
    asked: Option<(Stamp, oneshot::Receiver<Option<Version>>)>,
    known: Option<(Stamp, Option<Version>)>,
}

/// An answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The version, or `None` when the executable does not tell it.
    Known(Option<Version>),
    /// It comes as an event.
    Asked,
}

impl CliVersion {
    /// The version of the configured executable; asks it where necessary.
    pub(super) fn get(&mut self, runtime: &Arc<Runtime>) -> Answer {
        // Without an executable the start itself says what is missing.
        let Some(path) = runtime.settings.claude() else { return Answer::Known(None) };
        let Some(stamp) = Stamp::of(&path) else { return Answer::Known(None) };
        if let Some((known, version)) = &self.known
            && *known == stamp
        {
            return Answer::Known(*version);
        }
        if self.asked.as_ref().is_none_or(|(asked, _)| *asked != stamp) {
            let (answer, answered) = oneshot::channel();
            let (runtime, cache) = (Arc::clone(runtime), Arc::clone(&self.cache));
            tokio::spawn(async move {
                let said = cache.ask(&runtime, Ok(path)).await;
                if let Err(reason) = &said {
                    tracing::warn!("the version of Claude Code is not known: {reason}");
                }
                // With the session gone nobody wants to know any more.
                let _ = answer.send(said.ok().and_then(|said| Version::parse(&said)));
            });
            self.asked = Some((stamp, answered));
        }
        Answer::Asked
    }

    /// Waits for the answer; for ever when nothing is asked. Nothing is lost
    /// when the wait is given up.
    pub(super) async fn answered(&mut self) -> Option<Version> {
        let Some((_, answered)) = &mut self.asked else { return pending().await };
        // A question that was lost has no answer.
        answered.await.unwrap_or_default()
    }

    /// Keeps what [`answered`](Self::answered) gave.
    pub(super) fn learn(&mut self, version: Option<Version>) {
        self.known = self.asked.take().map(|(stamp, _)| (stamp, version));
    }
}
