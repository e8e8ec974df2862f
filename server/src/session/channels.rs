//! The channels between the session and a connection: the types that go over
//! them, and their limits.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::agent::protocol::PermissionAnswer;
use crate::session::replay::Features;
use crate::session::slot::ConnectionId;

/// The largest message of a client, however it is fragmented.
pub const MESSAGE_LIMIT: usize = 64 << 20;

/// Small frames that wait for the socket: pongs, pings, answers to requests.
pub const PRIORITY_CAPACITY: usize = 128;

/// Messages of a client that wait for the session. It always takes them, so
/// few are enough.
pub const CLIENT_EVENT_CAPACITY: usize = 8;

/// What a newcomer asks for in its URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attach {
    /// Sequenced delivery, from here on.
    pub replay: Option<Replay>,
    /// Whether to take the place of a live client.
    pub takeover: bool,
    /// What the client understands beyond the first version.
    pub features: Features,
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
pub struct ClientChannels {
    /// Frames that do not wait.
    pub priority: mpsc::Sender<PriorityMessage>,
    /// Slices of the replay buffer, one batch at a time.
    pub data: mpsc::Sender<Vec<Bytes>>,
    /// The batch has been written; its empty hull comes back.
    pub spent: mpsc::Receiver<Vec<Bytes>>,
    /// What the client sends.
    pub events: mpsc::Receiver<ClientEvent>,
}

/// A connection that wants the place.
#[derive(Debug)]
pub struct ConnectRequest {
    /// Its number.
    pub id: ConnectionId,
    /// What it asks for.
    pub attach: Attach,
    /// How to talk to it.
    pub channels: ClientChannels,
    /// Whether it may stay; nothing it sends is read before.
    pub accepted: oneshot::Sender<bool>,
}

/// A frame that does not wait behind bulk data.
#[derive(Debug)]
pub enum PriorityMessage {
    /// A text frame of our own.
    Text(String),
    /// A ping.
    Ping,
    /// The answer to a ping.
    Pong(Bytes),
    /// The last frame.
    Close(Close),
}

/// Why a connection ends, in the words of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// The close code; none for an empty close frame.
    pub code: Option<u16>,
    /// A few words, at most 123 bytes.
    pub reason: &'static str,
}

impl Close {
    /// Another client is connected.
    pub const BUSY: Self = Self::new(1013, "another client is connected");
    /// Another client asked to take over.
    pub const REPLACED: Self = Self::new(4001, "replaced by another client");
    /// The server is shutting down.
    pub const GOING_AWAY: Self = Self::new(1001, "server is shutting down");
    /// The client broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self::new(1002, "protocol error");
    /// A text message was not UTF-8.
    pub const NOT_UTF8: Self = Self::new(1007, "not UTF-8");
    /// A message was over the bound.
    pub const TOO_BIG: Self = Self::new(1009, "message too big");
    /// The client does not read what it asked for.
    pub const NOT_READING: Self = Self::new(1008, "answers were not read");

    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code: Some(code), reason }
    }
}

/// What the session hears from its client.
#[derive(Debug)]
pub enum ClientEvent {
    /// A message, checked; an error text if it was malformed.
    Request(Result<Request, String>),
    /// Something else came: the client is alive.
    Alive,
}

/// What a client wants, owned.
#[derive(Debug)]
pub enum Request {
    /// The line for the agent: the `data` of the message with its own bytes,
    /// on one line, and a newline.
    UserMessage {
        /// The line.
        line: Bytes,
        /// The name by which the agent tells of it.
        uuid: Option<String>,
    },
    /// Stop the running turn.
    Interrupt,
    /// The answer to a permission request.
    Permission {
        /// Which one.
        request_id: String,
        /// What was decided.
        answer: PermissionAnswer,
    },
    /// A control request for the agent.
    Control {
        /// The client's id for it.
        request_id: String,
        /// Its subtype.
        subtype: String,
        /// The request object, on one line.
        request: String,
    },
    /// Asks for the `capabilities` frame.
    Capabilities,
}
