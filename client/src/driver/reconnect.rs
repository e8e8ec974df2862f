//! The time between two connections: opening one, by whatever attempts it
//! takes, and serving the handles meanwhile.

use std::pin::pin;
use std::time::{Duration, Instant};

use claude_relay_protocol::Backoff;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{sleep, timeout};

use super::acks::Acks;
use super::channels::{Outgoing, Purpose};
use super::handshake::greet;
use super::session::{Driver, OpenConnection, stopped};
use super::writer::FrameWriter;
use crate::e2b::SandboxRef;
use crate::error::{ConnectError, ConnectionError, RequestError, SendError};
use crate::net::http::Http;
use crate::net::socket::{self, Reader, Writer};
use crate::types::connection::{ConnectionState, Options};
use crate::types::frame::Greeting;
use crate::types::message::{Gap, ServerMessage};

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
    pub(super) async fn connect(&mut self) -> Result<OpenConnection, ConnectError> {
        let route = self.route(self.options.takeover);
        let accepted = connect(&self.http, &self.options, &route).await?;
        Ok(self.accepted(accepted))
    }

    /// Takes over a connection whose server has said `connected`.
    fn accepted(&mut self, (reader, writer, greeting): Accepted) -> OpenConnection {
        if self.numbered {
            if self.sequence.connected(greeting.stream.as_deref(), greeting.next) {
                let stream = greeting.stream.clone();
                let restarted = ServerMessage::Restarted { stream };
                self.tracker.on_message(&restarted);
                self.delivery.add(restarted, 0);
                self.pending.restarted();
                if let Some(Outgoing { purpose: Purpose::Decision { .. }, .. }) = &self.unsent
                    && let Some(decision) = self.unsent.take()
                {
                    decision.fail(SendError::ServerRestarted);
                }
            }
            self.first_new = greeting.next.unwrap_or(0);
        }
        self.replayed.connected(greeting.next);
        self.tracker.connected(self.sequence.last(), self.first_new);
        self.publish_idle();
        self.publish_position();
        OpenConnection {
            reader,
            writer: FrameWriter::new(writer),
            acks: Acks::default(),
            heard: 0,
            states: 0,
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
        if self.numbered {
            query.push("supports=agent_state".to_owned());
        }
        if query.is_empty() { "/ws".to_owned() } else { format!("/ws?{}", query.join("&")) }
    }

    pub(super) async fn reconnect(
        &mut self,
        cause: ConnectionError,
        backoff: &mut Backoff,
    ) -> Result<OpenConnection, ConnectionError> {
        let since = Instant::now();
        let mut last = ConnectError::from(cause);
        let mut attempt = 0;
        loop {
            let elapsed = since.elapsed();
            if elapsed >= self.options.reconnect_for {
                let source = Box::new(last);
                return Err(ConnectionError::ReconnectFailed {
                    attempts: attempt,
                    elapsed,
                    source,
                });
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
                Err(error) => return Err(error.on_reconnect()),
            }
        }
    }

    /// Waits for `work` without a connection, and serves the handles
    /// meanwhile. An error means that the client was stopped.
    pub(super) async fn wait_for<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, ConnectionError> {
        let mut work = pin!(work);
        loop {
            self.delivery.advance();
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return Err(ConnectionError::Stopped),
                Some(subscription) = self.subscriptions.recv() => {
                    self.subscribe(subscription);
                }
                () = self.delivery.room(), if self.delivery.is_stalled() => {}
                () = self.pending.decide(), if !self.pending.is_full() => {}
                done = &mut work => return Ok(done),
            }
        }
    }

    /// The reason of the end. A connection that cannot be had may be so because
    /// there is nothing left to connect to.
    pub(super) async fn final_reason(&mut self, error: ConnectionError) -> ConnectionError {
        if !error.is_transient() && !matches!(error, ConnectionError::ReconnectFailed { .. }) {
            return error;
        }
        let Some(sandbox) = self.sandbox.clone() else { return error };
        match self.wait_for(async move { sandbox.still_there().await }).await {
            Ok(Err(gone)) => gone.into(),
            Ok(Ok(())) | Err(_) => error,
        }
    }
}

/// The characters that a query value may not hold.
const QUERY_VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Opens a connection and waits for `connected`.
async fn connect(http: &Http, options: &Options, route: &str) -> Result<Accepted, ConnectError> {
    let upgraded = http.upgrade(route).await?;
    let (mut reader, writer) = socket::split(upgraded, options.max_message_bytes);
    let limit = options.connect_timeout;
    let greeting = timeout(limit, greet(&mut reader, http)).await.unwrap_or_else(|_| {
        Err(RequestError::Timeout { what: "the server's greeting", limit }.into())
    })?;
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
) -> Result<Accepted, ConnectError> {
    sleep(wait).await;
    let refused = match connect(&http, &options, &route).await {
        Err(error @ ConnectError::Request(RequestError::Unavailable { .. })) => error,
        attempted => return attempted,
    };
    if let Some(sandbox) = sandbox {
        sandbox.still_there().await?;
    }
    Err(refused)
}
