//! Requests to the server's routes, each on a connection of its own: they are
//! rare, and a kept one would be one more thing that can break. A start is the
//! exception: its requests and the WebSocket behind them go over one connection,
//! because each new one costs two round trips.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use claude_relay_protocol::text::head_bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, LOCATION,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use hyper::upgrade::Upgraded;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::time::timeout;

use crate::error::RequestError;
use crate::net::dial::Dialer;

/// The largest answer that is read. A configuration is at most 1 MiB.
pub(crate) const MAX_BODY_BYTES: usize = 4 << 20;

/// The bytes of an answer that are repeated in an error.
pub(crate) const ERROR_TEXT_BYTES: usize = 500;

/// The text that RFC 6455 appends to the key before it is hashed.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The server as a place for requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Http {
    pub(crate) dialer: Dialer,
    /// Sent with every request: the token and the program's own headers.
    pub(crate) headers: HeaderMap,
    /// For each request, from the first packet to the whole answer.
    pub(crate) limit: Duration,
    /// The connection of the request before; `None` where none is kept.
    // A std mutex: it is not held across an await.
    kept: Option<Arc<Mutex<Option<KeptConnection>>>>,
}

/// A connection, driven by whoever waits for an answer on it.
struct KeptConnection {
    sender: http1::SendRequest<Full<Bytes>>,
    connection: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_open: bool,
}

/// An answer; on 101, also the connection and the server's `Sec-WebSocket-Accept`.
type Exchanged = (Answer, Option<(Upgraded, Option<Vec<u8>>)>);

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    pub(crate) location: Option<String>,
}

impl Http {
    pub(crate) fn new(dialer: Dialer, headers: HeaderMap, limit: Duration) -> Self {
        Self { dialer, headers, limit, kept: None }
    }

    /// The same place, whose requests follow one another on one connection as far
    /// as the server keeps it open. Clones share it.
    pub(crate) fn on_one_connection(mut self) -> Self {
        self.kept.get_or_insert_default();
        self
    }

    /// The same place, with a connection for each request.
    pub(crate) fn on_separate_connections(mut self) -> Self {
        self.kept = None;
        self
    }

    /// The bearer header for `token`.
    pub(crate) fn set_token(&mut self, token: &str) -> Result<(), RequestError> {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            RequestError::InvalidOption {
                option: "token",
                reason: "it holds characters that no header may hold".into(),
            }
        })?;
        value.set_sensitive(true);
        self.headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    pub(crate) async fn get(&self, route: &str) -> Result<Answer, RequestError> {
        self.request(Method::GET, route, Bytes::new()).await
    }

    pub(crate) async fn post(&self, route: &str, json: String) -> Result<Answer, RequestError> {
        self.request(Method::POST, route, json.into()).await
    }

    pub(crate) async fn patch(&self, route: &str, json: String) -> Result<Answer, RequestError> {
        self.request(Method::PATCH, route, json.into()).await
    }

    async fn request(
        &self,
        method: Method,
        route: &str,
        body: Bytes,
    ) -> Result<Answer, RequestError> {
        let mut request = self.build(method, route, body)?;
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.within("the server's answer", async {
            let (answer, _) = self.exchange(request).await?;
            Ok(answer)
        })
        .await
    }

    /// Opens the WebSocket at `route`.
    pub(crate) async fn upgrade(&self, route: &str) -> Result<TokioIo<Upgraded>, RequestError> {
        let key = fastwebsockets::handshake::generate_key();
        let mut request = self.build(Method::GET, route, Bytes::new())?;
        let headers = request.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        let value = HeaderValue::try_from(&key).map_err(|error| self.not_a_relay(error))?;
        headers.insert(SEC_WEBSOCKET_KEY, value);
        self.within("opening the WebSocket", async {
            let (answer, upgraded) = self.exchange(request).await?;
            let Some((upgraded, accept)) = upgraded else {
                return Err(self.refusal(&answer));
            };
            let expected = base64::engine::general_purpose::STANDARD
                .encode(Sha1::new().chain_update(&key).chain_update(ACCEPT_GUID).finalize());
            if accept.as_deref() != Some(expected.as_bytes()) {
                return Err(self.not_a_relay("its Sec-WebSocket-Accept is wrong"));
            }
            Ok(TokioIo::new(upgraded))
        })
        .await
    }

    pub(crate) fn build(
        &self,
        method: Method,
        route: &str,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, RequestError> {
        let address = &self.dialer.address;
        let mut request = Request::builder()
            .method(method)
            .uri(address.path(route))
            .header(HOST, address.authority())
            .header(USER_AGENT, concat!("claude-relay-client/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .body(Full::new(body))
            .map_err(|error| RequestError::Address {
                url: address.to_string(),
                reason: error.to_string(),
            })?;
        request.headers_mut().extend(self.headers.clone());
        Ok(request)
    }

    async fn within<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        timeout(self.limit, work)
            .await
            .unwrap_or(Err(RequestError::Timeout { what, limit: self.limit }))
    }

    /// One request and its whole answer.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Exchanged, RequestError> {
        let kept = self
            .kept
            .as_ref()
            .and_then(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner).take());
        // If it fails, the server has closed it meanwhile, perhaps without a word of it in
        // its answer. What a start asks for can be asked again: the same configuration,
        // and the same claim, change nothing the second time.
        if let Some(mut link) = kept
            && let Ok(exchanged) = link.exchange(request.clone()).await
        {
            self.keep(link, &exchanged);
            return Ok(exchanged);
        }
        let stream = self.dialer.dial().await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        let connection = Box::pin(async move {
            // Its error reaches the answer as well.
            let _ = connection.with_upgrades().await;
        });
        let mut link = KeptConnection { sender, connection, is_open: true };
        let exchanged = link.exchange(request).await.map_err(|error| self.broken(error))?;
        self.keep(link, &exchanged);
        Ok(exchanged)
    }

    fn keep(&self, link: KeptConnection, (_, upgraded): &Exchanged) {
        if let Some(kept) = self.kept.as_ref().filter(|_| link.is_open && upgraded.is_none()) {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
        }
    }

    /// The error for an HTTP failure below the level of statuses.
    pub(crate) fn broken(&self, error: hyper::Error) -> RequestError {
        if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
            return self.not_a_relay(format!("its answer is not HTTP ({error})"));
        }
        RequestError::Interrupted { source: Arc::new(error) }
    }

    pub(crate) fn not_a_relay(&self, reason: impl ToString) -> RequestError {
        RequestError::NotARelay {
            address: self.dialer.address.to_string(),
            reason: reason.to_string(),
        }
    }

    /// The error that an answer without the expected status stands for.
    pub(crate) fn refusal(&self, answer: &Answer) -> RequestError {
        let message = answer.message();
        match answer.status.as_u16() {
            401 => RequestError::Unauthorized { message },
            403 => RequestError::Forbidden { message },
            // An address that is no relay's has no such words.
            404 if message.contains("this run is not known") => RequestError::RunLost { message },
            status @ (409 | 429 | 500 | 502 | 503 | 504) => {
                RequestError::Unavailable { status, message }
            }
            300..=399 => self.not_a_relay(match &answer.location {
                Some(location) => {
                    format!("it redirects to {}", head_bytes(location, ERROR_TEXT_BYTES))
                }
                None => format!("it answers {}", answer.status),
            }),
            _ => self.not_a_relay(format!("it answers {}: {message}", answer.status)),
        }
    }
}

