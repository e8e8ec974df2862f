//! The channels between a connection and its actor: their messages and
//! capacities.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::socket::Outlet;

/// Maximum size of a client's message, in total over its fragments.
pub const MESSAGE_LIMIT: usize = 64 << 20;

/// Capacity for small frames that wait for the socket: pongs, pings, answers to
/// requests.
pub const PRIORITY_CAPACITY: usize = 128;

/// Capacity for messages of a client that wait for the session. A few suffice,
/// because the session always takes them.
pub const CLIENT_EVENT_CAPACITY: usize = 8;

/// The actor's ends of the channels to a connection; the actor is the session,
/// or a run with requests of its own.
#[derive(Debug)]
pub struct ClientChannels<R> {
    /// Priority messages.
    pub priority: mpsc::Sender<PriorityMessage>,
    /// Slices of the replay buffer, one batch at a time.
    pub data: Outlet,
    /// Returns the empty batch after the write loop has written it.
    pub spent: mpsc::Receiver<Vec<Bytes>>,
    /// Events of the client.
    pub events: mpsc::Receiver<ClientEvent<R>>,
}

impl<R> ClientChannels<R> {
    /// Sends a batch. Returns it, empty, if it has been written already.
    pub fn send_batch(&self, batch: Vec<Bytes>) -> Option<Vec<Bytes>> {
        self.data.send(&self.priority, batch)
    }
}

/// Size of the messages of one connection that wait for the session: one of the
/// largest, or many smaller ones.
#[derive(Debug, Clone)]
pub struct MessageBudget(Arc<Semaphore>);

/// The part of a [`MessageBudget`] that one message takes until it is dropped.
#[derive(Debug, Default)]
pub struct MessageBytes {
    /// The message as it came, for a recording.
    pub raw: Option<Bytes>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Default for MessageBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MESSAGE_LIMIT)))
    }
}

impl MessageBudget {
    /// Waits until there is room for a message of `bytes`.
    pub async fn take(&self, bytes: usize) -> MessageBytes {
        let permits = u32::try_from(bytes.min(MESSAGE_LIMIT)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.0).acquire_many_owned(permits).await;
        MessageBytes { raw: None, _permit: permit.ok() }
    }
}

/// A frame that is sent before bulk data.
#[derive(Debug)]
pub enum PriorityMessage {
    /// A text frame of the relay.
    Text(String),
    /// The answer to a control request, and its part of the bound on those that wait.
    Answer(String, OwnedSemaphorePermit),
    /// A ping.
    Ping,
    /// A response to a ping.
    Pong(Bytes),
    /// A close frame, which is the last frame.
    Close(Close),
}

/// Content of a close frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Close code; `None` for an empty close frame.
    pub code: Option<u16>,
    /// Reason, of at most 123 bytes.
    pub reason: &'static str,
}

impl Close {
    /// Nothing follows.
    pub const NORMAL: Self = Self::new(1000, "");
    /// The agent of a raw connection has failed.
    pub const AGENT_FAILED: Self = Self::new(1011, "the agent has ended with an error");
    /// Another client is connected.
    pub const BUSY: Self = Self::new(1013, "another client is connected");
    /// There are too many watchers.
    pub const TOO_MANY_WATCHERS: Self = Self::new(1013, "too many watchers");
    /// Another client asked to take over.
    pub const REPLACED: Self = Self::new(4001, "replaced by another client");
    /// The server is shutting down.
    pub const GOING_AWAY: Self = Self::new(1001, "server is shutting down");
    /// The client violated the protocol.
    pub const PROTOCOL_ERROR: Self = Self::new(1002, "protocol error");
    /// A text message was not UTF-8.
    pub const NOT_UTF8: Self = Self::new(1007, "not UTF-8");
    /// A message exceeded the limit.
    pub const TOO_BIG: Self = Self::new(1009, "message too big");
    /// The configuration in the client's first message was refused.
    pub const CONFIG_REFUSED: Self = Self::new(4002, "the configuration was refused");
    /// The client does not read the answers to its requests.
    pub const NOT_READING: Self = Self::new(1008, "answers were not read");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code: Some(code), reason }
    }
}

/// Event of the client.
#[derive(Debug)]
pub enum ClientEvent<R> {
    /// A parsed message, or an error text if it was malformed.
    Request(Result<R, String>, MessageBytes),
    /// Any other frame, which shows that the client is alive.
    Alive,
}
