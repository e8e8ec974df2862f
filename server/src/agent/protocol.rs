//! The types in which the session and an agent's dialect speak to each other.
//!
//! A dialect turns what the session wants into lines for the agent, and each
//! line of the agent into a [`Route`]; the session knows neither.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use claude_relay_protocol::turns::Signal;
use serde_json::Value;
use serde_json::value::RawValue;

/// What is to be done with one line of the agent.
#[derive(Debug)]
pub enum Route<'a> {
    /// It goes to the client as it is.
    Forward(TurnEvent<'a>),
    /// It is between agent and host only.
    Hidden(TurnEvent<'a>),
    /// The agent has taken the first request: it can do its work.
    Ready {
        /// An object of `commands` and `models`, if the agent tells them.
        offers: Value,
    },
    /// It answers a request that was sent to the agent.
    Answer {
        /// The id the request was sent with.
        id: Cow<'a, str>,
        /// The whole answer, `subtype` and all.
        response: Cow<'a, RawValue>,
    },
    /// The agent asks whether it may use a tool.
    Permission(Permission<'a>),
    /// The agent does not want an answer any more.
    Withdrawn {
        /// The id of its request.
        id: Cow<'a, str>,
    },
    /// The agent asks something that nobody here can answer; this is to be
    /// written to it, so that it does not wait for ever.
    Refuse(Bytes),
    /// It is no JSON object.
    NotJson,
}

/// What a line tells about the state of the agent, beside what it is.
#[derive(Debug, PartialEq, Eq)]
pub enum TurnEvent<'a> {
    /// Nothing.
    None,
    /// A turn begins, in this session.
    TurnStarted(Option<Cow<'a, str>>),
    /// A turn has ended.
    TurnEnded,
    /// A line that tells of turns in more detail.
    Signal(Signal<'a>),
}

/// A question about a tool.
#[derive(Debug)]
pub struct Permission<'a> {
    /// The id under which the client is asked.
    pub id: Cow<'a, str>,
    /// The tool.
    pub tool: Cow<'a, str>,
    /// What it would be called with.
    pub input: Cow<'a, RawValue>,
    /// The other fields of the agent's request, as they came.
    pub context: Box<RawValue>,
    /// How it is answered.
    pub reply: Box<dyn PermissionReply>,
}

/// What the user decided about a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermissionAnswer {
    /// It may run.
    Allow {
        /// With this input instead of the one asked for.
        input: Option<String>,
        /// And these rules from now on.
        permissions: Option<String>,
    },
    /// It may not.
    Deny {
        /// Why; the agent reads it.
        message: Option<String>,
        /// And the turn ends.
        interrupt: bool,
    },
}

/// The way in which one permission request is answered. It stays with the
/// request.
pub trait PermissionReply: fmt::Debug + Send + Sync {
    /// The line that answers the request.
    fn answer(&self, answer: &PermissionAnswer) -> PermissionOutcome;

    /// The line that says that there will be no answer.
    fn refuse(&self, reason: &str) -> Bytes;
}

/// The answer to a question.
#[derive(Debug, PartialEq, Eq)]
pub struct PermissionOutcome {
    /// The line for the agent.
    pub line: Bytes,
    /// What the client has to know: not everything it said can be passed on.
    pub notice: Option<&'static str>,
}

/// What the agent can be handed now. What it cannot waits where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepts {
    /// Whatever comes next.
    Anything,
    /// No message: a turn runs, and it takes one at a time. An interrupt is
    /// for that turn and does not wait behind the messages.
    NoMessage,
    /// Only requests and answers: there is no turn to interrupt, and there
    /// cannot be one yet.
    Requests,
}

/// What becomes of a control request.
#[derive(Debug)]
pub enum ControlOutcome {
    /// It is to be written; the agent answers it.
    Write(Bytes),
    /// It is answered already.
    Answered(Box<RawValue>),
}

/// A message that this agent cannot be given; the text names what is in the
/// way.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UnsupportedMessage(pub String);

/// What an agent's protocol has to do or to say of itself.
#[derive(Debug, PartialEq, Eq)]
pub enum ProtocolAction {
    /// This is to be written.
    Write(Bytes),
    /// The client is to be told.
    Inform(String),
    /// The message that was handed over last was not taken, for this reason.
    TurnRefused(String),
    /// The run is of no use any more, for this reason.
    Broken(String),
}
