//! The dialect of Codex's app-server: JSON-RPC, one object per line.
//!
//! Differences from Claude Code, and their consequences:
//!
//! * A conversation (`thread`) has to be opened before the first message, and a
//!   message sent during a turn would steer that turn and cut off its answer.
//!   Therefore one message at a time is accepted; the others wait in the
//!   session's inbox, where an interrupt can overtake them.
//! * A message counts as read when its request is answered. One without an
//!   answer at the end of the process is sent to the next process.
//! * An interrupt does not end the running command: background terminals are
//!   cleaned up after it, before the next message.
//! * An interrupt is refused until the turn has begun, and the turn then goes
//!   on. Therefore it is delayed until then.
//! * Codex retries an unreachable model without limit. The relay sets a limit.

mod approval;
mod changes;
mod confine;
mod control;
pub mod fence;
mod input;
mod instructions;
pub mod launch;
pub mod lines;
pub mod location;
mod opening;
pub mod policy;
pub mod remote;
pub mod remote_url;
mod requests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use self::changes::Changes;
use self::launch::Setup;
use self::lines::{CodexLine, Notification};
use self::requests::{Outcome, Request, Requests};
use super::protocol::{Accepts, ProtocolAction, Route, TurnEvent, UnsupportedMessage};
use crate::process::Input;

/// Timeout for a response of the app-server. The slowest, opening a long thread
/// on a busy machine, takes seconds.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Timeout for the end of a turn after its interrupt. Milliseconds are usual.
pub const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a WebSocket message to the app-server: it accepted 15 MiB,
/// and closes the connection at 17 MiB.
const REMOTE_LINE_BYTES: usize = 15 << 20;

/// State of the dialect for one run.
#[derive(Debug)]
pub struct Codex {
    setup: Setup,
    phase: Phase,
    /// Id of the open thread.
    thread: Option<String>,
    requests: Requests,
    actions: VecDeque<ProtocolAction>,
    /// The message whose `turn/start` has not been answered.
    unconfirmed: Option<Bytes>,
    /// Pending file changes.
    changes: Changes,
    /// Settings to send with the next turn; they stay in effect.
    next_turn: Map<String, Value>,
    /// A new conversation was requested and is opened when no turn runs.
    new_conversation: bool,
    /// Time since which the model's API has been retried.
    retrying_since: Option<Instant>,
    /// Deadline for the end of an interrupted turn.
    interrupt_deadline: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No thread is open.
    Opening,
    /// The thread is open and no turn runs.
    Idle,
    /// A turn was requested and has not begun. `interrupt` is true if it is to
    /// be interrupted.
    TurnRequested { interrupt: bool },
    /// A turn runs.
    Turn,
    /// An interrupted turn has ended, and its background terminals are cleaned
    /// up.
    CleanUp,
}

impl Codex {
    /// Creates the dialect of a run. Returns the first line to write with it.
    #[must_use]
    pub fn new(setup: Setup, now: Instant) -> (Self, Bytes) {
        let mut requests = Requests::default();
        let first = opening::initialize(&mut requests, now);
        let codex = Self {
            setup,
            phase: Phase::Opening,
            thread: None,
            requests,
            actions: VecDeque::new(),
            unconfirmed: None,
            changes: Changes::default(),
            next_turn: Map::new(),
            new_conversation: false,
            retrying_since: None,
            interrupt_deadline: None,
        };
        (codex, first)
    }

    /// Implements [`super::Dialect::accepts`].
    #[must_use]
    pub fn accepts(&self) -> Accepts {
        match self.phase {
            Phase::Idle => Accepts::Anything,
            Phase::TurnRequested { .. } | Phase::Turn => Accepts::NoMessage,
            Phase::Opening | Phase::CleanUp => Accepts::Requests,
        }
    }

