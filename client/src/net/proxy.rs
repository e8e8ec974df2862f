//! The proxy on the way to a server, as the usual variables name it, and the
//! tunnel through it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;

use crate::error::RequestError;
use crate::net::address::{Address, bracketed, join};
use crate::net::dial::Stream;
use crate::net::socks::{self, Login, SocksError};

/// A variable that is set, with its name.
pub(crate) type Variable = (&'static str, String);

/// The variables that say which proxy to use. Empty ones count as unset.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProxyVariables {
    /// `HTTP_PROXY`, for addresses without TLS.
    pub(crate) http: Option<Variable>,
    /// `HTTPS_PROXY`, for addresses with it.
    pub(crate) https: Option<Variable>,
    /// `ALL_PROXY`, where neither says anything.
    pub(crate) all: Option<Variable>,
    /// `NO_PROXY`: hosts that are reached directly.
    pub(crate) no: Option<String>,
}

/// A proxy that opens a tunnel.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    pub(crate) kind: Kind,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The variable that named it.
    variable: &'static str,
}

/// A kind of proxy, with the credentials for it.
#[derive(Clone)]
pub(crate) enum Kind {
    /// By HTTP's `CONNECT`.
    Http { tls: bool, credentials: Option<HeaderValue> },
    /// By SOCKS 5.
    Socks {
        /// The proxy looks the host's name up (`socks5h`), not this machine.
        looks_up: bool,
        login: Option<Login>,
    },
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.scheme())
    }
}

impl Kind {
    /// Its name in an address.
    fn scheme(&self) -> &'static str {
        match self {
            Self::Http { tls: false, .. } => "http",
            Self::Http { tls: true, .. } => "https",
            Self::Socks { looks_up: false, .. } => "socks5",
            Self::Socks { looks_up: true, .. } => "socks5h",
        }
    }
}

impl ProxyVariables {
    /// The proxy on the way to `address`; `None` for the direct way.
    ///
    /// An address of this machine is always reached directly: what is sent to
    /// it may be secret and unencrypted, because it does not leave the machine.
    ///
    /// # Errors
    ///
    /// [`RequestError::InvalidOption`] names a variable that cannot be used. Going the
    /// direct way instead would tell the network what was meant for the proxy.
    pub(crate) fn proxy_for(&self, address: &Address) -> Result<Option<Proxy>, RequestError> {
        let specific = if address.tls { &self.https } else { &self.http };
        let Some((variable, value)) = specific.as_ref().or(self.all.as_ref()) else {
            return Ok(None);
        };
        if address.is_local() {
            return Ok(None);
        }
        let refused = |reason: &str| RequestError::InvalidOption {
            option: variable,
            reason: reason.to_owned(),
        };
        let target: Uri = format!("https://{}/", bracketed(&address.host))
            .parse()
            .map_err(|_| refused("it cannot be used for this address"))?;
        let no = self.no.as_deref().map_or(String::new(), |no| hosts(no, address.port));
        // Asked for any scheme: the variable was chosen above.
        let Some(found) = Matcher::builder().all(value).no(no).build().intercept(&target) else {
            let without_exceptions = Matcher::builder().all(value).build();
            return match without_exceptions.intercept(&target) {
                Some(_) => Ok(None),
                None => Err(refused(
                    "it is not the address of a proxy: expected http://HOST:PORT, https://HOST:PORT or socks5h://HOST:PORT",
                )),
            };
        };
        Proxy::new(&found, variable).map(Some)
    }
}

