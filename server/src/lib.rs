//! Server for one long-running coding agent (Claude Code or Codex): one
//! WebSocket client at a time, its messages in, every line of the agent out,
//! byte for byte.
//!
//! The modules, in reading order:
//!
//! * [`Relay`]: the server within another program
//! * [`settings`]: flags and environment, read once; [`runtime`]: what is
//!   created from them at the start
//! * [`http`]: the routes, the test page; connections, access control and frames
//!   are in [`claude_relay_listen`]
//! * [`ws`]: WebSocket connections of the session
//! * [`runs`]: agents of programs with a command line of their own
//! * [`session`]: the actor that owns all state, with the client slot and the
//!   replay buffer
//! * [`agent`]: the agents, their launch and their protocols
//! * [`conversations`]: what Claude Code has kept of a directory
//! * [`store`]: conversations outlive the machine
//! * [`json`]: validation of the agent's lines
//! * [`process`]: the agent's process, its pipes and its exit
//! * [`supervisor`]: the agent's parent process, which leaves no orphans
//! * [`isolation`]: the OS sandbox and the key proxy
//! * [`recording`]: what is kept of a conversation on disk; [`redact`]: the
//!   secrets that are masked
//! * [`notify`]: telling a person that the agent waits
//! * [`lifeline`]: the end of a server with the program that started it
//! * [`warnings`]: the rate of what is logged

pub mod agent;
pub mod conversations;
mod embedded;
pub mod http;
pub mod isolation;
pub mod json;
pub mod lifeline;
pub mod notify;
pub mod process;
pub mod recording;
pub mod redact;
pub mod runs;
pub mod runtime;
pub mod session;
pub mod settings;
pub mod store;
pub mod supervisor;
#[cfg(test)]
mod tests;
pub mod warnings;
pub mod ws;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use agent::mode::Mode;
use claude_relay_listen::access::{AccessPolicy, AccessRules, Digest};
use http::claim_file::ClaimFile;
use http::{Files, KeptConversations, Routes, RunsOff};
use notify::Notifier;
use runs::Runs;
use runtime::Runtime;
use session::Session;
use settings::Settings;

pub use embedded::{Builder, Relay, RelayError, run_as_supervisor, run_subcommand};

/// Timeout for the last frames of all connections at shutdown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The session has panicked. The server cannot continue without it.
#[derive(Debug, thiserror::Error)]
#[error("the session has failed; this is a defect of the server: {0}")]
pub struct SessionPanicked(#[from] JoinError);

/// Other machines could use a server that has no token.
#[derive(Debug, thiserror::Error)]
#[error("{0} is reachable from other machines: set --auth-token, or pass --no-auth to allow it")]
pub struct OpenWithoutToken(SocketAddr);

/// Checks that the server may listen on `bound`.
///
/// # Errors
///
/// See [`OpenWithoutToken`].
pub fn check_exposure(bound: SocketAddr, settings: &Settings) -> Result<(), OpenWithoutToken> {
    match bound.ip().is_loopback() || settings.auth_token.is_some() || settings.no_auth {
        true => Ok(()),
        false => Err(OpenWithoutToken(bound)),
    }
}

/// Serves `listener` until it is told to stop: the first message on `stop`
/// starts a graceful shutdown, the second one stops at once.
///
/// # Errors
///
/// See [`SessionPanicked`].
pub async fn serve(
    listener: TcpListener,
    runtime: Arc<Runtime>,
    stop: mpsc::Receiver<()>,
) -> Result<(), SessionPanicked> {
    serve_claimed(listener, runtime, None, None, stop).await
}

/// Serves like [`serve`] a server that `claimed` says to be somebody's, and
/// keeps a claim in `claim_file`.
///
/// # Errors
///
/// See [`SessionPanicked`].
pub async fn serve_claimed(
    listener: TcpListener,
    runtime: Arc<Runtime>,
    claim_file: Option<ClaimFile>,
    claimed: Option<Digest>,
    mut stop: mpsc::Receiver<()>,
) -> Result<(), SessionPanicked> {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let settings = &runtime.settings;
    let access = AccessPolicy::new(AccessRules {
        loopback,
        token: settings.auth_token.clone(),
        claimed,
        allow_origins: settings.allow_origins.clone(),
        allow_hosts: settings.allow_hosts.clone(),
    });
    let has_runs = settings.max_runs > 0;
    let mode = settings.mode;
    let kept = KeptConversations::new(
        agent::claude_directory(settings),
        settings.workspace.clone(),
        runtime.store.clone(),
    );
    let files = Files::new(settings.workspace.clone(), mode);
    let notifier = runtime.notifier.clone();
    let (session, handle) = Session::new(Arc::clone(&runtime));
    let (runs, runs_handle) = Runs::new(runtime);
    let served_runs = match mode {
        _ if !has_runs => Err(RunsOff::Unknown),
        Mode::Safe | Mode::Agentic => Err(RunsOff::Mode(mode)),
        Mode::Ask | Mode::Unrestricted => Ok(runs_handle.clone()),
    };
    let (upgraded_to, mut upgraded) = mpsc::channel(1);
    let routes = Routes::new(access, handle.clone(), upgraded_to)
        .with_claim_file(claim_file)
        .with_conversations(kept)
        .with_files(files)
        .with_runs(served_runs);
    // In sets, so that they end when this future is dropped.
    let mut accepting = JoinSet::new();
    accepting.spawn(http::accept(listener, routes));
    let mut running = JoinSet::new();
    running.spawn(session.run());
    let mut running_runs = JoinSet::new();
    running_runs.spawn(runs.run());
    let mut connections = JoinSet::new();
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            Some(ended) = running.join_next() => break ended,
            // Who connects meanwhile is told: 503, and close 1001 on a WebSocket.
            Some(()) = stop.recv() => {
                stopping = true;
                handle.shut_down().await;
                runs_handle.shut_down().await;
            }
            Some(next) = upgraded.recv() => {
                connections.spawn(http::serve_websocket(next, handle.clone()));
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(
                        "a connection panicked, which is a defect of the server: {error}"
                    );
                }
            }
        }
    };
    accepting.abort_all();
    if !stopping {
        runs_handle.shut_down().await;
    }
    let runs_ended = async {
        loop {
            tokio::select! {
                _ = running_runs.join_next() => break,
                Some(()) = stop.recv() => runs_handle.shut_down().await,
            }
        }
    };
    runs_ended.await;
    let last_frames = async { while connections.join_next().await.is_some() {} };
    if timeout(CLOSE_TIMEOUT, last_frames).await.is_err() {
        tracing::warn!("connections that did not end within {CLOSE_TIMEOUT:?} are dropped");
    }
    notifier.iter().for_each(Notifier::tell_undelivered);
    Ok(ended?)
}
