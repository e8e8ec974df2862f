//! Request bodies, bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header;
use hyper::http::request::Parts;
use tokio::time::timeout;

use super::routes::Refusal;
use crate::session::MAX_CONFIG_BYTES;

/// Maximum time for a body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads the whole body. A body whose declared length is too large is not read,
/// and a client that sent `Expect: 100-continue` gets no 100 for it.
pub(super) async fn read(head: &Parts, body: Incoming) -> Result<Bytes, Refusal> {
    let too_large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 1 MiB");
    if body.size_hint().lower() > MAX_CONFIG_BYTES as u64 {
        return Err(too_large());
    }
    let encoded = head.headers.get(header::CONTENT_ENCODING);
    if encoded.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must not be compressed",
        ));
    }
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_CONFIG_BYTES).collect()).await {
        Err(_) => Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refusal::new(StatusCode::BAD_REQUEST, "the body ended early")),
    }
}
