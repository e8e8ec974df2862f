//! The session's dealings with clients: who may stay, what it is owed, when it
//! has to leave.

use std::time::{Duration, Instant};

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;

use super::Session;
use super::agent_state::StateFeed;
use super::replay::{Feature, Features};
use crate::session::channels::{
    ClientChannels, ClientEvent, Close, ConnectRequest, PriorityMessage, Replay,
};
use crate::session::replay::{Gap, ReplayBuffer};
use crate::session::slot::{ConnectionId, Decision};

/// How long a client is kept during a shutdown, so that it gets the agent's
/// last words.
const CLIENT_DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// How many complaints about its own messages a client may leave unread. They
/// are frames like all others, kept until it has got them.
const UNREAD_ERROR_LIMIT: usize = 1024;

/// The one that holds the place.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ConnectionId,
    pub(super) channels: ClientChannels,
    sequenced: bool,
    /// The number of the first frame that has not been handed to its socket.
    cursor: u64,
    /// The number of the first frame that its socket has not taken.
    written: u64,
    /// The hull for the next batch; none while one is being written.
    spent_batch: Option<Vec<Bytes>>,
    /// Complaints since its socket took a batch.
    unread_errors: usize,
    /// What it understands beyond the first version.
    pub(super) features: Features,
    pub(super) state: StateFeed,
}

impl Client {
    /// Whether more may come in from the agent.
    pub(super) fn has_room(&self, replay: &ReplayBuffer) -> bool {
        replay.has_room(self.written)
    }

    /// Frames from this number on must be kept for it.
    pub(super) fn keeps_from(&self) -> u64 {
        self.written
    }

    /// Whether it has been handed all there is, and its socket is free.
    pub(super) fn may_get_state(&self, replay: &ReplayBuffer) -> bool {
        self.cursor >= replay.next() && self.spent_batch.is_some()
    }

    fn has_pending(&self, replay: &ReplayBuffer) -> bool {
        self.written < replay.next()
    }

    /// Sends a frame that does not wait behind data. The lane can only be full
    /// of answers the client does not read.
    fn send(&self, control: PriorityMessage) -> bool {
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
        let (id, takeover) = (request.id, request.attach.takeover);
        self.waiting.push(request);
        let decisions = self.slot.acquire(id, takeover, now);
        self.decide(decisions, now);
    }

    /// Carries out what the slot has decided.
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
                    // A lane that is full does not help: the answer is missing
                    // then, and that is what counts.
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
                        let error = ServerMessage::error("Another client has taken over");
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

    fn accept(&mut self, request: ConnectRequest, now: Instant) {
        let ConnectRequest { id, attach, channels, accepted } = request;
        let sequenced = attach.replay.is_some();
        tracing::info!(connection = id.0, sequenced, "client connected");
        let stream = self.stream.get_or_insert_with(claude_relay_random::hexadecimal::<16>).clone();
        let (cursor, gap) = match &attach.replay {
            None => (self.replay.next(), None),
            Some(replay) => starting_point(&self.replay, replay, &stream),
        };
        for frame in self.permissions.end_answered(cursor) {
            self.push(&frame);
        }
        for frame in self.permissions.send_again(cursor, self.replay.next()) {
            self.push(&frame);
        }
        let connected = ServerMessage::Connected {
            stream: sequenced.then_some(stream.into()),
            next: sequenced.then(|| self.replay.next()),
        };
        let spent_batch = Some(Vec::new());
        let mut client = Client {
            id,
            channels,
            sequenced,
            cursor,
            written: cursor,
            spent_batch,
            unread_errors: 0,
            features: attach.features,
            state: StateFeed::default(),
        };
        client.send(PriorityMessage::Text(connected.to_json()));
        if let Some(Gap { from, to }) = gap {
            client.send(PriorityMessage::Text(ServerMessage::Gap { from, to }.to_json()));
        }
        if client.features.has(Feature::AgentState) {
            let state = client.state.first(self.agent_state(), now);
            client.send(PriorityMessage::Text(state));
            if client.has_pending(&self.replay) {
                client.state.say_again();
            }
        }
        self.client = Some(client);
        if accepted.send(true).is_err() {
            // It has gone meanwhile.
            self.on_client_event(None, now);
            return;
        }
        self.on_client_connected(now);
    }

    /// Hands the client what it is owed, if its socket is free.
    pub(super) fn deliver(&mut self, now: Instant) {
        let Some(client) = &mut self.client else { return };
        let Some(batch) = &mut client.spent_batch else { return };
        if client.cursor < self.replay.next() {
            client.cursor = if client.sequenced {
                self.replay.batch_from_sequenced(client.cursor, client.features, batch)
            } else {
                self.replay.batch_from(client.cursor, client.features, batch)
            };
        }
        let state = self.state_frame(now);
        let Some(client) = &mut self.client else { return };
        let Some(mut batch) = client.spent_batch.take() else { return };
        batch.extend(state);
        if batch.is_empty() {
            // All of it was for others.
            client.written = client.cursor;
            client.spent_batch = Some(batch);
            return;
        }
        // A connection that has ended says so by its news.
        let _ = client.channels.data.try_send(batch);
    }

