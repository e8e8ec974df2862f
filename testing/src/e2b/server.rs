//! The port: who a request is for, what is kept of it, what goes wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::e2b::api::API_KEY;
use crate::e2b::query::{decode, pairs};
use crate::e2b::record::{Channel, Recorded};
use crate::e2b::reply::{Body, Reply};
use crate::e2b::shared::Shared;
use crate::e2b::state::Fault;
use crate::e2b::{api, envd, sandbox_proxy};

/// The port of envd.
const ENVD_PORT: u16 = 49983;

/// Answers requests until it is aborted.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // The connections end with this task: none outlives its fake.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| handle(Arc::clone(&shared), request));
            let http = hyper::server::conn::http1::Builder::new();
            // An error here is a cut connection, often one that was asked for.
            let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
        });
    }
}

/// The connection is to be cut.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl std::error::Error for Cut {}

async fn handle(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let headers: BTreeMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let sandbox = headers.get("e2b-sandbox-id").cloned();
    let port = headers.get("e2b-sandbox-port").and_then(|port| port.parse::<u16>().ok());
    if let (Some(id), Some(port)) = (&sandbox, port)
        && port != ENVD_PORT
    {
        return sandbox_proxy::forward(&shared, request, id, port, headers).await.map_err(|()| Cut);
    }

    let method = request.method().as_str().to_owned();
    let path = decode(request.uri().path());
    let query = request.uri().query().map(pairs).unwrap_or_default();
    let body = request.into_body().collect().await.map_err(|_| Cut)?.to_bytes().to_vec();
    let channel = match &sandbox {
        Some(id) if shared.state().sandboxes.contains_key(id) => Channel::Envd,
        Some(_) => Channel::SandboxProxy,
        None if path.starts_with("/bucket/") => Channel::Upload,
        None => Channel::Api,
    };
    let recorded = Recorded { channel, method, path, query, headers, body };
    let route = shared.validators.route(&recorded);
    let wrong = shared.validators.validate(&recorded);
    let fault = {
        let mut state = shared.state();
        state.violations.extend(wrong.iter().map(|wrong| format!("{route}: {wrong}")));
        if !state.forget_requests {
            state.requests.push(recorded.clone());
        }
        state.fault(&route)
    };
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Delay(by)) => tokio::time::sleep(by).await,
        Some(Fault::CutBefore) => return Err(Cut),
        Some(Fault::Refuse { status, body, headers }) => {
            let mut reply = Reply::json(status, &body);
            reply.headers.extend(headers);
            return Ok(reply.response());
        }
        _ => {}
    }
    let reply = answer(&shared, &recorded, sandbox.as_deref());
    match fault {
        Some(Fault::CutAfter) => Err(Cut),
        Some(Fault::Garbage) => {
            Ok(Reply::bytes(reply.status, b"<html>hello</html>".to_vec()).response())
        }
        _ => {
            let wrong = shared.validators.validate_answer(&recorded, &reply);
            let own = wrong.iter().map(|wrong| format!("{route}: the fake itself: {wrong}"));
            shared.state().violations.extend(own);
            Ok(reply.response())
        }
    }
}

fn answer(shared: &Shared, request: &Recorded, sandbox: Option<&str>) -> Reply {
    let mut state = shared.state();
    match request.channel {
        Channel::Upload => api::store(&mut state, request),
        Channel::Api if request.headers.get("x-api-key").map(String::as_str) != Some(API_KEY) => {
            Reply::refuse(401, "Invalid API key")
        }
        Channel::Api => api::answer(&mut state, request, &shared.address.to_string()),
        Channel::Envd | Channel::SandboxProxy => {
            state.expire();
            let id = sandbox.unwrap_or_default();
            match state.sandboxes.get_mut(id) {
                Some(sandbox) if !sandbox.paused => envd::answer(sandbox, request),
                _ => sandbox_proxy::not_found(id),
            }
        }
    }
}
