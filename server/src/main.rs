//! Arguments, settings, the port, the server, its end.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser as _;
use claude_relay_server::agent::{self, demo};
use claude_relay_server::http::accept;
use claude_relay_server::runtime::{Runtime, RuntimeError};
use claude_relay_server::settings::{Args, Settings, SettingsError};
use claude_relay_server::supervisor::{self, descendants};
use claude_relay_server::{SessionPanicked, log, serve};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getpid, getrlimit, set_child_subreaper,
    set_dumpable_behavior, setrlimit,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A bad flag or variable.
const USAGE: u8 = 2;

/// How long whatever is left below this process may take to end by SIGKILL.
const LAST_CHILDREN: Duration = Duration::from_secs(2);

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
enum StartupError {
    #[error("{0}")]
    Settings(#[from] SettingsError),
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: String, reason: String },
    #[error("the workspace {path} cannot be created: {source}")]
    Workspace { path: String, source: io::Error },
    #[error(
        "{0} is reachable from other machines: set --auth-token, or say --no-auth if that is meant"
    )]
    Open(SocketAddr),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    SessionPanicked(#[from] SessionPanicked),
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // The other lives of this program; see their modules.
    match args.next() {
        Some(first) if first == supervisor::SUPERVISOR => return supervisor::run(args),
        Some(first) if first == supervisor::EXEC => return supervisor::exec(args),
        Some(first) if first == agent::DEMO_AGENT => return demo::run(args),
        _ => {}
    }
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr leaves the exit code to say it.
            let _ = writeln!(io::stderr(), "error: {error}");
            match error {
                StartupError::Settings(_)
                | StartupError::Open(_)
                | StartupError::Runtime(RuntimeError::SandboxWithoutToken) => ExitCode::from(USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn start(args: Args) -> Result<(), StartupError> {
    let settings = Settings::from_process(args)?;
    log::start(&settings)?;
    // The environment and the memory of this process hold the real credentials
    // and the token. Nobody who runs as the same user, such as a tool of the
    // agent, may read them in /proc. Where that cannot be had, the server is
    // still of use.
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    // What the agent leaves when its supervisor is killed falls to this process.
    set_child_subreaper(Some(getpid())).map_err(io::Error::from)?;
    raise_descriptor_limit();
    std::fs::create_dir_all(&settings.workspace).map_err(|source| StartupError::Workspace {
        path: settings.workspace.display().to_string(),
        source,
    })?;
    // One thread: the work is moving bytes, and every hand-over between
    // threads would cost more than it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(run(settings));
    // What still runs are connections that were given their time.
    runtime.shutdown_background();
    ended
}

async fn run(settings: Settings) -> Result<(), StartupError> {
    let address = format!("{}:{}", bracketed(&settings.host), settings.port);
    let listener = accept::bind(&settings.host, settings.port).await.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "another program listens there already; stop it, or choose another port with --port ({error})"
            ),
            io::ErrorKind::PermissionDenied => {
                format!("ports below 1024 are for root; choose another with --port ({error})")
            }
            _ => error.to_string(),
        };
        StartupError::Listen { address: address.clone(), reason }
    })?;
    let bound = listener.local_addr()?;
    if !bound.ip().is_loopback() && settings.auth_token.is_none() && !settings.no_auth {
        return Err(StartupError::Open(bound));
    }
    let runtime = Runtime::start(settings).await?;
    // These do not end the server; being listened to is what keeps them from it.
    let _ignored: [Signal; 2] =
        [signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?];
    tokio::spawn(reap(signal(SignalKind::child())?));
    let (stop_to, stop) = mpsc::channel(1);
    tokio::spawn(pass_on(signal(SignalKind::terminate())?, stop_to.clone()));
    tokio::spawn(pass_on(signal(SignalKind::interrupt())?, stop_to));
    announce(&runtime, bound);
    let served = serve(listener, Arc::new(runtime), stop).await;
    // The last supervisor is about to end, and nobody may be there to bury it.
    let _ = timeout(LAST_CHILDREN, tokio::task::spawn_blocking(descendants::sweep)).await;
    served?;
    tracing::info!("ended");
    Ok(())
}

/// Every signal asks the server to stop, the second time at once.
async fn pass_on(mut signal: Signal, stop: mpsc::Sender<()>) {
    while signal.recv().await.is_some() && stop.send(()).await.is_ok() {}
}

/// Reaps what ends below this process: supervisors, and strangers that fell to it
/// because it is a subreaper or runs as process 1.
async fn reap(mut child: Signal) {
    while child.recv().await.is_some() {
        descendants::reap();
    }
}

/// Says where the server is. Programs wait for the first line.
fn announce(runtime: &Runtime, bound: SocketAddr) {
    let settings = &runtime.settings;
    let mut out = io::stdout().lock();
    // Nobody has to read it.
    let _ = writeln!(
        out,
        "listening on http://{bound}\n  page:      http://{bound}/\n  config:    http://{bound}/config\n  websocket: ws://{bound}/ws"
    );
    let _ = out.flush();
    tracing::info!(workspace = %settings.workspace.display(), mode = %settings.mode, sandbox = runtime.sandbox.as_str(), "ready");
    if settings.demo {
        tracing::info!("the built-in demo agent answers; start without --demo for Claude Code");
    } else if settings.claude().is_none() {
        tracing::warn!(
            "{} was not found: install Claude Code with `{}`, or name it with --claude-path (CLAUDE_PATH). The server works without it until somebody connects",
            settings.claude_path.display(),
            agent::INSTALL
        );
    }
    if settings.auth_token.is_none() && !bound.ip().is_loopback() {
        tracing::warn!(
            "{bound} is open to everybody who can reach it: whoever connects can run commands as this user"
        );
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Lets this process have as many descriptors as the system grants it, so that
/// idle strangers do not use them up.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // With the old limit the server works as well, for fewer strangers.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
