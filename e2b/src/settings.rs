//! Address of the API and credentials: reads options and the environment,
//! returns typed settings. Only this file of the crate reads the environment.
//!
//! Precedence and defaults are those of the official SDK: an option overrides
//! the variable, the variable overrides the default, and an empty variable
//! counts as unset.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use claude_relay_protocol::Secret;
use claude_relay_protocol::proxy::{Proxy, ProxyVariables, UnusableProxy};
use reqwest::Url;

/// Variable of the API key.
pub const API_KEY: &str = claude_relay_protocol::credentials::E2B_API_KEY;
/// Variable of the control plane's address.
pub const API_URL: &str = "E2B_API_URL";
/// Variable of the domain, from which the other addresses are built.
pub const DOMAIN: &str = "E2B_DOMAIN";
/// Variable of one address for all sandboxes.
pub const SANDBOX_URL: &str = "E2B_SANDBOX_URL";
/// Variable of debug mode, in which everything is on this machine.
pub const DEBUG: &str = "E2B_DEBUG";

/// The domain of E2B's own cloud.
pub const DEFAULT_DOMAIN: &str = "e2b.app";
/// Default time limit of a request.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Port of envd, E2B's agent inside each sandbox.
pub const ENVD_PORT: u16 = 49983;

/// Domains that E2B runs itself. There all sandboxes share one address, and the
/// headers of a request name its sandbox.
const SHARED_ADDRESS_DOMAINS: [&str; 4] = ["e2b.app", "e2b.dev", "e2b.pro", "e2b-staging.dev"];

/// Options of a caller. A missing one comes from the environment, otherwise
/// from the defaults.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The API key. Default: `E2B_API_KEY`, which is required then.
    pub api_key: Option<Secret>,
    /// The address of the control plane. Default: `E2B_API_URL`, then
    /// `http://localhost:3000` in debug mode, then `https://api.<domain>`.
    pub api_url: Option<String>,
    /// The domain. Default: `E2B_DOMAIN`, then [`DEFAULT_DOMAIN`].
    pub domain: Option<String>,
    /// One address for all sandboxes, selected by routing headers: a
    /// self-hosted proxy, or a test. Default: `E2B_SANDBOX_URL`, then none.
    pub sandbox_url: Option<String>,
    /// Debug mode: everything is on this machine, with one sandbox that is
    /// never created or killed. Default: `E2B_DEBUG` is `true`.
    pub debug: Option<bool>,
    /// The time limit of one request, including retries. Default:
    /// [`DEFAULT_REQUEST_TIMEOUT`]. Zero means no limit.
    pub request_timeout: Option<Duration>,
    /// Certificates, in PEM, to trust beside the platform's, as for a proxy
    /// that opens TLS.
    pub root_certificates: Vec<Vec<u8>>,
}

/// Settings of a client: complete, checked, immutable.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) api_key: Secret,
    pub(crate) api_url: Url,
    pub(crate) domain: String,
    pub(crate) sandbox_url: Option<Url>,
    pub(crate) debug: bool,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) root_certificates: Vec<Vec<u8>>,
    pub(crate) proxies: ProxyVariables,
}

/// Reason for refusing the settings. Nothing has been sent.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// Neither the option nor the variable holds a key.
    #[error("an E2B API key is required: set E2B_API_KEY to the key from your E2B dashboard")]
    MissingApiKey,
    /// The key cannot be a header value. The message does not contain the key.
    #[error(
        "the E2B API key holds a character that no key has: copy it again, without line breaks"
    )]
    ApiKey,
    /// The value is not an address.
    #[error("{name} is not an http or https address: {value:?}")]
    Address {
        /// The variable's name.
        name: &'static str,
        /// The value.
        value: String,
    },
    /// The address would carry the key over the network unencrypted.
    #[error(
        "{name} is {value:?}: http is accepted for this machine only, because secrets would travel in the clear; use https"
    )]
    Unencrypted {
        /// The variable's name.
        name: &'static str,
        /// The value.
        value: String,
    },
    /// The `.env` file must not or cannot be read.
    #[error("{0}")]
    DotEnv(String),
    /// A variable names a proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] UnusableProxy),
    /// The domain contains characters that no domain has.
    #[error("E2B_DOMAIN is not a domain name: {0:?}")]
    Domain(String),
}

/// A source of variables: the process's environment, or a map in a test.
pub trait Environment {
    /// Returns the value of a variable, `None` if it is unset or empty.
    fn get(&self, name: &str) -> Option<String>;

    /// Returns the value of a variable that no file may set.
    fn of_process(&self, name: &str) -> Option<String> {
        self.get(name)
    }
}

