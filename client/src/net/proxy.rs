//! The proxy on the way to a server, and the tunnel through it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use claude_relay_protocol::proxy::{ProxyVariables, Scheme, UnusableProxy};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use hyper::upgrade::Upgraded;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;

use crate::error::RequestError;
use crate::net::address::{Address, join};
use crate::net::dial::Stream;
use crate::net::socks::{self, Login, SocksError};

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

impl Proxy {
    /// The proxy on the way to `address`; `None` for the direct way.
    ///
    /// An address of this machine is always reached directly: what is sent to
    /// it may be secret and unencrypted, because it does not leave the machine.
    ///
    /// # Errors
    ///
    /// [`RequestError::InvalidOption`] names a variable that cannot be used.
    pub(crate) fn on_the_way(
        variables: &ProxyVariables,
        address: &Address,
    ) -> Result<Option<Self>, RequestError> {
        if address.is_local() {
            return Ok(None);
        }
        let found = variables.proxy_for(address.tls, &address.host, address.port);
        let found = found.map_err(|UnusableProxy { variable, reason }| {
            RequestError::InvalidOption { option: variable, reason }
        })?;
        Ok(found.map(|found| {
            let kind = match found.scheme {
                Scheme::Http | Scheme::Https => Kind::Http {
                    tls: found.scheme == Scheme::Https,
                    credentials: found.credentials,
                },
                Scheme::Socks5 | Scheme::Socks5h => {
                    Kind::Socks { looks_up: found.scheme == Scheme::Socks5h, login: found.login }
                }
            };
            Self { kind, host: found.host, port: found.port, variable: found.variable }
        }))
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
mod tests;
