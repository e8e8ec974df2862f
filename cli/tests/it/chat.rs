//! `chat` on a terminal, with an agent that speaks when it wants to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use claude_relay_testing::fake_relay::{
    FakeRelay, PING, PONG, Peer, Received, TEXT, frame as frame_bytes,
};
use claude_relay_testing::relay_process::RelayProcess;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::soon;
use crate::support::terminal::{CTRL_C, CTRL_D, Terminal};

/// A relay whose frames the test writes one by one.
struct ScriptedRelay {
    fake: FakeRelay,
    frames: mpsc::Sender<Vec<u8>>,
    received: mpsc::Receiver<Value>,
    next: u64,
}

impl ScriptedRelay {
    async fn start() -> Self {
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
    async fn send(&mut self, frame: Value) {
        let Value::Object(fields) = frame else { panic!("{frame}") };
        let mut fields: Vec<_> = fields.into_iter().collect();
        fields.insert(1, ("seq".to_owned(), self.next.into()));
        let frame = Value::Object(fields.into_iter().collect());
        self.next += 1;
        let bytes = frame_bytes(0x80 | TEXT, frame.to_string().as_bytes());
        self.frames.send(bytes).await.unwrap();
    }

    async fn line(&mut self, line: Value) {
        self.send(json!({ "type": "sdk_message", "data": line })).await;
    }

    async fn begins(&mut self) {
        self.line(json!({ "type": "system", "subtype": "init", "session_id": "s", "model": "m" }))
            .await;
    }

    async fn says(&mut self, text: &str) {
        let content = json!([{ "type": "text", "text": text }]);
        self.line(json!({
            "type": "assistant", "parent_tool_use_id": null, "session_id": "s",
            "message": { "role": "assistant", "content": content },
        }))
        .await;
    }

    async fn ends(&mut self, uuid: Option<&Value>) {
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

    async fn asks(&mut self, id: &str, tool: &str, input: Value) {
        self.send(json!({
            "type": "permission_request", "requestId": id, "tool": tool, "input": input,
            "context": {},
        }))
        .await;
    }

    /// The next frame of the client of this type.
    async fn receives(&mut self, kind: &str) -> Value {
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
    async fn message(&mut self) -> (String, Value) {
        let frame = self.receives("user_message").await;
        let text = frame["data"]["message"]["content"].as_str().unwrap().to_owned();
        (text, frame["data"]["uuid"].clone())
    }

    /// Nothing but what is of no account has been received.
    fn has_received_no(&mut self, kind: &str) {
        while let Ok(frame) = self.received.try_recv() {
            assert_ne!(frame["type"], kind, "{frame}");
        }
    }

    /// Answers the next message with its text.
    async fn echo(&mut self, terminal: &mut Terminal) -> String {
        let (text, uuid) = self.message().await;
        self.begins().await;
        self.says(&format!("ANSWER TO {text}")).await;
        self.ends(Some(&uuid)).await;
        terminal.shows(&format!("ANSWER TO {text}")).await;
        text
    }

    async fn chat(&self, more: &[&str]) -> Terminal {
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
        while let Some(Received { opcode, payload }) = reading.receive().await {
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

async fn leaves(mut terminal: Terminal) {
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
}

#[tokio::test]
async fn lines_that_come_in_one_write_are_all_sent_in_order() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["chat", "--no-history"], false);
    terminal.shows("> ").await;
    terminal.types("one\rtwo\rthree\r").await;
    for text in ["one", "two", "three"] {
        terminal.shows(&format!("You said: “{text}”")).await;
    }
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn lines_that_are_typed_while_the_agent_works_are_sent_afterwards() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("first\r").await;
    let (_, uuid) = relay.message().await;
    terminal.types("second\rthird\rhalf").await;
    relay.begins().await;
    relay.ends(Some(&uuid)).await;
    assert_eq!(relay.echo(&mut terminal).await, "second");
    assert_eq!(relay.echo(&mut terminal).await, "third");
    terminal.shows("> half").await;
    terminal.types(" done\r").await;
    assert_eq!(relay.echo(&mut terminal).await, "half done");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn a_turn_that_the_agent_begins_is_shown_and_the_line_being_typed_is_kept() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("half a li").await;
    terminal.shows("half a li").await;
    relay.begins().await;
    relay.says("THE TESTS HAVE FAILED").await;
    relay.ends(None).await;
    terminal.shows("by itself").await;
    terminal.shows("THE TESTS HAVE FAILED").await;
    terminal.shows("> half a li").await;
    terminal.types("ne\r").await;
    assert_eq!(relay.echo(&mut terminal).await, "half a line");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn a_question_between_two_lines_is_asked_at_once_and_answered_by_what_is_typed_then() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("y").await;
    terminal.shows("> y").await;
    relay.asks("p1", "Bash", json!({ "command": "touch x" })).await;
    let shown = terminal.shows("Allow Bash?").await;
    assert!(shown.contains("touch x"), "{shown}");
    terminal.types("n\r").await;
    terminal.shows("Why").await;
    terminal.types("later\r").await;
    let answer = relay.receives("permission_response").await;
    assert_eq!((&answer["approved"], &answer["message"]), (&json!(false), &json!("later")));
    terminal.shows("> y").await;
    terminal.types("es?\r").await;
    assert_eq!(relay.echo(&mut terminal).await, "yes?");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn input_typed_before_a_question_does_not_answer_it() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("go\r").await;
    let (_, uuid) = relay.message().await;
    relay.begins().await;
    relay.says("I look.").await;
    terminal.shows("I look.").await;
    terminal.types("y\r").await;
    // The terminal hands it over in a moment; only then comes the question.
    tokio::time::sleep(Duration::from_millis(200)).await;
    relay.asks("p1", "Bash", json!({ "command": "touch x" })).await;
    relay.asks("p2", "Bash", json!({ "command": "touch y" })).await;
    terminal.shows("Allow Bash?").await;
    relay.has_received_no("permission_response");
    terminal.types("n\r").await;
    terminal.shows("Why").await;
    terminal.types("\r").await;
    assert_eq!(relay.receives("permission_response").await["requestId"], "p1");
    terminal.shows("Allow Bash?").await;
    terminal.types("y\r").await;
    let answer = relay.receives("permission_response").await;
    assert_eq!((&answer["requestId"], &answer["approved"]), (&json!("p2"), &json!(true)));
    // It is the next message, as it was meant.
    relay.ends(Some(&uuid)).await;
    assert_eq!(relay.echo(&mut terminal).await, "y");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn a_question_that_the_agent_withdraws_is_taken_away_and_the_next_one_asked() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    relay.asks("p1", "Bash", json!({ "command": "one" })).await;
    terminal.shows("Allow Bash?").await;
    relay.asks("p2", "Write", json!({ "file_path": "two" })).await;
    relay.send(json!({ "type": "permission_cancelled", "requestId": "p1" })).await;
    terminal.shows("withdrew").await;
    terminal.shows("Allow Write?").await;
    terminal.types("y\r").await;
    assert_eq!(relay.receives("permission_response").await["requestId"], "p2");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn a_question_with_choices_is_answered_by_numbers_and_in_own_words() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    let options = json!([
        { "label": "SQLite", "description": "a file" },
        { "label": "Postgres", "description": "a server" },
    ]);
    relay
        .asks("q", "AskUserQuestion", json!({ "questions": [
            { "question": "Which database?", "header": "DB", "multiSelect": false, "options": options },
            { "question": "Which ones to try?", "header": "Try", "multiSelect": true, "options": options },
            { "question": "And the name?", "header": "Name", "multiSelect": false, "options": options },
        ] }))
        .await;
    let shown = terminal.shows("own words: ").await;
    assert!(shown.contains("2. Postgres: a server") && !shown.contains("Allow"), "{shown}");
    terminal.types("2\r").await;
    terminal.shows("such as 1,2").await;
    terminal.types("1,2\r").await;
    terminal.shows("And the name?").await;
    terminal.shows("own words: ").await;
    terminal.types("DuckDB, of course\r").await;
    let answer = relay.receives("permission_response").await;
    assert_eq!(answer["approved"], true);
    assert_eq!(answer["updatedInput"]["questions"][0]["header"], "DB");
    assert_eq!(
        answer["updatedInput"]["answers"],
        json!({
            "Which database?": "Postgres",
            "Which ones to try?": "SQLite, Postgres",
            "And the name?": "DuckDB, of course",
        })
    );
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn a_plan_is_shown_as_text_and_sent_back_with_what_is_to_change() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    let write = json!({ "file_path": "/home/u/.claude/plans/a.md", "content": "# Plan\n1. Dig" });
    let content = json!([{ "type": "tool_use", "id": "t", "name": "Write", "input": write }]);
    relay
        .line(json!({ "type": "assistant", "parent_tool_use_id": null, "session_id": "s",
            "message": { "role": "assistant", "content": content } }))
        .await;
    relay.asks("p", "ExitPlanMode", json!({})).await;
    let shown = terminal.shows("Carry it out?").await;
    assert!(shown.contains("1. Dig"), "{shown}");
    terminal.types("n\r").await;
    terminal.shows("changed").await;
    terminal.types("a smaller hole\r").await;
    let answer = relay.receives("permission_response").await;
    assert_eq!(
        (&answer["approved"], &answer["message"]),
        (&json!(false), &json!("a smaller hole"))
    );
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn ctrl_c_in_a_question_stops_the_turn_and_the_chat_goes_on() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("go\r").await;
    let (_, uuid) = relay.message().await;
    relay.begins().await;
    relay.asks("p", "Bash", json!({ "command": "x" })).await;
    terminal.shows("Allow Bash?").await;
    terminal.types(CTRL_C).await;
    let answer = relay.receives("permission_response").await;
    assert_eq!((&answer["approved"], &answer["interrupt"]), (&json!(false), &json!(true)));
    relay.ends(Some(&uuid)).await;
    terminal.shows("> ").await;
    terminal.types("next\r").await;
    assert_eq!(relay.echo(&mut terminal).await, "next");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn sigterm_and_sighup_interrupt_the_turn_and_leave() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut relay = ScriptedRelay::start().await;
        let mut terminal = relay.chat(&[]).await;
        terminal.types("go\r").await;
        let (_, uuid) = relay.message().await;
        relay.begins().await;
        terminal.signal(signal);
        relay.receives("interrupt").await;
        relay.ends(Some(&uuid)).await;
        assert_eq!(terminal.ends().await.code(), Some(code), "{signal:?}");

        // At the prompt there is nothing to interrupt.
        let relay = ScriptedRelay::start().await;
        let terminal = relay.chat(&[]).await;
        terminal.signal(signal);
        assert_eq!(terminal.ends().await.code(), Some(code), "{signal:?}");
    }
}

#[tokio::test]
async fn the_terminal_is_left_as_it_was() {
    let relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    let before = terminal.modes();
    assert!(!before.contains("ICANON"), "{before}");
    terminal.types(CTRL_D).await;
    terminal.waits_for_its_end().await;
    let after = terminal.modes();
    assert!(after.contains("ICANON") && after.contains("ECHO"), "{after}");
}
