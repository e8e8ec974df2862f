//! The channels between the session and a connection: their messages and
//! capacities.

use std::future::pending;

use bytes::Bytes;
use claude_relay_listen::ws::{self, PriorityMessage};
use tokio::sync::{mpsc, oneshot};

use crate::agent::protocol::PermissionAnswer;
use crate::process::Input;
use crate::session::configure::Change;
use crate::session::replay::Features;
use crate::session::slot::ConnectionId;

/// [`ws::MESSAGE_LIMIT`] for watchers, who have nothing long to say.
pub const WATCHER_MESSAGE_LIMIT: usize = 64 << 10;

/// Maximum size of the answers to a client's control requests that wait for its
/// socket. The largest is a line of the agent.
pub const ANSWER_BYTES: usize = 96 << 20;

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

/// The session's ends of the channels to a connection, or those of a run with
/// requests of its own.
pub type ClientChannels<R = Request> = ws::ClientChannels<R>;

/// Event of the client.
pub type ClientEvent<R = Request> = ws::ClientEvent<R>;

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