impl KeptConnection {
    /// Sends a request and reads its answer.
    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Exchanged> {
        let Self { sender, connection, is_open } = self;
        let work = async {
            sender.ready().await?;
            let mut response = sender.send_request(request).await?;
            let location = response
                .headers()
                .get(LOCATION)
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned);
            let status = response.status();
            if status == StatusCode::SWITCHING_PROTOCOLS {
                let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT);
                let accept = accept.map(|value| value.as_bytes().to_vec());
                let upgraded = hyper::upgrade::on(&mut response).await?;
                let answer = Answer { status, body: Bytes::new(), location };
                return Ok((answer, Some((upgraded, accept))));
            }
            // A body that is too big or cut is no reason to lose the status.
            let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
            let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Ok((Answer { status, body, location }, None))
        };
        // The connection is driven here and not in a task, so that nothing is
        // left behind when this future is dropped.
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                exchanged = &mut work => return exchanged,
                () = &mut *connection, if *is_open => *is_open = false,
            }
        }
    }
}

impl Answer {
    /// The server's own words: the `error` of its JSON, the title of a page, or the
    /// text cut short.
    pub(crate) fn message(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let error = claude_relay_protocol::json::fields(&text, ["error"])
            .ok()
            .and_then(|[error]| error)
            .and_then(claude_relay_protocol::json::string);
        match error {
            Some(error) => head_bytes(&error, ERROR_TEXT_BYTES).to_owned(),
            None => {
                let text = title(&text).unwrap_or(&text);
                let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
                head_bytes(&line, ERROR_TEXT_BYTES).to_owned()
            }
        }
    }
}

/// The title of a page of HTML.
fn title(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("<title>")?;
    rest.split_once("</title>").map(|(title, _)| title)
}

/// A header given as text, checked.
pub(crate) fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), RequestError> {
    let refused = |reason: &str| RequestError::InvalidOption {
        option: "header",
        reason: format!("{:?}: {reason}", head_bytes(name, 100)),
    };
    let name = HeaderName::try_from(name).map_err(|_| refused("not the name of a header"))?;
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| refused("its value holds characters that no header may hold"))?;
    value.set_sensitive(true);
    if [HOST, CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION].contains(&name) {
        return Err(refused("the connection itself sets this header"));
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_would_break_the_connection_are_refused() {
        for (name, value) in
            [("Host", "x"), ("upgrade", "x"), ("a b", "x"), ("a", "x\ny"), ("", "x")]
        {
            assert!(header(name, value).is_err(), "{name}");
        }
        assert!(header("E2B-Traffic-Access-Token", "t").is_ok());
    }
}
