//! Access control: Host, Origin, token and claim.
//!
//! A client of the agent can run commands as the server's user, so these checks
//! protect a shell. They read the head of a request alone, before an upgrade
//! and before any byte of a body is read. The module has no I/O and no clock.
//!
//! The rules, in the order of evaluation:
//!
//! 1. **Host** names the server that the request is for. It must be present
//!    once, well-formed, and equal to the authority of an absolute request
//!    target. Otherwise 400. On a loopback bind it must be a loopback name or
//!    address, or an allowed host: with DNS rebinding, a foreign page sends its
//!    own name here. Otherwise 403. On another bind every Host passes, unless
//!    `--allow-host` names some.
//! 2. **Origin** is sent by browsers and names the page. It must be the
//!    server's own or an allowed one; both are parsed and compared, never by
//!    prefix. Otherwise 403. Other programs send none and pass.
//! 3. **Token**: if one is set, `/config`, `/reclaim`, `/files`, `/conversations`,
//!    `/metrics`, `/ws` and `/agent` need it. Otherwise 401. `/ready` and the short answer of `/health` do not need it.
//! 4. A browser's `POST` or `PATCH` of `/config` or `/reclaim` must be `application/json` (or
//!    `application/merge-patch+json`), which a page cannot send across origins
//!    without a preflight. Otherwise 415.
//!
//! The files of the page are public bytes and are served whatever Host and
//! Origin say, so that the page can explain a refusal of the other routes.
//!
//! A 403 names the rule and the flag that allows the request. All 401 have the
//! same text. The log has the cause.

mod host;
mod origin;
mod token;

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use claude_relay_protocol::Secret;
use hyper::header::{
    AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use host::Authority;
use origin::Origin;
use token::Expected;

pub use host::{AllowedHost, AllowedHostError};
pub use origin::{AllowedOrigin, AllowedOriginError};
pub use token::Digest;

/// Text of every 401, whatever its cause.
pub const UNAUTHORIZED: &str = "Unauthorized: the token is missing or wrong; give it as `Authorization: Bearer TOKEN` or `?token=TOKEN`";

/// Access rules set by the operator.
#[derive(Debug, Default)]
pub struct AccessRules {
    /// True if the server is bound to a loopback address. `Host` must then be a
    /// loopback name or address, or an allowed one.
    pub loopback: bool,
    /// Token that requests need, in visible ASCII. If there is none, the first
    /// claim sets it.
    pub token: Option<Secret>,
    /// Digest of an earlier claim. It counts where there is no token.
    pub claimed: Option<Digest>,
    /// Origins whose pages may use this server.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Hosts that requests may name, besides loopback ones.
    pub allow_hosts: Vec<AllowedHost>,
}

/// The endpoint that a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A file of the page, by `GET` or `HEAD`: open to every Host and Origin.
    Page,
    /// Every path and method that does not exist.
    Unknown,
    /// `/health`: open, except for its details.
    Health,
    /// `/ready`: open, it tells one bit.
    Ready,
    /// `/metrics`.
    Metrics,
    /// `/config`.
    Config,
    /// `/reclaim`.
    Reclaim,
    /// `/files` and below.
    Files,
    /// `/conversations` and below.
    Conversations,
    /// `/ws`.
    Socket,
    /// `/agent`.
    Agent,
}

/// Result of a request that passed the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// True if the request has the token, or no token is set. Always true at
    /// the endpoints that need one,
    /// except for `OPTIONS` requests.
    pub authorized: bool,
}

/// Result of a request that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// 400, 401, 403 or 415.
    pub status: StatusCode,
    /// Text for the client. All causes of a 401 have the same.
    pub error: &'static str,
    /// Cause, for the operator's log. Its text holds no data from the request.
    pub cause: Cause,
}

/// Cause of a refusal, with advice for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Cause {
    /// `Host` is missing, repeated, empty or malformed, or differs from the
    /// request target.
    #[error("the Host header is missing, double or malformed")]
    BadHost,
    /// `Host` is neither a loopback name or address nor allowed.
    #[error("the Host is neither loopback nor allowed: name it with --allow-host if it is yours")]
    ForeignHost,
    /// The request comes from a page of another origin.
    #[error("the Origin is a foreign one: name it with --allow-origin if it is yours")]
    ForeignOrigin,
    /// A token is set and the request has none.
    #[error("no token was given")]
    NoToken,
    /// The token is wrong, or given twice.
    #[error("the token is wrong, or given twice and not the same")]
    WrongToken,
    /// A browser sent a configuration that is not JSON.
    #[error("a browser posted a configuration that is not application/json")]
    NotJson,
}

