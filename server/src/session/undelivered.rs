//! Messages that were taken and will not be run: their senders are told.

use serde_json::json;

use super::Session;
use super::replay::Feature;

impl Session {
    /// Tells clients that these messages will not be run.
    pub(super) fn undelivered(&mut self, uuids: &[String], reason: &str) {
        if !uuids.is_empty() {
            let frame = json!({ "type": "undelivered", "uuids": uuids, "reason": reason });
            self.push_for(Feature::AgentState, &frame.to_string());
        }
    }

    /// Hands back all messages that no turn has taken: the server ends.
    pub(super) fn hand_back_for_shutdown(&mut self) {
        let running = self.agent.running.as_ref();
        let queued = running.into_iter().flat_map(|running| running.turns.queued());
        let mut uuids: Vec<_> = queued.map(str::to_owned).collect();
        uuids.extend(self.inbox.take_messages());
        self.undelivered(&uuids, "the server is shutting down");
    }

    /// Hands back all messages that wait for the agent. Gives how many.
    pub(super) fn hand_back_messages(&mut self, reason: &str) -> usize {
        let waiting = self.inbox.messages();
        let uuids = self.inbox.take_messages();
        self.undelivered(&uuids, reason);
        waiting
    }
}

/// The end of a sentence about messages that were handed back.
pub(super) fn not_taken(messages: usize) -> String {
    match messages {
        0 => String::new(),
        1 => ". Your message was not taken: send it again once that is mended".to_owned(),
        more => format!(". {more} messages were not taken: send them again once that is mended"),
    }
}
