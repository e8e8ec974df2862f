//! A server beside one long-lived Claude Code process: one WebSocket client at
//! a time, its messages in, every line of the agent out, byte for byte.
//!
//! To be read in this order:
//!
//! * [`settings`]: flags and environment, read once
//! * [`http`]: the routes; [`access`] decides who may come in, [`page`] holds
//!   the files of the page
//! * [`connection`]: one WebSocket; [`frame`] its headers
//! * [`session`]: the actor that owns all state
//! * [`slot`]: who holds the one place; [`replay`]: what clients are owed
//! * [`agent`]: what to run, what to say to it, what its lines mean; [`scan`]
//!   proves that they are JSON
//! * [`process`]: its pipes and its end; [`lines`]: whole lines out of chunks;
//!   [`limiter`]: how much noise may pass
//! * [`keeper`]: its parent, which leaves no orphan; [`handover`] and
//!   [`descendants`] are its tools

pub mod access;
pub mod agent;
pub mod connection;
pub mod descendants;
pub mod frame;
pub mod handover;
pub mod http;
pub mod keeper;
pub mod limiter;
pub mod lines;
pub mod log;
pub mod page;
pub mod process;
pub mod random;
pub mod replay;
pub mod scan;
pub mod session;
pub mod settings;
pub mod signals;
pub mod slot;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use access::{Access, AccessRules};
use http::Routes;
use session::Session;
use settings::Settings;

/// How many TCP connections are served at the same time. One client is all
/// there is; the rest is health checks, a browser's own and strangers.
const CONNECTIONS: usize = 1024;

/// How long connections may take for their last frames at the end.
const LAST_FRAMES: Duration = Duration::from_secs(3);

/// How long to wait when the system has no descriptor for a connection.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Serves `listener` until it is told to stop: by the first message on `stop`
/// everything is brought to an orderly end, by the second at once.
pub async fn serve(listener: TcpListener, settings: Arc<Settings>, mut stop: mpsc::Receiver<()>) {
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let access = Arc::new(Access::new(AccessRules {
        loopback,
        token: settings.auth_token.clone(),
        allow_origins: settings.allow_origins.clone(),
        allow_hosts: settings.allow_hosts.clone(),
    }));
    let (session, handle) = Session::new(settings);
    let (upgraded_to, upgraded) = mpsc::channel(1);
    let routes = Routes { access, session: handle.clone(), upgraded: upgraded_to };
    let connections = tokio::spawn(http::serve_upgraded(upgraded, handle.clone()));
    let accepting = tokio::spawn(accept(listener, routes));
    let session = session.run();
    tokio::pin!(session);
    loop {
        tokio::select! {
            () = &mut session => break,
            Some(()) = stop.recv() => {
                accepting.abort();
                handle.shut_down().await;
            }
        }
    }
    accepting.abort();
    // With the last sender gone the list of connections is complete.
    let _ = accepting.await;
    if let Ok(Ok(mut connections)) = timeout(LAST_FRAMES, connections).await {
        let _ =
            timeout(LAST_FRAMES, async { while connections.join_next().await.is_some() {} }).await;
    }
}

async fn accept(listener: TcpListener, routes: Routes) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let routes = routes.clone();
                tokio::spawn(async move {
                    http::serve(stream, routes).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
}
