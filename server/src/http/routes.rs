//! Routes: the page, `/config`, `/reclaim`, `/files`, `/conversations`, `/health`, `/ready`, `/metrics`, `/ws`.
//!
//! [`AccessPolicy`] decides from the head alone whether a request is
//! served, before a body is read or a connection upgraded.

use std::sync::Arc;

use bytes::Bytes;
use claude_relay_listen::access::{AccessPolicy, Admission, Endpoint, is_change};
use claude_relay_listen::answer::{Answer, Refusal, json_answer};
use claude_relay_listen::head::{self, BadHead};
use claude_relay_listen::upgrade as handshake;
use claude_relay_listen::{
    ConnectionPermits, HeadGuard, Lifetime, accept, add_security_headers, body, serve_within,
};
use claude_relay_protocol::Secret;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};

use super::claim_file::ClaimFile;
use super::conversations::{self, KeptConversations};
use super::files::{self, AnswerBody, Files};
use super::page;
use super::refusal_log::RefusalLog;
use super::runs::RunsOff;
use super::upgrade::{self, Target, Upgraded};
use crate::runs::RunsHandle;
use crate::session::{Change, ConfigureError, SessionHandle};

/// State shared by all requests.
#[derive(Debug, Clone)]
pub struct Routes {
    /// Access policy.
    pub access: Arc<AccessPolicy>,
    /// Handle of the session.
    pub session: SessionHandle,
    /// Handle of the runs; `None` where there are none, with the reason.
    pub(super) runs: Result<RunsHandle, RunsOff>,
    /// Conversations that were kept; `None` where they are not served.
    pub(super) conversations: Option<KeptConversations>,
    /// Files of the workspace; `None` where they are not served.
    pub(super) files: Option<Files>,
    /// Receives upgraded connections.
    upgraded: mpsc::Sender<Upgraded>,
    /// Admits one configuration or exchange of the token at a time.
    pub(super) configuring: Arc<Semaphore>,
    large_bodies: Arc<body::LargeBodies>,
    /// Log of refused requests.
    refusals: Arc<RefusalLog>,
    /// Where a claim is kept.
    claim_file: Option<ClaimFile>,
}

/// Content type of `/metrics`.
const PROMETHEUS_TEXT: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Accepts connections and serves them until the listener fails. Beyond a limit
/// the connection that has been idle for the longest time makes room, unless it
/// has shown the token or become a WebSocket.
pub async fn accept(listener: TcpListener, routes: Routes) {
    let routes = Arc::new(routes);
    let access = Arc::clone(&routes.access);
    let serve = |guard, places| {
        tokio::spawn(self::serve(guard, Arc::clone(&routes), places));
    };
    accept::accept(listener, access, serve).await;
}

/// Serves a connection until it ends, is upgraded or has to make room. The
/// places are released with it.
pub async fn serve(guard: HeadGuard, routes: Arc<Routes>, places: ConnectionPermits) {
    let lifetime = Arc::new(Lifetime::default());
    let bodies = Arc::clone(&lifetime);
    let answer = move |request, bad, places| {
        let routes = Arc::clone(&routes);
        let lifetime = Arc::clone(&bodies);
        async move { routes.answer(request, bad, places, lifetime).await }
    };
    serve_within(guard, places, &lifetime, answer).await;
}

impl Routes {
    /// Creates routes to `session`; upgraded connections are sent to
    /// `upgraded`.
    #[must_use]
    pub fn new(
        access: AccessPolicy,
        session: SessionHandle,
        upgraded: mpsc::Sender<Upgraded>,
    ) -> Self {
        Self {
            access: Arc::new(access),
            session,
            runs: Err(RunsOff::Unknown),
            conversations: None,
            files: None,
            upgraded,
            configuring: Arc::new(Semaphore::new(1)),
            large_bodies: Arc::default(),
            refusals: Arc::default(),
            claim_file: None,
        }
    }

    /// Serves runs too, or says why there are none.
    #[must_use]
    pub fn with_runs(mut self, runs: Result<RunsHandle, RunsOff>) -> Self {
        self.runs = runs;
        self
    }

