//! Request bodies, bounded in size and time, each and together.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header;
use hyper::http::request::Parts;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::Refusal;

/// Maximum size of a body.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// Maximum time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Size up to which every connection's body is read at once. A configuration is
/// smaller as a rule.
const SMALL_BYTES: usize = 32 << 10;

/// Maximum number of larger bodies that are read at the same time; others wait.
const MAX_LARGE: usize = 32;

/// Permits for large bodies.
#[derive(Debug)]
pub struct LargeBodies(Semaphore);

impl Default for LargeBodies {
    fn default() -> Self {
        Self(Semaphore::new(MAX_LARGE))
    }
}

/// Reads the whole body. A body whose declared length is too large is not read,
/// and a client that sent `Expect: 100-continue` gets no 100 for it.
///
/// # Errors
///
/// Returns the response to a body that is too large, compressed, late or
/// incomplete.
pub async fn read(head: &Parts, body: Incoming, large: &LargeBodies) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 1 MiB");
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let encoded = head.headers.get(header::CONTENT_ENCODING);
    if encoded.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must not be compressed",
        ));
    }
    match timeout(BODY_TIMEOUT, collect(body, large)).await {
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(_)) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the body ended early")),
    }
}

/// Returns `None` if the body is too large.
async fn collect(mut body: Incoming, large: &LargeBodies) -> Result<Option<Bytes>, hyper::Error> {
    let mut read = BytesMut::new();
    let mut permit = None;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if read.len() + data.len() > MAX_BODY_BYTES {
            return Ok(None);
        }
        if permit.is_none() && read.len() + data.len() > SMALL_BYTES {
            permit = large.0.acquire().await.ok();
        }
        read.extend_from_slice(&data);
    }
    Ok(Some(read.freeze()))
}
