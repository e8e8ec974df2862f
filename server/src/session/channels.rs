//! The channels between the session and a connection: their messages and
//! capacities.

use std::future::pending;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::agent::protocol::PermissionAnswer;
use crate::process::Input;
use crate::session::configure::Change;
use crate::session::replay::Features;
use crate::session::slot::ConnectionId;
use crate::session::socket::Outlet;

/// Maximum size of a client's message, in total over its fragments.
pub const MESSAGE_LIMIT: usize = 64 << 20;

/// [`MESSAGE_LIMIT`] for watchers, who have nothing long to say.
pub const WATCHER_MESSAGE_LIMIT: usize = 64 << 10;

/// Capacity for small frames that wait for the socket: pongs, pings, answers to
/// requests.
pub const PRIORITY_CAPACITY: usize = 128;

/// Maximum size of the answers to a client's control requests that wait for its
/// socket. The largest is a line of the agent.
pub const ANSWER_BYTES: usize = 96 << 20;

/// Capacity for messages of a client that wait for the session. A few suffice,
/// because the session always takes them.
pub const CLIENT_EVENT_CAPACITY: usize = 8;

/// Options of a new connection, from its URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attach {
    /// Enables sequence numbers, with the position to replay from.
    pub replay: Option<Replay>,
    /// True if a connected client is to be replaced.
    pub takeover: bool,
    /// Features of the protocol that the client supports.
    pub features: Features,
    /// True if its first message is the configuration.
    pub configures: bool,
    /// True if it reads along and does not ask for the slot.
    pub watches: bool,
}

/// `?after=N&stream=S`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Sequence number of the last frame that the client has.
    pub after: u64,
    /// Id of the stream that the number belongs to.
    pub stream: Option<String>,
}

/// The actor's ends of the channels to a connection; the actor is the session,
/// or a run with requests of its own.
#[derive(Debug)]
pub struct ClientChannels<R = Request> {
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

/// A connection that asks for the client slot.
#[derive(Debug)]
pub struct ConnectRequest {
    /// Id of the connection.
    pub id: ConnectionId,
    /// Its options.
    pub attach: Attach,
    /// The channels to it.
    pub channels: ClientChannels,
    /// Receives true if the connection is accepted; nothing that it sends is
    /// processed before.
    pub accepted: oneshot::Sender<bool>,
}

/// A frame that is sent before bulk data.
#[derive(Debug)]
pub enum PriorityMessage {
    /// A text frame of the relay.
    Text(String),
    /// The answer to a control request, and its part of [`ANSWER_BYTES`].
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
pub enum ClientEvent<R = Request> {
    /// A parsed message, or an error text if it was malformed.
    Request(Result<R, String>, MessageBytes),
    /// Any other frame, which shows that the client is alive.
    Alive,
}

/// A request of a client.
#[derive(Debug)]
pub enum Request {
    /// A message for the agent.
    UserMessage {
        /// The `data` of the message with its original bytes, on one line, with
        /// a newline.
        line: Bytes,
        /// Id by which the agent refers to the message.
        uuid: Option<String>,
        /// The name of a field that could be more than words.
        other: Option<String>,
    },
    /// Interrupt the running turn.
    Interrupt,
    /// Answer to a permission request.
    Permission {
        /// Id of the request.
        request_id: String,
        /// The answer.
        answer: PermissionAnswer,
    },
    /// A control request for the agent.
    Control {
        /// The client's id of the request.
        request_id: String,
        /// Subtype.
        subtype: String,
        /// The request object, on one line.
        request: String,
    },
    /// Answer to a request of the agent.
    AgentResponse {
        /// Id of the request.
        request_id: String,
        /// The object for the agent, on one line, or a reason for having none.
        outcome: Result<String, String>,
    },
    /// The configuration that comes with a connection.
    Configure {
        /// The configuration.
        config: Bytes,
        /// Kind of the change.
        change: Change,
    },
    /// Request for the `capabilities` frame.
    Capabilities,
}

/// Receives, or waits forever if there is no channel.
pub(crate) async fn recv<T>(from: &mut Option<&mut mpsc::Receiver<T>>) -> Option<T> {
    match from {
        Some(from) => from.recv().await,
        None => pending().await,
    }
}

/// Reserves a place in the agent's stdin, or waits forever if there is none.
pub(crate) async fn reserve(
    stdin: Option<mpsc::Sender<Input>>,
) -> Result<mpsc::OwnedPermit<Input>, mpsc::error::SendError<()>> {
    match stdin {
        Some(stdin) => stdin.reserve_owned().await,
        None => pending().await,
    }
}

/// Receives an event of the client once there is room for an answer: a client
/// that does not read its answers is not read.
pub(crate) async fn next_client_event<R>(
    answers: Option<mpsc::Sender<PriorityMessage>>,
    events: &mut Option<&mut mpsc::Receiver<ClientEvent<R>>>,
) -> Option<ClientEvent<R>> {
    let (Some(answers), Some(events)) = (answers, events) else {
        return pending().await;
    };
    let permit = answers.reserve().await;
    if permit.is_err() {
        return None;
    }
    events.recv().await
}
