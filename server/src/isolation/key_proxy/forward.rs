//! Forwarding of requests to the API, and of responses to the agent: heads with
//! the credential replaced, bodies as they arrive.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use serde_json::json;
use tokio::net::TcpStream;

use super::credentials::Upstream;
use super::{Current, upstream};
use claude_relay_listen::connection_limit::ConnectionPermit;

/// Timeout for connecting to the API.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for the head of a request from the agent.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Idle timeout of a connection to the API, and the maximum number of idle
/// connections.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_IDLE_CONNECTIONS: usize = 8;

/// Methods of requests to a model. An address that answers TRACE would send the
/// credential back.
const METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];

/// Headers that apply to a single connection (hop-by-hop).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[cfg(feature = "tls")]
type Connector = hyper_rustls::HttpsConnector<HttpConnector>;
#[cfg(not(feature = "tls"))]
type Connector = HttpConnector;

type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// HTTP client for the API.
#[derive(Debug)]
pub struct Forwarder {
    client: Client<Connector, Incoming>,
}

impl Forwarder {
    /// Creates a client without connections.
    ///
    /// # Errors
    ///
    /// Returns an error if the system's root certificates cannot be read.
    pub fn new() -> io::Result<Self> {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector()?);
        Ok(Self { client })
    }

    /// Serves one connection of the agent until it ends.
    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        current: &Current,
        place: &ConnectionPermit,
    ) {
        // Nagle's algorithm would delay small events.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| async move {
            let answer = match upstream(current) {
                Some(upstream) => self.forward(request, &upstream, place).await,
                None => {
                    refusal(StatusCode::UNAUTHORIZED, "authentication_error", UNKNOWN_CREDENTIAL)
                }
            };
            Ok::<_, Infallible>(answer)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            // Usual for an interrupted turn.
            tracing::debug!("a connection of the key proxy ended early: {error}");
        }
    }

    async fn forward(
        &self,
        request: Request<Incoming>,
        upstream: &Upstream,
        place: &ConnectionPermit,
    ) -> Answer {
        let (mut head, body) = request.into_parts();
        // The CLI probes the server with a request that carries no credential.
        let is_probe = head.method == Method::HEAD && head.uri.path() == "/";
        if !is_probe && upstream.restore_credentials(&mut head.headers).is_err() {
            return refusal(StatusCode::UNAUTHORIZED, "authentication_error", UNKNOWN_CREDENTIAL);
        }
        if !is_probe {
            // From here on it is the agent's.
            place.keep();
        }
        if !is_probe && !upstream.api().paths().contains(&head.uri.path()) {
            let message = "the relay's key proxy serves the requests to a model only";
            return refusal(StatusCode::NOT_FOUND, "not_found_error", message);
        }
        if !METHODS.contains(&head.method) {
            let message = "the relay's key proxy serves GET, HEAD and POST only";
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", message);
        }
        let address = head.uri.path_and_query().and_then(|path| upstream.address(path.as_str()));
        let (Some(address), Some(host)) = (address, upstream.host()) else {
            return refusal(StatusCode::BAD_REQUEST, "invalid_request_error", "no valid path");
        };
        remove_hop_by_hop(&mut head.headers);
        head.headers.insert(header::HOST, host);
        let mut onward = Request::new(body);
        *onward.method_mut() = head.method;
        *onward.uri_mut() = address;
        *onward.headers_mut() = head.headers;
        match self.client.request(onward).await {
            Ok(answer) => {
                let (mut head, body) = answer.into_parts();
                remove_hop_by_hop(&mut head.headers);
                Response::from_parts(head, Either::Left(body))
            }
            Err(error) => {
                tracing::warn!("the API could not be reached: {}", causes(&error));
                let message = format!("the relay could not reach the API: {}", causes(&error));
                // The agent retries, as after a failed connection of its own.
                refusal(StatusCode::BAD_GATEWAY, "api_error", &message)
            }
        }
    }
}

const UNKNOWN_CREDENTIAL: &str = "the relay's key proxy does not know this credential";

fn connector() -> io::Result<Connector> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT));
    #[cfg(feature = "tls")]
    {
        http.enforce_http(false);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_native_roots()?
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        Ok(https)
    }
    #[cfg(not(feature = "tls"))]
    Ok(http)
}

/// Removes the hop-by-hop headers.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Formats an error and its causes on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// An error response in the API's format.
fn refusal(status: StatusCode, kind: &str, message: &str) -> Answer {
    let body = json!({ "type": "error", "error": { "type": kind, "message": message } });
    let mut answer = Response::new(Either::Right(Full::from(body.to_string())));
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_headers_are_removed() {
        let mut headers: HeaderMap = [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("transfer-encoding", "chunked"),
            ("content-type", "text/event-stream"),
            ("retry-after", "3"),
        ]
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
        remove_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-type", "retry-after"]);
    }
}
