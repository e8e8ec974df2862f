//! The small parent of the agent that leaves no orphan.
//!
//! The server starts itself again as `supervisor`, passes it the agent's pipes and
//! reads from it how the agent fares. The supervisor is a child subreaper: whatever
//! the agent starts, in whatever session, ends up below it and is killed and
//! reaped when the agent has ended. When the server dies, its end of the
//! socket closes, and the supervisor ends the agent in steps. When the supervisor is
//! killed, the agent gets a parent-death signal and what it had started falls
//! to the server, which is a subreaper too.
//!
//! The supervisor uses no runtime and touches none of the agent's bytes.
//!
//! On the socket, one line each. To the supervisor: `T` and `K` for SIGTERM and
//! SIGKILL to the agent. From it: `P<pid>` once the agent runs, `F<error>` if
//! it could not be started, `X<code>` or `G<signal>` when it has ended. The
//! socket closes when nothing is left of it.

pub mod descendants;
pub mod fd_passing;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio as Standard};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, getppid, pidfd_open, pidfd_send_signal,
    set_child_subreaper, set_parent_process_death_signal, setsid, wait,
};

use fd_passing::Stdio;

/// The subcommand under which the server runs as a supervisor.
pub const SUPERVISOR: &str = "supervisor";

/// The subcommand that turns into the agent.
pub const EXEC: &str = "exec-agent";

/// This very program, also after its file was replaced or removed.
pub const SELF: &str = "/proc/self/exe";

/// To the supervisor: send the agent SIGTERM.
pub const TERM: &[u8] = b"T";
/// To the supervisor: send the agent SIGKILL.
pub const KILL: &[u8] = b"K";

/// What the supervisor does to the agent after the server's death, and how long it
/// waits before. The agent's stdin has closed by then, and it flushes its
/// session. All of it stays below the 8 s in which nothing may be left.
const SERVER_DIED: [(Duration, Signal); 2] =
    [(Duration::from_secs(3), Signal::TERM), (Duration::from_secs(2), Signal::KILL)];

/// The stack of the thread that hears the server: it calls nothing deep.
const COMMAND_STACK_BYTES: usize = 64 << 10;

/// `supervisor REMOVE PROGRAM ARGS…`: starts the program and outlives what it
/// leaves. REMOVE is a file to remove at the end, or empty.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match supervise(args) {
        Ok(()) => ExitCode::SUCCESS,
        // The server sees the socket close without a word and says so.
        Err(_) => ExitCode::FAILURE,
    }
}

fn supervise(args: impl IntoIterator<Item = OsString>) -> io::Result<()> {
    let mut args = args.into_iter();
    let remove = args.next().filter(|path| !path.is_empty()).map(PathBuf::from);
    // Out of the terminal's process group: Ctrl-C is for the server, which
    // then stops the agent in an orderly way.
    setsid()?;
    set_child_subreaper(Some(getpid()))?;
    rustix::thread::set_name(c"relay-superv")?;
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let stdio = Stdio::receive(&control)?;
    match start(args, stdio) {
        Ok(agent) => {
            writeln!(control, "P{}", agent.id())?;
            watch(agent, control)?;
        }
        Err(error) => writeln!(control, "F{error}")?,
    }
    if let Some(path) = remove {
        // Gone already is as good.
        let _ = fs::remove_file(path);
    }
    descendants::sweep();
    Ok(())
}

/// Starts the agent by way of [`exec`], which tells whether it could.
fn start(args: impl Iterator<Item = OsString>, stdio: Stdio) -> io::Result<Child> {
    let (mut ours, theirs) = UnixStream::pair()?;
    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts the agent")]
    let mut command = Command::new(SELF);
    command
        .arg0("claude-relay-agent")
        .arg(EXEC)
        .arg(getpid().as_raw_pid().to_string())
        .args(args)
        .stdin(OwnedFd::from(theirs))
        .stdout(Standard::null())
        .stderr(Standard::null());
    let mut agent = command.spawn()?;
    // The command holds the other end too; while it does, nothing closes.
    drop(command);
    let failure = stdio.send(&ours).and_then(|()| {
        let mut failure = String::new();
        ours.read_to_string(&mut failure).map(|_| failure)
    });
    match failure {
        Ok(failure) if failure.is_empty() => Ok(agent),
        failure => {
            agent.kill()?;
            agent.wait()?;
            Err(failure.map_or_else(|error| error, io::Error::other))
        }
    }
}

