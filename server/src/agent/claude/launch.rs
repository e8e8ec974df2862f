//! Launch of Claude Code: from the configuration to a command, its environment
//! and the first request, as the official SDK (TypeScript, 0.3.332) builds
//! them.
//!
//! Nothing is started here. The file system is used for two purposes: paths are
//! resolved, so that a link cannot lead out of the workspace, and the MCP
//! servers are written to a file, so that their headers stay off the command
//! line.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use claude_relay_protocol::config::QueryConfig;
use tempfile::NamedTempFile;

use super::version::{Capability, Version};
use super::{arguments, initialize, options, restrictions};
use crate::agent::command::{self, ArgumentError};
use crate::agent::env::environment;
use crate::agent::mode::{Exceeds, Mode};
use crate::agent::workspace::{self, WorkspaceError};

/// Parameters that come from the server instead of the configuration.
///
/// It has no `Debug`, because the server's environment contains secrets.
#[derive(Clone)]
pub struct LaunchSettings {
    /// The agent's executable: a name to be found in `PATH`, or a path. As in
    /// the SDK, a path that ends in `.js` or `.mjs` is run by `node`.
    pub claude_path: PathBuf,
    /// The workspace. It must exist.
    pub workspace: PathBuf,
    /// Directory for the file with the MCP servers. The agent must be able to
    /// read it, also from inside a sandbox.
    pub temp_dir: PathBuf,
    /// Ceiling of the agent's permissions.
    pub mode: Mode,
    /// Whether the workspace's own settings act.
    pub trusted: bool,
    /// The version of the CLI, if it is known.
    pub version: Option<Version>,
    /// True if permission requests are answered on stdin and stdout. Only used
    /// in the modes in which a client may be asked.
    pub prompt_tool: bool,
    /// True if the CLI repeats the lines of its transcript on its output.
    pub session_mirror: bool,
    /// The id of a conversation to begin.
    pub session_id: Option<String>,
    /// The server's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// True if the agent will run as root.
    pub is_root: bool,
    /// True if the whole server is known to run in a disposable sandbox.
    /// `IS_SANDBOX=1` in `environment` has the same meaning.
    pub in_sandbox: bool,
}

/// A command that is ready to be started.
///
/// `Debug` omits the values of the environment and the first request, which can
/// contain secrets.
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// The arguments, which contain no secret.
    pub args: Vec<OsString>,
    /// The whole environment; nothing else is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory: absolute, with links resolved.
    pub cwd: PathBuf,
    /// The file with the MCP servers, of mode 0600. It is deleted when this is
    /// dropped, so it must be kept until the process ends.
    pub mcp_config: Option<NamedTempFile>,
    /// The `request` of the `initialize` control request, as JSON on one line.
    pub initialize: String,
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("Launch")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &names)
            .field("cwd", &self.cwd)
            .field("mcp_config", &self.mcp_config)
            .finish_non_exhaustive()
    }
}

/// Reason for which the agent cannot be started with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The configuration exceeds the ceiling.
    #[error(transparent)]
    Exceeds(#[from] Exceeds),
    /// The workspace or the working directory cannot be used.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The agent refuses to run without permission checks as root.
    #[error(
        "the agent refuses to run without permission checks as root: start the server as another user, \
         or with --mode ask; if this machine is a sandbox that is thrown away, set IS_SANDBOX=1"
    )]
    Root,
    /// The file with the MCP servers cannot be written.
    #[error("the MCP servers cannot be written to a file in {dir:?}: {source}")]
    McpConfig {
        /// The directory of the file.
        dir: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The CLI does not know an option yet.
    #[error(
        "{option}: the agent's CLI ({found}) does not know it: it came with {since}; update the CLI, or leave the option out"
    )]
    TooOld {
        /// The field.
        option: &'static str,
        /// The version of the CLI.
        found: String,
        /// The version that it takes.
        since: Version,
    },
    /// An argument or variable cannot be passed to a program.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The first request cannot be serialized.
    #[error("the initialize request cannot be written: {0}")]
    Initialize(#[from] serde_json::Error),
}

/// Builds the command for `config`.
///
/// `resume` is the id of the conversation to continue after a restart. It takes
/// precedence over the configuration's own `resume`, `continue` and
/// `forkSession`, which determine how a conversation begins: applied again at
/// every restart, a fork would lose everything since the first one.
///
/// # Errors
///
/// Returns an error if the agent could not run; its text names the remedy.
pub fn launch(
    config: &QueryConfig,
    settings: &LaunchSettings,
    resume: Option<&str>,
) -> Result<Launch, LaunchError> {
    settings.mode.check(config)?;
    // The agent also checks this for the flag that only allows bypassing.
    let unasked = settings.mode == Mode::Unrestricted && settings.is_root;
    if unasked && !in_sandbox(settings) {
        return Err(LaunchError::Root);
    }
    let cwd = workspace::directory(config.cwd.as_deref(), &settings.workspace)?;
    let mcp_config = mcp_config(config, &settings.temp_dir)?;
    let (program, mut args) = command::program(&settings.claude_path);
    args.extend(arguments::arguments(
        config,
        settings,
        resume,
        mcp_config.as_ref().map(NamedTempFile::path),
    ));
    args.extend(restrictions::arguments(config, settings, &cwd));
    let mut env = environment(config, &settings.environment, unasked);
    env.extend(options::variables(config));
    for (name, value) in restrictions::variables(config, settings) {
        env.retain(|(known, _)| known != name);
        env.push((name.into(), value.into()));
    }
    env.sort();
    command::check(&args, &env)?;
    let resumes = resume.or(config.resume.as_deref()).is_some_and(|id| !id.is_empty())
        || config.continue_latest == Some(true);
    let initialize = initialize::request(config, resumes)?;
    Ok(Launch { program, args, env, cwd, mcp_config, initialize })
}

/// Checks that a CLI of `version` knows what `config` asks for.
///
/// # Errors
///
/// Returns an error that names the first option that it does not know.
pub fn check_version(config: &QueryConfig, version: Option<Version>) -> Result<(), LaunchError> {
    match Capability::needed(config).find(|(_, capability)| !capability.is_in(version)) {
        None => Ok(()),
        Some((option, capability)) => Err(LaunchError::TooOld {
            option,
            found: version.map_or("of unknown version".to_owned(), |version| version.to_string()),
            since: capability.since(),
        }),
    }
}

pub(super) fn in_sandbox(settings: &LaunchSettings) -> bool {
    settings.in_sandbox
        || settings.environment.iter().any(|(name, value)| name == "IS_SANDBOX" && value == "1")
}

/// Writes the MCP servers, if any, to a file of mode 0600.
fn mcp_config(config: &QueryConfig, dir: &Path) -> Result<Option<NamedTempFile>, LaunchError> {
    let Some(servers) = config.mcp_servers.as_ref().filter(|servers| servers.expose() != "{}")
    else {
        return Ok(None);
    };
    let write = || {
        // An absolute path cannot be taken for a flag.
        let dir = std::path::absolute(dir)?;
        let mut file = tempfile::Builder::new()
            .prefix("claude-relay-mcp-")
            .suffix(".json")
            .tempfile_in(dir)?;
        write!(file, "{{\"mcpServers\":{}}}", servers.expose())?;
        file.flush()?;
        Ok(file)
    };
    write().map(Some).map_err(|source| LaunchError::McpConfig { dir: dir.to_owned(), source })
}

#[cfg(test)]
mod restrictions_tests;
#[cfg(test)]
mod tests;
