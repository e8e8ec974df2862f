//! Answers to requests, and the refusals that are answered with an error.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::access::Denial;
use crate::head::BadHead;

/// Response whose body is whole.
pub type Answer = Response<Full<Bytes>>;

/// Reason for not serving a request, as the client sees it. Internal causes are
/// logged only.
#[derive(Debug)]
pub struct Refusal {
    /// Status.
    pub status: StatusCode,
    /// Text for the client.
    pub error: String,
    /// Further headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// Creates a refusal without further headers.
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        Self { status, error: error.into(), headers: Vec::new() }
    }

    /// Refuses a request during a shutdown.
    #[must_use]
    pub fn shutting_down() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down")
    }

    /// Returns the response: `{"error":"…"}`.
    #[must_use]
    pub fn into_answer(self) -> Answer {
        let mut answer = json_answer(self.status, &json!({ "error": self.error }));
        answer.headers_mut().extend(self.headers);
        answer
    }
}

impl From<BadHead> for Refusal {
    fn from(bad: BadHead) -> Self {
        Self::new(bad.status(), bad.to_string())
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        Self::new(denial.status, denial.error)
    }
}

/// Returns a response that holds this JSON.
pub fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(Full::from(value.to_string()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
