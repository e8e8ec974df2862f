//! HTTP: the accept loop, access, the routes, the upgrade to a WebSocket.
//!
//! The accept loop, the bounds on connections and heads, the access rules and
//! the conduct of a WebSocket are those of the relay, in `claude-relay-listen`.

mod files;
mod heartbeat;
mod login;
mod openapi;
mod page;
mod rest;
mod socket;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use claude_relay_listen::access::{AccessPolicy, AccessRules, Admission, Cause, Denial, Endpoint};
use claude_relay_listen::answer::{Answer, Refusal, json_answer};
use claude_relay_listen::body::{self, LargeBodies};
use claude_relay_listen::head::BadHead;
use claude_relay_listen::{ConnectionPermits, accept, add_security_headers, serve_with, upgrade};
use claude_relay_protocol::Secret;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;

use crate::hub::Hub;
use login::Login;
use rest::Rest;

pub use openapi::document;

/// Serves `listener` for as long as the future lives.
pub async fn serve(listener: TcpListener, hub: Arc<Hub>, token: Secret) {
    let settings = &hub.settings;
    let access = Arc::new(AccessPolicy::new(AccessRules {
        loopback: listener.local_addr().is_ok_and(|address| address.ip().is_loopback()),
        token: Some(token.clone()),
        claimed: None,
        allow_origins: settings.allow_origins.clone(),
        allow_hosts: settings.allow_hosts.clone(),
    }));
    let login = settings.has_pin.then(|| Login::new(token));
    let routes = Arc::new(Routes {
        access,
        login,
        hub,
        large_bodies: LargeBodies::default(),
        transfers: files::transfers(),
    });
    let access = Arc::clone(&routes.access);
    accept::accept(listener, access, |guard, places| {
        let routes = Arc::clone(&routes);
        // A peer that is gone gets no answer.
        let Some(peer) = guard.peer() else { return };
        tokio::spawn(serve_with(guard, places, move |request, bad, places| {
            let routes = Arc::clone(&routes);
            async move { routes.answer(request, bad, peer, places).await }
        }));
    })
    .await;
}

/// State shared by all requests.
#[derive(Debug)]
struct Routes {
    hub: Arc<Hub>,
    access: Arc<AccessPolicy>,
    /// `None` where there is no PIN.
    login: Option<Login>,
    large_bodies: LargeBodies,
    transfers: tokio::sync::Semaphore,
}

impl Routes {
    async fn answer(
        &self,
        request: Request<Incoming>,
        bad: Option<BadHead>,
        peer: IpAddr,
        places: Arc<ConnectionPermits>,
    ) -> Answer {
        let cors = self.access.cors_origin(request.headers());
        let is_preflight = cors.is_some() && request.method() == Method::OPTIONS;
        let answered = match bad {
            Some(bad) => Err(Refusal::new(bad.status(), bad.to_string())),
            None if is_preflight => Ok(preflight()),
            None => self.route(request, peer, places).await,
        };
        let mut answer = answered.unwrap_or_else(Refusal::into_answer);
        add_security_headers(answer.headers_mut(), cors);
        answer
    }

    async fn route(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        places: Arc<ConnectionPermits>,
    ) -> Result<Answer, Refusal> {
        places.touch();
        let path = request.uri().path().to_owned();
        let is_upgrade = request.headers().contains_key(header::UPGRADE);
        if path == "/ws" || (path == "/" && is_upgrade) {
            return self.socket(request, peer, places);
        }
        let (head, body) = request.into_parts();
        let reads = matches!(head.method, Method::GET | Method::HEAD);
        if let Some(file) = page::file(&path).filter(|_| reads) {
            self.admit(Endpoint::Page, &head, peer)?;
            return Ok(page::answer(file));
        }
        match path.as_str() {
            "/health" if reads => {
                let admission = self.admit(Endpoint::Health, &head, peer)?;
                Ok(self.health(admission))
            }
            "/api/auth/login" => {
                self.admit(Endpoint::Health, &head, peer)?;
                let login = self.login.as_ref().ok_or_else(not_found)?;
                if head.method != Method::POST {
                    return Err(not_allowed("POST"));
                }
                login.answer(peer, &body::read(&head, body, &self.large_bodies).await?)
            }
            _ => {
                // Nothing is told of what exists without the token.
                self.admit(Endpoint::Config, &head, peer)?;
                places.keep();
                if path == "/api/openapi.json" && reads {
                    return Ok(json_answer(StatusCode::OK, &document()));
                }
                if let Some((agent, file)) = files::target(&path) {
                    return self.answer_file(&agent, &file, &head, body).await;
                }
                let rest = Rest::find(&head.method, &path).map_err(|error| match error {
                    rest::NoRoute::Unknown => not_found(),
                    rest::NoRoute::Method(allowed) => not_allowed(&allowed),
                })?;
                let body = body::read(&head, body, &self.large_bodies).await?;
                rest.answer(&self.hub, &body).await
            }
        }
    }

    fn socket(
        &self,
        request: Request<Incoming>,
        peer: IpAddr,
        places: Arc<ConnectionPermits>,
    ) -> Result<Answer, Refusal> {
        let (head, body) = request.into_parts();
        let admission = self.admit(Endpoint::Socket, &head, peer)?;
        let request = Request::from_parts(head, body);
        upgrade::check(&request)?;
        let options = socket::Options::parse(request.uri().query().unwrap_or_default())?;
        if admission.authorized {
            places.keep();
        }
        let (answer, handshake) = upgrade::accept(request, places)?;
        let hub = Arc::clone(&self.hub);
        tokio::spawn(socket::serve(handshake, hub, options, admission.authorized));
        Ok(answer)
    }

    fn admit(&self, endpoint: Endpoint, head: &Parts, peer: IpAddr) -> Result<Admission, Refusal> {
        let admission = self.access.check(
            match endpoint {
                // A wrong token is refused by a close code, which browsers can see.
                Endpoint::Socket => Endpoint::Health,
                other => other,
            },
            head,
        );
        // The files of the page are the same for all.
        if let Some(login) = self.login.as_ref().filter(|_| endpoint != Endpoint::Page) {
            login::check_site(&head.headers)?;
            let now = Instant::now();
            // An open endpoint does not tell a wrong token from none; one that needs
            // it does.
            let is_right = match self.access.check(Endpoint::Socket, head) {
                Ok(admission) => Some(admission.authorized).filter(|is_right| *is_right),
                Err(denial) => (denial.cause == Cause::WrongToken).then_some(false),
            };
            if let Some(is_right) = is_right {
                if !login.may_try(peer, now) {
                    return match endpoint {
                        // A client tries again after this, and not after 4001.
                        Endpoint::Config | Endpoint::Socket => Err(login::too_many()),
                        _ => Ok(Admission { authorized: false }),
                    };
                }
                login.on_attempt(peer, is_right, now);
            }
        }
        admission.map_err(|Denial { status, error, cause }| {
            tracing::debug!("a request was refused: {cause}");
            Refusal::new(status, error)
        })
    }

    fn health(&self, admission: Admission) -> Answer {
        let mut health = json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") });
        if admission.authorized {
            health["hub"] = self.hub.health();
        }
        json_answer(StatusCode::OK, &health)
    }
}

fn not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "Not Found")
}

fn not_allowed(allowed: &str) -> Refusal {
    let mut refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        refusal.headers.push((header::ALLOW, allowed));
    }
    refusal
}

/// Response to a CORS preflight from an allowed origin.
fn preflight() -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, POST, PATCH, PUT, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
