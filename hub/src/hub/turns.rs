//! The messages of an agent: which is next, and what came of it.

use super::Hub;
use super::state::{Message, State};
use crate::wire::{AgentStatus, DelegationStatus};

/// Number of times that a message is handed to an agent which fails over it.
const MAX_ATTEMPTS: u32 = 4;

impl Hub {
    /// The message that an agent is to work on, if there is one.
    pub(crate) fn next_message(&self, id: &str) -> Option<Message> {
        self.state().kept.agents.get(id)?.inbox.front().cloned()
    }

    /// Notes that the first message is about to be handed to the agent, under
    /// this id. Returns false if it is not the first any more.
    pub(crate) fn begin_message(&self, id: &str, uuid: &str, handed: &str) -> bool {
        let mut state = self.state();
        let Some(agent) = state.kept.agents.get_mut(id) else { return false };
        let Some(message) = agent.inbox.front_mut().filter(|first| first.uuid == uuid) else {
            return false;
        };
        message.attempts += 1;
        message.uuid = handed.to_owned();
        let delegation = message.delegation.clone();
        if let Some(live) = state.live.get_mut(id) {
            live.reported = None;
        }
        if let Some(delegation) = delegation {
            self.set_delegation(&mut state, &delegation, DelegationStatus::Working, None);
        }
        self.set_status_in(&mut state, id, AgentStatus::Working);
        self.on_change(&mut state);
        true
    }

    /// A message has a result, or the reason why it has none.
    pub(crate) fn finish_message(&self, id: &str, uuid: &str, outcome: Result<String, String>) {
        let mut state = self.state();
        let reported = state.live.get_mut(id).and_then(|live| live.reported.take());
        let Some(agent) = state.kept.agents.get_mut(id) else { return };
        if agent.inbox.front().is_none_or(|first| first.uuid != uuid) {
            return;
        }
        let Some(message) = agent.inbox.pop_front() else { return };
        if let Some(delegation) = message.delegation {
            let outcome = reported.map_or(outcome, Ok);
            self.finish_delegation(&mut state, &delegation, outcome);
        }
        self.on_change(&mut state);
    }

    /// A message could not be worked on to its end. It is tried again, until it
    /// has been tried too often. Returns the number of attempts.
    pub(crate) fn fail_message(&self, id: &str, uuid: &str, error: &str) -> u32 {
        let attempts = {
            let state = self.state();
            let first = state.kept.agents.get(id).and_then(|agent| agent.inbox.front());
            first.filter(|first| first.uuid == uuid).map_or(0, |first| first.attempts)
        };
        if attempts >= MAX_ATTEMPTS {
            let text = format!("a message was given up after {attempts} attempts: {error}");
            self.on_error(id, text);
            self.finish_message(id, uuid, Err(error.to_owned()));
        }
        attempts
    }

    /// Drops all messages of an agent.
    pub(super) fn cancel_work(&self, state: &mut State, id: &str, reason: &str) {
        let Some(agent) = state.kept.agents.get_mut(id) else { return };
        let dropped = std::mem::take(&mut agent.inbox);
        for delegation in dropped.into_iter().filter_map(|message| message.delegation) {
            self.finish_delegation(state, &delegation, Err(reason.to_owned()));
        }
    }
}
