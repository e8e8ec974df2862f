//! The server under test: built, started, stopped.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{DEADLINE, Failure};

/// Of the server's replay buffer: small, so that a stall fills it.
pub(crate) const REPLAY_BYTES: u64 = 4 << 20;

/// The server, ended with this program.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    _workspace: tempfile::TempDir,
}

impl Server {
    #[expect(clippy::disallowed_methods, reason = "here the server is the child")]
    pub(crate) fn start() -> Result<Self, Failure> {
        let workspace = tempfile::tempdir()?;
        let mut child = Command::new(build()?)
            .args(["--demo", "--port=0", "--log=error", "--stop-grace=1s"])
            .arg(format!("--replay-bytes={REPLAY_BYTES}"))
            .arg("--workspace")
            .arg(workspace.path())
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on http://").ok_or("no address")?;
        Ok(Self { child, address: address.parse()?, _workspace: workspace })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM; it must exit with 0.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        signal(self.pid(), Signal::TERM)?;
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("the server ended with {status}").into()),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err("the server does not end".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its supervisor ends the rest. After `stop` there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server that `RELAY_BIN` names, or else one that is built with this
/// program's profile, beside it.
#[expect(clippy::disallowed_methods, reason = "cargo and its variable belong to the build")]
fn build() -> Result<PathBuf, Failure> {
    if let Some(built) = std::env::var_os("RELAY_BIN") {
        return Ok(built.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // Together with this program, because that is how its libraries were built.
    command.args(["build", "--quiet", "--bin", "claude-relay-server", "--example", "soak"]);
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    if !command.status()?.success() {
        return Err("the server could not be built".into());
    }
    let own = std::env::current_exe()?;
    let profile = own.parent().and_then(Path::parent).ok_or("no target directory")?;
    Ok(profile.join("claude-relay-server"))
}

pub(crate) fn signal(pid: u32, signal: Signal) -> Result<(), Failure> {
    let pid = Pid::from_raw(i32::try_from(pid)?).ok_or("no process")?;
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
