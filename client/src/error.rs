//! Errors of the library.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Every failure of this crate. Each variant says what happened, to what, and
/// what a caller can do. Cloneable, so that every subscriber and every waiting
/// call learns the same reason.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    #[error("cannot connect to {address}: {source}")]
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
    #[error("no TLS connection to {address}: {source}")]
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
    /// The server did not accept the configuration, which names the field.
    #[error("the server refuses the configuration ({status}): {message}")]
    ConfigurationRefused {
        /// The HTTP status, 400 or 413.
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
    /// Another client asked to take over and got the place.
    #[error("another client took over: {message}")]
    Replaced {
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
    /// The server broke the WebSocket protocol or sent what is not JSON.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// A message is over the limit: one of the server's (the connection is
    /// closed, because the rest cannot be read), or one of ours.
    #[error("a message is over the limit of {limit_bytes} bytes")]
    TooBig {
        /// The limit.
        limit_bytes: usize,
    },
    /// The server closed the connection for good.
    #[error("the server closed the connection (code {code}): {reason}")]
    Closed {
        /// The WebSocket close code.
        code: u16,
        /// Its text.
        reason: String,
    },
    /// The connection broke. The client comes back by itself; this is only
    /// seen when it may not, or inside [`Error::ReconnectFailed`].
    #[error("the connection is lost: {reason}")]
    Lost {
        /// The sign of it.
        reason: String,
    },
    /// The connection could not be restored within its time.
    #[error("gave up after {attempts} attempts to reconnect in {elapsed:?}: {last}")]
    ReconnectFailed {
        /// The number of attempts.
        attempts: u32,
        /// The time that they took.
        elapsed: Duration,
        /// The failure of the last one.
        last: Box<Self>,
    },
    /// The program does not read its messages, so an answer behind them cannot
    /// be read either. Read them, or drop the subscription.
    #[error("messages that nobody reads are in the way")]
    SlowConsumer,
    /// The message is not one that a server takes; it was not sent.
    #[error("the message cannot be sent: {0}")]
    InvalidMessage(String),
    /// The message was not sent, for certain. It is safe to send it again.
    #[error("not delivered: {cause}")]
    NotDelivered {
        /// The reason.
        cause: Box<Self>,
    },
    /// The message was written, but the connection broke before the server
    /// confirmed that it had read it. Sending it again may do it twice: look
    /// at the stream first.
    #[error("it is not known whether the message was delivered: {cause}")]
    DeliveryUnknown {
        /// The end of the connection.
        cause: Box<Self>,
    },
    /// The agent answered a control request with an error.
    #[error("the agent refuses {subtype}: {message}")]
    ControlRefused {
        /// The request's subtype.
        subtype: String,
        /// The agent's words.
        message: String,
    },
    /// The agent process ended before the turn did. The next message starts a
    /// new one that goes on with the same conversation.
    #[error("the agent ended in the middle of the turn ({}){}", how(*.code, .signal.as_deref()), stderr_suffix(.stderr))]
    AgentExited {
        /// Its exit code, if it exited.
        code: Option<i32>,
        /// The signal that ended it, if one did.
        signal: Option<String>,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// The server was restarted in the middle of the turn, and its agent with
    /// it: no result can come. The next message goes to the new server.
    #[error("the server was restarted in the middle of the turn")]
    ServerRestarted,
    /// The server answered a message with an error instead of a turn.
    #[error("the server refuses the message: {0}")]
    MessageRefused(String),
    /// The server took the message, and it will not be run.
    #[error("the message is not run: {reason}")]
    Undelivered {
        /// The cause, in the server's words.
        reason: String,
    },
    /// The client was stopped.
    #[error("the client is stopped")]
    Stopped,
    /// The sandbox that the server ran in is gone, for certain, and with it
    /// the conversation.
    #[error("the sandbox {sandbox} is gone: its time ran out, or it was killed")]
    SandboxExpired {
        /// Its id.
        sandbox: String,
    },
    /// The sandbox that the server runs in was paused by somebody else.
    /// `Client::attach` resumes it.
    #[error("the sandbox {sandbox} is paused: attach to it to resume it")]
    SandboxPaused {
        /// Its id.
        sandbox: String,
    },
    /// The sandbox is there, but the server in it did not let this client in
    /// within the time for the start. A sandbox that was created for it has
    /// been killed.
    #[error("no server answers in the sandbox {sandbox} within {limit:?}: {last}")]
    NotStarted {
        /// Its id.
        sandbox: String,
        /// The limit that ran out.
        limit: Duration,
        /// The failure of the last attempt.
        last: Box<Self>,
    },
    /// The request is about a sandbox, and the server of this client
    /// runs in none that it knows of.
    #[error("this client is connected by an address and has no sandbox")]
    NoSandbox,
    /// E2B's API refused or did not answer: see the error inside.
    #[cfg(feature = "e2b")]
    #[error("{0}")]
    E2b(Arc<claude_relay_e2b::Error>),
}

#[cfg(feature = "e2b")]
impl From<claude_relay_e2b::Error> for Error {
    fn from(error: claude_relay_e2b::Error) -> Self {
        Self::E2b(Arc::new(error))
    }
}

fn how(code: Option<i32>, signal: Option<&str>) -> String {
    match (code, signal) {
        (_, Some(signal)) => signal.to_owned(),
        (Some(code), None) => format!("exit code {code}"),
        (None, None) => "reason unknown".to_owned(),
    }
}

fn stderr_suffix(stderr: &str) -> String {
    let stderr = stderr.trim();
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}

impl Error {
    /// Returns true if trying the same again can help without anybody changing
    /// anything. Busy, refused, too big and broken are not of this kind.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Error;
    ///
    /// assert!(Error::Unavailable { status: 503, message: "starting".into() }.is_transient());
    /// assert!(!Error::Busy { message: "taken".into() }.is_transient());
    /// ```
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Unavailable { .. }
            | Self::Lost { .. } => true,
            // What a proxy refuses by a rule it refuses again.
            Self::Proxy { status, .. } => status.is_none_or(|status| status >= 500),
            // A certificate that is refused stays refused; a connection that
            // is cut in the middle of the handshake does not.
            Self::Tls { source, .. } => source.kind() != io::ErrorKind::InvalidData,
            // Normal, going away, none given, cut, internal error, restart,
            // try later, bad gateway.
            Self::Closed { code, .. } => {
                matches!(code, 1000 | 1001 | 1005 | 1006 | 1011 | 1012 | 1014)
            }
            _ => false,
        }
    }

    pub(crate) fn lost(reason: impl ToString) -> Self {
        Self::Lost { reason: reason.to_string() }
    }

    pub(crate) fn not_delivered(cause: Self) -> Self {
        Self::NotDelivered { cause: Box::new(cause) }
    }

    pub(crate) fn delivery_unknown(cause: Self) -> Self {
        Self::DeliveryUnknown { cause: Box::new(cause) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_transient_errors_are_retried() {
        let closed = |code| Error::Closed { code, reason: String::new() };
        for code in [1000, 1001, 1006, 1011] {
            assert!(closed(code).is_transient(), "{code}");
        }
        for code in [1002, 1007, 1008, 1009, 4001, 4401] {
            assert!(!closed(code).is_transient(), "{code}");
        }
        assert!(!Error::Busy { message: String::new() }.is_transient());
        assert!(!Error::Unauthorized { message: String::new() }.is_transient());
        assert!(!Error::TooBig { limit_bytes: 1 }.is_transient());
        assert!(Error::Unavailable { status: 502, message: String::new() }.is_transient());
        let proxy = |status| Error::Proxy {
            proxy: String::new(),
            variable: "HTTPS_PROXY",
            status,
            reason: String::new(),
        };
        assert!(proxy(None).is_transient() && proxy(Some(503)).is_transient());
        assert!(!proxy(Some(407)).is_transient() && !proxy(Some(403)).is_transient());
    }

    #[test]
    fn the_agents_end_is_told_whole() {
        let error = Error::AgentExited { code: Some(3), signal: None, stderr: "boom\n".into() };
        assert_eq!(
            error.to_string(),
            "the agent ended in the middle of the turn (exit code 3): boom"
        );
    }
}
