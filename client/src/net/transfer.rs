//! Requests whose bodies are large or never end: files, and streams of events.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::http::{Answer, Http};
use crate::error::RequestError;

/// Maximum time between two parts of an answer. The server's streams have a
/// keep-alive every 15 s.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The body of an answer, as it arrives. The connection ends with it.
pub(crate) struct AnswerStream {
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    body: Incoming,
}

impl Http {
    /// Sends `body` and waits for the head of the answer.
    pub(crate) async fn open(
        &self,
        method: Method,
        route: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
    ) -> Result<(Answer, AnswerStream), RequestError> {
        let mut request = self.build(method, route, body)?;
        let octets = HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(CONTENT_TYPE, octets);
        request.headers_mut().extend(headers.iter().cloned());
        let stream = timeout(self.limit, self.dialer.dial())
            .await
            .unwrap_or(Err(RequestError::Timeout { what: "connecting", limit: self.limit }))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.broken(error))?;
        let mut connection: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            // Its error reaches the body as well.
            let _ = connection.await;
        });
        let mut work = std::pin::pin!(sender.send_request(request));
        let mut open = true;
        let response = loop {
            tokio::select! {
                biased;
                response = &mut work => break response.map_err(|error| self.broken(error))?,
                () = &mut connection, if open => open = false,
            }
        };
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let answer = Answer { status: response.status(), body: Bytes::new(), location };
        let body =
            AnswerStream { connection: open.then_some(connection), body: response.into_body() };
        Ok((answer, body))
    }

    /// Sends `body` and reads the whole answer, of at most `limit` bytes.
    pub(crate) async fn transfer(
        &self,
        method: Method,
        route: &str,
        headers: &[(HeaderName, HeaderValue)],
        body: Bytes,
        limit: usize,
    ) -> Result<Answer, RequestError> {
        let (mut answer, mut incoming) = self.open(method, route, headers, body).await?;
        let mut bytes = BytesMut::new();
        loop {
            match incoming.next().await {
                Ok(Some(part)) => bytes.extend_from_slice(&part),
                Ok(None) => break,
                // The status of a refusal counts whatever becomes of its body.
                Err(_) if !answer.status.is_success() => break,
                Err(error) => return Err(error),
            }
            if bytes.len() > limit {
                return Err(self.not_a_relay(format!("its answer is over {limit} bytes")));
            }
        }
        answer.body = bytes.freeze();
        Ok(answer)
    }
}

impl Answer {
    /// Returns true for an answer with one of the statuses of success.
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

impl AnswerStream {
    /// The next part; `None` at the end. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, RequestError> {
        let next = async {
            loop {
                let frame = match &mut self.connection {
                    Some(connection) => tokio::select! {
                        biased;
                        frame = self.body.frame() => frame,
                        () = connection => {
                            self.connection = None;
                            continue;
                        }
                    },
                    None => self.body.frame().await,
                };
                match frame {
                    None => return Ok(None),
                    Some(Err(error)) => {
                        return Err(RequestError::Interrupted { source: Arc::new(error) });
                    }
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Ok(Some(data));
                        }
                    }
                }
            }
        };
        let late = RequestError::Timeout { what: "the server's answer", limit: IDLE_TIMEOUT };
        timeout(IDLE_TIMEOUT, next).await.unwrap_or(Err(late))
    }
}
