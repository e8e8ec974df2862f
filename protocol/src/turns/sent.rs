//! Messages that were sent to the agent and that no turn has taken.

use std::collections::VecDeque;

/// One such message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) uuid: Option<String>,
    /// The number of turns that had ended when it was sent.
    ended: u64,
}

/// Queue in the order of sending.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    queue: VecDeque<Message>,
    pub(super) turns_ended: u64,
    /// The agent reports the state of every message that has a `uuid`.
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

    /// Puts messages that are not known yet in front of the others.
    pub(super) fn push_before<'a>(&mut self, uuids: impl Iterator<Item = &'a str>) {
        let ended = self.turns_ended;
        let before = uuids
            .filter(|uuid| !self.queue.iter().any(|known| known.uuid.as_deref() == Some(uuid)))
            .map(|uuid| Message { uuid: Some(uuid.to_owned()), ended })
            .collect();
        self.give_back(before);
    }

    /// Puts so many messages without a `uuid` in front of the others. One message
    /// cannot be told from another there, so those that are known count.
    pub(super) fn push_unnamed_before(&mut self, count: usize) {
        let known = self.queue.iter().filter(|message| message.uuid.is_none()).count();
        let message = Message { uuid: None, ended: self.turns_ended };
        self.give_back(vec![message; count.saturating_sub(known)]);
    }

    /// Removes so many messages without a `uuid`, the oldest first.
    pub(super) fn remove_unnamed(&mut self, mut count: usize) {
        self.queue.retain(|message| {
            let goes = message.uuid.is_none() && count > 0;
            count -= usize::from(goes);
            !goes
        });
    }

    pub(super) fn pop_last(&mut self) {
        self.queue.pop_back();
    }

    /// Records that the agent has read a message. Adds messages of other
    /// senders.
    pub(super) fn queued(&mut self, uuid: &str) {
        if !self.queue.iter().any(|message| message.uuid.as_deref() == Some(uuid)) {
            self.push(Some(uuid));
        }
    }

    /// Removes a message. Returns whether it was there.
    pub(super) fn remove(&mut self, uuid: &str) -> bool {
        let at = self.queue.iter().position(|message| message.uuid.as_deref() == Some(uuid));
        at.and_then(|at| self.queue.remove(at)).is_some()
    }

    /// Removes the messages that a turn without names takes when it begins: all
    /// that waited at the end of the previous turn, otherwise the oldest.
    pub(super) fn guess_batch(&mut self) -> Vec<Message> {
        let (named, ended) = (self.are_named, self.turns_ended);
        let waiting =
            self.take(|message| message.ended < ended && !(named && message.uuid.is_some()));
        if waiting.is_empty() { self.guess_one().into_iter().collect() } else { waiting }
    }

    /// Returns the oldest message that a line without a name can refer to.
    pub(super) fn guess_one(&mut self) -> Option<Message> {
        let named = self.are_named;
        let at = self.queue.iter().position(|message| !named || message.uuid.is_none())?;
        self.queue.remove(at)
    }

    /// Puts messages back at the front.
    pub(super) fn give_back(&mut self, messages: Vec<Message>) {
        for message in messages.into_iter().rev() {
            self.queue.push_front(message);
        }
    }

    /// Removes the messages that were sent before the last turn ended. If the
    /// agent reports messages, removes only those that it cannot report.
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
