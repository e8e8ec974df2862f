//! The proxy that the usual variables name for an address: one choice for every
//! client. Pure: variables in, a proxy out.

use std::fmt;

use http::{HeaderValue, Uri};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

/// A variable that is set, with its name.
pub type Variable = (&'static str, String);

/// The variables that say which proxy to use. Empty ones count as unset.
#[derive(Clone, Default)]
pub struct ProxyVariables {
    /// `HTTP_PROXY`, for addresses without TLS.
    pub http: Option<Variable>,
    /// `HTTPS_PROXY`, for addresses with it.
    pub https: Option<Variable>,
    /// `ALL_PROXY`, where neither says anything.
    pub all: Option<Variable>,
    /// `NO_PROXY`: hosts that are reached directly.
    pub no: Option<String>,
}

/// A proxy on the way to an address.
#[derive(Clone)]
pub struct Proxy {
    /// Its kind.
    pub scheme: Scheme,
    /// Its host, without the brackets of an IPv6 address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The variable that named it.
    pub variable: &'static str,
    /// The `Proxy-Authorization` for one that speaks HTTP.
    pub credentials: Option<HeaderValue>,
    /// User and password for SOCKS.
    pub login: Option<(String, String)>,
    /// Its address as it was given, with user and password.
    given: String,
}

/// A kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// By HTTP's `CONNECT`.
    Http,
    /// The same over TLS.
    Https,
    /// SOCKS 5 to an address that this machine has looked up.
    Socks5,
    /// SOCKS 5 to a name that the proxy looks up.
    Socks5h,
}

/// A variable that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {reason}")]
pub struct UnusableProxy {
    /// Its name.
    pub variable: &'static str,
    /// The reason, without its value.
    pub reason: String,
}

impl fmt::Debug for ProxyVariables {
    /// Names those that are set. Their values may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = [&self.http, &self.https, &self.all].into_iter().flatten();
        f.debug_list().entries(set.map(|(name, _)| name)).finish()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({})", self.variable)
    }
}

impl fmt::Display for Proxy {
    /// Writes its address without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.name(), bracketed(&self.host), self.port)
    }
}

impl Scheme {
    /// Returns its name in an address.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }
}

impl ProxyVariables {
    /// Reads them, in upper case and in lower case, from where `variable` gives the
    /// value of one that is set.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: [&'static str; 2]| -> Option<Variable> {
            let value = |name| variable(name).filter(|value| !value.is_empty());
            names.into_iter().find_map(|name| Some((name, value(name)?)))
        };
        // In a CGI program HTTP_PROXY is a header of whoever asks.
        let is_cgi = variable("REQUEST_METHOD").is_some();
        Self {
            http: first([if is_cgi { "http_proxy" } else { "HTTP_PROXY" }, "http_proxy"]),
            https: first(["HTTPS_PROXY", "https_proxy"]),
            all: first(["ALL_PROXY", "all_proxy"]),
            no: first(["NO_PROXY", "no_proxy"]).map(|(_, value)| value),
        }
    }

    /// Returns the proxy on the way to a host, without brackets, that is not this
    /// machine; `None` for the direct way.
    ///
    /// # Errors
    ///
    /// A variable cannot be used. Going the direct way instead would tell the
    /// network what was meant for the proxy.
    pub fn proxy_for(
        &self,
        tls: bool,
        host: &str,
        port: u16,
    ) -> Result<Option<Proxy>, UnusableProxy> {
        let specific = if tls { &self.https } else { &self.http };
        let Some((variable, value)) = specific.as_ref().or(self.all.as_ref()) else {
            return Ok(None);
        };
        let refused = |reason: &str| UnusableProxy { variable, reason: reason.to_owned() };
        let target: Uri = format!("https://{}/", bracketed(host))
            .parse()
            .map_err(|_| refused("it cannot be used for this address"))?;
        let no = self.no.as_deref().map_or(String::new(), |no| hosts(no, port));
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
        Proxy::new(&found, variable, value).map(Some)
    }
}

impl Proxy {
    fn new(found: &Intercept, variable: &'static str, value: &str) -> Result<Self, UnusableProxy> {
        let refused = |reason: String| UnusableProxy { variable, reason };
        let uri = found.uri();
        let (scheme, usual_port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, 80),
            Some("https") => (Scheme::Https, 443),
            Some("socks5") => (Scheme::Socks5, 1080),
            Some("socks5h") => (Scheme::Socks5h, 1080),
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
        let given =
            if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
        Ok(Self {
            scheme,
            host,
            port: uri.port_u16().unwrap_or(usual_port),
            variable,
            credentials: found.basic_auth().cloned(),
            login: found.raw_auth().map(|(user, password)| (user.to_owned(), password.to_owned())),
            given,
        })
    }

    /// Returns its address with user and password: not for the eyes of anybody.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.given
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

/// A host as it stands in a URL.
fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_counts_in_either_case_and_not_when_it_is_empty() {
        let read = |set: &[(&str, &str)]| {
            ProxyVariables::read(|wanted| {
                let found = set.iter().find(|(name, _)| *name == wanted);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let variables = read(&[("HTTPS_PROXY", ""), ("https_proxy", "a:1"), ("no_proxy", "b")]);
        assert_eq!(variables.https, Some(("https_proxy", "a:1".to_owned())));
        assert_eq!(variables.no.as_deref(), Some("b"));
        let proxy = variables.proxy_for(true, "c", 443).unwrap().unwrap();
        assert_eq!((proxy.to_string().as_str(), proxy.expose()), ("http://a:1", "http://a:1"));
        assert!(variables.proxy_for(true, "b", 443).unwrap().is_none());
        // A header of whoever asks a CGI program.
        let cgi = read(&[("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil:1")]);
        assert_eq!(cgi.http, None);
    }

    #[test]
    fn a_password_is_never_shown() {
        let all = Some(("ALL_PROXY", "http://user:hunter2@proxy:1".to_owned()));
        let variables = ProxyVariables { all, ..ProxyVariables::default() };
        let proxy = variables.proxy_for(true, "host", 443).unwrap().unwrap();
        let shown = format!("{variables:?} {proxy:?} {proxy}");
        assert!(shown.contains("ALL_PROXY") && !shown.contains("hunter2"), "{shown}");
        assert!(proxy.expose().contains("hunter2"));
    }
}
