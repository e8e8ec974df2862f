//! Turns: the running turn, its author, and the messages that it answers.
//!
//! A turn belongs to the messages that the agent names (`command_lifecycle`,
//! `user_message_uuids`), or to the agent itself (`origin`). For an agent that
//! names none, the model assigns messages by order: an idle agent takes one
//! message, and at the end of a turn it takes all that arrived meanwhile. The
//! `result` corrects a wrong guess.
//!
//! Server and clients use the same model. It has no clock: its owner calls
//! [`Turns::on_quiet`] when a turn has ended and the agent has written nothing
//! for [`QUIET`].

mod sent;
pub mod signal;
#[cfg(test)]
mod tests;
mod turn;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;

pub use signal::{Init, MessageState, SessionState, Signal};
pub use turn::Turn;

use sent::{Message, Sent};

/// Silence after a turn which means that nothing more belongs to it. The agent
/// begins any follow-up within 130 ms.
pub const QUIET: Duration = Duration::from_secs(1);

/// Author of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A message of a client.
    Client,
    /// The agent itself: the report of a background task, a schedule.
    Agent,
}

impl Origin {
    /// Returns the name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Agent => "agent",
        }
    }
}

/// A change caused by an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnEvent {
    /// A turn has begun.
    Began(Origin),
    /// A turn has ended.
    Ended {
        /// The turn, with everything known about it.
        turn: Turn,
        /// It ended with a `result`. Otherwise it was cut short: the agent
        /// ended or reported that it is idle.
        result: bool,
    },
    /// A message has ended and no turn named it.
    Finished {
        /// The message.
        uuid: String,
        /// The cause.
        how: Finish,
    },
}

/// End of a message that no turn named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The last turn has answered it as well.
    Answered,
    /// It was withdrawn before a turn took it.
    Cancelled,
    /// The agent had it already and does not run it again.
    Known,
    /// The agent has ended.
    Lost,
}

/// State of the agent with respect to turns.
#[derive(Debug, Clone, Default)]
pub struct Turns {
    current: Option<Turn>,
    sent: Sent,
    state: Option<SessionState>,
    tasks: BTreeSet<String>,
    /// The agent reports all its background tasks at every change.
    tells_tasks: bool,
    /// The number of ended tasks that the agent has not reported yet.
    reports_due: usize,
    /// A task has ended since the last turn began, and can be reported in the next
    /// one.
    report_follows: bool,
    /// The last event was the end of a turn.
    may_settle: bool,
}

impl Turns {
    /// The model of a reader who has not seen the lines so far: `running` is the
    /// turn that runs, `queued` the messages that wait, after `unnamed` of them
    /// that have no `uuid`.
    #[must_use]
    pub fn taken_up<'a>(
        running: Option<(Origin, Vec<Cow<'_, str>>)>,
        unnamed: usize,
        queued: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut turns = Self::default();
        if let Some((origin, uuids)) = running {
            if origin == Origin::Client && uuids.is_empty() {
                turns.sent.push(None);
            }
            turns.on_init(&uuids, false);
        }
        turns.sent.push_unnamed_before(unnamed);
        for uuid in queued {
            let taken = turns.current.as_ref().is_some_and(|turn| turn.answers(uuid));
            if !taken && turns.queued().all(|known| known != uuid) {
                turns.sent.push(Some(uuid));
            }
        }
        turns
    }

    /// Returns the running turn.
    #[must_use]
    pub fn current(&self) -> Option<&Turn> {
        self.current.as_ref()
    }

    /// Returns the messages that the agent was sent and that no turn has taken.
    pub fn queued(&self) -> impl Iterator<Item = &str> {
        self.sent.iter().filter_map(|message| message.uuid.as_deref())
    }

    /// Returns the number of such messages that have no `uuid`.
    #[must_use]
    pub fn unnamed(&self) -> usize {
        self.sent.iter().filter(|message| message.uuid.is_none()).count()
    }

