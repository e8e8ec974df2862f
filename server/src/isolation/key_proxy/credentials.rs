//! Which variables hold a credential, what stands in for each, and how a
//! request gets the real one back.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use claude_relay_protocol::Secret;
use claude_relay_protocol::credentials::{BASE_URL, CUSTOM_HEADERS, logins};
use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, Scheme};

/// Where the API is when nothing else is said.
const DEFAULT_BASE: &str = "https://api.anthropic.com";

/// Providers that are spoken to in other ways.
const PROVIDERS: [&str; 3] =
    ["CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_VERTEX"];

/// Ways around that the proxy does not know how to take.
const PROXY_VARIABLES: [&str; 6] =
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

/// The header in which an API key travels.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Shorter values are not looked for in other variables: they would be found
/// in words that are no secrets.
const SHORTEST: usize = 8;

/// Why the credentials of an environment cannot be kept from the agent. The
/// text holds none of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubstituteError {
    /// There is none.
    #[error(
        "--key-proxy has no credential to keep: set ANTHROPIC_API_KEY, ANTHROPIC_AUTH_TOKEN or CLAUDE_CODE_OAUTH_TOKEN, or configure one; a login in the CLI's own files is out of its reach"
    )]
    NoCredential,
    /// Another provider.
    #[error("--key-proxy knows the Messages API alone: unset {0}, or leave --key-proxy out")]
    Provider(&'static str),
    /// A way out that is not direct.
    #[error(
        "--key-proxy connects directly and does not use {0}: unset it, or leave --key-proxy out"
    )]
    ProxyVariable(&'static str),
    /// An address that is none.
    #[error("--key-proxy: ANTHROPIC_BASE_URL is no http or https address")]
    Address,
    /// A credential or header that cannot be sent.
    #[error("--key-proxy: {0} holds what no HTTP header can")]
    Header(&'static str),
    /// An address that this build cannot reach.
    #[error(
        "--key-proxy: this server was built without TLS (the feature `tls`), so it cannot reach an https address"
    )]
    NoTls,
}

/// Where the requests of one agent go, and what they get on the way.
///
/// `Debug` shows no secret: `HeaderValue`s of secrets are marked sensitive.
#[derive(Debug)]
pub struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// The path of the base address, without a slash at its end.
    prefix: String,
    substitutions: Vec<Substitution>,
    custom: Vec<(HeaderName, HeaderValue)>,
}

/// A placeholder key and what it stands for.
#[derive(Debug)]
struct Substitution {
    placeholder: Secret,
    /// As the value of `x-api-key`.
    plain: HeaderValue,
    /// As the value of `authorization`.
    bearer: HeaderValue,
}

/// A request that does not come from the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownCredential;

type Environment = Vec<(OsString, OsString)>;

