//! The driver: one task that owns the state of one client, over all its
//! connections: connected, reconnecting, connected again, ended.
//!
//! The API handles talk to it by bounded channels and see its state through
//! watch channels. One function waits for the next event of an open connection
//! and acts on it ([`Driver::serve`]), another for the events of the time
//! between two connections ([`Driver::wait_for`]).

use std::pin::pin;
use std::time::{Duration, Instant};

use claude_relay_protocol::Backoff;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};

use super::acks::{Acks, Unconfirmed};
use super::channels::{Outgoing, Purpose, Receipt, Subscription};
use super::delivery::Delivery;
use super::handshake::greet;
use super::heartbeat::{Action, Heartbeat, Signs};
use super::pending::PendingRequests;
use super::replayed::ReplayedPermissions;
use super::sequence::{Position, SequenceTracker};
use super::tap::{Direction, Tap};
use super::writer::{FrameWriter, Written};
use crate::e2b::SandboxRef;
use crate::error::Error;
use crate::net::http::Http;
use crate::net::socket::{self, CLOSE_WAIT, Reader, Writer};
use crate::types::connection::{ConnectionState, Options};
use crate::types::message::{Gap, Greeting, ServerMessage};
use crate::types::raw_json::RawJson;

/// The state of one client.
pub(super) struct Driver {
    pub(super) http: Http,
    pub(super) options: Options,
    /// What the server runs in, if that can go away for good.
    pub(super) sandbox: Option<SandboxRef>,
    /// The server numbers its frames.
    pub(super) numbered: bool,
    pub(super) sequence: SequenceTracker,
    /// Permission requests from before the connection.
    pub(super) replayed: ReplayedPermissions,
    pub(super) pending: PendingRequests,
    /// Read from the server and not with every subscriber yet.
    pub(super) delivery: Delivery,
    /// The number of the first frame that is new on this connection.
    pub(super) first_new: u64,
    pub(super) tap: Tap,
    pub(super) outgoing: mpsc::Receiver<Outgoing>,
    pub(super) subscriptions: mpsc::Receiver<Subscription>,
    /// Taken from the queue and not written whole yet; goes first after a
    /// reconnect.
    pub(super) unsent: Option<Outgoing>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) connection: watch::Sender<ConnectionState>,
    pub(super) position: watch::Sender<Option<Position>>,
}

/// The state of one connection.
pub(super) struct OpenConnection {
    pub(super) reader: Reader,
    pub(super) writer: FrameWriter,
    pub(super) acks: Acks,
    /// The number of frames that have been read.
    pub(super) heard: u64,
    /// The answer to a control request, behind messages without room.
    pub(super) answer: Option<(String, RawJson)>,
}

/// The first wait before another attempt to connect, before the jitter.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The longest wait before another attempt to connect.
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Returns the waits between attempts to connect.
pub(crate) fn new_backoff() -> Backoff {
    Backoff::new(FIRST_WAIT, LONGEST_WAIT)
}

/// A connection right after its greeting.
type Accepted = (Reader, Writer, Greeting);

impl Driver {
    /// Opens the first connection.
    pub(super) async fn connect(&mut self) -> Result<OpenConnection, Error> {
        let route = self.route(self.options.takeover);
        let accepted = connect(&self.http, &self.options, &route).await?;
        Ok(self.accepted(accepted))
    }

    /// Takes over a connection whose server has said `connected`.
    fn accepted(&mut self, (reader, writer, greeting): Accepted) -> OpenConnection {
        if self.numbered {
            if self.sequence.connected(greeting.stream.as_deref(), greeting.next) {
                let stream = greeting.stream.clone();
                self.delivery.add(ServerMessage::Restarted { stream }, 0);
                self.pending.restarted();
                if let Some(Outgoing { purpose: Purpose::Decision { .. }, .. }) = &self.unsent
                    && let Some(decision) = self.unsent.take()
                {
                    decision.fail(Error::ServerRestarted);
                }
            }
            self.first_new = greeting.next.unwrap_or(0);
        }
        self.replayed.connected(greeting.next);
        self.publish_position();
        OpenConnection {
            reader,
            writer: FrameWriter::new(writer),
            acks: Acks::default(),
            heard: 0,
            answer: None,
        }
    }

