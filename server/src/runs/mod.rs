//! Runs: agents of programs that bring their own command line, such as the
//! official Agent SDKs. They are beside the session and do not touch it.
//!
//! [`Runs`] owns the names of the runs and their number; each [`run::Run`] is
//! an actor of its own, made of the same parts as the session: the process, the
//! replay buffer, the loops of a connection.

mod client;
mod input;
mod output;
mod request;
mod run;
mod start;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::runtime::Runtime;
use crate::session::cli_version::VersionCache;

use run::{Run, RunCommand, RunStatus};

pub use request::{Message, numbered, raw};
pub use run::RunConnect;

/// Capacity of the command channel.
const COMMAND_CAPACITY: usize = 64;

/// Commands to the registry.
#[derive(Debug)]
enum Command {
    Admit(Option<Named>, oneshot::Sender<Result<RunHandle, RunRefusal>>),
    Health(oneshot::Sender<Value>),
    Metrics(oneshot::Sender<String>),
    EndAll,
    Shutdown,
}

/// The run that a connection names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub id: String,
    /// The last number that the client has.
    pub after: u64,
}

/// Reason for which a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunRefusal {
    /// Too many runs.
    #[error("{0} runs are open, which is the limit of this server (--max-runs): try again later")]
    TooMany(usize),
    /// The client has numbers of a run that is not there.
    #[error("this run is not known: it has ended, or the server was started anew")]
    Unknown,
    /// The server is shutting down.
    #[error("the server is shutting down")]
    ShuttingDown,
}

/// Handle of a run.
#[derive(Debug, Clone)]
pub struct RunHandle(mpsc::Sender<RunCommand>);

impl RunHandle {
    /// Connects a client. Returns false if the run has ended.
    pub async fn connect(&self, request: RunConnect) -> bool {
        self.0.send(RunCommand::Connect(request)).await.is_ok()
    }
}

/// Handle of the registry.
#[derive(Debug, Clone)]
pub struct RunsHandle(mpsc::Sender<Command>);

impl RunsHandle {
    /// Finds or creates the run of a new connection; without a name a raw one.
    ///
    /// # Errors
    ///
    /// See [`RunRefusal`].
    pub async fn admit(&self, named: Option<Named>) -> Result<RunHandle, RunRefusal> {
        let (reply_to, reply) = oneshot::channel();
        let command = Command::Admit(named, reply_to);
        self.0.send(command).await.map_err(|_| RunRefusal::ShuttingDown)?;
        reply.await.map_err(|_| RunRefusal::ShuttingDown)?
    }

    /// Returns the part of `/health` about runs.
    pub async fn health(&self) -> Option<Value> {
        let (reply_to, reply) = oneshot::channel();
        self.0.send(Command::Health(reply_to)).await.ok()?;
        reply.await.ok()
    }

    /// Returns the figures of the runs, as Prometheus text.
    pub async fn metrics(&self) -> Option<String> {
        let (reply_to, reply) = oneshot::channel();
        self.0.send(Command::Metrics(reply_to)).await.ok()?;
        reply.await.ok()
    }

    /// Starts to end the runs there are.
    pub async fn end_all(&self) {
        // An error means that the registry has ended already.
        let _ = self.0.send(Command::EndAll).await;
    }

    /// Starts to end all runs; the second call kills their agents.
    pub async fn shut_down(&self) {
        // An error means that the registry has ended already.
        let _ = self.0.send(Command::Shutdown).await;
    }
}

/// The registry of runs.
#[derive(Debug)]
pub struct Runs {
    runtime: Arc<Runtime>,
    commands: mpsc::Receiver<Command>,
    open: HashMap<String, Open>,
    tasks: JoinSet<String>,
    versions: Arc<VersionCache>,
    /// Runs so far, and connections that were one too many.
    begun: u64,
    refused: u64,
    stopping: bool,
}

#[derive(Debug)]
struct Open {
    commands: mpsc::Sender<RunCommand>,
    status: Arc<RunStatus>,
}

