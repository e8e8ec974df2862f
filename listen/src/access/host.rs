//! Host and port as in a `Host` header, an origin or a request target.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A host: a name in lower case, or an address.
///
/// A trailing dot is part of the name, as in browsers: `localhost.` is another
/// origin than `localhost`. Spellings that only some programs take for an
/// address (`127.1`, `0x7f.1`, `0127.0.0.1`) are names here, and not loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// Parses a host; `None` if `text` is not one. User names, percent signs,
    /// IPv6 zones and empty labels are refused.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return inner.parse::<Ipv6Addr>().ok().map(|address| Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let labels = text.strip_suffix('.').unwrap_or(text);
        let named = labels.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        });
        named.then(|| Self::Name(text.to_ascii_lowercase()))
    }

    /// Returns true for hosts that can only be this machine: `localhost`,
    /// `127.0.0.0/8` and `::1`, also as IPv4-mapped IPv6.
    ///
    /// `app.localhost` is not among them, because some resolvers do not keep
    /// such names on the machine. `--allow-host` admits one.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => matches!(name.as_str(), "localhost" | "localhost."),
            Self::Address(address) => address.to_canonical().is_loopback(),
        }
    }
}

/// A host and the optional port after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: Host,
    pub(super) port: Option<u16>,
}

impl Authority {
    /// Parses an authority; `None` for a user before an `@`, a path, white
    /// space, or a port that is empty or not a number from 0 to 65535.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // In an IPv6 address, all colons are before the closing bracket.
        let end = text.find(']').map_or(0, |at| at + 1);
        match text.get(end..)?.split_once(':') {
            None => Some(Self { host: Host::parse(text)?, port: None }),
            Some((rest, port)) => {
                let host = Host::parse(text.get(..end + rest.len())?)?;
                Some(Self { host, port: Some(parse_port(port)?) })
            }
        }
    }
}

fn parse_port(text: &str) -> Option<u16> {
    // `u16::from_str` also accepts a plus sign.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A host that requests may name on a loopback bind, with any port: a name,
/// compared without case, or an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost(Host);

impl AllowedHost {
    pub(super) fn matches(&self, host: &Host) -> bool {
        self.0 == *host
    }
}

/// Parse error of [`AllowedHost`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedHostError {
    /// The text contains a scheme or a path.
    #[error("{0:?} is not a host but an address of a page: leave out scheme and path")]
    Url(String),
    /// The text contains a port.
    #[error("{0:?} names a port: leave it out, every port of an allowed host passes")]
    Port(String),
    /// The text contains an asterisk.
    #[error("{0:?}: there are no wildcards, name each host")]
    Wildcard(String),
    /// The text is malformed in another way.
    #[error("{0:?} is not a host name or address (IPv6 goes in brackets)")]
    Malformed(String),
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Authority::parse(text) {
            Some(Authority { host, port: None }) => Ok(Self(host)),
            Some(_) => Err(AllowedHostError::Port(text.to_owned())),
            None if text.contains('*') => Err(AllowedHostError::Wildcard(text.to_owned())),
            None if text.contains('/') => Err(AllowedHostError::Url(text.to_owned())),
            None => Err(AllowedHostError::Malformed(text.to_owned())),
        }
    }
}
