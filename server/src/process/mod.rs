//! One process of the agent: its start, its three pipes, its exit.
//!
//! Reading stdout, reading stderr and writing stdin are three loops that never
//! wait for each other; otherwise a full pipe could cause a deadlock. This
//! module does not interpret lines.
//!
//! Output is in order: the last line of stdout comes before [`Output::Exited`].

pub mod large;
pub mod limiter;
pub mod lines;
pub mod signals;

mod channel;
mod escalation;
mod reserved_path;
mod stderr;
mod stdin;
mod stdout;

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio as Standard};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claude_relay_system as system;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::supervisor::fd_passing::Stdio;
use crate::supervisor::{self, Supervisor};
use lines::Block;

pub use channel::Channel;
pub use reserved_path::ReservedPath;
pub use stdin::Input;

/// Requested capacity of the agent's stdout and stderr pipes, which is the
/// kernel's maximum for ordinary users. Larger pipes mean fewer context
/// switches: with the default 64 KiB for stderr, 200 MiB of diagnostics slowed
/// stdout by 17 %; with this and reads of a matching size, by 7 %.
const PIPE_BYTES: usize = 1 << 20;

/// Maximum time for the supervisor to end the agent's descendants, and for the
/// pipes to close afterwards. A process outside the agent's tree may hold a
/// pipe, which must not delay a restart.
const REAP_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum number of events that wait for the session.
const EVENT_CAPACITY: usize = 16;

/// Stack size of a thread that waits for a supervisor.
const WAIT_STACK_BYTES: usize = 64 << 10;

/// Command to run.
#[derive(Debug)]
pub struct SpawnSpec {
    /// Executable.
    pub program: OsString,
    /// Arguments.
    pub args: Vec<OsString>,
    /// Whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Temporary files that are removed with the process.
    pub scratch: Vec<tempfile::TempPath>,
    /// How much of its stderr is passed on.
    pub diagnostics: Diagnostics,
    /// What keeps files from being made while the process runs.
    pub reserved_paths: Vec<ReservedPath>,
    /// How its stdin and stdout are made.
    pub channel: Channel,
    /// Its supervisor.
    pub supervisor: Supervisor,
}

/// Output of the process, in order.
#[derive(Debug)]
pub enum Output {
    /// Complete lines of stdout.
    Lines(Block),
    /// The process has ended. The last output.
    Exited(ProcessExit),
}

/// End of a process.
#[derive(Debug)]
pub struct ProcessExit {
    /// Reason.
    pub reason: ExitReason,
    /// The last 4 KiB of stderr.
    pub stderr: Vec<u8>,
    /// Messages that were sent to the process and not read by it, oldest first.
    pub unread: Vec<Bytes>,
}

/// Reason for which a process has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReason {
    /// It exited with this code.
    Exited(i32),
    /// It was ended by this signal.
    Signalled(i32),
    /// It could not be started.
    NotStarted(StartFailure),
    /// A remote agent could not be reached or the connection was lost, with the
    /// error.
    Unreachable(String),
    /// Its supervisor was killed, and the process with it.
    Lost,
}

/// The system's error about a program that could not be started, as the supervisor
/// tells it: `CODE TEXT`, with code 0 where the system has none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct StartFailure {
    text: String,
    code: i32,
}

impl StartFailure {
    /// Reads what the supervisor has told.
    #[must_use]
    pub fn parse(told: &str) -> Self {
        let (code, text) = told.split_once(' ').unwrap_or(("", told));
        match code.parse() {
            Ok(code) => Self { text: text.to_owned(), code },
            Err(_) => Self { text: told.to_owned(), code: 0 },
        }
    }

    /// Returns the system's number of the error.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        Some(self.code).filter(|code| *code != 0)
    }
}

