//! The task that writes to a store: in order, without a limit of attempts, and
//! without anybody waiting for a store that is down.
//!
//! A part is *settled* once it is in the store, or in the spool, or lost and
//! told. Each of these takes a bounded time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use claude_relay_protocol::backoff::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};

use super::backend::StoreError;
use super::fetch::TRANSCRIPT_BYTES;
use super::key::{Key, part_name};
use super::spool::Spool;
use super::{Mirror, Store};

/// Time for the store to take a part, while the end of a turn waits for it.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Bytes for each further second that a part of the spool has, for which nobody
/// waits.
const SLOWEST_BYTES: u64 = 64 << 10;

/// Time before the first further attempt, and the longest.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Lines that may wait for the task.
const CAPACITY: usize = 256;

/// Bytes that may wait for the task, but for a single command. A whole transcript
/// is no more.
pub(super) const CAPACITY_BYTES: u64 = TRANSCRIPT_BYTES;

/// Size from which lines are not put together into one part any more.
const PART_BYTES: usize = 4 << 20;

/// Conversations whose place is remembered.
const MAX_HOMES: usize = 1000;

/// What the task is told.
#[derive(Debug)]
pub(super) enum Command {
    /// Lines of a transcript, each with its end.
    Append(Key, Bytes),
    /// The place of a conversation in the store, and the time of its last part.
    Home { session: String, project: String, after: u64 },
}

impl Command {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Append(_, lines) => lines.len() as u64,
            Self::Home { .. } => 0,
        }
    }
}

/// Commands that were taken at once.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    commands: u64,
    bytes: u64,
}

/// How far the task has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Number of settled commands.
    pub settled: u64,
    /// Bytes of those.
    pub settled_bytes: u64,
    /// Parts that wait in the spool, and their bytes.
    pub waiting: usize,
    /// Bytes that wait in the spool.
    pub waiting_bytes: u64,
    /// Parts that are in neither place.
    pub lost: u64,
    /// Why the store does not take what it is given.
    pub error: Option<String>,
}

/// The place of a conversation.
#[derive(Debug)]
struct Home {
    project: String,
    after: u64,
}

struct Writer {
    store: Arc<Store>,
    commands: mpsc::Receiver<Command>,
    progress: watch::Sender<Progress>,
    homes: HashMap<String, Home>,
    /// Time of the part that was named last.
    last: u64,
    /// Time of the next attempt, while the store does not take anything.
    retry_at: Option<Instant>,
    backoff: Backoff,
    attempt: Option<JoinHandle<Result<bool, StoreError>>>,
}

/// Starts the task, for which `capacity_bytes` may wait.
pub(super) fn start(store: Arc<Store>, capacity_bytes: u64) -> Mirror {
    let (to, commands) = mpsc::channel(CAPACITY);
    let (progress, progressed) = watch::channel(Progress::default());
    let mut writer = Writer {
        store: Arc::clone(&store),
        commands,
        progress,
        homes: HashMap::new(),
        last: 0,
        retry_at: None,
        backoff: Backoff::new(FIRST_RETRY, LAST_RETRY),
        attempt: None,
    };
    if store.has_waiting() {
        writer.retry_at = Some(Instant::now());
        writer.report(Taken::default(), None);
    }
    let task = tokio::spawn(writer.run());
    Mirror { store, to, progress: progressed, handed: 0, handed_bytes: 0, capacity_bytes, task }
}