/// The entries of `NO_PROXY` that hold for a port, as the matcher takes them:
/// separated by commas, without ports, brackets and the star before a domain.
fn hosts(no_proxy: &str, port: u16) -> String {
    let entries = no_proxy.split([',', ' ', '\t', '\n']).filter(|entry| !entry.is_empty());
    let hosts = entries.filter_map(|entry| {
        let (host, wanted) = match entry.rsplit_once(':') {
            // Colons of an IPv6 address are no port.
            Some((host, digits)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(digits))
            }
            _ => (entry, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_prefix("*.").unwrap_or(host);
        wanted.is_none_or(|digits| digits.parse() == Ok(port)).then_some(host)
    });
    hosts.collect::<Vec<_>>().join(",")
}

impl Proxy {
    fn new(found: &Intercept, variable: &'static str) -> Result<Self, RequestError> {
        let refused = |reason: String| RequestError::InvalidOption { option: variable, reason };
        let uri = found.uri();
        let credentials = found.basic_auth().cloned();
        let login = found.raw_auth().map(|(user, password)| (user.to_owned(), password.to_owned()));
        let (kind, usual_port) = match uri.scheme_str() {
            Some("http") => (Kind::Http { tls: false, credentials }, 80),
            Some("https") => (Kind::Http { tls: true, credentials }, 443),
            Some("socks5") => (Kind::Socks { looks_up: false, login }, 1080),
            Some("socks5h") => (Kind::Socks { looks_up: true, login }, 1080),
            scheme => {
                return Err(refused(format!(
                    "a proxy of the kind {} cannot be used: give one that is http, https or socks5h",
                    scheme.unwrap_or_default()
                )));
            }
        };
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(refused("it names no host".to_owned()));
        }
        let port = uri.port_u16().unwrap_or(usual_port);
        Ok(Self { kind, host, port, variable })
    }

    /// Returns true if the way to the proxy itself is encrypted.
    pub(crate) fn has_tls(&self) -> bool {
        matches!(self.kind, Kind::Http { tls: true, .. })
    }

    /// Asks for a tunnel to `address` over a stream to the proxy.
    pub(crate) async fn tunnel(
        &self,
        mut stream: Box<dyn Stream>,
        address: &Address,
    ) -> Result<Box<dyn Stream>, RequestError> {
        match &self.kind {
            Kind::Http { credentials, .. } => {
                Ok(Box::new(self.by_http(stream, address, credentials.as_ref()).await?))
            }
            Kind::Socks { looks_up, login } => {
                let host = match looks_up {
                    true => address.host.clone(),
                    false => looked_up(address).await?,
                };
                socks::connect(&mut stream, &host, address.port, login.as_ref()).await.map_err(
                    |error| match error {
                        SocksError::WantsLogin | SocksError::LoginRefused => self.failed(
                            None,
                            format!(
                                "{error}: {} gives them, as in socks5h://USER:PASSWORD@HOST:PORT",
                                self.variable
                            ),
                        ),
                        error => self.failed(None, error),
                    },
                )?;
                Ok(stream)
            }
        }
    }

    async fn by_http(
        &self,
        stream: Box<dyn Stream>,
        address: &Address,
        credentials: Option<&HeaderValue>,
    ) -> Result<TokioIo<Upgraded>, RequestError> {
        let target = join(&address.host, address.port);
        let mut request = Request::connect(&target)
            .header(HOST, &target)
            .header(USER_AGENT, concat!("claude-relay-client/", env!("CARGO_PKG_VERSION")))
            .body(Empty::<Bytes>::new())
            .map_err(|error| self.failed(None, error))?;
        if let Some(credentials) = credentials {
            request.headers_mut().insert(PROXY_AUTHORIZATION, credentials.clone());
        }
        let broken = |error: hyper::Error| self.failed(None, error);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let open = async move {
            let mut response = sender.send_request(request).await.map_err(broken)?;
            match response.status() {
                status if status.is_success() => {
                    hyper::upgrade::on(&mut response).await.map(TokioIo::new).map_err(broken)
                }
                status => Err(self.refused(status, &target, credentials.is_some())),
            }
        };
        let mut connection = std::pin::pin!(connection.with_upgrades());
        let mut open = std::pin::pin!(open);
        let mut is_open = true;
        loop {
            tokio::select! {
                biased;
                tunnel = &mut open => return tunnel,
                _ = &mut connection, if is_open => is_open = false,
            }
        }
    }

    fn refused(&self, status: StatusCode, target: &str, with_login: bool) -> RequestError {
        let reason = match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED if !with_login => format!(
                "it wants a user and a password (407): write them into {}, as in http://USER:PASSWORD@HOST:PORT",
                self.variable
            ),
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                format!("it refuses the user and password of {} (407)", self.variable)
            }
            _ => format!("it answers {status} to CONNECT {target}"),
        };
        self.failed(Some(status.as_u16()), reason)
    }

    /// The failure of the proxy itself.
    pub(crate) fn unreachable(&self, error: &io::Error) -> RequestError {
        self.failed(None, error)
    }

    fn failed(&self, status: Option<u16>, reason: impl ToString) -> RequestError {
        RequestError::Proxy {
            proxy: format!("{}://{}", self.kind.scheme(), join(&self.host, self.port)),
            variable: self.variable,
            status,
            reason: reason.to_string(),
        }
    }
}

