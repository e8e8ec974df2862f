//! The agent: its start, and the dialect between the session and its protocol.
//!
//! Each run of the agent has one [`Dialect`]. The set of agents is closed, so
//! the differences between them are `match`es in this file.

pub mod claude;
pub mod codex;
pub mod command;
pub mod controls;
pub mod demo;
pub mod describe;
pub mod env;
pub mod login;
pub mod mode;
pub mod player;
pub mod protocol;
pub mod workspace;
pub mod workspace_wants;

mod start;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::config::Provider;

use crate::isolation::sandbox::state;
use crate::process::Input;
use crate::settings::Settings;
use codex::Codex;
use codex::lines::CodexLine;
use protocol::{Accepts, ControlOutcome, ProtocolAction, Route, UnsupportedMessage};

pub use claude::text::Messages;
pub use claude::version::Version;
pub use claude::{Judgement, is_plain};
pub use controls::Ceiling;
pub use start::{
    Cold, Conversation, Early, LateRequests, Spare, SpareEvent, SpareKind, StartError, Started,
    StartedRun, Warmth, keeps_conversation, needs_version, run_needs_version, run_variables, start,
    start_raw, start_run,
};

/// Subcommand that runs the built-in agent.
pub const DEMO_AGENT: &str = "demo-agent";

/// Command that installs Claude Code.
pub const INSTALL: &str = "npm install -g @anthropic-ai/claude-code";

/// Command that installs Codex.
pub(crate) const INSTALL_CODEX: &str = "npm install -g @openai/codex";

/// Returns the directory in which Claude Code keeps its state.
#[must_use]
pub fn claude_directory(settings: &Settings) -> Option<PathBuf> {
    claude_directory_in(|name| settings.variable(name))
}

/// Returns the directory for a run with `config`, which may name another one.
#[must_use]
pub fn configured_claude_directory(settings: &Settings, config: &QueryConfig) -> Option<PathBuf> {
    let configured = |name: &str| {
        let mut variables = config.env.iter().flatten();
        variables.find(|(variable, _)| variable.as_str() == name)
    };
    claude_directory_in(|name| match configured(name) {
        Some((_, value)) => Some(OsStr::new(value.expose())),
        None => settings.variable(name),
    })
}

fn claude_directory_in<'a>(variable: impl Fn(&str) -> Option<&'a OsStr>) -> Option<PathBuf> {
    let named = variable(state::CLAUDE.variable).filter(|value| !value.is_empty());
    let in_home = || Some(Path::new(variable("HOME")?).join(state::CLAUDE.directory));
    named.map(PathBuf::from).or_else(in_home)
}

/// Returns the agent that a configuration selects. The built-in one replaces
/// all.
pub(crate) fn provider(settings: &Settings, config: &QueryConfig) -> Provider {
    if settings.demo && settings.replay.is_none() { Provider::Claude } else { config.provider }
}

/// A line of an agent that has been read.
#[derive(Debug)]
pub enum AgentLine<'a> {
    /// Claude Code's, whose meaning depends on no state.
    Claude(Route<'a>),
    /// Codex's.
    Codex(CodexLine<'a>),
}

impl AgentLine<'_> {
    /// Returns the same without a reference to the line.
    #[must_use]
    pub fn into_owned(self) -> AgentLine<'static> {
        match self {
            Self::Claude(route) => AgentLine::Claude(route.into_owned()),
            Self::Codex(line) => AgentLine::Codex(line.into_owned()),
        }
    }
}

/// State of the agent's protocol for one run.
#[derive(Debug)]
pub enum Dialect {
    /// Claude Code.
    Claude(Messages),
    /// Codex.
    Codex(Box<Codex>),
}

