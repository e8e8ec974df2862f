//! Telling a person that the agent waits (`--on-waiting`): a webhook, or a
//! command.
//!
//! The session puts a notice into a bounded queue and never waits. One task takes
//! them in order, tries each a few times with pauses between, and counts what
//! became of it.

mod address;
mod command;
mod sign;
pub mod target;
mod webhook;

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use claude_relay_protocol::Secret;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::supervisor::Supervisor;
use target::Target;

/// Maximum number of notices that wait.
const QUEUE_CAPACITY: usize = 64;

/// Maximum time for one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses between the attempts.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
    Duration::from_secs(60),
];

/// Reason for a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The agent asks for a permission.
    Permission,
    /// The agent asks something else of a person.
    Question,
    /// A turn has ended while nobody was connected.
    Finished,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Permission => "permission",
            Self::Question => "question",
            Self::Finished => "finished",
        }
    }
}

/// An attempt that has failed.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    /// Another attempt may do better.
    #[error("{0}")]
    Again(String),
    /// Another one would fail, too.
    #[error("{0}")]
    Refused(String),
}

#[derive(Debug, Default)]
struct Counts {
    delivered: AtomicU64,
    failed: AtomicU64,
    waiting: AtomicU64,
}

/// Handle of the task that tells.
#[derive(Debug, Clone)]
pub struct Notifier {
    notices: mpsc::Sender<String>,
    counts: Arc<Counts>,
}

/// What the task needs.
#[derive(Debug)]
pub struct Setup {
    /// Whom to tell.
    pub target: Target,
    /// Key of the signature.
    pub secret: Option<Secret>,
    /// Environment of a command.
    pub environment: Vec<(OsString, OsString)>,
    /// Supervisor of a command.
    pub supervisor: Supervisor,
}

impl Notifier {
    /// Starts the task.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let (notices, from) = mpsc::channel(QUEUE_CAPACITY);
        let counts = Arc::new(Counts::default());
        tokio::spawn(run(setup, from, Arc::clone(&counts)));
        Self { notices, counts }
    }

    /// Puts a notice into the queue. If it is full, the notice has failed.
    pub fn tell(&self, reason: Reason, conversation: Option<&str>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let notice = json!({
            "event": "waiting",
            "reason": reason.as_str(),
            "conversation": conversation,
            "id": claude_relay_random::uuid(),
            "unix_ms": now.as_millis() as u64,
        });
        self.counts.waiting.fetch_add(1, Ordering::Relaxed);
        if self.notices.try_send(notice.to_string()).is_err() {
            self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("--on-waiting: too many notices wait; one was left out");
        }
    }

    /// Returns the state for `/health`.
    #[must_use]
    pub fn health(&self) -> Value {
        let [delivered, failed, waiting] = self.counts();
        json!({ "delivered": delivered, "failed": failed, "waiting": waiting })
    }

    /// Logs how many notices wait: the server ends, and nobody is told of them.
    pub fn tell_undelivered(&self) {
        let [_, _, waiting] = self.counts();
        if waiting > 0 {
            tracing::warn!("--on-waiting: {waiting} notices were not delivered before the end");
        }
    }

    /// Returns how many notices were delivered, have failed, and wait.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        let Counts { delivered, failed, waiting } = &*self.counts;
        [delivered, failed, waiting].map(|count| count.load(Ordering::Relaxed))
    }
}

async fn run(setup: Setup, mut notices: mpsc::Receiver<String>, counts: Arc<Counts>) {
    while let Some(notice) = notices.recv().await {
        let count = match deliver(&setup, &notice).await {
            Ok(()) => &counts.delivered,
            Err(error) => {
                tracing::warn!("--on-waiting: a notice was not delivered: {error}");
                &counts.failed
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        counts.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Delivers a notice, in several attempts if need be.
async fn deliver(setup: &Setup, notice: &str) -> Result<(), AttemptError> {
    let mut pauses = PAUSES.into_iter();
    loop {
        let attempt = async {
            match &setup.target {
                Target::Url(url) => webhook::post(url, setup.secret.as_ref(), notice).await,
                Target::Command(command) => command::run(setup, command, notice).await,
            }
        };
        let outcome = timeout(ATTEMPT_TIMEOUT, attempt).await;
        let outcome = outcome.unwrap_or_else(|_| {
            Err(AttemptError::Again(format!("no end within {ATTEMPT_TIMEOUT:?}")))
        });
        match (outcome, pauses.next()) {
            (Err(AttemptError::Again(reason)), Some(pause)) => {
                tracing::debug!("--on-waiting: {reason}; tried again in {pause:?}");
                sleep(pause).await;
            }
            (outcome, _) => return outcome,
        }
    }
}
