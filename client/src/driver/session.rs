//! The driver: one task that owns the state of one client, over all its
//! connections: connected, reconnecting, connected again, ended.
//!
//! The API handles talk to it by bounded channels and see its state through
//! watch channels. One function waits for the next event of an open connection
//! and acts on it ([`Driver::serve`]), another for the events of the time
//! between two connections ([`Driver::wait_for`]).

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep_until, timeout};

use super::acks::{Acks, Unconfirmed};
use super::channels::{Outgoing, Purpose, Receipt, Snapshot, Subscription};
use super::delivery::Delivery;
use super::heartbeat::{Action, Heartbeat, Signs};
use super::pending::PendingRequests;
use super::reconnect::new_backoff;
use super::replayed::ReplayedRequests;
use super::sequence::{Position, SequenceTracker};
use super::tap::{Direction, Tap};
use super::tracker::TurnTracker;
use super::writer::{FrameWriter, Written};
use crate::e2b::SandboxRef;
use crate::error::{ConnectionError, SendError};
use crate::net::http::Http;
use crate::net::socket::{CLOSE_WAIT, MessageForm, PART_BYTES, Reader};
use crate::types::connection::{ConnectionState, Options};
use crate::types::raw_json::RawJson;

/// The state of one client.
pub(super) struct Driver {
    pub(super) http: Http,
    pub(super) options: Options,
    /// The configuration to say to a server that was restarted, as JSON.
    pub(super) configuration: Option<Arc<str>>,
    /// It changes the server's configuration field by field.
    pub(super) merges: bool,
    /// The sandbox of the server, which can go away for good.
    pub(super) sandbox: Option<SandboxRef>,
    /// The server numbers its frames.
    pub(super) numbered: bool,
    pub(super) sequence: SequenceTracker,
    /// Requests from before the connection.
    pub(super) replayed: ReplayedRequests,
    pub(super) pending: PendingRequests,
    /// Read from the server and not with every subscriber yet.
    pub(super) delivery: Delivery,
    /// The number of the first frame that is new on this connection.
    pub(super) first_new: u64,
    /// The turns, by all messages that have been read.
    pub(super) tracker: TurnTracker,
    /// The moment at which silence tells the tracker something.
    pub(super) quiet_at: Option<tokio::time::Instant>,
    pub(super) tap: Tap,
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) subscriptions: mpsc::Receiver<Subscription>,
    /// Taken from the queue and not written whole yet; goes first after a
    /// reconnect.
    pub(super) unsent: Option<Outgoing>,
    /// The form of long messages.
    pub(super) form: MessageForm,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) connection: watch::Sender<ConnectionState>,
    pub(super) position: watch::Sender<Option<Position>>,
    /// True while the agent is idle, background tasks included.
    pub(super) idle: watch::Sender<bool>,
}

/// The state of one connection.
pub(super) struct OpenConnection {
    pub(super) reader: Reader,
    pub(super) writer: FrameWriter,
    pub(super) acks: Acks,
    /// The number of frames that have been read.
    pub(super) heard: u64,
    /// The number of states of the agent that have come.
    pub(super) states: u32,
    /// The answer to a control request, behind messages without room.
    pub(super) answer: Option<(String, RawJson)>,
}

impl Driver {
    /// Runs until the end. `first` is the connection that is already open.
    pub(super) async fn run(mut self, first: OpenConnection) {
        let mut open = first;
        let mut backoff = new_backoff();
        let error = loop {
            let (error, progressed) = self.run_connection(open).await;
            if progressed {
                backoff.reset();
            }
            if !error.is_transient() || self.options.reconnect_for.is_zero() {
                break error;
            }
            match self.reconnect(error, &mut backoff).await {
                Ok(next) => open = next,
                Err(error) => break error,
            }
        };
        let error = self.final_reason(error).await;
        self.finish(&error);
    }

