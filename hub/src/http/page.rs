//! The page: a few files, embedded.

use claude_relay_listen::answer::Answer;
use http_body_util::Full;
use hyper::Response;
use hyper::header::{self, HeaderValue};

/// A file of the page.
#[derive(Debug)]
pub(super) struct File {
    content_type: &'static str,
    content: &'static str,
}

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Returns the file of this path.
pub(super) fn file(path: &str) -> Option<&'static File> {
    match path {
        "/" => Some(&File {
            content_type: "text/html; charset=utf-8",
            content: include_str!("../../page/index.html"),
        }),
        "/hub.js" => Some(&File {
            content_type: "text/javascript; charset=utf-8",
            content: include_str!("../../page/hub.js"),
        }),
        "/hub.css" => Some(&File {
            content_type: "text/css; charset=utf-8",
            content: include_str!("../../page/hub.css"),
        }),
        _ => None,
    }
}

/// Returns the response with a file.
pub(super) fn answer(file: &'static File) -> Answer {
    let mut answer = Response::new(Full::from(file.content));
    for (name, value) in [
        (header::CONTENT_TYPE, file.content_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}
