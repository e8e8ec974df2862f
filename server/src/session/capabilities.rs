//! What only other programs can tell: the versions of the agents, and which
//! sandboxes work here.
//!
//! Asked once, when somebody wants to know, and kept for the life of the
//! server. Never before the first client: a server that waits costs nothing.

use std::ffi::OsString;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::agent::command;
use crate::agent::describe::{self, Versions};
use crate::isolation::probe;
use crate::isolation::sandbox;
use crate::isolation::sandbox::option::SandboxOption;
use crate::process::ExitReason;
use crate::runtime::Runtime;
use crate::settings::Settings;

/// How long the CLI may take to say its version. It needs 50 ms on an idle
/// machine.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a version may be; what is longer is none.
const VERSION_BYTES: usize = 64;

/// Variables that a CLI needs to start. The rest, and every secret in it, is
/// none of `--version`'s business.
const NEEDED: [&str; 3] = ["PATH", "HOME", "LANG"];

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The version of each agent, or why it is not known.
    pub versions: Versions,
    /// The sandboxes that work here.
    pub sandboxes: Vec<&'static str>,
}

/// Whether it has been asked yet.
#[derive(Debug, Default)]
pub enum Capabilities {
    /// Nobody has wanted to know.
    #[default]
    Unasked,
    /// The programs have not answered yet.
    Asked(oneshot::Receiver<Found>),
    /// They have.
    Known(Found),
}

impl Capabilities {
    /// Sees that it is found out; the first time only.
    pub fn ask(&mut self, runtime: &Arc<Runtime>) {
        if !matches!(self, Self::Unasked) {
            return;
        }
        let (answer, answered) = oneshot::channel();
        let runtime = Arc::clone(runtime);
        tokio::spawn(async move {
            // With the session gone nobody wants to know any more.
            let _ = answer.send(find_out(&runtime).await);
        });
        *self = Self::Asked(answered);
    }

    /// Waits for the answer; for ever when nothing is asked. Nothing is lost
    /// when the wait is given up.
    pub async fn found(&mut self) -> Found {
        let Self::Asked(answered) = self else { return pending().await };
        // A question that was lost has no answer.
        answered.await.unwrap_or_default()
    }

    /// What is known.
    #[must_use]
    pub fn known(&self) -> Option<&Found> {
        match self {
            Self::Known(found) => Some(found),
            Self::Unasked | Self::Asked(_) => None,
        }
    }
}

async fn find_out(runtime: &Runtime) -> Found {
    let settings = &runtime.settings;
    let mut sandboxes = vec!["none"];
    let path = settings.variable("PATH");
    if runtime.sandbox.is_active() {
        sandboxes.push(runtime.sandbox.as_str());
    } else if let Ok(found) = sandbox::open(SandboxOption::Os, path).await {
        sandboxes.push(found.as_str());
    }
    let [(one, first), (other, second)] = describe::executables(settings);
    let (first, second) = tokio::join!(version(settings, first), version(settings, second));
    Found { versions: vec![(one, first), (other, second)], sandboxes }
}

async fn version(
    settings: &Settings,
    executable: Result<PathBuf, String>,
) -> Result<String, String> {
    if settings.demo {
        return Err("the built-in agent stands in for it".to_owned());
    }
    let found = executable?;
    let (program, mut args): (PathBuf, Vec<OsString>) = command::program(&found);
    args.push("--version".into());
    let env = NEEDED.into_iter().filter_map(|name| {
        settings.variable(name).map(|value| (OsString::from(name), value.to_owned()))
    });
    match probe::run(program.into(), args, env.collect(), VERSION_TIMEOUT).await {
        Ok(outcome) if outcome.reason == ExitReason::Exited(0) => read_version(&outcome.stdout)
            .ok_or_else(|| "`--version` says something else than a version".to_owned()),
        Ok(outcome) => Err(format!("`--version` failed: {:?}", outcome.reason)),
        Err(error) => Err(format!("`--version`: {error}")),
    }
}

/// The version in `2.1.329 (Claude Code)`, with a name before or behind it.
fn read_version(said: &str) -> Option<String> {
    let is_version = |word: &&str| {
        word.starts_with(|first: char| first.is_ascii_digit())
            && word.len() <= VERSION_BYTES
            && word.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c))
    };
    said.split_ascii_whitespace().take(2).find(is_version).map(str::to_owned)
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
