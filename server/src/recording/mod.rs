//! A recording of the conversation: every frame in both directions and what
//! goes between the relay and the agent, with times, as JSON lines.
//!
//! The session hands entries to a thread over a bounded queue and never waits
//! for it: what a slow disk has no time for is counted and told. The thread
//! masks secrets and keeps the files within their bounds. `docs/recordings.md`
//! describes the format.

mod mask;
pub mod read;
pub mod speed;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use claude_relay_protocol::Secret;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::redact::Redactor;

/// Maximum size of one file. A line of the agent can have 64 MiB.
pub const FILE_BYTES: u64 = 128 << 20;

/// Number of older files that are kept beside the current one.
pub const KEPT_FILES: u32 = 3;

/// Maximum size of what waits for the disk.
const QUEUE_BYTES: usize = 32 << 20;

/// Maximum number of entries that wait for the disk.
const QUEUE_ENTRIES: usize = 16 << 10;

/// Maximum time for the last entries to be written at the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(2);

/// The direction and the kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A line of the agent, with the number of its frame if it was sent on.
    AgentLine(Option<u64>),
    /// A line of the agent's stdout that is no JSON object.
    AgentText,
    /// A line of the agent's stderr.
    AgentStderr,
    /// The start of an agent.
    AgentStart,
    /// The end of an agent.
    AgentExit,
    /// A line that was written to the agent.
    ToAgent,
    /// A frame of the client.
    Client,
    /// A frame of the client that is no message.
    ClientText,
    /// The end of the client's connection.
    ClientClosed,
    /// A frame to the client, with its number if it has one.
    ToClient(Option<u64>),
    /// The configuration, without its secrets.
    Configuration,
}

impl Kind {
    /// Returns the direction, the key of the content, and the frame's number.
    fn parts(self) -> (&'static str, &'static str, Option<u64>) {
        match self {
            Self::AgentLine(seq) => ("agent", "line", seq),
            Self::AgentText => ("agent", "text", None),
            Self::AgentStderr => ("agent", "stderr", None),
            Self::AgentStart => ("agent", "start", None),
            Self::AgentExit => ("agent", "exit", None),
            Self::ToAgent => ("to_agent", "line", None),
            Self::Client => ("client", "frame", None),
            Self::ClientText => ("client", "text", None),
            Self::ClientClosed => ("client", "closed", None),
            Self::ToClient(seq) => ("to_client", "frame", seq),
            Self::Configuration => ("relay", "config", None),
        }
    }
}

/// One entry.
#[derive(Debug)]
struct Entry {
    at: Duration,
    kind: Kind,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// JSON on one line.
    Json(Bytes),
    Text(Bytes),
}

impl Content {
    fn len(&self) -> usize {
        match self {
            Self::Json(bytes) | Self::Text(bytes) => bytes.len(),
        }
    }
}

/// What the thread is given.
#[derive(Debug)]
enum Message {
    Entry(Entry),
    /// Nothing follows.
    Finish,
}

/// What the session and the thread know of each other.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    queued_bytes: AtomicUsize,
    lost: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
    has_failed: AtomicBool,
    redactor: Mutex<Redactor>,
    /// Number of changes to the redactor.
    generation: AtomicU64,
}

/// The recording did not start.
#[derive(Debug, thiserror::Error)]
#[error("--record (RELAY_RECORD): {path:?} cannot be written: {source}")]
pub struct RecordError {
    /// The file.
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Handle of a recording.
#[derive(Debug, Clone)]
pub struct Recorder {
    entries: mpsc::Sender<Message>,
    begun: Instant,
    shared: Arc<Shared>,
    finished: watch::Receiver<bool>,
}

impl Recorder {
    /// Opens `path` and starts the thread that writes to it. `redactor` holds the
    /// secrets that are known from the start.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be made, or holds something else.
    pub fn start(path: &Path, redactor: Redactor) -> Result<Self, RecordError> {
        let failed = |source| RecordError { path: path.to_owned(), source };
        let files = writer::Files::open(path.to_owned()).map_err(failed)?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            queued_bytes: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            redactor: Mutex::new(redactor),
            generation: AtomicU64::new(1),
        });
        let (entries, entries_from) = mpsc::channel(QUEUE_ENTRIES);
        let (finished_to, finished) = watch::channel(false);
        let thread = std::thread::Builder::new().name("recording".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                writer::run(files, entries_from, &shared);
                // Nobody may wait for it any more.
                let _ = finished_to.send(true);
            }
        });
        thread.map_err(failed)?;
        Ok(Self { entries, begun: Instant::now(), shared, finished })
    }

    /// Adds secrets to be masked from now on.
    pub fn mask(&self, secrets: impl IntoIterator<Item = Secret>) {
        self.shared.redactor.lock().unwrap_or_else(PoisonError::into_inner).extend(secrets);
        self.shared.generation.fetch_add(1, Ordering::Release);
    }

    /// Records JSON.
    pub fn json(&self, kind: Kind, json: &[u8]) {
        self.push(kind, json.len(), || Content::Json(Bytes::copy_from_slice(json)));
    }

    /// Records text.
    pub fn text(&self, kind: Kind, text: &[u8]) {
        self.push(kind, text.len(), || Content::Text(Bytes::copy_from_slice(text)));
    }

    fn push(&self, kind: Kind, bytes: usize, content: impl FnOnce() -> Content) {
        let shared = &self.shared;
        if shared.has_failed.load(Ordering::Relaxed) {
            return;
        }
        let queued = shared.queued_bytes.load(Ordering::Relaxed);
        let has_room = queued == 0 || queued.saturating_add(bytes) <= QUEUE_BYTES;
        let permit = has_room.then(|| self.entries.try_reserve().ok()).flatten();
        let Some(permit) = permit else {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let at = self.begun.elapsed();
        permit.send(Message::Entry(Entry { at, kind, content: content() }));
    }

    /// Returns the state for `/health`.
    #[must_use]
    pub fn health(&self) -> Value {
        let shared = &self.shared;
        json!({
            "state": if shared.has_failed.load(Ordering::Relaxed) { "failed" } else { "recording" },
            "file": shared.path.to_string_lossy(),
            "entries": shared.entries.load(Ordering::Relaxed),
            "bytes": shared.bytes.load(Ordering::Relaxed),
            "lost": self.lost(),
        })
    }

    /// Returns the number of entries that were left out.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Writes what waits, within a bound, and ends the recording.
    pub async fn finish(&self) {
        let mut finished = self.finished.clone();
        let end = async {
            // An error means that the thread has ended already.
            let _ = self.entries.send(Message::Finish).await;
            let _ = finished.wait_for(|is| *is).await;
        };
        if tokio::time::timeout(FINISH_TIMEOUT, end).await.is_err() {
            tracing::warn!("the recording was not written to its end within {FINISH_TIMEOUT:?}");
        }
    }
}

#[cfg(test)]
mod tests;
