//! The credentials in an environment, their placeholder keys, and the
//! restoration of the real ones in requests.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use claude_relay_protocol::Secret;
use claude_relay_protocol::credentials::CUSTOM_HEADERS;
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, Scheme};

use super::api::Api;

/// Switches to providers with other APIs.
const PROVIDERS: [&str; 3] =
    ["CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_VERTEX"];

/// Variables of HTTP proxies, which the key proxy does not support.
const PROXY_VARIABLES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// Header of an API key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Minimum length of a secret that is replaced inside other variables. Shorter
/// values would be found in text that is not secret.
const MIN_SECRET_BYTES: usize = 8;

/// Reason for which the credentials of an environment cannot be substituted.
/// The text holds no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubstituteError {
    /// There is no credential.
    #[error(
        "--key-proxy has no credential to keep: set {}, or configure one; a login in the agent's own files is out of its reach", .0.names()
    )]
    NoCredential(Api),
    /// Another provider is selected.
    #[error("--key-proxy knows the Messages API alone: unset {0}, or leave --key-proxy out")]
    Provider(&'static str),
    /// An HTTP proxy is configured.
    #[error(
        "--key-proxy connects directly and does not use {0}: unset it, or leave --key-proxy out"
    )]
    ProxyVariable(&'static str),
    /// The base address is not valid.
    #[error("--key-proxy: {0} is no http or https address")]
    Address(&'static str),
    /// A credential or header has characters that cannot be sent.
    #[error("--key-proxy: {0} holds what no HTTP header can")]
    Header(&'static str),
    /// The base address needs TLS, which this build lacks.
    #[error(
        "--key-proxy: this server was built without TLS (the feature `tls`), so it cannot reach an https address"
    )]
    NoTls,
}

/// The API that the requests of one agent are sent to, with the credentials and
/// headers to set.
///
/// `Debug` shows no secret: their `HeaderValue`s are marked sensitive.
#[derive(Debug)]
pub struct Upstream {
    api: Api,
    scheme: Scheme,
    authority: Authority,
    /// Path of the base address, without a trailing slash.
    prefix: String,
    substitutions: Vec<Substitution>,
    custom: Vec<(HeaderName, HeaderValue)>,
}

/// A placeholder key and the real credential.
#[derive(Debug)]
struct Substitution {
    placeholder: Secret,
    /// Value of `x-api-key`.
    plain: HeaderValue,
    /// Value of `authorization`.
    bearer: HeaderValue,
}

/// Error for a request that does not carry a placeholder key of the running
/// agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCredential;

type Environment = Vec<(OsString, OsString)>;

/// Replaces the credentials of `env`. `proxy` is the API address for the agent,
/// `draw` returns a new placeholder key.
///
/// # Errors
///
/// See [`SubstituteError`].
pub fn substitute(
    env: Environment,
    api: Api,
    proxy: &str,
    draw: impl Fn() -> String,
) -> Result<(Environment, Upstream), SubstituteError> {
    let value = |name: &str| {
        let found = env.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    };
    let set = |names: &[&'static str]| names.iter().find(|name| value(name).is_some()).copied();
    if let Some(provider) = set(&PROVIDERS).filter(|_| api == Api::Messages) {
        return Err(SubstituteError::Provider(provider));
    }
    if let Some(variable) = set(&PROXY_VARIABLES) {
        return Err(SubstituteError::ProxyVariable(variable));
    }
    let (scheme, authority, prefix) = base(api, value(api.base_variable()))?;
    let custom = match api {
        Api::Messages => custom_headers(value(CUSTOM_HEADERS))?,
        Api::Responses => Vec::new(),
    };
    let mut substitutions = Vec::new();
    let mut replaced = Vec::new();
    // Each variable keeps its name: the agent behaves differently for each.
    for name in api.logins().into_iter().map(|credential| credential.variable) {
        let Some(real) = value(name) else { continue };
        let placeholder = draw();
        replaced.push((real.as_bytes().to_owned(), placeholder.clone()));
        substitutions
            .push(Substitution::new(placeholder, real).ok_or(SubstituteError::Header(name))?);
    }
    if substitutions.is_empty() {
        return Err(SubstituteError::NoCredential(api));
    }
    let mut env: Environment = env
        .into_iter()
        .filter(|(name, _)| name != CUSTOM_HEADERS && name != api.base_variable())
        .map(|(name, value)| (name, replace_secrets(&replaced, value)))
        .collect();
    env.push((api.base_variable().into(), proxy.into()));
    Ok((env, Upstream { api, scheme, authority, prefix, substitutions, custom }))
}

/// Replaces the secrets in `value`, which may hold a copy of one.
fn replace_secrets(secrets: &[(Vec<u8>, String)], value: OsString) -> OsString {
    secrets.iter().fold(value, |value, (secret, placeholder)| {
        let bytes = value.as_bytes();
        if bytes == secret {
            return placeholder.into();
        }
        if secret.len() < MIN_SECRET_BYTES || memchr::memmem::find(bytes, secret).is_none() {
            return value;
        }
        let mut rest = bytes;
        let mut clean = Vec::new();
        while let Some(at) = memchr::memmem::find(rest, secret) {
            clean.extend_from_slice(&rest[..at]);
            clean.extend_from_slice(placeholder.as_bytes());
            rest = &rest[at + secret.len()..];
        }
        clean.extend_from_slice(rest);
        OsString::from_vec(clean)
    })
}

fn base(api: Api, address: Option<&OsStr>) -> Result<(Scheme, Authority, String), SubstituteError> {
    let bad = || SubstituteError::Address(api.base_variable());
    let address = address.map_or(Some(api.default_base()), OsStr::to_str).ok_or_else(bad)?;
    let uri: Uri = address.trim().parse().map_err(|_| bad())?;
    let parts = uri.into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
        return Err(bad());
    };
    if scheme != Scheme::HTTP && scheme != Scheme::HTTPS || authority.as_str().contains('@') {
        return Err(bad());
    }
    if scheme == Scheme::HTTPS && !cfg!(feature = "tls") {
        return Err(SubstituteError::NoTls);
    }
    let prefix = parts.path_and_query.map_or(String::new(), |path| path.path().to_owned());
    Ok((scheme, authority, prefix.trim_end_matches('/').to_owned()))
}