impl Environment for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        Self::get(self, name).filter(|value| !value.is_empty()).cloned()
    }
}

/// The environment of this process, with missing variables from a `.env` file
/// in the working directory.
pub struct ProcessEnvironment {
    file: BTreeMap<String, String>,
}

impl ProcessEnvironment {
    /// Reads the `.env` file, if there is one. It may hold secrets; an address
    /// counts only when its credential comes from the same file.
    ///
    /// # Errors
    ///
    /// When somebody else may have written the file, or it cannot be read.
    pub fn read() -> Result<Self, SettingsError> {
        let is_set = |name: &str| Self::real(name).is_some();
        let found = claude_relay_dotenv::load(Path::new("."), None, is_set)
            .map_err(|error| SettingsError::DotEnv(error.to_string()))?;
        if !found.variables.is_empty() {
            tracing::info!("{found}");
        }
        Ok(Self { file: found.variables })
    }

    /// The environment alone, without a file.
    #[must_use]
    pub fn without_file() -> Self {
        Self { file: BTreeMap::new() }
    }

    #[expect(clippy::disallowed_methods, reason = "this file is the one reader of the environment")]
    fn real(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        Self::real(name).or_else(|| Environment::get(&self.file, name))
    }

    fn of_process(&self, name: &str) -> Option<String> {
        Self::real(name)
    }
}

impl Options {
    /// Completes the options from the process's environment and a `.env` file.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn resolve(self) -> Result<Settings, SettingsError> {
        // An address of the file is good for the key of the file alone.
        let environment = match &self.api_key {
            Some(_) => ProcessEnvironment::without_file(),
            None => ProcessEnvironment::read()?,
        };
        self.resolve_with(&environment)
    }

    /// Completes the options from the given environment.
    ///
    /// # Errors
    /// See [`SettingsError`].
    pub fn resolve_with(self, environment: &impl Environment) -> Result<Settings, SettingsError> {
        let pick = |option: Option<String>, name| {
            option.filter(|value| !value.is_empty()).or_else(|| environment.get(name))
        };

        let debug = self.debug.unwrap_or_else(|| {
            environment.get(DEBUG).is_some_and(|value| value.eq_ignore_ascii_case("true"))
        });
        let domain = pick(self.domain, DOMAIN).unwrap_or_else(|| DEFAULT_DOMAIN.to_owned());
        if !is_domain(&domain) {
            return Err(SettingsError::Domain(domain));
        }

        let api_url = pick(self.api_url, API_URL).unwrap_or_else(|| match debug {
            true => "http://localhost:3000".to_owned(),
            false => format!("https://api.{domain}"),
        });
        let api_url = address(API_URL, &api_url)?;
        let sandbox_url = pick(self.sandbox_url, SANDBOX_URL)
            .map(|value| address(SANDBOX_URL, &value))
            .transpose()?;

        let api_key = self
            .api_key
            .filter(|key| !key.is_empty())
            .or_else(|| environment.get(API_KEY).map(Secret::from))
            .ok_or(SettingsError::MissingApiKey)?;
        let visible = |byte: u8| (0x21..=0x7e).contains(&byte);
        if !api_key.expose().bytes().all(visible) {
            return Err(SettingsError::ApiKey);
        }

        let request_timeout = self.request_timeout.unwrap_or(DEFAULT_REQUEST_TIMEOUT);
        let request_timeout = (!request_timeout.is_zero()).then_some(request_timeout);
        let root_certificates = self.root_certificates;
        let settings = Settings {
            api_key,
            api_url,
            domain,
            sandbox_url,
            debug,
            request_timeout,
            root_certificates,
            proxies: ProxyVariables::read(|name| environment.of_process(name)),
        };
        // One that is of no use is told before anything is sent past it.
        let sandboxes = settings.sandbox_url.clone();
        let sandboxes =
            sandboxes.or_else(|| Url::parse(&format!("https://{}", settings.domain)).ok());
        for url in [Some(&settings.api_url), sandboxes.as_ref()].into_iter().flatten() {
            settings.proxy_for(url)?;
        }
        Ok(settings)
    }
}

impl Settings {
    /// Returns the domain from which addresses are built.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the proxy on the way to an address; `None` for the direct way, which
    /// is the one to this machine.
    pub(crate) fn proxy_for(&self, url: &Url) -> Result<Option<Proxy>, UnusableProxy> {
        if is_loopback(url) {
            return Ok(None);
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or_default();
        self.proxies.proxy_for(url.scheme() == "https", host, port)
    }

    /// Returns whether this is debug mode: everything is on this machine.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        self.debug
    }

