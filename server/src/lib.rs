//! A server beside one long-lived Claude Code process: one WebSocket client at
//! a time, its messages in, every line of the agent out, byte for byte.
//!
//! To be read in this order:
//!
//! * [`settings`]: flags and environment, read once
//! * [`accept`]: how many connections there may be
//! * [`http`]: the routes; [`access`] decides who may come in, [`page`] holds
//!   the files of the page
//! * [`connection`]: one WebSocket; [`frame`] its headers
//! * [`session`]: the actor that owns all state
//! * [`slot`]: who holds the one place; [`replay`]: what clients are owed
//! * [`agent`]: what to run, what to say to it, what its lines mean; [`scan`]
//!   proves that they are JSON
//! * [`process`]: its pipes and its end; [`lines`]: whole lines out of chunks;
//!   [`limiter`]: how much noise may pass
//! * [`sandbox`]: what the kernel keeps it from
//! * [`key_proxy`]: keeps the credential out of its tools' reach
//! * [`capabilities`]: what can be done here; [`probe`] asks other programs
//! * [`supervisor`]: its parent, which leaves no orphan; [`handover`] and
//!   [`descendants`] are its tools

pub mod agent;
pub mod http;
pub mod isolation;
pub mod json;
pub mod log;
pub mod process;
pub mod runtime;
pub mod session;
pub mod settings;
pub mod supervisor;
#[cfg(test)]
mod tests;
pub mod ws;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use http::Routes;
use http::access::{AccessPolicy, AccessRules};
use runtime::Runtime;
use session::Session;

/// How long connections may take for their last frames at the end.
const LAST_FRAMES: Duration = Duration::from_secs(3);

/// The session has died of a defect of its own. Nothing can go on without it.
#[derive(Debug, thiserror::Error)]
#[error("the session has failed; this is a defect of the server: {0}")]
pub struct SessionPanicked(#[from] JoinError);

/// Serves `listener` until it is told to stop: by the first message on `stop`
/// everything is brought to an orderly end, by the second at once.
///
/// # Errors
///
/// See [`SessionPanicked`].
pub async fn serve(
    listener: TcpListener,
    runtime: Arc<Runtime>,
    mut stop: mpsc::Receiver<()>,
) -> Result<(), SessionPanicked> {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let settings = &runtime.settings;
    let access = AccessPolicy::new(AccessRules {
        loopback,
        token: settings.auth_token.clone(),
        allow_origins: settings.allow_origins.clone(),
        allow_hosts: settings.allow_hosts.clone(),
    });
    let (session, handle) = Session::new(runtime);
    let (upgraded_to, mut upgraded) = mpsc::channel(1);
    let routes = Routes::new(access, handle.clone(), upgraded_to);
    let accepting = tokio::spawn(http::accept::accept(listener, routes));
    let mut session = tokio::spawn(session.run());
    let mut connections = JoinSet::new();
    let ended = loop {
        tokio::select! {
            ended = &mut session => break ended,
            Some(()) = stop.recv() => {
                accepting.abort();
                handle.shut_down().await;
            }
            Some(next) = upgraded.recv() => {
                connections.spawn(http::serve_websocket(next, handle.clone()));
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(
                        "a connection is given up; this is a defect of the server: {error}"
                    );
                }
            }
        }
    };
    accepting.abort();
    let last_frames = async { while connections.join_next().await.is_some() {} };
    if timeout(LAST_FRAMES, last_frames).await.is_err() {
        tracing::warn!("connections that did not end within {LAST_FRAMES:?} are dropped");
    }
    Ok(ended?)
}
