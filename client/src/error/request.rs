//! Errors of requests to the server's routes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A request to one of the server's routes failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The address cannot be used. Mend it; nothing was sent.
    #[error("the address {url:?} cannot be used: {reason}")]
    Address {
        /// The address as it was given.
        url: String,
        /// The fault.
        reason: String,
    },
    /// An option of the builder cannot be used. Nothing was sent.
    #[error("{option}: {reason}")]
    InvalidOption {
        /// The option's name.
        option: &'static str,
        /// The fault.
        reason: String,
    },
    /// A token or credential would cross a network unencrypted. Use `https`
    /// or `wss`, or allow it with [`ClientBuilder::allow_plaintext`].
    ///
    /// [`ClientBuilder::allow_plaintext`]: crate::ClientBuilder::allow_plaintext
    #[error(
        "a secret would be sent to {host} unencrypted: use https or wss, or allow it expressly"
    )]
    InsecureTransport {
        /// The host that is not this machine.
        host: String,
    },
    /// No connection to the server: is it running, and is this its address?
    #[error("cannot connect to {address}")]
    Connect {
        /// Host and port.
        address: String,
        /// The system's reason.
        source: Arc<io::Error>,
    },
    /// No way through the proxy that a variable names, such as `HTTPS_PROXY`.
    #[error("no way through the proxy {proxy} ({variable}): {reason}")]
    Proxy {
        /// The proxy's address, without credentials.
        proxy: String,
        /// The variable that names it.
        variable: &'static str,
        /// The status of its refusal, if it gave one.
        status: Option<u16>,
        /// The reason.
        reason: String,
    },
    /// The TLS handshake failed, most often on the certificate.
    #[error("no TLS connection to {address}")]
    Tls {
        /// Host and port.
        address: String,
        /// The reason.
        source: Arc<io::Error>,
    },
    /// Something took longer than its limit.
    #[error("{what} took longer than {limit:?}")]
    Timeout {
        /// The step that took too long.
        what: &'static str,
        /// The limit that ran out.
        limit: Duration,
    },
    /// The connection broke before the whole answer was there.
    #[error("the connection is lost")]
    Interrupted {
        /// The reason.
        source: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// 401: the token is missing or wrong.
    #[error("the server wants another token (401): {message}")]
    Unauthorized {
        /// The server's words.
        message: String,
    },
    /// 403: the server, or a proxy before it, does not let this client in.
    #[error("the server refuses this client (403): {message}")]
    Forbidden {
        /// The server's words.
        message: String,
    },
    /// 404: the server does not know the run of `/agent`, or no longer.
    #[error("the server refuses the run (404): {message}")]
    RunLost {
        /// The server's words.
        message: String,
    },
    /// The server is not ready, or a proxy cannot reach it. Try again.
    #[error("the server is unavailable ({status}): {message}")]
    Unavailable {
        /// The HTTP status: 409 (a sandbox that is just being paused or
        /// resumed), 429, 500, 502, 503 or 504.
        status: u16,
        /// The answer's text, cut short.
        message: String,
    },
    /// The peer is no claude-relay server. Check the address.
    #[error("{address} is no claude-relay server: {reason}")]
    NotARelay {
        /// The address of the peer.
        address: String,
        /// The sign of it.
        reason: String,
    },
}

impl RequestError {
    /// Returns true if trying the same again can help without anybody changing
    /// anything.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::RequestError;
    ///
    /// let starting = RequestError::Unavailable { status: 503, message: "starting".into() };
    /// assert!(starting.is_transient());
    /// ```
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Interrupted { .. }
            | Self::Unavailable { .. } => true,
            // What a proxy refuses by a rule it refuses again.
            Self::Proxy { status, .. } => status.is_none_or(|status| status >= 500),
            // A certificate that is refused stays refused; a connection that
            // is cut in the middle of the handshake does not.
            Self::Tls { source, .. } => source.kind() != io::ErrorKind::InvalidData,
            _ => false,
        }
    }
}

/// The server did not take a configuration.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigureError {
    /// The server refuses it, and names the field.
    #[error("the server refuses the configuration ({status}): {message}")]
    Refused {
        /// The HTTP status: 400, 413 or 422.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
}
