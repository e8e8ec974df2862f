//! Requests of the agent to the API and answers back: heads with another
//! credential, bodies piece by piece as they come.

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

/// How long a connection to the API may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the agent may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection to the API is kept for the next request, and how
/// many are.
const IDLE: Duration = Duration::from_secs(60);
const IDLE_CONNECTIONS: usize = 8;

/// What the agent may ask for: the Messages API.
const PATHS: [&str; 3] = ["/v1/messages", "/v1/messages/count_tokens", "/v1/models"];

/// Headers that are about one connection only.
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

/// The client of the API.
#[derive(Debug)]
pub struct Forwarder {
    client: Client<Connector, Incoming>,
}

impl Forwarder {
    /// A client with no connection yet.
    ///
    /// # Errors
    ///
    /// When the system's root certificates cannot be read.
    pub fn new() -> io::Result<Self> {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector()?);
        Ok(Self { client })
    }

    /// Serves one connection of the agent until it ends.
    pub(super) async fn serve(&self, stream: TcpStream, current: &Current) {
        // Without it small events would wait for each other.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request| async move {
            let answer = match upstream(current) {
                Some(upstream) => self.forward(request, &upstream).await,
                None => refusal(StatusCode::UNAUTHORIZED, "authentication_error", STRANGER),
            };
            Ok::<_, Infallible>(answer)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            // An interrupted turn ends this way.
            tracing::debug!("a connection of the key proxy ended early: {error}");
        }
    }

    async fn forward(&self, request: Request<Incoming>, upstream: &Upstream) -> Answer {
        let (mut head, body) = request.into_parts();
        // The CLI looks whether anybody is there, and shows no credential.
        let greeting = head.method == Method::HEAD && head.uri.path() == "/";
        if !greeting && upstream.restore_credentials(&mut head.headers).is_err() {
            return refusal(StatusCode::UNAUTHORIZED, "authentication_error", STRANGER);
        }
        if !greeting && !PATHS.contains(&head.uri.path()) {
            let message = "the relay's key proxy serves the Messages API only";
            return refusal(StatusCode::NOT_FOUND, "not_found_error", message);
        }
        let address = head.uri.path_and_query().and_then(|path| upstream.address(path.as_str()));
        let (Some(address), Some(host)) = (address, upstream.host()) else {
            return refusal(StatusCode::BAD_REQUEST, "invalid_request_error", "no valid path");
        };
        one_connection_less(&mut head.headers);
        head.headers.insert(header::HOST, host);
        let mut onward = Request::new(body);
        *onward.method_mut() = head.method;
        *onward.uri_mut() = address;
        *onward.headers_mut() = head.headers;
        match self.client.request(onward).await {
            Ok(answer) => {
                let (mut head, body) = answer.into_parts();
                one_connection_less(&mut head.headers);
                Response::from_parts(head, Either::Left(body))
            }
            Err(error) => {
                tracing::warn!("the API could not be reached: {}", causes(&error));
                let message = format!("the relay could not reach the API: {}", causes(&error));
                // The agent tries again, as after a failed connection of its own.
                refusal(StatusCode::BAD_GATEWAY, "api_error", &message)
            }
        }
    }
}

const STRANGER: &str = "the relay's key proxy does not know this credential";

fn connector() -> io::Result<Connector> {
    let mut http = HttpConnector::new();
    http.set_nodelay(true);
    http.set_connect_timeout(Some(CONNECT));
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

/// Takes away what is about the connection it came on.
fn one_connection_less(headers: &mut HeaderMap) {
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

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// An answer of the proxy's own, in the API's form.
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
    fn what_is_about_one_connection_goes_no_further() {
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
        one_connection_less(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["content-type", "retry-after"]);
    }
}
