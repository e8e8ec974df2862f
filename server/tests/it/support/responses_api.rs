//! A Responses API on loopback for the real Codex to talk to: it answers as a
//! test has scripted and remembers every request for the test to look at.

use super::reply::Gate;
use super::wait;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// The API, up until it is dropped. It runs in a thread of its own, as the
/// Messages API does.
pub(crate) struct ResponsesApi {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    /// Dropping it ends the thread.
    _stop: oneshot::Sender<Infallible>,
}

#[derive(Default)]
struct Shared {
    replies: VecDeque<Reply>,
    requests: Vec<Request>,
}

/// One request to `/v1/responses` as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Request {
    /// The parts of the user's messages, less what Codex says of itself.
    pub(crate) fn user_parts(&self) -> Vec<&Value> {
        let input = self.body["input"].as_array().into_iter().flatten();
        input
            .filter(|item| item["role"] == "user")
            .flat_map(|item| item["content"].as_array().into_iter().flatten())
            .filter(|part| !part["text"].as_str().is_some_and(|text| text.starts_with('<')))
            .collect()
    }

    /// The texts of [`user_parts`](Self::user_parts).
    pub(crate) fn user_texts(&self) -> Vec<&str> {
        self.user_parts().into_iter().filter_map(|part| part["text"].as_str()).collect()
    }

    /// What the last tool gave back.
    pub(crate) fn tool_output(&self) -> String {
        let input = self.body["input"].as_array().into_iter().flatten();
        let mut outputs = input.filter(|item| item["type"] == "function_call_output");
        outputs.next_back().map_or_else(String::new, |item| item["output"].to_string())
    }
}

/// One scripted answer.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A reasoning, a text in pieces that each wait at the gate, a tool.
    Speech(Speech),
    /// An HTTP error.
    Error(u16),
}

/// What the model says in one response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speech {
    reasoning: Option<String>,
    pieces: Vec<String>,
    tool: Option<(String, Value)>,
    gate: Option<Gate>,
}

impl Reply {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Speech(Speech { pieces: vec![text.into()], ..Speech::default() })
    }

    pub(crate) fn reasoned(reasoning: &str, text: &str) -> Self {
        Self::Speech(Speech {
            reasoning: Some(reasoning.into()),
            pieces: vec![text.into()],
            ..Speech::default()
        })
    }

    pub(crate) fn gated<'a>(gate: &Gate, pieces: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Speech(Speech {
            pieces: pieces.into_iter().map(Into::into).collect(),
            gate: Some(gate.clone()),
            ..Speech::default()
        })
    }

    /// Runs a command.
    pub(crate) fn command(command: &str) -> Self {
        Self::tool("exec_command", json!({ "cmd": command }))
    }

    /// Makes a file in the working directory, or wherever `path` leads.
    pub(crate) fn new_file(path: &str, text: &str) -> Self {
        Self::command(&format!(
            "apply_patch <<'PATCH'\n*** Begin Patch\n*** Add File: {path}\n+{text}\n*** End Patch\nPATCH\n"
        ))
    }

    pub(crate) fn tool(name: &str, arguments: Value) -> Self {
        Self::Speech(Speech { tool: Some((name.into(), arguments)), ..Speech::default() })
    }
}

enum Step {
    Pass(Gate),
    Event(Value),
}

impl Speech {
    fn steps(self, number: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let event = |value: Value| Step::Event(value);
        steps.push(event(json!({
            "type": "response.created", "response": { "id": format!("resp_{number}") }
        })));
        if let Some(text) = self.reasoning {
            let id = format!("rs_{number}");
            let item =
                |summary: Value| json!({ "type": "reasoning", "id": id, "summary": summary });
            steps.push(event(
                json!({ "type": "response.output_item.added", "item": item(json!([])) }),
            ));
            steps.push(event(json!({
                "type": "response.reasoning_summary_part.added", "item_id": id, "summary_index": 0
            })));
            steps.push(event(json!({
                "type": "response.reasoning_summary_text.delta",
                "item_id": id, "summary_index": 0, "delta": text
            })));
            let summary = json!([{ "type": "summary_text", "text": text }]);
            steps
                .push(event(json!({ "type": "response.output_item.done", "item": item(summary) })));
        }
        if !self.pieces.is_empty() {
            let id = format!("msg_{number}");
            let item = |content: Value| json!({ "type": "message", "role": "assistant", "id": id, "content": content });
            steps.push(event(
                json!({ "type": "response.output_item.added", "item": item(json!([])) }),
            ));
            for piece in &self.pieces {
                steps.extend(self.gate.clone().map(Step::Pass));
                steps.push(event(json!({
                    "type": "response.output_text.delta",
                    "item_id": id, "output_index": 0, "content_index": 0, "delta": piece
                })));
            }
            let content = json!([{ "type": "output_text", "text": self.pieces.concat() }]);
            steps
                .push(event(json!({ "type": "response.output_item.done", "item": item(content) })));
        }
        if let Some((name, arguments)) = self.tool {
            let item = json!({
                "type": "function_call", "id": format!("fc_{number}"),
                "call_id": format!("call_{number}"), "name": name, "arguments": arguments.to_string()
            });
            steps.push(event(json!({ "type": "response.output_item.done", "item": item })));
        }
        steps.push(event(json!({
            "type": "response.completed",
            "response": { "id": format!("resp_{number}"), "usage": {
                "input_tokens": 100, "input_tokens_details": { "cached_tokens": 40 },
                "output_tokens": 10, "output_tokens_details": { "reasoning_tokens": 3 },
                "total_tokens": 110
            } }
        })));
        steps
    }
}

