//! Scripted Messages API on loopback for the real CLI. It answers with the
//! replies of the test and keeps every request.

use crate::http_api::{Answer, Api, Body, json_response, stream_response};
use crate::reply::{Message, Reply, error_body};
use crate::wait;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Response};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// A running API. Dropping it stops it.
pub struct MessagesApi(Api<State>);

#[derive(Default)]
struct State {
    replies: VecDeque<Reply>,
    requests: Vec<Request>,
    answered: u32,
}

/// Text that marks a user's message as a turn when the agent offers no tools:
/// [`Request::is_turn`] cannot tell it from other requests otherwise.
pub const TURN_WITHOUT_TOOLS: &str = "(a turn without tools)";

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// `Null` when there was no body.
    pub body: Value,
}

impl Request {
    /// Returns true for a step of the conversation. The CLI also sends other
    /// requests (for a title, say), which offer no tools; see
    /// [`TURN_WITHOUT_TOOLS`].
    pub fn is_turn(&self) -> bool {
        self.method == Method::POST
            && self.path.starts_with("/v1/messages?")
            && (self.body["tools"].as_array().is_some_and(|tools| !tools.is_empty())
                || self
                    .user_messages()
                    .iter()
                    .any(|message| message["content"].to_string().contains(TURN_WITHOUT_TOOLS)))
    }

    /// The texts of the system prompt's blocks, in order.
    pub fn system(&self) -> Vec<&str> {
        strings(&self.body["system"], "text")
    }

    /// The names of the tools the model may ask for.
    pub fn tools(&self) -> Vec<&str> {
        strings(&self.body["tools"], "name")
    }

    /// The messages of the user, tool results among them. Newer CLIs put
    /// messages of the role `system` between them.
    pub fn user_messages(&self) -> Vec<&Value> {
        let messages = self.body["messages"].as_array();
        messages.into_iter().flatten().filter(|message| message["role"] == "user").collect()
    }

    /// The value of a header, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("an ASCII header"))
    }
}

fn strings<'a>(list: &'a Value, field: &str) -> Vec<&'a str> {
    list.as_array().into_iter().flatten().filter_map(|item| item[field].as_str()).collect()
}

impl MessagesApi {
    /// Starts the API with nothing scripted: a turn without a scripted reply
    /// is answered 400, so that the test fails.
    pub fn start() -> Self {
        Self(Api::start(State::default()))
    }

    /// The address for `ANTHROPIC_BASE_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.0.address())
    }

    /// Adds replies to the conversation's next turns, in order.
    pub fn script(&self, replies: impl IntoIterator<Item = impl Into<Reply>>) {
        self.0.lock().replies.extend(replies.into_iter().map(Into::into));
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.0.lock().requests.clone()
    }

    /// The conversation's own requests so far.
    pub fn turns(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_turn).collect()
    }

    /// Waits until `count` requests of the conversation have come and gives
    /// the last of them.
    pub async fn turn(&self, count: usize) -> Request {
        wait::until(&format!("request {count} at the Messages API"), || {
            self.turns().into_iter().nth(count - 1)
        })
        .await
    }
}

impl Answer for State {
    fn answer(&mut self, head: Parts, body: Value) -> Response<Body> {
        let request = Request {
            method: head.method,
            path: head.uri.path_and_query().map_or_else(String::new, ToString::to_string),
            headers: head.headers,
            body,
        };
        let is_turn = request.is_turn();
        let is_stream = request.body["stream"] == true;
        let model = request.body["model"].clone();
        let path = request.path.clone();
        self.requests.push(request);
        self.answered += 1;
        let id = format!("msg_{:06}", self.answered);
        let say = |message: Message| match is_stream {
            true => stream_response(message.steps(&id, &model)),
            false => json_response(200, &message.body(&id, &model)),
        };
        match if is_turn { self.replies.pop_front() } else { None } {
            Some(Reply::Error(status)) => error_response(status),
            Some(Reply::Message(message)) => say(message),
            None if is_turn => error_response(400),
            None if path.starts_with("/v1/messages/count_tokens") => {
                json_response(200, &json!({ "input_tokens": 10 }))
            }
            None if path.starts_with("/v1/messages") => {
                say(Message::default().text("beside the conversation"))
            }
            // `HEAD /`: the CLI checks that the API is up.
            None => json_response(200, &json!({})),
        }
    }
}

/// An error as the API sends it. The header `x-should-retry` tells the CLI
/// when to try again.
fn error_response(status: u16) -> Response<Body> {
    let mut response = json_response(status, &error_body(status));
    let again = if status == 429 || status >= 500 { "true" } else { "false" };
    response.headers_mut().insert("x-should-retry", hyper::header::HeaderValue::from_static(again));
    response
}
