//! The sandbox proxy: other ports of a sandbox, forwarded to a real server.

use std::collections::BTreeMap;
use std::sync::Arc;

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONNECTION;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::e2b::query::pairs;
use crate::e2b::record::{Channel, Recorded};
use crate::e2b::reply::{Body, Reply, full};
use crate::e2b::shared::Shared;
use crate::e2b::state::Fault;

const TOKEN_HEADER: &str = "e2b-traffic-access-token";

/// Forwards a request to whatever stands for this port, an upgrade to a
/// WebSocket included. An error is a connection to be cut.
pub(crate) async fn forward(
    shared: &Arc<Shared>,
    mut request: Request<Incoming>,
    id: &str,
    port: u16,
    headers: BTreeMap<String, String>,
) -> Result<Response<Body>, ()> {
    // Taken out before the request is taken apart for its body.
    let client = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(drop)?.to_bytes();
    let request = Request::from_parts(parts, Full::new(body.clone()));
    let recorded = Recorded {
        channel: Channel::SandboxProxy,
        method: request.method().as_str().to_owned(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().map(pairs).unwrap_or_default(),
        headers: headers.clone(),
        body: body.to_vec(),
    };
    let route = format!("{} {port}{}", recorded.method, recorded.path);
    let (known, runs, fault) = {
        let mut state = shared.state();
        state.expire();
        if !state.forget_requests {
            state.requests.push(recorded);
        }
        let sandbox = state.sandboxes.get(id).filter(|sandbox| !sandbox.paused);
        let known = sandbox.map(|sandbox| (sandbox.traffic_token.clone(), sandbox.number));
        let runs = sandbox.map(|sandbox| sandbox.runs.subscribe());
        let known = known.map(|(token, number)| (token, state.upstream(number, port)));
        (known, runs, state.fault(&route))
    };
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Delay(by)) => tokio::time::sleep(by).await,
        Some(Fault::CutBefore | Fault::CutAfter | Fault::Garbage) => return Err(()),
        Some(Fault::Refuse { status, body, headers }) => {
            let mut reply = Reply::json(status, &body);
            reply.headers.extend(headers);
            return Ok(reply.response());
        }
        None => {}
    }
    let (Some((token, upstream)), Some(runs)) = (known, runs) else {
        return Ok(not_found(id).response());
    };
    if let Some(token) = token {
        let message = match headers.get(TOKEN_HEADER) {
            None => Some(format!(
                "Sandbox is secured with traffic access token. Token header '{TOKEN_HEADER}' is missing"
            )),
            Some(given) if *given != token => Some(format!(
                "Sandbox is secured with traffic access token. Provided token in header '{TOKEN_HEADER}' is invalid"
            )),
            Some(_) => None,
        };
        if let Some(message) = message {
            let body = json!({ "sandboxId": id, "message": message, "code": 403 });
            return Ok(Reply::json(403, &body).response());
        }
    }
    let Some(stream) = connect(upstream).await else {
        let message = "The sandbox is running but port is not open";
        let body = json!({ "sandboxId": id, "message": message, "port": port, "code": 502 });
        return Ok(Reply::json(502, &body).response());
    };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(drop)?;
    tokio::spawn(connection.with_upgrades());
    let mut response = sender.send_request(request).await.map_err(drop)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let server = hyper::upgrade::on(&mut response);
        let (shared, id) = (Arc::clone(shared), id.to_owned());
        tokio::spawn(async move {
            if let (Ok(client), Ok(server)) = (client.await, server.await) {
                tunnel(&shared, &id, TokioIo::new(client), TokioIo::new(server), runs).await;
            }
        });
    }
    let (mut parts, body) = response.into_parts();
    let body = body.collect().await.map_err(drop)?.to_bytes();
    // As the real one: a connection to the sandbox that ends does not end that of
    // the client.
    if parts.status != StatusCode::SWITCHING_PROTOCOLS {
        parts.headers.remove(CONNECTION);
    }
    Ok(Response::from_parts(parts, full(body)))
}

/// Copies both ways until one side goes away, which ends both, or until the
/// sandbox ends or is paused, which cuts it.
async fn tunnel<S>(
    shared: &Shared,
    id: &str,
    mut client: S,
    mut server: S,
    mut runs: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        // Nothing is ever sent: this ends when the sender goes.
        _ = runs.changed() => {
            if let Some(paused) = shared.state().sandboxes.get_mut(id) {
                paused.frozen.push(Box::new(server));
            }
        }
    }
}

async fn connect(upstream: Option<std::net::SocketAddr>) -> Option<TcpStream> {
    TcpStream::connect(upstream?).await.ok()
}

pub(crate) fn not_found(id: &str) -> Reply {
    let message = "The sandbox was not found";
    Reply::json(502, &json!({ "sandboxId": id, "message": message, "code": 502 }))
}
