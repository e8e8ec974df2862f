//! Address of a Codex app-server.

use std::fmt;
use std::str::FromStr;

/// Address in the form `ws://HOST:PORT`, with an optional path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteUrl {
    authority: String,
    path: String,
}

/// Parse error of [`RemoteUrl`].
#[derive(Debug, thiserror::Error)]
#[error("expected ws://HOST:PORT")]
pub struct InvalidRemoteUrl;

impl FromStr for RemoteUrl {
    type Err = InvalidRemoteUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRemoteUrl> {
        let uri: hyper::Uri = text.parse().map_err(|_| InvalidRemoteUrl)?;
        let authority = uri.authority().ok_or(InvalidRemoteUrl)?;
        let is_plain = uri.scheme_str() == Some("ws") && !authority.as_str().contains('@');
        if !is_plain
            || authority.host().is_empty()
            || authority.port_u16().is_none_or(|port| port == 0)
        {
            return Err(InvalidRemoteUrl);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self { authority: authority.to_string(), path: path.to_owned() })
    }
}

impl RemoteUrl {
    /// Returns host and port.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the path with its query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_a_host_and_a_port() {
        for text in ["ws://127.0.0.1:8765", "ws://[::1]:1", "ws://localhost:80/a?b=c"] {
            let url: RemoteUrl = text.parse().unwrap();
            assert_eq!(url.to_string().trim_end_matches('/'), text);
        }
        for text in [
            "",
            "127.0.0.1:1",
            "http://h:1",
            "wss://h:1",
            "ws://h",
            "ws://h:0",
            "ws://h:99999",
            "ws://u:p@h:1",
            "ws://:1",
        ] {
            assert!(text.parse::<RemoteUrl>().is_err(), "{text}");
        }
    }
}
