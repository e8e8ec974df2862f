//! The agent: what to run, what to say to it, what its lines mean.

pub mod claude;
pub mod demo;
pub mod dialect;
pub mod launch;
pub mod mode;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use claude_relay_protocol::QueryConfig;
use serde_json::{Value, json};

use crate::keeper;
use crate::process::{Plan, Process};
use crate::settings::Settings;
use dialect::Dialect;
use launch::{LaunchError, LaunchSettings};

/// The subcommand under which this program is the built-in agent.
pub const DEMO_AGENT: &str = "demo-agent";

/// What installs the CLI.
pub const INSTALL: &str = "npm install -g @anthropic-ai/claude-code";

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The program is not there.
    #[error(
        "{program:?} was not found. Install Claude Code with `{INSTALL}`, or name it with --claude-path (CLAUDE_PATH); `--demo` runs the built-in agent instead"
    )]
    Missing {
        /// What was looked for.
        program: PathBuf,
    },
    /// The program is there and cannot be run.
    #[error("{program:?} cannot be run: {reason}")]
    Program {
        /// What was to be run.
        program: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The configuration stands in the way.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// No process can be made.
    #[error("no process can be started: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// What the system's words about the program mean.
    #[must_use]
    pub fn of_program(settings: &Settings, reason: &str) -> Self {
        let program = settings.claude_path.clone();
        if settings.claude().is_none() && !settings.demo {
            Self::Missing { program }
        } else {
            Self::Program { program, reason: reason.to_owned() }
        }
    }
}

/// An agent that has been started.
#[derive(Debug)]
pub struct Started {
    /// Its process.
    pub process: Process,
    /// How it is spoken to.
    pub dialect: Dialect,
    /// What it is to get before everything else.
    pub first: Bytes,
    /// The conversation it was told to resume. It ends before it is ready
    /// when it does not know it.
    pub resumed: Option<String>,
}

/// Starts the agent.
///
/// # Errors
///
/// See [`StartError`]. That the program itself cannot be run comes later, as
/// the end of the process.
pub fn start(
    settings: &Settings,
    config: &QueryConfig,
    resume: Option<&str>,
) -> Result<Started, StartError> {
    let launch = launch::launch(config, &launch_settings(settings), resume)?;
    let mut args = launch.args;
    if settings.demo {
        args.insert(0, OsString::from(DEMO_AGENT));
    }
    let plan = Plan {
        program: launch.program.into(),
        args,
        env: launch.env,
        cwd: launch.cwd,
        scratch: launch.mcp_config.map(tempfile::NamedTempFile::into_temp_path),
    };
    Ok(Started {
        process: Process::spawn(plan)?,
        dialect: Dialect::Claude,
        first: claude::initialize(&launch.initialize),
        resumed: resume.map(str::to_owned).or_else(|| config.resume.clone()),
    })
}

fn launch_settings(settings: &Settings) -> LaunchSettings {
    LaunchSettings {
        claude_path: if settings.demo { keeper::SELF.into() } else { settings.claude_path.clone() },
        workspace: settings.workspace.clone(),
        temp_dir: std::env::temp_dir(),
        mode: settings.mode,
        prompt_tool: true,
        environment: settings.environment.clone(),
        // The built-in agent runs nothing and refuses nothing.
        is_root: settings.is_root && !settings.demo,
        in_sandbox: false,
    }
}

/// What is known of the agent without asking it.
#[must_use]
pub fn describe(settings: &Settings) -> Value {
    if settings.demo {
        return json!({ "provider": "claude", "demo": true, "installed": true });
    }
    let found = settings.claude();
    let mut agent = json!({ "provider": "claude", "demo": false, "installed": found.is_some() });
    if found.is_none() {
        agent["install_hint"] = json!(INSTALL);
    }
    agent
}
