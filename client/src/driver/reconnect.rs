//! The time between two connections: opening one, by whatever attempts it
//! takes, and serving the handles meanwhile.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use claude_relay_protocol::Backoff;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{sleep, timeout};

use super::acks::Acks;
use super::channels::{Outgoing, Purpose};
use super::handshake::{greet, read_configured};
use super::session::{Driver, OpenConnection, stopped};
use super::writer::FrameWriter;
use crate::e2b::SandboxRef;
use crate::error::{ConnectError, ConnectionError, RequestError, SendError};
use crate::net::http::Http;
use crate::net::socket::{self, MessageForm, Reader, Writer};
use crate::types::config::Configured;
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
struct Accepted {
    reader: Reader,
    writer: Writer,
    greeting: Greeting,
    /// The answer to the configuration, if it was said.
    configured: Option<Configured>,
}

/// The configuration of a client that says it as it connects.
#[derive(Clone)]
struct Configuring {
    /// The configuration as JSON.
    json: Arc<str>,
    /// It changes the server's configuration field by field.
    merges: bool,
    /// The stream of a server that has it.
    known_to: Option<String>,
}

impl Configuring {
    /// Returns true if the server of `stream` has to be told.
    fn is_needed(&self, stream: Option<&str>) -> bool {
        self.known_to.is_none() || self.known_to.as_deref() != stream
    }

    fn frame(&self, stream: Option<&str>) -> String {
        if self.is_needed(stream) {
            let merge = if self.merges { r#","merge":true"# } else { "" };
            format!(r#"{{"type":"configure","config":{}{merge}}}"#, self.json)
        } else {
            r#"{"type":"configure","config":{},"merge":true}"#.to_owned()
        }
    }
}

impl Driver {
    /// Opens the first connection. `configures` says that the server has not
    /// got the configuration.
    pub(super) async fn connect(
        &mut self,
        configures: bool,
    ) -> Result<OpenConnection, ConnectError> {
        let configuring = self
            .configuration
            .clone()
            .filter(|_| configures)
            .map(|json| Configuring { json, merges: self.merges, known_to: None });
        let route = self.route(self.options.takeover, configuring.is_some());
        let accepted = connect(&self.http, &self.options, &route, configuring, self.form).await?;
        // The original server passes over what it does not know.
        self.numbered &= accepted.greeting.stream.is_some();
        Ok(self.accepted(accepted))
    }

    /// Takes over a connection whose server has said `connected`.
    fn accepted(&mut self, accepted: Accepted) -> OpenConnection {
        let Accepted { reader, mut writer, greeting, configured } = accepted;
        writer.set_form(self.form);
        if self.numbered {
            if self.sequence.connected(greeting.stream.as_deref(), greeting.next) {
                let stream = greeting.stream.clone();
                let restarted = ServerMessage::Restarted { stream };
                self.tracker.on_message(&restarted);
                self.delivery.add(restarted, 0);
                if let Some(configured) = configured {
                    let configured = ServerMessage::Configured(Box::new(configured));
                    self.delivery.add(configured, 0);
                }
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

    fn route(&self, takeover: bool, configures: bool) -> String {
        let mut query = Vec::new();
        if self.numbered {
            query.push(format!("after={}", self.sequence.last()));
            if let Some(stream) = self.sequence.stream() {
                query.push(format!("stream={}", utf8_percent_encode(stream, QUERY_VALUE)));
            }
        }
        if self.options.watch {
            query.push("watch=true".to_owned());
        }
        if takeover {
            query.push("takeover=true".to_owned());
        }
        if self.numbered {
            let options = &self.options;
            let mut supports = "supports=agent_state".to_owned();
            for (name, is_supported) in [
                (",input", options.watch),
                (",questions", options.questions),
                (",hooks", options.hooks),
                (",host_tools", options.host_tools),
            ] {
                supports += if is_supported { name } else { "" };
            }
            query.push(supports);
        }
        if configures {
            query.push("configure=true".to_owned());
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
        // The form of the configuration; that of messages is their own.
        let mut form = self.form;
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
            let stream = self.sequence.stream().map(str::to_owned);
            let configuring = self
                .configuration
                .clone()
                .filter(|_| stream.is_some())
                .map(|json| Configuring { json, merges: self.merges, known_to: stream });
            let attempted = reattempt(
                wait,
                self.http.clone().on_separate_connections(),
                self.options.clone(),
                self.route(false, configuring.is_some()),
                configuring,
                form,
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
                Err(error) if error.is_transient() => {
                    form.connection_ended(false);
                    last = error;
                }
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

/// Opens a connection and waits for `connected`,
/// and for the answer to the configuration, if it is said.
async fn connect(
    http: &Http,
    options: &Options,
    route: &str,
    configuring: Option<Configuring>,
    form: MessageForm,
) -> Result<Accepted, ConnectError> {
    let upgraded = http.upgrade(route).await?;
    let (mut reader, mut writer) = socket::split(upgraded, options.max_message_bytes);
    writer.set_form(form);
    let limit = options.connect_timeout;
    let opening = async {
        let greeting = greet(&mut reader, http).await?;
        let stream = greeting.stream.as_deref();
        let mut said = None;
        if let Some(configuring) = configuring {
            writer.text(configuring.frame(stream)).await?;
            writer.flush().await?;
            let configured = read_configured(&mut reader, http).await?;
            said = Some(configured).filter(|_| configuring.is_needed(stream));
        }
        Ok::<_, ConnectError>((greeting, said))
    };
    let (greeting, configured) = timeout(limit, opening).await.unwrap_or_else(|_| {
        Err(RequestError::Timeout { what: "the server's greeting", limit }.into())
    })?;
    Ok(Accepted { reader, writer, greeting, configured })
}

/// One more attempt to connect. A refusal by what stands before the server is
/// looked into.
async fn reattempt(
    wait: Duration,
    http: Http,
    options: Options,
    route: String,
    configuring: Option<Configuring>,
    form: MessageForm,
    sandbox: Option<SandboxRef>,
) -> Result<Accepted, ConnectError> {
    sleep(wait).await;
    let refused = match connect(&http, &options, &route, configuring, form).await {
        Err(error @ ConnectError::Request(RequestError::Unavailable { .. })) => error,
        attempted => return attempted,
    };
    if let Some(sandbox) = sandbox {
        sandbox.still_there().await?;
    }
    Err(refused)
}
