//! The messages that a program receives.
//!
//! Nearly every frame is a line of the agent. Such a frame is recognised by
//! its opening bytes, shared and not copied, and looked into only when the
//! program asks: see [`SdkMessage`].

use bytestring::ByteString;
use claude_relay_protocol::json::fields;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::types::agent_request::AgentRequest;
use crate::types::agent_state::AgentState;
use crate::types::config::Configured;
use crate::types::permission::PermissionRequest;
use crate::types::raw_json::RawJson;
use crate::types::view::{View, views};

/// One message of the server.
///
/// New kinds may come with new servers; what this version does not know, or
/// finds in another shape than it knows, is kept whole as
/// [`ServerMessage::Unknown`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServerMessage {
    /// A line of the agent.
    Sdk(SdkMessage),
    /// The server reports a failure.
    Error {
        /// In words.
        text: String,
        /// Its number in the stream, if it is about the agent. Without one it
        /// answers something that this client sent (an original server numbers
        /// nothing).
        seq: Option<u64>,
    },
    /// The agent's stderr, or what it wrote to stdout that is not JSON.
    Info(String),
    /// The agent asks whether it may use a tool. Nothing is approved without
    /// an answer: see [`Client::respond`](crate::Client::respond).
    PermissionRequest(Box<PermissionRequest>),
    /// The agent withdrew the permission request of this id.
    PermissionCancelled(String),
    /// The agent process ended by itself. The next message starts a new one.
    Exit(Exit),
    /// Messages are missing here. Never silent, never implied.
    Gap(Gap),
    /// The server was restarted: what follows is of another stream, whose
    /// numbers begin anew. Turns and permission requests of the former stream
    /// are over, and what it had left to say is lost.
    Restarted {
        /// The id of the new stream, if the server says it.
        stream: Option<String>,
    },
    /// The capabilities of server and agent, as JSON: the answer to
    /// [`Client::request_capabilities`](crate::Client::request_capabilities).
    Capabilities(RawJson),
    /// The agent's state, from a server that tells it.
    AgentState(Box<AgentState>),
    /// The server was restarted, and this client has said its configuration
    /// again. Follows [`ServerMessage::Restarted`].
    Configured(Box<Configured>),
    /// The agent asks a person: see [`AgentRequest`]. Only for clients that were
    /// built with [`ClientBuilder::questions`](crate::ClientBuilder::questions).
    AgentRequest(Box<AgentRequest>),
    /// The agent wants no answer to the request of this id any more.
    AgentRequestCancelled(String),
    /// Messages that the server took and that will not be run.
    Undelivered {
        /// Their ids.
        uuids: Vec<String>,
        /// The number of those that have no id.
        unnamed: u64,
        /// The cause, in words.
        reason: String,
    },
    /// A user message as it was handed to the agent, for clients that
    /// [read along](crate::ClientBuilder::watch).
    Input(RawJson),
    /// A frame that this version does not know, kept whole.
    Unknown {
        /// Its `type`.
        kind: String,
        /// The frame.
        frame: RawJson,
    },
}

impl ServerMessage {
    /// The id of the request that waits for an answer, if it is one.
    pub(crate) fn asks(&self) -> Option<&str> {
        match self {
            Self::PermissionRequest(request) => Some(&request.id),
            Self::AgentRequest(request) => Some(&request.id),
            _ => None,
        }
    }

    /// The id of the request that is withdrawn, if one is.
    pub(crate) fn withdraws(&self) -> Option<&str> {
        match self {
            Self::PermissionCancelled(id) | Self::AgentRequestCancelled(id) => Some(id),
            _ => None,
        }
    }
}

/// The end of an agent process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The name of the signal that ended it, such as `SIGKILL`.
    pub signal: Option<String>,
    /// The end of what it wrote to stderr.
    pub stderr: String,
    /// The ids of messages that wait for the next process, which will run them.
    pub waiting: Vec<String>,
    /// The ids of messages that the process had and will not be run again.
    pub dropped: Vec<String>,
    /// Its number in the server's stream, if the server numbers its frames.
    pub seq: Option<u64>,
}

/// Messages that this client will not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The number of the first one; `None` if the server does not number its
    /// frames, so that only the fact is known.
    pub from: Option<u64>,
    /// The number of the last one.
    pub to: Option<u64>,
}

/// One line of the agent, in the frame it came in. Cheap to clone: the bytes
/// are shared.
///
/// Receiving one reads no more than the opening of its frame. Looking into it
/// is up to the program: [`views`](Self::views) for what it means,
/// [`json`](Self::json) for the line as the agent wrote it,
/// [`frame`](Self::frame) to pass it on as it is.
#[derive(Debug, Clone)]
pub struct SdkMessage {
    frame: ByteString,
    seq: Option<u64>,
}

impl SdkMessage {
    pub(super) fn new(frame: ByteString, seq: Option<u64>) -> Self {
        Self { frame, seq }
    }

    /// Its number in the server's stream, if the server numbers its frames.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{:?}", message.seq());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// The whole frame, `{"type":"sdk_message",…}`, byte for byte.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("data: {}\n", message.frame());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn frame(&self) -> &ByteString {
        &self.frame
    }

    /// The line of the agent, byte for byte: key order, the spelling of
    /// numbers and unknown fields are as they came. Checks the frame, so keep
    /// the result rather than asking twice.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{}", message.json()?.get());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The frame is not JSON or holds no line. A relay sends no such.
    pub fn json(&self) -> Result<&RawValue, MalformedMessage> {
        let [data] = fields(&self.frame, ["data"]).map_err(MalformedMessage::NotJson)?;
        data.ok_or(MalformedMessage::Empty)
    }

    /// Reads the line as a type of the caller's choice.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(serde::Deserialize)]
    /// struct Line {
    ///     r#type: String,
    /// }
    ///
    /// println!("{}", message.parse::<Line>()?.r#type);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`json`](Self::json), or when the line does not have that
    /// type's shape.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, MalformedMessage> {
        serde_json::from_str(self.json()?.get()).map_err(MalformedMessage::Shape)
    }

    /// The meaning of the line: the texts, tool calls, results and so on that are
    /// in it, in their order. Empty for a line this version has no view of.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::View;
    ///
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// for view in message.views() {
    ///     if let View::Text { text, .. } = view {
    ///         println!("{text}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn views(&self) -> Vec<View<'_>> {
        self.json().map(views).unwrap_or_default()
    }
}

/// The reason why a line of the agent could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MalformedMessage {
    /// The frame is not JSON.
    #[error("the frame is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// The frame has no `data`.
    #[error("the frame holds no line of the agent")]
    Empty,
    /// The line has another shape than was asked for.
    #[error("the line has another shape: {0}")]
    Shape(serde_json::Error),
}