impl Cause {
    /// All causes.
    pub const ALL: [Self; 6] = [
        Self::BadHost,
        Self::ForeignHost,
        Self::ForeignOrigin,
        Self::NoToken,
        Self::WrongToken,
        Self::NotJson,
    ];

    /// Name in `/metrics`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BadHost => "bad_host",
            Self::ForeignHost => "foreign_host",
            Self::ForeignOrigin => "foreign_origin",
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::NotJson => "not_json",
        }
    }
}

impl From<Cause> for Denial {
    fn from(cause: Cause) -> Self {
        let (status, error) = match cause {
            Cause::BadHost => (StatusCode::BAD_REQUEST, "Bad request"),
            Cause::ForeignHost => (
                StatusCode::FORBIDDEN,
                "Forbidden: the Host header names neither a loopback address nor an allowed host; the operator can allow it with --allow-host NAME",
            ),
            Cause::ForeignOrigin => (
                StatusCode::FORBIDDEN,
                "Forbidden: the Origin header names another site than the Host header; the operator can allow it with --allow-origin ORIGIN",
            ),
            Cause::NoToken | Cause::WrongToken => (StatusCode::UNAUTHORIZED, UNAUTHORIZED),
            Cause::NotJson => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Type must be application/json")
            }
        };
        Self { status, error, cause }
    }
}

/// Checks requests against the access rules and the token.
#[derive(Debug)]
pub struct AccessPolicy {
    loopback: bool,
    allow_origins: Vec<AllowedOrigin>,
    allow_hosts: Vec<AllowedHost>,
    token: RwLock<Option<Required>>,
}

/// The token that requests need.
#[derive(Debug)]
struct Required {
    expected: Expected,
    /// It came with a claim: its owner may exchange it.
    claimed: bool,
}

/// Reason for not exchanging the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReclaimed {
    /// The server has no token.
    #[error("nobody has claimed this server: POST /config with authToken claims it")]
    Unclaimed,
    /// Its operator has chosen the token.
    #[error("the token of this server was given at its start: start it with another one")]
    OfOperator,
}

impl AccessPolicy {
    /// Creates a policy with these rules.
    #[must_use]
    pub fn new(rules: AccessRules) -> Self {
        let AccessRules { loopback, token, claimed, allow_origins, allow_hosts } = rules;
        let of_operator = |token| Required { expected: Expected::Token(token), claimed: false };
        let of_claim = |digest| Required { expected: Expected::Digest(digest), claimed: true };
        let token = token.map(of_operator).or(claimed.map(of_claim));
        Self { loopback, allow_origins, allow_hosts, token: RwLock::new(token) }
    }

    /// Checks a request to `endpoint`.
    ///
    /// A server without a token can be claimed while the body of a request is
    /// still arriving, so a caller that reads a body has to check again
    /// afterwards.
    ///
    /// # Errors
    ///
    /// Returns a [`Denial`], which is to be sent before anything else is read.
    pub fn check(&self, endpoint: Endpoint, head: &Parts) -> Result<Admission, Denial> {
        let host = host_of(head)?;
        if endpoint == Endpoint::Page {
            return Ok(Admission { authorized: self.check_token(head).is_ok() });
        }
        if !self.serves(&host) {
            return Err(Cause::ForeignHost.into());
        }
        let from_browser = head.headers.contains_key(ORIGIN);
        if from_browser && !self.trusts(&head.headers, &host) {
            return Err(Cause::ForeignOrigin.into());
        }
        let token = self.check_token(head);
        let guarded = matches!(
            endpoint,
            Endpoint::Config
                | Endpoint::Reclaim
                | Endpoint::Files
                | Endpoint::Conversations
                | Endpoint::Metrics
                | Endpoint::Socket
                | Endpoint::Agent
        );
        // A preflight never carries a token, and its answer reveals and changes
        // nothing.
        if guarded && head.method != Method::OPTIONS {
            token?;
        }
        let changes =
            matches!(endpoint, Endpoint::Config | Endpoint::Reclaim) && is_change(&head.method);
        if changes && from_browser && !is_json(&head.headers) {
            return Err(Cause::NotJson.into());
        }
        Ok(Admission { authorized: token.is_ok() })
    }

