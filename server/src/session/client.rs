//! The session's dealings with clients: who may stay, what it is owed, when it
//! has to leave.

use std::time::{Duration, Instant};

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;

use super::Session;
use crate::session::channels::{Close, Control, Newcomer, News, Port, Replay};
use crate::session::replay::{Gap, ReplayBuffer};
use crate::session::slot::{ConnectionId, Decision};

/// How long a client is kept during a shutdown, so that it gets the agent's
/// last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// How many complaints about its own messages a client may leave unread. They
/// are frames like all others, kept until it has got them.
const COMPLAINTS: usize = 1024;

/// The one that holds the place.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ConnectionId,
    pub(super) port: Port,
    sequenced: bool,
    /// The number of the first frame that has not been handed to its socket.
    cursor: u64,
    /// The number of the first frame that its socket has not taken.
    written: u64,
    /// The hull for the next batch; none while one is being written.
    hull: Option<Vec<Bytes>>,
    /// Complaints since its socket took a batch.
    complaints: usize,
}

impl Client {
    /// Whether more may come in from the agent.
    pub(super) fn has_room(&self, log: &ReplayBuffer) -> bool {
        log.has_room(self.written)
    }

    /// Frames from this number on must be kept for it.
    pub(super) fn keeps_from(&self) -> u64 {
        self.written
    }

    fn is_owed(&self, log: &ReplayBuffer) -> bool {
        self.written < log.next()
    }

    /// Sends a frame that does not wait behind data. The lane can only be full
    /// of answers the client does not read.
    fn send(&self, control: Control) -> bool {
        self.port.control.try_send(control).is_ok()
    }
}

impl Session {
    pub(super) fn on_newcomer(&mut self, newcomer: Newcomer, now: Instant) {
        if self.farewell.is_some() {
            let _ = newcomer.port.control.try_send(Control::Close(Close::GOING_AWAY));
            let _ = newcomer.verdict.send(false);
            return;
        }
        let (id, takeover) = (newcomer.id, newcomer.attach.takeover);
        self.newcomers.push(newcomer);
        let decisions = self.slot.arrive(id, takeover, now);
        self.decide(decisions, now);
    }

