//! Scripted Responses API on loopback for the real Codex. It answers with the
//! replies of the test and keeps every request.

use crate::http_api::{Answer, Api, Body, json_response, stream_response};
use crate::reply::{Gate, Step};
use crate::wait;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Response};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// A running API. Dropping it stops it.
pub struct ResponsesApi(Api<State>);

#[derive(Default)]
struct State {
    replies: VecDeque<Reply>,
    requests: Vec<Request>,
}

/// One request to `/v1/responses` as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Value,
}

impl Request {
    /// The parts of the user's messages, without those that Codex adds.
    pub fn user_parts(&self) -> Vec<&Value> {
        let input = self.body["input"].as_array().into_iter().flatten();
        input
            .filter(|item| item["role"] == "user")
            .flat_map(|item| item["content"].as_array().into_iter().flatten())
            .filter(|part| !part["text"].as_str().is_some_and(|text| text.starts_with('<')))
            .collect()
    }

    /// The texts of [`user_parts`](Self::user_parts).
    pub fn user_texts(&self) -> Vec<&str> {
        self.user_parts().into_iter().filter_map(|part| part["text"].as_str()).collect()
    }

    /// The tools on offer, those of a namespace behind its name. Some models
    /// have them in a list of their own, some of them within a tool that runs
    /// JavaScript: `exec>apply_patch`.
    pub fn tools(&self) -> Vec<String> {
        let input = self.body["input"].as_array().into_iter().flatten();
        let lists = std::iter::once(&self.body["tools"]).chain(input.map(|item| &item["tools"]));
        lists.flat_map(|list| list.as_array().into_iter().flatten()).flat_map(names).collect()
    }

    /// Output of the last tool.
    pub fn tool_output(&self) -> String {
        let input = self.body["input"].as_array().into_iter().flatten();
        let is_output = |item: &&Value| {
            item["type"] == "function_call_output" || item["type"] == "custom_tool_call_output"
        };
        let mut outputs = input.filter(is_output);
        outputs.next_back().map_or_else(String::new, |item| item["output"].to_string())
    }
}

/// The names by which one tool of a list can be called.
fn names(tool: &Value) -> Vec<String> {
    let name = tool["name"].as_str().or(tool["type"].as_str()).unwrap_or_default();
    if let Some(members) = tool["tools"].as_array() {
        let members = members.iter().flat_map(names);
        // Members of `functions` are called without the namespace.
        return match name {
            "functions" => members.collect(),
            _ => members.map(|member| format!("{name}.{member}")).collect(),
        };
    }
    let mut all = vec![name.to_owned()];
    if name == "exec" {
        let described = tool["description"].as_str().unwrap_or_default();
        let nested =
            described.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
        all.extend(nested.filter(|name| !name.contains('(')).map(|name| format!("exec>{name}")));
    }
    all
}

/// One scripted answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A reasoning, a text in pieces that each wait at the gate, a tool.
    Speech(Speech),
    /// An HTTP error.
    Error(u16),
}

/// The content of one response of the model.
#[derive(Clone, Debug, Default)]
pub struct Speech {
    reasoning: Option<String>,
    pieces: Vec<String>,
    /// The call of a tool, less its ids.
    call: Option<Value>,
    /// The connection ends in the middle.
    cut: bool,
    gate: Option<Gate>,
}

impl Reply {
    /// A message of one text, streamed in one piece.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Speech(Speech { pieces: vec![text.into()], ..Speech::default() })
    }

    /// A summary of a reasoning, then a text.
    pub fn reasoned(reasoning: &str, text: &str) -> Self {
        Self::Speech(Speech {
            reasoning: Some(reasoning.into()),
            pieces: vec![text.into()],
            ..Speech::default()
        })
    }

    /// A text streamed in `pieces`, each of which waits at `gate`.
    pub fn gated<'a>(gate: &Gate, pieces: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Speech(Speech {
            pieces: pieces.into_iter().map(Into::into).collect(),
            gate: Some(gate.clone()),
            ..Speech::default()
        })
    }

    /// Runs a command.
    pub fn command(command: &str) -> Self {
        Self::tool("exec_command", json!({ "cmd": command }))
    }

    /// Makes a file in the working directory, or wherever `path` leads.
    pub fn new_file(path: &str, text: &str) -> Self {
        Self::command(&format!(
            "apply_patch <<'PATCH'\n*** Begin Patch\n*** Add File: {path}\n+{text}\n*** End Patch\nPATCH\n"
        ))
    }

    /// The beginning of an answer, and then nothing more: the connection ends.
    pub fn cut(text: &str) -> Self {
        Self::Speech(Speech { pieces: vec![text.into()], cut: true, ..Speech::default() })
    }

    /// Calls a function.
    pub fn tool(name: &str, arguments: Value) -> Self {
        let arguments = arguments.to_string();
        Self::call(json!({ "type": "function_call", "name": name, "arguments": arguments }))
    }

    /// Calls a function of a namespace, which an MCP server is one of.
    pub fn tool_of(namespace: &str, name: &str, arguments: Value) -> Self {
        let arguments = arguments.to_string();
        Self::call(json!({
            "type": "function_call", "namespace": namespace, "name": name, "arguments": arguments
        }))
    }

    /// Runs JavaScript, by which models of Codex's catalogue call their tools.
    pub fn script(code: &str) -> Self {
        Self::call(json!({ "type": "custom_tool_call", "name": "exec", "input": code }))
    }

    fn call(call: Value) -> Self {
        Self::Speech(Speech { call: Some(call), ..Speech::default() })
    }
}

