//! Answers of the fake.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use serde_json::{Value, json};

pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// One answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: ReplyBody,
}

pub(crate) enum ReplyBody {
    Whole(Bytes),
    Stream(Body),
}

impl Reply {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status, headers, body: ReplyBody::Whole(body.to_string().into()) }
    }

    /// A refusal as the API words it.
    pub(crate) fn refuse(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "code": status, "message": message }))
    }

    pub(crate) fn bytes(status: u16, body: Vec<u8>) -> Self {
        Self { status, headers: vec![], body: ReplyBody::Whole(body.into()) }
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::bytes(status, vec![])
    }

    pub(crate) fn stream(body: Body) -> Self {
        let headers = vec![("content-type", "application/connect+json".to_owned())];
        Self { status: 200, headers, body: ReplyBody::Stream(body) }
    }

    pub(crate) fn response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let body = match self.body {
            ReplyBody::Whole(bytes) => full(bytes),
            ReplyBody::Stream(body) => body,
        };
        response.body(body).expect("statuses and headers of the fake are sound")
    }
}

pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).boxed()
}
