//! The way of a message from the connection to the subscribers, and what
//! happens when one of them has no room.

use std::collections::VecDeque;

use super::channels::Subscription;
use super::subscribers::{Stalled, Subscribers};
use crate::error::ConnectionError;
use crate::types::message::{Gap, ServerMessage};

/// The bytes that a subscriber's queue may grow beyond its limit to reach an
/// answer that somebody waits for: more than the buffers of two systems hold.
const OVERFLOW_BYTES: usize = 16 << 20;

/// Messages on their way to the subscribers. It outlives the connection they
/// came on: they count as received, so the server will not send them again.
#[derive(Default)]
pub(super) struct Delivery {
    subscribers: Subscribers,
    /// Some subscribers have it.
    stalled: Option<Box<Stalled>>,
    /// Nobody has these.
    next: VecDeque<(ServerMessage, usize)>,
}

impl Delivery {
    /// Adds a subscription behind what has been delivered.
    pub(super) fn subscribe(&mut self, subscription: Subscription) {
        self.subscribers.add(subscription);
    }

    /// The number of messages that a subscription of now gets and that came before
    /// it.
    pub(super) fn waiting(&self) -> usize {
        self.next.len()
    }

    /// Adds a gap, behind what is on its way.
    pub(super) fn add_gap(&mut self, gap: Gap) {
        self.add(ServerMessage::Gap(gap), 0);
    }

    /// Adds a message of so many bytes, behind what is on its way.
    pub(super) fn add(&mut self, message: ServerMessage, bytes: usize) {
        self.next.push_back((message, bytes));
    }

    /// Hands on as much as there is room for.
    pub(super) fn advance(&mut self) {
        self.advance_over(0);
    }

    /// Hands on as much as there is room for with the overflow on top, because
    /// somebody waits for an answer of the server that is behind it. Otherwise
    /// a program that sends and reads in one task could wait for itself.
    pub(super) fn advance_to_answer(&mut self) {
        self.advance_over(OVERFLOW_BYTES);
    }

    /// Hands everything on: there is no more to come.
    pub(super) fn finish(&mut self, error: &ConnectionError) {
        self.advance_over(usize::MAX);
        self.subscribers.end(error);
    }

    fn advance_over(&mut self, more_bytes: usize) {
        loop {
            if let Some(stalled) = &mut self.stalled {
                if !stalled.deliver_over(more_bytes) {
                    return;
                }
                self.stalled = None;
            }
            if self.next.is_empty() {
                return;
            }
            self.stalled = self.subscribers.try_deliver(&mut self.next).err();
            if self.stalled.is_none() {
                return;
            }
        }
    }

    /// Returns true while a subscriber has no room.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    /// Waits until all subscribers have the message that is stalled.
    /// Cancelling it loses nothing.
    pub(super) async fn room(&mut self) {
        if let Some(stalled) = &mut self.stalled {
            stalled.deliver().await;
            self.stalled = None;
        }
    }
}