/// The first address of a host's name, as this machine knows it.
async fn looked_up(address: &Address) -> Result<String, RequestError> {
    let failed =
        |source| RequestError::Connect { address: address.authority(), source: Arc::new(source) };
    let mut found =
        tokio::net::lookup_host((&*address.host, address.port)).await.map_err(failed)?;
    let first = found.next().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    Ok(first.ip().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&'static str, &str)]) -> ProxyVariables {
        let find = |wanted: &str| {
            let found = pairs.iter().find(|(name, _)| *name == wanted);
            found.map(|(name, value)| (*name, (*value).to_owned()))
        };
        ProxyVariables {
            http: find("HTTP_PROXY"),
            https: find("HTTPS_PROXY"),
            all: find("ALL_PROXY"),
            no: find("NO_PROXY").map(|(_, value)| value),
        }
    }

    /// The proxy as `tls host port`, `direct`, or the error.
    fn way(pairs: &[(&'static str, &str)], url: &str) -> String {
        match variables(pairs).proxy_for(&Address::parse(url).unwrap()) {
            Ok(Some(Proxy { kind, host, port, .. })) => format!("{} {host} {port}", kind.scheme()),
            Ok(None) => "direct".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_scheme_of_the_address_chooses_the_variable() {
        let all = &[
            ("HTTP_PROXY", "http://one:1"),
            ("HTTPS_PROXY", "https://two"),
            ("ALL_PROXY", "three:3"),
        ];
        assert_eq!(way(all, "ws://relay.example"), "http one 1");
        assert_eq!(way(all, "wss://relay.example"), "https two 443");
        assert_eq!(way(&all[2..], "ws://relay.example"), "http three 3");
        assert_eq!(way(&all[2..], "wss://relay.example"), "http three 3");
        assert_eq!(way(&all[..1], "wss://relay.example"), "direct");
        assert_eq!(way(&[("ALL_PROXY", "http://[::1]:3128/")], "wss://x.test"), "http ::1 3128");
    }

    #[test]
    fn this_machine_is_reached_directly() {
        let proxy = &[("ALL_PROXY", "http://proxy:1")];
        for url in ["http://127.0.0.1:3000", "ws://[::1]:3000", "wss://localhost", "a.localhost:1"]
        {
            assert_eq!(way(proxy, url), "direct", "{url}");
        }
    }

    #[test]
    fn every_usual_form_of_an_exception_holds() {
        for (no, direct) in [
            ("relay.example", true),
            ("RELAY.example", true),
            (".example", true),
            ("*.example", true),
            ("example", true),
            ("*", true),
            ("other.test, relay.example", true),
            ("other.test relay.example", true),
            ("relay.example:8443", true),
            ("*.example:8443", true),
            ("relay.example:443", false),
            ("lay.example", false),
            ("sub.relay.example", false),
            ("", false),
            (",, ,", false),
        ] {
            let pairs = &[("HTTPS_PROXY", "http://proxy:1"), ("NO_PROXY", no)];
            let way = way(pairs, "wss://relay.example:8443");
            assert_eq!(way == "direct", direct, "{no}: {way}");
        }
        for (no, url, direct) in [
            ("10.0.0.0/8", "http://10.1.2.3:3000", true),
            ("10.1.2.3", "http://10.1.2.3:3000", true),
            ("10.1.2.3:3000", "http://10.1.2.3:3000", true),
            ("10.1.2.3:80", "http://10.1.2.3:3000", false),
            ("10.0.0.0/16", "http://10.1.2.3:3000", false),
            ("fd00::/8", "http://[fd00::1]:3000", true),
            ("fd00::1", "http://[fd00::1]:3000", true),
            ("[fd00::1]:3000", "http://[fd00::1]:3000", true),
            ("[fd00::1]:80", "http://[fd00::1]:3000", false),
            ("fd00::2", "http://[fd00::1]:3000", false),
        ] {
            let pairs = &[("HTTP_PROXY", "http://proxy:1"), ("NO_PROXY", no)];
            let way = way(pairs, url);
            assert_eq!(way == "direct", direct, "{no}: {way}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_told_and_never_avoided() {
        for (value, reason) in [
            ("socks4://u:hunter2@proxy", "of the kind socks4 cannot be used"),
            ("ftp://proxy", "not the address of a proxy"),
            ("http:/proxy", "not the address of a proxy"),
            ("not a URL", "not the address of a proxy"),
            ("http://", "not the address of a proxy"),
        ] {
            for variable in ["HTTPS_PROXY", "ALL_PROXY"] {
                let told = way(&[(variable, value)], "wss://relay.example");
                assert!(told.starts_with(variable) && told.contains(reason), "{value}: {told}");
                assert!(!told.contains("hunter2"), "{told}");
            }
        }
        let excepted = &[("ALL_PROXY", "socks5://proxy:1"), ("NO_PROXY", "relay.example")];
        assert_eq!(way(excepted, "wss://relay.example"), "direct");
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let proxy = variables(&[("ALL_PROXY", "http://user:p%40ss@proxy:1")])
            .proxy_for(&Address::parse("wss://relay.example").unwrap())
            .unwrap()
            .unwrap();
        let Kind::Http { credentials, .. } = &proxy.kind else { panic!("{proxy:?}") };
        assert_eq!(credentials.as_ref().unwrap(), "Basic dXNlcjpwQHNz");
        let shown = format!("{proxy:?} {}", proxy.failed(None, "x"));
        assert!(!shown.contains("dXNl") && !shown.contains("p%40ss"), "{shown}");
    }

    #[test]
    fn socks_is_a_way_with_the_name_looked_up_here_or_there() {
        let way = |value| way(&[("ALL_PROXY", value)], "wss://relay.example");
        assert_eq!(way("socks5h://proxy"), "socks5h proxy 1080");
        assert_eq!(way("socks5://[::1]:9050"), "socks5 ::1 9050");
        let proxy = variables(&[("ALL_PROXY", "socks5h://user:p%40ss@proxy")])
            .proxy_for(&Address::parse("wss://relay.example").unwrap())
            .unwrap()
            .unwrap();
        let Kind::Socks { login, .. } = &proxy.kind else { panic!("{proxy:?}") };
        assert_eq!(*login, Some(("user".to_owned(), "p@ss".to_owned())));
        assert!(!format!("{proxy:?}").contains("p@ss"), "{proxy:?}");
    }
}