    fn route(&self, takeover: bool) -> String {
        let mut query = Vec::new();
        if self.numbered {
            query.push(format!("after={}", self.sequence.last()));
            if let Some(stream) = self.sequence.stream() {
                query.push(format!("stream={}", utf8_percent_encode(stream, QUERY_VALUE)));
            }
        }
        if takeover {
            query.push("takeover=true".to_owned());
        }
        if query.is_empty() { "/ws".to_owned() } else { format!("/ws?{}", query.join("&")) }
    }

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
    async fn run_connection(&mut self, mut open: OpenConnection) -> (Error, bool) {
        self.connection.send_replace(ConnectionState::Connected);
        let error = self.serve(&mut open).await;
        if let Some(code) = close_code(&error) {
            let await_peer = matches!(error, Error::Stopped);
            // A server that does not take part does not delay the end.
            let _ = timeout(CLOSE_WAIT, self.close(&mut open, code, await_peer)).await;
        }
        if let Some((id, response)) = open.answer.take() {
            self.pending.control_answered(&id, response);
        }
        let pending = &mut self.pending;
        open.acks.fail(&error, |id| pending.permission_closed(id));
        self.pending.fail_controls(&error);
        self.publish_position();
        (error, open.heard > 0)
    }

    /// Serves an open connection. Returns the reason of its end.
    async fn serve(&mut self, open: &mut OpenConnection) -> Error {
        let now = tokio::time::Instant::now();
        let Options { ping_interval, pong_timeout, .. } = self.options;
        let mut heartbeat = Heartbeat::new(ping_interval, pong_timeout, now);
        let mut timer = pin!(sleep_until(heartbeat.deadline()));
        loop {
            // Subscriptions were made before any message that is read now.
            while let Ok(subscription) = self.subscriptions.try_recv() {
                self.delivery.subscribe(subscription);
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
                () = stopped(&mut self.stop) => return Error::Stopped,
                Some(subscription) = self.subscriptions.recv() => {
                    self.delivery.subscribe(subscription);
                }
                outgoing = self.outgoing.recv(), if self.unsent.is_none() => match outgoing {
                    Some(outgoing) => self.unsent = Some(outgoing),
                    // All handles are gone.
                    None => return Error::Stopped,
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
                            let reason = format!("no sign of life for {pong_timeout:?}");
                            return Error::lost(reason);
                        }
                    }
                    timer.as_mut().reset(heartbeat.deadline());
                }
            }
        }
    }

    /// A message was written whole: its answer can come from now on.
    fn message_written(&mut self, open: &mut OpenConnection) {
        let Some(Outgoing { text, purpose }) = self.unsent.take() else { return };
        self.tap.call(Direction::Sent, &text);
        let unconfirmed = match purpose {
            Purpose::Message { receipt, turn } => {
                if let Some(queue) = turn {
                    self.delivery.subscribe(Subscription { queue, backlog: false });
                }
                Unconfirmed::Message(receipt, Receipt { first_new: self.first_new })
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

    async fn reconnect(
        &mut self,
        cause: Error,
        backoff: &mut Backoff,
    ) -> Result<OpenConnection, Error> {
        let since = Instant::now();
        let mut last = cause;
        let mut attempt = 0;
        loop {
            let elapsed = since.elapsed();
            if elapsed >= self.options.reconnect_for {
                let last = Box::new(last);
                return Err(Error::ReconnectFailed { attempts: attempt, elapsed, last });
            }
            attempt += 1;
            let state = ConnectionState::Reconnecting { attempt, cause: last.clone() };
            self.connection.send_replace(state);
            let wait = backoff
                .next_jittered(claude_relay_random::number())
                .min(self.options.reconnect_for - elapsed);
            let attempted = reattempt(
                wait,
                self.http.clone(),
                self.options.clone(),
                self.route(false),
                self.sandbox.clone(),
            );
            match self.wait_for(attempted).await? {
                Ok(accepted) => {
                    let open = self.accepted(accepted);
                    if !self.numbered {
                        self.delivery.add_gap(Gap { from: None, to: None });
                    }
                    return Ok(open);
                }
                Err(error) if error.is_transient() => last = error,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for `work` without a connection, and serves the handles
    /// meanwhile. An error means that the client was stopped.
    async fn wait_for<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Error> {
        let mut work = pin!(work);
        loop {
            self.delivery.advance();
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Err(Error::Stopped),
                Some(subscription) = self.subscriptions.recv() => {
                    self.delivery.subscribe(subscription);
                }
                () = self.delivery.room(), if self.delivery.is_stalled() => {}
                () = self.pending.decide(), if !self.pending.is_full() => {}
                done = &mut work => return Ok(done),
            }
        }
    }

    /// The reason of the end. A connection that cannot be had may be so because
    /// there is nothing left to connect to.
    async fn final_reason(&mut self, error: Error) -> Error {
        if !error.is_transient() && !matches!(error, Error::ReconnectFailed { .. }) {
            return error;
        }
        let Some(sandbox) = self.sandbox.clone() else { return error };
        match self.wait_for(async move { sandbox.still_there().await }).await {
            Ok(Err(gone)) => gone,
            Ok(Ok(())) | Err(_) => error,
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
    fn finish(&mut self, error: &Error) {
        self.connection.send_if_modified(|connection| {
            let first = !matches!(connection, ConnectionState::Ended(_));
            if first {
                *connection = ConnectionState::Ended(error.clone());
            }
            first
        });
        self.outgoing.close();
        if let Some(unsent) = self.unsent.take() {
            unsent.fail(error.clone());
        }
        while let Ok(outgoing) = self.outgoing.try_recv() {
            outgoing.fail(error.clone());
        }
        self.pending.finish(error);
        self.subscriptions.close();
        while let Ok(subscription) = self.subscriptions.try_recv() {
            self.delivery.subscribe(subscription);
        }
        // The last messages are not lost because nobody reads now.
        self.delivery.finish(error);
    }
}

impl Drop for Driver {
    /// The task was aborted: nobody who still waits may wait for ever.
    fn drop(&mut self) {
        self.finish(&Error::Stopped);
    }
}

/// The characters that a query value may not hold.
const QUERY_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The end that is no failure.
const NORMAL: u16 = 1000;

/// The code that tells the server why its connection ends; none for a server
/// that is gone.
fn close_code(error: &Error) -> Option<u16> {
    match error {
        Error::Lost { .. } => None,
        Error::Protocol(_) => Some(1002),
        Error::TooBig { .. } => Some(1009),
        _ => Some(NORMAL),
    }
}

/// Opens a connection and waits for `connected`.
async fn connect(http: &Http, options: &Options, route: &str) -> Result<Accepted, Error> {
    let upgraded = http.upgrade(route).await?;
    let (mut reader, writer) = socket::split(upgraded, options.max_message_bytes);
    let limit = options.connect_timeout;
    let greeting = timeout(limit, greet(&mut reader, http))
        .await
        .unwrap_or(Err(Error::Timeout { what: "the server's greeting", limit }))?;
    Ok((reader, writer, greeting))
}

/// One more attempt to connect. A refusal by what stands before the server is
/// looked into.
async fn reattempt(
    wait: Duration,
    http: Http,
    options: Options,
    route: String,
    sandbox: Option<SandboxRef>,
) -> Result<Accepted, Error> {
    sleep(wait).await;
    let refused = match connect(&http, &options, &route).await {
        Err(error @ Error::Unavailable { .. }) => error,
        attempted => return attempted,
    };
    if let Some(sandbox) = sandbox {
        sandbox.still_there().await?;
    }
    Err(refused)
}

/// Returns when the client is stopped or gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
