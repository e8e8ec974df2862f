//! Turns: which one runs, whose it is, and which messages have had theirs.
//!
//! A turn belongs to the messages that the agent names (`command_lifecycle`,
//! `user_message_uuids`), or to the agent itself (`origin`). An agent that
//! names nothing is followed by order: an agent that was idle takes one
//! message, and behind a turn it takes at once all that came meanwhile. Such a
//! guess is corrected by the `result`.
//!
//! Server and clients use the same model. It has no clock: whoever feeds it
//! calls [`Turns::on_quiet`] when a turn has ended and [`QUIET`] has passed
//! without a word of the agent.

mod sent;
pub mod signal;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

pub use signal::{Init, MessageState, SessionState, Signal};

use sent::{Message, Sent};

/// The silence behind a turn that says that nothing more follows from it. The
/// agent begins what follows within 130 ms.
pub const QUIET: Duration = Duration::from_secs(1);

/// The author of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A message of a client.
    Client,
    /// The agent itself: the report of a background task, a schedule.
    Agent,
}

impl Origin {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Agent => "agent",
        }
    }
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Its author. A guess until the agent says so.
    pub origin: Origin,
    /// The messages that it answers, in the order it took them.
    pub uuids: Vec<String>,
    /// How many messages without a `uuid` it answers, as far as is known.
    pub unnamed: usize,
    /// Messages among them that were guessed, in their order.
    guessed: Vec<Message>,
    /// Messages among them that the agent calls done.
    done: usize,
}

impl Turn {
    fn new(origin: Origin) -> Self {
        Self { origin, uuids: Vec::new(), unnamed: 0, guessed: Vec::new(), done: 0 }
    }

    /// The message that the turn answers last.
    #[must_use]
    pub fn uuid(&self) -> Option<&str> {
        self.uuids.last().map(String::as_str)
    }

    /// Whether the turn answers the message `uuid`.
    #[must_use]
    pub fn answers(&self, uuid: &str) -> bool {
        self.uuids.iter().any(|known| known == uuid)
    }

    fn add(&mut self, uuid: &str) {
        if !self.answers(uuid) {
            self.uuids.push(uuid.to_owned());
        }
    }

    fn guess(&mut self, message: Message) {
        match &message.uuid {
            Some(uuid) => self.add(uuid),
            None => self.unnamed += 1,
        }
        self.guessed.push(message);
    }

    /// Takes back the guesses that `wrong` says are some.
    fn take_back(&mut self, wrong: impl Fn(&Message) -> bool) -> Vec<Message> {
        let (wrong, right): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.guessed).into_iter().partition(wrong);
        self.guessed = right;
        for message in &wrong {
            match &message.uuid {
                Some(uuid) => self.uuids.retain(|known| known != uuid),
                None => self.unnamed -= 1,
            }
        }
        wrong
    }
}

/// A change that follows from an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnEvent {
    /// A turn has begun.
    Began(Origin),
    /// A turn has ended.
    Ended {
        /// The turn, with all that is known of it.
        turn: Turn,
        /// It ended with a `result`. Otherwise it was cut: the agent died, or
        /// says that it is idle.
        result: bool,
    },
    /// A message has ended without being named by a turn.
    Finished {
        /// The message.
        uuid: String,
        /// The cause.
        how: Finish,
    },
}

/// The end of a message beside the end of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The last turn has answered it, too.
    Answered,
    /// It was withdrawn before a turn took it.
    Cancelled,
    /// The agent had it before and does not run it again.
    Known,
    /// The agent has ended.
    Lost,
}

/// The state of the agent as far as turns go.
#[derive(Debug, Default)]
pub struct Turns {
    current: Option<Turn>,
    sent: Sent,
    state: Option<SessionState>,
    tasks: BTreeSet<String>,
    /// The agent tells all its background tasks at every change.
    tells_tasks: bool,
    /// How many tasks have ended whose reports are still to come.
    reports_due: usize,
    /// The last thing that happened was the end of a turn.
    may_settle: bool,
}

impl Turns {
    /// The turn that runs.
    #[must_use]
    pub fn current(&self) -> Option<&Turn> {
        self.current.as_ref()
    }

