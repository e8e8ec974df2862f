//! Replies of the scripted Messages API, and their form as server-sent events
//! or as one JSON body.

use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Gate that holds a reply back until the test opens it, so that a test can act
/// at an exact point of a turn without sleeping.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets `steps` more steps of the reply go.
    pub fn let_through(&self, steps: usize) {
        self.0.add_permits(steps);
    }

    /// Lets everything go from now on.
    pub fn open(&self) {
        self.0.close();
    }

    /// Waits for one step. A gate that is open lets every step pass at once.
    pub(crate) async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

/// One block of an assistant's message.
#[derive(Clone, Debug)]
enum Block {
    Thinking(String),
    /// The pieces in which the text is streamed.
    Text(Vec<String>),
    ToolUse {
        name: String,
        input: Value,
    },
}

/// One scripted answer to `POST /v1/messages`.
#[derive(Clone, Debug)]
pub enum Reply {
    /// A message of the assistant.
    Message(Message),
    /// An HTTP error with the API's body for that status.
    Error(u16),
}

/// A message of the assistant, and how it is to be delivered.
#[derive(Clone, Debug, Default)]
pub struct Message {
    blocks: Vec<Block>,
    /// Passed before every streamed piece of text.
    gate: Option<Gate>,
    /// Cut the connection after so many pieces of text.
    cut_after: Option<usize>,
}

impl Reply {
    /// A message of one text, streamed in one piece.
    pub fn text(text: impl Into<String>) -> Self {
        Message::default().text(text).into()
    }

    /// A message that asks for one tool.
    pub fn tool(name: &str, input: Value) -> Self {
        Message::default().tool(name, input).into()
    }

    /// A text streamed in `pieces`, each of which waits at `gate`.
    pub fn gated<I>(gate: &Gate, pieces: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let mut message = Message::default().pieces(pieces);
        message.gate = Some(gate.clone());
        message.into()
    }
}

impl From<Message> for Reply {
    fn from(message: Message) -> Self {
        Self::Message(message)
    }
}

impl Message {
    /// Adds a block of thinking.
    pub fn thinking(mut self, thinking: impl Into<String>) -> Self {
        self.blocks.push(Block::Thinking(thinking.into()));
        self
    }

    /// Adds a block of text, streamed in one piece.
    pub fn text(self, text: impl Into<String>) -> Self {
        self.pieces([text])
    }

    /// Adds a block of text, streamed in `pieces`.
    pub fn pieces<I>(mut self, pieces: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.blocks.push(Block::Text(pieces.into_iter().map(Into::into).collect()));
        self
    }

    /// Adds a request for a tool.
    pub fn tool(mut self, name: &str, input: Value) -> Self {
        self.blocks.push(Block::ToolUse { name: name.to_owned(), input });
        self
    }

    /// Cuts the connection when `pieces` of text have been sent.
    pub fn cut_after(mut self, pieces: usize) -> Self {
        self.cut_after = Some(pieces);
        self
    }

    /// The message as the body of an answer that is not streamed.
    pub(crate) fn body(&self, id: &str, model: &Value) -> Value {
        let content: Vec<Value> =
            self.blocks.iter().zip(0..).map(|(b, i)| b.whole(id, i)).collect();
        json!({
            "id": id, "type": "message", "role": "assistant", "model": model,
            "content": content, "stop_reason": self.stop_reason(), "stop_sequence": null,
            "usage": usage(),
        })
    }

    /// The message as the steps of a stream.
    pub(crate) fn steps(&self, id: &str, model: &Value) -> Vec<Step> {
        let mut steps = vec![Step::event(json!({
            "type": "message_start",
            "message": {
                "id": id, "type": "message", "role": "assistant", "model": model,
                "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage(),
            },
        }))];
        let mut sent_pieces = 0;
        for (block, index) in self.blocks.iter().zip(0..) {
            steps.push(Step::event(json!({
                "type": "content_block_start", "index": index, "content_block": block.empty(id, index),
            })));
            for delta in block.deltas() {
                if matches!(block, Block::Text(_)) {
                    if self.cut_after == Some(sent_pieces) {
                        steps.push(Step::Cut);
                        return steps;
                    }
                    steps.extend(self.gate.clone().map(Step::Pass));
                    sent_pieces += 1;
                }
                steps.push(Step::event(json!({
                    "type": "content_block_delta", "index": index, "delta": delta,
                })));
            }
            steps.push(Step::event(json!({ "type": "content_block_stop", "index": index })));
        }
        steps.push(Step::event(json!({
            "type": "message_delta",
            "delta": { "stop_reason": self.stop_reason(), "stop_sequence": null },
            "usage": { "output_tokens": 5 },
        })));
        steps.push(Step::event(json!({ "type": "message_stop" })));
        steps
    }

    fn stop_reason(&self) -> &'static str {
        let asks_for_tool = self.blocks.iter().any(|b| matches!(b, Block::ToolUse { .. }));
        if asks_for_tool { "tool_use" } else { "end_turn" }
    }
}

impl Block {
    fn whole(&self, id: &str, index: usize) -> Value {
        match self {
            Self::Thinking(thinking) => {
                json!({ "type": "thinking", "thinking": thinking, "signature": "test" })
            }
            Self::Text(pieces) => json!({ "type": "text", "text": pieces.concat() }),
            Self::ToolUse { name, input } => json!({
                "type": "tool_use", "id": tool_use_id(id, index), "name": name, "input": input,
            }),
        }
    }

    fn empty(&self, id: &str, index: usize) -> Value {
        match self {
            Self::Thinking(_) => json!({ "type": "thinking", "thinking": "", "signature": "" }),
            Self::Text(_) => json!({ "type": "text", "text": "" }),
            Self::ToolUse { name, .. } => json!({
                "type": "tool_use", "id": tool_use_id(id, index), "name": name, "input": {},
            }),
        }
    }

    fn deltas(&self) -> Vec<Value> {
        match self {
            Self::Thinking(thinking) => vec![
                json!({ "type": "thinking_delta", "thinking": thinking }),
                json!({ "type": "signature_delta", "signature": "test" }),
            ],
            Self::Text(pieces) => {
                pieces.iter().map(|p| json!({ "type": "text_delta", "text": p })).collect()
            }
            Self::ToolUse { input, .. } => {
                vec![json!({ "type": "input_json_delta", "partial_json": input.to_string() })]
            }
        }
    }
}

/// Unique over a conversation, because message ids are.
fn tool_use_id(message_id: &str, index: usize) -> String {
    format!("toolu_{}_{index}", message_id.trim_start_matches("msg_"))
}

fn usage() -> Value {
    json!({
        "input_tokens": 10, "output_tokens": 5,
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
    })
}

/// One step of a streamed answer.
#[derive(Debug)]
pub(crate) enum Step {
    /// A server-sent event.
    Event(String),
    /// Wait at the gate.
    Pass(Gate),
    /// Drop the connection without an ending.
    Cut,
}

impl Step {
    /// An event with this data, which holds its type.
    pub(crate) fn event(data: Value) -> Self {
        let kind = data["type"].as_str().expect("every event has a type");
        Self::Event(format!("event: {kind}\ndata: {data}\n\n"))
    }
}

/// The API's error body for an HTTP status.
pub(crate) fn error_body(status: u16) -> Value {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    json!({ "type": "error", "error": { "type": kind, "message": format!("scripted {status}") } })
}
