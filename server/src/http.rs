//! The routes: the page, `/config`, `/health`, `/ws`.
//!
//! Whether a request may come in is decided by [`crate::access`] from its head
//! alone, before a body is read or a connection upgraded.

mod body;
mod upgrade;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::access::{Access, Denial, Door};
use crate::page;
use crate::session::{ConfigureError, SessionHandle};

/// How long a client may take for the head of a request, and how long an idle
/// connection is kept. An honest one needs a fraction of a second.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How many header fields a request may have, and how large its whole head may
/// be. Browsers stay below 50 fields and 16 KiB, cookies of others included.
const HEADERS: usize = 100;
const HEAD_BYTES: usize = 64 << 10;

/// How long the path and query of a request may be. A token and a stream id
/// fit many times.
const URI_BYTES: usize = 16 << 10;

/// What every request needs.
#[derive(Debug, Clone)]
pub struct Routes {
    /// Who may come in.
    pub access: Arc<Access>,
    /// The session.
    pub session: SessionHandle,
    /// Where upgraded connections go on.
    pub upgraded: tokio::sync::mpsc::Sender<upgrade::Upgraded>,
}

pub use upgrade::Upgraded;

type Answer = Response<Full<Bytes>>;

/// Serves one connection until it ends or is upgraded.
pub async fn serve(stream: TcpStream, routes: Routes) {
    let service = service_fn(move |request| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(routes.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        // Anybody can cause these; they are no news.
        tracing::debug!("a connection ended early: {error}");
    }
}

/// Serves upgraded connections until `upgraded` closes.
pub async fn serve_upgraded(
    mut upgraded: tokio::sync::mpsc::Receiver<Upgraded>,
    session: SessionHandle,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    while let Some(next) = upgraded.recv().await {
        connections.spawn(upgrade::go_on(next, session.clone()));
        while connections.try_join_next().is_some() {}
    }
    connections
}

impl Routes {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let cors = self.access.cors_origin(request.headers());
        let mut answer = match self.route(request).await {
            Ok(answer) => answer,
            Err(refusal) => refusal.into_answer(),
        };
        let headers = answer.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if let Some(origin) = cors {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        }
        answer
    }

    async fn route(&self, request: Request<Incoming>) -> Result<Answer, Refusal> {
        let path = request.uri().path();
        let length = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
        if length > URI_BYTES {
            return Err(Refusal::new(StatusCode::URI_TOO_LONG, "the URL is too long"));
        }
        let file = page::file(path);
        let (door, allowed): (_, &'static str) = match path {
            "/config" => (Door::Config, "GET, HEAD, POST"),
            "/health" => (Door::Health, "GET, HEAD"),
            "/ws" => (Door::Socket, "GET"),
            _ => (Door::Page, "GET, HEAD"),
        };
        let (head, body) = request.into_parts();
        let admission = self.access.check(door, &head)?;
        if door == Door::Page && file.is_none() {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found"));
        }
        if !allowed.split(", ").any(|method| method == head.method.as_str()) {
            let mut refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            refusal.headers.push((header::ALLOW, HeaderValue::from_static(allowed)));
            return Err(refusal);
        }
        match door {
            Door::Page => {
                Ok(file.map_or_else(|| json_answer(StatusCode::NOT_FOUND, &json!({})), page))
            }
            Door::Config if head.method == Method::POST => {
                let body = body::read(&head, body).await?;
                self.configure(body).await
            }
            Door::Config => {
                let config = self.session.config().await.map_err(|_| Refusal::over())?;
                Ok(json_answer(StatusCode::OK, &json!({ "config": config })))
            }
            Door::Health => self.health(admission.authorized).await,
            Door::Socket => {
                let (answer, upgraded) = upgrade::accept(Request::from_parts(head, body))?;
                self.upgraded.send(upgraded).await.map_err(|_| Refusal::over())?;
                Ok(answer)
            }
        }
    }

    async fn configure(&self, body: Bytes) -> Result<Answer, Refusal> {
        let configured = self.session.configure(body).await.map_err(|error| match error {
            ConfigureError::Over(_) => Refusal::over(),
            error => Refusal::new(StatusCode::BAD_REQUEST, error.to_string()),
        })?;
        if let Some(token) = configured.auth_token
            && self.access.claim(token)
        {
            tracing::info!("the server has been claimed: from now on its token is required");
        }
        let mut answer = json!({
            "success": true,
            "config": configured.config,
            "applies": configured.applies.as_str(),
        });
        if !configured.ignored.is_empty() {
            answer["ignored"] = json!(configured.ignored);
        }
        Ok(json_answer(StatusCode::OK, &answer))
    }

    async fn health(&self, authorized: bool) -> Result<Answer, Refusal> {
        let mut health = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") });
        if authorized {
            let details = self.session.health().await.map_err(|_| Refusal::over())?;
            if let (Value::Object(health), Value::Object(details)) = (&mut health, details) {
                health.extend(details);
            }
        }
        Ok(json_answer(StatusCode::OK, &health))
    }
}

/// Why a request is not served. Internal causes stay in the log; this is what
/// the client is told.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    error: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), headers: Vec::new() }
    }

    fn over() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down")
    }

    fn into_answer(self) -> Answer {
        let mut answer = json_answer(self.status, &json!({ "error": self.error }));
        answer.headers_mut().extend(self.headers);
        answer
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::new(denial.status, denial.error)
    }
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::from(value.to_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn page(file: &'static page::File) -> Answer {
    let mut answer = Response::new(Full::from(file.content));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    // The files change with the binary, and nothing tells the browser when.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(page::CONTENT_SECURITY_POLICY),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer
}
