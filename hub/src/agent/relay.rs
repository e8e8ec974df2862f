//! The relay of a local agent, as a process that does not outlive the hub.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use claude_relay_protocol::Secret;
use rustix::fs::{FlockOperation, flock};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::settings::Settings;
use crate::store::private;

/// Time for a former relay of the same agent to end: it stops its agent in
/// order when its hub is gone.
const FORMER_TIMEOUT: Duration = Duration::from_secs(45);

/// Time between two looks at a former relay.
const FORMER_INTERVAL: Duration = Duration::from_millis(50);

/// Time for a relay to listen.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a relay to end in order; it is killed after that.
const END_TIMEOUT: Duration = Duration::from_secs(20);

/// Beginning of the names of the hub's variables.
const OWN_VARIABLES: &str = "RELAY_HUB_";

/// Maximum length of the line with the address.
const MAX_LINE_BYTES: u64 = 4096;

/// Reason for which a relay did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    #[error("the relay cannot be started: {0}")]
    Start(#[source] io::Error),
    #[error("the directory of this agent leads out of its workspace, by a symbolic link")]
    Outside,
    #[error("a former relay of this agent has not ended")]
    Former,
    #[error("the relay has ended before it listened: see its log in the hub's directory")]
    Ended,
    #[error("the relay does not listen")]
    Silent,
}

/// A running relay. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Relay {
    /// Its address.
    pub(super) url: String,
    /// The token that its clients need.
    pub(super) token: Secret,
    child: Child,
    /// It ends when this is closed, by the hub or with it.
    lifeline: Option<ChildStdin>,
}

impl Relay {
    /// Starts a relay in `directory` of `workspace`, once a former one that has
    /// `log` open is gone.
    pub(super) async fn start(
        settings: &Settings,
        workspace: &Path,
        directory: &str,
        log: &Path,
    ) -> Result<Self, RelayError> {
        let log = lock(log).await?;
        let workspace = &directory_within(workspace, directory)?;
        let token = claude_relay_random::hexadecimal::<32>();
        let mut command = Command::new(&settings.relay);
        command
            .args(["--host", "127.0.0.1", "--port", "0", "--lifeline", "--workspace"])
            .arg(workspace)
            .args(&settings.relay_args)
            .env("RELAY_AUTH_TOKEN", &token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .current_dir(workspace);
        // The hub's own, its token among them, are no business of its agents.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with(OWN_VARIABLES)) {
                command.env_remove(name);
            }
        }
        let mut child = command.spawn().map_err(RelayError::Start)?;
        let lifeline = child.stdin.take();
        let Some(stdout) = child.stdout.take() else { return Err(RelayError::Ended) };
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        let mut limited = (&mut stdout).take(MAX_LINE_BYTES);
        let read = timeout(LISTEN_TIMEOUT, limited.read_line(&mut line)).await;
        match read.map_err(|_| RelayError::Silent)? {
            Ok(bytes) if bytes > 0 => {}
            _ => return Err(RelayError::Ended),
        }
        let url = line.trim().strip_prefix("listening on ").ok_or(RelayError::Silent)?.to_owned();
        // What else it prints is read and dropped, until it ends.
        tokio::spawn(async move { tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await });
        Ok(Self { url, token: token.into(), child, lifeline })
    }

    /// Waits until it has ended by itself.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Ends it in order.
    pub(super) async fn end(mut self) {
        self.lifeline = None;
        if timeout(END_TIMEOUT, self.child.wait()).await.is_err() {
            tracing::warn!("a relay does not end and is killed");
            if let Err(error) = self.child.kill().await {
                tracing::warn!("a relay cannot be killed: {error}");
            }
        }
    }
}

/// Creates a directory of a workspace. Links that agents have made do not lead
/// out of it.
fn directory_within(workspace: &Path, directory: &str) -> Result<PathBuf, RelayError> {
    std::fs::create_dir_all(workspace).map_err(RelayError::Start)?;
    let root = workspace.canonicalize().map_err(RelayError::Start)?;
    let mut path = root.clone();
    for part in Path::new(directory) {
        path.push(part);
        match std::fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(RelayError::Start(error)),
        }
        path = path.canonicalize().map_err(RelayError::Start)?;
        if !path.starts_with(&root) {
            return Err(RelayError::Outside);
        }
    }
    Ok(path)
}

/// Opens and locks the log. All that the relay starts and that outlives it for
/// a moment has the file open, and so the lock.
async fn lock(path: &Path) -> Result<File, RelayError> {
    let log = private().append(true).open(path).map_err(RelayError::Start)?;
    let deadline = Instant::now() + FORMER_TIMEOUT;
    while flock(&log, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() >= deadline {
            return Err(RelayError::Former);
        }
        sleep(FORMER_INTERVAL).await;
    }
    // One start, one log: it does not grow for ever.
    log.set_len(0).map_err(RelayError::Start)?;
    Ok(log)
}
