//! Host and port as they stand in a `Host` header, an origin, a request target.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A host: a name in lower case, or an address.
///
/// A trailing dot belongs to the name, as it does for browsers: `localhost.`
/// is another origin than `localhost`. What only some programs take for an
/// address (`127.1`, `0x7f.1`, `0127.0.0.1`) is a name here, and no loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    Address(IpAddr),
}

impl Host {
    /// `None` for what is no host. No user, no percent sign, no zone of IPv6,
    /// no empty label.
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

    /// Whether this can only be the machine itself: `localhost`, `127.0.0.0/8`,
    /// `::1`, also written as IPv6.
    ///
    /// Not `app.localhost`: not every resolver keeps such names on the machine.
    /// `--allow-host` lets one in.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => matches!(name.as_str(), "localhost" | "localhost."),
            Self::Address(address) => address.to_canonical().is_loopback(),
        }
    }
}

/// A host and the port behind it, if one is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: Host,
    pub(super) port: Option<u16>,
}

impl Authority {
    /// `None` for what is none: a user before an `@`, a path, white space, a
    /// port that is empty or no number from 0 to 65535.
    pub(super) fn parse(text: &str) -> Option<Self> {
        // The colons of an IPv6 address are all before its closing bracket.
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
    // `u16::from_str` also takes a plus sign.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A host that may be asked for on a loopback bind: a name, compared without
/// case, or an address. Any port of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost(Host);

impl AllowedHost {
    pub(super) fn is(&self, host: &Host) -> bool {
        self.0 == *host
    }
}

/// Why a text is no [`AllowedHost`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowedHostError {
    /// A scheme or a path is in it.
    #[error("{0:?} is not a host but an address of a page: leave out scheme and path")]
    Url(String),
    /// A port is in it.
    #[error("{0:?} names a port: leave it out, every port of an allowed host passes")]
    Port(String),
    /// An asterisk is in it.
    #[error("{0:?}: there are no wildcards, name each host")]
    Wildcard(String),
    /// Anything else.
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