impl ResponsesApi {
    /// Starts the API with nothing scripted: a request that nobody wrote a
    /// reply for is answered 400, so it cannot go unseen.
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime for the Responses API");
            runtime.block_on(async {
                let listener =
                    TcpListener::from_std(listener).expect("the listener moves to tokio");
                tokio::select! {
                    () = serve(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, _stop: stop }
    }

    /// The `base_url` of a model provider.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Adds replies, in order.
    pub(crate) fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.lock().replies.extend(replies);
    }

    /// Drops replies that nobody has asked for.
    pub(crate) fn forget_replies(&self) {
        self.lock().replies.clear();
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.lock().requests.clone()
    }

    /// Waits until `count` requests have come and gives the last of them.
    pub(crate) async fn request(&self, count: usize) -> Request {
        wait::until(&format!("request {count} at the Responses API"), || {
            self.requests().into_iter().nth(count - 1)
        })
        .await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shared> {
        self.shared.lock().expect("no holder of this lock panics")
    }
}

async fn serve(listener: TcpListener, shared: Arc<Mutex<Shared>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(answer(request, &shared).await) }
            });
            // An error here is a Codex that went away.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

async fn answer(
    request: hyper::Request<Incoming>,
    shared: &Mutex<Shared>,
) -> hyper::Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return status(400) };
    if head.uri.path() != "/v1/responses" {
        return status(404);
    }
    let (reply, number) = {
        let mut shared = shared.lock().expect("no holder of this lock panics");
        let body = serde_json::from_slice(&body.to_bytes()).unwrap_or(Value::Null);
        shared.requests.push(Request { headers: head.headers, body });
        (shared.replies.pop_front(), shared.requests.len())
    };
    match reply {
        None => status(400),
        Some(Reply::Error(code)) => status(code),
        Some(Reply::Speech(speech)) => stream(speech.steps(number)),
    }
}

fn status(code: u16) -> hyper::Response<Body> {
    let body = json!({ "error": { "message": format!("scripted {code}"), "code": null } });
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    hyper::Response::builder()
        .status(StatusCode::from_u16(code).expect("a scripted status is a valid one"))
        .header("content-type", "application/json")
        .body(body.boxed_unsync())
        .expect("a response of fixed parts is valid")
}

fn stream(steps: Vec<Step>) -> hyper::Response<Body> {
    // A place for one event: the stream goes no faster than it is read.
    let (frames, received) = mpsc::channel::<Result<Frame<Bytes>, io::Error>>(1);
    tokio::spawn(async move {
        for step in steps {
            let event = match step {
                Step::Pass(gate) => {
                    tokio::select! {
                        () = gate.pass() => continue,
                        // The reader has gone: an interrupted turn.
                        () = frames.closed() => return,
                    }
                }
                Step::Event(event) => event,
            };
            let kind = event["type"].as_str().unwrap_or_default();
            let frame = Frame::data(Bytes::from(format!("event: {kind}\ndata: {event}\n\n")));
            if frames.send(Ok(frame)).await.is_err() {
                return;
            }
        }
    });
    let body = StreamBody::new(futures_util::stream::unfold(received, async |mut received| {
        received.recv().await.map(|frame| (frame, received))
    }));
    hyper::Response::builder()
        .header("content-type", "text/event-stream")
        .body(UnsyncBoxBody::new(body))
        .expect("a response of fixed parts is valid")
}