impl Writer {
    async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            batch.clear();
            let retry_at = self.retry_at.filter(|_| self.attempt.is_none());
            tokio::select! {
                biased;
                taken = self.commands.recv_many(&mut batch, CAPACITY) => {
                    if taken == 0 {
                        return;
                    }
                    self.settle(&mut batch).await;
                }
                outcome = ended(&mut self.attempt) => self.on_attempt(outcome),
                () = at(retry_at) => {
                    self.attempt = Some(tokio::spawn(write_waiting(Arc::clone(&self.store))));
                }
            }
        }
    }

    /// Settles what was taken.
    async fn settle(&mut self, batch: &mut Vec<Command>) {
        let bytes = batch.iter().map(Command::bytes).sum();
        let taken = Taken { commands: batch.len() as u64, bytes };
        let mut error = None;
        for (key, body) in self.put_together(batch) {
            let path = self.name_part(&key);
            if self.retry_at.is_none() && self.attempt.is_none() {
                match write(&self.store, &path, body.clone(), ATTEMPT).await {
                    Ok(()) => continue,
                    Err(reason) => {
                        error = Some(reason.to_string());
                        self.retry_at = Some(Instant::now() + self.backoff.next_wait());
                    }
                }
            }
            if let Err(reason) = keep(&self.store, path, body).await {
                tracing::error!(
                    "lines of the conversation {} are not stored: {reason}",
                    key.session
                );
                error = Some(reason);
                self.progress.send_modify(|progress| progress.lost += 1);
            }
        }
        self.report(taken, error);
    }

    /// Puts lines of one transcript together, in their order.
    fn put_together(&mut self, batch: &mut Vec<Command>) -> Vec<(Key, Bytes)> {
        let mut parts: Vec<(Key, Vec<u8>)> = Vec::new();
        for command in batch.drain(..) {
            match command {
                Command::Append(key, lines) => {
                    let open = parts.iter_mut().rfind(|(other, _)| *other == key);
                    match open.filter(|(_, body)| body.len() + lines.len() <= PART_BYTES) {
                        Some((_, body)) => body.extend_from_slice(&lines),
                        None => parts.push((key, lines.to_vec())),
                    }
                }
                Command::Home { session, project, after } => {
                    if self.homes.len() == MAX_HOMES {
                        self.homes.clear();
                    }
                    self.homes.insert(session, Home { project, after });
                }
            }
        }
        parts.into_iter().map(|(key, body)| (key, body.into())).collect()
    }

    /// Names the next part. Its name sorts behind those that are there, also if
    /// another machine with another clock has written them.
    fn name_part(&mut self, key: &Key) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let home = self.homes.get(&key.session);
        let after = home.map_or(0, |home| home.after).max(self.last);
        self.last = (now.as_millis() as u64).max(after + 1);
        let mut key = key.clone();
        if let Some(home) = home {
            key.project.clone_from(&home.project);
        }
        format!("{}/{}", key.directory(), part_name(self.last))
    }

    fn on_attempt(&mut self, outcome: Result<bool, StoreError>) {
        self.attempt = None;
        match outcome {
            Ok(false) => {
                // The next part tells if the store takes anything.
                self.retry_at = None;
                let error = self.progress.borrow().error.clone();
                self.report(Taken::default(), error);
            }
            Ok(true) => {
                self.backoff.reset();
                self.retry_at = self.store.has_waiting().then(Instant::now);
                self.report(Taken::default(), None);
            }
            Err(reason) => {
                self.retry_at = Some(Instant::now() + self.backoff.next_wait());
                self.report(Taken::default(), Some(reason.to_string()));
            }
        }
    }

    fn report(&self, settled: Taken, error: Option<String>) {
        let (waiting, waiting_bytes) = self.store.waiting();
        self.progress.send_modify(|progress| {
            progress.settled += settled.commands;
            progress.settled_bytes += settled.bytes;
            (progress.waiting, progress.waiting_bytes) = (waiting, waiting_bytes);
            match error {
                Some(error) => progress.error = Some(error),
                None if self.retry_at.is_none() || settled.commands == 0 => progress.error = None,
                None => {}
            }
        });
    }
}

async fn write(store: &Store, path: &str, body: Bytes, time: Duration) -> Result<(), StoreError> {
    match timeout(time, store.backend.put(path, body)).await {
        Ok(written) => written,
        Err(_) => Err(StoreError::Timeout(time)),
    }
}

/// Time for the store to take a part that nobody waits for: also a large one over
/// a slow line.
fn attempt_timeout(bytes: usize) -> Duration {
    ATTEMPT + Duration::from_secs(bytes as u64 / SLOWEST_BYTES)
}

/// Writes the oldest part of the spool. Returns false if there is none.
async fn write_waiting(store: Arc<Store>) -> Result<bool, StoreError> {
    let Some(spool) = store.spool.clone() else { return Ok(false) };
    let front = spool.clone();
    let read = spawn_blocking(move || lock(&front).front()).await;
    let read = read.map_err(|_| StoreError::ShuttingDown)?;
    let read = read.map_err(|source| StoreError::Spool { source })?;
    let Some((path, body)) = read else { return Ok(false) };
    let time = attempt_timeout(body.len());
    write(&store, &path, body, time).await?;
    let popped = spawn_blocking(move || lock(&spool).pop()).await;
    popped.map_err(|_| StoreError::ShuttingDown)?;
    Ok(true)
}

/// Keeps a part that the store has not taken.
async fn keep(store: &Store, path: String, body: Bytes) -> Result<(), String> {
    let Some(spool) = store.spool.clone() else {
        return Err("there is no directory for a spool: HOME is not set".to_owned());
    };
    let kept = spawn_blocking(move || lock(&spool).push(&path, &body)).await;
    kept.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

/// The spool. What a task that has panicked has left is whole.
pub(super) fn lock(spool: &Mutex<Spool>) -> std::sync::MutexGuard<'_, Spool> {
    spool.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ended(
    attempt: &mut Option<JoinHandle<Result<bool, StoreError>>>,
) -> Result<bool, StoreError> {
    match attempt {
        Some(attempt) => attempt.await.unwrap_or(Err(StoreError::ShuttingDown)),
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Splits lines into parts of some [`PART_BYTES`], each of whole lines.
pub fn split(mut lines: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let near = lines.len().min(PART_BYTES).checked_sub(1)?;
        let end = memchr::memchr(b'\n', &lines[near..]).map_or(lines.len(), |at| near + at + 1);
        Some(lines.split_to(end))
    })
}

#[cfg(test)]
mod tests;
