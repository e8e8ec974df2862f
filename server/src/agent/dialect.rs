//! What the session says to an agent and hears from it, whichever agent it is.
//!
//! One [`Dialect`] lives as long as one run of the agent. It turns what the
//! session wants into lines and what the agent writes into a [`Route`]; the
//! session knows neither. The set of agents is closed, so every difference is
//! a `match` in this file.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::claude;
use super::codex::{self, Codex};
use crate::process::Input;

/// What is to be done with one line of the agent.
#[derive(Debug)]
pub enum Route<'a> {
    /// It goes to the client as it is.
    Forward(Mark<'a>),
    /// It is between agent and host only.
    Hidden(Mark<'a>),
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
    Noise,
}

/// What a line tells about the state of the agent, beside what it is.
#[derive(Debug, PartialEq, Eq)]
pub enum Mark<'a> {
    /// Nothing.
    None,
    /// A turn begins, in this session.
    TurnStarted(Option<Cow<'a, str>>),
    /// A turn has ended.
    TurnEnded,
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
    pub reply: Reply,
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

/// How one question is answered. It stays with the question.
#[derive(Debug)]
pub enum Reply {
    /// In the words of Claude Code.
    Claude(claude::Reply),
    /// In the words of Codex.
    Codex(codex::Reply),
}

/// The answer to a question.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// The line for the agent.
    pub line: Bytes,
    /// What the client has to know: not everything it said can be passed on.
    pub remark: Option<&'static str>,
}

impl Reply {
    /// The line that answers the question.
    #[must_use]
    pub fn answer(&self, answer: &PermissionAnswer) -> Answered {
        match self {
            Self::Claude(reply) => Answered { line: reply.answer(answer), remark: None },
            Self::Codex(reply) => reply.answer(answer),
        }
    }

    /// The line that says that there will be no answer.
    #[must_use]
    pub fn refuse(&self, reason: &str) -> Bytes {
        match self {
            Self::Claude(reply) => reply.refuse(reason),
            Self::Codex(reply) => reply.refuse(reason),
        }
    }
}

/// What the agent can be handed now. What it cannot waits where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
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
pub enum Asked {
    /// It is to be written; the agent answers it.
    Write(Bytes),
    /// It is answered already.
    Answered(Box<RawValue>),
}

/// A message that this agent cannot be given; the text names what is in the
/// way.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Untranslatable(pub String);

/// What an agent's protocol has to do or to say of itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Aside {
    /// This is to be written.
    Write(Bytes),
    /// The client is to be told.
    Say(String),
    /// The message that was handed over last was not taken, for this reason.
    TurnRefused(String),
    /// The run is of no use any more, for this reason.
    Broken(String),
}

/// One run's side of the conversation.
#[derive(Debug)]
pub enum Dialect {
    /// Claude Code's.
    Claude,
    /// Codex's.
    Codex(Box<Codex>),
}

impl Dialect {
    /// Looks at one line of the agent.
    pub fn classify<'a>(&mut self, line: &'a [u8], now: Instant) -> Route<'a> {
        match self {
            Self::Claude => claude::classify(line),
            Self::Codex(codex) => codex.classify(line, now),
        }
    }

    /// What can be handed over now.
    #[must_use]
    pub fn takes(&self) -> Takes {
        match self {
            // It has a queue of its own.
            Self::Claude => Takes::Anything,
            Self::Codex(codex) => codex.takes(),
        }
    }

    /// What to write for a message of the client: the line of its `data`.
    ///
    /// # Errors
    ///
    /// When the agent knows nothing like it.
    pub fn message(&mut self, data: Bytes, now: Instant) -> Result<Input, Untranslatable> {
        match self {
            Self::Claude => Ok(Input::Message(data)),
            Self::Codex(codex) => codex.message(data, now),
        }
    }

    /// A message that was handed over and is known not to have been taken;
    /// asked once the run is over.
    pub fn unanswered(&mut self) -> Option<Bytes> {
        match self {
            // What it has not read lies in the pipe.
            Self::Claude => None,
            Self::Codex(codex) => codex.unanswered(),
        }
    }

    /// What stops the running turn; nothing when there is none to stop.
    pub fn interrupt(&mut self, now: Instant) -> Option<Bytes> {
        match self {
            Self::Claude => Some(claude::interrupt()),
            Self::Codex(codex) => codex.interrupt(now),
        }
    }

    /// Whether an interrupt is still being carried out that the end of its
    /// input would cut short: an agent that goes on elsewhere keeps running
    /// what it was not told to end.
    #[must_use]
    pub fn lingers(&self) -> bool {
        match self {
            Self::Claude => false,
            Self::Codex(codex) => codex.lingers(),
        }
    }

    /// What to do with a control request of the client. `id` is the relay's
    /// own for it, `request` its object as JSON on one line.
    pub fn control_request(&mut self, id: &str, request: &str, now: Instant) -> Asked {
        match self {
            Self::Claude => Asked::Write(claude::control_request(id, request)),
            Self::Codex(codex) => codex.control_request(id, request, now),
        }
    }

    /// The next thing that the protocol itself wants; to be asked for after
    /// every event until there is none.
    pub fn aside(&mut self) -> Option<Aside> {
        match self {
            Self::Claude => None,
            Self::Codex(codex) => codex.aside(),
        }
    }

    /// When [`Self::on_time`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Claude => None,
            Self::Codex(codex) => codex.deadline(),
        }
    }

    /// Gives up what takes too long; see [`Self::aside`] for what follows.
    pub fn on_time(&mut self, now: Instant) {
        match self {
            Self::Claude => {}
            Self::Codex(codex) => codex.on_time(now),
        }
    }
}