impl Dialect {
    /// Routes one line of the agent.
    #[inline]
    pub fn classify<'a>(&mut self, line: &'a [u8], now: Instant) -> Route<'a> {
        match self {
            Self::Claude(_) => claude::classify(line),
            Self::Codex(codex) => codex.route(CodexLine::read(line), now),
        }
    }

    /// Returns the function that reads a line, for [`Self::route`]. It needs no
    /// state, so that a large line can be read on another thread.
    #[must_use]
    pub fn reader(&self) -> fn(&[u8]) -> AgentLine<'_> {
        match self {
            Self::Claude(_) => |line| AgentLine::Claude(claude::classify(line)),
            Self::Codex(_) => |line| AgentLine::Codex(CodexLine::read(line)),
        }
    }

    /// Routes a line that has been read.
    pub fn route<'a>(&mut self, line: AgentLine<'a>, now: Instant) -> Route<'a> {
        match (self, line) {
            (_, AgentLine::Claude(route)) => route,
            (Self::Codex(codex), AgentLine::Codex(line)) => codex.route(line, now),
            // A run has one dialect.
            (Self::Claude(_), AgentLine::Codex(_)) => Route::NotJson,
        }
    }

    /// Returns the kinds of input that the agent accepts now.
    #[must_use]
    pub fn accepts(&self) -> Accepts {
        match self {
            // It has a queue of its own.
            Self::Claude(_) => Accepts::Anything,
            Self::Codex(codex) => codex.accepts(),
        }
    }

    /// Returns the line to write for a message of the client. `data` is the
    /// line of its `data`.
    ///
    /// # Errors
    ///
    /// Returns an error if the agent has no equivalent.
    pub fn message(&mut self, data: Bytes, now: Instant) -> Result<Input, UnsupportedMessage> {
        match self {
            Self::Claude(messages) => {
                messages.prepare(data).map(Input::Message).map_err(UnsupportedMessage)
            }
            Self::Codex(codex) => codex.message(data, now),
        }
    }

    /// Takes the message that was sent and is known not to have been read.
    /// Called when the run is over.
    pub fn unanswered(&mut self) -> Option<Bytes> {
        match self {
            // Its unread messages are in the pipe.
            Self::Claude(_) => None,
            Self::Codex(codex) => codex.unanswered(),
        }
    }

    /// The same for a run that ends: nothing may begin behind the turn.
    pub fn interrupt_for_good(&mut self, now: Instant) -> Option<Bytes> {
        match self {
            Self::Claude(_) => Some(claude::interrupt_for_good()),
            Self::Codex(codex) => codex.interrupt(now),
        }
    }

    /// Returns the line that interrupts the running turn, if one has to be
    /// written.
    pub fn interrupt(&mut self, now: Instant) -> Option<Bytes> {
        match self {
            Self::Claude(_) => Some(claude::interrupt()),
            Self::Codex(codex) => codex.interrupt(now),
        }
    }

    /// Returns true while an interrupt is in progress that closing the agent's
    /// input would cut short: an agent that runs elsewhere would go on with its
    /// command.
    #[must_use]
    pub fn is_interrupting(&self) -> bool {
        match self {
            Self::Claude(_) => false,
            Self::Codex(codex) => codex.is_interrupting(),
        }
    }

    /// Handles a control request of the client. `id` is the relay's id for it,
    /// `request` its object as JSON on one line.
    pub fn control_request(&mut self, id: &str, request: &str, now: Instant) -> ControlOutcome {
        match self {
            Self::Claude(_) => ControlOutcome::Write(claude::control_request(id, request)),
            Self::Codex(codex) => codex.control_request(id, request, now),
        }
    }

    /// Returns the next action of the protocol. Called after every event until
    /// there is none.
    pub fn next_action(&mut self) -> Option<ProtocolAction> {
        match self {
            Self::Claude(_) => None,
            Self::Codex(codex) => codex.next_action(),
        }
    }

    /// Returns the time of the next call of [`Self::on_time`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Claude(_) => None,
            Self::Codex(codex) => codex.deadline(),
        }
    }

    /// Handles deadlines that have passed. The consequences are returned by
    /// [`Self::next_action`].
    pub fn on_time(&mut self, now: Instant) {
        match self {
            Self::Claude(_) => {}
            Self::Codex(codex) => codex.on_time(now),
        }
    }
}
