//! One run of the agent: its start, its three pipes, its end.
//!
//! Reading stdout, reading stderr and writing stdin are three loops that never
//! wait for each other; anything else deadlocks once a pipe is full. Nothing
//! here knows what a line means.
//!
//! What comes out is in order: the last line of stdout, then [`Output::Ended`].

pub mod limiter;
pub mod lines;
pub mod signals;

mod escalation;
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
use std::time::Duration;

use bytes::Bytes;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::supervisor;
use crate::supervisor::fd_passing::Stdio;
use lines::Block;

pub use stdin::Input;

/// The size asked for the agent's stdout and stderr pipes. More room means
/// fewer switches between the two; the kernel's own bound for ordinary users is
/// 1 MiB. With the usual 64 KiB for stderr, 200 MiB of noise there slowed
/// stdout by 17 %, with this and reads to match by 7 %.
const PIPE_BYTES: usize = 1 << 20;

/// How long the supervisor may take to end what the agent left, and how long the
/// pipes may stay open after it. Somebody outside the agent's tree may hold
/// one; that must not hold up a restart.
const REAP_TIMEOUT: Duration = Duration::from_secs(2);

/// How many notes wait for the session. Those who write them wait then.
const EVENT_CAPACITY: usize = 16;

/// What to run.
#[derive(Debug)]
pub struct SpawnSpec {
    /// The executable.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// A file that goes away with the process.
    pub scratch: Option<tempfile::TempPath>,
}

/// What comes out of stdout, in order.
#[derive(Debug)]
pub enum Output {
    /// Whole lines.
    Lines(Block),
    /// It is over; nothing comes after this.
    Ended(Ended),
}

/// The end of a process.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub how: Ending,
    /// The last 4 KiB of its stderr.
    pub stderr: Vec<u8>,
    /// Messages that it was handed and never read, oldest first.
    pub unread: Vec<Bytes>,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// It could not be started; the system's words.
    NotStarted(String),
    /// It runs elsewhere and cannot be reached, or not any more; in words.
    Unreachable(String),
    /// Its supervisor was killed, and it with it.
    Lost,
}

/// News of a process that have no place in the order of its output.
#[derive(Debug)]
pub enum ProcessEvent {
    /// It runs, under this process id if it is one of ours.
    Started(Option<u32>),
    /// A line of its stderr.
    Stderr(String),
    /// This many lines of its stderr were left out to keep the rate bounded.
    StderrDropped(u64),
    /// It has closed its stdout. It may be about to end, or not.
    StdoutClosed,
    /// It has closed its stdin. The same.
    StdinClosed,
}

/// What the process is to do.
#[derive(Debug)]
pub enum ProcessCommand {
    /// End within two graces: by itself, by SIGTERM, by SIGKILL.
    Stop(Duration),
    /// End now.
    Kill,
}

/// The far ends of the channels of a [`Process`].
#[derive(Debug)]
pub struct ProcessEnds {
    /// Lines for the agent; closed once it is to stop.
    pub stdin: mpsc::Receiver<Input>,
    /// Orders of the session.
    pub commands: mpsc::Receiver<ProcessCommand>,
    /// Output, in order.
    pub output: mpsc::Sender<Output>,
    /// Everything else.
    pub events: mpsc::Sender<ProcessEvent>,
}

/// One run of the agent. Dropping it ends everything under it.
#[derive(Debug)]
pub struct Process {
    /// Its output, in order. Not taking from here makes it wait.
    pub output: mpsc::Receiver<Output>,
    /// Everything else.
    pub events: mpsc::Receiver<ProcessEvent>,
    /// Its stdin, one line at a time; gone once it is to stop.
    pub stdin: Option<mpsc::Sender<Input>>,
    commands: mpsc::Sender<ProcessCommand>,
    _tasks: JoinSet<()>,
    _scratch: Option<tempfile::TempPath>,
}

