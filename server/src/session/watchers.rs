//! Watchers: connections that read along.
//!
//! A watcher is a cursor into the replay buffer, like the client. Nothing is
//! kept for it and nothing waits for it: one that falls behind gets a `gap`, and
//! of what it has not read it holds one batch at most. It neither holds the slot
//! nor starts the agent. All together have an [`Allowance`], so that the client
//! is as fast as without them.

mod allowance;

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;
use claude_relay_protocol::text::counted;

use super::Session;
use super::agent_state::{StateFeed, framed};
use super::client::starting_point;
use super::replay::{Feature, Features, Gap, ReplayBuffer};
use super::slot::{ConnectionId, SlotTimeouts};
use crate::session::channels::{ClientChannels, ClientEvent, ConnectRequest, Request};
use allowance::Allowance;
use claude_relay_listen::ws::{Close, PriorityMessage};

/// Error for whatever else a watcher sends.
const READ_ONLY: &str =
    "This connection watches (watch=true): it can ask for capabilities and close, nothing else";

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    all: Vec<Watcher>,
    allowance: Allowance,
}

#[derive(Debug)]
struct Watcher {
    id: ConnectionId,
    channels: ClientChannels,
    sequenced: bool,
    features: Features,
    /// Number of the first frame that has not been sent to its connection.
    cursor: u64,
    /// The number that this frame has for it.
    number: u64,
    /// The gap that it is to be told of.
    gap: Option<Gap>,
    /// Empty batch for reuse; `None` while a batch is being written.
    spent_batch: Option<Vec<Bytes>>,
    state: StateFeed,
    last_activity: Instant,
    is_pinged: bool,
}

/// An event of a watcher.
#[derive(Debug)]
pub(super) enum WatcherEvent {
    /// Its socket has accepted the batch.
    Written(Vec<Bytes>),
    /// A message or its end.
    Client(Option<ClientEvent>),
}

impl Watchers {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn has(&self, id: ConnectionId) -> bool {
        self.all.iter().any(|watcher| watcher.id == id)
    }

    /// Waits for the next event, or forever if there is no watcher.
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> (ConnectionId, WatcherEvent) {
        let event = poll_fn(|cx| {
            for watcher in &mut self.all {
                if let Poll::Ready(batch) = watcher.channels.spent.poll_recv(cx) {
                    let event = batch.map_or(WatcherEvent::Client(None), WatcherEvent::Written);
                    return Poll::Ready((watcher.id, event));
                }
                if let Poll::Ready(event) = watcher.channels.events.poll_recv(cx) {
                    return Poll::Ready((watcher.id, WatcherEvent::Client(event)));
                }
            }
            Poll::Pending
        })
        .await;
        // One that has much to say does not keep the others from being heard.
        self.all.rotate_left(1);
        event
    }

    pub(super) fn deadline(&self, timeouts: SlotTimeouts) -> Option<Instant> {
        let deadlines = self.all.iter().flat_map(|watcher| {
            [Some(watcher.last_activity + watcher.silence(timeouts)), watcher.state.deadline()]
        });
        let allowance = self.allowance.deadline().filter(|_| !self.is_empty());
        deadlines.chain([allowance]).flatten().min()
    }

    /// Sends all of them these last messages, and forgets them.
    pub(super) fn disconnect<const N: usize>(&mut self, last: fn() -> [PriorityMessage; N]) {
        for watcher in self.all.drain(..) {
            for message in last() {
                watcher.send(message);
            }
        }
    }

    fn get(&mut self, id: ConnectionId) -> Option<&mut Watcher> {
        self.all.iter_mut().find(|watcher| watcher.id == id)
    }

    fn remove(&mut self, id: ConnectionId) {
        tracing::info!(connection = id.0, "a watcher has gone");
        self.all.retain(|watcher| watcher.id != id);
    }
}

