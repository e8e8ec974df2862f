//! Who may come in: Host, Origin, token, claim.
//!
//! Whoever reaches the agent can run commands as the server's user, so this is
//! the lock of a shell. It is decided from the head of a request alone: before
//! an upgrade and before any of a body is read. No I/O, no clock.
//!
//! The rules, in the order in which they are looked at:
//!
//! 1. **Host** names whom the request is for: exactly one, well-formed, and in
//!    agreement with an absolute request target. Else 400. Bound to a loopback
//!    address, it has to be a loopback name or address, or be allowed by name:
//!    a page of a stranger whose name was pointed at 127.0.0.1 (DNS rebinding)
//!    still carries the stranger's name here. Else 403. Bound to another
//!    address every Host passes, unless `--allow-host` names some.
//! 2. **Origin** tells that a browser asks, and for which page. It is the
//!    server's own or an allowed one, compared after parsing, never by prefix.
//!    Else 403. Programs send none, which is fine.
//! 3. **Token**: when there is one, the configuration and the WebSocket need
//!    it. Else 401. The page and the short answer of `/health` do not.
//! 4. A browser's `POST /config` is `application/json`, which no page can send
//!    across origins without asking first. Else 415.
//!
//! Every refusal of one status has one text. The cause is for the log.

mod host;
mod origin;
mod token;

use std::sync::OnceLock;

use claude_relay_protocol::Secret;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use host::Authority;
use origin::Origin;

pub use host::{AllowedHost, AllowedHostError};
pub use origin::{AllowedOrigin, AllowedOriginError};

/// What the operator decided.
#[derive(Debug, Default)]
pub struct AccessRules {
    /// Whether the server is bound to a loopback address. Then `Host` has to
    /// be one too, or an allowed one.
    pub loopback: bool,
    /// The token that requests need: visible ASCII, or nobody could show it.
    /// Without one the first claim sets it.
    pub token: Option<Secret>,
    /// Pages of other origins that may use this server.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Names under which this server may be asked beside loopback ones.
    pub allow_hosts: Vec<AllowedHost>,
}

/// Which door a request knocks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The test page, its files, and every path that does not exist.
    Page,
    /// `/health`: open, but its details are not.
    Health,
    /// `/config`.
    Config,
    /// `/ws`.
    Socket,
}

/// The request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Whether it may see and do everything: it brought the token, or none is
    /// set. At [`Endpoint::Config`] and [`Endpoint::Socket`] always true, but for an
    /// `OPTIONS` request.
    pub authorized: bool,
}

/// The request ends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// 400, 401, 403 or 415.
    pub status: StatusCode,
    /// The text for the one who asked: the same for every cause of a status.
    pub error: &'static str,
    /// Why, for the log of the operator. Its text holds nothing of what the
    /// stranger sent.
    pub cause: Cause,
}

/// Why a request was refused, and what the operator can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Cause {
    /// `Host` is missing, double, empty or malformed, or the request target
    /// names another.
    #[error("the Host header is missing, double or malformed")]
    BadHost,
    /// `Host` is neither a loopback name or address nor allowed.
    #[error("the Host is neither loopback nor allowed: name it with --allow-host if it is yours")]
    ForeignHost,
    /// A page of another origin asks.
    #[error("the Origin is a foreign one: name it with --allow-origin if it is yours")]
    ForeignOrigin,
    /// There is a token and none came.
    #[error("no token was given")]
    NoToken,
    /// A wrong token, or several that are not all right.
    #[error("the token is wrong, or given twice and not the same")]
    WrongToken,
    /// A browser posts a configuration as something else than JSON.
    #[error("a browser posted a configuration that is not application/json")]
    NotJson,
}

impl From<Cause> for Denial {
    fn from(cause: Cause) -> Self {
        let (status, error) = match cause {
            Cause::BadHost => (StatusCode::BAD_REQUEST, "Bad request"),
            Cause::ForeignHost | Cause::ForeignOrigin => (StatusCode::FORBIDDEN, "Forbidden"),
            Cause::NoToken | Cause::WrongToken => (StatusCode::UNAUTHORIZED, "Unauthorized"),
            Cause::NotJson => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
            }
        };
        Self { status, error, cause }
    }
}

/// The doorkeeper.
#[derive(Debug)]
pub struct AccessPolicy {
    loopback: bool,
    allow_origins: Vec<AllowedOrigin>,
    allow_hosts: Vec<AllowedHost>,
    /// Set at the start or by the first claim, and never again.
    token: OnceLock<Secret>,
}

impl AccessPolicy {
    /// A doorkeeper with these rules.
    #[must_use]
    pub fn new(rules: AccessRules) -> Self {
        let AccessRules { loopback, token, allow_origins, allow_hosts } = rules;
        Self {
            loopback,
            allow_origins,
            allow_hosts,
            token: token.map_or_else(OnceLock::new, OnceLock::from),
        }
    }