    /// Returns whether there are such messages, with or without a `uuid`.
    #[must_use]
    pub fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Returns the number of running background tasks.
    #[must_use]
    pub fn background_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Returns whether the agent reports that it waits for a person's answer.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.state == Some(SessionState::RequiresAction)
    }

    /// Returns whether no turn runs or is about to start. Background tasks may
    /// run.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        // The agent reports that it is busy while a background agent runs.
        let busy = self.state.is_some_and(|state| state != SessionState::Idle);
        self.current.is_none()
            && self.sent.is_empty()
            && self.reports_due == 0
            && !(busy && self.tasks.is_empty())
    }

    /// Returns whether [`Turns::on_quiet`] could change something.
    #[must_use]
    pub fn wants_quiet(&self) -> bool {
        self.current.is_none()
            && self.state.is_none_or(|state| state == SessionState::Idle)
            && ((self.may_settle && !self.sent.is_empty()) || self.reports_due > 0)
    }

    /// Returns whether the agent is known to name its messages.
    #[must_use]
    pub fn knows_names(&self) -> bool {
        self.sent.are_named
    }

    /// Records that a message was sent to the agent.
    pub fn on_message_sent(&mut self, uuid: Option<&str>) {
        self.sent.push(uuid);
    }

    /// Records messages that others sent before those that are known, `unnamed` of
    /// them without a `uuid`.
    pub fn on_sent_before<'a>(&mut self, unnamed: usize, uuids: impl Iterator<Item = &'a str>) {
        self.sent.push_before(uuids);
        self.sent.push_unnamed_before(unnamed);
    }

    /// Records that the last message could not be sent.
    pub fn on_message_refused(&mut self) {
        self.sent.pop_last();
    }

    /// Forgets a message that was handed over, or was to be, and will not be run.
    pub fn on_undelivered(&mut self, uuid: &str) {
        self.sent.remove(uuid);
    }

    /// Forgets so many such messages without a `uuid`.
    pub fn on_unnamed_undelivered(&mut self, count: usize) {
        self.sent.remove_unnamed(count);
    }

    /// Records a line of the agent.
    pub fn on_signal(&mut self, signal: &Signal<'_>) -> Vec<TurnEvent> {
        match signal {
            Signal::Init(init) => self.on_init(&init.uuids, init.is_claude_code),
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
                self.report_follows |= *reports;
                Vec::new()
            }
            Signal::PermissionMode(_) => Vec::new(),
        }
    }

    /// Records that a turn has ended and that the agent has been silent for
    /// [`QUIET`]: the turn included the messages sent before, and no report
    /// follows.
    pub fn on_quiet(&mut self) -> Vec<TurnEvent> {
        if !self.wants_quiet() {
            return Vec::new();
        }
        self.reports_due = 0;
        self.may_settle = false;
        finished(self.sent.take_behind_result(), Finish::Answered).collect()
    }

    /// Records that the agent has ended, and with it everything that ran.
    pub fn on_agent_ended(&mut self) -> Vec<TurnEvent> {
        let Self { current, mut sent, .. } = std::mem::take(self);
        let mut events: Vec<_> =
            current.into_iter().map(|turn| TurnEvent::Ended { turn, result: false }).collect();
        events.extend(finished(sent.take_all(), Finish::Lost));
        events
    }

    fn on_init(&mut self, uuids: &[Cow<'_, str>], tells_reports: bool) -> Vec<TurnEvent> {
        self.may_settle = false;
        let report_follows = std::mem::take(&mut self.report_follows);
        let goes_on = self.current.is_some();
        let turn = self.current.get_or_insert_with(|| Turn::new(Origin::Agent));
        for uuid in uuids {
            self.sent.remove(uuid);
            turn.add(uuid);
        }
        if goes_on {
            return Vec::new();
        }
        turn.may_be_own = !tells_reports || report_follows || self.reports_due > 0;
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
        } else {
            let rest = turn.take_back_all_but_the_first();
            self.sent.give_back(rest);
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

    /// Switches to an agent that names messages: messages that it did not name
    /// are not part of its turn.
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

    /// Marks a message of the running turn as done. If all its messages are
    /// done, the turn has ended, even if its `result` is missing.
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
        // An agent that reports this names messages, too.
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
