//! Keeps the credential out of the reach of the agent's tools.
//!
//! Every tool of the agent inherits its environment, and with it the key. With
//! `--key-proxy` the agent gets a placeholder key instead, and the address of this
//! proxy on loopback for its API: the proxy puts the real credential in its
//! place on the way out. A placeholder key is drawn for each start of the agent and
//! is good for its life and for the Messages API alone.
//!
//! * [`substitute`](KeyProxy::substitute) turns an environment into one without secrets
//! * [`credentials`] is what it does, pure
//! * [`forward`] passes requests on
//!
//! What it does not do: a tool that finds the placeholder key can ask the model
//! questions with it, at the user's cost, as long as the agent lives.

pub mod credentials;
pub mod forward;

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use credentials::{SubstituteError, Upstream};
use forward::Forwarder;

/// How many connections the agent may have open. The CLI has a handful, one
/// for each request under way.
const CONNECTIONS: usize = 64;

/// How long to wait when the system has no descriptor for a connection.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Where requests of the running agent go; nowhere before the first start.
type Current = Arc<Mutex<Option<Arc<Upstream>>>>;

/// The proxy, which runs in a task of its own until the server ends.
#[derive(Debug, Clone)]
pub struct KeyProxy {
    address: SocketAddr,
    current: Current,
}

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No port on loopback.
    #[error("--key-proxy: no port of 127.0.0.1 can be had: {0}")]
    Listen(#[from] io::Error),
    /// The system's certificates.
    #[error(
        "--key-proxy: the system's root certificates cannot be read: {0}; install them (`apt-get install ca-certificates`) or name them with SSL_CERT_FILE"
    )]
    Certificates(io::Error),
}

impl KeyProxy {
    /// Listens on a free port of loopback and serves it.
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

    /// `env` with placeholder keys for its credentials, and this proxy as its API.
    /// From now on the placeholder keys of an earlier agent are good for nothing.
    ///
    /// # Errors
    ///
    /// When there is nothing to keep, or it goes where the proxy cannot.
    pub fn substitute(
        &self,
        env: Vec<(OsString, OsString)>,
    ) -> Result<Vec<(OsString, OsString)>, SubstituteError> {
        let (env, upstream) =
            credentials::substitute(env, &format!("http://{}", self.address), random_placeholder)?;
        // A holder that panicked cannot have left half a value.
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(upstream));
        Ok(env)
    }
}

/// Draws what the agent gets in place of a credential; its prefix says where
/// it comes from.
fn random_placeholder() -> String {
    format!("sk-ant-relay-{}", claude_relay_random::hexadecimal::<32>())
}

async fn serve(listener: TcpListener, forwarder: Arc<Forwarder>, current: Current) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (forwarder, current) = (Arc::clone(&forwarder), Arc::clone(&current));
                tokio::spawn(async move {
                    forwarder.serve(stream, &current).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("a connection to the key proxy could not be accepted: {error}");
                tokio::time::sleep(OUT_OF_DESCRIPTORS).await;
            }
        }
    }
}

/// The upstream of the running agent.
fn upstream(current: &Current) -> Option<Arc<Upstream>> {
    current.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
