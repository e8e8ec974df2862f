//! Errors of requests, one variant for each case that a caller handles
//! differently.

use std::time::Duration;

use claude_relay_protocol::proxy::Proxy;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::Deserialize;

/// Longest text of a server that is kept. An error page can have any length.
const MAX_MESSAGE_CHARS: usize = 2000;
/// Error codes of the API for a lack of capacity, after which nothing was
/// started.
const CAPACITY_CODES: [&str; 3] =
    ["sandbox_capacity_unavailable", "sandbox_no_compatible_node", "sandbox_placement_timeout"];
/// Error code of the API for a sandbox that it will not make.
const CREATE_REFUSED: &str = "sandbox_create_refused";
/// Error code of a start that is under way already.
const START_IN_FLIGHT: &str = "sandbox_start_in_flight";
/// Error code of a snapshot whose memory cannot be resumed.
const GUEST_UNRESPONSIVE: &str = "sandbox_snapshot_guest_agent_unresponsive";

/// Refusal by a server: its message and the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A description of the operation: `create a sandbox of
    /// "claude-agent-server"`.
    pub operation: String,
    /// The HTTP status.
    pub status: u16,
    /// The API's machine-readable code, if any, such as
    /// `sandbox_capacity_unavailable`; for envd the code of the call, such as
    /// `not_found`.
    pub error_code: Option<String>,
    /// The server's own message, cut after 2000 characters.
    pub message: String,
    /// The server's own word on whether the request is to be repeated.
    pub should_retry: Option<bool>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot {}: {}: {}", self.operation, self.status, self.message)
    }
}