/// Parses headers in `Name: value` lines, as the agent does.
fn custom_headers(text: Option<&OsStr>) -> Result<Vec<(HeaderName, HeaderValue)>, SubstituteError> {
    let bad = SubstituteError::Header(CUSTOM_HEADERS);
    let Some(text) = text else { return Ok(Vec::new()) };
    let text = text.to_str().ok_or_else(|| bad.clone())?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
        })
        .map(|header| header.ok_or_else(|| bad.clone()))
        .collect()
}

impl Substitution {
    fn new(placeholder: String, real: &OsStr) -> Option<Self> {
        let real = real.to_str()?.trim();
        let mut plain = HeaderValue::from_str(real).ok()?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {real}")).ok()?;
        plain.set_sensitive(true);
        bearer.set_sensitive(true);
        Some(Self { placeholder: Secret::new(placeholder), plain, bearer })
    }
}

impl Upstream {
    /// Returns the API.
    pub(super) fn api(&self) -> Api {
        self.api
    }

    /// Replaces the placeholder keys in `headers` by the real credentials.
    ///
    /// # Errors
    ///
    /// Returns an error if `headers` holds no credential, or one that is not a
    /// placeholder key.
    pub fn restore_credentials(&self, headers: &mut HeaderMap) -> Result<(), UnknownCredential> {
        let mut known = false;
        if let Some(offered) = headers.get(API_KEY) {
            let substitution = self.substitution(offered.as_bytes()).ok_or(UnknownCredential)?;
            headers.insert(API_KEY, substitution.plain.clone());
            known = true;
        }
        if let Some(offered) = headers.get(AUTHORIZATION) {
            let offered = offered.as_bytes().strip_prefix(b"Bearer ").ok_or(UnknownCredential)?;
            let substitution = self.substitution(offered).ok_or(UnknownCredential)?;
            headers.insert(AUTHORIZATION, substitution.bearer.clone());
            known = true;
        }
        if !known {
            return Err(UnknownCredential);
        }
        for (name, value) in &self.custom {
            headers.insert(name.clone(), value.clone());
        }
        Ok(())
    }

    fn substitution(&self, offered: &[u8]) -> Option<&Substitution> {
        self.substitutions.iter().find(|substitution| substitution.placeholder.matches(offered))
    }

    /// Returns the address of `path_and_query` at the API, or `None` if it is
    /// not valid.
    #[must_use]
    pub fn address(&self, path_and_query: &str) -> Option<Uri> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path_and_query}", self.prefix))
            .build()
            .ok()
    }

    /// Returns the value of `host`.
    #[must_use]
    pub fn host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.authority.as_str()).ok()
    }
}

#[cfg(test)]
mod tests;
