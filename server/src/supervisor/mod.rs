//! The supervisor: the agent's parent process, which leaves no orphans.
//!
//! The server executes itself as `supervisor`, passes it the agent's pipes, and
//! reads the state of the agent from it. The supervisor is a child subreaper:
//! every descendant of the agent, in any session, ends up below it, and is
//! killed and reaped when the agent has ended. When the server dies, its end of
//! the socket closes, and the supervisor stops the agent by escalation. When
//! the supervisor is killed, the agent gets a parent-death signal, and its
//! descendants become children of the server, which is a subreaper too.
//!
//! The supervisor uses no async runtime and copies none of the agent's bytes.
//!
//! The messages on the socket: to the supervisor, `T`, `K`, `I` and `H` for
//! SIGTERM, SIGKILL, SIGINT and SIGHUP to the agent; from it, one line each, `P<pid>` when the agent runs,
//! `F<code> <error>` if it could not be started, `X<code>` or `G<signal>` when it has
//! ended. The socket closes when no descendant is left.

pub mod descendants;
pub mod fd_passing;
pub mod seccomp;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio as Standard};
use std::sync::Arc;
use std::time::Duration;

use claude_relay_system as system;
use rustix::process::{Pid, Signal, getpid, getppid, setsid};

use fd_passing::Stdio;

/// Subcommand that runs the supervisor.
pub const SUPERVISOR: &str = "supervisor";

/// Subcommand that executes the agent.
pub const EXEC: &str = "exec-agent";

/// Name under which the supervisor runs.
pub const SUPERVISOR_NAME: &str = "claude-relay-supervisor";

/// Name of the process that is about to become the agent.
pub const EXEC_NAME: &str = "claude-relay-agent";

/// The running executable.
pub const SELF: &str = system::OWN_PROGRAM;

/// The executable that is started as the supervisor, and what it means for this
/// process.
#[derive(Debug, Clone)]
pub struct Supervisor {
    program: Arc<Path>,
    owns_process: bool,
}

impl Default for Supervisor {
    /// This program, which is nothing but the server.
    fn default() -> Self {
        Self { program: Path::new(SELF).into(), owns_process: true }
    }
}

impl Supervisor {
    /// `program`, for a server within another program.
    #[must_use]
    pub fn of_host(program: PathBuf) -> Self {
        Self { program: program.into(), owns_process: false }
    }

    /// Returns the executable.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Returns true if all children of this process are the server's: they may
    /// be ended and reaped.
    #[must_use]
    pub fn owns_process(&self) -> bool {
        self.owns_process
    }
}

/// Command to the supervisor: send SIGTERM to the agent.
pub const TERM: &[u8] = b"T";
/// Command to the supervisor: send SIGKILL to the agent.
pub const KILL: &[u8] = b"K";
/// Command to the supervisor: send SIGINT to the agent.
pub const INT: &[u8] = b"I";
/// Command to the supervisor: send SIGHUP to the agent.
pub const HUP: &[u8] = b"H";

/// Escalation after the server's death, with the delay before each signal. The
/// agent's stdin has been closed by then, and the agent saves its session. The
/// sum is below the 8 s after which no process may be left.
const ORPHAN_ESCALATION: [(Duration, Signal); 2] =
    [(Duration::from_secs(3), Signal::TERM), (Duration::from_secs(2), Signal::KILL)];

/// Stack size of the command thread, whose call depth is small.
const COMMAND_STACK_BYTES: usize = 64 << 10;

/// `supervisor COUNT FILES… PROGRAM ARGS…`: runs the program and ends all its
/// descendants after it. FILES, COUNT of them, are removed at the end.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match supervise(args) {
        Ok(()) => ExitCode::SUCCESS,
        // The server sees the socket close without a message and reports it.
        Err(_) => ExitCode::FAILURE,
    }
}

fn supervise(args: impl IntoIterator<Item = OsString>) -> io::Result<()> {
    let mut args = args.into_iter();
    let count = args.next().and_then(|count| count.to_str()?.parse().ok()).unwrap_or(0);
    let remove: Vec<PathBuf> = args.by_ref().take(count).map(PathBuf::from).collect();
    // A new session, so that Ctrl-C in the terminal reaches only the server,
    // which then stops the agent gracefully.
    setsid()?;
    system::adopt_orphans()?;
    system::set_name(c"relay-superv")?;
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let stdio = Stdio::receive(&control)?;
    let descendants = system::Descendants::watch();
    let reported = match start(args, stdio) {
        Ok(agent) => {
            // The server may have died: the agent ends all the same.
            let _ = writeln!(control, "P{}", agent.id());
            report_exit(agent, control)
        }
        Err(failure) => writeln!(control, "F{failure}"),
    };
    for path in remove {
        // It may have been removed already.
        let _ = fs::remove_file(path);
    }
    descendants::sweep_watched(&descendants);
    reported
}

/// Returns an error as the server reads it: its number, or 0, and its text.
fn told(error: &io::Error) -> String {
    format!("{} {error}", error.raw_os_error().unwrap_or(0))
}

