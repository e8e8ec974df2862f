//! A connected client.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use claude_relay_protocol::ClientMessage;
use tokio::sync::watch;

use crate::driver::{DriverHandle, Position, SentMessage};
use crate::e2b::SandboxHost;
use crate::error::{ConfigureError, RequestError, SendError};
use crate::net::http::Http;
use crate::net::routes::{self, Health};
use crate::types::agent_request::{AgentAnswer, AgentRequest};
use crate::types::config::Configuration;
use crate::types::config::Configured;
use crate::types::connection::ConnectionState;
use crate::types::permission::{Decision, PermissionRequest};
use crate::types::raw_json::RawJson;
use crate::types::user_message::UserMessage;

/// A connection to a relay that restores itself. Cheap to clone; all clones
/// are the same connection.
///
/// It lives until [`stop`](Self::stop), or until the last clone, [`Messages`]
/// and [`Turn`] of it are dropped. Nothing of it outlives that.
///
/// [`Messages`]: crate::Messages
/// [`Turn`]: crate::Turn
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) driver: DriverHandle,
    pub(crate) http: Http,
    /// Makes the ids of control requests: a random part, and a number.
    pub(crate) control_prefix: String,
    pub(crate) next_control: AtomicU64,
    /// [`Client::ask`] waits until the agent is idle.
    pub(crate) waits_for_tasks: bool,
    /// The sandbox of the server, if it ends with this client.
    pub(crate) host: Option<Arc<SandboxHost>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.inner.http.dialer.address.to_string())
            .field("connection", &*self.inner.driver.connection().borrow())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Returns the server, to run an agent of an SDK program on it.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let (mut reader, writer) = client.run_server().connect("0123456789abcdef", 0).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn run_server(&self) -> super::run::RunServer {
        super::run::RunServer::of(self.inner.http.clone())
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Sends a message to the agent: a text, [`Block`](crate::Block)s, or any
    /// JSON.
    ///
    /// Returns when the server has read it. While the connection is being
    /// restored it waits, and is sent once when that is done. Dropping the
    /// future before that withdraws the message.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.send("Tidy up the notes.").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SendError::NotDelivered`] if it was not sent, for certain;
    /// [`SendError::DeliveryUnknown`] if the connection broke between the sending
    /// and the server's confirmation; [`SendError::InvalidMessage`] and
    /// [`SendError::TooBig`] for what no server takes.
    pub async fn send(&self, message: impl Into<UserMessage>) -> Result<(), SendError> {
        let message = message.into();
        let sent = SentMessage { uuid: Some(message.id.clone()) };
        self.inner.driver.send(message.frame()?, Some(sent)).await
    }

    /// Sends any frame, as JSON: for what this version has no method for. The
    /// answer, if there is one, is among the messages.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::RawJson;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let frame = RawJson::new(r#"{"type":"capabilities"}"#)?;
    /// client.send_frame(&frame).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send). It is not checked before it is sent.
    pub async fn send_frame(&self, frame: &RawJson) -> Result<(), SendError> {
        let message = match ClientMessage::parse(frame.get()) {
            Ok(ClientMessage::UserMessage { uuid, .. }) => {
                Some(SentMessage { uuid: uuid.map(Into::into) })
            }
            _ => None,
        };
        self.inner.driver.send(frame.get().to_owned(), message).await
    }

    /// Stops the running turn. What was sent before is not overtaken. Returns
    /// when the server has read it; the turn's result says the rest.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let turn = client.turn("Count to a million.").await?;
    /// client.interrupt().await?;
    /// assert!(turn.finish().await?.interrupted);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn interrupt(&self) -> Result<(), SendError> {
        self.inner.driver.send(r#"{"type":"interrupt"}"#.to_owned(), None).await
    }

    /// Answers a permission request.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Decision, PermissionRequest, ServerMessage};
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut messages = client.messages();
    /// while let Some(message) = messages.next().await {
    ///     if let ServerMessage::PermissionRequest(request) = message? {
    ///         client.respond(&request, &Decision::deny("not today")).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn respond(
        &self,
        request: &PermissionRequest,
        decision: &Decision,
    ) -> Result<(), SendError> {
        self.inner.driver.decide(&request.id, decision).await
    }

    /// Answers a request of the agent.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{AgentAnswer, ServerMessage};
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut messages = client.messages();
    /// while let Some(message) = messages.next().await {
    ///     if let ServerMessage::AgentRequest(request) = message? {
    ///         client.answer(&request, &AgentAnswer::decline()).await?;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn answer(
        &self,
        request: &AgentRequest,
        answer: &AgentAnswer,
    ) -> Result<(), SendError> {
        self.inner.driver.answer(&request.id, answer).await
    }

    /// A control request's whole answer.
    pub(crate) async fn control_raw(&self, request: &RawJson) -> Result<RawJson, SendError> {
        let inner = &*self.inner;
        let number = inner.next_control.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", inner.control_prefix);
        let frame = format!(
            r#"{{"type":"control_request","requestId":"{id}","request":{}}}"#,
            request.get()
        );
        if let Err(error) = ClientMessage::parse(&frame) {
            return Err(SendError::invalid(error));
        }
        inner.driver.control(id, frame).await
    }

    /// Asks for the [`Capabilities`], which come among the messages.
    ///
    /// [`Capabilities`]: crate::ServerMessage::Capabilities
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::ServerMessage;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut messages = client.messages();
    /// client.request_capabilities().await?;
    /// while let Some(message) = messages.next().await {
    ///     if let ServerMessage::Capabilities(capabilities) = message? {
    ///         println!("{}", capabilities.get());
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`send`](Self::send).
    pub async fn request_capabilities(&self) -> Result<(), SendError> {
        self.inner.driver.send(r#"{"type":"capabilities"}"#.to_owned(), None).await
    }

    /// Replaces the server's configuration as a whole. The answer says when it
    /// takes effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Configuration;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let configuration = Configuration { model: Some("opus".into()), ..Default::default() };
    /// let configured = client.configure(&configuration).await?;
    /// println!("{:?}", configured.applies);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigureError::Refused`] names the field; the rest is about the
    /// connection. It is not retried.
    pub async fn configure(
        &self,
        configuration: &Configuration,
    ) -> Result<Configured, ConfigureError> {
        routes::configure(&self.inner.http, configuration).await
    }

    /// Changes the server's configuration by what `changes` says; everything
    /// else stays as it is, secrets too. Two changes at the same time are both
    /// made. A field whose value in [`Configuration::other`] is `null` is
    /// removed.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Configuration;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut changes = Configuration { model: Some("opus".into()), ..Default::default() };
    /// changes.other.insert("systemPrompt".into(), serde_json::Value::Null);
    /// println!("{:?}", client.update_config(&changes).await?.secrets);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`configure`](Self::configure).
    pub async fn update_config(
        &self,
        changes: &Configuration,
    ) -> Result<Configured, ConfigureError> {
        routes::update(&self.inner.http, changes).await
    }

    /// The server's configuration, without its secrets.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{}", client.configuration().await?.get());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// About the connection and the token.
    pub async fn configuration(&self) -> Result<RawJson, RequestError> {
        Ok(routes::configuration(&self.inner.http).await?.config)
    }

    /// The state of the server.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{:?}", client.health().await?.version);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// About the connection and the token.
    pub async fn health(&self) -> Result<Health, RequestError> {
        routes::health(&self.inner.http).await
    }

    /// The state of the connection, and every change of it.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::ConnectionState;
    ///
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut connection = client.connection();
    /// while connection.changed().await.is_ok() {
    ///     if let ConnectionState::Reconnecting { attempt, .. } = &*connection.borrow_and_update() {
    ///         println!("attempt {attempt} to reconnect");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.inner.driver.connection().clone()
    }

    /// The place that this client has reached in the server's stream, to go on there
    /// in another process: [`resume_at`]. `None` if the server does not number
    /// its frames.
    ///
    /// [`resume_at`]: crate::ClientBuilder::resume_at
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// if let Some(position) = client.position() {
    ///     println!("{} of {}", position.seq, position.stream);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.inner.driver.position()
    }

    /// Closes the connection and waits until that is done, a second at
    /// most. The agent goes on; the server keeps what it says. Messages that
    /// were not delivered fail. Can be called again, and by several.
    ///
    /// If the server runs in a sandbox, this ends the sandbox and waits until
    /// that is done.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(client: claude_relay_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// client.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn stop(&self) {
        self.close_connection().await;
        if let Some(host) = &self.inner.host {
            // `kill` tells of a failure; here there is nobody to tell. The
            // sandbox's time ends it then.
            let _ = host.end().await;
        }
    }

    /// Closes the connection for good.
    pub(crate) async fn close_connection(&self) {
        self.inner.driver.stop().await;
    }
}
