//! Origins of web pages.

use std::str::FromStr;

use super::host::Authority;

/// Scheme, host and port (RFC 6454). The default port of the scheme is filled
/// in, so that equal origins are equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    authority: Authority,
}

impl Origin {
    /// Parses an origin. `None` if it is malformed, and for `null`, which
    /// browsers send for pages without an origin, such as sandboxed frames and
    /// files.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if !named {
            return None;
        }
        let scheme = scheme.to_ascii_lowercase();
        let mut authority = Authority::parse(rest)?;
        authority.port = authority.port.or(default_port(&scheme));
        Some(Self { scheme, authority })
    }

    /// Returns true if this is the origin of a page that this server delivers
    /// under the name `host`. Both schemes of HTTP pass: behind a proxy that
    /// terminates TLS, the server does not know which one the browser used.
    pub(super) fn is_own(&self, host: &Authority) -> bool {
        default_port(&self.scheme).is_some()
            && self.authority.host == host.host
            && self.authority.port == host.port.or(default_port(&self.scheme))
    }
}

/// Default port of the two HTTP schemes; `None` for all others.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// An origin whose pages may use this server: `https://app.example`, or that of
/// a desktop shell or an extension (`tauri://localhost`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(Origin);

impl AllowedOrigin {
    pub(super) fn matches(&self, origin: &Origin) -> bool {
        self.0 == *origin
    }
}

/// Parse error of [`AllowedOrigin`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedOriginError {
    /// The text is `null`.
    #[error("\"null\" cannot be allowed: it stands for every sandboxed frame and every file")]
    Null,
    /// The text contains an asterisk.
    #[error("{0:?}: there are no wildcards, name each origin")]
    Wildcard(String),
    /// The text has no scheme.
    #[error("{0:?} has no scheme: write https://host or http://host:port")]
    NoScheme(String),
    /// The text continues after the port.
    #[error("{0:?} goes on after host and port: an origin has no path, not even a slash")]
    Path(String),
    /// The text is malformed in another way.
    #[error("{0:?} is not an origin such as https://app.example or http://localhost:5173")]
    Malformed(String),
}

impl FromStr for AllowedOrigin {
    type Err = AllowedOriginError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(origin) = Origin::parse(text) {
            return Ok(Self(origin));
        }
        let own = text.to_owned();
        Err(match text.split_once("://") {
            _ if text == "null" => AllowedOriginError::Null,
            _ if text.contains('*') => AllowedOriginError::Wildcard(own),
            None => AllowedOriginError::NoScheme(own),
            Some((_, rest)) if rest.contains(['/', '?', '#']) => AllowedOriginError::Path(own),
            Some(_) => AllowedOriginError::Malformed(own),
        })
    }
}
