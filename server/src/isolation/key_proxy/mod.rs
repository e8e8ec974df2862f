//! Key proxy: keeps the credential out of the agent's environment.
//!
//! Every tool of the agent inherits its environment, and with it the key. With
//! `--key-proxy` the agent gets a placeholder key instead, and the address of
//! this proxy on loopback as its API. The proxy replaces the placeholder key by
//! the real credential in each request. A new placeholder key is drawn for each
//! start of the agent; it is valid while that agent runs, and for the Messages
//! API only, or for the Responses API where the agent is Codex.
//!
//! * [`substitute`](KeyProxy::substitute) replaces the secrets of an
//!   environment
//! * [`credentials`] is the pure part of it
//! * [`forward`] forwards requests
//!
//! Not prevented: a tool that finds the placeholder key can send requests to
//! the model, at the user's cost, while the agent runs.

pub mod api;
pub mod credentials;
pub mod forward;

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;

use api::Api;
use claude_relay_listen::connection_limit::ConnectionLimit;
use credentials::{SubstituteError, Upstream};
use forward::Forwarder;

/// Maximum number of connections from the agent. The CLI has a handful, one for
/// each request in progress. Beyond it the oldest one that has not shown a
/// placeholder key makes room.
const MAX_CONNECTIONS: usize = 64;

/// Delay before the next accept after one that failed, usually for want of a
/// file descriptor.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Upstream of the running agent; `None` before the first start.
type Current = Arc<Mutex<Option<Arc<Upstream>>>>;

/// Handle of the proxy, whose task runs until the server ends.
#[derive(Debug, Clone)]
pub struct KeyProxy {
    address: SocketAddr,
    current: Current,
}

/// Reason for which the proxy cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port of 127.0.0.1 is available.
    #[error("--key-proxy: no port of 127.0.0.1 is available: {0}")]
    Listen(#[from] io::Error),
    /// The system's root certificates cannot be read.
    #[error(
        "--key-proxy: the system's root certificates cannot be read: {0}; install them (`apt-get install ca-certificates`) or name them with SSL_CERT_FILE"
    )]
    Certificates(io::Error),
}

impl KeyProxy {
    /// Listens on a free port of loopback and starts the proxy.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start() -> Result<Self, StartError> {
        let forwarder = Forwarder::new().map_err(StartError::Certificates)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let current = Current::default();
        tokio::spawn(serve(listener, Arc::new(forwarder), Arc::clone(&current)));
        Ok(Self { address, current })
    }

    /// Returns `env` with placeholder keys for its credentials and this proxy
    /// as its API. The placeholder keys of an earlier agent become invalid.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no credential, or the proxy does not
    /// support the configuration.
    pub fn substitute(
        &self,
        env: Vec<(OsString, OsString)>,
        api: Api,
    ) -> Result<Vec<(OsString, OsString)>, SubstituteError> {
        let (env, upstream) =
            credentials::substitute(env, api, &format!("http://{}", self.address), placeholder)?;
        // The value is replaced in one step, so it is valid after a panic.
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(upstream));
        Ok(env)
    }
}

async fn serve(listener: TcpListener, forwarder: Arc<Forwarder>, current: Current) {
    let places = ConnectionLimit::new(MAX_CONNECTIONS);
    loop {
        let Some(place) = places.take().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (forwarder, current) = (Arc::clone(&forwarder), Arc::clone(&current));
                tokio::spawn(async move {
                    tokio::select! {
                        () = forwarder.serve(stream, &current, &place) => {}
                        () = place.evicted() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!("a connection to the key proxy could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

/// Draws a placeholder key of 256 bits, whose prefix names its origin.
fn placeholder() -> String {
    format!("sk-ant-relay-{}", claude_relay_random::hexadecimal::<32>())
}

/// Returns the upstream of the running agent.
fn upstream(current: &Current) -> Option<Arc<Upstream>> {
    current.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