    pub(super) fn on_written(&mut self, spent_batch: Vec<Bytes>) {
        if let Some(client) = &mut self.client {
            client.spent_batch = Some(spent_batch);
            client.written = client.cursor;
            client.unread_errors = 0;
        }
    }

    pub(super) fn on_client_event(&mut self, event: Option<ClientEvent>, now: Instant) {
        let Some(id) = self.client.as_ref().map(|client| client.id) else { return };
        let Some(event) = event else {
            tracing::info!(connection = id.0, "client disconnected");
            self.client = None;
            let decisions = self.slot.release(id, now);
            self.decide(decisions, now);
            return;
        };
        let decisions = self.slot.touch(id, now);
        self.decide(decisions, now);
        match event {
            ClientEvent::Alive => {}
            ClientEvent::Request(Ok(request)) => self.on_request(id, request, now),
            ClientEvent::Request(Err(error)) => self.report_bad_message(id, &error, now),
        }
    }

    /// Tells the client what is wrong with what it sent.
    pub(super) fn report_bad_message(&mut self, to: ConnectionId, error: &str, now: Instant) {
        self.push(&ServerMessage::error(error).to_json());
        let Some(client) = &mut self.client else { return };
        client.unread_errors += 1;
        if client.unread_errors > UNREAD_ERROR_LIMIT {
            self.drop_unreading(to, now);
        }
    }

    /// Lets go of a client that makes more answers than it reads.
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

    /// Sends a frame that belongs to one connection only, if it is still there.
    pub(super) fn answer(&mut self, to: ConnectionId, frame: String, now: Instant) {
        let Some(client) = self.client.as_ref().filter(|client| client.id == to) else { return };
        if !client.send(PriorityMessage::Text(frame)) {
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
        for request in std::mem::take(&mut self.waiting) {
            let _ = request.channels.priority.try_send(PriorityMessage::Close(Close::GOING_AWAY));
            let _ = request.accepted.send(false);
        }
        self.stop_for_shutdown(now);
    }

    /// Lets the client go once the agent has said its last words and the
    /// client has them, or the time for it is over.
    pub(super) fn finish_drain(&mut self, now: Instant) {
        let Some(client) = &self.client else { return };
        let all_said = !self.agent.is_running() && !client.has_pending(&self.replay);
        if all_said || self.drain_deadline.is_some_and(|until| now >= until) {
            client.send(PriorityMessage::Close(Close::GOING_AWAY));
            self.client = None;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.drain_deadline.is_some() && self.client.is_none() && !self.agent.is_running()
    }
}

/// The frame that a client begins with that has `from.after`, and what it has missed for
/// good.
fn starting_point(replay: &ReplayBuffer, from: &Replay, stream: &str) -> (u64, Option<Gap>) {
    // A number that was never given out comes from another life too.
    let foreign = from.stream.as_deref().is_some_and(|theirs| theirs != stream)
        || from.after >= replay.next();
    if foreign {
        return (replay.first(), Some(Gap { from: 1, to: replay.first() - 1 }));
    }
    (replay.first().max(from.after + 1), replay.gap_after(from.after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limit: usize) -> ReplayBuffer {
        let mut log = ReplayBuffer::new(limit);
        for _ in 0..10 {
            log.push([br#"{"type":"info","data":"0123456789"}"#, b"", b""]);
            log.evict(u64::MAX);
        }
        log
    }

    fn start(replay: &ReplayBuffer, after: u64, stream: Option<&str>) -> (u64, Option<(u64, u64)>) {
        let from = Replay { after, stream: stream.map(Into::into) };
        let (cursor, gap) = starting_point(replay, &from, "ours");
        (cursor, gap.map(|gap| (gap.from, gap.to)))
    }

    #[test]
    fn a_client_begins_behind_what_it_has() {
        let log = log(1 << 20);
        assert_eq!(start(&log, 0, None), (1, None));
        assert_eq!(start(&log, 7, Some("ours")), (8, None));
        assert_eq!(start(&log, 10, Some("ours")), (11, None));
    }

    #[test]
    fn what_is_not_kept_is_a_gap() {
        let log = log(200);
        let first = log.first();
        assert!(first > 3);
        assert_eq!(start(&log, 0, None), (first, Some((1, first - 1))));
        assert_eq!(start(&log, 2, Some("ours")), (first, Some((3, first - 1))));
        assert_eq!(start(&log, first - 1, None), (first, None));
    }

    #[test]
    fn numbers_of_another_life_mean_nothing() {
        let log = log(200);
        let first = log.first();
        assert_eq!(start(&log, 5, Some("theirs")), (first, Some((1, first - 1))));
        assert_eq!(start(&log, 11, Some("ours")), (first, Some((1, first - 1))));
        assert_eq!(start(&log, u64::MAX, None), (first, Some((1, first - 1))));
    }
}
