//! Clients of the session: their acceptance, delivery to them, and their
//! removal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;
use claude_relay_protocol::server_message::TAKEN_OVER;
use tokio::sync::Semaphore;

use super::Session;
use super::agent_state::StateFeed;
use super::replay::{Feature, Features};
use crate::recording::{Kind, Recorder};
use crate::session::channels::{ANSWER_BYTES, ClientChannels, ClientEvent, ConnectRequest, Replay};
use crate::session::replay::{Gap, ReplayBuffer};
use crate::session::slot::{ConnectionId, Decision};
use claude_relay_listen::ws::frame;
use claude_relay_listen::ws::{Close, PriorityMessage};

/// Maximum time for which a client is kept during a shutdown, to receive the
/// last output of the agent.
const CLIENT_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum time for the configuration of a client that configures as it
/// connects.
const CONFIGURE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum number of error messages about its own messages that a client may
/// leave unread. They are stored in the replay buffer until it has read them.
const UNREAD_ERROR_LIMIT: usize = 1024;

/// Maximum size of those errors. Each quotes little of the message.
const UNREAD_ERROR_BYTES: usize = 1 << 20;

/// The client that holds the slot.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ConnectionId,
    pub(super) channels: ClientChannels,
    sequenced: bool,
    /// Number of the first frame that has not been sent to its connection.
    cursor: u64,
    /// Number of the first frame that its socket has not accepted.
    written: u64,
    /// Empty batch for reuse; `None` while a batch is being written.
    spent_batch: Option<Vec<Bytes>>,
    /// Number of error messages since its socket accepted a batch.
    unread_errors: usize,
    unread_error_bytes: usize,
    /// Room for answers to its control requests.
    answers: Arc<Semaphore>,
    /// Features of the protocol that it supports.
    pub(super) features: Features,
    pub(super) state: StateFeed,
    /// The gap that it is to be told of.
    gap: Option<Gap>,
    recorder: Option<Recorder>,
    /// When its configuration, which it has not sent yet, is late. Nothing is
    /// delivered before it.
    pub(super) configures_by: Option<Instant>,
}

impl Client {
    /// Returns true if more output of the agent may be read.
    pub(super) fn has_room(&self, replay: &ReplayBuffer) -> bool {
        replay.has_room(self.written)
    }

    /// Returns the number of the first frame that must be kept for it.
    pub(super) fn keeps_from(&self) -> u64 {
        self.written
    }

    /// Returns true if it has been sent everything and its socket is free.
    pub(super) fn may_get_state(&self, replay: &ReplayBuffer) -> bool {
        self.cursor >= replay.next() && self.spent_batch.is_some()
    }

    fn has_pending(&self, replay: &ReplayBuffer) -> bool {
        self.written < replay.next()
    }

    /// Sends a priority message. Returns false if the channel is full, which
    /// happens only if the client does not read its answers.
    pub(super) fn send(&self, control: PriorityMessage) -> bool {
        if let Some(recorder) = &self.recorder
            && let PriorityMessage::Text(text) | PriorityMessage::Answer(text, _) = &control
        {
            recorder.json(Kind::ToClient(None), text.as_bytes());
        }
        self.channels.priority.try_send(control).is_ok()
    }
}

impl Session {
    pub(super) fn on_connect_request(&mut self, request: ConnectRequest, now: Instant) {
        if self.drain_deadline.is_some() {
            let _ = request.channels.priority.try_send(PriorityMessage::Close(Close::GOING_AWAY));
            let _ = request.accepted.send(false);
            return;
        }
        if request.attach.watches {
            self.on_watch_request(request, now);
            return;
        }
        let (id, takeover) = (request.id, request.attach.takeover);
        self.waiting.push(request);
        let decisions = self.slot.acquire(id, takeover, now);
        self.decide(decisions, now);
    }

    /// Executes the decisions of the slot.
    pub(super) fn decide(&mut self, decisions: Vec<Decision>, now: Instant) {
        for decision in decisions {
            match decision {
                Decision::Accept(id) => {
                    if let Some(request) = self.take_waiting(id) {
                        self.accept(request, now);
                    }
                }
                Decision::Refuse(id) => {
                    if let Some(request) = self.take_waiting(id) {
                        tracing::info!(connection = id.0, "refused: another client is connected");
                        self.counters.clients_refused += 1;
                        let error = ServerMessage::error("Server already has an active connection");
                        let _ = request
                            .channels
                            .priority
                            .try_send(PriorityMessage::Text(error.to_json()));
                        let _ =
                            request.channels.priority.try_send(PriorityMessage::Close(Close::BUSY));
                        let _ = request.accepted.send(false);
                    }
                }
                Decision::Ping(id) => {
                    // A full channel needs no handling: the missing pong
                    // counts.
                    let holder = self.client.as_ref().filter(|client| client.id == id);
                    holder.map(|client| client.send(PriorityMessage::Ping));
                }
                Decision::Evict(id) => {
                    tracing::info!(connection = id.0, "the client does not answer pings; dropped");
                    self.client = None;
                }
                Decision::Replace(id) => {
                    tracing::info!(
                        connection = id.0,
                        "replaced by a client that asked to take over"
                    );
                    if let Some(client) = self.client.take() {
                        let error = ServerMessage::error(TAKEN_OVER);
                        client.send(PriorityMessage::Text(error.to_json()));
                        client.send(PriorityMessage::Close(Close::REPLACED));
                    }
                }
            }
        }
    }

