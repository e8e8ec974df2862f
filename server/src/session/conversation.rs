//! The conversation that goes on: its begin, its end, and its id.

use std::time::Instant;

use claude_relay_protocol::QueryConfig;

use super::Session;
use super::running::StopReason;
use crate::agent;
use crate::settings::Prewarm;

/// A conversation that goes on under another id from the next start on.
#[derive(Debug)]
pub(super) struct Fork {
    /// The id of the conversation so far.
    pub(super) of: String,
    /// The server draws the other id. The agent's own would be that of other
    /// copies of the machine, whose system has not been told that it is one.
    pub(super) draws_id: bool,
}

impl Fork {
    /// Makes `config` begin the fork. Returns the id of the fork where the server
    /// draws it: another one at each start, since the agent refuses one that it
    /// has used.
    pub(super) fn apply(&self, config: &mut QueryConfig) -> Option<String> {
        (config.resume, config.continue_latest) = (Some(self.of.clone()), None);
        config.fork_session = Some(true);
        self.draws_id.then(claude_relay_random::uuid)
    }
}

impl Session {
    /// Begins a conversation: a running turn is interrupted, and the agent is
    /// started anew. Gives the id of the conversation.
    pub(super) fn begin_conversation(&mut self, now: Instant) -> String {
        let id = self.spares.session_id(&self.config);
        let id = id.unwrap_or_else(claude_relay_random::uuid);
        self.hand_back_messages("a new conversation was begun");
        self.reset_conversation();
        self.agent.begins = Some(id.clone());
        let grace = self.runtime.settings.stop_grace;
        match &mut self.agent.running {
            Some(running) if running.stop_reason.is_none() => {
                running.stop(StopReason::NewConversation, grace, now);
            }
            _ => {}
        }
        id
    }

    /// Discards the conversation, because another one has been configured.
    pub(super) fn reset_conversation(&mut self) {
        self.agent.former_session_id = self.agent.session_id.take();
        self.agent.forks = None;
        self.agent.begins = None;
        self.agent.continues = false;
        self.agent.latest = None;
    }

    /// Gives the conversation an id of its own, after the turn that runs. One that
    /// ends with its agent keeps its id, and so do those of Codex.
    pub(super) fn change_conversation_id(&mut self, now: Instant) {
        if self.is_codex() || !agent::keeps_conversation(&self.config) {
            return;
        }
        self.agent.changes_id = true;
        if let Some(begins) = &mut self.agent.begins {
            *begins = claude_relay_random::uuid();
        }
        let grace = self.runtime.settings.stop_grace;
        match &mut self.agent.running {
            Some(running) if running.stop_reason.is_some() => {}
            Some(running) if running.in_turn() => running.restart_due = true,
            Some(running) => running.stop(StopReason::Reconfigured, grace, now),
            None => {}
        }
    }

    /// Returns the id of a conversation that `config` begins, where the agent does not
    /// draw it. A machine that may be copied as it runs starts its agent when it is
    /// configured, and the agents of its copies would draw the same.
    pub(super) fn drawn_id(&self, config: &QueryConfig) -> Option<String> {
        let is_copied = self.runtime.settings.prewarm == Prewarm::Configured;
        let begins = self.agent.session_id.is_none()
            && config.resume.is_none()
            && config.continue_latest != Some(true)
            && config.fork_session != Some(true)
            && !config.other.contains_key("sessionId");
        (is_copied && begins && !self.is_codex()).then(claude_relay_random::uuid)
    }

    /// Makes the next start a fork of the conversation that goes on, where that is to
    /// get an id of its own.
    pub(super) fn fork_if_due(&mut self) {
        if std::mem::take(&mut self.agent.changes_id)
            && let Some(id) = self.agent.session_id.take()
        {
            self.agent.forks = Some(Fork { of: id, draws_id: true });
            // It was that of the conversation so far.
            self.config.other.remove("sessionId");
        }
    }
}