/// Replaces the credentials of `env`. `proxy` is the address for the agent,
/// `draw` draws a placeholder key.
///
/// # Errors
///
/// See [`SubstituteError`].
pub fn substitute(
    env: Environment,
    proxy: &str,
    draw: impl Fn() -> String,
) -> Result<(Environment, Upstream), SubstituteError> {
    let value = |name: &str| {
        let found = env.iter().find(|(variable, _)| variable == name);
        found.map(|(_, value)| value.as_os_str()).filter(|value| !value.is_empty())
    };
    let set = |names: &[&'static str]| names.iter().find(|name| value(name).is_some()).copied();
    if let Some(provider) = set(&PROVIDERS) {
        return Err(SubstituteError::Provider(provider));
    }
    if let Some(variable) = set(&PROXY_VARIABLES) {
        return Err(SubstituteError::ProxyVariable(variable));
    }
    let (scheme, authority, prefix) = base(value(BASE_URL))?;
    let custom = custom_headers(value(CUSTOM_HEADERS))?;
    let mut substitutions = Vec::new();
    let mut replaced = Vec::new();
    // Each variable keeps its name: the agent behaves differently for each.
    for name in logins().map(|credential| credential.variable) {
        let Some(real) = value(name) else { continue };
        let placeholder = draw();
        replaced.push((real.as_bytes().to_owned(), placeholder.clone()));
        substitutions
            .push(Substitution::new(placeholder, real).ok_or(SubstituteError::Header(name))?);
    }
    if substitutions.is_empty() {
        return Err(SubstituteError::NoCredential);
    }
    let mut env: Environment = env
        .into_iter()
        .filter(|(name, _)| name != CUSTOM_HEADERS && name != BASE_URL)
        .map(|(name, value)| (name, without(&replaced, value)))
        .collect();
    env.push((BASE_URL.into(), proxy.into()));
    Ok((env, Upstream { scheme, authority, prefix, substitutions, custom }))
}

/// `value` without the secrets, of which somebody may have made a copy.
fn without(secrets: &[(Vec<u8>, String)], value: OsString) -> OsString {
    secrets.iter().fold(value, |value, (secret, placeholder)| {
        let bytes = value.as_bytes();
        if bytes == secret {
            return placeholder.into();
        }
        if secret.len() < SHORTEST || memchr::memmem::find(bytes, secret).is_none() {
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

fn base(address: Option<&OsStr>) -> Result<(Scheme, Authority, String), SubstituteError> {
    let address =
        address.map_or(Some(DEFAULT_BASE), OsStr::to_str).ok_or(SubstituteError::Address)?;
    let uri: Uri = address.trim().parse().map_err(|_| SubstituteError::Address)?;
    let parts = uri.into_parts();
    let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
        return Err(SubstituteError::Address);
    };
    if scheme != Scheme::HTTP && scheme != Scheme::HTTPS || authority.as_str().contains('@') {
        return Err(SubstituteError::Address);
    }
    if scheme == Scheme::HTTPS && !cfg!(feature = "tls") {
        return Err(SubstituteError::NoTls);
    }
    let prefix = parts.path_and_query.map_or(String::new(), |path| path.path().to_owned());
    Ok((scheme, authority, prefix.trim_end_matches('/').to_owned()))
}

/// The headers in `Name: value` lines, as the agent reads them.
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
    /// Puts the real credentials into `headers`.
    ///
    /// # Errors
    ///
    /// When a credential in them is none of the placeholder keys, or there is none.
    pub fn restore_credentials(&self, headers: &mut HeaderMap) -> Result<(), UnknownCredential> {
        let mut known = false;
        if let Some(shown) = headers.get(API_KEY) {
            let substitution = self.substitution(shown.as_bytes()).ok_or(UnknownCredential)?;
            headers.insert(API_KEY, substitution.plain.clone());
            known = true;
        }
        if let Some(shown) = headers.get(AUTHORIZATION) {
            let shown = shown.as_bytes().strip_prefix(b"Bearer ").ok_or(UnknownCredential)?;
            let substitution = self.substitution(shown).ok_or(UnknownCredential)?;
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

    fn substitution(&self, shown: &[u8]) -> Option<&Substitution> {
        self.substitutions.iter().find(|substitution| substitution.placeholder.matches(shown))
    }

    /// The address of `path_and_query` at the API. `None` when it is none.
    #[must_use]
    pub fn address(&self, path_and_query: &str) -> Option<Uri> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(format!("{}{path_and_query}", self.prefix))
            .build()
            .ok()
    }

    /// The value of `host`.
    #[must_use]
    pub fn host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.authority.as_str()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn environment(set: &[(&str, &str)]) -> Environment {
        set.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    fn covered(set: &[(&str, &str)]) -> Result<(Environment, Upstream), SubstituteError> {
        let drawn = Cell::new(0);
        substitute(environment(set), "http://127.0.0.1:9", || {
            drawn.set(drawn.get() + 1);
            format!("placeholder-{}", drawn.get())
        })
    }

    fn text(env: &Environment) -> String {
        env.iter().map(|(n, v)| format!("{}={};", n.display(), v.display())).collect()
    }

    fn headers(set: &[(&'static str, &str)]) -> HeaderMap {
        set.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
    }

    #[test]
    fn no_secret_is_left_in_the_environment() {
        let (env, upstream) = covered(&[
            ("HOME", "/h"),
            ("ANTHROPIC_API_KEY", "sk-secret-1"),
            ("CLAUDE_CODE_OAUTH_TOKEN", "oat-secret-2"),
            ("MY_COPY", "a sk-secret-1 and sk-secret-1."),
            ("ANTHROPIC_CUSTOM_HEADERS", "X-Gateway: gw-secret-3\nX-B:b"),
            ("ANTHROPIC_BASE_URL", "http://gw:8/base/"),
        ])
        .unwrap();
        assert_eq!(
            text(&env),
            "HOME=/h;ANTHROPIC_API_KEY=placeholder-1;CLAUDE_CODE_OAUTH_TOKEN=placeholder-2;MY_COPY=a placeholder-1 and placeholder-1.;ANTHROPIC_BASE_URL=http://127.0.0.1:9;"
        );
        assert!(!format!("{upstream:?}").contains("secret"), "{upstream:?}");
        assert_eq!(
            upstream.address("/v1/messages?beta=true").unwrap(),
            "http://gw:8/base/v1/messages?beta=true"
        );
    }

    #[test]
    fn a_stand_in_becomes_the_real_one_in_its_header() {
        let (_, upstream) = covered(&[
            ("ANTHROPIC_API_KEY", "key"),
            ("ANTHROPIC_AUTH_TOKEN", "token"),
            ("ANTHROPIC_CUSTOM_HEADERS", "X-Gateway: gw"),
            ("ANTHROPIC_BASE_URL", "http://gateway"),
        ])
        .unwrap();
        let mut sent =
            headers(&[("x-api-key", "placeholder-1"), ("authorization", "Bearer placeholder-2")]);
        assert_eq!(upstream.restore_credentials(&mut sent), Ok(()));
        assert_eq!(sent["x-api-key"], "key");
        assert_eq!(sent["authorization"], "Bearer token");
        assert_eq!(sent["x-gateway"], "gw");
        for strange in [
            &[][..],
            &[("x-api-key", "key")],
            &[("x-api-key", "placeholder-1 ")],
            &[("x-api-key", "placeholder-1"), ("authorization", "Bearer token")],
            &[("authorization", "placeholder-2")],
            &[("authorization", "Basic placeholder-2")],
            &[("authorization", "Bearer ")],
        ] {
            assert_eq!(
                upstream.restore_credentials(&mut headers(strange)),
                Err(UnknownCredential),
                "{strange:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_kept_is_said() {
        let key = ("ANTHROPIC_API_KEY", "key");
        // Without TLS the vendor's own address is a mistake of its own.
        let base = ("ANTHROPIC_BASE_URL", "http://gateway");
        for (set, expected) in [
            (&[base, ("ANTHROPIC_API_KEY", "")][..], SubstituteError::NoCredential),
            (
                &[base, key, ("CLAUDE_CODE_USE_VERTEX", "1")],
                SubstituteError::Provider("CLAUDE_CODE_USE_VERTEX"),
            ),
            (
                &[base, key, ("https_proxy", "http://p")],
                SubstituteError::ProxyVariable("https_proxy"),
            ),
            (&[key, ("ANTHROPIC_BASE_URL", "api.example.com")], SubstituteError::Address),
            (&[key, ("ANTHROPIC_BASE_URL", "ftp://h/")], SubstituteError::Address),
            (&[key, ("ANTHROPIC_BASE_URL", "http://user:pw@h/")], SubstituteError::Address),
            (&[base, ("ANTHROPIC_API_KEY", "a\nb")], SubstituteError::Header("ANTHROPIC_API_KEY")),
            (
                &[base, key, ("ANTHROPIC_CUSTOM_HEADERS", "no colon")],
                SubstituteError::Header(CUSTOM_HEADERS),
            ),
        ] {
            assert_eq!(covered(set).map(|_| ()), Err(expected), "{set:?}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn the_api_is_the_vendors_unless_said_otherwise() {
        let (_, upstream) = covered(&[("ANTHROPIC_API_KEY", "key")]).unwrap();
        assert_eq!(
            upstream.address("/v1/messages").unwrap(),
            "https://api.anthropic.com/v1/messages"
        );
    }
}
