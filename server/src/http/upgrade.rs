//! Upgrade from an HTTP request to a WebSocket.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::run::is_run_id;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, StatusCode, Version};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::head_guard::HeadGuard;
use super::permits::ConnectionPermits;
use super::routes::{Answer, Refusal};
use crate::runs::{self, Named, RunConnect, RunHandle};
use crate::session::SessionHandle;
use crate::session::channels::{Attach, MESSAGE_LIMIT, Replay};
use crate::session::replay::Features;
use crate::ws::{self, Parser};

/// Maximum time for the handshake response to be sent.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// An accepted handshake, and the actor that the connection is for.
#[derive(Debug)]
pub struct Upgraded {
    handshake: Handshake,
    target: Target,
}

/// An accepted handshake whose response may not have been sent yet.
#[derive(Debug)]
pub struct Handshake {
    on_upgrade: OnUpgrade,
    places: Arc<ConnectionPermits>,
}

/// The actor that a connection is for.
#[derive(Debug)]
pub(super) enum Target {
    Session(Attach),
    Run { run: RunHandle, after: u64 },
    RawRun { run: RunHandle, config: Box<QueryConfig> },
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
    pub(super) fn of(self, target: Target) -> Upgraded {
        Upgraded { handshake: self, target }
    }

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

/// Serves an upgraded connection until it ends.
pub async fn serve_websocket(upgraded: Upgraded, session: SessionHandle) {
    let Upgraded { handshake, target } = upgraded;
    let Some((stream, read, _places)) = handshake.complete().await else { return };
    let large = session.large_messages();
    match target {
        Target::Session(attach) => ws::serve(stream, read, session, attach).await,
        Target::Run { run, after } => {
            let parser =
                Parser { parse: runs::numbered, limit: MESSAGE_LIMIT, large, keeps_raw: false };
            ws::serve_with(stream, read, parser, |channels, accepted| async move {
                run.connect(RunConnect { after, config: None, channels, accepted }).await
            })
            .await;
        }
        Target::RawRun { run, config } => {
            let parser = Parser { parse: runs::raw, limit: MESSAGE_LIMIT, large, keeps_raw: false };
            ws::serve_with(stream, read, parser, |channels, accepted| async move {
                let config = Some(config);
                run.connect(RunConnect { after: 0, config, channels, accepted }).await
            })
            .await;
        }
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

/// Reads the name of a run; `None` asks for a raw connection.
pub(super) fn named_run(query: &str) -> Result<Option<Named>, Refusal> {
    let bad = |error: &'static str| Refusal::new(StatusCode::BAD_REQUEST, error);
    let (mut id, mut after) = (None, 0);
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        match name {
            "run" if !is_run_id(&value) => {
                return Err(bad("run: expected 16 to 64 letters, digits, - and _"));
            }
            "run" => id = Some(value.into_owned()),
            "after" => {
                after = value.parse().map_err(|_| bad("after: expected a whole number"))?;
            }
            // `AccessPolicy` checks the token. Unknown parameters are ignored.
            _ => {}
        }
    }
    Ok(id.map(|id| Named { id, after }))
}

pub(super) fn attach(query: &str) -> Result<Attach, Refusal> {
    let bad = |error: &'static str| Refusal::new(StatusCode::BAD_REQUEST, error);
    let (mut after, mut stream) = (None, None);
    let (mut takeover, mut configures, mut watches) = (false, false, false);
    let mut features = Features::default();
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value);
        match name {
            "after" => {
                after = Some(value.parse().map_err(|_| bad("after: expected a whole number"))?);
            }
            "stream" => stream = Some(value.into_owned()),
            "takeover" => {
                takeover = flag(&value).ok_or_else(|| bad("takeover: expected true or false"))?;
            }
            "configure" => {
                configures =
                    flag(&value).ok_or_else(|| bad("configure: expected true or false"))?;
            }
            "watch" => {
                watches = flag(&value).ok_or_else(|| bad("watch: expected true or false"))?;
            }
            "supports" => features = Features::parse(&value),
            // `AccessPolicy` checks the token. Unknown parameters are ignored.
            _ => {}
        }
    }
    if watches && (takeover || configures) {
        return Err(bad("watch: a watcher neither takes the slot over nor configures"));
    }
    let replay = after.map(|after| Replay { after, stream });
    Ok(Attach { replay, takeover, features, configures, watches })
}

fn flag(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Decodes a value. Percent signs that begin no valid escape stay.
fn decode(value: &str) -> Cow<'_, str> {
    percent_decode_str(value).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::replay::Feature;

    #[test]
    fn the_query_is_parsed() {
        assert_eq!(attach("").unwrap(), Attach::default());
        assert_eq!(
            attach("token=x&after=5&stream=a%62c&takeover=true").unwrap(),
            Attach {
                replay: Some(Replay { after: 5, stream: Some("abc".into()) }),
                takeover: true,
                features: Features::default(),
                configures: false,
                watches: false,
            }
        );
        assert!(attach("configure=true").unwrap().configures);
        assert!(attach("watch=true&after=0").unwrap().watches);
        assert!(!attach("watch=false").unwrap().watches);
        assert_eq!(attach("stream=x").unwrap().replay, None);
        let features = attach("supports=agent_state,%69nput,x").unwrap().features;
        assert!(features.has(Feature::AgentState) && features.has(Feature::Input));
        assert!(!features.has(Feature::Questions));
        for query in [
            "after=",
            "after=-1",
            "after=x",
            "after=1e3",
            "after=99999999999999999999",
            "takeover=maybe",
            "takeover",
            "takeover=",
            "takeover=1",
            "configure",
            "configure=1",
            "watch",
            "watch=1",
            "watch=true&takeover=true",
            "watch=true&configure=true",
        ] {
            assert_eq!(attach(query).unwrap_err().status, StatusCode::BAD_REQUEST, "{query}");
        }
    }

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

    #[test]
    fn percent_escapes_are_decoded() {
        assert_eq!(decode("a%20b%"), "a b%");
        assert_eq!(decode("%zz%2"), "%zz%2");
    }
}