impl Process {
    /// Starts `plan`. Must be called on the thread that lives as long as the
    /// program: children are told when the thread that made them ends.
    ///
    /// # Errors
    ///
    /// When no process or pipe can be made at all. That the program itself
    /// cannot be started comes as [`Ending::NotStarted`].
    pub fn spawn(spec: SpawnSpec) -> io::Result<Self> {
        let (stdin_read, stdin_write) = io::pipe()?;
        let (stdout_read, stdout_write) = io::pipe()?;
        let (stderr_read, stderr_write) = io::pipe()?;
        for pipe in [&stdout_read, &stderr_read] {
            // A smaller pipe is slower, nothing else.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
        }
        let control = start_supervisor(&spec)?;
        let stdio = Stdio {
            stdin: stdin_read.into(),
            stdout: stdout_write.into(),
            stderr: stderr_write.into(),
        };
        stdio.send(&control)?;
        control.set_nonblocking(true)?;
        let control = UnixStream::from_std(control)?;
        let stdin_pipe = pipe::Sender::from_owned_fd(stdin_write.into())?;
        let stdout_pipe = pipe::Receiver::from_owned_fd(stdout_read.into())?;
        let stderr_pipe = pipe::Receiver::from_owned_fd(stderr_read.into())?;

        let (output_to, output) = mpsc::channel(1);
        let (events_to, events) = mpsc::channel(EVENT_CAPACITY);
        let (stdin, lines) = mpsc::channel(1);
        let (commands, commands_from) = mpsc::channel(4);
        let (unread_to, unread) = oneshot::channel();
        let (tail_to, tail) = oneshot::channel();
        let (ended_to, ended) = oneshot::channel();
        let (over, over_stdin) = oneshot::channel();
        let mut loops = JoinSet::new();
        loops.spawn(stdin::write_loop(stdin_pipe, lines, events_to.clone(), over_stdin, unread_to));
        loops.spawn(stderr::read_loop(stderr_pipe, events_to.clone(), tail_to));
        loops.spawn(stdout::read_loop(stdout_pipe, output_to, events_to.clone(), ended));
        loops.spawn(async move {
            let how = escalation::supervise(control, commands_from, events_to).await;
            let _ = over.send(matches!(how, Ending::Exited(_)));
            let unread = unread.await.unwrap_or_default();
            let stderr =
                timeout(REAP_TIMEOUT, tail).await.ok().and_then(Result::ok).unwrap_or_default();
            let _ = ended_to.send(Ended { how, stderr, unread });
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
        })
    }

    /// A run that is no child process: the task that `run` makes serves the
    /// far ends of its channels, for as long as the run is not dropped.
    pub fn with_task<F>(run: impl FnOnce(ProcessEnds) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (output_to, output) = mpsc::channel(1);
        let (events_to, events) = mpsc::channel(EVENT_CAPACITY);
        let (stdin, lines) = mpsc::channel(1);
        let (commands, commands_from) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(run(ProcessEnds {
            stdin: lines,
            commands: commands_from,
            output: output_to,
            events: events_to,
        }));
        Self { output, events, stdin: Some(stdin), commands, _tasks: tasks, _scratch: None }
    }

    /// Lets it end: its stdin is closed behind what was handed to it, and
    /// after `grace` comes SIGTERM, after another SIGKILL.
    pub fn stop(&mut self, grace: Duration) {
        self.stdin = None;
        // Full means that it has been told already.
        let _ = self.commands.try_send(ProcessCommand::Stop(grace));
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.stdin = None;
        let _ = self.commands.try_send(ProcessCommand::Kill);
    }
}

/// Waits for the loops of a process. One that fails by a defect of its own
/// takes the others along: the session then hears of the end of a process in
/// the place of waiting for a loop that is no more.
async fn run_all(mut loops: JoinSet<()>) {
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended {
            tracing::error!("the agent is given up; this is a defect of the server: {error}");
            return;
        }
    }
}

fn start_supervisor(spec: &SpawnSpec) -> io::Result<std::os::unix::net::UnixStream> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that starts the supervisor"
    )]
    let mut command = Command::new(supervisor::SELF);
    let scratch = spec.scratch.as_deref().map(|path| path.as_os_str().to_owned());
    command
        .arg0("claude-relay-supervisor")
        .arg(supervisor::SUPERVISOR)
        .arg(scratch.unwrap_or_default())
        .arg(&spec.program)
        .args(&spec.args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.cwd)
        .stdin(OwnedFd::from(theirs))
        .stdout(Standard::null())
        .stderr(Standard::null());
    // Its end is heard on the socket; the program's reaper takes its status.
    command.spawn()?;
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn panicking_task_ends_the_other_tasks() {
        let (held, gone) = oneshot::channel::<()>();
        let mut loops = JoinSet::new();
        loops.spawn(async {});
        loops.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        loops.spawn(async { panic!("a defect") });
        run_all(loops).await;
        assert!(gone.await.is_err());
    }
}
