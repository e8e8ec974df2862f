//! What is open between the program and the server: subscriptions, control
//! requests without an answer, permission requests without a decision.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::driver::sequence::Position;
use crate::driver::subscribers::{Stalled, Subscribers};
use crate::error::Error;
use crate::types::message::ServerMessage;
use crate::types::permission::{Decision, Handler, PermissionRequest};
use crate::types::raw_json::RawJson;

/// How many permission requests may be open at once. The agent asks for a
/// handful; one over the limit is denied, and told why.
pub(crate) const MAX_OPEN_PERMISSIONS: usize = 256;

/// Which way a message goes: see
/// [`ClientBuilder::on_traffic`](crate::ClientBuilder::on_traffic).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the program to the server.
    Sent,
    /// From the server to the program.
    Received,
}

pub(crate) type Tap = Arc<dyn Fn(Direction, &str) + Send + Sync>;
type ControlAnswer = oneshot::Sender<Result<RawJson, Error>>;

/// A message on its way out. Dropping the receiver of `done` withdraws it as
/// long as it has not been written.
pub(crate) struct Outgoing {
    pub(crate) text: String,
    pub(crate) done: oneshot::Sender<Result<(), Error>>,
}

pub(crate) struct Desk {
    pub(crate) subscribers: Subscribers,
    stream: Mutex<Option<String>>,
    seq: AtomicU64,
    next: AtomicU64,
    controls: Mutex<HashMap<String, ControlAnswer>>,
    permissions: Mutex<Permissions>,
    handler: Option<Handler>,
    /// Weak: a handler must not keep the queue of a gone client open.
    outgoing: mpsc::WeakSender<Outgoing>,
    tap: Option<Tap>,
}

#[derive(Default)]
struct Permissions {
    open: HashSet<String>,
    /// The handler's work, one task for each request it decides.
    deciding: HashMap<String, JoinSet<()>>,
}

impl Desk {
    pub(crate) fn new(
        buffer_bytes: usize,
        handler: Option<Handler>,
        tap: Option<Tap>,
        outgoing: mpsc::WeakSender<Outgoing>,
    ) -> Self {
        Self {
            subscribers: Subscribers::new(buffer_bytes),
            stream: Mutex::default(),
            seq: AtomicU64::new(0),
            next: AtomicU64::new(0),
            controls: Mutex::default(),
            permissions: Mutex::default(),
            handler,
            outgoing,
            tap,
        }
    }

    pub(crate) fn position(&self) -> Option<Position> {
        let stream = lock(&self.stream).clone()?;
        Some(Position { stream, seq: self.seq.load(Ordering::Relaxed) })
    }

    pub(crate) fn set_position(&self, position: Option<Position>) {
        if let Some(Position { stream, seq }) = position {
            *lock(&self.stream) = Some(stream);
            self.set_seq(seq);
        }
    }

    pub(crate) fn set_seq(&self, seq: u64) {
        self.seq.store(seq, Ordering::Relaxed);
    }

    /// The number of the first frame that is new, and no repetition of what
    /// was said before the connection; 0 if the server does not number them.
    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    pub(crate) fn set_next(&self, next: u64) {
        self.next.store(next, Ordering::Relaxed);
    }

    pub(crate) fn tap(&self, direction: Direction, text: &str) {
        if let Some(tap) = &self.tap {
            tap(direction, text);
        }
    }

    /// See [`Subscribers::try_deliver`].
    pub(crate) fn try_deliver(
        &self,
        messages: &mut VecDeque<(ServerMessage, usize)>,
    ) -> Result<(), Stalled> {
        self.subscribers.try_deliver(messages)
    }

    /// Opens a control request; the answer comes through what is returned.
    pub(crate) fn control_asked(
        &self,
        request_id: &str,
    ) -> oneshot::Receiver<Result<RawJson, Error>> {
        let (answer, answered) = oneshot::channel();
        let mut controls = lock(&self.controls);
        // Whoever stopped waiting left its entry behind.
        controls.retain(|_, answer| !answer.is_closed());
        controls.insert(request_id.to_owned(), answer);
        answered
    }

