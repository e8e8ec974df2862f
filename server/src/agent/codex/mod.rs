//! The dialect of Codex's app-server: JSON-RPC, one object a line.
//!
//! What differs from Claude Code, and what follows from it:
//!
//! * A conversation (`thread`) has to be opened before a message can be
//!   handed over, and a message given while a turn runs would steer that turn
//!   and cut its answer off. So one message at a time is taken; the others
//!   wait in the session's inbox, where an interrupt can pass them.
//! * A message is an answered request. One without an answer at the end of
//!   the process was not read and is handed to the next.
//! * An interrupt leaves the running command alive: what runs in the
//!   background is cleared away after it, before the next message.
//! * An interrupt is refused until the turn has begun, and then the turn runs
//!   on: it is held back until then.
//! * A model that cannot be reached is asked for ever. The relay sets a limit.

mod approval;
mod changes;
mod confine;
mod control;
mod input;
pub mod launch;
mod opening;
pub mod policy;
pub mod remote;
pub mod remote_url;
mod requests;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use claude_relay_protocol::json::{fields, string};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use self::changes::Changes;
use self::launch::Setup;
use self::requests::{Request, Requests};
use super::protocol::{Accepts, ProtocolAction, Route, TurnEvent, UnsupportedMessage};
use crate::process::Input;

/// How long the app-server may take to answer a request of the relay. The
/// slowest, opening a long thread on a busy machine, takes seconds.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a turn may take to end after its interrupt; milliseconds were
/// seen.
pub const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(10);

/// How many bytes the app-server takes in one WebSocket message: 15 MiB were
/// taken, at 17 MiB it cuts the connection.
const REMOTE_LINE_BYTES: usize = 15 << 20;

/// One run's side of the conversation.
#[derive(Debug)]
pub struct Codex {
    setup: Setup,
    phase: Phase,
    /// The id of the open thread.
    thread: Option<String>,
    requests: Requests,
    actions: VecDeque<ProtocolAction>,
    /// A message whose `turn/start` has not been answered.
    handed: Option<Bytes>,
    /// File changes by item, until the item ends.
    changes: Changes,
    /// Settings that go with the next turn and stay from then on.
    next_turn: Map<String, Value>,
    /// Another conversation is wanted as soon as nothing is under way.
    renew: bool,
    /// Since when the model's API has been tried in vain.
    retrying: Option<Instant>,
    /// Until when an interrupted turn has to end.
    stops_by: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No thread is open yet.
    Opening,
    /// No turn runs.
    Idle,
    /// A turn was asked for and has not begun. Whether it is to stop.
    Asked { interrupt: bool },
    /// A turn runs.
    Turn,
    /// An interrupted turn has ended, and what it left is cleared away.
    Clearing,
}