/// Events of a process that are not ordered with its output.
#[derive(Debug)]
pub enum ProcessEvent {
    /// The process runs, with its id if it is a child of this server.
    Started(Option<u32>),
    /// A line of stderr.
    Stderr(String),
    /// Number of stderr lines that were dropped by the rate limit.
    StderrDropped(u64),
    /// The process has closed its stdout. It may go on running.
    StdoutClosed,
    /// The process has closed its stdin. It may go on running.
    StdinClosed,
    /// The process gets this signal, because it has not ended by itself.
    Escalated(&'static str),
}

/// Commands to a process.
#[derive(Debug)]
pub enum ProcessCommand {
    /// Stop by escalation: SIGTERM after the grace period, SIGKILL after a
    /// second one.
    Stop(Duration),
    /// Send SIGKILL now.
    Kill,
    /// Send SIGTERM now, and SIGKILL after the grace period.
    Terminate(Duration),
    /// Send a signal that asks for nothing more.
    Signal(Signal),
}

/// A signal that leaves the escalation alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGHUP.
    Hangup,
}

/// How much of the agent's stderr is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diagnostics {
    /// As much as the rate limit allows, without empty lines.
    Limited,
    /// All of it.
    All,
}

/// The other ends of the channels of a [`Process`].
#[derive(Debug)]
pub struct ProcessChannels {
    /// Lines for the agent; closed when it is to stop.
    pub stdin: mpsc::Receiver<Input>,
    /// Commands of the session.
    pub commands: mpsc::Receiver<ProcessCommand>,
    /// Receives output, in order.
    pub output: mpsc::Sender<Output>,
    /// Receives all other events.
    pub events: mpsc::Sender<ProcessEvent>,
}

/// One process of the agent. Dropping it ends the process and its descendants.
#[derive(Debug)]
pub struct Process {
    /// Output, in order. Backpressure: the agent blocks while nothing is taken
    /// from here.
    pub output: mpsc::Receiver<Output>,
    /// All other events.
    pub events: mpsc::Receiver<ProcessEvent>,
    /// Stdin, one line at a time; `None` once the process is to stop.
    pub stdin: Option<mpsc::Sender<Input>>,
    commands: mpsc::Sender<ProcessCommand>,
    _tasks: JoinSet<()>,
    _scratch: Vec<tempfile::TempPath>,
    _reserved_paths: Vec<ReservedPath>,
}

