//! The agent: its start, and the dialect in which the session speaks with it.
//!
//! One [`Dialect`] lives as long as one run of the agent. The set of agents is
//! closed, so every difference between them is a `match` in this file.

pub mod claude;
pub mod codex;
pub mod command;
pub mod demo;
pub mod describe;
pub mod env;
pub mod mode;
pub mod protocol;
pub mod workspace;

mod start;

use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::config::Provider;

use crate::process::Input;
use crate::settings::Settings;
use codex::Codex;
use protocol::{Accepts, ControlOutcome, ProtocolAction, Route, UnsupportedMessage};

pub use start::{StartError, Started, start};

/// The subcommand under which this program is the built-in agent.
pub const DEMO_AGENT: &str = "demo-agent";

/// What installs the CLI.
pub const INSTALL: &str = "npm install -g @anthropic-ai/claude-code";

/// What installs Codex.
pub(crate) const INSTALL_CODEX: &str = "npm install -g @openai/codex";

/// Which agent a configuration starts. The built-in one stands in for all.
pub(in crate::agent) fn provider(settings: &Settings, config: &QueryConfig) -> Provider {
    if settings.demo { Provider::Claude } else { config.provider }
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
    pub fn accepts(&self) -> Accepts {
        match self {
            // It has a queue of its own.
            Self::Claude => Accepts::Anything,
            Self::Codex(codex) => codex.accepts(),
        }
    }

    /// What to write for a message of the client: the line of its `data`.
    ///
    /// # Errors
    ///
    /// When the agent knows nothing like it.
    pub fn message(&mut self, data: Bytes, now: Instant) -> Result<Input, UnsupportedMessage> {
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
    pub fn is_interrupting(&self) -> bool {
        match self {
            Self::Claude => false,
            Self::Codex(codex) => codex.is_interrupting(),
        }
    }

    /// What to do with a control request of the client. `id` is the relay's
    /// own for it, `request` its object as JSON on one line.
    pub fn control_request(&mut self, id: &str, request: &str, now: Instant) -> ControlOutcome {
        match self {
            Self::Claude => ControlOutcome::Write(claude::control_request(id, request)),
            Self::Codex(codex) => codex.control_request(id, request, now),
        }
    }

    /// The next thing that the protocol itself wants; to be asked for after
    /// every event until there is none.
    pub fn next_action(&mut self) -> Option<ProtocolAction> {
        match self {
            Self::Claude => None,
            Self::Codex(codex) => codex.next_action(),
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

    /// Gives up what takes too long; see [`Self::next_action`] for what follows.
    pub fn on_time(&mut self, now: Instant) {
        match self {
            Self::Claude => {}
            Self::Codex(codex) => codex.on_time(now),
        }
    }
}
