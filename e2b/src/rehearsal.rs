//! Rehearsal of a template without a cloud: its steps, its start command and
//! its ready check run in a Debian on this machine.
//!
//! It follows E2B's order and rules: a login shell and an empty `/tmp` for each
//! step, files unpacked and merged, everything under `/usr/local` made
//! accessible to all at the end, and the start command alone in a fresh
//! machine. It reports what it has to replace: the image is a root made by
//! debootstrap, Rust is this machine's own, the machine is a set of namespaces,
//! and there is no snapshot. The server runs in a network namespace of its own,
//! which other processes cannot reach.

mod base;
mod jail;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::build::pack;
use crate::context::ContextError;
use crate::template::{Action, Copy, DEFAULT_USER, Template};
use base::Base;
use jail::Jail;

/// Time limit of one step; the server has the same.
const STEP_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Time limit of the start command, its ready check and the turn.
const START_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Directory in the root for files of one step.
const STEP_FILES: &str = "/run/rehearsal";

/// Options of a rehearsal.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The template. Its image must be one of [`crate::relay::RelayTemplate`].
    pub template: Template,
    /// A directory for the roots, several gigabytes large. The next rehearsal
    /// uses the bare Debian in it again; the rest is removed.
    pub directory: PathBuf,
    /// The Debian mirror. Default: the mirror in this machine's apt
    /// configuration.
    pub mirror: Option<String>,
    /// A program to run in the root as the template's user once the server is
    /// ready, with its address in `RELAY_URL`. Its exit status can fail the
    /// rehearsal.
    pub turn: Option<PathBuf>,
    /// Keep the root at the end, to inspect it.
    pub keep: bool,
}

/// Reason for a failed rehearsal.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// This machine does not meet the requirements.
    #[error("{0}")]
    Machine(String),
    /// The files of a COPY step cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A step failed.
    #[error("{step} failed: {problem}")]
    Step {
        /// The step.
        step: String,
        /// The failure.
        problem: String,
    },
    /// The start command, the ready check or the turn failed.
    #[error("{0}")]
    Start(String),
}