    /// Whether a request may come in by `door`.
    ///
    /// A server without a token can be claimed while the body of a request is
    /// still on its way: who is to be trusted after that has to be asked here
    /// once more when the body is there.
    ///
    /// # Errors
    ///
    /// A [`Denial`], to be answered before anything else is read.
    pub fn check(&self, endpoint: Endpoint, head: &Parts) -> Result<Admission, Denial> {
        let host = host_of(head)?;
        if !self.serves(&host) {
            return Err(Cause::ForeignHost.into());
        }
        let from_browser = head.headers.contains_key(ORIGIN);
        if from_browser && !self.trusts(&head.headers, &host) {
            return Err(Cause::ForeignOrigin.into());
        }
        let token = self.check_token(head);
        let guarded = matches!(endpoint, Endpoint::Config | Endpoint::Socket);
        // A browser's question whether it may ask (a preflight) never carries a
        // token. What it is answered says nothing and changes nothing.
        if guarded && head.method != Method::OPTIONS {
            token?;
        }
        let posts = endpoint == Endpoint::Config && head.method == Method::POST;
        if posts && from_browser && !is_json(&head.headers) {
            return Err(Cause::NotJson.into());
        }
        Ok(Admission { authorized: token.is_ok() })
    }

    /// Takes `token` for the server's if it has none yet. Gives whether it is
    /// the server's now: so whoever repeats a claim is told the same, and of
    /// two that race one is told no.
    ///
    /// From then on new requests need it. A client that is already connected
    /// stays: whoever was in before the claim could have claimed as well.
    #[must_use = "false: the server is somebody else's"]
    pub fn claim(&self, token: Secret) -> bool {
        let offered = token.clone();
        token::equal(self.token.get_or_init(|| token), offered.expose().as_bytes())
    }

    /// Whether requests need a token.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.get().is_some()
    }

    /// What `Access-Control-Allow-Origin` says: the origin of the request when
    /// it is a foreign one that is allowed. To everybody else, nothing.
    #[must_use]
    pub fn cors_origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let value = only(headers, ORIGIN)?;
        let origin = Origin::parse(value.to_str().ok()?)?;
        self.allows(&origin).then(|| value.clone())
    }

    fn serves(&self, host: &Authority) -> bool {
        let restricted = self.loopback || !self.allow_hosts.is_empty();
        !restricted
            || host.host.is_loopback()
            || self.allow_hosts.iter().any(|allowed| allowed.is(&host.host))
    }

    fn trusts(&self, headers: &HeaderMap, host: &Authority) -> bool {
        only(headers, ORIGIN)
            .and_then(|value| Origin::parse(value.to_str().ok()?))
            .is_some_and(|origin| origin.is_of(host) || self.allows(&origin))
    }

    fn allows(&self, origin: &Origin) -> bool {
        self.allow_origins.iter().any(|allowed| allowed.is(origin))
    }

    /// Every place where a token stands has to hold the right one, and no place
    /// twice: two that differ show that somebody in between read the other.
    fn check_token(&self, head: &Parts) -> Result<(), Cause> {
        let Some(token) = self.token.get() else { return Ok(()) };
        let in_headers: Vec<_> =
            head.headers.get_all(AUTHORIZATION).iter().map(token::in_header).collect();
        let in_query: Vec<_> = head.uri.query().into_iter().flat_map(token::in_query).collect();
        match (in_headers.as_slice(), in_query.as_slice()) {
            ([], []) => Err(Cause::NoToken),
            ([_, _, ..], _) | (_, [_, _, ..]) => Err(Cause::WrongToken),
            (header, query) => {
                let mut offered = header.iter().copied().chain(query.iter().map(AsRef::as_ref));
                if offered.all(|offered| token::equal(token, offered)) {
                    Ok(())
                } else {
                    Err(Cause::WrongToken)
                }
            }
        }
    }
}

/// Whom the request is for.
fn host_of(head: &Parts) -> Result<Authority, Cause> {
    let host = only(&head.headers, HOST)
        .and_then(|value| Authority::parse(value.to_str().ok()?))
        .ok_or(Cause::BadHost)?;
    // `GET http://name/ HTTP/1.1`: then the target counts, says RFC 9112. Two
    // names for one request are an attempt at something.
    match head.uri.authority() {
        Some(target) if Authority::parse(target.as_str()).as_ref() != Some(&host) => {
            Err(Cause::BadHost)
        }
        _ => Ok(host),
    }
}

/// The value of a header that comes exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_json(headers: &HeaderMap) -> bool {
    only(headers, CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests;
