//! The server's address: the parsed form of a connection URL.

use std::net::IpAddr;

use hyper::Uri;

use crate::error::RequestError;

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The path before `/ws` and `/config`: empty, or `/base`.
    base: String,
}

impl Address {
    /// Reads `http`, `https`, `ws` or `wss` URLs, and `host:port` as `http`.
    ///
    /// # Errors
    ///
    /// Names what is wrong; see [`RequestError::Address`].
    pub(crate) fn parse(url: &str) -> Result<Self, RequestError> {
        let refused =
            |reason: &str| RequestError::Address { url: hide_user(url), reason: reason.to_owned() };
        let text = url.trim();
        let with_scheme;
        let text = if text.contains("://") {
            text
        } else {
            with_scheme = format!("http://{text}");
            &with_scheme
        };
        let uri: Uri = text.parse().map_err(|_| refused("it is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(refused("expected http, https, ws or wss")),
        };
        let authority = uri.authority().ok_or_else(|| refused("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refused("a user name or password is not used here: give a token"));
        }
        if uri.query().is_some() || text.contains('#') {
            return Err(refused("a query or fragment is not used here: give a token by itself"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(refused("it has no host"));
        }
        let given = authority.as_str().rsplit_once(']').map_or(authority.as_str(), |(_, end)| end);
        let port = match (given.contains(':'), authority.port_u16()) {
            (_, Some(0)) => return Err(refused("port 0 cannot be connected to")),
            (_, Some(port)) => port,
            (true, None) => return Err(refused("its port is not a number up to 65535")),
            (false, None) if tls => 443,
            (false, None) => 80,
        };
        let base = uri.path().trim_end_matches('/').to_owned();
        // A URL copied from the documentation names the endpoint itself.
        let base = base.strip_suffix("/ws").map_or(base.clone(), str::to_owned);
        Ok(Self { tls, host, port, base })
    }

    /// The value of the `Host` header.
    pub(crate) fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => bracketed(&self.host),
            (_, port) => join(&self.host, port),
        }
    }

    /// Returns true if the server is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.to_ascii_lowercase().ends_with(".localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    }

    /// Returns true if it names whatever machine it is used on, so that a sandbox
    /// would look for it in itself. More than [`is_local`](Self::is_local), by
    /// which a token is sent without encryption.
    #[cfg(feature = "e2b")]
    pub(crate) fn names_this_machine(&self) -> bool {
        let host = self.host.strip_suffix('.').unwrap_or(&self.host);
        let is_unspecified =
            host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_unspecified());
        let without_dot = Self { host: host.to_owned(), ..self.clone() };
        is_unspecified || without_dot.is_local()
    }

    /// The path of one of the server's routes, such as `/ws`.
    pub(crate) fn path(&self, route: &str) -> String {
        format!("{}{route}", self.base)
    }

    /// Returns true if all that is sent stays on this machine or is encrypted.
    pub(crate) fn is_private(&self) -> bool {
        self.tls || self.is_local()
    }
}

/// A host as it stands in a URL.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Host and port as they stand in a URL.
pub(crate) fn join(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

/// A password in an address is not repeated in an error.
fn hide_user(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => url.split('?').next().unwrap_or_default().to_owned(),
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_way_to_write_it_is_read() {
        for (text, url, ws) in [
            ("http://localhost:3000", "http://localhost:3000", "/ws"),
            ("localhost:3000", "http://localhost:3000", "/ws"),
            ("ws://localhost:3000/ws", "http://localhost:3000", "/ws"),
            ("wss://relay.example", "https://relay.example", "/ws"),
            ("https://relay.example/base/", "https://relay.example/base", "/base/ws"),
            ("https://relay.example:8443/a/b/ws", "https://relay.example:8443/a/b", "/a/b/ws"),
            ("http://[::1]:3000/", "http://[::1]:3000", "/ws"),
            ("http://[::1]", "http://[::1]", "/ws"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((address.to_string().as_str(), address.path("/ws").as_str()), (url, ws));
        }
    }

    #[test]
    fn an_unusable_address_is_named_without_its_secrets() {
        for (text, reason) in [
            ("", "not a URL"),
            ("ftp://host", "expected http"),
            ("http://", "not a URL"),
            ("http://user:hunter2@host", "user name or password"),
            ("http://host?token=hunter2", "query or fragment"),
            ("http://host:99999", "up to 65535"),
            ("http://host:0", "port 0"),
            ("http://host:", "port"),
            ("http://ho st", "not a URL"),
        ] {
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[cfg(feature = "e2b")]
    #[test]
    fn a_sandbox_would_look_for_these_in_itself() {
        for (text, itself) in [
            ("http://localhost:4000", true),
            ("http://LocalHost.:4000/v1", true),
            ("https://a.localhost.", true),
            ("http://127.1.2.3", true),
            ("http://[::1]:1", true),
            ("http://0.0.0.0:4000", true),
            ("http://[::]:4000", true),
            ("http://[::ffff:0.0.0.0]", true),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
            ("https://gateway.example.", false),
        ] {
            assert_eq!(Address::parse(text).unwrap().names_this_machine(), itself, "{text}");
        }
    }

    #[test]
    fn private_is_this_machine_or_encrypted() {
        for (text, private) in [
            ("http://localhost", true),
            ("http://LOCALHOST:1", true),
            ("http://127.0.0.2", true),
            ("http://[::1]", true),
            ("http://[::ffff:127.0.0.1]", true),
            ("https://example.com", true),
            ("http://example.com", false),
            ("http://localhost.example.com", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(Address::parse(text).unwrap().is_private(), private, "{text}");
        }
    }
}
