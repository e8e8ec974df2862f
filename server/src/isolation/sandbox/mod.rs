//! The OS sandbox: what the agent and all that it starts can see and touch.
//!
//! A mode says what the agent is asked to do; a sandbox is what the kernel
//! lets it do, whatever it or one of its tools makes of the mode:
//!
//! * the system read-only, and nothing of `/srv`, `/mnt`, `/var` or other homes
//! * the workspace, writable (read-only in mode `safe`)
//! * a private `/tmp` and a private, empty home
//! * of the CLI's own state what it needs to resume a conversation and to stay
//!   logged in; its settings read-only, so that no hook or MCP server can be
//!   planted there for a later run outside
//! * no process but its own; the first one's end is the end of all
//! * the whole network: no backend can restrict it by host name
//!
//! [`Sandbox::wrap`] turns a plan into one that runs inside; what it is made
//! of is pure ([`bwrap::arguments`]). [`open`] finds out what works here.

pub mod bwrap;
pub mod option;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::isolation::program::find_program;
use crate::process::SpawnSpec;
use option::SandboxOption;

/// What the agent runs in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sandbox {
    /// Nothing but its own restraint.
    #[default]
    None,
    /// The bubblewrap at this path, which has been seen to work.
    Bwrap(PathBuf),
}

/// Why a sandbox cannot be had. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The program is not there.
    #[error(
        "--sandbox {0}: bubblewrap (`bwrap`) was not found in PATH: install it (`apt-get install bubblewrap`, `dnf install bubblewrap`), or choose --sandbox none"
    )]
    Missing(SandboxOption),
    /// The program is there and the system does not let it work.
    #[error("--sandbox {option}: bubblewrap does not work here: {reason}")]
    Refused {
        /// What was asked for.
        option: SandboxOption,
        /// The cause and its mend.
        reason: String,
    },
    /// Another system's sandbox.
    #[error(
        "--sandbox seatbelt: this server runs on Linux only, and `sandbox-exec` is a program of macOS: choose --sandbox bwrap"
    )]
    OtherSystem,
}

/// Finds what `choice` means here. `path` is the `PATH` to look for programs
/// in.
///
/// # Errors
///
/// See [`Unavailable`]. [`SandboxOption::Auto`] gives the error too; whether to go on
/// without is the caller's decision.
pub async fn open(option: SandboxOption, path: Option<&OsStr>) -> Result<Sandbox, Unavailable> {
    match option {
        SandboxOption::None => return Ok(Sandbox::None),
        SandboxOption::Seatbelt => return Err(Unavailable::OtherSystem),
        SandboxOption::Auto | SandboxOption::Os | SandboxOption::Bwrap => {}
    }
    let found = find_program(Path::new("bwrap"), path).ok_or(Unavailable::Missing(option))?;
    match bwrap::probe(&found).await {
        Ok(()) => Ok(Sandbox::Bwrap(found)),
        Err(reason) => Err(Unavailable::Refused { option, reason }),
    }
}

/// What the server knows about where the agent works.
#[derive(Debug, Clone, Copy)]
pub struct SandboxContext<'a> {
    /// The workspace.
    pub workspace: &'a Path,
    /// Whether the agent may write into it.
    pub writable: bool,
    /// The server's environment: whose home it is. Not the agent's, to which a
    /// client can add.
    pub environment: &'a [(OsString, OsString)],
}

impl SandboxContext<'_> {
    fn variable(&self, name: &str) -> Option<PathBuf> {
        let found = self.environment.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| PathBuf::from(value)).filter(|path| path.is_absolute())
    }
}

/// Why nothing can be started inside the sandbox.
#[derive(Debug, thiserror::Error)]
pub enum WrapError {
    /// The program is not there.
    #[error("{0:?} was not found")]
    Program(PathBuf),
    /// The home would be inside too.
    #[error(
        "the workspace {workspace:?} holds the home directory {home:?}, so a sandbox would hide nothing: choose a directory of its own with --workspace (RELAY_WORKSPACE)"
    )]
    Home {
        /// The workspace.
        workspace: PathBuf,
        /// The home.
        home: PathBuf,
    },
    /// Something that is to be shown inside is not there.
    #[error("{path:?} cannot be used in the sandbox: {source}")]
    Path {
        /// What.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

impl Sandbox {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bwrap(_) => "bwrap",
        }
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_active(&self) -> bool {
        *self != Self::None
    }

    /// `plan` inside this sandbox.
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
        let mount_plan = mount_plan(&spec, context)?;
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
        })
    }
}

/// What is to be seen inside. Every path is absolute and, unless said
/// otherwise, is found at the same place inside and outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountPlan {
    /// The program to run, links followed.
    pub program: PathBuf,
    /// Where it runs.
    pub cwd: PathBuf,
    /// The workspace, links followed.
    pub workspace: PathBuf,
    /// Whether it may be written into.
    pub writable: bool,
    /// The home, which is empty inside.
    pub home: Option<PathBuf>,
    /// The directory of the CLI's state.
    pub state: Option<PathBuf>,
    /// The CLI's file beside it.
    pub user_file: Option<PathBuf>,
    /// Files and directories to be read: the program's and the MCP file.
    pub readable: Vec<PathBuf>,
}

/// Directories of the CLI's state that it writes and that must outlive it:
/// conversations, task lists, plans, and files to go back to.
pub const STATE_WRITABLE: [&str; 5] = ["projects", "todos", "tasks", "plans", "file-history"];

