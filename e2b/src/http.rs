//! HTTP client: sends one request with its headers, time limit and retries, and
//! turns a refusal into an error. The API key is attached in one place here,
//! for the control plane alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claude_relay_protocol::Secret;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::cleanup::Cleanup;
use crate::error::Error;
use crate::generation::Known;
use crate::retry::Operation;
use crate::settings::Settings;

/// Longest JSON answer that is accepted.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Time limit of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Number of idle connections that are kept per host.
const MAX_IDLE_CONNECTIONS: usize = 32;
/// Address of a proxy that nobody has, for one that cannot be used.
const NO_PROXY_AT_ALL: &str = "http://proxy.invalid:1";
/// `User-Agent` of this client. It must not begin like that of an official SDK,
/// whose version selects how a template is built, nor contain the name of a
/// browser, for which the sandbox proxy sends errors as HTML.
const USER_AGENT: &str = concat!("claude-relay-e2b/", env!("CARGO_PKG_VERSION"));

/// Header of the API key.
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// `Content-Type` of a request without a body, as the SDK sends it.
pub(crate) const NO_BODY: Option<&()> = None;

/// Client of one E2B account. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct E2b {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    http: reqwest::Client,
    cleanup: Cleanup,
    generation: Known,
}

impl std::fmt::Debug for E2b {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("E2b").field("api_url", &self.inner.settings.api_url.as_str()).finish()
    }
}

/// A request without the receiver's secrets.
pub(crate) struct Request {
    /// The row that says whether it is repeated.
    pub(crate) kind: Operation,
    pub(crate) operation: String,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// The longest answer that is accepted.
    pub(crate) limit: usize,
    /// The time limit of the whole request; `None` means that of the settings.
    pub(crate) within: Option<Duration>,
}

/// A complete answer with a status below 300.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl E2b {
    /// Creates a client with these settings. Sends nothing.
    ///
    /// # Errors
    /// [`Error::Tls`] if TLS cannot be set up on this machine, or a root
    /// certificate of the settings cannot be read.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        // The provider is passed instead of being installed for the whole
        // process: a library must not change the globals of a process.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots: Vec<CertificateDer<'static>> = settings
            .root_certificates
            .iter()
            .flat_map(|pem| CertificateDer::pem_slice_iter(pem))
            .collect::<Result<_, _>>()
            .map_err(|error| Error::Tls(format!("not PEM: {error:?}").into()))?;
        let verifier =
            rustls_platform_verifier::Verifier::new_with_extra_roots(roots, Arc::clone(&provider))
                .map_err(|error| Error::Tls(error.into()))?;
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Tls(error.into()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .user_agent(USER_AGENT)
            .proxy(proxy_of(settings.clone()))
            // A redirect would send the key to another address.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Error::Tls(error.into()))?;
        Ok(Self {
            inner: Arc::new(Inner {
                settings,
                http,
                cleanup: Cleanup::new(),
                generation: Known::default(),
            }),
        })
    }

    /// Creates a client with settings from the environment alone.
    ///
    /// # Errors
    /// [`Error::Settings`] and [`Error::Tls`].
    pub fn from_environment() -> Result<Self, Error> {
        Self::new(crate::settings::Options::default().resolve()?)
    }

    /// Returns the settings of this client.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Returns what is known of the server's generation.
    pub(crate) fn generation(&self) -> &Known {
        &self.inner.generation
    }

    /// Returns the background tasks of dropped guards and lost answers.
    pub(crate) fn cleanup(&self) -> &Cleanup {
        &self.inner.cleanup
    }

    /// Calls the control plane: the only place where the key is attached.
    pub(crate) async fn api(
        &self,
        kind: Operation,
        operation: String,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&impl Serialize>,
    ) -> Result<Answer, Error> {
        let request = self.api_request(kind, operation, method, path, query, body)?;
        self.send(request).await
    }

    /// Returns a request to the control plane, with the key.
    pub(crate) fn api_request(
        &self,
        kind: Operation,
        operation: String,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&impl Serialize>,
    ) -> Result<Request, Error> {
        let mut url = self.inner.settings.api_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut headers = HeaderMap::new();
        let key = secret_header(&self.inner.settings.api_key, &operation)?;
        headers.insert(API_KEY, key);
        let body = body.map(|body| json(&operation, body)).transpose()?;
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let limit = MAX_ANSWER_BYTES;
        Ok(Request { kind, operation, method, url, headers, body, limit, within: None })
    }

    /// Sends a request, with retries, until the final answer.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Error> {
        let within = request.within.or(self.inner.settings.request_timeout);
        let deadline = within.map(|wait| Instant::now() + wait);
        let policy = request.kind.policy();
        let mut backoff = policy.backoff();
        let mut retries = 0;
        loop {
            let error = match self.send_once(&request, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if retries == policy.retries || !policy.allows(request.kind, &error) {
                return Err(error);
            }
            let wait = match &error {
                Error::RateLimited { retry_after: Some(wait), .. } => *wait,
                _ => backoff.next_wait(),
            };
            if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
                return Err(error);
            }
            tracing::debug!(%error, ?wait, "repeating a request");
            tokio::time::sleep(wait).await;
            retries += 1;
        }
    }

    async fn send_once(
        &self,
        request: &Request,
        deadline: Option<Instant>,
    ) -> Result<Answer, Error> {
        let whole = async {
            let response = self.open(request).await?;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            let body = read(response, request.limit, &request.operation).await?;
            match status {
                200..=299 => Ok(Answer { headers, body }),
                _ => Err(match Error::of_answer(&request.operation, status, &headers, &body) {
                    // The API's key was not asked for.
                    Error::Unauthorized(refusal) if !request.headers.contains_key(API_KEY) => {
                        Error::SandboxUnauthorized(refusal)
                    }
                    error => error,
                }),
            }
        };
        let Some(deadline) = deadline else {
            return whole.await;
        };
        tokio::time::timeout_at(deadline, whole).await.unwrap_or_else(|_| {
            let after = request.within.or(self.inner.settings.request_timeout).unwrap_or_default();
            Err(Error::TimedOut { operation: request.operation.clone(), after })
        })
    }

    /// Sends a request and returns after the response head, whatever the
    /// status; for streams and for bodies that are not JSON.
    pub(crate) async fn open(&self, request: &Request) -> Result<reqwest::Response, Error> {
        let mut builder = self
            .inner
            .http
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        if !request.headers.contains_key(ACCEPT) {
            builder = builder.header(ACCEPT, "application/json");
        }
        if let Some(body) = &request.body {
            // A body of known size has a Content-Length: the storage for a
            // template's files does not accept chunked bodies.
            builder = builder.body(body.clone());
        }
        builder.send().await.map_err(|error| {
            let is_connect = error.is_connect();
            let mut error = unreachable(&request.operation, &request.url, error);
            if let Error::Unreachable { proxy, .. } = &mut error
                && is_connect
                && let Ok(Some(found)) = self.inner.settings.proxy_for(&request.url)
            {
                *proxy = Some(Box::new(found));
            }
            error
        })
    }
}

