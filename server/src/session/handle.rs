//! How everything else talks to the session: what is asked of it, and what a
//! connection brings along.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::report::{ConfigureError, Configured};
use crate::connection::{Control, News};
use crate::slot::ConnectionId;

/// Commands that wait for the session.
pub(super) const COMMANDS: usize = 64;

/// What a newcomer asks for in its URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attach {
    /// Sequenced delivery, from here on.
    pub replay: Option<Replay>,
    /// Whether to take the place of a live client.
    pub takeover: bool,
}

/// `?after=N&stream=S`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// The last number the client has.
    pub after: u64,
    /// The life of the server it got it from.
    pub stream: Option<String>,
}

/// The session's ends of a connection.
#[derive(Debug)]
pub struct Port {
    /// Frames that do not wait.
    pub control: mpsc::Sender<Control>,
    /// Slices of the replay buffer, one batch at a time.
    pub data: mpsc::Sender<Vec<Bytes>>,
    /// The batch has been written; its empty hull comes back.
    pub ready: mpsc::Receiver<Vec<Bytes>>,
    /// What the client sends.
    pub news: mpsc::Receiver<News>,
}

/// A connection that wants the place.
#[derive(Debug)]
pub struct Newcomer {
    /// Its number.
    pub id: ConnectionId,
    /// What it asks for.
    pub attach: Attach,
    /// How to talk to it.
    pub port: Port,
    /// Whether it may stay; nothing it sends is read before.
    pub verdict: oneshot::Sender<bool>,
}

/// What others ask of the session.
#[derive(Debug)]
pub(super) enum Command {
    Connect(Newcomer),
    Configure(Bytes, oneshot::Sender<Result<Configured, ConfigureError>>),
    Config(oneshot::Sender<serde_json::Value>),
    Health(oneshot::Sender<serde_json::Value>),
    Shutdown,
}

/// The session is over: the server is shutting down.
#[derive(Debug, thiserror::Error)]
#[error("the server is shutting down")]
pub struct Over;

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
    pub async fn connect(&self, newcomer: Newcomer) -> Result<(), Over> {
        self.commands.send(Command::Connect(newcomer)).await.map_err(|_| Over)
    }

    /// Replaces the configuration by `body`.
    ///
    /// # Errors
    ///
    /// When it is no configuration, or beyond what the mode allows, or the
    /// session is over. The configuration is then as it was.
    pub async fn configure(&self, body: Bytes) -> Result<Configured, ConfigureError> {
        let (reply_to, reply) = oneshot::channel();
        self.commands.send(Command::Configure(body, reply_to)).await.map_err(|_| Over)?;
        reply.await.map_err(|_| Over)?
    }

    /// The configuration as it may be shown.
    ///
    /// # Errors
    ///
    /// When the session is over.
    pub async fn config(&self) -> Result<serde_json::Value, Over> {
        self.ask(Command::Config).await
    }

    /// The details of `/health`.
    ///
    /// # Errors
    ///
    /// When the session is over.
    pub async fn health(&self) -> Result<serde_json::Value, Over> {
        self.ask(Command::Health).await
    }

    /// Says goodbye to the client and stops the agent; the second time, at
    /// once. [`Session::run`](super::Session::run) returns when both are gone.
    pub async fn shut_down(&self) {
        // Over already is as good.
        let _ = self.commands.send(Command::Shutdown).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Over> {
        let (reply_to, reply) = oneshot::channel();
        self.commands.send(command(reply_to)).await.map_err(|_| Over)?;
        reply.await.map_err(|_| Over)
    }
}
