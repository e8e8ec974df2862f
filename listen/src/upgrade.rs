//! Upgrade from an HTTP request to a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::answer::{Answer, Refusal};
use crate::head_guard::HeadGuard;
use crate::permits::ConnectionPermits;

/// Maximum time for the handshake response to be sent.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// An accepted handshake whose response may not have been sent yet.
#[derive(Debug)]
pub struct Handshake {
    on_upgrade: OnUpgrade,
    places: Arc<ConnectionPermits>,
}

/// Validates a handshake.
///
/// # Errors
///
/// Returns the response to one that is none.
pub fn check(request: &Request<Incoming>) -> Result<(), Refusal> {
    if !fastwebsockets::upgrade::is_upgrade_request(request)
        || request.version() != Version::HTTP_11
    {
        return Err(upgrade_required("this is a WebSocket; connect with an upgrade"));
    }
    let headers = request.headers();
    match only(headers, "sec-websocket-version").map(HeaderValue::as_bytes) {
        Some(b"13") => {}
        _ => return Err(upgrade_required("only version 13 of the WebSocket protocol is spoken")),
    }
    if !only(headers, "sec-websocket-key").is_some_and(is_key) {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "Sec-WebSocket-Key: expected 16 bytes in Base64, once",
        ));
    }
    if has_body(headers) {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "a handshake has no body"));
    }
    Ok(())
}

/// Builds the response to a handshake.
///
/// # Errors
///
/// Returns the response to one that is none.
pub fn accept(
    mut request: Request<Incoming>,
    places: Arc<ConnectionPermits>,
) -> Result<(Answer, Handshake), Refusal> {
    // Taken before `fastwebsockets` takes it, because it gives no access to the
    // plain socket.
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (answer, _) = fastwebsockets::upgrade::upgrade(&mut request)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok((answer.map(|_| Full::default()), Handshake { on_upgrade, places }))
}

impl Handshake {
    /// Waits until the response has been sent. Returns the socket, the bytes
    /// that the client sent right after its handshake, and the places of the
    /// connection.
    pub async fn complete(self) -> Option<(TcpStream, Bytes, Arc<ConnectionPermits>)> {
        let Self { on_upgrade, places } = self;
        let Ok(Ok(connection)) = timeout(HANDSHAKE_TIMEOUT, on_upgrade).await else {
            tracing::debug!("a handshake was not completed");
            return None;
        };
        // The plain socket avoids a lock between the two directions. Frames that
        // the client sent right after the handshake may have been read already.
        let Ok(parts) = connection.downcast::<TokioIo<HeadGuard>>() else {
            tracing::error!("an upgraded connection is no TCP stream; dropped");
            return None;
        };
        let (stream, unread) = parts.io.into_inner().into_parts();
        Some((stream, [parts.read_buf, unread].concat().into(), places))
    }
}

fn upgrade_required(error: &'static str) -> Refusal {
    let mut refusal = Refusal::new(StatusCode::UPGRADE_REQUIRED, error);
    refusal.headers = vec![
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
    ];
    refusal
}

fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { None } else { first }
}

/// Returns true for a request with a body, which would be read as frames.
fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length != "0")
}

/// Checks the key: 16 bytes are 22 Base64 digits and two padding characters.
fn is_key(value: &HeaderValue) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(value.as_bytes().split_last_chunk::<2>(), Some((digits, b"==")) if digits.len() == 22 && digits.iter().all(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_sixteen_bytes() {
        let key = |text: &'static str| is_key(&HeaderValue::from_static(text));
        assert!(key("dGhlIHNhbXBsZSBub25jZQ=="));
        for bad in [
            "",
            "x",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=x",
            "dGhlIHNhbXBsZSBub25j*Q==",
            "AAAAdGhlIHNhbXBsZSBub25jZQ==",
        ] {
            assert!(!key(bad), "{bad}");
        }
    }
}
