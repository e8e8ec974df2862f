//! The handle of the session for all other modules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use claude_relay_protocol::QueryConfig;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::channels::ConnectRequest;
use super::configure::{Change, ConfigureError, Configured, ShownConfig};
use super::slot::ConnectionId;

/// Capacity of the command channel.
pub(super) const COMMAND_CAPACITY: usize = 64;

/// Commands to the session.
#[derive(Debug)]
pub(super) enum Command {
    Connect(ConnectRequest),
    Configure(Bytes, Change, oneshot::Sender<Result<Configured, ConfigureError>>),
    ChangeOwner(oneshot::Sender<()>),
    Config(oneshot::Sender<ShownConfig>),
    Configuration(oneshot::Sender<QueryConfig>),
    Health(oneshot::Sender<serde_json::Value>),
    Ready(oneshot::Sender<bool>),
    Metrics(oneshot::Sender<String>),
    Shutdown,
}

/// The session has ended, because the server is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the server is shutting down")]
pub struct SessionClosed;

/// Handle of the session.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    commands: mpsc::Sender<Command>,
    connections: Arc<AtomicU64>,
    large_messages: Arc<Semaphore>,
    keeps_raw: bool,
}

impl SessionHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>, keeps_raw: bool) -> Self {
        Self {
            commands,
            connections: Arc::new(AtomicU64::new(1)),
            large_messages: Arc::new(Semaphore::new(1)),
            keeps_raw,
        }
    }

    /// Returns a new connection id.
    #[must_use]
    pub fn next_connection_id(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the permit for parsing a large message on another thread: one at a
    /// time, since its memory is held even if its connection ends meanwhile.
    #[must_use]
    pub fn large_messages(&self) -> Arc<Semaphore> {
        Arc::clone(&self.large_messages)
    }

    /// Returns true if messages are recorded as they came.
    #[must_use]
    pub fn keeps_raw(&self) -> bool {
        self.keeps_raw
    }

    /// Asks for the client slot. The result is sent on `request.accepted`.
    ///
    /// # Errors
    ///
    /// Returns an error if the session has ended.
    pub async fn connect(&self, request: ConnectRequest) -> Result<(), SessionClosed> {
        self.commands.send(Command::Connect(request)).await.map_err(|_| SessionClosed)
    }

    /// Changes the configuration by `body`.
    ///
    /// # Errors
    ///
    /// Returns an error if `body` is malformed or exceeds the ceiling, or the
    /// session has ended. The configuration is then unchanged.
    pub async fn configure(
        &self,
        body: Bytes,
        change: Change,
    ) -> Result<Configured, ConfigureError> {
        let (reply_to, reply) = oneshot::channel();
        let command = Command::Configure(body, change, reply_to);
        self.commands.send(command).await.map_err(|_| SessionClosed)?;
        reply.await.map_err(|_| SessionClosed)?
    }

    /// Disconnects whoever is connected, and lets nothing of the stream and the
    /// conversation have the name that it had: the server has another token.
    ///
    /// # Errors
    ///
    /// Returns an error if the session has ended.
    pub async fn change_owner(&self) -> Result<(), SessionClosed> {
        self.ask(Command::ChangeOwner).await
    }

    /// Returns the configuration without its secrets.
    ///
    /// # Errors
    ///
    /// Returns an error if the session has ended.
    pub async fn config(&self) -> Result<ShownConfig, SessionClosed> {
        self.ask(Command::Config).await
    }

    /// Returns the configuration with its secrets, for an agent.
    ///
    /// # Errors
    ///
    /// Returns an error if the session has ended.
    pub async fn configuration(&self) -> Result<QueryConfig, SessionClosed> {
        self.ask(Command::Configuration).await
    }

    /// Returns the details of `/health`.
    ///
    /// # Errors
    ///
    /// Returns an error if the session has ended.
    pub async fn health(&self) -> Result<serde_json::Value, SessionClosed> {
        self.ask(Command::Health).await
    }

    /// Returns true if a client could be served, which ends with the begin of a
    /// shutdown.
    pub async fn is_ready(&self) -> bool {
        self.ask(Command::Ready).await.unwrap_or(false)
    }

    /// Returns the figures of `/metrics`, as Prometheus text.
    ///
    /// # Errors
    ///
    /// Returns an error if the session has ended.
    pub async fn metrics(&self) -> Result<String, SessionClosed> {
        self.ask(Command::Metrics).await
    }

    /// Starts a graceful shutdown of the client and the agent; the second call
    /// kills the agent. [`Session::run`](super::Session::run) returns when both
    /// have ended.
    pub async fn shut_down(&self) {
        // An error means that the session has ended already.
        let _ = self.commands.send(Command::Shutdown).await;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, SessionClosed> {
        let (reply_to, reply) = oneshot::channel();
        self.commands.send(command(reply_to)).await.map_err(|_| SessionClosed)?;
        reply.await.map_err(|_| SessionClosed)
    }
}