    /// Runs one connection until it ends. Returns the reason, and true when
    /// anything was read.
    async fn run_connection(&mut self, mut open: OpenConnection) -> (ConnectionError, bool) {
        self.connection.send_replace(ConnectionState::Connected);
        let error = self.serve(&mut open).await;
        if let Some(code) = close_code(&error) {
            let await_peer = matches!(error, ConnectionError::Stopped);
            // A server that does not take part does not delay the end.
            let _ = timeout(CLOSE_WAIT, self.close(&mut open, code, await_peer)).await;
        }
        if let Some((id, response)) = open.answer.take() {
            self.pending.control_answered(&id, response);
        }
        let pending = &mut self.pending;
        let unconfirmed = SendError::DeliveryUnknown { source: error.clone() };
        open.acks.fail(&unconfirmed, |id| pending.unconfirmed(id));
        self.pending.fail_controls(&unconfirmed);
        self.publish_position();
        let is_left = self.unsent.as_ref().is_some_and(|unsent| unsent.text.len() > PART_BYTES);
        self.form.connection_ended(!is_left);
        (error, open.heard > 0)
    }

    /// Serves an open connection. Returns the reason of its end.
    async fn serve(&mut self, open: &mut OpenConnection) -> ConnectionError {
        let now = tokio::time::Instant::now();
        let Options { ping_interval, pong_timeout, .. } = self.options;
        let mut heartbeat = Heartbeat::new(ping_interval, pong_timeout, now);
        let mut timer = pin!(sleep_until(heartbeat.deadline()));
        loop {
            // Subscriptions were made before any message that is read now.
            while let Ok(subscription) = self.subscriptions.try_recv() {
                self.subscribe(subscription);
            }
            if let Err(error) = self.take_frames(open) {
                return error;
            }
            if self.unsent.as_ref().is_some_and(Outgoing::is_withdrawn) && !open.writer.is_writing()
            {
                self.unsent = None;
            }
            if self.unsent.is_none() {
                self.unsent = self.pending.next_decision();
            }
            open.writer.start(self.unsent.as_ref().map(|outgoing| outgoing.text.as_str()));
            let may_read = !self.delivery.is_stalled() && !self.pending.is_full();
            tokio::select! {
                () = stopped(&mut self.stop) => return ConnectionError::Stopped,
                Some(subscription) = self.subscriptions.recv() => {
                    self.subscribe(subscription);
                }
                outgoing = self.outgoing.recv(), if self.unsent.is_none() => match outgoing {
                    Some(outgoing) => self.unsent = Some(outgoing),
                    // All handles are gone.
                    None => return ConnectionError::Stopped,
                },
                written = open.writer.written() => match written {
                    Ok(Written::Message) => {
                        self.message_written(open);
                        heartbeat.expect(tokio::time::Instant::now(), open.heard);
                        timer.as_mut().reset(heartbeat.deadline());
                    }
                    Ok(Written::Control | Written::Close) => {}
                    Err(error) => return error,
                },
                read = open.reader.fill(), if may_read => {
                    if let Err(error) = read {
                        return error;
                    }
                }
                () = self.delivery.room(), if self.delivery.is_stalled() => {}
                () = self.pending.decide() => {}
                () = at(self.quiet_at), if !self.delivery.is_stalled() => self.on_quiet(),
                () = &mut timer => {
                    let signs = Signs {
                        heard: open.heard,
                        stalled: self.delivery.is_stalled(),
                        awaited: open.acks.is_waiting(),
                    };
                    match heartbeat.on_deadline(tokio::time::Instant::now(), signs) {
                        Action::None => {}
                        Action::Ping => open.writer.ping(open.acks.last()),
                        Action::Lost => {
                            return ConnectionError::Unresponsive { limit: pong_timeout };
                        }
                    }
                    timer.as_mut().reset(heartbeat.deadline());
                }
            }
        }
    }

    /// Takes up a subscription.
    pub(super) fn subscribe(&mut self, mut subscription: Subscription) {
        if let Some(snapshot) = subscription.snapshot.take() {
            // A subscriber that is gone needs none.
            let _ = snapshot.send(Box::new(self.snapshot()));
        }
        self.delivery.subscribe(subscription);
    }

    fn snapshot(&self) -> Snapshot {
        let older = self.delivery.waiting();
        Snapshot { tracker: self.tracker.clone(), first_new: self.first_new, older }
    }

    /// The agent has been silent since `quiet_at` was set.
    fn on_quiet(&mut self) {
        self.quiet_at = None;
        self.tracker.on_quiet();
        self.publish_idle();
    }