    pub(crate) fn control_answered(&self, request_id: &str, response: RawJson) {
        if let Some(answer) = lock(&self.controls).remove(request_id) {
            let _ = answer.send(Ok(response));
        }
    }

    /// Whether somebody waits for the answer to a control request.
    pub(crate) fn is_wanted(&self) -> bool {
        lock(&self.controls).values().any(|answer| !answer.is_closed())
    }

    pub(crate) fn control_withdrawn(&self, request_id: &str) {
        lock(&self.controls).remove(request_id);
    }

    /// Whether this request is a new one. Starts the handler on it.
    pub(crate) fn permission_asked(self: &Arc<Self>, request: &PermissionRequest) -> bool {
        let mut permissions = lock(&self.permissions);
        if permissions.open.contains(&request.id) {
            return false;
        }
        let too_many = permissions.open.len() >= MAX_OPEN_PERMISSIONS;
        permissions.open.insert(request.id.clone());
        if too_many || self.handler.is_some() {
            let mut task = JoinSet::new();
            task.spawn(Arc::clone(self).decide(request.clone(), too_many));
            permissions.deciding.insert(request.id.clone(), task);
        }
        true
    }

    /// Has the handler decide, and sends what it says.
    async fn decide(self: Arc<Self>, request: PermissionRequest, too_many: bool) {
        let id = request.id.clone();
        let decision = match &self.handler {
            Some(handler) if !too_many => {
                let handler = Arc::clone(handler);
                // In a task of its own, so that a panic in the program's code
                // is an answer too and not a silence.
                let mut inner = JoinSet::new();
                inner.spawn(async move { handler(request).await });
                match inner.join_next().await {
                    Some(Ok(decision)) => decision,
                    _ => Decision::deny("the program that decides failed"),
                }
            }
            _ => Decision::deny("too many requests are open at once"),
        };
        // If the connection takes it along, the server asks again.
        if let Ok(frame) = decision.frame(&id) {
            let _ = self.send(frame).await;
        }
        let mut permissions = lock(&self.permissions);
        permissions.open.remove(&id);
        // This task is at its end: it must not be ended from inside.
        if let Some(mut task) = permissions.deciding.remove(&id) {
            task.detach_all();
        }
    }

    /// The request was answered or withdrawn.
    pub(crate) fn permission_closed(&self, request_id: &str) {
        let mut permissions = lock(&self.permissions);
        permissions.open.remove(request_id);
        // Dropping a running decision ends it.
        permissions.deciding.remove(request_id);
    }

    /// Sends the program's own decision. Until it is delivered the request
    /// counts as open; after that the server may ask it again.
    pub(crate) async fn respond(&self, id: &str, decision: &Decision) -> Result<(), Error> {
        let frame = decision.frame(id).map_err(|error| Error::InvalidMessage(error.to_string()))?;
        let sent = self.send(frame).await;
        self.permission_closed(id);
        sent
    }

    /// Queues one frame and waits until the server has read it.
    pub(crate) async fn send(&self, text: String) -> Result<(), Error> {
        let ended = || Error::not_delivered(self.subscribers.ended().unwrap_or(Error::Stopped));
        let outgoing = self.outgoing.upgrade().ok_or_else(ended)?;
        let (done, delivered) = oneshot::channel();
        outgoing.send(Outgoing { text, done }).await.map_err(|_| ended())?;
        drop(outgoing);
        delivered.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Answers that were on their way will not be read.
    pub(crate) fn fail_controls(&self, error: &Error) {
        for (_, answer) in lock(&self.controls).drain() {
            let _ = answer.send(Err(Error::delivery_unknown(error.clone())));
        }
    }

    /// There will be no other connection.
    pub(crate) fn end(&self, error: &Error) {
        self.subscribers.end(error);
        self.fail_controls(error);
        let deciding = std::mem::take(&mut lock(&self.permissions).deciding);
        drop(deciding);
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

/// Nothing is awaited under these locks, and no panic under them leaves a
/// state half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
