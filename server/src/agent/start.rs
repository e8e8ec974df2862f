//! Start of the agent: from the configuration to a running process.

mod claude_code;
mod runs;
mod spare;

use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use claude_relay_listen::program::{Unusable, look_for_program};
use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::config::Provider;
use rustix::io::Errno;

use super::claude::launch::{LaunchError, LaunchSettings};
use super::claude::run_launch::RunLaunchError;
use super::claude::version::{Capability, Version};
use super::command::{self, ArgumentError};
use super::player::Protocol;
use super::workspace::WorkspaceError;
use super::{Dialect, INSTALL, INSTALL_CODEX, codex, mode, provider};
use crate::isolation::key_proxy::api::Api;
use crate::isolation::key_proxy::credentials::SubstituteError;
use crate::isolation::sandbox::state::{self, AgentState};
use crate::isolation::sandbox::{self, WrapError};
use crate::process::{Channel, Diagnostics, Process, SpawnSpec, StartFailure};
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::supervisor;

pub use spare::{Cold, Early, LateRequests, Spare, SpareEvent, SpareKind};

pub use runs::{StartedRun, run_needs_version, run_variables, start_raw, start_run};

/// Reason for which the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Claude Code is not installed.
    #[error(
        "{program:?} was not found. Install Claude Code with `{INSTALL}`, or name it with --claude-path (CLAUDE_PATH); `--demo` runs the built-in agent instead"
    )]
    Missing {
        /// The configured path.
        program: PathBuf,
    },
    /// The executable is there, and not for this user.
    #[error("{reason}; {flag} names another program")]
    Unusable {
        /// The reason.
        reason: Unusable,
        /// The flag that names it.
        flag: &'static str,
    },
    /// Codex is not installed.
    #[error(
        "{program:?} was not found. Install Codex with `{INSTALL_CODEX}`, or name it with --codex-path (CODEX_PATH)"
    )]
    MissingCodex {
        /// The configured path.
        program: PathBuf,
    },
    /// The program exists and cannot be executed.
    #[error("{program:?} cannot be run: {source}")]
    Program {
        /// The program.
        program: PathBuf,
        /// The system's error.
        source: StartFailure,
    },
    /// The configuration cannot be used.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The command line of a run cannot be used.
    #[error(transparent)]
    Run(#[from] RunLaunchError),
    /// The configuration exceeds the ceiling.
    #[error(transparent)]
    Exceeds(#[from] mode::Exceeds),
    /// The workspace or the working directory cannot be used.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// An argument or variable cannot be used.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The command cannot run in the sandbox.
    #[error("the agent cannot run in the sandbox: {0}")]
    Sandbox(#[from] WrapError),
    /// Codex runs on another machine, where the option does not reach it.
    #[error(
        "Codex runs elsewhere ({url}), outside of what {option} promises: configure provider \"claude\", or start the server without it"
    )]
    Elsewhere {
        /// The option.
        option: &'static str,
        /// The address of Codex.
        url: String,
    },
    /// The configuration selects Codex for a run.
    #[error("/agent runs Claude Code alone: configure provider \"claude\"")]
    NoRun,
    /// The credentials cannot be substituted.
    #[error(transparent)]
    Credentials(#[from] SubstituteError),
    /// No process can be created.
    #[error("no process can be started: {0}")]
    System(#[from] io::Error),
}

/// Errors of a system that lacks something that may come back.
const SHORTAGES: [Errno; 6] =
    [Errno::AGAIN, Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::NOSPC, Errno::DQUOT];

/// Returns true for an error of the system that says that there is too little
/// of something.
fn is_shortage(error: &(dyn Error + 'static)) -> bool {
    let is_known = |code| SHORTAGES.iter().any(|shortage| shortage.raw_os_error() == code);
    let Some(error) = error.downcast_ref::<io::Error>() else {
        let failure = error.downcast_ref::<StartFailure>();
        return failure.and_then(StartFailure::code).is_some_and(is_known);
    };
    match (error.raw_os_error(), error.kind()) {
        (Some(code), _) => is_known(code),
        // `tempfile` puts the path in the place of the number.
        (None, ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::OutOfMemory) => true,
        // The source of an error within one is that of the inner one.
        (None, _) => error.get_ref().is_some_and(|inner| is_shortage(inner)),
    }
}

impl StartError {
    /// Whether the cause may go away without anybody's doing.
    #[must_use]
    pub fn may_heal(&self) -> bool {
        match self {
            Self::System(_) => true,
            error => {
                let first: &(dyn Error + 'static) = error;
                std::iter::successors(Some(first), |cause| (*cause).source()).any(is_shortage)
            }
        }
    }

    /// Explains the system's error about the program.
    #[must_use]
    pub fn of_program(settings: &Settings, config: &QueryConfig, failure: &StartFailure) -> Self {
        let source = failure.clone();
        match provider(settings, config) {
            Provider::Claude => Self::no_claude(settings)
                .filter(|_| !settings.demo)
                .unwrap_or(Self::Program { program: settings.claude_path.clone(), source }),
            Provider::Codex => {
                match look_for_program(&settings.codex_path, settings.variable("PATH")) {
                    Ok(_) => Self::Program { program: settings.codex_path.clone(), source },
                    Err(Unusable::Missing) => {
                        Self::MissingCodex { program: settings.codex_path.clone() }
                    }
                    Err(reason) => Self::Unusable { reason, flag: "--codex-path (CODEX_PATH)" },
                }
            }
        }
    }

    /// Returns the reason for which Claude Code could not be started now, if
    /// its executable cannot be used.
    #[must_use]
    pub fn no_claude(settings: &Settings) -> Option<Self> {
        let program = settings.claude_path.clone();
        match look_for_program(&program, settings.variable("PATH")) {
            Ok(_) => None,
            Err(Unusable::Missing) => Some(Self::Missing { program }),
            Err(reason) => Some(Self::Unusable { reason, flag: "--claude-path (CLAUDE_PATH)" }),
        }
    }
}

/// A started agent.
#[derive(Debug)]
pub struct Started {
    /// The process.
    pub process: Process,
    /// The dialect.
    pub dialect: Dialect,
    /// The first lines to write to it.
    pub first: Bytes,
    /// Those of them that say late what a cold start says at once.
    pub late: LateRequests,
    /// The conversation that it was told to resume. If the agent does not know
    /// it, it exits before it is ready.
    pub resumed: Option<String>,
    /// What it has said before, as a spare.
    pub early: Early,
    /// Whether it was a spare.
    pub warmth: Warmth,
}

/// Whether a spare was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warmth {
    /// It was.
    Warm,
    /// It was not, for this reason, if there was one.
    Cold(Option<Cold>),
}

/// Whether a start needs to know the version of Claude Code's CLI.
#[must_use]
pub fn needs_version(settings: &Settings, config: &QueryConfig) -> bool {
    let runs_cli = provider(settings, config) == Provider::Claude && !settings.demo;
    let options = Capability::needed(config).next().is_some();
    runs_cli && (options || !settings.workspace_is_trusted() || settings.mode.asks_nobody())
}

/// Returns true unless the configuration keeps the conversation off the disk, so
/// that it ends with the agent.
#[must_use]
pub fn keeps_conversation(config: &QueryConfig) -> bool {
    config.other.get("persistSession").is_none_or(|keeps| keeps.get() != "false")
}

/// Starts the agent. `run` is a number that no other start has used, `version`
/// the CLI's, where [`needs_version`] says that it counts. A `spare` that fits is
/// taken.
///
/// # Errors
///
/// See [`StartError`]. If the program itself cannot be executed, that is
/// reported later, as the end of the process.
pub fn start(
    runtime: &Runtime,
    config: &QueryConfig,
    conversation: Conversation<'_>,
    run: u64,
    version: Option<Version>,
    spare: &mut Option<Spare>,
) -> Result<Started, StartError> {
    match provider(&runtime.settings, config) {
        Provider::Claude => claude_code::start(runtime, config, conversation, version, spare),
        Provider::Codex => start_codex(runtime, config, conversation.resumed(), run),
    }
}

/// The conversation that a start is for.
#[derive(Debug, Clone, Copy)]
pub enum Conversation<'a> {
    /// The one that the configuration names.
    Configured,
    /// The one with this id goes on.
    Resumed(&'a str),
    /// One begins, under this id.
    New(&'a str),
}

impl<'a> Conversation<'a> {
    /// Returns the conversation that goes on, by this start or by `config`.
    #[must_use]
    pub fn id(self, config: &'a QueryConfig) -> Option<&'a str> {
        self.resumed().or(config.resume.as_deref()).filter(|id| !id.is_empty())
    }

    fn resumed(self) -> Option<&'a str> {
        match self {
            Self::Resumed(id) => Some(id),
            Self::Configured | Self::New(_) => None,
        }
    }
}

fn start_codex(
    runtime: &Runtime,
    config: &QueryConfig,
    resume: Option<&str>,
    run: u64,
) -> Result<Started, StartError> {
    let settings = &runtime.settings;
    if let Some(url) = &settings.codex_url {
        let elsewhere = |option| StartError::Elsewhere { option, url: url.to_string() };
        if runtime.sandbox.is_active() {
            return Err(elsewhere("--sandbox"));
        }
        if runtime.key_proxy.is_some() {
            return Err(elsewhere("--key-proxy"));
        }
    }
    settings.mode.check(config)?;
    let location = codex::location::location(config, settings, runtime.sandbox.is_active())?;
    let setup = codex::launch::setup(config, settings, &location, resume, run);
    let process = match (&runtime.replay, &settings.codex_url) {
        (Some(replay), _) => replay.start(Protocol::Codex),
        (None, Some(url)) => codex::remote::connect(url.clone(), settings.codex_token.clone()),
        (None, None) => {
            let (program, mut args) = command::program(&settings.codex_path);
            let mut env = codex::launch::variables(config, &settings.environment);
            if let Some(proxy) = &runtime.key_proxy {
                env = proxy.substitute(env, Api::Responses)?;
                args.extend(codex::launch::proxied(&env));
            }
            args.extend(codex::launch::arguments(settings.workspace_is_trusted(), &location));
            command::check(&args, &env)?;
            let spec = SpawnSpec {
                program: program.into(),
                args,
                env,
                cwd: location.cwd,
                scratch: Vec::new(),
                reserved_paths: Vec::new(),
                diagnostics: Diagnostics::Limited,
                channel: channel(settings),
                supervisor: runtime.supervisor.clone(),
            };
            // Codex's own guard of these files is within its own sandbox.
            let guarded: &[&str] = match settings.mode {
                mode::Mode::Agentic => &mode::GUARDED_FILES,
                _ => &[],
            };
            Process::spawn(wrap_in_sandbox(runtime, spec, &state::CODEX, guarded)?)?
        }
    };
    let (codex, first) = codex::Codex::new(setup, Instant::now());
    // Codex does not exit if the conversation is unknown, but reports it.
    Ok(Started {
        process,
        dialect: Dialect::Codex(Box::new(codex)),
        first,
        late: LateRequests::default(),
        resumed: None,
        early: Early::default(),
        warmth: Warmth::Cold(Some(Cold::Provider)),
    })
}

/// Returns how the agent is connected. Where somebody is asked, no tool of the
/// agent may answer in its place.
fn channel(settings: &Settings) -> Channel {
    match settings.mode {
        mode::Mode::Unrestricted => Channel::Pipes,
        mode::Mode::Safe | mode::Mode::Agentic | mode::Mode::Ask => Channel::Sockets,
    }
}

/// Returns `spec` in the sandbox, if there is one.
fn wrap_in_sandbox(
    runtime: &Runtime,
    mut spec: SpawnSpec,
    state: &'static AgentState,
    guarded: &[&str],
) -> Result<SpawnSpec, StartError> {
    let settings = &runtime.settings;
    if !runtime.sandbox.is_active() {
        return Ok(spec);
    }
    if settings.demo {
        // Inside the sandbox, `/proc/self/exe` is the wrapper.
        let program = runtime.supervisor.program();
        spec.program = match program == Path::new(supervisor::SELF) {
            true => std::env::current_exe()?.into(),
            false => program.into(),
        };
    }
    let context = sandbox::SandboxContext {
        workspace: &settings.workspace,
        writable: settings.mode != mode::Mode::Safe,
        environment: &settings.environment,
        state,
        // Behind the key proxy every credential is a variable.
        uses_login: runtime.key_proxy.is_none(),
        guarded,
    };
    runtime.sandbox.wrap(spec, &context).map_err(|error| match error {
        WrapError::Program(program) if *state == state::CODEX => {
            StartError::MissingCodex { program }
        }
        WrapError::Program(_) if !settings.demo => {
            StartError::no_claude(settings).unwrap_or_else(|| error.into())
        }
        error => error.into(),
    })
}

fn launch_settings(runtime: &Runtime, version: Option<Version>) -> LaunchSettings {
    let settings = &runtime.settings;
    LaunchSettings {
        claude_path: if settings.demo {
            supervisor::SELF.into()
        } else {
            settings.claude_path.clone()
        },
        workspace: settings.workspace.clone(),
        temp_dir: std::env::temp_dir(),
        mode: settings.mode,
        trusted: settings.workspace_is_trusted(),
        version,
        prompt_tool: true,
        session_mirror: runtime.store.is_some() && !settings.demo,
        environment: settings.environment.clone(),
        // The built-in agent executes nothing, so it has no check for root.
        is_root: settings.is_root && !settings.demo,
        in_sandbox: runtime.sandbox.is_active(),
        session_id: None,
    }
}

#[cfg(test)]
mod tests;
