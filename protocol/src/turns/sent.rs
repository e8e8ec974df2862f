//! Messages that were handed to the agent and that no turn has taken.

use std::collections::VecDeque;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) uuid: Option<String>,
    /// How many turns had ended when it was handed over.
    ended: u64,
}

/// A queue in the order of handing over.
#[derive(Debug, Default)]
pub(super) struct Sent {
    queue: VecDeque<Message>,
    pub(super) turns_ended: u64,
    /// The agent tells the way of every message that has a name.
    pub(super) are_named: bool,
}

impl Sent {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.queue.iter()
    }

    pub(super) fn push(&mut self, uuid: Option<&str>) {
        let uuid = uuid.map(str::to_owned);
        self.queue.push_back(Message { uuid, ended: self.turns_ended });
    }

    pub(super) fn pop_last(&mut self) {
        self.queue.pop_back();
    }

    /// The agent has read a message. One that somebody else has sent is taken
    /// note of.
    pub(super) fn queued(&mut self, uuid: &str) {
        if !self.queue.iter().any(|message| message.uuid.as_deref() == Some(uuid)) {
            self.push(Some(uuid));
        }
    }

    /// Takes a message out. Gives whether it was there.
    pub(super) fn remove(&mut self, uuid: &str) -> bool {
        let at = self.queue.iter().position(|message| message.uuid.as_deref() == Some(uuid));
        at.and_then(|at| self.queue.remove(at)).is_some()
    }

    /// The messages that a turn which names none has taken when it begins: all
    /// that waited at the end of the turn before, else the oldest.
    pub(super) fn guess_batch(&mut self) -> Vec<Message> {
        let (named, ended) = (self.are_named, self.turns_ended);
        let waiting =
            self.take(|message| message.ended < ended && !(named && message.uuid.is_some()));
        if waiting.is_empty() { self.guess_one().into_iter().collect() } else { waiting }
    }

    /// The oldest message that can be meant by a line without a name.
    pub(super) fn guess_one(&mut self) -> Option<Message> {
        let named = self.are_named;
        let at = self.queue.iter().position(|message| !named || message.uuid.is_none())?;
        self.queue.remove(at)
    }

    /// Puts messages back where they came from.
    pub(super) fn give_back(&mut self, messages: Vec<Message>) {
        for message in messages.into_iter().rev() {
            self.queue.push_front(message);
        }
    }

    /// Takes out what was handed over before the last turn ended. Of an agent
    /// that tells the way of messages, only what it does not tell of.
    pub(super) fn take_behind_result(&mut self) -> Vec<Message> {
        let (named, ended) = (self.are_named, self.turns_ended);
        self.take(|message| message.ended < ended && !(named && message.uuid.is_some()))
    }

    pub(super) fn take_all(&mut self) -> Vec<Message> {
        self.queue.drain(..).collect()
    }

    fn take(&mut self, which: impl Fn(&Message) -> bool) -> Vec<Message> {
        let (taken, left) = std::mem::take(&mut self.queue).into_iter().partition(which);
        self.queue = left;
        let taken: VecDeque<Message> = taken;
        taken.into()
    }
}