impl Codex {
    /// The dialect of a run, and what is to be written first.
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
            handed: None,
            changes: Changes::default(),
            next_turn: Map::new(),
            renew: false,
            retrying: None,
            stops_by: None,
        };
        (codex, first)
    }

    /// See [`super::Dialect::accepts`].
    #[must_use]
    pub fn accepts(&self) -> Accepts {
        match self.phase {
            Phase::Idle => Accepts::Anything,
            Phase::Asked { .. } | Phase::Turn => Accepts::NoMessage,
            Phase::Opening | Phase::Clearing => Accepts::Requests,
        }
    }

    /// See [`super::Dialect::classify`].
    pub fn classify<'a>(&mut self, line: &'a [u8], now: Instant) -> Route<'a> {
        let Ok(text) = simdutf8::basic::from_utf8(line) else {
            return Route::NotJson;
        };
        let Ok([method, id, params]) = fields(text, ["method", "id", "params"]) else {
            return Route::NotJson;
        };
        match (method.and_then(string), id) {
            (Some(method), None) => self.notification(&method, params, now),
            (Some(method), Some(id)) => approval::question(
                &method,
                id,
                params,
                self.setup.run,
                self.setup.denies_all,
                |item| self.changes.get(item),
            ),
            (None, Some(id)) => self.reply(id, text, now),
            (None, None) => Route::Forward(TurnEvent::None),
        }
    }

    fn notification<'a>(
        &mut self,
        method: &str,
        params: Option<&'a RawValue>,
        now: Instant,
    ) -> Route<'a> {
        let read = |name| params.and_then(|params| fields(params.get(), [name]).ok()?[0]);
        let is_ours = || {
            let thread = read("threadId").and_then(string);
            thread.is_some() && thread.as_deref() == self.thread.as_deref()
        };
        match method {
            "turn/started" if is_ours() => {
                self.retrying = None;
                let interrupt = self.phase == Phase::Asked { interrupt: true };
                self.phase = Phase::Turn;
                if interrupt && let Some(line) = self.interrupt(now) {
                    self.actions.push_back(ProtocolAction::Write(line));
                }
                Route::Forward(TurnEvent::TurnStarted(self.thread.clone().map(Cow::Owned)))
            }
            "turn/completed" if is_ours() => {
                self.changes = Changes::default();
                self.retrying = None;
                let was_interrupted = self.stops_by.take().is_some()
                    || read("turn")
                        .and_then(|turn| fields(turn.get(), ["status"]).ok()?[0])
                        .and_then(string)
                        .is_some_and(|status| status == "interrupted");
                if was_interrupted {
                    self.clear(now);
                } else {
                    self.rest(now);
                }
                Route::Forward(TurnEvent::TurnEnded)
            }
            "item/started" => {
                self.retrying = None;
                self.changes.note(read("item"));
                Route::Forward(TurnEvent::None)
            }
            "item/completed" => {
                self.retrying = None;
                self.changes.forget(read("item"));
                Route::Forward(TurnEvent::None)
            }
            "error" if is_ours() => {
                if read("willRetry").is_some_and(|retry| retry.get() == "true") {
                    self.retrying.get_or_insert(now);
                }
                Route::Forward(TurnEvent::None)
            }
            "serverRequest/resolved" => match read("requestId") {
                Some(id) => {
                    Route::Withdrawn { id: approval::request_id(self.setup.run, id).into() }
                }
                None => Route::Hidden(TurnEvent::None),
            },
            // An app-server that others use too tells everybody.
            "thread/status/changed" if self.thread.is_some() && !is_ours() => {
                Route::Hidden(TurnEvent::None)
            }
            _ => {
                // What the model says proves that it is there.
                if self.retrying.is_some() && method.starts_with("item/") {
                    self.retrying = None;
                }
                Route::Forward(TurnEvent::None)
            }
        }
    }

    fn reply<'a>(&mut self, id: &RawValue, text: &str, now: Instant) -> Route<'a> {
        let Some((request, outcome)) = self.requests.complete(id, text) else {
            return Route::Hidden(TurnEvent::None);
        };
        match (request, outcome) {
            (Request::Initialize, outcome) => self.initialized(outcome, now),
            (Request::ReadConfig, outcome) => self.config_read(outcome, now),
            (Request::Open { resume }, outcome) => return self.opened(outcome, resume, now),
            (Request::StartTurn, Ok(_)) => self.handed = None,
            (Request::StartTurn, Err(error)) => {
                self.handed = None;
                self.phase = Phase::Idle;
                self.actions.push_back(ProtocolAction::TurnRefused(error));
            }
            // The turn's end is what counts, and it has its own deadline.
            (Request::Interrupt, _) => {}
            (Request::Clear, _) => self.rest(now),
        }
        Route::Hidden(TurnEvent::None)
    }

    /// See [`super::Dialect::message`].
    ///
    /// # Errors
    ///
    /// See [`UnsupportedMessage`].
    pub fn message(&mut self, data: Bytes, now: Instant) -> Result<Input, UnsupportedMessage> {
        let mut params = Map::new();
        params.insert("threadId".into(), json!(self.thread));
        params.extend(self.next_turn.clone());
        if let Some(id) = input::message_id(&data) {
            // It comes back with the message's item, so that the client knows
            // which turn is the one for its message.
            params.insert("clientUserMessageId".into(), json!(id));
        }
        params.extend(self.setup.turn.clone());
        params.insert("input".into(), input::translate(&data)?);
        let line = self.requests.make(Request::StartTurn, "turn/start", &params.into(), now);
        if self.setup.is_remote && line.len() > REMOTE_LINE_BYTES {
            self.requests.forget(&Request::StartTurn);
            return Err(UnsupportedMessage(format!(
                "it becomes {} bytes, and Codex takes {REMOTE_LINE_BYTES} over a WebSocket",
                line.len()
            )));
        }
        self.next_turn.clear();
        self.handed = Some(data);
        self.phase = Phase::Asked { interrupt: false };
        Ok(Input::Control(line))
    }

    /// The message that was handed over and may not have been read.
    pub fn unanswered(&mut self) -> Option<Bytes> {
        self.handed.take()
    }

    /// See [`super::Dialect::interrupt`].
    pub fn interrupt(&mut self, now: Instant) -> Option<Bytes> {
        match &mut self.phase {
            Phase::Asked { interrupt } => {
                *interrupt = true;
                None
            }
            Phase::Turn if self.stops_by.is_none() => {
                self.stops_by = Some(now + INTERRUPT_TIMEOUT);
                // No turn's id: whichever runs. The right one may be over, and
                // then the request does nothing.
                let params = json!({ "threadId": self.thread, "turnId": "" });
                Some(self.requests.make(Request::Interrupt, "turn/interrupt", &params, now))
            }
            _ => None,
        }
    }

    /// Nothing is under way: the next message can come, in another
    /// conversation if one is wanted.
    fn rest(&mut self, now: Instant) {
        if std::mem::take(&mut self.renew) {
            self.phase = Phase::Opening;
            self.open(None, now);
        } else {
            self.phase = Phase::Idle;
        }
    }

    /// Ends what an interrupted turn has left running.
    fn clear(&mut self, now: Instant) {
        self.phase = Phase::Clearing;
        let params = json!({ "threadId": self.thread });
        let method = "thread/backgroundTerminals/clean";
        let line = self.requests.make(Request::Clear, method, &params, now);
        self.actions.push_back(ProtocolAction::Write(line));
    }

    /// See [`super::Dialect::is_interrupting`].
    #[must_use]
    pub fn is_interrupting(&self) -> bool {
        let is_stopping = self.stops_by.is_some()
            || matches!(self.phase, Phase::Asked { interrupt: true } | Phase::Clearing);
        // One of our own ends its commands with its input.
        self.setup.is_remote && is_stopping
    }

    /// See [`super::Dialect::next_action`].
    pub fn next_action(&mut self) -> Option<ProtocolAction> {
        self.actions.pop_front()
    }

    /// When [`Self::on_time`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let retries = self.retrying.map(|since| since + self.setup.retry_limit);
        [self.requests.deadline(), self.stops_by, retries].into_iter().flatten().min()
    }

    /// Gives up what takes too long.
    pub fn on_time(&mut self, now: Instant) {
        if let Some(late) = self.requests.late(now) {
            self.requests = Requests::default();
            self.broken(format!("it has not answered {late} within {REQUEST_TIMEOUT:?}"));
        }
        if self.stops_by.is_some_and(|by| now >= by) {
            self.stops_by = None;
            self.broken(format!(
                "its turn has not ended within {INTERRUPT_TIMEOUT:?} after the interrupt"
            ));
        }
        let limit = self.setup.retry_limit;
        if self.retrying.is_some_and(|since| now >= since + limit) {
            self.retrying = None;
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
