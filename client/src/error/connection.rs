//! Errors of connecting, and the ends of a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::{ConfigureError, RequestError, SandboxError};

/// A client could not connect.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A request failed, that for the WebSocket among them.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server did not accept the configuration, which names the field.
    #[error("the server refuses the configuration ({status}): {message}")]
    ConfigurationRefused {
        /// The HTTP status: 400, 413 or 422.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// Another client holds the only place. It is never retried by itself: two
    /// clients would throw each other out. Try later, or take over expressly.
    #[error("the server is taken: {message}")]
    Busy {
        /// The server's words.
        message: String,
    },
    /// The connection ended before the server let this client in.
    #[error(transparent)]
    Connection(ConnectionError),
    /// The sandbox of the server could not be created or reached.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The sandbox is there, but the server in it did not let this client in
    /// within the time for the start. A sandbox that was created for it has
    /// been killed.
    #[error("no server answers in the sandbox {sandbox} within {limit:?}")]
    ServerNotReady {
        /// Its id.
        sandbox: String,
        /// The limit that ran out.
        limit: Duration,
        /// The failure of the last attempt.
        source: Box<Self>,
    },
}

impl From<ConfigureError> for ConnectError {
    fn from(error: ConfigureError) -> Self {
        match error {
            ConfigureError::Refused { status, message } => {
                Self::ConfigurationRefused { status, message }
            }
            ConfigureError::Request(error) => Self::Request(error),
        }
    }
}

impl From<ConnectionError> for ConnectError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Busy { message } => Self::Busy { message },
            ConnectionError::Sandbox(error) => Self::Sandbox(error),
            error => Self::Connection(error),
        }
    }
}

#[cfg(feature = "e2b")]
impl From<claude_relay_e2b::Error> for ConnectError {
    fn from(error: claude_relay_e2b::Error) -> Self {
        Self::Sandbox(error.into())
    }
}

impl ConnectError {
    /// Returns true if trying the same again can help without anybody changing
    /// anything. Busy and refused are not of this kind.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::ConnectError;
    ///
    /// assert!(!ConnectError::Busy { message: "taken".into() }.is_transient());
    /// ```
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Request(error) => error.is_transient(),
            Self::Connection(error) => error.is_transient(),
            _ => false,
        }
    }

    /// The end of a connection that this failure keeps from being restored.
    pub(crate) fn on_reconnect(self) -> ConnectionError {
        match self {
            Self::Busy { message } => ConnectionError::Busy { message },
            Self::Connection(error) => error,
            Self::Sandbox(error) => ConnectionError::Sandbox(error),
            error => ConnectionError::ReconnectRefused { source: Box::new(error) },
        }
    }
}

/// The reason why a connection has ended for good. One that breaks is restored
/// first.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The connection broke, and the client may not restore it.
    #[error("the connection is lost")]
    Lost {
        /// The system's reason.
        source: Arc<io::Error>,
    },
    /// The server gave no sign of life.
    #[error("the connection is lost: no sign of life for {limit:?}")]
    Unresponsive {
        /// The limit that ran out.
        limit: Duration,
    },
    /// The server closed the connection for good.
    #[error("the server closed the connection (code {code}): {reason}")]
    Closed {
        /// The WebSocket close code.
        code: u16,
        /// Its text.
        reason: String,
    },
    /// Another client holds the only place.
    #[error("the server is taken: {message}")]
    Busy {
        /// The server's words.
        message: String,
    },
    /// Another client asked to take over and got the place.
    #[error("another client took over: {message}")]
    Replaced {
        /// The server's words.
        message: String,
    },
    /// The server broke the WebSocket protocol or sent what is not JSON.
    #[error("the server broke the protocol: {reason}")]
    Protocol {
        /// The fault.
        reason: String,
    },
    /// A message of the server is over the limit, or one of this client was
    /// over the server's. The rest of the stream cannot be read.
    #[error("a message is over the limit of {limit_bytes} bytes")]
    TooBig {
        /// The limit.
        limit_bytes: usize,
    },
    /// The connection could not be restored within its time.
    #[error("gave up after {attempts} attempts to reconnect in {elapsed:?}")]
    ReconnectFailed {
        /// The number of attempts.
        attempts: u32,
        /// The time that they took.
        elapsed: Duration,
        /// The failure of the last one.
        source: Box<ConnectError>,
    },
    /// The server does not let this client in again.
    #[error("cannot reconnect")]
    ReconnectRefused {
        /// The reason.
        source: Box<ConnectError>,
    },
    /// The sandbox of the server is gone or paused.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The client was stopped.
    #[error("the client is stopped")]
    Stopped,
}

impl ConnectionError {
    /// Returns true if a new connection can help without anybody changing
    /// anything. Replaced, too big and stopped are not of this kind.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::ConnectionError;
    ///
    /// let restart = ConnectionError::Closed { code: 1012, reason: String::new() };
    /// assert!(restart.is_transient());
    /// ```
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Unresponsive { .. } => true,
            // Normal, going away, none given, cut, internal error, restart,
            // try later, bad gateway.
            Self::Closed { code, .. } => {
                matches!(code, 1000 | 1001 | 1005 | 1006 | 1011 | 1012 | 1014)
            }
            _ => false,
        }
    }

    pub(crate) fn lost(error: io::Error) -> Self {
        Self::Lost { source: Arc::new(error) }
    }

    pub(crate) fn protocol(reason: impl ToString) -> Self {
        Self::Protocol { reason: reason.to_string() }
    }
}
