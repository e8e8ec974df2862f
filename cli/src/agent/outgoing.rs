//! Messages for the run, and acknowledgements of its own.

use std::time::Duration;

use claude_relay_protocol::run as wire;
use tokio::time::Instant;

use super::link::Small;
use super::shim::{Shim, State};

/// An acknowledgement is sent after so many bytes, or so much time.
const ACK_BYTES: u64 = 512 << 10;
const ACK_DELAY: Duration = Duration::from_millis(500);

/// Time between messages that are sent one by one.
pub(super) const PACE: Duration = Duration::from_millis(30);

impl Shim {
    /// Adds a message for the run.
    pub(super) fn push(&mut self, message: String) {
        self.unacked_bytes += message.len();
        self.unacked.push_back((self.next_seq, message));
        self.next_seq += 1;
    }

    /// The last number of what need not be sent again: it has been written.
    pub(super) fn has(&self) -> u64 {
        let written = *self.written.borrow();
        if written.seq >= self.last_output || self.gone_by.is_some() {
            self.received
        } else {
            written.seq
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.greeted && self.sent < self.unacked.len()
    }

    /// The time until which nothing more is sent.
    pub(super) fn pause(&self) -> Instant {
        if self.paced { self.paced_until } else { self.down_since }
    }

    pub(super) fn send_unsent(&mut self) {
        let State::Up(link) = &self.state else { return };
        let now = Instant::now();
        while self.greeted
            && link.has_room()
            && now >= self.pause()
            && let Some((_, message)) = self.unacked.get(self.sent)
        {
            link.send(message.clone());
            self.sent += 1;
            self.paced_until = now + PACE;
        }
    }

    pub(super) fn send_ack(&mut self, now: Instant) {
        let State::Up(link) = &self.state else { return };
        let (has, bytes) = (self.has(), self.written.borrow().bytes);
        if !self.greeted || has <= self.acked {
            return;
        }
        let due = *self.ack_due.get_or_insert(now + ACK_DELAY);
        if now >= due || bytes - self.acked_bytes >= ACK_BYTES {
            link.send_small(Small::Ack(wire::ack(has)));
            (self.acked, self.acked_bytes, self.ack_due) = (has, bytes, None);
        }
    }
}
