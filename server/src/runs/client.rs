//! The client of a run: its arrival, what it gets, its acknowledgements, its
//! end, and the end of the run after it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;
use claude_relay_protocol::json::fields;
use claude_relay_protocol::run::{self as wire, CREDIT_BYTES};

use super::request::Message;
use super::run::{ForcedExit, Phase, Run, RunConnect};
use super::start::Command;
use crate::session::channels::{ClientChannels, ClientEvent};
use crate::session::replay::{BATCH_BYTES, Features};
use claude_relay_listen::ws::{Close, PriorityMessage};

/// Time for a client to receive the end of its run during a shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The most time that an agent without a client has between the steps of its
/// escalation: nobody waits for what it still has to say, and it is paid for.
const ABANDONED_STOP_GRACE: Duration = Duration::from_secs(1);

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) channels: ClientChannels<Message>,
    /// The number of the first frame that has not been sent to it.
    cursor: u64,
    /// An empty batch; `None` while one is being written.
    spent: Option<Vec<Bytes>>,
    heard_at: Instant,
    pinged_at: Option<Instant>,
}

/// Whether a line is the SDK's `authMessage`.
fn is_auth(line: &[u8]) -> bool {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let kind = fields(text, ["type"]).ok().and_then(|[kind]| kind);
    kind.is_some_and(|kind| kind.get() == r#""auth""#)
}

impl Client {
    /// Sends a small message. Returns false if there is no room for it.
    fn send(&self, message: PriorityMessage) -> bool {
        self.channels.priority.try_send(message).is_ok()
    }
}

impl Run {
    pub(super) fn on_connect(&mut self, request: RunConnect, now: Instant) {
        let RunConnect { after, config, channels, accepted } = request;
        let client = Client {
            channels,
            cursor: after + 1,
            spent: Some(Vec::new()),
            heard_at: now,
            pinged_at: None,
        };
        let is_known = after < self.replay.next() && after + 1 >= self.replay.first();
        if !is_known || self.drain_deadline.is_some() {
            let (reason, close) = match is_known {
                true => ("the server is shutting down", Close::GOING_AWAY),
                false => ("after: the run has no such number", Close::PROTOCOL_ERROR),
            };
            client.send(PriorityMessage::Text(ServerMessage::error(reason).to_json()));
            client.send(PriorityMessage::Close(close));
            let _ = accepted.send(false);
            return;
        }
        if let Some(former) = self.client.take() {
            tracing::info!("the client of a run is replaced by another connection");
            former.send(PriorityMessage::Close(Close::REPLACED));
        }
        self.on_ack(after);
        if !self.is_raw {
            let received = self.input.received;
            let connected = wire::connected(
                &self.stream,
                self.replay.next(),
                received,
                !matches!(self.phase, Phase::Waiting),
            );
            client.send(PriorityMessage::Text(connected));
        }
        self.ack_sent = self.input.done();
        self.client = Some(client);
        self.had_client = true;
        self.alone_since = None;
        self.status.connected.store(true, Ordering::Relaxed);
        if accepted.send(true).is_err() {
            self.on_disconnected(now);
        }
        if let Some(config) = config {
            self.on_start(Command::Configured(config));
        }
    }

    pub(super) fn on_disconnected(&mut self, now: Instant) {
        self.client = None;
        self.alone_since.get_or_insert(now);
        self.status.connected.store(false, Ordering::Relaxed);
    }

    pub(super) fn on_client_event(&mut self, event: ClientEvent<Message>, now: Instant) {
        if let Some(client) = &mut self.client {
            client.heard_at = now;
            client.pinged_at = None;
        }
        match event {
            ClientEvent::Alive => {}
            ClientEvent::Request(Ok(Message::Start(start)), _) if !self.is_raw => {
                self.on_start(Command::OfProgram(start));
            }
            ClientEvent::Request(Ok(Message::Start(_)), _) => {}
            ClientEvent::Request(Ok(Message::Numbered(seq, input)), _) => self.on_input(seq, input),
            ClientEvent::Request(Ok(Message::Ack(seq)), _) => self.on_ack(seq),
            // The SDK's `authMessage`: the access has been decided.
            ClientEvent::Request(Ok(Message::Raw(line, _)), _)
                if self.input.received == 0 && is_auth(&line) => {}
            ClientEvent::Request(Ok(Message::Raw(line, kind)), _) => {
                self.take_line(self.input.received + 1, line, kind);
            }
            ClientEvent::Request(Err(error), _) => self.say_error(&error),
        }
    }

    fn on_ack(&mut self, seq: u64) {
        // One of a frame that has not been sent means nothing.
        let sent = self.client.as_ref().map_or(seq, |client| client.cursor - 1);
        self.acked = self.acked.max(seq.min(sent));
        self.replay.forget(self.acked + 1);
    }

    /// Acknowledges what was handed to the agent.
    pub(super) fn acknowledge(&mut self) {
        let done = self.input.done();
        if let Some(client) = self.client.as_ref().filter(|_| !self.is_raw)
            && done > self.ack_sent
            && client.send(PriorityMessage::Text(wire::ack(done)))
        {
            self.ack_sent = done;
        }
    }

    pub(super) fn say_error(&mut self, error: &str) {
        if let Some(client) = &self.client {
            client.send(PriorityMessage::Text(ServerMessage::error(error).to_json()));
        }
    }

    /// Closes the connection, and leaves the run.
    pub(super) fn close(&mut self, close: Close) {
        if let Some(client) = self.client.take() {
            client.send(PriorityMessage::Close(close));
        }
        self.on_disconnected(Instant::now());
    }

    /// Sends what its credit allows, if the socket is free.
    pub(super) fn deliver(&mut self) {
        while let Some(batch) = self.next_batch() {
            let Some(client) = &self.client else { return };
            let Some(spent) = client.channels.send_batch(batch) else { return };
            self.on_written(spent);
        }
    }

    /// Returns the next frames for the client, if there are any, its socket is
    /// free, and its acknowledgements leave room.
    fn next_batch(&mut self) -> Option<Vec<Bytes>> {
        let client = self.client.as_mut()?;
        let next = self.replay.next();
        if client.cursor >= next || client.spent.is_none() {
            return None;
        }
        let under_way = self.replay.bytes_between(self.acked + 1, client.cursor);
        let first = self.replay.bytes_between(client.cursor, client.cursor + 1);
        let more = first.max(BATCH_BYTES as u64);
        if !self.is_raw && under_way > 0 && under_way + more > CREDIT_BYTES as u64 {
            return None;
        }
        let mut batch = client.spent.take()?;
        client.cursor = self.replay.batch_from(client.cursor, Features::default(), &mut batch);
        Some(batch)
    }

    pub(super) fn on_written(&mut self, batch: Vec<Bytes>) {
        let Some(client) = &mut self.client else { return };
        client.spent = Some(batch);
        if self.is_raw {
            // There are no acknowledgements.
            self.acked = client.cursor - 1;
            self.replay.forget(self.acked + 1);
        }
    }

    /// Returns the time of the next scheduled work.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timeouts = &self.runtime.settings.slot_timeouts;
        let liveness = self.client.as_ref().map(|client| match client.pinged_at {
            Some(at) => at + timeouts.pong_timeout,
            None => client.heard_at + timeouts.ping_interval,
        });
        let grace = self.alone_since.filter(|_| !self.abandoned);
        let grace = grace.map(|since| since + self.grace());
        let ending = match &self.phase {
            Phase::Ending { until, .. } => Some(*until),
            _ => None,
        };
        [liveness, grace, ending, self.drain_deadline].into_iter().flatten().min()
    }

    fn grace(&self) -> Duration {
        // A raw one cannot be come back to.
        match self.is_raw && self.had_client {
            true => Duration::ZERO,
            false => self.runtime.settings.run_grace,
        }
    }

    pub(super) fn on_time(&mut self, now: Instant) {
        let timeouts = &self.runtime.settings.slot_timeouts;
        if let Some(client) = &mut self.client {
            match client.pinged_at {
                Some(at) if now >= at + timeouts.pong_timeout => {
                    tracing::info!("the client of a run does not answer pings; dropped");
                    self.on_disconnected(now);
                }
                None if now >= client.heard_at + timeouts.ping_interval => {
                    client.pinged_at = Some(now);
                    client.send(PriorityMessage::Ping);
                }
                _ => {}
            }
        }
        if let Phase::Ending { until, .. } = &self.phase
            && now >= *until
        {
            self.end();
        }
        if self.alone_since.is_some_and(|since| now >= since + self.grace()) && !self.abandoned {
            tracing::info!("nobody has come for a run in {:?}; it is ended", self.grace());
            self.abandoned = true;
            let grace = self.runtime.settings.stop_grace.min(ABANDONED_STOP_GRACE);
            match &mut self.phase {
                Phase::Running { process, .. } => process.stop(grace),
                Phase::Preparing(_) => self.push_exit(None, Some("SIGTERM")),
                Phase::Waiting | Phase::Ending { .. } | Phase::Ended => {}
            }
        }
    }

    /// The server stops: the agent is told at once; the second time it is
    /// killed.
    pub(super) fn on_stop(&mut self, now: Instant) {
        let grace = self.runtime.settings.stop_grace;
        let again = std::mem::replace(&mut self.stopping, true);
        self.large.stop(grace);
        match &mut self.phase {
            Phase::Running { process, .. } if again => {
                self.large.give_up();
                process.kill();
            }
            Phase::Running { process, .. } => {
                process.terminate(grace);
                self.forced_exit = Some(ForcedExit { code: None, signal: Some("SIGTERM") });
                self.info("claude-relay: the server is shutting down, and the agent with it");
            }
            Phase::Waiting | Phase::Preparing(_) => self.push_exit(None, Some("SIGTERM")),
            Phase::Ending { .. } | Phase::Ended => {}
        }
        if matches!(self.phase, Phase::Ended) {
            self.drain_deadline.get_or_insert(now + DRAIN_TIMEOUT);
        }
    }

    /// Ends the run once its end has been told, or nobody will ask.
    pub(super) fn finish(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::Ended) {
            self.over = self.abandoned && matches!(self.phase, Phase::Waiting);
            return;
        }
        if self.stopping {
            self.drain_deadline.get_or_insert(now + DRAIN_TIMEOUT);
        }
        let is_told = self.acked + 1 >= self.replay.next();
        let is_sent = self
            .client
            .as_ref()
            .is_none_or(|client| client.cursor >= self.replay.next() && client.spent.is_some());
        let close = match self.stopping {
            true if is_sent || self.drain_deadline.is_some_and(|until| now >= until) => {
                Close::GOING_AWAY
            }
            false if is_told || self.abandoned => match self.is_raw && self.failed {
                true => Close::AGENT_FAILED,
                false => Close::NORMAL,
            },
            _ => return,
        };
        if let Some(client) = self.client.take() {
            client.send(PriorityMessage::Close(close));
        }
        self.over = true;
    }
}