impl Answer {
    /// Parses the body as the type in the specification.
    pub(crate) fn json<T: DeserializeOwned>(&self, operation: &str) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Malformed {
            operation: operation.to_owned(),
            source: error.into(),
        })
    }
}

/// Returns a secret as a header value that debug output hides.
pub(crate) fn secret_header(secret: &Secret, operation: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| Error::Malformed {
        operation: operation.to_owned(),
        source: "a token cannot be a header value".into(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

pub(crate) fn json(operation: &str, body: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| Error::Malformed { operation: operation.to_owned(), source: error.into() })
}

/// Reads a body up to a limit.
pub(crate) async fn read(
    mut response: reqwest::Response,
    limit: usize,
    operation: &str,
) -> Result<Bytes, Error> {
    let url = response.url().clone();
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| unreachable(operation, &url, error))?;
        let Some(chunk) = chunk else {
            return Ok(body.into());
        };
        if body.len() + chunk.len() > limit {
            return Err(Error::Malformed {
                operation: operation.to_owned(),
                source: format!("it is longer than {limit} bytes").into(),
            });
        }
        body.extend_from_slice(&chunk);
    }
}

/// Returns the choice of a proxy as the whole program makes it, and not by the rules
/// of reqwest, which goes past a proxy that it cannot use.
fn proxy_of(settings: Settings) -> reqwest::Proxy {
    reqwest::Proxy::custom(move |url| {
        let proxy = settings.proxy_for(url).transpose()?;
        // The settings were checked: this refuses what was not foreseen.
        let nowhere = || Url::parse(NO_PROXY_AT_ALL).ok();
        proxy.ok().and_then(|proxy| Url::parse(proxy.expose()).ok()).or_else(nowhere)
    })
}

/// Returns the error for a lost connection. It names only the host: a query may
/// hold a signature.
fn unreachable(operation: &str, url: &Url, error: reqwest::Error) -> Error {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Error::Unreachable {
        operation: operation.to_owned(),
        host: format!("{}{port}", url.host_str().unwrap_or_default()),
        sent: !error.is_connect(),
        proxy: None,
        source: error.without_url(),
    }
}
