//! The start of a run: from its first message to a process, or to the reason
//! why there is none.

use std::future::pending;
use std::sync::Arc;

use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::run::RunStart;
use tokio::sync::oneshot;

use super::run::{ForcedExit, Phase, Run};
use crate::agent::{self, StartError, StartedRun, Version};
use crate::runtime::Runtime;
use crate::settings::Settings;

/// The exit code of a run that is refused.
const REFUSED: i32 = 1;

/// What an agent is started with.
#[derive(Debug)]
pub(super) enum Command {
    /// A program's own command line.
    OfProgram(Box<RunStart>),
    /// The server's configuration, for a raw connection.
    Configured(Box<QueryConfig>),
}

impl Command {
    fn needs_version(&self, settings: &Settings) -> bool {
        match self {
            Self::OfProgram(start) => agent::run_needs_version(settings, start),
            Self::Configured(config) => agent::needs_version(settings, config),
        }
    }

    /// Returns what the agent gets from the client as variables.
    fn own(&self) -> QueryConfig {
        match self {
            Self::OfProgram(start) => agent::run_variables(start).unwrap_or_default(),
            Self::Configured(config) => (**config).clone(),
        }
    }

    fn start(&self, runtime: &Runtime, version: Option<Version>) -> Result<StartedRun, StartError> {
        match self {
            Self::OfProgram(start) => agent::start_run(runtime, start, version),
            Self::Configured(config) => agent::start_raw(runtime, config, version),
        }
    }
}

/// A command that waits for the version of the CLI.
#[derive(Debug)]
pub(super) struct Prepared {
    command: Command,
    version: oneshot::Receiver<Option<Version>>,
}

impl Prepared {
    /// Waits for the version of the CLI, or forever if none is asked for.
    /// Cancel-safe.
    pub(super) async fn version(prepared: &mut Option<&mut Self>) -> Option<Version> {
        match prepared {
            // A question that was lost has no answer.
            Some(prepared) => (&mut prepared.version).await.unwrap_or_default(),
            None => pending().await,
        }
    }
}

impl Run {
    /// Handles the command line. A second one is a repetition: the client could
    /// not know that the first one had arrived.
    pub(super) fn on_start(&mut self, command: Command) {
        if !matches!(self.phase, Phase::Waiting) {
            return;
        }
        self.own = command.own();
        if !command.needs_version(&self.runtime.settings) {
            return self.spawn(&command, None);
        }
        let (answer, version) = oneshot::channel();
        let (runtime, versions) = (Arc::clone(&self.runtime), Arc::clone(&self.versions));
        tokio::spawn(async move {
            let path = runtime.settings.claude().ok_or_else(|| "it was not found".to_owned());
            let said = versions.ask(&runtime, path).await;
            // With the run gone nobody wants to know any more.
            let _ = answer.send(said.ok().and_then(|said| Version::parse(&said)));
        });
        self.phase = Phase::Preparing(Prepared { command, version });
    }

    pub(super) fn on_version(&mut self, version: Option<Version>) {
        let Phase::Preparing(prepared) = std::mem::replace(&mut self.phase, Phase::Waiting) else {
            return;
        };
        self.spawn(&prepared.command, version);
    }

    fn spawn(&mut self, command: &Command, version: Option<Version>) {
        match command.start(&self.runtime, version) {
            Ok(StartedRun { process, cwd }) => {
                self.phase = Phase::Running { process, cwd };
                self.close_input();
            }
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    /// Ends the run before its agent has begun, or with it.
    pub(super) fn refuse(&mut self, reason: &str) {
        tracing::warn!("a run is refused: {reason}");
        self.info(reason);
        self.forced_exit = Some(ForcedExit { code: Some(REFUSED), signal: None });
        match &mut self.phase {
            Phase::Running { process, .. } => process.kill(),
            _ => self.push_exit(None, None),
        }
    }
}
