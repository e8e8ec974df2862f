//! The types between the session and the dialects of the agents.
//!
//! A dialect translates the session's requests into lines for the agent, and
//! each line of the agent into a [`Route`]. The session knows neither format.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use claude_relay_protocol::turns::Signal;
use serde_json::Value;
use serde_json::value::RawValue;

/// Route of one line of the agent.
#[derive(Debug)]
pub enum Route<'a> {
    /// Sent to the client unchanged.
    Forward(TurnEvent<'a>),
    /// Not sent to the client, because it is meant for the host.
    Hidden(TurnEvent<'a>),
    /// The response to the first request: the agent can work.
    Ready {
        /// Object with `commands` and `models`, if the agent lists them.
        offers: Value,
    },
    /// The response to a request that was sent to the agent.
    Answer {
        /// Id of the request.
        id: Cow<'a, str>,
        /// The whole response, including `subtype`.
        response: Cow<'a, RawValue>,
    },
    /// A permission request.
    Permission(Permission<'a>),
    /// A request other than for a permission, which a client may answer.
    Request(AgentRequest<'a>),
    /// The agent has cancelled a request.
    Withdrawn {
        /// Id of the request.
        id: Cow<'a, str>,
    },
    /// Lines that the agent has added to its transcript.
    Mirror {
        /// The file that it has written them to.
        file: Cow<'a, str>,
        /// The lines: an array of objects, as JSON.
        entries: Cow<'a, RawValue>,
    },
    /// A request that the relay cannot answer. This line refuses it, so that
    /// the agent does not wait.
    Refuse(Bytes),
    /// Not a JSON object.
    NotJson,
}

impl Route<'_> {
    /// Returns the same without a reference to the line.
    #[must_use]
    pub fn into_owned(self) -> Route<'static> {
        match self {
            Self::Forward(event) => Route::Forward(event.into_owned()),
            Self::Hidden(event) => Route::Hidden(event.into_owned()),
            Self::Ready { offers } => Route::Ready { offers },
            Self::Answer { id, response } => {
                Route::Answer { id: owned(id), response: owned(response) }
            }
            Self::Permission(Permission { id, tool, input, context, reply }) => {
                let (id, tool, input) = (owned(id), owned(tool), owned(input));
                Route::Permission(Permission { id, tool, input, context, reply })
            }
            Self::Request(AgentRequest { id, subtype, request, unsupported, response }) => {
                let (id, subtype, request) = (owned(id), owned(subtype), owned(request));
                Route::Request(AgentRequest { id, subtype, request, unsupported, response })
            }
            Self::Mirror { file, entries } => {
                Route::Mirror { file: owned(file), entries: owned(entries) }
            }
            Self::Withdrawn { id } => Route::Withdrawn { id: owned(id) },
            Self::Refuse(line) => Route::Refuse(line),
            Self::NotJson => Route::NotJson,
        }
    }
}

/// Returns the same without a reference.
pub(super) fn owned<T: ToOwned + ?Sized>(value: Cow<'_, T>) -> Cow<'static, T> {
    Cow::Owned(value.into_owned())
}

/// State of the agent's turns according to a line, in addition to its route.
#[derive(Debug, PartialEq, Eq)]
pub enum TurnEvent<'a> {
    /// No information.
    None,
    /// A turn begins, in this session.
    TurnStarted(Option<Cow<'a, str>>),
    /// A turn has ended.
    TurnEnded,
    /// A line with details about turns.
    Signal(Signal<'a>),
}

impl TurnEvent<'_> {
    fn into_owned(self) -> TurnEvent<'static> {
        match self {
            Self::None => TurnEvent::None,
            Self::TurnStarted(session) => TurnEvent::TurnStarted(session.map(owned)),
            Self::TurnEnded => TurnEvent::TurnEnded,
            Self::Signal(signal) => TurnEvent::Signal(signal.into_owned()),
        }
    }
}

/// A permission request of the agent.
#[derive(Debug)]
pub struct Permission<'a> {
    /// Id under which the client sees the request.
    pub id: Cow<'a, str>,
    /// Name of the tool.
    pub tool: Cow<'a, str>,
    /// Input of the tool call.
    pub input: Cow<'a, RawValue>,
    /// The other fields of the agent's request, unchanged.
    pub context: Box<RawValue>,
    /// Builds the response.
    pub reply: Box<dyn PermissionReply>,
}

/// A request of the agent that only a client can answer.
#[derive(Debug)]
pub struct AgentRequest<'a> {
    /// Its id.
    pub id: Cow<'a, str>,
    /// Its subtype.
    pub subtype: Cow<'a, str>,
    /// Its object, unchanged.
    pub request: Cow<'a, RawValue>,
    /// The response where no client answers requests of this kind.
    pub unsupported: Bytes,
    /// Builds the response.
    pub response: ResponseLine,
}

/// Builds the response to the request with this id: an object as JSON on one
/// line, or an error.
pub type ResponseLine = fn(id: &str, outcome: Result<&str, &str>) -> Bytes;

/// Answer of the user to a permission request.
#[derive(Debug, Clone)]
pub enum PermissionAnswer {
    /// The tool may run.
    Allow {
        /// Changed input, if any.
        input: Option<String>,
        /// Rules to apply from now on, on one line.
        permissions: Option<Box<RawValue>>,
    },
    /// The tool may not run.
    Deny {
        /// Reason, for the agent.
        message: Option<String>,
        /// True to end the turn too.
        interrupt: bool,
    },
}

impl PermissionAnswer {
    /// The rules that come with an approval: an array as JSON.
    #[must_use]
    pub fn updates(&self) -> Option<&RawValue> {
        match self {
            Self::Allow { permissions, .. } => permissions.as_deref(),
            Self::Deny { .. } => None,
        }
    }
}

/// Builds the responses to one permission request, which it is stored with.
pub trait PermissionReply: fmt::Debug + Send + Sync {
    /// Builds the response for an answer. `input` is what was asked about, as
    /// JSON.
    fn answer(&self, answer: &PermissionAnswer, input: &str) -> PermissionOutcome;

    /// Builds the response that refuses to answer.
    fn refuse(&self, reason: &str) -> Bytes;
}

/// Response to a permission request.
#[derive(Debug, PartialEq, Eq)]
pub struct PermissionOutcome {
    /// The line for the agent.
    pub line: Bytes,
    /// Notice for the client if a part of its answer cannot be passed on.
    pub notice: Option<&'static str>,
}

/// Kinds of input that the agent accepts now. Other input waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// All input.
    Anything,
    /// No message, because a turn runs and the agent takes one message at a
    /// time. Interrupts are for that turn and do not wait behind messages.
    NoMessage,
    /// Only requests and responses. There is no turn to interrupt, and none can
    /// begin.
    Requests,
}

/// Result of a control request.
#[derive(Debug)]
pub enum ControlOutcome {
    /// A line to write; the agent responds.
    Write(Bytes),
    /// The response.
    Answered(Box<RawValue>),
}

/// A message that the agent cannot process. The text names the obstacle.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnsupportedMessage(pub String);

/// Action of an agent's protocol.
#[derive(Debug, PartialEq, Eq)]
pub enum ProtocolAction {
    /// Write this line.
    Write(Bytes),
    /// Inform the client.
    Inform(String),
    /// The agent does not know the conversation that it was to resume.
    UnknownSession {
        /// Its id.
        session: String,
        /// The agent's words.
        reason: String,
    },
    /// The message sent last was refused, for this reason.
    TurnRefused(String),
    /// The run cannot continue, for this reason.
    Broken(String),
}