/// Cause of an error, of any type.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Reason for a failed request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot be used; nothing was sent.
    #[error(transparent)]
    Settings(#[from] crate::settings::SettingsError),
    /// 401: the key is missing, malformed or unknown.
    #[error("{0} (check E2B_API_KEY)")]
    Unauthorized(Refusal),
    /// 401 of a sandbox: it does not take the token that the API gave for it.
    #[error("{0} (the sandbox does not take its token: connect to it anew)")]
    SandboxUnauthorized(Refusal),
    /// 403: the team is blocked, or the object belongs to another team.
    #[error("{0}")]
    Forbidden(Refusal),
    /// 404: the sandbox, template or file does not exist.
    #[error("{0}")]
    NotFound(Refusal),
    /// 409: the state does not allow it, or the name is taken.
    #[error("{0}")]
    Conflict(Refusal),
    /// 409: the sandbox is between two states. Nothing happened; a later retry
    /// is safe.
    #[error("{0} (it is being paused or resumed: try again in a moment)")]
    InTransition(Refusal),
    /// 409: when the sandbox was paused, its guest did not respond, so its
    /// memory cannot be resumed.
    #[error("{0} (its memory cannot be resumed: reboot it from its disk, with `resume --reboot`)")]
    GuestUnresponsive(Refusal),
    /// 429: too many requests, sandboxes or builds. With `retry_after` the
    /// request was already repeated as often as allowed. Without it the account
    /// has reached a limit, which waiting does not change.
    #[error("{refusal}")]
    RateLimited {
        /// The refusal.
        refusal: Refusal,
        /// The delay that the server requested.
        retry_after: Option<Duration>,
    },
    /// 503 or 504 for lack of capacity. Nothing was started; a later retry is
    /// safe.
    #[error("{0} (no capacity at the moment: try again later)")]
    Busy(Refusal),
    /// Another 4xx: the request itself is invalid.
    #[error("{0}")]
    Rejected(Refusal),
    /// Another 5xx. It is not known whether the request had an effect.
    #[error("{0} (the server failed; whether the request had an effect is not known)")]
    Failed(Refusal),
    /// The sandbox proxy does not know the sandbox: it was killed, its time ran
    /// out, or it is paused.
    #[error("sandbox {sandbox} is gone: it was killed, paused, or its time ran out ({message})")]
    SandboxGone {
        /// The sandbox's id.
        sandbox: String,
        /// The proxy's message.
        message: String,
    },
    /// The sandbox runs, but nothing listens on the port yet.
    #[error("sandbox {sandbox} runs, but nothing listens on its port {port}")]
    PortClosed {
        /// The sandbox's id.
        sandbox: String,
        /// The requested port.
        port: u16,
    },
    /// No answer: the connection failed or was cut. The request certainly had
    /// no effect only if `sent` is false.
    #[error("cannot {operation}: no answer from {host}{}: {}", by(.proxy), failure(.proxy, .source))]
    Unreachable {
        /// A description of the operation.
        operation: String,
        /// The host.
        host: String,
        /// Set if the request may have been sent.
        sent: bool,
        /// The proxy on the way, if the way was not found.
        proxy: Option<Box<Proxy>>,
        /// The error of the transport.
        source: reqwest::Error,
    },
    /// No complete answer within the time limit. The request may have had an
    /// effect.
    #[error("cannot {operation}: no answer within {after:?}")]
    TimedOut {
        /// A description of the operation.
        operation: String,
        /// The time limit.
        after: Duration,
    },
    /// The answer does not match the specification.
    #[error("cannot {operation}: the answer was not understood: {source}")]
    Malformed {
        /// A description of the operation.
        operation: String,
        /// The problem with the answer.
        source: Cause,
    },
    /// An argument that cannot be sent, such as a path with a NUL in it.
    #[error("{0}")]
    Argument(String),
    /// TLS could not be set up, for instance because the machine has no
    /// certificates.
    #[error("TLS could not be set up: {0}")]
    Tls(#[source] Cause),
}

impl Error {
    /// Returns the error for an answer with a status from 300 on: one of the
    /// control plane, of envd, or of the sandbox proxy, which answers in place
    /// of a sandbox, also to WebSocket upgrades.
    #[must_use]
    pub fn of_answer(operation: &str, status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            message: Option<String>,
            #[serde(rename = "error_code")]
            error_code: Option<String>,
            // A number from the control plane, a string from envd.
            code: Option<serde_json::Value>,
            // Only the sandbox proxy sends these two.
            sandbox_id: Option<String>,
            port: Option<u16>,
        }
        let said: Body = serde_json::from_slice(body).unwrap_or_default();
        let message = match &said.message {
            Some(message) => cut(message),
            None => cut(String::from_utf8_lossy(body).trim()),
        };
        let of_proxy = said.sandbox_id.is_some();
        match (status, said.sandbox_id, said.port) {
            (502, Some(sandbox), Some(port)) => return Self::PortClosed { sandbox, port },
            (502, Some(sandbox), None) => return Self::SandboxGone { sandbox, message },
            _ => {}
        }
        let word = said.code.and_then(|code| code.as_str().map(str::to_owned));
        let error_code = said.error_code.or(word);
        let no_capacity = error_code.as_deref().is_some_and(|code| CAPACITY_CODES.contains(&code));
        let retry_after = headers
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        let should_retry = headers
            .get("should-retry")
            .and_then(|value| value.to_str().ok())
            .map(|value| value.trim().eq_ignore_ascii_case("true"));
        let code = error_code.as_deref();
        let is_refused = code == Some(CREATE_REFUSED);
        let in_transition = of_proxy || code == Some(START_IN_FLIGHT);
        let unresponsive = code == Some(GUEST_UNRESPONSIVE);
        let operation = operation.to_owned();
        let refusal = Refusal { operation, status, error_code, message, should_retry };
        match status {
            _ if is_refused => Self::Rejected(refusal),
            409 if unresponsive => Self::GuestUnresponsive(refusal),
            409 if in_transition => Self::InTransition(refusal),
            401 => Self::Unauthorized(refusal),
            403 => Self::Forbidden(refusal),
            404 => Self::NotFound(refusal),
            409 => Self::Conflict(refusal),
            429 => Self::RateLimited { refusal, retry_after },
            503 | 504 if no_capacity => Self::Busy(refusal),
            300..=499 => Self::Rejected(refusal),
            _ => Self::Failed(refusal),
        }
    }

    /// Returns the refusal, if a server refused the request.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Unauthorized(refusal)
            | Self::SandboxUnauthorized(refusal)
            | Self::InTransition(refusal)
            | Self::GuestUnresponsive(refusal)
            | Self::Forbidden(refusal)
            | Self::NotFound(refusal)
            | Self::Conflict(refusal)
            | Self::RateLimited { refusal, .. }
            | Self::Busy(refusal)
            | Self::Rejected(refusal)
            | Self::Failed(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Returns whether the request may have had its effect all the same: a sandbox
    /// may have been made, though no answer names it.
    #[must_use]
    pub fn may_have_had_effect(&self) -> bool {
        match self {
            Self::Unreachable { sent, .. } => *sent,
            // A gateway of an API, or something else in its place.
            Self::PortClosed { .. } | Self::SandboxGone { .. } => true,
            Self::TimedOut { .. } | Self::Malformed { .. } | Self::Failed(_) => true,
            _ => false,
        }
    }

    /// Returns whether the server showed a certificate that is not trusted here:
    /// [`Options::root_certificates`](crate::settings::Options::root_certificates)
    /// adds one.
    #[must_use]
    pub fn is_untrusted_certificate(&self) -> bool {
        let Self::Unreachable { source, .. } = self else { return false };
        let causes =
            std::iter::successors(Some(source as &(dyn std::error::Error + 'static)), |e| {
                e.source()
            });
        causes.into_iter().any(is_untrusted)
    }

    /// Returns whether the same request may succeed later and can be repeated
    /// safely if it has no effect besides its answer.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Busy(_)
                | Self::InTransition(_)
                | Self::Failed(_)
                | Self::Unreachable { .. }
                | Self::TimedOut { .. }
                | Self::RateLimited { retry_after: Some(_), .. }
        )
    }
}

