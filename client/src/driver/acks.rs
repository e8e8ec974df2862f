//! Messages that were written, each followed by a ping of its number. The pong
//! proves that the server has read it.

use std::collections::VecDeque;

use super::channels::{Receipt, ReceiptSender};
use crate::error::SendError;

/// A message without a confirmation.
pub(super) enum Unconfirmed {
    /// Its sender waits.
    Message(ReceiptSender, Receipt),
    /// A decision on the permission request of this id.
    Decision(String, Option<ReceiptSender>),
    /// A control request, whose sender waits for the answer instead.
    Control,
}

/// The messages without a confirmation on one connection.
#[derive(Default)]
pub(super) struct Acks {
    waiting: VecDeque<(u64, Unconfirmed)>,
    last: u64,
}

impl Acks {
    /// Adds a message that was written. Returns the number of the ping that
    /// has to follow it.
    pub(super) fn add(&mut self, message: Unconfirmed) -> u64 {
        self.last += 1;
        self.waiting.push_back((self.last, message));
        self.last
    }

    /// The number of the last message.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Returns true while a confirmation is missing.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// A pong has come: everything written before its ping has been read.
    /// Calls `decided` with each permission request whose decision was among
    /// it.
    pub(super) fn confirm(&mut self, payload: &[u8], decided: impl FnMut(&str)) {
        let Ok(number) = payload.try_into().map(u64::from_be_bytes) else { return };
        self.resolve(number, None, decided);
    }

    /// Fails all messages: it is not known whether they were read.
    pub(super) fn fail(&mut self, error: &SendError, decided: impl FnMut(&str)) {
        self.resolve(u64::MAX, Some(error), decided);
    }

    fn resolve(&mut self, number: u64, error: Option<&SendError>, mut decided: impl FnMut(&str)) {
        let outcome = |receipt| match error {
            Some(error) => Err(error.clone()),
            None => Ok(receipt),
        };
        while self.waiting.front().is_some_and(|(first, _)| *first <= number)
            && let Some((_, message)) = self.waiting.pop_front()
        {
            // A sender that is gone needs no answer.
            match message {
                Unconfirmed::Message(sender, receipt) => drop(sender.send(outcome(receipt))),
                Unconfirmed::Decision(id, sender) => {
                    decided(&id);
                    if let Some(sender) = sender {
                        drop(sender.send(outcome(Receipt::default())));
                    }
                }
                Unconfirmed::Control => {}
            }
        }
    }
}