/// The file by which the CLI stays logged in: it draws new tokens from it and
/// must keep them.
pub const STATE_CREDENTIALS: &str = ".credentials.json";

/// What the CLI reads there. Everything else it writes is private to one run.
pub const STATE_READABLE: [&str; 10] = [
    ".claude.json",
    "settings.json",
    "settings.local.json",
    "CLAUDE.md",
    "agents",
    "commands",
    "skills",
    "plugins",
    "output-styles",
    "rules",
];

/// Directories that are private inside. A program that lies right in one of
/// them is shown alone, without its neighbours.
const PRIVATE: [&str; 4] = ["/tmp", "/var/tmp", "/home", "/root"];

/// Looks at the disk for what `plan` needs.
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
    let (state, user_file) = match (context.variable("CLAUDE_CONFIG_DIR"), &home) {
        (Some(directory), _) => (Some(directory), None),
        (None, Some(home)) => (Some(home.join(".claude")), Some(home.join(".claude.json"))),
        (None, None) => (None, None),
    };
    if let Some(state) = &state {
        for directory in STATE_WRITABLE {
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
    let mut show = |program: &Path| {
        let found =
            find_program(program, path).ok_or_else(|| WrapError::Program(program.into()))?;
        let resolved = resolve(&found)?;
        for file in [&found, &resolved] {
            readable.push(with_neighbours(file, &private).to_owned());
        }
        Ok(resolved)
    };
    let program = show(Path::new(&spec.program))?;
    if spec.program == "node" {
        // The script is its first argument.
        if let Some(script) = spec.args.first() {
            show(Path::new(script))?;
        }
    } else if is_script(&program) {
        // Its interpreter may be installed in the home too.
        let _ = show(Path::new("node"));
    }
    if let Ok(resolver) = Path::new("/etc/resolv.conf").canonicalize() {
        readable.push(resolver);
    }
    readable.extend(spec.scratch.as_deref().map(Path::to_owned));
    // What lies in the workspace or the system is there already, and must not
    // become read-only or lose its place.
    readable.retain(|path| {
        !path.starts_with(&workspace)
            && !bwrap::SYSTEM.iter().any(|directory| path.starts_with(directory))
    });
    readable.dedup();
    Ok(MountPlan {
        program,
        cwd: spec.cwd.clone(),
        workspace,
        writable: context.writable,
        home,
        state,
        user_file,
        readable,
    })
}

/// The directory of `program`, whose files it may need; the program alone if
/// its directory holds one of `private`.
fn with_neighbours<'a>(program: &'a Path, private: &[&Path]) -> &'a Path {
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

/// The environment inside, where there is one place for temporary files.
fn environment(env: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let mut env: Vec<_> = env
        .into_iter()
        .filter(|(name, _)| !["TMPDIR", "TMP", "TEMP"].iter().any(|one| name == *one))
        .collect();
    env.push(("TMPDIR".into(), "/tmp".into()));
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(program: &Path) -> SpawnSpec {
        SpawnSpec {
            program: program.into(),
            args: vec!["--flag=value".into()],
            env: [("PATH", "/usr/bin:/bin"), ("TMPDIR", "/far")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            cwd: "/".into(),
            scratch: None,
        }
    }

    fn set(home: &Path) -> Vec<(OsString, OsString)> {
        vec![("HOME".into(), home.into())]
    }

    #[test]
    fn a_program_in_the_home_is_shown_with_its_neighbours_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let (home, workspace) = (root.join("home"), root.join("workspace"));
        let bin = home.join(".local/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&workspace).unwrap();
        for program in [bin.join("claude"), home.join("claude")] {
            fs::copy("/bin/true", program).unwrap();
        }
        let environment = set(&home);
        let context =
            SandboxContext { workspace: &workspace, writable: true, environment: &environment };
        let neighbours = mount_plan(&spec(&bin.join("claude")), &context).unwrap();
        assert_eq!(neighbours.program, bin.join("claude"));
        assert!(neighbours.readable.contains(&bin), "{neighbours:?}");
        let alone = mount_plan(&spec(&home.join("claude")), &context).unwrap();
        assert!(alone.readable.contains(&home.join("claude")), "{alone:?}");
        assert!(!alone.readable.contains(&home), "{alone:?}");
        assert_eq!(alone.state, Some(home.join(".claude")));
        assert!(home.join(".claude/projects").is_dir());

        let system = mount_plan(&spec(Path::new("true")), &context).unwrap();
        assert!(system.readable.iter().all(|path| !path.starts_with("/usr")), "{system:?}");
        let missing = mount_plan(&spec(Path::new("no-such-program")), &context);
        assert!(matches!(missing, Err(WrapError::Program(_))), "{missing:?}");
    }

    #[test]
    fn a_workspace_that_holds_the_home_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let environment = set(home.path());
        for workspace in [home.path(), Path::new("/")] {
            let context = SandboxContext { workspace, writable: true, environment: &environment };
            let refused = mount_plan(&spec(Path::new("true")), &context).unwrap_err();
            assert!(refused.to_string().contains("--workspace"), "{refused}");
        }
    }

    #[test]
    fn temporary_files_have_one_place() {
        let env = environment(spec(Path::new("x")).env);
        let names: Vec<_> =
            env.iter().map(|(name, value)| (name.to_str(), value.to_str())).collect();
        assert_eq!(names, [(Some("PATH"), Some("/usr/bin:/bin")), (Some("TMPDIR"), Some("/tmp"))]);
    }
}