/// Returns whether an error is that of a certificate. An error of input and output
/// may wrap it several times, and its `source` passes over what it wraps.
fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_)))
        || wrapped.is_some_and(|wrapped| is_untrusted(wrapped))
}

/// Returns the words for the proxy on the way.
fn by(proxy: &Option<Box<Proxy>>) -> String {
    let by = |proxy: &Proxy| format!(" through the proxy {proxy} ({})", proxy.variable);
    proxy.as_deref().map(by).unwrap_or_default()
}

/// Returns the words for a failure of the transport.
fn failure(proxy: &Option<Box<Proxy>>, source: &reqwest::Error) -> String {
    let told = innermost(source).to_string();
    match proxy {
        Some(proxy) if told.contains("proxy authorization required") => format!(
            "it refuses user and password, or wants them (407): {} gives them, as in http://USER:PASSWORD@HOST:PORT",
            proxy.variable
        ),
        _ => told,
    }
}

/// Returns the innermost cause of an error, the only one that says what failed.
fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a dyn std::error::Error {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error)
}

/// Cuts a server's text to the length that is kept.
pub(crate) fn cut(text: &str) -> String {
    claude_relay_protocol::text::cut(text, MAX_MESSAGE_CHARS).into_owned()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn refusal_of(status: u16, body: &str) -> Error {
        Error::of_answer("ask", status, &HeaderMap::new(), body.as_bytes())
    }

    #[test]
    fn a_refusal_keeps_the_words_of_the_api() {
        let error = refusal_of(401, r#"{"code":401,"message":"Invalid API key"}"#);
        assert_eq!(error.to_string(), "cannot ask: 401: Invalid API key (check E2B_API_KEY)");
        let error = refusal_of(502, "<html>Bad gateway</html>");
        assert!(matches!(&error, Error::Failed(refusal) if refusal.message.contains("gateway")));
    }

    #[test]
    fn only_a_named_want_of_capacity_counts_as_busy() {
        let named = r#"{"code":503,"message":"full","error_code":"sandbox_capacity_unavailable"}"#;
        assert!(matches!(refusal_of(503, named), Error::Busy(_)));
        // A gateway's own 504 does not tell whether the request had an effect.
        assert!(matches!(refusal_of(504, r#"{"code":504,"message":"x"}"#), Error::Failed(_)));
    }

    #[test]
    fn conflicts_are_told_apart() {
        let edge = r#"{"sandboxId":"i1","message":"The sandbox is still transitioning. Try again in a moment.","code":409}"#;
        assert!(matches!(refusal_of(409, edge), Error::InTransition(_)));
        let code = |code: &str| format!(r#"{{"code":409,"message":"x","error_code":"{code}"}}"#);
        assert!(matches!(
            refusal_of(409, &code("sandbox_start_in_flight")),
            Error::InTransition(_)
        ));
        let wedged = refusal_of(409, &code("sandbox_snapshot_guest_agent_unresponsive"));
        assert!(matches!(&wedged, Error::GuestUnresponsive(_)), "{wedged:?}");
        assert!(!wedged.is_transient() && wedged.to_string().contains("--reboot"), "{wedged}");
        assert!(matches!(refusal_of(409, r#"{"code":409}"#), Error::Conflict(_)));
        // Whatever the status: nothing was made, and nothing will be.
        assert!(matches!(refusal_of(503, &code("sandbox_create_refused")), Error::Rejected(_)));
    }

    #[test]
    fn a_rate_limit_says_when_to_come_back_or_not() {
        let mut headers = HeaderMap::new();
        let limited = |headers: &HeaderMap| match Error::of_answer("ask", 429, headers, b"{}") {
            Error::RateLimited { retry_after, .. } => retry_after,
            other => panic!("{other}"),
        };
        assert_eq!(limited(&headers), None);
        headers.insert(RETRY_AFTER, HeaderValue::from_static("2"));
        assert_eq!(limited(&headers), Some(Duration::from_secs(2)));
        headers.insert(RETRY_AFTER, HeaderValue::from_static("Wed, 21 Oct 2026 07:28:00 GMT"));
        assert_eq!(limited(&headers), None);
    }

    #[test]
    fn an_endless_message_is_cut_between_characters() {
        let error = refusal_of(500, &"ä".repeat(5000));
        assert_eq!(error.refusal().unwrap().message.chars().count(), 2001);
    }

    #[test]
    fn the_edges_own_answers_are_told_apart_from_the_sandboxs() {
        let closed = r#"{"sandboxId":"i1","message":"The sandbox is running but port is not open","port":3000,"code":502}"#;
        assert!(matches!(refusal_of(502, closed), Error::PortClosed { port: 3000, .. }));
        let gone = r#"{"sandboxId":"i1","message":"The sandbox was not found","code":502}"#;
        assert!(
            matches!(refusal_of(502, gone), Error::SandboxGone { sandbox, .. } if sandbox == "i1")
        );
        assert!(matches!(refusal_of(502, r#"{"error":"mine"}"#), Error::Failed(_)));
    }
}