impl Process {
    /// Starts `spec`. Must be called on the main thread, because the
    /// parent-death signal of a child is sent when the thread that spawned it
    /// ends.
    ///
    /// # Errors
    ///
    /// Returns an error if no process or pipe can be created. If the program
    /// itself cannot be started, the result is [`ExitReason::NotStarted`].
    pub fn spawn(spec: SpawnSpec) -> io::Result<Self> {
        let agent = channel::AgentPid::default();
        let (stdin, stdin_writer) = channel::stdin(spec.channel, Arc::clone(&agent))?;
        let (stdout, stdout_reader) = channel::stdout(spec.channel)?;
        let (stderr_read, stderr_write) = io::pipe()?;
        system::set_pipe_capacity(&stderr_read, PIPE_BYTES);
        let (control, supervisor) = start_supervisor(&spec)?;
        let owns_process = spec.supervisor.owns_process();
        let stdio = Stdio { stdin, stdout, stderr: stderr_write.into() };
        stdio.send(&control)?;
        control.set_nonblocking(true)?;
        let control = UnixStream::from_std(control)?;
        let stderr_pipe = pipe::Receiver::from_owned_fd(stderr_read.into())?;

        let (output_to, output) = mpsc::channel(1);
        let (events_to, events) = mpsc::channel(EVENT_CAPACITY);
        let (stdin, lines) = mpsc::channel(1);
        let (commands, commands_from) = mpsc::channel(4);
        let (unread_to, unread) = oneshot::channel();
        let (tail_to, tail) = oneshot::channel();
        let (exit_to, exit) = oneshot::channel();
        let (exited, exited_for_stdin) = oneshot::channel();
        let mut loops = JoinSet::new();
        loops.spawn(stdin::write_loop(
            stdin_writer,
            lines,
            events_to.clone(),
            exited_for_stdin,
            unread_to,
        ));
        loops.spawn(stderr::read_loop(stderr_pipe, spec.diagnostics, events_to.clone(), tail_to));
        loops.spawn(stdout::read_loop(stdout_reader, output_to, events_to.clone(), exit));
        loops.spawn(async move {
            let reason =
                escalation::supervise(control, commands_from, events_to, agent, owns_process).await;
            if reason == ExitReason::Lost {
                system::end_group(supervisor);
            }
            let _ = exited.send(matches!(reason, ExitReason::Exited(_)));
            let unread = unread.await.unwrap_or_default();
            let stderr =
                timeout(REAP_TIMEOUT, tail).await.ok().and_then(Result::ok).unwrap_or_default();
            let _ = exit_to.send(ProcessExit { reason, stderr, unread });
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(run_all(loops));
        Ok(Self {
            output,
            events,
            stdin: Some(stdin),
            commands,
            _tasks: tasks,
            _scratch: spec.scratch,
            _reserved_paths: spec.reserved_paths,
        })
    }

    /// Creates a process that is not a child: the task that `run` returns
    /// serves the other ends of its channels until the process is dropped.
    pub fn with_task<F>(run: impl FnOnce(ProcessChannels) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (output_to, output) = mpsc::channel(1);
        let (events_to, events) = mpsc::channel(EVENT_CAPACITY);
        let (stdin, lines) = mpsc::channel(1);
        let (commands, commands_from) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(run(ProcessChannels {
            stdin: lines,
            commands: commands_from,
            output: output_to,
            events: events_to,
        }));
        Self {
            output,
            events,
            stdin: Some(stdin),
            commands,
            _tasks: tasks,
            _scratch: Vec::new(),
            _reserved_paths: Vec::new(),
        }
    }

    /// Stops the process: closes its stdin after the lines already sent, and
    /// sends SIGTERM after `grace` and SIGKILL after another `grace`.
    pub fn stop(&mut self, grace: Duration) {
        self.stdin = None;
        // If the channel is full, the process has been told already.
        let _ = self.commands.try_send(ProcessCommand::Stop(grace));
    }

    /// Sends SIGTERM now, and SIGKILL after `grace`. Its stdin stays open.
    pub fn terminate(&self, grace: Duration) {
        let _ = self.commands.try_send(ProcessCommand::Terminate(grace));
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if self.commands.try_send(ProcessCommand::Signal(signal)).is_err() {
            tracing::warn!("a signal was left out: others have not been delivered yet");
        }
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.stdin = None;
        let _ = self.commands.try_send(ProcessCommand::Kill);
    }
}

/// Waits for the loops of a process. If one panics, the others are ended, and
/// the session sees the end of the process instead of waiting for a loop that
/// no longer runs.
async fn run_all(mut loops: JoinSet<()>) {
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended {
            tracing::error!(
                "a task of the agent's process panicked, which is a defect of the server: {error}"
            );
            return;
        }
    }
}

/// Returns its control socket and its process.
fn start_supervisor(spec: &SpawnSpec) -> io::Result<(std::os::unix::net::UnixStream, u32)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    #[expect(clippy::disallowed_methods, reason = "the only place that starts the supervisor")]
    let mut command = Command::new(&*system::executable(spec.supervisor.program())?);
    command
        .arg0(supervisor::SUPERVISOR_NAME)
        .arg(supervisor::SUPERVISOR)
        .arg(spec.scratch.len().to_string())
        .args(spec.scratch.iter().map(|path| path.as_os_str()))
        .arg(&spec.program)
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.cwd)
        .stdin(OwnedFd::from(theirs))
        .stdout(Standard::null())
        .stderr(Standard::null());
    // The control socket reports its end.
    let mut child = command.spawn()?;
    let pid = child.id();
    if !spec.supervisor.owns_process() {
        // The program has a reaper; in another program nobody else may wait. A
        // thread that cannot be started leaves an entry in the process table.
        let _ = std::thread::Builder::new()
            .stack_size(WAIT_STACK_BYTES)
            .spawn(move || drop(child.wait()));
    }
    Ok((ours, pid))
}

#[cfg(test)]
mod tests;