impl Speech {
    fn steps(self, number: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        steps.push(Step::event(json!({
            "type": "response.created", "response": { "id": format!("resp_{number}") }
        })));
        if let Some(text) = self.reasoning {
            let id = format!("rs_{number}");
            let item =
                |summary: Value| json!({ "type": "reasoning", "id": id, "summary": summary });
            steps.push(Step::event(
                json!({ "type": "response.output_item.added", "item": item(json!([])) }),
            ));
            steps.push(Step::event(json!({
                "type": "response.reasoning_summary_part.added", "item_id": id, "summary_index": 0
            })));
            steps.push(Step::event(json!({
                "type": "response.reasoning_summary_text.delta",
                "item_id": id, "summary_index": 0, "delta": text
            })));
            let summary = json!([{ "type": "summary_text", "text": text }]);
            steps.push(Step::event(
                json!({ "type": "response.output_item.done", "item": item(summary) }),
            ));
        }
        if !self.pieces.is_empty() {
            let id = format!("msg_{number}");
            let item = |content: Value| json!({ "type": "message", "role": "assistant", "id": id, "content": content });
            steps.push(Step::event(
                json!({ "type": "response.output_item.added", "item": item(json!([])) }),
            ));
            for piece in &self.pieces {
                steps.extend(self.gate.clone().map(Step::Pass));
                steps.push(Step::event(json!({
                    "type": "response.output_text.delta",
                    "item_id": id, "output_index": 0, "content_index": 0, "delta": piece
                })));
            }
            if self.cut {
                steps.push(Step::Cut);
                return steps;
            }
            let content = json!([{ "type": "output_text", "text": self.pieces.concat() }]);
            steps.push(Step::event(
                json!({ "type": "response.output_item.done", "item": item(content) }),
            ));
        }
        if let Some(mut call) = self.call {
            call["id"] = json!(format!("fc_{number}"));
            call["call_id"] = json!(format!("call_{number}"));
            steps.push(Step::event(json!({ "type": "response.output_item.done", "item": call })));
        }
        steps.push(Step::event(json!({
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
    /// Starts the API with nothing scripted: a request without a scripted
    /// reply is answered 400, so that the test fails.
    pub fn start() -> Self {
        Self(Api::start(State::default()))
    }

    /// The `base_url` of a model provider.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.0.address())
    }

    /// Adds replies, in order.
    pub fn script(&self, replies: impl IntoIterator<Item = Reply>) {
        self.0.lock().replies.extend(replies);
    }

    /// Drops the replies that are left.
    pub fn forget_replies(&self) {
        self.0.lock().replies.clear();
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.0.lock().requests.clone()
    }

    /// Waits until `count` requests have come and gives the last of them.
    pub async fn request(&self, count: usize) -> Request {
        wait::until(&format!("request {count} at the Responses API"), || {
            self.requests().into_iter().nth(count - 1)
        })
        .await
    }
}

impl Answer for State {
    fn answer(&mut self, head: Parts, body: Value) -> Response<Body> {
        if head.uri.path() != "/v1/responses" {
            return error_response(404);
        }
        self.requests.push(Request { headers: head.headers, body });
        match self.replies.pop_front() {
            None => error_response(400),
            Some(Reply::Error(code)) => error_response(code),
            Some(Reply::Speech(speech)) => stream_response(speech.steps(self.requests.len())),
        }
    }
}

fn error_response(code: u16) -> Response<Body> {
    json_response(
        code,
        &json!({ "error": { "message": format!("scripted {code}"), "code": null } }),
    )
}
