//! Telling a person who is not there that the agent waits.

use super::Session;
use crate::notify::Reason;

/// What a person was told of last.
#[derive(Debug, Default)]
pub(super) struct Notified {
    asks: bool,
    turns: u64,
}

impl Session {
    /// Tells of a request to a person, once until it is answered, and of a turn
    /// that has ended while nobody is connected.
    pub(super) fn notify_person(&mut self) {
        let Some(notifier) = &self.runtime.notifier else { return };
        if self.drain_deadline.is_some() {
            return;
        }
        let asks = self.asks_a_person();
        let conversation = self.agent.session_id.as_deref();
        if asks && !self.notified.asks {
            let reason = match self.permissions.len() {
                0 => Reason::Question,
                _ => Reason::Permission,
            };
            notifier.tell(reason, conversation);
        }
        let in_turn = self.agent.running.as_ref().is_some_and(|running| running.in_turn());
        if self.agent.turns > self.notified.turns && self.client.is_none() && !in_turn {
            notifier.tell(Reason::Finished, conversation);
        }
        self.notified.asks = asks;
        self.notified.turns = self.agent.turns;
    }
}
