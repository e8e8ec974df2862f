//! The reading side of one connection: what each frame means for the state of
//! the driver.

use bytestring::ByteString;
use claude_relay_protocol::turns::QUIET;

use super::handshake::closed;
use super::sequence::Outcome;
use super::session::{Driver, OpenConnection};
use super::tap::Direction;
use crate::error::{ConnectionError, SendError};
use crate::net::socket::Incoming;
use crate::types::frame::Frame;
use crate::types::message::ServerMessage;

impl Driver {
    /// Takes the frames that have been read, as many as the subscribers have
    /// room for, and hands their messages on.
    pub(super) fn take_frames(&mut self, open: &mut OpenConnection) -> Result<(), ConnectionError> {
        self.advance(open);
        let heard = open.heard;
        while !self.delivery.is_stalled() && !self.pending.is_full() {
            // An answer goes out when all that came before it has.
            if let Some((id, response)) = open.answer.take() {
                self.pending.control_answered(&id, response);
            }
            let Some(incoming) = open.reader.take()? else { break };
            open.heard += 1;
            match incoming {
                Incoming::Text(text) => self.on_text(text, open)?,
                Incoming::Ping(payload) => open.writer.pong(payload),
                Incoming::Pong(payload) => {
                    // Messages before it are handed on first.
                    self.advance(open);
                    open.writer.on_pong(&payload);
                    let pending = &mut self.pending;
                    open.acks.confirm(&payload, |id| pending.permission_closed(id));
                }
                Incoming::Close { code, reason } => return Err(closed(code, reason)),
            }
        }
        self.advance(open);
        if self.pending.is_full() {
            // Nothing more is read until decisions are written, which are behind the
            // message.
            open.writer.no_pong_comes();
        }
        self.publish_position();
        self.publish_idle();
        if open.heard != heard {
            let quiet_at = tokio::time::Instant::now() + QUIET;
            self.quiet_at = self.tracker.wants_quiet().then_some(quiet_at);
        }
        Ok(())
    }

    /// Hands on what there is room for. While somebody waits for an answer
    /// that is behind messages without room, the queues may grow to reach it;
    /// beyond a bound the answer is given up.
    pub(super) fn advance(&mut self, open: &mut OpenConnection) {
        self.delivery.advance();
        let is_awaited =
            open.acks.is_waiting() || self.pending.is_waiting() || open.writer.awaits_pong();
        if !self.delivery.is_stalled() || !is_awaited {
            return;
        }
        self.delivery.advance_to_answer();
        if self.delivery.is_stalled() {
            open.writer.no_pong_comes();
            let pending = &mut self.pending;
            open.acks.fail(&SendError::SlowConsumer, |id| pending.permission_closed(id));
            self.pending.fail_controls(&SendError::SlowConsumer);
        }
    }

    fn on_text(
        &mut self,
        text: ByteString,
        open: &mut OpenConnection,
    ) -> Result<(), ConnectionError> {
        self.tap.call(Direction::Received, &text);
        let bytes = text.len();
        let (seq, message) = match Frame::read(text) {
            Ok(Frame::Message(seq, message)) => (seq, message),
            Ok(Frame::Gap { from, to }) => {
                if let Some(gap) = self.sequence.gap(from, to) {
                    self.delivery.add_gap(gap);
                    self.ask_replayed();
                }
                return Ok(());
            }
            Ok(Frame::ControlResponse { request_id, response }) => {
                // Messages before it are handed on first.
                self.advance(open);
                open.answer = Some((request_id, response));
                return Ok(());
            }
            Ok(Frame::Connected(_) | Frame::Configured(_)) => return Ok(()),
            Err(error) => return Err(ConnectionError::protocol(error)),
        };
        let outcome = seq.map_or(Outcome::Next, |seq| self.sequence.frame(seq));
        let seen = outcome == Outcome::Seen;
        // A server that tells the agent's state tells of gaps, too: numbers
        // that are missing there belong to frames for other clients.
        if let Outcome::After(gap) = outcome
            && open.states == 0
        {
            self.delivery.add_gap(gap);
        }
        if matches!(message, ServerMessage::AgentState(_)) {
            open.states = open.states.saturating_add(1);
            if open.states > 1 {
                // All frames from before the connection have come.
                self.sequence.skip_to(self.first_new.saturating_sub(1));
            }
        }
        match message {
            message if message.asks().is_some() && self.replayed.is_replayed(seq) => {
                self.replayed.defer(message, bytes);
            }
            // A pending request is sent again to a client that comes back: it
            // is put to the program unless it is known.
            message if message.asks().is_some() => self.ask(message, bytes),
            message if message.withdraws().is_some_and(|id| self.replayed.withdraw(id)) => {}
            _ if seen => return Ok(()),
            message => {
                if let Some(id) = message.withdraws() {
                    self.pending.permission_closed(id);
                }
                self.tracker.on_message(&message);
                self.delivery.add(message, bytes);
            }
        }
        self.tracker.seen(self.sequence.last());
        self.ask_replayed();
        Ok(())
    }

    /// Puts a request to the program, unless it has got it already.
    fn ask(&mut self, request: ServerMessage, bytes: usize) {
        if self.pending.requested(&request) {
            self.delivery.add(request, bytes);
        }
    }

    /// Asks what a replay has left open, once it is through.
    fn ask_replayed(&mut self) {
        while let Some((request, bytes)) = self.replayed.open(self.sequence.last()) {
            self.ask(request, bytes);
        }
    }
}
