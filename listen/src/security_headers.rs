//! Headers of every answer that restrict what a browser does with it.

use hyper::HeaderMap;
use hyper::header::{self, HeaderName, HeaderValue};

/// Keeps pages of other origins from embedding the files, as images or scripts.
/// hyper has no constant for this header.
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// Adds the headers. `cors` is the origin that may read the answer, if the
/// request named one that is allowed.
pub fn add_security_headers(headers: &mut HeaderMap, cors: Option<HeaderValue>) {
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(origin) = cors {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
}