    /// Returns whether E2B itself runs this domain, so that the envd of all its
    /// sandboxes is at `sandbox.<domain>`.
    pub(crate) fn shares_address(domain: &str) -> bool {
        SHARED_ADDRESS_DOMAINS.contains(&domain)
    }
}

/// Returns whether every byte may be part of a host name with an optional port,
/// so that none of them can move a request to another host or path.
pub(crate) fn is_domain(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
    !text.is_empty() && text.bytes().all(fits)
}

fn address(name: &'static str, value: &str) -> Result<Url, SettingsError> {
    let url = Url::parse(value)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| SettingsError::Address { name, value: value.to_owned() })?;
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err(SettingsError::Unencrypted { name, value: value.to_owned() });
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Help text about the variables of the settings, for `--help`.
pub struct VariablesHelp;

impl fmt::Display for VariablesHelp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "Environment (a .env file in the working directory is read too; empty counts as unset):\n  \
             E2B_API_KEY      the API key\n  \
             E2B_DOMAIN       the domain, default e2b.app\n  \
             E2B_API_URL      the control plane, default https://api.<domain>\n  \
             E2B_SANDBOX_URL  one address for all sandboxes, for self-hosting\n  \
             E2B_DEBUG        true: everything is on this machine",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn resolve(options: Options, pairs: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        options.resolve_with(&environment(pairs))
    }

    #[test]
    fn a_key_is_required_and_an_empty_one_counts_as_unset() {
        assert_eq!(resolve(Options::default(), &[]).unwrap_err(), SettingsError::MissingApiKey);
        assert_eq!(
            resolve(Options::default(), &[(API_KEY, "")]).unwrap_err(),
            SettingsError::MissingApiKey
        );
    }

    #[test]
    fn defaults_are_those_of_the_sdk() {
        let settings = resolve(Options::default(), &[(API_KEY, "e2b_1")]).unwrap();
        assert_eq!(settings.api_url.as_str(), "https://api.e2b.app/");
        assert_eq!(settings.domain, "e2b.app");
        assert!(settings.sandbox_url.is_none());
        assert!(!settings.debug);
        assert_eq!(settings.request_timeout, Some(Duration::from_secs(60)));
    }

    #[test]
    fn an_option_beats_the_variable_and_the_variable_the_default() {
        let variables = [
            (API_KEY, "e2b_1"),
            (DOMAIN, "self.example"),
            (API_URL, "https://one.example"),
            (SANDBOX_URL, ""),
        ];
        let settings = resolve(Options::default(), &variables).unwrap();
        assert_eq!(settings.api_url.as_str(), "https://one.example/");
        assert_eq!(settings.domain, "self.example");
        assert!(settings.sandbox_url.is_none(), "empty counts as unset");

        let options = Options { api_url: Some("https://two.example".into()), ..Options::default() };
        assert_eq!(resolve(options, &variables).unwrap().api_url.as_str(), "https://two.example/");
    }

    #[test]
    fn debug_points_at_this_machine_in_any_case_of_the_word() {
        let settings = resolve(Options::default(), &[(API_KEY, "k"), (DEBUG, "TRUE")]).unwrap();
        assert!(settings.debug);
        assert_eq!(settings.api_url.as_str(), "http://localhost:3000/");
        assert!(!resolve(Options::default(), &[(API_KEY, "k"), (DEBUG, "1")]).unwrap().debug);
    }

    #[test]
    fn the_key_never_travels_in_the_clear_to_another_machine() {
        let plain = [(API_KEY, "k"), (API_URL, "http://api.example")];
        let error = resolve(Options::default(), &plain).unwrap_err();
        assert!(matches!(error, SettingsError::Unencrypted { name: API_URL, .. }), "{error}");
        for here in
            ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost", "http://x.localhost"]
        {
            assert!(
                resolve(Options::default(), &[(API_KEY, "k"), (API_URL, here)]).is_ok(),
                "{here}"
            );
        }
    }

    #[test]
    fn a_value_that_is_no_address_is_named() {
        for (name, value) in [(API_URL, "ftp://x"), (SANDBOX_URL, "nonsense")] {
            let error = resolve(Options::default(), &[(API_KEY, "k"), (name, value)]).unwrap_err();
            assert!(error.to_string().starts_with(name), "{error}");
        }
        let error = resolve(Options::default(), &[(API_KEY, "k"), (DOMAIN, "a/b")]).unwrap_err();
        assert_eq!(error, SettingsError::Domain("a/b".into()));
    }

    #[test]
    fn the_key_is_in_no_debug_output() {
        let settings = resolve(Options::default(), &[(API_KEY, "e2b_canary")]).unwrap();
        assert!(!format!("{settings:?}").contains("canary"));
        let error = resolve(Options::default(), &[(API_KEY, "e2b_canary\n")]).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