    /// Sets `token` as the server's if it has none. Returns true if it is the
    /// server's token now: repeating a claim returns true again, and of two
    /// competing claims one returns false.
    ///
    /// New requests need the token from then on. A client that is already
    /// connected stays, because it could have claimed the server itself.
    #[must_use = "false: another client has claimed the server"]
    pub fn claim(&self, token: Secret) -> bool {
        let mut required = self.token.write().unwrap_or_else(PoisonError::into_inner);
        let offered = token.clone();
        required
            .get_or_insert_with(|| Required { expected: Expected::Token(token), claimed: true })
            .expected
            .is(offered.expose().as_bytes())
    }

    /// Sets `token` in place of that of an earlier claim. The caller has checked
    /// that the request has that one.
    ///
    /// # Errors
    ///
    /// See [`NotReclaimed`].
    pub fn reclaim(&self, token: Secret) -> Result<(), NotReclaimed> {
        let mut required = self.token.write().unwrap_or_else(PoisonError::into_inner);
        match required.as_mut() {
            None => Err(NotReclaimed::Unclaimed),
            Some(Required { claimed: false, .. }) => Err(NotReclaimed::OfOperator),
            Some(required) => {
                required.expected = Expected::Token(token);
                Ok(())
            }
        }
    }

    /// Returns true if requests need a token.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.required().is_some()
    }

    fn required(&self) -> RwLockReadGuard<'_, Option<Required>> {
        self.token.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Value of `Access-Control-Allow-Origin`: the origin of the request if it
    /// is an allowed foreign one. Otherwise `None`.
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
            || self.allow_hosts.iter().any(|allowed| allowed.matches(&host.host))
    }

    fn trusts(&self, headers: &HeaderMap, host: &Authority) -> bool {
        only(headers, ORIGIN)
            .and_then(|value| Origin::parse(value.to_str().ok()?))
            .is_some_and(|origin| origin.is_own(host) || self.allows(&origin))
    }

    fn allows(&self, origin: &Origin) -> bool {
        self.allow_origins.iter().any(|allowed| allowed.matches(origin))
    }

    /// Checks the tokens of the header and of the query. Each may hold at most
    /// one, and every one given must be right: a repeated token shows that an
    /// intermediary may have read the other one.
    fn check_token(&self, head: &Parts) -> Result<(), Cause> {
        let fields = head.headers.get_all(AUTHORIZATION).iter().map(HeaderValue::as_bytes);
        self.check_offered(fields, head.uri.query())
    }

    /// Returns true if a token is set and the request has it.
    pub(crate) fn shows_token(&self, request: &httparse::Request<'_, '_>) -> bool {
        let fields = request.headers.iter();
        let fields = fields.filter(|field| field.name.eq_ignore_ascii_case(AUTHORIZATION.as_str()));
        let query = request.path.and_then(|path| Some(path.split_once('?')?.1));
        self.has_token() && self.check_offered(fields.map(|field| field.value), query).is_ok()
    }

    fn check_offered<'a>(
        &self,
        fields: impl Iterator<Item = &'a [u8]>,
        query: Option<&str>,
    ) -> Result<(), Cause> {
        let required = self.required();
        let Some(token) = required.as_ref().map(|required| &required.expected) else {
            return Ok(());
        };
        let in_headers: Vec<_> = fields.map(token::in_header).collect();
        let in_query: Vec<_> = query.into_iter().flat_map(token::in_query).collect();
        match (in_headers.as_slice(), in_query.as_slice()) {
            ([], []) => Err(Cause::NoToken),
            ([_, _, ..], _) | (_, [_, _, ..]) => Err(Cause::WrongToken),
            (header, query) => {
                let mut offered = header.iter().copied().chain(query.iter().map(AsRef::as_ref));
                if offered.all(|offered| token.is(offered)) {
                    Ok(())
                } else {
                    Err(Cause::WrongToken)
                }
            }
        }
    }
}

/// Returns the host that the request is for.
fn host_of(head: &Parts) -> Result<Authority, Cause> {
    let host = only(&head.headers, HOST)
        .and_then(|value| Authority::parse(value.to_str().ok()?))
        .ok_or(Cause::BadHost)?;
    // For `GET http://name/ HTTP/1.1`, RFC 9112 gives the target precedence
    // over the header. Two different names are treated as an attack.
    match head.uri.authority() {
        Some(target) if Authority::parse(target.as_str()).as_ref() != Some(&host) => {
            Err(Cause::BadHost)
        }
        _ => Ok(host),
    }
}

/// The value of a header that is present exactly once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Returns true for the methods that change the configuration.
#[must_use]
pub fn is_change(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PATCH)
}

fn is_json(headers: &HeaderMap) -> bool {
    let accepted = ["application/json", "application/merge-patch+json"];
    only(headers, CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .is_some_and(|given| accepted.iter().any(|name| given.trim().eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests;
