//! A relay whose frames a test writes one by one.

use std::sync::{Arc, Mutex};

use claude_relay_testing::fake_relay::{
    FakeRelay, PING, PONG, Peer, Received, TEXT, frame as frame_bytes,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::soon;
use super::terminal::Terminal;

/// A relay whose frames the test writes one by one.
pub(crate) struct ScriptedRelay {
    pub(crate) fake: FakeRelay,
    frames: mpsc::Sender<Vec<u8>>,
    received: mpsc::Receiver<Value>,
    next: u64,
}

impl ScriptedRelay {
    pub(crate) async fn start() -> Self {
        let (frames, to_send) = mpsc::channel::<Vec<u8>>(64);
        let (heard, received) = mpsc::channel(64);
        let to_send = Arc::new(Mutex::new(Some(to_send)));
        let pongs = frames.clone();
        let fake = FakeRelay::relay(move |_, _, peer: Peer<TcpStream>| {
            let to_send = to_send.lock().unwrap().take().expect("one connection");
            converse(peer.stream, to_send, heard.clone(), pongs.clone())
        })
        .await;
        Self { fake, frames, received, next: 1 }
    }

    /// Sends a frame with its number, which stands where a server writes it.
    pub(crate) async fn send(&mut self, frame: Value) {
        let Value::Object(fields) = frame else { panic!("{frame}") };
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.insert(1, ("seq".to_owned(), self.next.into()));
        let frame = Value::Object(fields.into_iter().collect());
        self.next += 1;
        let bytes = frame_bytes(0x80 | TEXT, frame.to_string().as_bytes());
        self.frames.send(bytes).await.unwrap();
    }

    pub(crate) async fn line(&mut self, line: Value) {
        self.send(json!({ "type": "sdk_message", "data": line })).await;
    }

    pub(crate) async fn begins(&mut self) {
        self.line(json!({ "type": "system", "subtype": "init", "session_id": "s", "model": "m" }))
            .await;
    }

    pub(crate) async fn says(&mut self, text: &str) {
        let content = json!([{ "type": "text", "text": text }]);
        self.line(json!({
            "type": "assistant", "parent_tool_use_id": null, "session_id": "s",
            "message": { "role": "assistant", "content": content },
        }))
        .await;
    }

    /// Sends a piece of a text.
    pub(crate) async fn streams(&mut self, text: &str) {
        let delta = json!({ "type": "text_delta", "text": text });
        self.line(json!({
            "type": "stream_event", "parent_tool_use_id": null, "session_id": "s",
            "event": { "type": "content_block_delta", "index": 0, "delta": delta },
        }))
        .await;
    }

    pub(crate) async fn ends(&mut self, uuid: Option<&Value>) {
        let mut result = json!({
            "type": "result", "subtype": "success", "is_error": false, "result": "",
            "num_turns": 1, "session_id": "s", "total_cost_usd": 0,
            "usage": { "input_tokens": 1, "output_tokens": 1 },
        });
        match uuid {
            Some(uuid) => result["user_message_uuids"] = json!([uuid]),
            None => result["origin"] = json!({ "kind": "task-notification" }),
        }
        self.line(result).await;
    }

    pub(crate) async fn asks(&mut self, id: &str, tool: &str, input: Value) {
        self.send(json!({
            "type": "permission_request", "requestId": id, "tool": tool, "input": input,
            "context": {},
        }))
        .await;
    }

    /// The next frame of the client of this type.
    pub(crate) async fn receives(&mut self, kind: &str) -> Value {
        soon(async {
            loop {
                let frame = self.received.recv().await.expect("the client is there");
                if frame["type"] == kind {
                    return frame;
                }
            }
        })
        .await
    }

    /// The next message for the agent: its text and its id.
    pub(crate) async fn message(&mut self) -> (String, Value) {
        let frame = self.receives("user_message").await;
        let text = frame["data"]["message"]["content"].as_str().unwrap().to_owned();
        (text, frame["data"]["uuid"].clone())
    }

    /// Nothing but what is of no account has been received.
    pub(crate) fn has_received_no(&mut self, kind: &str) {
        while let Ok(frame) = self.received.try_recv() {
            assert_ne!(frame["type"], kind, "{frame}");
        }
    }

    /// Answers the next message with its text.
    pub(crate) async fn echo(&mut self, terminal: &mut Terminal) -> String {
        let (text, uuid) = self.message().await;
        self.begins().await;
        self.says(&format!("ANSWER TO {text}")).await;
        self.ends(Some(&uuid)).await;
        terminal.shows(&format!("ANSWER TO {text}")).await;
        text
    }

    pub(crate) fn single_turn(&self, arguments: &[&str]) -> Terminal {
        Terminal::start(&self.fake.url, arguments, false)
    }

    pub(crate) async fn chat(&self, more: &[&str]) -> Terminal {
        let arguments = [&["chat", "--no-history"], more].concat();
        let mut terminal = Terminal::start(&self.fake.url, &arguments, false);
        terminal.shows("> ").await;
        terminal
    }
}

/// Writes what the test sends, hands over what the client says, and answers
/// its pings.
async fn converse(
    stream: TcpStream,
    mut to_send: mpsc::Receiver<Vec<u8>>,
    heard: mpsc::Sender<Value>,
    pongs: mpsc::Sender<Vec<u8>>,
) {
    let (read, mut write) = stream.into_split();
    let mut reading = Peer { stream: tokio::io::join(read, tokio::io::sink()) };
    let writing = async {
        while let Some(bytes) = to_send.recv().await {
            if write.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    let reading = async {
        while let Some(Received { opcode, payload, .. }) = reading.receive().await {
            if opcode == PING {
                let _ = pongs.send(frame_bytes(0x80 | PONG, &payload)).await;
            } else if let Ok(frame) = serde_json::from_slice(&payload) {
                let _ = heard.send(frame).await;
            }
        }
    };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}
