//! The handle by which everything else talks to the session.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::channels::ConnectRequest;
use super::configure::{ConfigureError, Configured};
use super::slot::ConnectionId;

/// Commands that wait for the session.
pub(super) const COMMANDS: usize = 64;

/// What others ask of the session.
#[derive(Debug)]
pub(super) enum Command {
    Connect(ConnectRequest),
    Configure(Bytes, oneshot::Sender<Result<Configured, ConfigureError>>),
    Config(oneshot::Sender<serde_json::Value>),
    Health(oneshot::Sender<serde_json::Value>),
    Shutdown,
}

/// The session is over: the server is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the server is shutting down")]
pub struct SessionClosed;

/// How everything else talks to the session.
#[derive(Debug, Clone)]
pub struct SessionHandle {
    commands: mpsc::Sender<Command>,
    connections: Arc<AtomicU64>,
}

impl SessionHandle {
    pub(super) fn new(commands: mpsc::Sender<Command>) -> Self {
        Self { commands, connections: Arc::new(AtomicU64::new(1)) }
    }

    /// A number for a connection, never given before.
    #[must_use]
    pub fn next_connection_id(&self) -> ConnectionId {
        ConnectionId(self.connections.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks for the place. The answer is the newcomer's verdict.
    ///
    /// # Errors
    ///
    /// When the session is over.
    pub async fn connect(&self, request: ConnectRequest) -> Result<(), SessionClosed> {
        self.commands.send(Command::Connect(request)).await.map_err(|_| SessionClosed)
    }

    /// Replaces the configuration by `body`.
    ///
    /// # Errors
    ///
    /// When it is no configuration, or beyond what the mode allows, or the
    /// session is over. The configuration is then as it was.
    pub async fn configure(&self, body: Bytes) -> Result<Configured, ConfigureError> {
        let (reply_to, reply) = oneshot::channel();
        self.commands.send(Command::Configure(body, reply_to)).await.map_err(|_| SessionClosed)?;
        reply.await.map_err(|_| SessionClosed)?
    }

    /// The configuration as it may be shown.
    ///
    /// # Errors
    ///
    /// When the session is over.
    pub async fn config(&self) -> Result<serde_json::Value, SessionClosed> {
        self.ask(Command::Config).await
    }

    /// The details of `/health`.
    ///
    /// # Errors
    ///
    /// When the session is over.
    pub async fn health(&self) -> Result<serde_json::Value, SessionClosed> {
        self.ask(Command::Health).await
    }

    /// Says goodbye to the client and stops the agent; the second time, at
    /// once. [`Session::run`](super::Session::run) returns when both are gone.
    pub async fn shut_down(&self) {
        // A closed session needs no telling.
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