    /// Implements [`super::Dialect::route`].
    pub fn route<'a>(&mut self, line: CodexLine<'a>, now: Instant) -> Route<'a> {
        match line {
            CodexLine::NotJson => Route::NotJson,
            CodexLine::Notification { kind, thread } => {
                let is_own = thread.is_some() && thread.as_deref() == self.thread.as_deref();
                self.notification(kind, is_own, now)
            }
            CodexLine::Request(asked) => {
                asked.route(self.setup.run, self.setup.denies_all, |item| self.changes.get(item))
            }
            CodexLine::Response { id, outcome } => {
                match id.and_then(|id| self.requests.complete(id)) {
                    Some(request) => self.response(request, outcome, now),
                    None => Route::Hidden(TurnEvent::None),
                }
            }
            CodexLine::Other => Route::Forward(TurnEvent::None),
        }
    }

    /// Handles a notification. `is_own` is true if it is about the open thread.
    fn notification<'a>(
        &mut self,
        kind: Notification<'_>,
        is_own: bool,
        now: Instant,
    ) -> Route<'a> {
        match kind {
            Notification::TurnStarted if is_own => {
                self.retrying_since = None;
                let interrupt = self.phase == Phase::TurnRequested { interrupt: true };
                self.phase = Phase::Turn;
                if interrupt && let Some(line) = self.interrupt(now) {
                    self.actions.push_back(ProtocolAction::Write(line));
                }
                return Route::Forward(TurnEvent::TurnStarted(self.thread.clone().map(Cow::Owned)));
            }
            Notification::TurnCompleted { interrupted } if is_own => {
                self.changes = Changes::default();
                self.retrying_since = None;
                if self.interrupt_deadline.take().is_some() || interrupted {
                    self.clean_up(now);
                } else {
                    self.enter_idle(now);
                }
                return Route::Forward(TurnEvent::TurnEnded);
            }
            Notification::ItemStarted(change) => {
                self.retrying_since = None;
                if let Some((item, changes)) = change {
                    self.changes.insert(item, changes);
                }
            }
            Notification::ItemCompleted(item) => {
                self.retrying_since = None;
                if let Some(item) = item {
                    self.changes.remove(&item);
                }
            }
            // Output of the model shows that it is reachable.
            Notification::Item => self.retrying_since = None,
            Notification::Error { retries: true } if is_own => {
                self.retrying_since.get_or_insert(now);
            }
            Notification::Resolved(Some(id)) => {
                return Route::Withdrawn { id: approval::request_id(self.setup.run, &id).into() };
            }
            Notification::Resolved(None) => return Route::Hidden(TurnEvent::None),
            // A shared app-server notifies all its clients.
            Notification::StatusChanged if self.thread.is_some() && !is_own => {
                return Route::Hidden(TurnEvent::None);
            }
            Notification::TurnStarted
            | Notification::TurnCompleted { .. }
            | Notification::Error { .. }
            | Notification::StatusChanged
            | Notification::Other => {}
        }
        Route::Forward(TurnEvent::None)
    }

    /// Handles the response to a request of the relay.
    fn response<'a>(&mut self, request: Request, outcome: Outcome<'_>, now: Instant) -> Route<'a> {
        match (request, outcome) {
            (Request::Initialize, outcome) => self.initialized(outcome, now),
            (Request::ReadConfig, outcome) => self.config_read(outcome, now),
            (Request::ListSkills { resume }, outcome) => {
                self.skills_listed(outcome, resume, now);
            }
            (Request::Open { resume }, outcome) => return self.opened(outcome, resume, now),
            (Request::StartTurn, Ok(_)) => self.unconfirmed = None,
            (Request::StartTurn, Err(error)) => {
                self.unconfirmed = None;
                self.actions.push_back(ProtocolAction::TurnRefused(error));
                self.enter_idle(now);
            }
            // The end of the turn counts, and it has a deadline of its own.
            (Request::Interrupt, _) => {}
            (Request::CleanUp, _) => self.enter_idle(now),
        }
        Route::Hidden(TurnEvent::None)
    }

    /// Implements [`super::Dialect::message`].
    ///
    /// # Errors
    ///
    /// See [`UnsupportedMessage`].
    pub fn message(&mut self, data: Bytes, now: Instant) -> Result<Input, UnsupportedMessage> {
        let mut params = Map::new();
        params.insert("threadId".into(), json!(self.thread));
        params.extend(self.next_turn.clone());
        if let Some(id) = input::message_id(&data) {
            // It is returned with the message's item, so that the client can
            // match the turn with its message.
            params.insert("clientUserMessageId".into(), json!(id));
        }
        params.extend(self.setup.turn.clone());
        params.insert("input".into(), input::translate(&data)?);
        let line = self.requests.make(Request::StartTurn, "turn/start", &params.into(), now);
        if self.setup.is_remote && line.len() > REMOTE_LINE_BYTES {
            self.requests.remove(&Request::StartTurn);
            return Err(UnsupportedMessage(format!(
                "it becomes {} bytes, and Codex takes {REMOTE_LINE_BYTES} over a WebSocket",
                line.len()
            )));
        }
        self.next_turn.clear();
        self.unconfirmed = Some(data);
        self.phase = Phase::TurnRequested { interrupt: false };
        Ok(Input::Control(line))
    }

    /// Takes the message that was sent and may not have been read.
    pub fn unanswered(&mut self) -> Option<Bytes> {
        self.unconfirmed.take()
    }

    /// Implements [`super::Dialect::interrupt`].
    pub fn interrupt(&mut self, now: Instant) -> Option<Bytes> {
        match &mut self.phase {
            Phase::TurnRequested { interrupt } => {
                *interrupt = true;
                None
            }
            Phase::Turn if self.interrupt_deadline.is_none() => {
                self.interrupt_deadline = Some(now + INTERRUPT_TIMEOUT);
                // An empty turn id means the running turn. The one that was
                // meant may have ended, and then the request has no effect.
                let params = json!({ "threadId": self.thread, "turnId": "" });
                Some(self.requests.make(Request::Interrupt, "turn/interrupt", &params, now))
            }
            _ => None,
        }
    }

    /// Enters the idle state, or opens a new conversation if one was requested.
    fn enter_idle(&mut self, now: Instant) {
        if std::mem::take(&mut self.new_conversation) {
            self.phase = Phase::Opening;
            self.begin(None, now);
        } else {
            self.phase = Phase::Idle;
        }
    }

    /// Ends the background terminals of an interrupted turn.
    fn clean_up(&mut self, now: Instant) {
        self.phase = Phase::CleanUp;
        let params = json!({ "threadId": self.thread });
        let method = "thread/backgroundTerminals/clean";
        let line = self.requests.make(Request::CleanUp, method, &params, now);
        self.actions.push_back(ProtocolAction::Write(line));
    }

    /// Implements [`super::Dialect::is_interrupting`].
    #[must_use]
    pub fn is_interrupting(&self) -> bool {
        let is_stopping = self.interrupt_deadline.is_some()
            || matches!(self.phase, Phase::TurnRequested { interrupt: true } | Phase::CleanUp);
        // An app-server that the relay started ends its commands when its stdin
        // is closed.
        self.setup.is_remote && is_stopping
    }

    /// Implements [`super::Dialect::next_action`].
    pub fn next_action(&mut self) -> Option<ProtocolAction> {
        self.actions.pop_front()
    }

    /// Returns the time of the next call of [`Self::on_time`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let retries = self.retrying_since.map(|since| since + self.setup.retry_limit);
        [self.requests.deadline(), self.interrupt_deadline, retries].into_iter().flatten().min()
    }

    /// Handles deadlines that have passed.
    pub fn on_time(&mut self, now: Instant) {
        if let Some(late) = self.requests.late(now) {
            self.requests = Requests::default();
            self.broken(format!("it has not answered {late} within {REQUEST_TIMEOUT:?}"));
        }
        if self.interrupt_deadline.is_some_and(|by| now >= by) {
            self.interrupt_deadline = None;
            self.broken(format!(
                "its turn has not ended within {INTERRUPT_TIMEOUT:?} after the interrupt"
            ));
        }
        let limit = self.setup.retry_limit;
        if self.retrying_since.is_some_and(|since| now >= since + limit) {
            self.retrying_since = None;
            self.actions.push_back(ProtocolAction::Inform(format!(
                "The model's API has not been reached for {limit:?}; the turn is interrupted"
            )));
            let line = self.interrupt(now);
            self.actions.extend(line.map(ProtocolAction::Write));
        }
    }

    fn broken(&mut self, reason: String) {
        self.actions.push_back(ProtocolAction::Broken(reason));
    }
}

#[cfg(test)]
mod tests;