/// Rehearses a template and reports progress line by line.
///
/// # Errors
/// See [`RehearsalError`].
pub async fn rehearse(
    rehearsal: &Rehearsal,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<(), RehearsalError> {
    let packed = pack(&rehearsal.template)?;
    let base = Base::of(&rehearsal.template)?;
    let bare = base.make(rehearsal, tell).await?;
    let root = rehearsal.directory.join(format!("root-{}", std::process::id()));
    let played = async {
        base::copy_tree(&bare, &root, tell).await?;
        let mut play = Play {
            jail: Jail::new(&root),
            user: DEFAULT_USER.to_owned(),
            workdir: None,
            variables: base.variables(),
        };
        play.make_user(tell).await?;
        let mut archives = packed.iter().map(|(_, packed)| &packed.archive);
        let count = rehearsal.template.steps.len();
        for (index, step) in rehearsal.template.steps.iter().enumerate() {
            tell(&format!("step {} of {count}: {}", index + 1, step.summary()));
            let done = match &step.action {
                Action::Copy(copy) => {
                    let archive = archives.next().map(|archive| archive.as_ref());
                    play.copy(copy, archive.unwrap_or_default(), tell).await
                }
                action => play.step(action, tell).await,
            };
            done.map_err(|problem| RehearsalError::Step {
                step: format!("step {} ({})", index + 1, step.summary()),
                problem,
            })?;
        }
        play.finish(&rehearsal.template, rehearsal.turn.as_deref(), tell).await
    };
    let played = played.await;
    match rehearsal.keep {
        true => tell(&format!("the root is left in {}", root.display())),
        false => base::remove_tree(&root).await,
    }
    played
}

/// State that the steps change.
struct Play {
    jail: Jail,
    user: String,
    workdir: Option<String>,
    variables: Vec<(String, String)>,
}

type Tell<'a> = dyn FnMut(&str) + Send + 'a;

impl Play {
    /// Prepares the root as E2B's server does before the first step.
    async fn make_user(&self, tell: &mut Tell<'_>) -> Result<(), RehearsalError> {
        let command = format!(
            "id -u {DEFAULT_USER} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {DEFAULT_USER}"
        );
        self.run("root", Some("/"), &command, tell)
            .await
            .map_err(|problem| RehearsalError::Step { step: "making the user".to_owned(), problem })
    }

    async fn step(&mut self, action: &Action, tell: &mut Tell<'_>) -> Result<(), String> {
        match action {
            Action::Run { command, user } => {
                let user = user.clone().unwrap_or_else(|| self.user.clone());
                self.run(&user, self.workdir.as_deref(), command, tell).await
            }
            Action::Env(variables) => {
                self.variables.extend(variables.iter().cloned());
                Ok(())
            }
            Action::User(name) => {
                self.user.clone_from(name);
                Ok(())
            }
            Action::Workdir(path) => {
                let (user, quoted) = (&self.user, crate::quote::quote(path));
                let command = format!("[ -d {quoted} ] || install -d -o {user} -g {user} {quoted}");
                self.run("root", Some("/"), &command, tell).await?;
                self.workdir = Some(path.clone());
                Ok(())
            }
            Action::Copy(_) => Ok(()),
        }
    }

    /// Unpacks an archive in `/tmp` and merges it into its destination.
    async fn copy(&self, copy: &Copy, archive: &[u8], tell: &mut Tell<'_>) -> Result<(), String> {
        let file = tempfile_in(self.jail.root(), archive).map_err(|error| error.to_string())?;
        let owner = copy.owner.clone().unwrap_or_else(|| self.user.clone());
        let mode = copy.mode.map(|mode| format!("{mode:04o}")).unwrap_or_default();
        let script = include_str!("rehearsal/copy.sh");
        let arguments =
            [&copy.source, &copy.dest, &owner, &mode].map(String::as_str).map(crate::quote::quote);
        let command = format!("set -- {}\n{script}", arguments.join(" "));
        let mut jail = self.jail.clone();
        jail.bind(&file, &format!("{STEP_FILES}/archive.tar.gz"));
        let done = jail.run("root", Some("/"), &[], &command, STEP_TIMEOUT, tell).await;
        // The file exists only for this step.
        let _ = std::fs::remove_file(&file);
        done
    }

    async fn run(
        &self,
        user: &str,
        cwd: Option<&str>,
        command: &str,
        tell: &mut Tell<'_>,
    ) -> Result<(), String> {
        self.jail.run(user, cwd, &self.variables, command, STEP_TIMEOUT, tell).await
    }

    /// Runs the server's own last step, then the start command in a network of
    /// its own, the ready check, and the turn.
    async fn finish(
        &self,
        template: &Template,
        turn: Option<&Path>,
        tell: &mut Tell<'_>,
    ) -> Result<(), RehearsalError> {
        tell("finalize");
        let open = format!(
            "chown -R {DEFAULT_USER}:{DEFAULT_USER} /home/{DEFAULT_USER}; chmod -R 777 /usr/local"
        );
        self.run("root", Some("/"), &open, tell).await.map_err(RehearsalError::Start)?;

        let Some(start) = &template.start else {
            return Ok(());
        };
        let mut jail = self.jail.clone().without_network();
        let mut turn_path = String::new();
        if let Some(turn) = turn {
            turn_path = format!("{STEP_FILES}/turn");
            jail.bind(turn, &turn_path);
        }
        let assignments = self.variables.iter().map(|(name, value)| format!("{name}={value}"));
        let assignments: Vec<_> = assignments.map(|pair| crate::quote::quote(&pair)).collect();
        let ready = template.ready.as_deref().unwrap_or("sleep 20");
        let cwd = self.workdir.clone().unwrap_or_else(|| jail::home(&self.user));
        let url = format!("http://127.0.0.1:{}", crate::relay::PORT);
        let arguments = [&self.user, &cwd, start, ready, &turn_path, &url].map(crate::quote::quote);
        let command = format!(
            "variables=({})\nset -- {}\n{}",
            assignments.join(" "),
            arguments.join(" "),
            include_str!("rehearsal/start.sh")
        );
        jail.run("root", Some("/"), &[], &command, START_TIMEOUT, tell)
            .await
            .map_err(RehearsalError::Start)
    }
}

/// A file beside a root, for one step.
fn tempfile_in(root: &Path, content: &[u8]) -> std::io::Result<PathBuf> {
    let path = root.with_extension("archive");
    std::fs::write(&path, content)?;
    Ok(path)
}
