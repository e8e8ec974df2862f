//! One turn, and the messages that it answers.

use super::Origin;
use super::sent::Message;

/// One turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// Its author. A guess until the agent reports it.
    pub origin: Origin,
    /// The messages that it answers, in the order in which it took them.
    pub uuids: Vec<String>,
    /// The number of known messages without a `uuid` that it answers.
    pub unnamed: usize,
    /// The guessed messages among them, in order.
    pub(super) guessed: Vec<Message>,
    /// Nothing excludes that the agent has begun it itself.
    pub(super) may_be_own: bool,
    /// The messages among them that the agent has reported as done.
    pub(super) done: usize,
}

impl Turn {
    /// Returns true if `uuid` is among its messages by a guess alone, which its end
    /// confirms or corrects, and the turn can be one of the agent itself.
    #[must_use]
    pub fn is_doubtful(&self, uuid: &str) -> bool {
        self.may_be_own && self.guessed.iter().any(|guess| guess.uuid.as_deref() == Some(uuid))
    }

    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            uuids: Vec::new(),
            unnamed: 0,
            guessed: Vec::new(),
            may_be_own: true,
            done: 0,
        }
    }

    /// Returns the last message that the turn answers.
    #[must_use]
    pub fn uuid(&self) -> Option<&str> {
        self.uuids.last().map(String::as_str)
    }

    /// Returns whether the turn answers the message `uuid`.
    #[must_use]
    pub fn answers(&self, uuid: &str) -> bool {
        self.uuids.iter().any(|known| known == uuid)
    }

    pub(super) fn add(&mut self, uuid: &str) {
        if !self.answers(uuid) {
            self.uuids.push(uuid.to_owned());
        }
    }

    pub(super) fn guess(&mut self, message: Message) {
        match &message.uuid {
            Some(uuid) => self.add(uuid),
            None => self.unnamed += 1,
        }
        self.guessed.push(message);
    }

    /// Removes all guessed messages but the first, if some of them have a `uuid` and
    /// some have none: the agent may take each by itself. If it has merged them,
    /// silence follows.
    pub(super) fn take_back_all_but_the_first(&mut self) -> Vec<Message> {
        let named = self.guessed.iter().filter(|message| message.uuid.is_some()).count();
        if named == 0 || named == self.guessed.len() {
            return Vec::new();
        }
        let mut is_first = true;
        self.take_back(|_| !std::mem::take(&mut is_first))
    }

    /// Removes the guessed messages that are `wrong` from the turn.
    pub(super) fn take_back(&mut self, wrong: impl FnMut(&Message) -> bool) -> Vec<Message> {
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