    /// Shows those who wait for it whether the agent is idle.
    pub(super) fn publish_idle(&self) {
        let now = self.tracker.is_idle();
        self.idle.send_if_modified(|idle| std::mem::replace(idle, now) != now);
    }

    /// A message was written whole: its answer can come from now on.
    fn message_written(&mut self, open: &mut OpenConnection) {
        let Some(Outgoing { text, purpose }) = self.unsent.take() else { return };
        self.tap.call(Direction::Sent, &text);
        let unconfirmed = match purpose {
            Purpose::Message { receipt, message, turn } => {
                if let Some(message) = message {
                    self.tracker.on_message_written(message.uuid);
                    self.publish_idle();
                }
                let snapshot = turn.map(|queue| {
                    let snapshot = Box::new(self.snapshot());
                    self.subscribe(Subscription { queue, backlog: false, snapshot: None });
                    snapshot
                });
                Unconfirmed::Message(receipt, Receipt { snapshot })
            }
            Purpose::Control { id, answer } => {
                self.pending.control_sent(id, answer);
                Unconfirmed::Control
            }
            Purpose::Decision { request_id, receipt } => Unconfirmed::Decision(request_id, receipt),
        };
        open.writer.ping(open.acks.add(unconfirmed));
    }

    /// Writes the close frame and, if this side began, waits for the server's.
    async fn close(&mut self, open: &mut OpenConnection, code: u16, await_peer: bool) {
        open.writer.close(code);
        loop {
            open.writer.start(None);
            if open.writer.is_done() && !await_peer {
                return;
            }
            tokio::select! {
                written = open.writer.written() => match written {
                    Ok(Written::Message) => self.message_written(open),
                    Ok(Written::Control | Written::Close) => {}
                    Err(_) => return,
                },
                read = open.reader.fill(), if await_peer && !self.delivery.is_stalled() => {
                    if read.is_err() || self.take_frames(open).is_err() {
                        return;
                    }
                }
                () = self.delivery.room(), if self.delivery.is_stalled() => {}
            }
        }
    }

    /// Shows the program how far the stream has been received.
    pub(super) fn publish_position(&self) {
        let (stream, seq) = (self.sequence.stream(), self.sequence.last());
        self.position.send_if_modified(|position| {
            match (position, stream) {
                (Some(position), Some(stream)) if position.stream == stream => position.seq = seq,
                (position, Some(stream)) => {
                    *position = Some(Position { stream: stream.to_owned(), seq });
                }
                (_, None) => {}
            }
            // It is read and not waited for.
            false
        });
    }

    /// Tells everybody who waits for something.
    fn finish(&mut self, error: &ConnectionError) {
        self.connection.send_if_modified(|connection| {
            let first = !matches!(connection, ConnectionState::Ended(_));
            if first {
                *connection = ConnectionState::Ended(error.clone());
            }
            first
        });
        self.outgoing.close();
        if let Some(unsent) = self.unsent.take() {
            unsent.fail(SendError::NotDelivered { source: error.clone() });
        }
        while let Ok(outgoing) = self.outgoing.try_recv() {
            outgoing.fail(SendError::NotDelivered { source: error.clone() });
        }
        self.pending.finish(&SendError::DeliveryUnknown { source: error.clone() });
        self.subscriptions.close();
        while let Ok(subscription) = self.subscriptions.try_recv() {
            self.subscribe(subscription);
        }
        // The last messages are not lost because nobody reads now.
        self.delivery.finish(error);
    }
}

impl Drop for Driver {
    /// The task was aborted: nobody who still waits may wait for ever.
    fn drop(&mut self) {
        self.finish(&ConnectionError::Stopped);
    }
}

/// The end that is no failure.
const NORMAL: u16 = 1000;

/// The code that tells the server why its connection ends; none for a server
/// that is gone.
fn close_code(error: &ConnectionError) -> Option<u16> {
    match error {
        ConnectionError::Lost { .. } | ConnectionError::Unresponsive { .. } => None,
        ConnectionError::Protocol { .. } => Some(1002),
        ConnectionError::TooBig { .. } => Some(1009),
        _ => Some(NORMAL),
    }
}

/// Returns at this moment, if there is one.
async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Returns when the client is stopped or gone.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
