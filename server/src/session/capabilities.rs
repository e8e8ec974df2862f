//! Facts that only other programs know: the versions of the agents, and the
//! sandboxes that work here.
//!
//! They are queried on the first request and kept until an executable changes,
//! as it does when a CLI is updated. Nothing is queried before the first client,
//! so that an idle server costs nothing.

use std::ffi::OsString;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::cli_version::{Stamp, VersionCache};

use crate::agent::command;
use crate::agent::describe::{self, Versions};
use crate::isolation::probe;
use crate::isolation::sandbox::option::SandboxOption;
use crate::isolation::sandbox::{self, SandboxContext, state};
use crate::process::ExitReason;
use crate::runtime::Runtime;

/// Timeout for the version of a CLI. It needs 50 ms on an idle machine.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum length of a version; longer text is not a version.
const MAX_VERSION_BYTES: usize = 64;

/// Variables that a CLI needs to start. `--version` gets no others, and so no
/// secrets.
const VARIABLES: [&str; 3] = ["PATH", "HOME", "LANG"];

/// Result of the queries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Version of each agent, or the reason why it is not known.
    pub versions: Versions,
    /// The sandboxes that work here.
    pub sandboxes: Vec<&'static str>,
    /// The executables that were asked.
    asked: Vec<Option<Stamp>>,
}

impl Found {
    /// Returns true if the executables are still those that were asked.
    #[must_use]
    pub fn is_current(&self, runtime: &Runtime) -> bool {
        self.asked == stamps(&describe::executables(&runtime.settings))
    }
}

/// State of the queries.
#[derive(Debug, Default)]
pub enum Capabilities {
    /// Not started.
    #[default]
    Unknown,
    /// Running.
    Pending(oneshot::Receiver<Found>),
    /// Done.
    Known(Found),
}

impl Capabilities {
    /// Starts the queries, if they have not been started, or if an executable is
    /// another than the one that was asked.
    pub fn ask(&mut self, runtime: &Arc<Runtime>, claude: &Arc<VersionCache>) {
        match self {
            Self::Unknown => {}
            Self::Known(found) if !found.is_current(runtime) => {}
            Self::Pending(_) | Self::Known(_) => return,
        }
        let (answer, answered) = oneshot::channel();
        let (runtime, claude) = (Arc::clone(runtime), Arc::clone(claude));
        tokio::spawn(async move {
            // If the session has ended, the result is not needed.
            let _ = answer.send(query(&runtime, &claude).await);
        });
        *self = Self::Pending(answered);
    }

    /// Waits for the result, or forever if no query is running. Cancel-safe.
    pub async fn found(&mut self) -> Found {
        let Self::Pending(answered) = self else { return pending().await };
        // If the query panicked, nothing is known.
        answered.await.unwrap_or_default()
    }

    /// Returns the result, if it is known.
    #[must_use]
    pub fn known(&self) -> Option<&Found> {
        match self {
            Self::Known(found) => Some(found),
            Self::Unknown | Self::Pending(_) => None,
        }
    }
}

async fn query(runtime: &Runtime, claude: &VersionCache) -> Found {
    let settings = &runtime.settings;
    let mut sandboxes = vec!["none"];
    let path = settings.variable("PATH");
    if runtime.sandbox.is_active() {
        sandboxes.push(runtime.sandbox.as_str());
    } else if let Ok(found) = sandbox::open(SandboxOption::Os, path, &runtime.supervisor).await {
        sandboxes.push(found.as_str());
    }
    let executables = describe::executables(settings);
    let asked = stamps(&executables);
    let [(one, first), (other, second)] = executables;
    let (first, second) = tokio::join!(claude.ask(runtime, first), version(runtime, second));
    Found { versions: vec![(one, first), (other, second)], sandboxes, asked }
}

fn stamps<N>(executables: &[(N, Result<PathBuf, String>)]) -> Vec<Option<Stamp>> {
    executables.iter().map(|(_, path)| Stamp::of(path.as_ref().ok()?)).collect()
}

/// Runs the executable with `--version`, inside the sandbox if there is one: the
/// agent may have been able to write the file. Returns the version, or the
/// reason why it is not known.
pub(super) async fn version(
    runtime: &Runtime,
    executable: Result<PathBuf, String>,
) -> Result<String, String> {
    let settings = &runtime.settings;
    if settings.demo {
        return Err("the built-in agent replaces it".to_owned());
    }
    let found = executable?;
    let (program, mut args): (PathBuf, Vec<OsString>) = command::program(&found);
    args.push("--version".into());
    let env = VARIABLES.into_iter().filter_map(|name| {
        settings.variable(name).map(|value| (OsString::from(name), value.to_owned()))
    });
    let mut command = probe::command(program.into(), args, env.collect(), &runtime.supervisor);
    if runtime.sandbox.is_active() {
        command.cwd.clone_from(&settings.workspace);
    }
    let context = SandboxContext {
        workspace: &settings.workspace,
        writable: false,
        environment: &settings.environment,
        // Of the state nothing is needed.
        state: &state::CLAUDE,
        uses_login: false,
        guarded: &[],
    };
    let command = runtime
        .sandbox
        .wrap(command, &context)
        .map_err(|error| format!("`--version` cannot run in the sandbox: {error}"))?;
    match probe::run(command, VERSION_TIMEOUT).await {
        Ok(outcome) if outcome.reason == ExitReason::Exited(0) => {
            read_version(&outcome.stdout).ok_or_else(|| "`--version` printed no version".to_owned())
        }
        Ok(outcome) => Err(format!("`--version` failed: {:?}", outcome.reason)),
        Err(error) => Err(format!("`--version`: {error}")),
    }
}

/// Returns the version in `2.1.329 (Claude Code)`, with an optional name before
/// it.
fn read_version(output: &str) -> Option<String> {
    let is_version = |word: &&str| {
        word.starts_with(|first: char| first.is_ascii_digit())
            && word.len() <= MAX_VERSION_BYTES
            && word.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
    };
    output.split_ascii_whitespace().take(2).find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_one_of_the_first_two_words() {
        assert_eq!(read_version("2.1.329 (Claude Code)\n").as_deref(), Some("2.1.329"));
        assert_eq!(read_version("1.0.0-beta.1+x\n").as_deref(), Some("1.0.0-beta.1+x"));
        assert_eq!(read_version("an-agent 0.169.0\n").as_deref(), Some("0.169.0"));
        for other in ["", "version of 2.1", "v2", "2<script>", &"1".repeat(65)] {
            assert_eq!(read_version(other), None, "{other}");
        }
    }
}
