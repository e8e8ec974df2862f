//! Origins: which page of which site a browser asks for.

use std::str::FromStr;

use super::host::Authority;

/// Scheme, host and port (RFC 6454), with the port that the scheme implies
/// filled in, so that equal origins are equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    authority: Authority,
}

impl Origin {
    /// `None` for what no browser names a page with, and for `null`, which
    /// stands for every page that has no name: sandboxed frames, files.
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

    /// Whether this is the origin of a page that the server itself gave out
    /// under the name `host`. Of the scheme only that it is one of HTTP: behind
    /// an edge that speaks TLS the server cannot know.
    pub(super) fn is_of(&self, host: &Authority) -> bool {
        default_port(&self.scheme).is_some()
            && self.authority.host == host.host
            && self.authority.port == host.port.or(default_port(&self.scheme))
    }
}

/// `Some` for the two schemes of HTTP alone.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// An origin whose pages may use this server: `https://app.example`, also one
/// of a desktop shell or an extension (`tauri://localhost`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedOrigin(Origin);

impl AllowedOrigin {
    pub(super) fn is(&self, origin: &Origin) -> bool {
        self.0 == *origin
    }
}

/// Why a text is no [`AllowedOrigin`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedOriginError {
    /// `null`.
    #[error("\"null\" cannot be allowed: it stands for every sandboxed frame and every file")]
    Null,
    /// An asterisk is in it.
    #[error("{0:?}: there are no wildcards, name each origin")]
    Wildcard(String),
    /// No scheme stands before it.
    #[error("{0:?} has no scheme: write https://host or http://host:port")]
    NoScheme(String),
    /// Something follows the port.
    #[error("{0:?} goes on after host and port: an origin has no path, not even a slash")]
    Path(String),
    /// Anything else.
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