    /// Keeps claims in `file`.
    #[must_use]
    pub fn with_claim_file(mut self, file: Option<ClaimFile>) -> Self {
        self.claim_file = file;
        self
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        bad: Option<BadHead>,
        places: Arc<ConnectionPermits>,
        lifetime: Arc<Lifetime>,
    ) -> Response<AnswerBody> {
        let cors = self.access.cors_origin(request.headers());
        let closes_connection = head::closes_connection(request.headers());
        let is_preflight = cors.is_some() && request.method() == Method::OPTIONS;
        let served = match bad {
            Some(bad) => Err(bad.into()),
            None if files::is_file(request.uri().path()) => {
                self.answer_file(request, places, lifetime).await
            }
            None if conversations::is_conversation(request.uri().path()) => {
                self.answer_conversations(request, places, lifetime).await
            }
            None => self.route(request, places).await.map(|answer| answer.map(Either::Left)),
        };
        let mut answer = match served {
            Ok(answer) => answer,
            Err(refusal) if is_preflight && refusal.status == StatusCode::METHOD_NOT_ALLOWED => {
                preflight(refusal).map(Either::Left)
            }
            Err(refusal) => refusal.into_answer().map(Either::Left),
        };
        let upgraded = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        if closes_connection && !upgraded {
            headers.append(header::CONNECTION, HeaderValue::from_static("close"));
        }
        add_security_headers(headers, cors);
        answer
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        places: Arc<ConnectionPermits>,
    ) -> Result<Answer, Refusal> {
        places.touch();
        let path = request.uri().path();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        let file = page::file(path);
        let (endpoint, allowed): (_, &'static str) = match path {
            "/config" => (Endpoint::Config, "GET, HEAD, POST, PATCH"),
            "/reclaim" => (Endpoint::Reclaim, "POST"),
            "/health" => (Endpoint::Health, "GET, HEAD"),
            "/ready" => (Endpoint::Ready, "GET, HEAD"),
            "/metrics" => (Endpoint::Metrics, "GET, HEAD"),
            "/ws" => (Endpoint::Socket, "GET"),
            "/agent" if self.has_runs() => (Endpoint::Agent, "GET"),
            _ if file.is_some() && reads => (Endpoint::Page, "GET, HEAD"),
            _ => (Endpoint::Unknown, "GET, HEAD"),
        };
        let (head, body) = request.into_parts();
        let admission = self.admit(endpoint, &head)?;
        if endpoint == Endpoint::Unknown && file.is_none() {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "Not Found"));
        }
        if !allowed.split(", ").any(|method| method == head.method.as_str()) {
            let mut refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
            refusal.headers.push((header::ALLOW, HeaderValue::from_static(allowed)));
            return Err(refusal);
        }
        if admission.authorized && self.access.has_token() {
            places.keep();
        }
        match endpoint {
            Endpoint::Page | Endpoint::Files | Endpoint::Conversations | Endpoint::Unknown => {
                file.map(page).ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "Not Found"))
            }
            Endpoint::Config if is_change(&head.method) => {
                let change = match head.method {
                    Method::PATCH => Change::Merge,
                    _ => Change::Replace,
                };
                let body = body::read(&head, body, &self.large_bodies).await?;
                let routes = self.clone();
                // A task of its own: a client that disconnects meanwhile must
                // not leave the server configured but not claimed.
                tokio::spawn(async move { routes.configure(head, body, change).await })
                    .await
                    .unwrap_or_else(|_| Err(Refusal::shutting_down()))
            }
            Endpoint::Reclaim => {
                let body = body::read(&head, body, &self.large_bodies).await?;
                let routes = self.clone();
                // As above: the former token must not stay that of half a server.
                tokio::spawn(async move { routes.reclaim(head, body).await })
                    .await
                    .unwrap_or_else(|_| Err(Refusal::shutting_down()))
            }
            Endpoint::Config => {
                let shown = self.session.config().await.map_err(|_| Refusal::shutting_down())?;
                let mut answer = Map::new();
                shown.add_to(&mut answer);
                Ok(json_answer(StatusCode::OK, &answer.into()))
            }
            Endpoint::Health => self.health(admission.authorized).await,
            Endpoint::Ready if self.session.is_ready().await => {
                Ok(json_answer(StatusCode::OK, &json!({ "status": "ready" })))
            }
            Endpoint::Ready => Err(Refusal::shutting_down()),
            Endpoint::Metrics => self.metrics().await,
            Endpoint::Socket => {
                places.keep();
                let request = Request::from_parts(head, body);
                handshake::check(&request)?;
                let attach = upgrade::attach(request.uri().query().unwrap_or_default())?;
                self.upgrade(request, places, Target::Session(attach)).await
            }
            Endpoint::Agent => {
                places.keep();
                let request = Request::from_parts(head, body);
                handshake::check(&request)?;
                let target = self.run(request.uri().query().unwrap_or_default()).await?;
                self.upgrade(request, places, target).await
            }
        }
    }

    async fn upgrade(
        &self,
        request: Request<Incoming>,
        places: Arc<ConnectionPermits>,
        target: Target,
    ) -> Result<Answer, Refusal> {
        let (answer, accepted) = handshake::accept(request, places)?;
        self.upgraded
            .send(Upgraded::new(accepted, target))
            .await
            .map_err(|_| Refusal::shutting_down())?;
        Ok(answer)
    }

    pub(super) fn admit(&self, endpoint: Endpoint, head: &Parts) -> Result<Admission, Refusal> {
        let admission = self
            .access
            .check(endpoint, head)
            .inspect_err(|denial| self.refusals.log(denial.cause))?;
        mix_request(head);
        Ok(admission)
    }

    /// Tells of a claim and keeps it.
    pub(super) fn keep_claim(&self, token: &Secret) {
        tracing::info!("the server has been claimed: from now on its token is required");
        let Some(file) = &self.claim_file else { return };
        match file.store(token) {
            Ok(()) => tracing::info!(
                "the claim survives a restart: remove {:?} to release the server",
                file.path()
            ),
            Err(error) => tracing::warn!(
                "the claim ends with this process, since {:?} cannot be written: {error}",
                file.path()
            ),
        }
    }

    /// Configures the session, and claims the server if the configuration has a
    /// token: one request at a time.
    async fn configure(&self, head: Parts, body: Bytes, change: Change) -> Result<Answer, Refusal> {
        let _permit = self.configuring.acquire().await;
        // Another client may have claimed the server while this body was
        // arriving.
        self.admit(Endpoint::Config, &head)?;
        // Before the session starts an agent with an id of its own.
        claude_relay_random::mix(&body);
        let configured = self.session.configure(body, change).await;
        let mut configured = configured.map_err(|error| match error {
            ConfigureError::SessionClosed(_) => Refusal::shutting_down(),
            error => Refusal::new(StatusCode::BAD_REQUEST, error.to_string()),
        })?;
        if let Some(token) = configured.auth_token {
            let claimed_before = self.access.has_token();
            if !self.access.claim(token.clone()) {
                configured.ignored.push("authToken".into());
            } else if !claimed_before {
                self.keep_claim(&token);
            }
        }
        let mut answer = Map::new();
        answer.insert("success".into(), true.into());
        configured.shown.add_to(&mut answer);
        answer.insert("applies".into(), configured.applies.as_str().into());
        if !configured.ignored.is_empty() {
            answer.insert("ignored".into(), configured.ignored.into());
        }
        for (name, about) in [("hints", configured.hints), ("reasons", configured.reasons)] {
            if !about.is_empty() {
                answer.insert(name.into(), about.into_iter().collect());
            }
        }
        Ok(json_answer(StatusCode::OK, &answer.into()))
    }

    /// Returns the figures of the session, of access control, and of the runs.
    async fn metrics(&self) -> Result<Answer, Refusal> {
        let mut text = self.session.metrics().await.map_err(|_| Refusal::shutting_down())?;
        text += &self.refusals.metrics();
        if let Ok(runs) = &self.runs {
            text += &runs.metrics().await.unwrap_or_default();
        }
        let mut answer = json_answer(StatusCode::OK, &Value::Null);
        *answer.body_mut() = Full::from(text);
        answer.headers_mut().insert(header::CONTENT_TYPE, PROMETHEUS_TEXT);
        Ok(answer)
    }

    async fn health(&self, authorized: bool) -> Result<Answer, Refusal> {
        let mut health = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") });
        if authorized {
            let details = self.session.health().await.map_err(|_| Refusal::shutting_down())?;
            if let (Value::Object(health), Value::Object(details)) = (&mut health, details) {
                health.extend(details);
            }
            if let Ok(runs) = &self.runs
                && let Some(runs) = runs.health().await
            {
                health["runs"] = runs;
            }
        }
        Ok(json_answer(StatusCode::OK, &health))
    }
}

/// Mixes what the client has drawn into all later random numbers: this process may
/// be a copy, whose operating system gives other copies the same numbers.
fn mix_request(head: &Parts) {
    let drawn_by_client = [header::AUTHORIZATION, header::SEC_WEBSOCKET_KEY];
    let values = drawn_by_client.iter().filter_map(|name| head.headers.get(name));
    let query = head.uri.query().into_iter().map(str::as_bytes);
    values.map(|value| value.as_bytes()).chain(query).for_each(claude_relay_random::mix);
}

/// Response to a CORS preflight from an allowed origin.
fn preflight(refusal: Refusal) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    for (_, methods) in refusal.headers {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, content-type"),
    );
    answer
}

fn page(file: &'static page::File) -> Answer {
    let mut answer = Response::new(Full::from(file.content));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type));
    // The files change with the binary, and browsers are not told when.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(page::CONTENT_SECURITY_POLICY),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    answer
}
