//! The OS sandbox: the files and processes that the agent and its descendants
//! can access.
//!
//! A mode is enforced by the agent; a sandbox is enforced by the kernel,
//! whatever the agent or its tools do:
//!
//! * the system is read-only; `/srv`, `/mnt`, `/var` and other homes are hidden
//! * the workspace is writable (read-only in mode `safe`)
//! * `/tmp` is private, and the home is private and empty
//! * of the CLI's state, it sees what it needs to resume a conversation and to
//!   stay logged in; its settings are read-only, so that no hook or MCP server
//!   can be planted for a later run outside the sandbox
//! * it sees only its own processes, and all of them end with the first one
//! * the network is not restricted: no backend can filter by host name
//!
//! [`Sandbox::wrap`] turns a command into one that runs inside; its pure part
//! is [`bwrap::arguments`]. [`open`] detects the available sandbox.

pub mod bwrap;
pub mod option;
pub mod root;
pub mod state;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use claude_relay_listen::program::find_program;
use claude_relay_system::SANDBOX_PROGRAM;

use crate::process::{ReservedPath, SpawnSpec};
use crate::supervisor::Supervisor;
use option::SandboxOption;
use root::Hidden;
use state::AgentState;

/// The sandbox of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sandbox {
    /// No sandbox.
    #[default]
    None,
    /// Bubblewrap at this path, which has passed the probe.
    Bwrap(PathBuf),
}

/// Reason for which a sandbox is not available, with a remedy.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The program is not installed.
    #[error(
        "--sandbox {0}: bubblewrap (`bwrap`) was not found in PATH: install it (`apt-get install bubblewrap`, `dnf install bubblewrap`), or choose --sandbox none"
    )]
    Missing(SandboxOption),
    /// The server knows no sandbox of this system.
    #[error("--sandbox {0}: bubblewrap needs Linux: choose --sandbox none")]
    System(SandboxOption),
    /// The program is installed and the system forbids it.
    #[error("--sandbox {option}: bubblewrap does not work here: {reason}")]
    Refused {
        /// The requested option.
        option: SandboxOption,
        /// The cause and a remedy.
        reason: String,
    },
}

/// Detects the sandbox for `option`. `path` is the `PATH` to search.
///
/// # Errors
///
/// See [`Unavailable`]. [`SandboxOption::Auto`] returns the error too; the
/// caller decides about running without a sandbox.
pub async fn open(
    option: SandboxOption,
    path: Option<&OsStr>,
    supervisor: &Supervisor,
) -> Result<Sandbox, Unavailable> {
    if option == SandboxOption::None {
        return Ok(Sandbox::None);
    }
    let program = SANDBOX_PROGRAM.ok_or(Unavailable::System(option))?;
    let found = find_program(Path::new(program), path).ok_or(Unavailable::Missing(option))?;
    match bwrap::probe(&found, supervisor).await {
        Ok(()) => Ok(Sandbox::Bwrap(found)),
        Err(reason) => Err(Unavailable::Refused { option, reason }),
    }
}

/// Facts about the server that the sandbox needs.
#[derive(Debug, Clone, Copy)]
pub struct SandboxContext<'a> {
    /// The workspace.
    pub workspace: &'a Path,
    /// True if the agent may write to the workspace.
    pub writable: bool,
    /// The server's environment, which names the home. The agent's is not used,
    /// because a client can add to it.
    pub environment: &'a [(OsString, OsString)],
    /// What the agent keeps.
    pub state: &'static AgentState,
    /// True if the agent uses the login that it keeps.
    pub uses_login: bool,
    /// Files of the working directory that are read-only, as patterns: `x/**`
    /// for a directory.
    pub guarded: &'a [&'a str],
}

impl SandboxContext<'_> {
    fn variable(&self, name: &str) -> Option<PathBuf> {
        let found = self.environment.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| PathBuf::from(value)).filter(|path| path.is_absolute())
    }
}

/// Reason for which a command cannot run inside the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// The program does not exist.
    #[error("{0:?} was not found")]
    Program(PathBuf),
    /// The workspace contains the home.
    #[error(
        "the workspace {workspace:?} holds the home directory {home:?}, so a sandbox would hide nothing: choose a directory of its own with --workspace (RELAY_WORKSPACE)"
    )]
    Home {
        /// The workspace.
        workspace: PathBuf,
        /// The home.
        home: PathBuf,
    },
    /// A path to mount is not usable.
    #[error("{path:?} cannot be used in the sandbox: {source}")]
    Path {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Sandbox {
    /// Returns the name on the wire.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bwrap(_) => "bwrap",
        }
    }

    /// Returns true if there is a sandbox.
    #[must_use]
    pub fn is_active(&self) -> bool {
        *self != Self::None
    }

    /// Returns `spec` as a command that runs inside this sandbox.
    ///
    /// # Errors
    ///
    /// See [`WrapError`].
    pub fn wrap(
        &self,
        spec: SpawnSpec,
        context: &SandboxContext<'_>,
    ) -> Result<SpawnSpec, WrapError> {
        let Self::Bwrap(bwrap) = self else { return Ok(spec) };
        let mut mount_plan = mount_plan(&spec, context)?;
        let mut reserved_paths = spec.reserved_paths;
        for pattern in context.guarded {
            let path = spec.cwd.join(pattern.trim_end_matches("/**"));
            let made = ReservedPath::make(&path, pattern.ends_with("/**"));
            let made = made.map_err(|source| WrapError::Path { path: path.clone(), source })?;
            reserved_paths.extend(made);
            mount_plan.guarded.push(path);
        }
        let mut args = bwrap::arguments(&mount_plan);
        args.push("--".into());
        args.push(mount_plan.program.into());
        args.extend(spec.args);
        Ok(SpawnSpec {
            program: bwrap.into(),
            args,
            env: environment(spec.env),
            cwd: spec.cwd,
            scratch: spec.scratch,
            reserved_paths,
            diagnostics: spec.diagnostics,
            channel: spec.channel,
            supervisor: spec.supervisor,
        })
    }
}