impl Watcher {
    /// Returns the silence after which it is pinged, or dropped once it is.
    fn silence(&self, timeouts: SlotTimeouts) -> Duration {
        match self.is_pinged {
            true => timeouts.ping_interval + timeouts.pong_timeout,
            false => timeouts.ping_interval,
        }
    }

    fn touch(&mut self, now: Instant) {
        self.last_activity = now;
        self.is_pinged = false;
    }

    /// Sends a priority message. Returns false if the channel is full, which
    /// happens only if the watcher does not read its answers.
    fn send(&self, message: PriorityMessage) -> bool {
        self.channels.priority.try_send(message).is_ok()
    }

    /// Adds the pending frames to `batch`, with a gap before those that are no
    /// longer kept.
    fn fill(&mut self, replay: &mut ReplayBuffer, batch: &mut Vec<Bytes>) {
        if self.cursor < replay.first() {
            let from = self.gap.map_or(self.number, |gap| gap.from);
            self.cursor = replay.first();
            self.gap = Some(Gap { from, to: replay.number(self.cursor, self.features) - 1 });
        }
        if let Some(Gap { from, to }) = self.gap.take() {
            batch.push(framed(&ServerMessage::Gap { from, to }.to_json()));
        }
        if self.cursor < replay.next() {
            self.cursor = match self.sequenced {
                true => replay.batch_from_sequenced(self.cursor, self.features, batch),
                false => replay.batch_from(self.cursor, self.features, batch),
            };
        }
        self.number = replay.number(self.cursor, self.features);
    }
}

impl Session {
    /// Accepts a watcher, or refuses it if there are too many.
    pub(super) fn on_watch_request(&mut self, request: ConnectRequest, now: Instant) {
        let ConnectRequest { id, attach, channels, accepted } = request;
        let limit = self.runtime.settings.max_watchers;
        if self.watchers.len() >= limit {
            tracing::info!(connection = id.0, "a watcher was refused: there are {limit}");
            let watchers = counted(limit, "watcher");
            let error = format!("Server already has {watchers}, its limit (--max-watchers)");
            let error = ServerMessage::error(&error).to_json();
            let _ = channels.priority.try_send(PriorityMessage::Text(error));
            let _ = channels.priority.try_send(PriorityMessage::Close(Close::TOO_MANY_WATCHERS));
            let _ = accepted.send(false);
            return;
        }
        let sequenced = attach.replay.is_some();
        tracing::info!(connection = id.0, sequenced, "watcher connected");
        let stream = self.stream_for(attach.features);
        let (cursor, gap) = match &attach.replay {
            None => (self.replay.next(), None),
            Some(replay) => starting_point(&self.replay, replay, attach.features, &stream),
        };
        self.replay.enable(attach.features);
        let connected = ServerMessage::Connected {
            stream: sequenced.then_some(stream.into()),
            next: sequenced.then(|| self.replay.number(self.replay.next(), attach.features)),
        };
        let watcher = Watcher {
            id,
            channels,
            sequenced,
            features: attach.features,
            cursor,
            number: self.replay.number(cursor, attach.features),
            gap,
            spent_batch: Some(Vec::new()),
            state: StateFeed::default(),
            last_activity: now,
            is_pinged: false,
        };
        watcher.send(PriorityMessage::Text(connected.to_json()));
        if accepted.send(true).is_err() {
            // The connection has ended meanwhile.
            return;
        }
        self.watchers.all.push(watcher);
        if attach.features.has(Feature::AgentState) {
            let state = self.agent_state();
            let is_behind = cursor < self.replay.next();
            if let Some(watcher) = self.watchers.get(id) {
                let state = watcher.state.first(state, now);
                watcher.send(PriorityMessage::Text(state));
                if is_behind {
                    watcher.state.send_again();
                }
            }
        }
    }

