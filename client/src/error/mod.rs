//! Errors of the library: one enum for each operation, with its causes as
//! sources, and [`Error`] over all of them.
//!
//! The text of an error does not repeat its source. All are cloneable, so that
//! every subscriber and every waiting call learns the same reason.

#[cfg(feature = "e2b")]
use std::sync::Arc;

mod agent;
mod connection;
mod file;
mod request;

pub use self::agent::{ControlError, SendError, TurnError};
pub use self::connection::{ConnectError, ConnectionError};
pub use self::file::FileError;
pub use self::request::{ConfigureError, RequestError};

/// Any failure of this crate, for programs that handle all of them alike.
///
/// Every method returns the enum of its operation, which `?` turns into this.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A request to one of the server's routes failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The configuration was not set.
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    /// The client could not connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection has ended.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A message was not delivered, or perhaps not.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A control request failed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A turn failed.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// A file of the workspace was not read, written, listed, removed or watched.
    #[error(transparent)]
    File(#[from] FileError),
    /// The sandbox of the server cannot be used.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// The sandbox of the server cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The request is about a sandbox, and the server of this client
    /// runs in none that it knows of.
    #[error("this client is connected by an address and has no sandbox")]
    NoSandbox,
    /// The sandbox that the server ran in is gone, for certain, and with it
    /// the conversation.
    #[error("the sandbox {sandbox} is gone: its time ran out, or it was killed")]
    Expired {
        /// Its id.
        sandbox: String,
    },
    /// The sandbox that the server runs in was paused by somebody else.
    /// `Client::attach` resumes it.
    #[error("the sandbox {sandbox} is paused: attach to it to resume it")]
    Paused {
        /// Its id.
        sandbox: String,
    },
    /// E2B's API refused or did not answer: see the error inside.
    #[cfg(feature = "e2b")]
    #[error(transparent)]
    Api(Arc<claude_relay_e2b::Error>),
}

#[cfg(feature = "e2b")]
impl From<claude_relay_e2b::Error> for SandboxError {
    fn from(error: claude_relay_e2b::Error) -> Self {
        Self::Api(Arc::new(error))
    }
}

#[cfg(feature = "e2b")]
impl From<claude_relay_e2b::Error> for Error {
    fn from(error: claude_relay_e2b::Error) -> Self {
        Self::Sandbox(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_transient_errors_are_retried() {
        let closed = |code| ConnectionError::Closed { code, reason: String::new() };
        for code in [1000, 1001, 1006, 1011] {
            assert!(closed(code).is_transient(), "{code}");
        }
        for code in [1002, 1007, 1008, 1009, 4001, 4401] {
            assert!(!closed(code).is_transient(), "{code}");
        }
        assert!(!ConnectError::Busy { message: String::new() }.is_transient());
        assert!(!RequestError::Unauthorized { message: String::new() }.is_transient());
        assert!(!ConnectionError::TooBig { limit_bytes: 1 }.is_transient());
        assert!(RequestError::Unavailable { status: 502, message: String::new() }.is_transient());
        let proxy = |status| RequestError::Proxy {
            proxy: String::new(),
            variable: "HTTPS_PROXY",
            status,
            reason: String::new(),
        };
        assert!(proxy(None).is_transient() && proxy(Some(503)).is_transient());
        assert!(!proxy(Some(407)).is_transient() && !proxy(Some(403)).is_transient());
    }

    #[test]
    fn the_cause_of_a_lost_message_is_reached_through_the_sources() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let connect =
            RequestError::Connect { address: "localhost:1".to_owned(), source: Arc::new(refused) };
        let ended = ConnectionError::ReconnectFailed {
            attempts: 3,
            elapsed: Duration::from_secs(1),
            source: Box::new(connect.into()),
        };
        let error: Error = TurnError::from(SendError::NotDelivered { source: ended }).into();
        let told: Vec<_> = std::iter::successors(error.source(), |cause| (*cause).source())
            .map(ToString::to_string)
            .collect();
        assert_eq!(error.to_string(), "not delivered");
        assert_eq!(
            told,
            [
                "gave up after 3 attempts to reconnect in 1s",
                "cannot connect to localhost:1",
                "connection refused"
            ]
        );
    }

    #[test]
    fn a_refused_client_is_busy_at_the_start_and_during_a_connection() {
        let busy = ConnectionError::Busy { message: "taken".to_owned() };
        assert!(matches!(ConnectError::from(busy), ConnectError::Busy { .. }));
        let busy = ConnectError::Busy { message: "taken".to_owned() };
        assert!(matches!(busy.on_reconnect(), ConnectionError::Busy { .. }));
    }
}