/// The paths that are visible inside. Each is absolute and, unless stated
/// otherwise, the same inside and outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPlan {
    /// The program to run, with links resolved.
    pub program: PathBuf,
    /// Working directory.
    pub cwd: PathBuf,
    /// The workspace, with links resolved.
    pub workspace: PathBuf,
    /// True if the workspace is writable.
    pub writable: bool,
    /// The home, which is empty inside.
    pub home: Option<PathBuf>,
    /// Files of the workspace that are read-only.
    pub guarded: Vec<PathBuf>,
    /// What the agent keeps.
    pub kept: &'static AgentState,
    /// True if its login is visible.
    pub shows_login: bool,
    /// Directory of the agent's state.
    pub state: Option<PathBuf>,
    /// The CLI's configuration file beside it.
    pub user_file: Option<PathBuf>,
    /// Read-only files and directories: the program's and the MCP file.
    pub readable: Vec<PathBuf>,
    /// What of the system is empty inside.
    pub hidden: Vec<Hidden>,
    /// Whether the server runs as root.
    pub is_root: bool,
}

/// Directories that are private inside. A program directly in one of them is
/// mounted without the files beside it.
const PRIVATE: [&str; 4] = ["/tmp", "/var/tmp", "/home", "/root"];

/// Collects the paths that `spec` needs, from the file system.
fn mount_plan(spec: &SpawnSpec, context: &SandboxContext<'_>) -> Result<MountPlan, WrapError> {
    let resolve = |path: &Path| {
        path.canonicalize().map_err(|source| WrapError::Path { path: path.to_owned(), source })
    };
    let workspace = resolve(context.workspace)?;
    let home = context.variable("HOME");
    for home in home.iter().flat_map(|home| [Some(home.clone()), home.canonicalize().ok()]) {
        if let Some(home) = home.filter(|home| home.starts_with(&workspace)) {
            return Err(WrapError::Home { workspace, home });
        }
    }
    let kept = context.state;
    let (state, user_file) = match (context.variable(kept.variable), &home) {
        (Some(directory), _) => (Some(directory), None),
        (None, Some(home)) => {
            (Some(home.join(kept.directory)), kept.user_file.map(|name| home.join(name)))
        }
        (None, None) => (None, None),
    };
    if let Some(state) = &state {
        for directory in kept.writable {
            let path = state.join(directory);
            fs::create_dir_all(&path).map_err(|source| WrapError::Path { path, source })?;
        }
    }

    let path = spec.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| &**value);
    let mut private: Vec<&Path> = PRIVATE.iter().map(Path::new).collect();
    private.push(&workspace);
    private.extend(home.as_deref());
    private.extend(state.as_deref());
    let mut readable = Vec::new();
    let mut mount = |program: &Path| {
        let found =
            find_program(program, path).ok_or_else(|| WrapError::Program(program.into()))?;
        let resolved = resolve(&found)?;
        for file in [&found, &resolved] {
            readable.push(with_siblings(file, &private).to_owned());
        }
        // A package of npm may run a program of another one.
        let packages = resolved.ancestors().find(|path| path.ends_with("node_modules"));
        readable.extend(packages.map(Path::to_owned));
        Ok(resolved)
    };
    let program = mount(Path::new(&spec.program))?;
    if spec.program == "node" {
        // The script is the first argument.
        if let Some(script) = spec.args.first() {
            mount(Path::new(script))?;
        }
    } else if is_script(&program) {
        // The interpreter may be installed in the home too.
        let _ = mount(Path::new("node"));
    }
    if let Ok(resolver) = Path::new("/etc/resolv.conf").canonicalize() {
        readable.push(resolver);
    }
    readable.extend(spec.scratch.iter().map(|path| path.to_path_buf()));
    // Paths in the workspace or the system are mounted already; mounting them
    // again would make them read-only or cover them.
    readable.retain(|path| {
        !path.starts_with(&workspace)
            && !bwrap::SYSTEM.iter().any(|directory| path.starts_with(directory))
    });
    readable.dedup();
    let is_root = rustix::process::geteuid().is_root();
    let hidden = if is_root { root::hidden_below(Path::new(root::SETTINGS)) } else { Vec::new() };
    Ok(MountPlan {
        program,
        cwd: spec.cwd.clone(),
        workspace,
        writable: context.writable,
        home,
        guarded: Vec::new(),
        kept,
        shows_login: context.uses_login,
        state,
        user_file,
        readable,
        hidden,
        is_root,
    })
}

/// Returns the directory of `program`, whose other files it may need, or the
/// program alone if the directory contains one of `private`.
fn with_siblings<'a>(program: &'a Path, private: &[&Path]) -> &'a Path {
    match program.parent() {
        Some(directory) if !private.iter().any(|path| path.starts_with(directory)) => directory,
        _ => program,
    }
}

fn is_script(program: &Path) -> bool {
    let mut start = [0; 2];
    fs::File::open(program).and_then(|mut file| file.read_exact(&mut start)).is_ok()
        && &start == b"#!"
}

/// Returns the environment inside, where `/tmp` is the only directory for
/// temporary files.
fn environment(env: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let mut env: Vec<_> = env
        .into_iter()
        .filter(|(name, _)| !["TMPDIR", "TMP", "TEMP"].iter().any(|one| name == *one))
        .collect();
    env.push(("TMPDIR".into(), "/tmp".into()));
    env
}

#[cfg(test)]
mod tests;