    pub(super) fn on_watcher_event(&mut self, id: ConnectionId, event: WatcherEvent, now: Instant) {
        let Some(watcher) = self.watchers.get(id) else { return };
        watcher.touch(now);
        match event {
            WatcherEvent::Written(batch) => watcher.spent_batch = Some(batch),
            WatcherEvent::Client(None) => self.watchers.remove(id),
            WatcherEvent::Client(Some(ClientEvent::Alive)) => {}
            WatcherEvent::Client(Some(ClientEvent::Request(request, _))) => match request {
                Ok(Request::Capabilities) => self.on_capabilities_request(id, now),
                Ok(_) => self.answer_watcher(id, ServerMessage::error(READ_ONLY).to_json()),
                Err(error) => self.answer_watcher(id, ServerMessage::error(&error).to_json()),
            },
        }
    }

    /// Sends a frame to one watcher, and drops it if it does not read.
    pub(super) fn answer_watcher(&mut self, to: ConnectionId, frame: String) {
        let Some(watcher) = self.watchers.get(to) else { return };
        if !watcher.send(PriorityMessage::Text(frame)) {
            self.watchers.remove(to);
        }
    }

    /// Sends each watcher whose socket is free what it has not been sent, as far
    /// as their allowance goes.
    pub(super) fn deliver_to_watchers(&mut self, now: Instant) {
        if self.watchers.is_empty() {
            return;
        }
        self.watchers.allowance.refill(now);
        let mut served = 0;
        while served < self.watchers.len() && self.watchers.allowance.is_left() {
            self.deliver_to_watcher(served, now);
            served += 1;
        }
        // Those that the allowance was not enough for are the first ones next time.
        let count = self.watchers.len();
        self.watchers.all.rotate_left(served % count);
    }

    fn deliver_to_watcher(&mut self, at: usize, now: Instant) {
        let watcher = &mut self.watchers.all[at];
        // Its turn to be heard may be far away while the agent is busy.
        if let Ok(batch) = watcher.channels.spent.try_recv() {
            watcher.touch(now);
            watcher.spent_batch = Some(batch);
        }
        let Some(mut batch) = watcher.spent_batch.take() else { return };
        watcher.fill(&mut self.replay, &mut batch);
        let is_current = watcher.cursor >= self.replay.next();
        if is_current && watcher.features.has(Feature::AgentState) {
            let mut feed = std::mem::take(&mut watcher.state);
            batch.extend(feed.next(now, || self.agent_state()));
            self.watchers.all[at].state = feed;
        }
        self.watchers.allowance.spend(batch.iter().map(Bytes::len).sum());
        let watcher = &mut self.watchers.all[at];
        watcher.spent_batch = match batch.is_empty() {
            true => Some(batch),
            false => watcher.channels.send_batch(batch),
        };
    }

    /// Pings silent watchers and drops those that do not answer.
    pub(super) fn on_watcher_time(&mut self, now: Instant) {
        let timeouts = self.runtime.settings.slot_timeouts;
        self.watchers.all.retain_mut(|watcher| {
            if now < watcher.last_activity + watcher.silence(timeouts) {
                return true;
            }
            if watcher.is_pinged {
                tracing::info!(
                    connection = watcher.id.0,
                    "a watcher does not answer pings; dropped"
                );
                return false;
            }
            watcher.is_pinged = true;
            // A full channel needs no handling: the missing pong counts.
            watcher.send(PriorityMessage::Ping);
            true
        });
    }

    /// Disconnects watchers during a shutdown: those that have been sent
    /// everything once the agent has ended, or all of them.
    pub(super) fn drain_watchers(&mut self, all: bool) {
        let (next, has_agent) = (self.replay.next(), self.agent.is_running());
        self.watchers.all.retain(|watcher| {
            let is_drained = !has_agent && watcher.cursor >= next && watcher.spent_batch.is_some();
            if all || is_drained {
                watcher.send(PriorityMessage::Close(Close::GOING_AWAY));
            }
            !(all || is_drained)
        });
    }
}