/// Waits for the agent's end and reports it. Everything else that ends below
/// is buried on the way: what the agent's tools leave behind falls to the
/// supervisor, and a long life would fill the process table with it.
fn watch(agent: Child, control: UnixStream) -> io::Result<()> {
    let pid = Pid::from_child(&agent);
    // Names the agent and nobody else, also after it was reaped.
    let named = pidfd_open(pid, PidfdFlags::empty())?;
    let bytes = control.try_clone()?;
    // It waits for the server's words until this process ends.
    std::thread::Builder::new()
        .stack_size(COMMAND_STACK_BYTES)
        .spawn(move || handle_commands(bytes, &named))?;
    let status = loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((ended, status))) if ended == pid => break status,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    // The server may have died; then there is nobody to tell.
    let _ = match status.exit_status() {
        Some(code) => writeln!(&control, "X{code}"),
        None => writeln!(&control, "G{}", status.terminating_signal().unwrap_or_default()),
    };
    Ok(())
}

/// Does to the agent what the server says, and after the server's death what
/// is due then. That the agent has ended meanwhile is no failure.
fn handle_commands(mut control: UnixStream, agent: &OwnedFd) {
    let mut bytes = [0; 16];
    while let Ok(count @ 1..) = control.read(&mut bytes) {
        for byte in bytes[..count].chunks(1) {
            let signal = if byte == KILL { Signal::KILL } else { Signal::TERM };
            let _ = pidfd_send_signal(agent, signal);
        }
    }
    for (wait, signal) in SERVER_DIED {
        std::thread::sleep(wait);
        let _ = pidfd_send_signal(agent, signal);
    }
}

/// `exec-agent SUPERVISOR PROGRAM ARGS…`: becomes the program. It gets SIGKILL
/// when its supervisor dies: that survives `exec`, so it is set here. If the
/// program cannot be started, the reason goes to the supervisor; the socket closes
/// without one when it could.
pub fn exec(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Ok(control) = io::stdin().as_fd().try_clone_to_owned() else {
        return ExitCode::FAILURE;
    };
    let mut control = UnixStream::from(control);
    let error = become_agent(args, &control);
    // With the supervisor gone there is nobody to tell.
    let _ = write!(control, "{error}");
    ExitCode::FAILURE
}

fn become_agent(args: impl IntoIterator<Item = OsString>, control: &UnixStream) -> io::Error {
    let mut args = args.into_iter();
    let (Some(supervisor), Some(program)) = (args.next(), args.next()) else {
        return io::Error::other("no program was named");
    };
    let prepare = || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        let parent = getppid().map(|pid| pid.as_raw_pid().to_string());
        if parent.is_none_or(|parent| OsString::from(parent) != supervisor) {
            return Err(io::Error::other("its supervisor has ended"));
        }
        let stdio = Stdio::receive(control)?;
        rustix::stdio::dup2_stdin(&stdio.stdin)?;
        rustix::stdio::dup2_stdout(&stdio.stdout)?;
        rustix::stdio::dup2_stderr(&stdio.stderr)?;
        Ok(())
    };
    if let Err(error) = prepare().and_then(|()| check_machine(&program)) {
        return error;
    }
    #[expect(clippy::disallowed_methods, reason = "this process turns into the agent here")]
    Command::new(program).args(args).exec()
}

/// Refuses a program made for another kind of machine. `exec` hands whatever
/// the kernel cannot run to a shell, and what that says about the first bytes
/// of such a program helps nobody.
fn check_machine(program: &OsStr) -> io::Result<()> {
    // The class, and the machine, of an executable.
    let kind =
        |head: [u8; 20]| head.starts_with(b"\x7fELF").then_some((head[4], [head[18], head[19]]));
    let head = |path: &OsStr| {
        let mut head = [0; 20];
        fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).map(|()| head)
    };
    // One that cannot be read may still be run.
    let (Ok(own), Ok(theirs)) = (head(OsStr::new(SELF)), head(program)) else { return Ok(()) };
    if kind(theirs).is_some() && kind(theirs) != kind(own) {
        return Err(rustix::io::Errno::NOEXEC.into());
    }
    Ok(())
}
