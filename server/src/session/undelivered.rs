//! Messages that were taken and will not be run: their senders are told.

use serde_json::json;

use super::Session;
use super::replay::Feature;

/// Messages by their names, and the number of those that have none.
#[derive(Debug, Default)]
pub(super) struct HandedBack {
    pub(super) uuids: Vec<String>,
    pub(super) unnamed: usize,
}

impl HandedBack {
    pub(super) fn add(&mut self, uuid: Option<String>) {
        match uuid {
            Some(uuid) => self.uuids.push(uuid),
            None => self.unnamed += 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.uuids.len() + self.unnamed
    }

    fn append(&mut self, more: Self) {
        self.uuids.extend(more.uuids);
        self.unnamed += more.unnamed;
    }
}

impl Session {
    /// Tells clients that these messages will not be run.
    pub(super) fn undelivered(&mut self, messages: &HandedBack, reason: &str) {
        let HandedBack { uuids, unnamed } = messages;
        if uuids.is_empty() && *unnamed == 0 {
            return;
        }
        let mut frame = json!({ "type": "undelivered", "uuids": uuids, "reason": reason });
        if *unnamed > 0 {
            frame["unnamed"] = json!(unnamed);
        }
        self.push_for(Feature::AgentState, &frame.to_string());
    }

    /// Hands back all messages that no turn has taken: the server ends.
    pub(super) fn hand_back_for_shutdown(&mut self) {
        let turns = self.agent.running.as_ref().map(|running| &running.turns);
        let mut messages = turns.map_or_else(HandedBack::default, |turns| HandedBack {
            uuids: turns.queued().map(str::to_owned).collect(),
            unnamed: turns.unnamed(),
        });
        messages.append(self.inbox.take_messages());
        self.undelivered(&messages, "the server is shutting down");
    }

    /// Hands back all messages that wait for the agent. Gives how many.
    pub(super) fn hand_back_messages(&mut self, reason: &str) -> usize {
        let waiting = self.inbox.messages();
        let messages = self.inbox.take_messages();
        self.undelivered(&messages, reason);
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