    /// The messages that were handed over and that no turn has taken.
    pub fn queued(&self) -> impl Iterator<Item = &str> {
        self.sent.iter().filter_map(|message| message.uuid.as_deref())
    }

    /// Whether there are such messages, with a name or without.
    #[must_use]
    pub fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// How many background tasks run.
    #[must_use]
    pub fn background_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Whether the agent waits for an answer of a person, as it says itself.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.state == Some(SessionState::RequiresAction)
    }

    /// Whether no turn runs or is about to. Background tasks may run.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        // The agent calls itself busy while a background agent runs.
        let busy = self.state.is_some_and(|state| state != SessionState::Idle);
        self.current.is_none()
            && self.sent.is_empty()
            && self.reports_due == 0
            && !(busy && self.tasks.is_empty())
    }

    /// Whether [`Turns::on_quiet`] could change something.
    #[must_use]
    pub fn wants_quiet(&self) -> bool {
        self.current.is_none()
            && self.state.is_none_or(|state| state == SessionState::Idle)
            && ((self.may_settle && !self.sent.is_empty()) || self.reports_due > 0)
    }

    /// Whether the agent is known to name the messages that it works on.
    #[must_use]
    pub fn knows_names(&self) -> bool {
        self.sent.are_named
    }

    /// A message was handed to the agent.
    pub fn on_message_sent(&mut self, uuid: Option<&str>) {
        self.sent.push(uuid);
    }

    /// The message that was handed over last was not taken.
    pub fn on_message_refused(&mut self) {
        self.sent.pop_last();
    }

    /// The agent wrote a line.
    pub fn on_signal(&mut self, signal: &Signal<'_>) -> Vec<TurnEvent> {
        match signal {
            Signal::Init(init) => self.on_init(&init.uuids),
            Signal::Result { uuids, own } => self.on_result(uuids, *own),
            Signal::Message { uuid, state } => self.on_message(uuid, *state),
            Signal::State(state) => self.on_state(*state),
            Signal::Tasks(tasks) => {
                self.tells_tasks = true;
                self.tasks = tasks.iter().map(|id| id.as_ref().to_owned()).collect();
                Vec::new()
            }
            Signal::TaskStarted(id) => {
                if !self.tells_tasks {
                    self.tasks.insert(id.as_ref().to_owned());
                }
                Vec::new()
            }
            Signal::TaskEnded { id, reports } => {
                let known = self.tasks.contains(id.as_ref());
                if !self.tells_tasks {
                    self.tasks.remove(id.as_ref());
                }
                self.reports_due += usize::from(known && *reports);
                Vec::new()
            }
            Signal::PermissionMode(_) => Vec::new(),
        }
    }

    /// A turn has ended, and the agent has been silent for [`QUIET`]: what it
    /// was sent before was part of that turn, and no report follows.
    pub fn on_quiet(&mut self) -> Vec<TurnEvent> {
        if !self.wants_quiet() {
            return Vec::new();
        }
        self.reports_due = 0;
        self.may_settle = false;
        finished(self.sent.take_behind_result(), Finish::Answered).collect()
    }

    /// The agent has ended. Nothing of it goes on.
    pub fn on_agent_ended(&mut self) -> Vec<TurnEvent> {
        let Self { current, mut sent, .. } = std::mem::take(self);
        let mut events: Vec<_> =
            current.into_iter().map(|turn| TurnEvent::Ended { turn, result: false }).collect();
        events.extend(finished(sent.take_all(), Finish::Lost));
        events
    }

    fn on_init(&mut self, uuids: &[Cow<'_, str>]) -> Vec<TurnEvent> {
        self.may_settle = false;
        let goes_on = self.current.is_some();
        let turn = self.current.get_or_insert_with(|| Turn::new(Origin::Agent));
        for uuid in uuids {
            self.sent.remove(uuid);
            turn.add(uuid);
        }
        if goes_on {
            return Vec::new();
        }
        if uuids.is_empty() {
            for message in self.sent.guess_batch() {
                turn.guess(message);
            }
        }
        if !turn.uuids.is_empty() || turn.unnamed > 0 {
            turn.origin = Origin::Client;
        }
        let origin = turn.origin;
        vec![TurnEvent::Began(origin)]
    }

    fn on_result(&mut self, uuids: &[Cow<'_, str>], own: bool) -> Vec<TurnEvent> {
        let began = self.current.is_some();
        let mut turn = self.current.take().unwrap_or_else(|| Turn::new(Origin::Agent));
        if !uuids.is_empty() {
            let named = |uuid: &str| uuids.iter().any(|name| name == uuid);
            let wrong =
                turn.take_back(|guess| guess.uuid.as_deref().is_some_and(|uuid| !named(uuid)));
            self.sent.give_back(wrong);
            for uuid in uuids {
                self.sent.remove(uuid);
                turn.add(uuid);
            }
        } else if own {
            self.reports_due = self.reports_due.saturating_sub(1);
            let wrong = turn.take_back(|_| true);
            self.sent.give_back(wrong);
        } else if !began && let Some(message) = self.sent.guess_one() {
            turn.guess(message);
        }
        turn.origin = if own { Origin::Agent } else { Origin::Client };
        turn.guessed = Vec::new();
        self.sent.turns_ended += 1;
        self.may_settle = true;
        vec![TurnEvent::Ended { turn, result: true }]
    }

    fn on_message(&mut self, uuid: &str, state: MessageState) -> Vec<TurnEvent> {
        self.learn_names();
        match state {
            MessageState::Queued => {
                self.sent.queued(uuid);
                Vec::new()
            }
            MessageState::Started => {
                self.sent.remove(uuid);
                self.may_settle = false;
                let mut events = Vec::new();
                if self.current.is_none() {
                    events.push(TurnEvent::Began(Origin::Client));
                }
                self.current.get_or_insert_with(|| Turn::new(Origin::Client)).add(uuid);
                events
            }
            MessageState::Completed | MessageState::Cancelled => {
                if self.sent.remove(uuid) {
                    let how = match state {
                        MessageState::Cancelled => Finish::Cancelled,
                        _ => Finish::Known,
                    };
                    return vec![TurnEvent::Finished { uuid: uuid.to_owned(), how }];
                }
                self.on_done(uuid)
            }
        }
    }

    /// The agent turns out to be one that names messages: those that it did
    /// not name are not part of its turn.
    fn learn_names(&mut self) {
        if std::mem::replace(&mut self.sent.are_named, true) {
            return;
        }
        let Some(turn) = &mut self.current else { return };
        let wrong = turn.take_back(|guess| guess.uuid.is_some());
        if turn.uuids.is_empty() && turn.unnamed == 0 {
            turn.origin = Origin::Agent;
        }
        self.sent.give_back(wrong);
    }

    /// A message of the running turn is done. A turn whose messages all are
    /// has ended, though its `result` did not come.
    fn on_done(&mut self, uuid: &str) -> Vec<TurnEvent> {
        let Some(turn) = self.current.as_mut().filter(|turn| turn.answers(uuid)) else {
            return Vec::new();
        };
        turn.done += 1;
        let over = turn.origin == Origin::Client && turn.done >= turn.uuids.len();
        let over = over && turn.guessed.is_empty();
        let ended = if over { self.current.take() } else { None };
        ended.into_iter().map(|turn| TurnEvent::Ended { turn, result: false }).collect()
    }

    fn on_state(&mut self, state: SessionState) -> Vec<TurnEvent> {
        // One that tells this names messages, too.
        self.learn_names();
        self.state = Some(state);
        if state != SessionState::Idle {
            return Vec::new();
        }
        self.reports_due = 0;
        let cut = self.current.take().into_iter();
        cut.map(|turn| TurnEvent::Ended { turn, result: false }).collect()
    }
}

fn finished(messages: Vec<Message>, how: Finish) -> impl Iterator<Item = TurnEvent> {
    let names = messages.into_iter().filter_map(|message| message.uuid);
    names.map(move |uuid| TurnEvent::Finished { uuid, how })
}