/// Starts the agent through [`exec`]. A failure is what the server is told.
fn start(args: impl Iterator<Item = OsString>, stdio: Stdio) -> Result<Child, String> {
    let (mut ours, agent) = spawn_exec(args).map_err(|error| told(&error))?;
    let failure = stdio.send(&ours).and_then(|()| {
        let mut failure = String::new();
        ours.read_to_string(&mut failure).map(|_| failure)
    });
    match failure {
        Ok(failure) if failure.is_empty() => Ok(agent),
        failure => {
            end(agent).map_err(|error| told(&error))?;
            Err(failure.unwrap_or_else(|error| told(&error)))
        }
    }
}

fn end(mut agent: Child) -> io::Result<()> {
    agent.kill()?;
    agent.wait().map(drop)
}

fn spawn_exec(args: impl Iterator<Item = OsString>) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    #[expect(clippy::disallowed_methods, reason = "the only place that starts the agent")]
    let mut command = Command::new(&*system::executable(Path::new(SELF))?);
    command
        .arg0(EXEC_NAME)
        .arg(EXEC)
        .arg(getpid().as_raw_pid().to_string())
        .args(args)
        .stdin(OwnedFd::from(theirs))
        .stdout(Standard::null())
        .stderr(Standard::null());
    // The command holds the other end of the socket, which must close before
    // its end can be read: it is dropped here.
    let agent = command.spawn()?;
    Ok((ours, agent))
}

/// Waits for the agent's end and reports it. Reaps all other descendants that
/// end meanwhile: orphans of the agent's tools become children of the
/// supervisor, and would fill the process table of a long-running server.
fn report_exit(agent: Child, control: UnixStream) -> io::Result<()> {
    let agent = Arc::new(system::Child::new(Pid::from_child(&agent))?);
    let signalled = Arc::clone(&agent);
    let bytes = control.try_clone()?;
    // The thread reads commands until this process ends.
    std::thread::Builder::new()
        .stack_size(COMMAND_STACK_BYTES)
        .spawn(move || handle_commands(bytes, &signalled))?;
    let status = agent.wait()?;
    // The server may have died, so a failed write is ignored.
    let _ = match status.exit_status() {
        Some(code) => writeln!(&control, "X{code}"),
        None => writeln!(&control, "G{}", status.terminating_signal().unwrap_or_default()),
    };
    Ok(())
}

/// Sends the signals that the server asks for, and after the server's death
/// those of the escalation.
fn handle_commands(mut control: UnixStream, agent: &system::Child) {
    let mut bytes = [0; 16];
    while let Ok(count @ 1..) = control.read(&mut bytes) {
        for byte in bytes[..count].chunks(1) {
            let signal = match byte {
                KILL => Signal::KILL,
                INT => Signal::INT,
                HUP => Signal::HUP,
                _ => Signal::TERM,
            };
            agent.signal(signal);
        }
    }
    for (wait, signal) in ORPHAN_ESCALATION {
        std::thread::sleep(wait);
        agent.signal(signal);
    }
}

/// `exec-agent SUPERVISOR PROGRAM ARGS…`: executes the program, which is killed
/// when its parent ends. If the program cannot be executed, the error is written to
/// the socket; on success the socket closes empty.
pub fn exec(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Ok(control) = io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    let mut control = UnixStream::from(control);
    let error = become_agent(args, &control);
    // If the supervisor has ended, nobody reads the error.
    let _ = write!(control, "{}", told(&error));
    ExitCode::FAILURE
}

fn become_agent(args: impl IntoIterator<Item = OsString>, control: &UnixStream) -> io::Error {
    let mut args = args.into_iter();
    let (Some(supervisor), Some(program)) = (args.next(), args.next()) else {
        return io::Error::other("no program was named");
    };
    let mut args: Vec<OsString> = args.collect();
    let mut prepare = || {
        system::end_with_parent()?;
        let parent = getppid().map(|pid| pid.as_raw_pid().to_string());
        if parent.is_none_or(|parent| OsString::from(parent) != supervisor) {
            return Err(io::Error::other("its supervisor has ended"));
        }
        let stdio = Stdio::receive(control)?;
        rustix::stdio::dup2_stdin(&stdio.stdin)?;
        rustix::stdio::dup2_stdout(&stdio.stdout)?;
        rustix::stdio::dup2_stderr(&stdio.stderr)?;
        seccomp::install(&mut args)?;
        Ok(())
    };
    if let Err(error) = prepare().and_then(|()| check_machine(&program)) {
        return error;
    }
    let program = match system::executable(Path::new(&program)) {
        Ok(program) => program,
        Err(error) => return error,
    };
    #[expect(clippy::disallowed_methods, reason = "this process becomes the agent")]
    Command::new(&*program).args(args).exec()
}

/// Refuses a program that was built for another architecture. `exec` would pass
/// it to a shell, whose error message does not help.
fn check_machine(program: &OsStr) -> io::Result<()> {
    // Class and machine of an ELF file.
    let kind =
        |head: [u8; 20]| head.starts_with(b"\x7fELF").then_some((head[4], [head[18], head[19]]));
    let head = |path: &OsStr| {
        let mut head = [0; 20];
        fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).map(|()| head)
    };
    // A file that cannot be read may still be executable.
    let (Ok(own), Ok(theirs)) = (head(OsStr::new(SELF)), head(program)) else { return Ok(()) };
    if kind(theirs).is_some() && kind(theirs) != kind(own) {
        return Err(rustix::io::Errno::NOEXEC.into());
    }
    Ok(())
}
