//! What to run: from the configuration to a command, its environment and the
//! first request, as the official SDK (TypeScript, 0.3.329) would make them.
//!
//! Nothing is started here. What touches the disk: paths are resolved, so that
//! a link cannot lead out of the workspace, and the MCP servers are written to
//! a file, so that their headers stay off the command line.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use claude_relay_protocol::config::QueryConfig;
use tempfile::NamedTempFile;

use super::{arguments, initialize};
use crate::agent::command::{self, ArgumentError};
use crate::agent::env::environment;
use crate::agent::mode::{Exceeds, Mode};
use crate::agent::workspace::{self, WorkspaceError};

/// What the server knows and the configuration does not.
///
/// Without `Debug`: the server's environment holds its secrets.
#[derive(Clone)]
pub struct LaunchSettings {
    /// The executable of the agent: a name to be found in `PATH`, or a path. A
    /// path that ends in `.js` or `.mjs` is run by `node`, as the SDK does.
    pub claude_path: PathBuf,
    /// The workspace. It must exist.
    pub workspace: PathBuf,
    /// Where the file with the MCP servers goes. The agent must be able to
    /// read it there, also from inside a sandbox.
    pub temp_dir: PathBuf,
    /// What the agent may do at most.
    pub mode: Mode,
    /// Whether somebody answers permission requests on standard input and
    /// output. Counts in mode `ask`.
    pub prompt_tool: bool,
    /// The server's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Whether the agent is going to run as root.
    pub is_root: bool,
    /// Whether the whole server is known to be in a sandbox that is thrown
    /// away. `IS_SANDBOX=1` in `environment` says the same.
    pub in_sandbox: bool,
}

/// A command that is ready to be started.
///
/// `Debug` leaves out the values of the environment and the first request:
/// both can hold secrets.
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments. No secret is in them.
    pub args: Vec<OsString>,
    /// Its whole environment: nothing else is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Its working directory: absolute, without links.
    pub cwd: PathBuf,
    /// The file with the MCP servers, of mode 0600. It is deleted when this is
    /// dropped, so keep it as long as the process lives.
    pub mcp_config: Option<NamedTempFile>,
    /// The `request` of the `initialize` control request: JSON on one line.
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

/// Why the agent cannot be started with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The configuration asks for more than the mode allows.
    #[error(transparent)]
    Exceeds(#[from] Exceeds),
    /// The workspace or the working directory cannot be used.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The agent refuses to run unasked as root.
    #[error(
        "the agent refuses to run without permission checks as root: start the server as another user, \
         or with --mode ask; if this machine is a sandbox that is thrown away, set IS_SANDBOX=1"
    )]
    Root,
    /// The file with the MCP servers cannot be written.
    #[error("the MCP servers cannot be written to a file in {dir:?}: {source}")]
    McpConfig {
        /// Where it was to go.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An argument or variable cannot be given to a program.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The first request cannot be written as JSON.
    #[error("the initialize request cannot be written: {0}")]
    Initialize(#[from] serde_json::Error),
}

/// What to run for `config`.
///
/// `resume` is the id of the conversation that the relay goes on with after a
/// restart. It stands above the configuration's own `resume`, `continue` and
/// `forkSession`, which say how a conversation begins: taken again at every
/// restart, a fork would fork anew and lose what was said since.
///
/// # Errors
///
/// When the agent could not run so; each error says what to change.
pub fn launch(
    config: &QueryConfig,
    settings: &LaunchSettings,
    resume: Option<&str>,
) -> Result<Launch, LaunchError> {
    settings.mode.check(config)?;
    // The agent checks this for the flag that only allows the bypass, too.
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
    let env = environment(config, &settings.environment, unasked);
    command::check(&args, &env)?;
    let initialize = initialize::request(config)?;
    Ok(Launch { program, args, env, cwd, mcp_config, initialize })
}

fn in_sandbox(settings: &LaunchSettings) -> bool {
    settings.in_sandbox
        || settings.environment.iter().any(|(name, value)| name == "IS_SANDBOX" && value == "1")
}

/// The MCP servers in a file of mode 0600, if there are any.
fn mcp_config(config: &QueryConfig, dir: &Path) -> Result<Option<NamedTempFile>, LaunchError> {
    let Some(servers) = config.mcp_servers.as_ref().filter(|servers| servers.expose() != "{}")
    else {
        return Ok(None);
    };
    let write = || {
        // An absolute path can never look like a flag.
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
mod tests;