    fn take_waiting(&mut self, id: ConnectionId) -> Option<ConnectRequest> {
        let at = self.waiting.iter().position(|request| request.id == id)?;
        Some(self.waiting.remove(at))
    }

    /// Returns the name of the stream for a client with `features`. Numbers with
    /// inputs are others than those without.
    pub(super) fn stream_for(&mut self, features: Features) -> String {
        let stream = self.stream.get_or_insert_with(claude_relay_random::hexadecimal::<16>);
        if features.has(Feature::Input) { format!("{stream}-input") } else { stream.clone() }
    }

    fn accept(&mut self, request: ConnectRequest, now: Instant) {
        let ConnectRequest { id, attach, channels, accepted } = request;
        let sequenced = attach.replay.is_some();
        tracing::info!(connection = id.0, sequenced, "client connected");
        let stream = self.stream_for(attach.features);
        let (cursor, gap) = match &attach.replay {
            None => (self.replay.next(), None),
            Some(replay) => starting_point(&self.replay, replay, attach.features, &stream),
        };
        for frame in self.permissions.cancel_answered(cursor) {
            self.push(&frame);
        }
        for frame in self.permissions.send_again(cursor, self.replay.next()) {
            self.push(&frame);
        }
        self.replay.enable(attach.features);
        self.repeat_agent_requests(cursor, attach.features);
        let connected = ServerMessage::Connected {
            stream: sequenced.then_some(stream.into()),
            next: sequenced.then(|| self.replay.number(self.replay.next(), attach.features)),
        };
        let spent_batch = Some(Vec::new());
        let configures = attach.configures;
        let client = Client {
            id,
            channels,
            sequenced,
            cursor,
            written: cursor,
            spent_batch,
            unread_errors: 0,
            unread_error_bytes: 0,
            answers: Arc::new(Semaphore::new(ANSWER_BYTES)),
            features: attach.features,
            state: StateFeed::default(),
            gap,
            recorder: self.runtime.recorder.clone(),
            configures_by: configures.then(|| now + CONFIGURE_TIMEOUT),
        };
        client.send(PriorityMessage::Text(connected.to_json()));
        self.client = Some(client);
        self.counters.clients += 1;
        if accepted.send(true).is_err() {
            // The connection has ended meanwhile.
            self.on_client_event(None, now);
            return;
        }
        if !configures {
            self.begin_delivery(now);
        }
    }

    /// Begins the delivery to a client that has nothing more to say first.
    pub(super) fn begin_delivery(&mut self, now: Instant) {
        let state = self.agent_state();
        if let Some(client) = &mut self.client {
            if let Some(Gap { from, to }) = client.gap.take() {
                client.send(PriorityMessage::Text(ServerMessage::Gap { from, to }.to_json()));
            }
            if client.features.has(Feature::AgentState) {
                let state = client.state.first(state, now);
                client.send(PriorityMessage::Text(state));
                if client.has_pending(&self.replay) {
                    client.state.send_again();
                }
            }
        }
        self.on_client_connected(now);
    }

    /// Sends all pending frames to the client, as far as its socket is free.
    pub(super) fn deliver(&mut self, now: Instant) {
        while let Some(batch) = self.next_batch(now) {
            let Some(client) = &self.client else { return };
            let Some(spent) = client.channels.send_batch(batch) else { return };
            self.on_written(spent);
        }
    }

    /// Returns the next frames for the client, if there are any and its socket
    /// is free.
    fn next_batch(&mut self, now: Instant) -> Option<Vec<Bytes>> {
        let client = self.client.as_mut()?;
        if client.configures_by.is_some() {
            return None;
        }
        let batch = client.spent_batch.as_mut()?;
        if client.cursor < self.replay.next() {
            client.cursor = if client.sequenced {
                self.replay.batch_from_sequenced(client.cursor, client.features, batch)
            } else {
                self.replay.batch_from(client.cursor, client.features, batch)
            };
        }
        let state = self.state_frame(now);
        let client = self.client.as_mut()?;
        let mut batch = client.spent_batch.take()?;
        if let (Some(state), Some(recorder)) = (&state, &client.recorder) {
            recorder.json(Kind::ToClient(None), frame::payload(state));
        }
        batch.extend(state);
        if batch.is_empty() {
            // All pending frames are for other clients.
            client.written = client.cursor;
            client.spent_batch = Some(batch);
            return None;
        }
        Some(batch)
    }

    pub(super) fn on_written(&mut self, spent_batch: Vec<Bytes>) {
        if let Some(client) = &mut self.client {
            client.spent_batch = Some(spent_batch);
            client.written = client.cursor;
            client.unread_errors = 0;
            client.unread_error_bytes = 0;
        }
    }

