//! One request and its answer: what is sent along, how long is waited, what
//! is repeated, and which error a refusal becomes. The API key is put on a
//! request in one place here, for the control plane alone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claude_relay_protocol::{Backoff, Secret};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::cleanup::Cleanup;
use crate::error::Error;
use crate::settings::Settings;

/// How often a request is repeated at most. Repeated are only answers that
/// prove that nothing has happened: a rate limit that says when to come back,
/// and a want of capacity that the API names as such.
pub const MAX_RETRIES: u32 = 3;
/// The first wait before a request is repeated for want of capacity; doubled
/// each time.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// The longest such wait.
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// The longest JSON answer that is read.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How many connections to one host are kept for later.
const MAX_IDLE_CONNECTIONS: usize = 32;
/// Our own name. It must not begin like an official SDK's, whose version
/// selects how a template is built, nor hold the name of a browser, for which
/// the edge makes its errors HTML.
const USER_AGENT: &str = concat!("claude-relay-e2b/", env!("CARGO_PKG_VERSION"));

/// For a request without a body: the type that there is none of.
pub(crate) const NO_BODY: Option<&()> = None;

/// A client of one E2B account. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct E2b {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    http: reqwest::Client,
    cleanup: Cleanup,
}

impl std::fmt::Debug for E2b {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("E2b").field("api_url", &self.inner.settings.api_url.as_str()).finish()
    }
}

/// A request that is ready but for the secrets of its receiver.
pub(crate) struct Request {
    pub(crate) operation: String,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Bytes>,
    /// How much of an answer is read.
    pub(crate) limit: usize,
    /// How long all of it may take; `None` is as the settings say.
    pub(crate) within: Option<Duration>,
}

/// A whole answer with a status below 300.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl E2b {
    /// A client with these settings. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Tls`] if no TLS is to be had on this machine.
    pub fn new(settings: Settings) -> Result<Self, Error> {
        let tls = |problem: &dyn std::fmt::Display| Error::Tls(problem.to_string());
        // The provider is named instead of installed for the whole process:
        // a library has no business with a process's globals.
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls_platform_verifier::Verifier::new(Arc::clone(&provider))
            .map_err(|error| tls(&error))?;
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| tls(&error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .user_agent(USER_AGENT)
            // A redirect would take the key along to wherever it points.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| tls(&error))?;
        Ok(Self { inner: Arc::new(Inner { settings, http, cleanup: Cleanup::new() }) })
    }

    /// A client with settings from the environment alone.
    ///
    /// # Errors
    /// [`Error::Settings`] and [`Error::Tls`].
    pub fn from_environment() -> Result<Self, Error> {
        Self::new(crate::settings::Options::default().resolve()?)
    }

    /// The settings of this client.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// What dropped guards and lost answers have set going.
    pub(crate) fn cleanup(&self) -> &Cleanup {
        &self.inner.cleanup
    }

    /// Calls the control plane: the one place where the key is attached.
    pub(crate) async fn api(
        &self,
        operation: String,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&impl Serialize>,
    ) -> Result<Answer, Error> {
        let mut url = self.inner.settings.api_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut headers = HeaderMap::new();
        let key = secret_header(&self.inner.settings.api_key, &operation)?;
        headers.insert(HeaderName::from_static("x-api-key"), key);
        let body = body.map(|body| json(&operation, body)).transpose()?;
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        self.send(Request {
            operation,
            method,
            url,
            headers,
            body,
            limit: MAX_ANSWER_BYTES,
            within: None,
        })
        .await
    }

    /// Sends a request until it is answered for good.
    pub(crate) async fn send(&self, request: Request) -> Result<Answer, Error> {
        let within = request.within.or(self.inner.settings.request_timeout);
        let deadline = within.map(|wait| Instant::now() + wait);
        let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
        let mut retries = 0;
        loop {
            let error = match self.send_once(&request, deadline).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let wait = match &error {
                Error::RateLimited { retry_after: Some(wait), .. } => *wait,
                Error::Busy(_) => backoff.next_wait(),
                _ => return Err(error),
            };
            let in_time = deadline.is_none_or(|deadline| Instant::now() + wait < deadline);
            if retries == MAX_RETRIES || !in_time {
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
                _ => Err(Error::of_answer(&request.operation, status, &headers, &body)),
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

    /// Sends a request and returns as soon as its status is there, whatever
    /// it is; for streams and for bodies that are not JSON.
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
            // A body of known size has a Content-Length: the storage that
            // takes a template's files does not take chunks.
            builder = builder.body(body.clone());
        }
        builder.send().await.map_err(|error| unreachable(&request.operation, &request.url, &error))
    }
}

impl Answer {
    /// The body as the type that the specification says.
    pub(crate) fn json<T: DeserializeOwned>(&self, operation: &str) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| Error::Malformed {
            operation: operation.to_owned(),
            problem: error.to_string(),
        })
    }
}

/// A secret as a header value that no debug output shows.
pub(crate) fn secret_header(secret: &Secret, operation: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| Error::Malformed {
        operation: operation.to_owned(),
        problem: "a token cannot be a header value".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

pub(crate) fn json(operation: &str, body: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|error| Error::Malformed {
        operation: operation.to_owned(),
        problem: error.to_string(),
    })
}

/// Reads a body up to a bound.
pub(crate) async fn read(
    mut response: reqwest::Response,
    limit: usize,
    operation: &str,
) -> Result<Bytes, Error> {
    let url = response.url().clone();
    let mut body = Vec::new();
    loop {
        let chunk = response.chunk().await.map_err(|error| unreachable(operation, &url, &error))?;
        let Some(chunk) = chunk else {
            return Ok(body.into());
        };
        if body.len() + chunk.len() > limit {
            return Err(Error::Malformed {
                operation: operation.to_owned(),
                problem: format!("it is longer than {limit} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
}

fn unreachable(operation: &str, url: &Url, error: &reqwest::Error) -> Error {
    // The innermost cause is the one that tells something; the address is
    // told as a host only, since a query may hold a signature.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Error::Unreachable {
        operation: operation.to_owned(),
        host: format!("{}{port}", url.host_str().unwrap_or_default()),
        sent: !error.is_connect(),
        problem: cause.to_string(),
    }
}
