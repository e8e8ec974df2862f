//! The server within another program.
//!
//! It changes nothing of its host: no signal handler, no log, no process limit.
//! It starts the supervisor from an executable of its own, waits for its own
//! children alone, and keeps a claim in memory.

use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use claude_relay_listen::program::find_program;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::agent::{DEMO_AGENT, demo};
use crate::runtime::{Runtime, RuntimeError};
use crate::settings::{Args, Settings, SettingsError};
use crate::supervisor::{self, Supervisor};
use crate::{OpenWithoutToken, SessionPanicked, check_exposure, serve};

/// Name of the server's own executable.
const PROGRAM: &str = "claude-relay-server";

/// A server within another program.
///
/// ```no_run
/// # async fn host() -> Result<(), Box<dyn std::error::Error>> {
/// use claude_relay_server::Relay;
///
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let shutdown = async { drop(tokio::signal::ctrl_c().await) };
/// Relay::builder().args(["--demo", "--workspace=/tmp/w"]).serve(listener, shutdown).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Relay;

/// Options of a [`Relay`].
#[derive(Debug, Default)]
pub struct Builder {
    args: Vec<OsString>,
    environment: Option<Vec<(OsString, OsString)>>,
    supervisor: Option<PathBuf>,
}

/// Reason for which an embedded server could not be started, or has failed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The arguments are wrong.
    #[error("{0}")]
    Arguments(#[from] clap::Error),
    /// A flag has no effect in another program.
    #[error("{0} is for the program claude-relay-server alone: its host decides about it")]
    Flag(&'static str),
    /// A value is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is no executable for the supervisor.
    #[error(
        "{PROGRAM} was found neither beside this program nor in PATH: install it, name it with `supervisor`, or call `run_as_supervisor` first in `main` and choose `supervisor_is_this_program`"
    )]
    NoSupervisor,
    /// Anybody could use the server.
    #[error(transparent)]
    Open(#[from] OpenWithoutToken),
    /// The workspace cannot be created.
    #[error("the workspace {path:?} cannot be created")]
    Workspace {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The sandbox or the key proxy is not available.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The listener has no address.
    #[error("the listener cannot be used")]
    Listener(#[source] io::Error),
    /// The session has failed.
    #[error(transparent)]
    SessionPanicked(#[from] SessionPanicked),
}

impl Relay {
    /// Returns a builder with the defaults of the program.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Adds flags, written as on the command line of `claude-relay-server`.
    #[must_use]
    pub fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Takes these variables in place of the environment of this process: for
    /// the settings, and for the agent. A `.env` is never read.
    #[must_use]
    pub fn environment<I, N, V>(mut self, variables: I) -> Self
    where
        I: IntoIterator<Item = (N, V)>,
        N: Into<OsString>,
        V: Into<OsString>,
    {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.environment = Some(variables.collect());
        self
    }

    /// Names the executable that is started as the supervisor: a
    /// `claude-relay-server` of the version of this crate. By default it is
    /// looked for beside this program and in `PATH`.
    #[must_use]
    pub fn supervisor(mut self, program: impl Into<PathBuf>) -> Self {
        self.supervisor = Some(program.into());
        self
    }

    /// Starts this program as the supervisor. Its `main` must call
    /// [`run_as_supervisor`] before anything else.
    #[must_use]
    pub fn supervisor_is_this_program(self) -> Self {
        self.supervisor(supervisor::SELF)
    }

    /// Serves `listener` until `shutdown` completes, and then until the client
    /// and the agent have ended. If the returned future is dropped, the agent is
    /// ended at once.
    ///
    /// # Errors
    ///
    /// See [`RelayError`].
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), RelayError> {
        let args = Args::try_parse_from(std::iter::once(PROGRAM.into()).chain(self.args))?;
        let settings = Settings::for_host(check_flags(args)?, self.environment)?;
        let bound = listener.local_addr().map_err(RelayError::Listener)?;
        check_exposure(bound, &settings)?;
        let program = match self.supervisor {
            Some(program) => program,
            None => find_supervisor(settings.variable("PATH")).ok_or(RelayError::NoSupervisor)?,
        };
        std::fs::create_dir_all(&settings.workspace)
            .map_err(|source| RelayError::Workspace { path: settings.workspace.clone(), source })?;
        let runtime = Runtime::start_with(settings, Supervisor::of_host(program)).await?;
        let (stop_to, stop) = mpsc::channel(1);
        let mut serving = std::pin::pin!(serve(listener, Arc::new(runtime), stop));
        tokio::select! {
            served = &mut serving => return Ok(served?),
            () = shutdown => {}
        }
        // An error means that the server has ended already.
        let _ = stop_to.send(()).await;
        Ok(serving.await?)
    }
}

/// Refuses what only the program does.
fn check_flags(args: Args) -> Result<Args, RelayError> {
    for (is_given, flag) in [
        (args.host.is_some(), "--host"),
        (args.port.is_some(), "--port"),
        (args.lifeline, "--lifeline"),
        (args.log.is_some(), "--log"),
        (args.log_format.is_some(), "--log-format"),
    ] {
        if is_given {
            return Err(RelayError::Flag(flag));
        }
    }
    Ok(args)
}

fn find_supervisor(path: Option<&OsStr>) -> Option<PathBuf> {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
    beside
        .and_then(|beside| find_program(&beside, None))
        .or_else(|| find_program(Path::new(PROGRAM), path))
}

/// Runs the supervisor, its agent's last step before `exec`, or the built-in
/// agent, if this process was started as one of them. The exit code is then
/// that of the process.
///
/// A host that is its own supervisor calls it first in `main`, with all its
/// arguments:
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     if let Some(code) = claude_relay_server::run_as_supervisor(std::env::args_os()) {
///         return code;
///     }
///     ExitCode::SUCCESS // … what the program does
/// }
/// ```
pub fn run_as_supervisor(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter();
    let own_name = args.next()?;
    let is_ours = [supervisor::SUPERVISOR_NAME, supervisor::EXEC_NAME, supervisor::SELF]
        .iter()
        .any(|name| own_name == *name);
    run_subcommand(&args.next().filter(|_| is_ours)?, args)
}

/// Runs a subcommand that the server starts itself with.
pub fn run_subcommand(name: &OsStr, args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    match name.to_str()? {
        supervisor::SUPERVISOR => Some(supervisor::run(args)),
        supervisor::EXEC => Some(supervisor::exec(args)),
        DEMO_AGENT => Some(demo::run(args.into_iter())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn flags_of_the_program_alone_are_refused() {
        for flag in ["--host=h", "--port=1", "--lifeline", "--log=info", "--log-format=json"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let served = Relay::builder().args([flag]).serve(listener, async {}).await;
            let error = served.unwrap_err().to_string();
            assert!(flag.starts_with(error.split(' ').next().unwrap()), "{error}");
        }
    }

    #[tokio::test]
    async fn an_address_that_others_reach_needs_a_token() {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let served = Relay::builder().environment([("HOME", "/h")]).serve(listener, async {}).await;
        assert!(matches!(served, Err(RelayError::Open(_))), "{served:?}");
    }

    #[test]
    fn words_of_a_hosts_own_command_line_are_no_subcommand() {
        let args = |args: &[&str]| args.iter().map(OsString::from).collect::<Vec<_>>();
        assert!(run_as_supervisor(args(&["host", "supervisor"])).is_none());
        assert!(run_as_supervisor(args(&["host"])).is_none());
        assert!(run_as_supervisor(args(&[])).is_none());
    }
}