    pub(super) fn on_client_event(&mut self, event: Option<ClientEvent>, now: Instant) {
        let Some(id) = self.client.as_ref().map(|client| client.id) else { return };
        let Some(event) = event else {
            tracing::info!(connection = id.0, "client disconnected");
            self.record(Kind::ClientClosed, b"true");
            self.client = None;
            let decisions = self.slot.release(id, now);
            self.decide(decisions, now);
            return;
        };
        let decisions = self.slot.touch(id, now);
        self.decide(decisions, now);
        if let ClientEvent::Request(request, received) = &event {
            self.record_request(request, received.raw.as_ref());
        }
        match event {
            ClientEvent::Alive => {}
            ClientEvent::Request(request, _) if self.expects_configuration() => {
                self.on_first_message(id, request, now);
            }
            ClientEvent::Request(Ok(request), _) => self.on_request(id, request, now),
            ClientEvent::Request(Err(error), _) => self.report_bad_message(id, &error, now),
        }
    }

    /// Reports an error in the client's message to it.
    pub(super) fn report_bad_message(&mut self, to: ConnectionId, error: &str, now: Instant) {
        self.push(&ServerMessage::error(error).to_json());
        let Some(client) = &mut self.client else { return };
        client.unread_errors += 1;
        client.unread_error_bytes += error.len();
        if client.unread_errors > UNREAD_ERROR_LIMIT
            || client.unread_error_bytes > UNREAD_ERROR_BYTES
        {
            self.drop_unreading(to, now);
        }
    }

    /// Disconnects a client that does not read its answers.
    fn drop_unreading(&mut self, id: ConnectionId, now: Instant) {
        tracing::warn!(
            connection = id.0,
            "the client does not read the answers to its requests; dropped"
        );
        if let Some(client) = &self.client {
            client.send(PriorityMessage::Close(Close::NOT_READING));
        }
        self.on_client_event(None, now);
    }

    /// Sends a frame to one connection, if it is still there.
    pub(super) fn answer(&mut self, to: ConnectionId, frame: String, now: Instant) {
        let Some(client) = self.client.as_ref().filter(|client| client.id == to) else {
            return self.answer_watcher(to, frame);
        };
        let bytes = u32::try_from(frame.len().min(ANSWER_BYTES)).unwrap_or(u32::MAX);
        let room = Arc::clone(&client.answers).try_acquire_many_owned(bytes);
        if !room.is_ok_and(|room| client.send(PriorityMessage::Answer(frame, room))) {
            self.drop_unreading(to, now);
        }
    }

    pub(super) fn shut_down(&mut self, now: Instant) {
        if self.drain_deadline.is_some() {
            tracing::info!("asked again: the agent is killed");
            self.agent.kill();
            self.drain_deadline = Some(now);
            return;
        }
        tracing::info!(
            "shutting down; the agent has {:?} to end, then {:?} after SIGTERM",
            self.runtime.settings.stop_grace,
            self.runtime.settings.stop_grace
        );
        self.drain_deadline = Some(now + CLIENT_DRAIN_TIMEOUT);
        self.error("Server is shutting down");
        self.hand_back_for_shutdown();
        for request in std::mem::take(&mut self.waiting) {
            let _ = request.channels.priority.try_send(PriorityMessage::Close(Close::GOING_AWAY));
            let _ = request.accepted.send(false);
        }
        self.stop_for_shutdown(now);
    }

    /// Disconnects the client and the watchers once the agent has ended and the client has
    /// received everything, or the deadline has passed.
    pub(super) fn finish_drain(&mut self, now: Instant) {
        self.drain_watchers(self.drain_deadline.is_some_and(|until| now >= until));
        let Some(client) = &self.client else { return };
        let is_drained = !self.agent.is_running() && !client.has_pending(&self.replay);
        if is_drained || self.drain_deadline.is_some_and(|until| now >= until) {
            client.send(PriorityMessage::Close(Close::GOING_AWAY));
            self.client = None;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        let has_clients = self.client.is_some() || !self.watchers.is_empty();
        let has_agent = self.agent.is_running() || self.spares.has_any();
        self.drain_deadline.is_some() && !has_clients && !has_agent
    }
}

/// Returns the first frame for a client that resumes at `from`, and the gap
/// before it.
pub(super) fn starting_point(
    replay: &ReplayBuffer,
    from: &Replay,
    features: Features,
    stream: &str,
) -> (u64, Option<Gap>) {
    // A number that has not been assigned belongs to another stream too.
    let foreign = from.stream.as_deref().is_some_and(|theirs| theirs != stream)
        || from.after >= replay.number(replay.next(), features);
    if foreign {
        let to = replay.number(replay.first(), features) - 1;
        return (replay.first(), Some(Gap { from: 1, to }));
    }
    (replay.place_after(from.after, features), replay.gap_after(from.after, features))
}

#[cfg(test)]
mod tests;
