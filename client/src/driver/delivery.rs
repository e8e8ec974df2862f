//! The way of a message from the connection to the subscribers, and what
//! happens when one of them has no room.

use std::collections::VecDeque;

use crate::driver::pending::Desk;
use crate::driver::subscribers::Stalled;
use crate::driver::writer::Link;
use crate::error::Error;
use crate::types::message::{Gap, ServerMessage};

/// How far beyond its limit a subscriber's queue may grow to reach an answer
/// that somebody waits for: more than the buffers of two systems hold.
pub(crate) const OVERFLOW_BYTES: usize = 16 << 20;

/// Messages on their way to the subscribers. It outlives the connection they
/// came on: they count as received, so the server will not send them again.
#[derive(Default)]
pub(crate) struct Delivery {
    /// Some subscribers have it.
    stalled: Option<Stalled>,
    /// Nobody has these.
    next: VecDeque<(ServerMessage, usize)>,
}

impl Delivery {
    /// A gap, behind what is on its way.
    pub(crate) fn add_gap(&mut self, gap: Gap) {
        self.add(ServerMessage::Gap(gap), 0);
    }

    /// A message of so many bytes, behind what is on its way.
    pub(crate) fn add(&mut self, message: ServerMessage, bytes: usize) {
        self.next.push_back((message, bytes));
    }

    /// Hands everything on. Cancelling it loses nothing.
    pub(crate) async fn settle(&mut self, desk: &Desk, link: &Link) {
        loop {
            if let Some(stalled) = &mut self.stalled {
                // While a subscriber holds it up, silence of the server means
                // nothing.
                link.set_blocked(true);
                hold(stalled, desk, link).await;
                link.set_blocked(false);
                self.stalled = None;
            }
            if self.next.is_empty() {
                return;
            }
            self.stalled = desk.try_deliver(&mut self.next).err();
        }
    }

    /// Hands everything on without waiting: there is no more to come.
    pub(crate) fn abandon(&mut self, desk: &Desk) {
        if let Some(mut stalled) = self.stalled.take() {
            stalled.deliver_over(usize::MAX);
        }
        while let Err(mut stalled) = desk.try_deliver(&mut self.next) {
            stalled.deliver_over(usize::MAX);
        }
    }
}

/// Waits for the subscribers that have no room. If somebody waits for an
/// answer of the server, which is behind the messages, the queues may grow to
/// reach it, up to a bound; beyond it the answer is given up. Otherwise a
/// program that sends and reads in one task could wait for itself.
async fn hold(stalled: &mut Stalled, desk: &Desk, link: &Link) {
    loop {
        if link.is_wanted() || desk.is_wanted() {
            if stalled.deliver_over(OVERFLOW_BYTES) {
                return;
            }
            link.fail_unconfirmed(&Error::SlowConsumer);
            desk.fail_controls(&Error::SlowConsumer);
        }
        tokio::select! {
            () = stalled.deliver() => return,
            () = link.wanted() => {}
        }
    }
}