    /// Carries out what the slot has decided.
    pub(super) fn decide(&mut self, decisions: Vec<Decision>, now: Instant) {
        for decision in decisions {
            match decision {
                Decision::Accept(id) => {
                    if let Some(newcomer) = self.take_newcomer(id) {
                        self.accept(newcomer, now);
                    }
                }
                Decision::Refuse(id) => {
                    if let Some(newcomer) = self.take_newcomer(id) {
                        tracing::info!(connection = id.0, "refused: another client is connected");
                        let error = ServerMessage::error("Server already has an active connection");
                        let _ = newcomer.port.control.try_send(Control::Text(error.to_json()));
                        let _ = newcomer.port.control.try_send(Control::Close(Close::BUSY));
                        let _ = newcomer.verdict.send(false);
                    }
                }
                Decision::Ping(id) => {
                    // A lane that is full does not help: the answer is missing
                    // then, and that is what counts.
                    let holder = self.client.as_ref().filter(|client| client.id == id);
                    holder.map(|client| client.send(Control::Ping));
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
                        client.send(Control::Text(error.to_json()));
                        client.send(Control::Close(Close::REPLACED));
                    }
                }
            }
        }
    }

    fn take_newcomer(&mut self, id: ConnectionId) -> Option<Newcomer> {
        let at = self.newcomers.iter().position(|newcomer| newcomer.id == id)?;
        Some(self.newcomers.remove(at))
    }

    fn accept(&mut self, newcomer: Newcomer, now: Instant) {
        let Newcomer { id, attach, port, verdict } = newcomer;
        let sequenced = attach.replay.is_some();
        tracing::info!(connection = id.0, sequenced, "client connected");
        let stream = self.stream.get_or_insert_with(crate::random::stream_id).clone();
        let (cursor, gap) = match &attach.replay {
            None => (self.log.next(), None),
            Some(replay) => starting_point(&self.log, replay, &stream),
        };
        for frame in self.permissions.end_answered(cursor) {
            self.push(&frame);
        }
        for frame in self.permissions.send_again(cursor, self.log.next()) {
            self.push(&frame);
        }
        let connected = ServerMessage::Connected {
            stream: sequenced.then_some(stream.into()),
            next: sequenced.then(|| self.log.next()),
        };
        let hull = Some(Vec::new());
        let client = Client { id, port, sequenced, cursor, written: cursor, hull, complaints: 0 };
        client.send(Control::Text(connected.to_json()));
        if let Some(Gap { from, to }) = gap {
            client.send(Control::Text(ServerMessage::Gap { from, to }.to_json()));
        }
        self.client = Some(client);
        if verdict.send(true).is_err() {
            // It has gone meanwhile.
            self.on_news(None, now);
            return;
        }
        self.on_client_connected(now);
    }

    /// Hands the client what it is owed, if its socket is free.
    pub(super) fn deliver(&mut self) {
        let Some(client) = &mut self.client else { return };
        if client.cursor >= self.log.next() {
            return;
        }
        let Some(mut batch) = client.hull.take() else { return };
        client.cursor = if client.sequenced {
            self.log.owed_sequenced(client.cursor, &mut batch)
        } else {
            self.log.owed(client.cursor, &mut batch)
        };
        // A connection that has ended says so by its news.
        let _ = client.port.data.try_send(batch);
    }

    pub(super) fn on_written(&mut self, hull: Vec<Bytes>) {
        if let Some(client) = &mut self.client {
            client.hull = Some(hull);
            client.written = client.cursor;
            client.complaints = 0;
        }
    }

    pub(super) fn on_news(&mut self, news: Option<News>, now: Instant) {
        let Some(id) = self.client.as_ref().map(|client| client.id) else { return };
        let Some(news) = news else {
            tracing::info!(connection = id.0, "client disconnected");
            self.client = None;
            let decisions = self.slot.left(id, now);
            self.decide(decisions, now);
            return;
        };
        let decisions = self.slot.heard(id, now);
        self.decide(decisions, now);
        match news {
            News::Alive => {}
            News::Request(Ok(request)) => self.on_request(id, request, now),
            News::Request(Err(error)) => self.complain(id, &error, now),
        }
    }

    /// Tells the client what is wrong with what it sent.
    pub(super) fn complain(&mut self, to: ConnectionId, error: &str, now: Instant) {
        self.push(&ServerMessage::error(error).to_json());
        let Some(client) = &mut self.client else { return };
        client.complaints += 1;
        if client.complaints > COMPLAINTS {
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
            client.send(Control::Close(Close::NOT_READING));
        }
        self.on_news(None, now);
    }

    /// Sends a frame that belongs to one connection only, if it is still there.
    pub(super) fn answer(&mut self, to: ConnectionId, frame: String, now: Instant) {
        let Some(client) = self.client.as_ref().filter(|client| client.id == to) else { return };
        if !client.send(Control::Text(frame)) {
            self.drop_unreading(to, now);
        }
    }

    pub(super) fn shut_down(&mut self, now: Instant) {
        if self.farewell.is_some() {
            tracing::info!("asked again: the agent is killed");
            self.agent.kill();
            self.farewell = Some(now);
            return;
        }
        tracing::info!(
            "shutting down; the agent has {:?} to end, then {:?} after SIGTERM",
            self.runtime.settings.stop_grace,
            self.runtime.settings.stop_grace
        );
        self.farewell = Some(now + FAREWELL);
        self.error("Server is shutting down");
        for newcomer in std::mem::take(&mut self.newcomers) {
            let _ = newcomer.port.control.try_send(Control::Close(Close::GOING_AWAY));
            let _ = newcomer.verdict.send(false);
        }
        self.stop_for_shutdown(now);
    }

    /// Lets the client go once the agent has said its last words and the
    /// client has them, or the time for it is over.
    pub(super) fn say_goodbye(&mut self, now: Instant) {
        let Some(client) = &self.client else { return };
        let all_said = !self.agent.is_running() && !client.is_owed(&self.log);
        if all_said || self.farewell.is_some_and(|until| now >= until) {
            client.send(Control::Close(Close::GOING_AWAY));
            self.client = None;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.farewell.is_some() && self.client.is_none() && !self.agent.is_running()
    }
}

/// Where a client begins that has `replay.after`, and what it has missed for
/// good.
fn starting_point(log: &ReplayBuffer, replay: &Replay, stream: &str) -> (u64, Option<Gap>) {
    // A number that was never given out comes from another life too.
    let foreign = replay.stream.as_deref().is_some_and(|theirs| theirs != stream)
        || replay.after >= log.next();
    if foreign {
        return (log.first(), Some(Gap { from: 1, to: log.first() - 1 }));
    }
    (log.first().max(replay.after + 1), log.gap_after(replay.after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limit: usize) -> ReplayBuffer {
        let mut log = ReplayBuffer::new(limit);
        for _ in 0..10 {
            log.push([br#"{"type":"info","data":"0123456789"}"#, b"", b""]);
            log.forget(u64::MAX);
        }
        log
    }

    fn start(log: &ReplayBuffer, after: u64, stream: Option<&str>) -> (u64, Option<(u64, u64)>) {
        let replay = Replay { after, stream: stream.map(Into::into) };
        let (cursor, gap) = starting_point(log, &replay, "ours");
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