impl Runs {
    /// Creates a registry without runs, and its handle.
    #[must_use]
    pub fn new(runtime: Arc<Runtime>) -> (Self, RunsHandle) {
        let (commands_to, commands) = mpsc::channel(COMMAND_CAPACITY);
        let runs = Self {
            runtime,
            commands,
            open: HashMap::new(),
            tasks: JoinSet::new(),
            versions: Arc::default(),
            begun: 0,
            refused: 0,
            stopping: false,
        };
        (runs, RunsHandle(commands_to))
    }

    /// Runs until a shutdown is complete.
    pub async fn run(mut self) {
        while !(self.stopping && self.tasks.is_empty()) {
            tokio::select! {
                command = self.commands.recv() => {
                    self.on_command(command.unwrap_or(Command::Shutdown));
                }
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(id) => {
                        self.open.remove(&id);
                    }
                    Err(error) => {
                        tracing::error!("a run panicked, which is a defect of the server: {error}");
                        self.open.retain(|_, open| !open.commands.is_closed());
                    }
                },
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Admit(named, reply) => {
                // The requester may have disconnected; the run ends by its grace.
                let _ = reply.send(self.admit(named));
            }
            Command::Health(reply) => {
                let _ = reply.send(self.health());
            }
            Command::Metrics(reply) => {
                let _ = reply.send(self.metrics());
            }
            Command::EndAll => self.stop_all(),
            Command::Shutdown => {
                self.stopping = true;
                self.stop_all();
            }
        }
    }

    fn stop_all(&self) {
        for open in self.open.values() {
            // A full channel: it has been told already.
            let _ = open.commands.try_send(RunCommand::Stop);
        }
    }

    fn admit(&mut self, named: Option<Named>) -> Result<RunHandle, RunRefusal> {
        if self.stopping {
            return Err(RunRefusal::ShuttingDown);
        }
        let (id, is_raw) = match named {
            Some(Named { id, after }) => {
                if let Some(open) = self.open.get(&id) {
                    return Ok(RunHandle(open.commands.clone()));
                }
                if after > 0 {
                    return Err(RunRefusal::Unknown);
                }
                (id, false)
            }
            None => (claude_relay_random::hexadecimal::<16>(), true),
        };
        let limit = self.runtime.settings.max_runs;
        if self.alive() >= limit {
            self.refused += 1;
            return Err(RunRefusal::TooMany(limit));
        }
        // Ended runs are kept for their clients, and are as many at most.
        if self.open.len() >= 2 * limit
            && let Some(ended) = self.open.values().find(|open| open.status.has_ended())
        {
            let _ = ended.commands.try_send(RunCommand::Stop);
        }
        let (commands, commands_from) = mpsc::channel(COMMAND_CAPACITY);
        let status = Arc::new(RunStatus::default());
        let runtime = Arc::clone(&self.runtime);
        let versions = Arc::clone(&self.versions);
        let run = Run::new(runtime, versions, commands_from, Arc::clone(&status), is_raw);
        self.begun += 1;
        let name = id.clone();
        self.tasks.spawn(async move {
            run.run().await;
            name
        });
        self.open.insert(id, Open { commands: commands.clone(), status });
        Ok(RunHandle(commands))
    }

    fn alive(&self) -> usize {
        self.open.values().filter(|open| !open.status.has_ended()).count()
    }

    fn connected(&self) -> usize {
        self.open.values().filter(|open| open.status.is_connected()).count()
    }

    fn metrics(&self) -> String {
        let figures = [
            ("runs", "gauge", "Runs whose agent has not ended.", self.alive() as u64),
            ("runs_connected", "gauge", "Runs with a connection.", self.connected() as u64),
            ("runs_limit", "gauge", "Runs at once.", self.runtime.settings.max_runs as u64),
            ("runs_total", "counter", "Runs so far.", self.begun),
            ("runs_refused_total", "counter", "Runs that were one too many.", self.refused),
        ];
        figures
            .map(|(name, kind, help, value)| {
                let name = format!("claude_relay_{name}");
                format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
            })
            .concat()
    }

    fn health(&self) -> Value {
        json!({
            "limit": self.runtime.settings.max_runs,
            "running": self.alive(),
            "connected": self.connected(),
            "grace_ms": self.runtime.settings.run_grace.as_millis() as u64,
        })
    }
}
