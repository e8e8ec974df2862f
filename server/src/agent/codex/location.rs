//! The directories of a run of Codex, and the fence around its commands.

use std::ffi::OsString;
use std::path::PathBuf;

use claude_relay_protocol::config::QueryConfig;

use super::fence::{self, Fence};
use crate::agent::mode::Mode;
use crate::agent::workspace::{self, WorkspaceError};
use crate::settings::Settings;

/// Directories of a run, and the fence around it.
#[derive(Debug)]
pub(in crate::agent) struct Location {
    /// The workspace, with links resolved.
    pub workspace: PathBuf,
    /// The working directory in it.
    pub cwd: PathBuf,
    /// The fence of its commands.
    pub fence: Fence,
}

/// Returns the location of a run. `is_wrapped` is true if there is a sandbox around
/// Codex.
pub(in crate::agent) fn location(
    config: &QueryConfig,
    settings: &Settings,
    is_wrapped: bool,
) -> Result<Location, WorkspaceError> {
    let cwd = workspace::directory(config.cwd.as_deref(), &settings.workspace)?;
    let workspace = workspace::directory(None, &settings.workspace)?;
    let fence = match settings.codex() {
        _ if settings.codex_url.is_some() => Fence::Unknown,
        _ if is_wrapped => Fence::Outer,
        program => {
            let home = home(&settings.environment);
            let helpers = program.and_then(|program| fence::helpers(&program, home.as_deref()));
            if helpers.is_none() && settings.mode == Mode::Agentic {
                tracing::warn!(
                    "{} is a script, so the commands of Codex can read all files of this user: name its program with --codex-path (CODEX_PATH)",
                    settings.codex_path.display()
                );
            }
            helpers.map_or(Fence::Unknown, Fence::Own)
        }
    };
    Ok(Location { workspace, cwd, fence })
}

/// Returns the directory of Codex's state, if one is known.
pub(in crate::agent) fn home(environment: &[(OsString, OsString)]) -> Option<PathBuf> {
    let variable = |name: &str| {
        let found = environment.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    variable("CODEX_HOME").or_else(|| Some(variable("HOME")?.join(".codex")))
}
