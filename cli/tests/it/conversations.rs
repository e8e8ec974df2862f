//! New conversations, and those that go on.

use std::sync::{Arc, Mutex};

use claude_relay_testing::fake_relay::{CONNECTED, FakeRelay};
use serde_json::{Value, json};

use crate::support::program::{command, piped, run};

/// The kinds of frames that the server has got.
type Received = Arc<Mutex<Vec<String>>>;

/// A server whose agent has this conversation open. It refuses to begin
/// another if it is an old one.
async fn relay(session_id: Option<&'static str>, is_old: bool) -> (FakeRelay, Received) {
    let received = Received::default();
    let log = Arc::clone(&received);
    let fake = FakeRelay::start(move |_, request, mut peer| {
        let log = Arc::clone(&log);
        async move {
            if !request.path.starts_with("/ws") {
                let health = json!({
                    "status": "ok", "version": "9.9.9",
                    "agent": { "provider": "claude", "session_id": session_id },
                    "replay": { "first": 1, "next": 1, "bytes": 0 },
                });
                return peer.json("200 OK", &health.to_string()).await;
            }
            peer.upgrade(&request).await;
            peer.text(CONNECTED).await;
            let mut seq = 0;
            while let Some(message) = peer.message().await {
                let frame: Value = serde_json::from_str(&message).unwrap();
                if frame["type"] == "control_request" {
                    log.lock().unwrap().push(frame["request"]["subtype"].to_string());
                    let response = if is_old {
                        json!({ "subtype": "error", "error": "unsupported" })
                    } else {
                        json!({ "subtype": "success", "response": {} })
                    };
                    let id = &frame["requestId"];
                    let answer = json!({ "type": "control_response", "requestId": id, "response": response });
                    peer.text(&answer.to_string()).await;
                } else {
                    log.lock().unwrap().push(frame["data"]["message"]["content"].to_string());
                    seq += 1;
                    let result = json!({
                        "type": "result", "subtype": "success", "is_error": false,
                        "result": "answered", "session_id": "s", "num_turns": 1,
                        "user_message_uuids": [frame["data"]["uuid"]],
                    });
                    let line = json!({ "type": "sdk_message", "seq": seq, "data": result });
                    peer.text(&line.to_string()).await;
                }
            }
        }
    })
    .await;
    (fake, received)
}

fn taken(received: &Received) -> Vec<String> {
    received.lock().unwrap().iter().map(|text| text.trim_matches('"').to_owned()).collect()
}

#[tokio::test]
async fn a_question_begins_a_new_conversation_where_one_is_open() {
    for (session_id, is_old, flags, expected) in [
        (Some("s"), false, &[][..], &["new_conversation", "hi"][..]),
        (Some("s"), false, &["-c"], &["hi"]),
        (Some("s"), false, &["--continue"], &["hi"]),
        (None, false, &[], &["hi"]),
        (Some("s"), true, &[], &["new_conversation", "/clear", "hi"]),
    ] {
        let (fake, received) = relay(session_id, is_old).await;
        let (code, stdout, stderr) = run(command(&fake.url).arg("hi").args(flags)).await;
        assert_eq!((code, stdout.as_str()), (0, "answered\n"), "{flags:?}: {stderr}");
        assert_eq!(taken(&received), expected, "{session_id:?} {is_old} {flags:?}");
    }
}

#[tokio::test]
async fn a_chat_begins_a_new_conversation_at_its_start_and_by_its_command() {
    for (is_old, flags, expected) in [
        (false, &[][..], &["new_conversation", "one", "new_conversation", "two"][..]),
        (false, &["-c"], &["one", "new_conversation", "two"]),
        (true, &["-c"], &["one", "new_conversation", "/clear", "two"]),
    ] {
        let (fake, received) = relay(Some("s"), is_old).await;
        let mut command = command(&fake.url);
        command.args(["chat", "--no-history"]).args(flags);
        let (code, _, stderr) = piped(&mut command, b"one\n/new\ntwo\n").await;
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(taken(&received), expected, "{is_old} {flags:?}: {stderr}");
    }
}
