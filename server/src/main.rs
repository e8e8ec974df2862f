//! The server's program: arguments, settings, the listening socket, and the
//! shutdown.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use claude_relay_listen::access::Digest;
use claude_relay_listen::{accept, log};
use claude_relay_protocol::QueryConfig;
use claude_relay_server::agent::{self, StartError};
use claude_relay_server::http::claim_file::ClaimFile;
use claude_relay_server::lifeline::Lifeline;
use claude_relay_server::runtime::{Runtime, RuntimeError};
use claude_relay_server::settings::{Args, Settings, SettingsError};
use claude_relay_server::supervisor::descendants;
use claude_relay_server::{
    OpenWithoutToken, SessionPanicked, check_exposure, run_subcommand, serve_claimed,
};
use claude_relay_system as system;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Exit code for an invalid flag or variable.
const EXIT_USAGE: u8 = 2;

/// Number of turns of tasks after which the sockets are looked at, while tasks
/// have work. With the default of 61, a request waited for three times 61 turns:
/// for its connection, its bytes and its answer.
const EVENT_INTERVAL: u32 = 4;

/// Timeout for the processes that are left below this one to end by SIGKILL.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(2);

/// Reason for which the server could not start.
#[derive(Debug, thiserror::Error)]
enum StartupError {
    #[error("{0}")]
    Settings(#[from] SettingsError),
    #[error("cannot listen on {address}: {reason}")]
    Listen { address: String, reason: String },
    #[error("the workspace {path} cannot be created: {source}")]
    Workspace { path: String, source: io::Error },
    #[error(transparent)]
    Open(#[from] OpenWithoutToken),
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    SessionPanicked(#[from] SessionPanicked),
    #[error(
        "the claim in {path:?} cannot be read ({source}): remove the file to release the server, or set --auth-token"
    )]
    Claim { path: std::path::PathBuf, source: io::Error },
    #[error("the system refused: {0}")]
    System(#[from] io::Error),
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    if let Some(code) = args.next().and_then(|first| run_subcommand(&first, args)) {
        return code;
    }
    let args = Args::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If stderr is closed, the exit code reports the failure.
            let _ = writeln!(io::stderr(), "error: {error}");
            match error {
                StartupError::Settings(_)
                | StartupError::Open(_)
                | StartupError::Runtime(
                    RuntimeError::SandboxWithoutToken
                    | RuntimeError::KeyProxyWithoutToken
                    | RuntimeError::Store(_),
                ) => ExitCode::from(EXIT_USAGE),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn start(args: Args) -> Result<(), StartupError> {
    let settings = Settings::from_process(args)?;
    log::start(&settings.log, settings.log_format).map_err(SettingsError::from)?;
    if let Some(report) = &settings.dotenv {
        tracing::info!("{report}");
    }
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    // The environment and the memory of this process hold the real credentials
    // and the token. Processes of the same user, such as tools of the agent,
    // must not read them in /proc.
    system::hide_memory();
    // If the supervisor is killed, the agent's descendants become children of
    // this process.
    system::adopt_orphans()?;
    raise_descriptor_limit();
    std::fs::create_dir_all(&settings.workspace).map_err(|source| StartupError::Workspace {
        path: settings.workspace.display().to_string(),
        source,
    })?;
    // One thread: the work is moving bytes, and passing them between threads
    // would cost more than the work itself.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()?;
    let ended = runtime.block_on(run(settings));
    // Connections that have exceeded their shutdown timeout may still run.
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
    check_exposure(bound, &settings)?;
    let runtime = Runtime::start(settings).await?;
    // With a handler installed, these signals do not end the server.
    let _ignored: [Signal; 2] =
        [signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?];
    tokio::spawn(reap(signal(SignalKind::child())?));
    let (stop_to, stop) = mpsc::channel(1);
    if runtime.settings.lifeline {
        tokio::spawn(end_with(Lifeline::watch()?, stop_to.clone()));
    }
    tokio::spawn(forward_signal(signal(SignalKind::terminate())?, stop_to.clone()));
    tokio::spawn(forward_signal(signal(SignalKind::interrupt())?, stop_to));
    announce(&runtime, bound);
    let (claim_file, claimed) = claim(&runtime.settings)?;
    let served = serve_claimed(listener, Arc::new(runtime), claim_file, claimed, stop).await;
    // The last supervisor is about to end, and the reaper may not run any more.
    let _ = timeout(SWEEP_TIMEOUT, tokio::task::spawn_blocking(descendants::sweep)).await;
    served?;
    tracing::info!("ended");
    Ok(())
}

/// Finds the place for a claim, and one that was made before. A token of the
/// operator stands above both.
fn claim(settings: &Settings) -> Result<(Option<ClaimFile>, Option<Digest>), StartupError> {
    let Some(state) = settings.state_dir().filter(|_| settings.auth_token.is_none()) else {
        return Ok((None, None));
    };
    let file = ClaimFile::new(&state, &settings.workspace);
    let path = file.path();
    let claimed =
        file.load().map_err(|source| StartupError::Claim { path: path.to_owned(), source })?;
    if claimed.is_some() {
        tracing::info!(
            "the server was claimed before: its token is required; remove {path:?} to release it"
        );
    }
    Ok((Some(file), claimed))
}

/// Forwards every signal as a request to stop; the second request stops at
/// once.
async fn forward_signal(mut signal: Signal, stop: mpsc::Sender<()>) {
    while signal.recv().await.is_some() && stop.send(()).await.is_ok() {}
}

/// Asks for a graceful shutdown at the end of the lifeline.
async fn end_with(lifeline: Lifeline, stop: mpsc::Sender<()>) {
    match lifeline.ended().await {
        Some(end) => tracing::info!("the lifeline has ended: {end}"),
        None => tracing::error!("the lifeline cannot be watched any more"),
    }
    // An error means that the server is ending already.
    let _ = stop.send(()).await;
}

/// Reaps the processes that end below this one: supervisors, and orphans that
/// became its children because it is a subreaper or process 1.
async fn reap(mut child: Signal) {
    while child.recv().await.is_some() {
        descendants::reap();
    }
}

/// Prints the address of the server. Other programs wait for the first line.
fn announce(runtime: &Runtime, bound: SocketAddr) {
    let settings = &runtime.settings;
    let mut out = io::stdout().lock();
    // The only place that tells a token, and only one that nobody has chosen.
    let token = settings.auth_token.as_ref().filter(|_| settings.token_is_drawn);
    let token = token.map(|token| format!("#token={}", token.expose())).unwrap_or_default();
    // A closed stdout is not an error.
    let _ = writeln!(
        out,
        "listening on http://{bound}\n  page:      http://{bound}/{token}\n  config:    http://{bound}/config\n  websocket: ws://{bound}/ws"
    );
    let _ = out.flush();
    tracing::info!(workspace = %settings.workspace.display(), mode = %settings.mode, sandbox = runtime.sandbox.as_str(), "ready");
    if let Some(recording) = &settings.replay {
        tracing::info!(recording = %recording.display(), "a recording is played in the place of the agent");
    } else if settings.demo {
        tracing::info!("the built-in demo agent answers; start without --demo for Claude Code");
    } else if let Some(error) = StartError::no_claude(settings) {
        tracing::warn!("{error}. The server runs without it until a client connects");
    } else if !agent::login::is_possible(settings, &QueryConfig::default()) {
        tracing::warn!(
            "no credential was found for Claude Code: set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN, or give a key on the page or with `anthropicApiKey` in the configuration"
        );
    }
    if settings.auth_token.is_none() && !bound.ip().is_loopback() {
        tracing::warn!(
            "{bound} requires no token: every client that can reach it can run commands as this user"
        );
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Raises the limit of file descriptors to the maximum, so that idle
/// connections do not exhaust it.
fn raise_descriptor_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // With the old limit the server works too, for fewer connections.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
