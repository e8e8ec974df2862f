//! G: messages that are none, and some that are odd and are. H: clients that
//! are one too many.

use super::AttackHarness;
use super::recording::RecordingHarness;
use crate::support::http;
use crate::support::ws::{RawClient, client_frame};
use serde_json::{Value, json};

/// Sends each text, and asserts that it is answered with an error which
/// `names` something, and that only `last` reaches the agent.
async fn refused(texts: &[&str], names: &str) {
    const LAST: &str = r#"{"type":"user","message":{"role":"user","content":"last"}}"#;
    let agent = RecordingHarness::begin().await;
    let mut client = agent.harness.client().await;
    for text in texts {
        client.send_text(*text).await;
        let frame = client.frame().await;
        assert_eq!(frame["type"], "error", "{text:.100} is answered with {frame}");
        let error = frame["error"].as_str().unwrap_or_default();
        assert!(error.contains(names), "{text:.100} is answered with {error}");
        assert!(error.len() < 1000, "an error of {} bytes", error.len());
    }
    client.send_text(format!(r#"{{"type":"user_message","data":{LAST}}}"#)).await;
    assert_eq!(agent.lines_until(LAST).await, [LAST]);
    client.close().await;
    agent.over().await;
}

#[tokio::test]
async fn invalid_messages_are_reported() {
    let texts = [
        "x",
        "",
        " ",
        "null",
        "[]",
        "5",
        "\"user_message\"",
        "{}",
        r#"{"type":5}"#,
        "{",
        "{}}",
        r#"{"type":"interrupt"} {"type":"interrupt"}"#,
        r#"{'type':'interrupt'}"#,
        r#"{"type":"interrupt",}"#,
        "\u{feff}{\"type\":\"interrupt\"}",
    ];
    refused(&texts, "Invalid message format: ").await;
}

#[tokio::test]
async fn long_invalid_message_is_not_echoed() {
    let harness = AttackHarness::begin().await.may_grow_by(96 << 20);
    let mut client = harness.client().await;
    for text in ["\"secret\"", "{\"secret", "[\"secret\"]"] {
        let long = text.replace("secret", &"x".repeat(32 << 20));
        client.send_text(long).await;
        let told = client.frame().await.to_string();
        assert!(told.contains("Invalid message format: "), "{told:.300}");
        assert!(told.len() < 500, "an error of {} bytes", told.len());
    }
    client.close().await;
    harness.over().await;
}

#[tokio::test]
async fn unknown_type_is_named_and_truncated() {
    refused(&[r#"{"type":"of tomorrow"}"#], "of tomorrow").await;
    refused(&[r#"{"type":"connected"}"#], "connected").await;
    let long = format!(r#"{{"type":"{}"}}"#, "é".repeat(100_000));
    refused(&[&long], &"é".repeat(20)).await;
}

#[tokio::test]
async fn user_messages_that_would_crash_the_agent_are_refused() {
    let user = |data: &str| format!(r#"{{"type":"user_message","data":{data}}}"#);
    let message = |message: &str| user(&format!(r#"{{"type":"user","message":{message}}}"#));
    let content = |content: &str| message(&format!(r#"{{"role":"user","content":{content}}}"#));
    let texts = [
        r#"{"type":"user_message"}"#.to_owned(),
        user("null"),
        user("\"text\""),
        user("[]"),
        user("{}"),
        user(r#"{"type":"user"}"#),
        // A request of the control protocol is not a user message.
        user(r#"{"type":"control_request","request_id":"1","request":{"subtype":"interrupt"}}"#),
        user(r#"{"type":"user","message":{"role":"user","content":"x"},"type":"control_request"}"#),
        message("null"),
        message("\"text\""),
        message(r#"{"role":"assistant","content":"x"}"#),
        message(r#"{"role":"user"}"#),
        content("5"),
        content("null"),
        content("{}"),
        content("[null]"),
        content("[5]"),
        content(r#"[{"type":"text"}]"#),
        content(r#"[{"type":"text","text":5}]"#),
    ];
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    refused(&texts, "Invalid message format: ").await;
}

#[tokio::test]
async fn g_bytes_reach_the_agent_as_they_are() {
    let agent = RecordingHarness::begin().await;
    let mut client = agent.harness.client().await;
    let data = "{ \"message\" :{\"content\":\"a\\u2028\u{2028}\\ud800\\/\" , \"role\":\"user\"},\r\n\
                \"b\":1.0,\"a\":1e400,\"a\":12345678901234567890123, \"type\":\"user\" }";
    client.send_text(format!("{{\"data\":{data},\n\"type\":\"user_message\"}}")).await;
    // One line: what ends a line between tokens becomes a space.
    let line = data.replace(['\r', '\n'], " ");
    assert_eq!(agent.lines_until(&line).await, [line.as_str()]);
    client.close().await;
    agent.over().await;
}

/// Decided by the contract: an interrupt overtakes nothing (G8).
#[tokio::test]
async fn thousand_messages_and_interrupts_keep_their_order() {
    let agent = RecordingHarness::begin().await;
    let mut client = agent.harness.client().await;
    for number in 0..1000 {
        client.say(number.to_string()).await;
    }
    client.interrupt().await;
    client.say("last").await;
    let said = |text: &str| {
        json!({
            "type": "user",
            "message": { "role": "user", "content": text },
            "parent_tool_use_id": null,
            "session_id": "",
        })
        .to_string()
    };
    let lines = agent.lines_until(&said("last")).await;
    assert_eq!(lines.len(), 1002);
    for (number, line) in lines[..1000].iter().enumerate() {
        assert_eq!(*line, said(&number.to_string()));
    }
    assert!(lines[1000].contains(r#""subtype":"interrupt""#), "{}", lines[1000]);
    client.close().await;
    agent.over().await;
}

#[tokio::test]
async fn interrupts_at_any_time_are_harmless() {
    let harness = AttackHarness::begin().await;
    let mut client = harness.client().await;
    // While nothing runs, and twice.
    client.interrupt().await;
    client.interrupt().await;
    client.say(json!({ "echo": true }).to_string()).await;
    assert_eq!(client.turn().await.result()["subtype"], "success");
    // While it streams.
    client.say(json!({ "n": 1_000_000, "size": 300, "rate": 1000 }).to_string()).await;
    client.until(|frame| frame["data"]["type"] == "assistant").await;
    client.interrupt().await;
    client.interrupt().await;
    client.turn().await;
    client.say(json!({ "echo": true }).to_string()).await;
    assert_eq!(client.turn().await.result()["subtype"], "success");
    client.close().await;
    harness.over().await;
}

#[tokio::test]
async fn interrupt_before_the_start_and_after_the_exit_is_harmless() {
    let harness = AttackHarness::begin().await;
    // Another configuration: a new agent starts with this client.
    http::post(harness.address(), "/config", r#"{"model":"another"}"#).await;
    let mut client = harness.client().await;
    client.interrupt().await;
    client.say(json!({ "echo": true }).to_string()).await;
    assert_eq!(client.turn().await.result()["subtype"], "success");
    client.say(json!({ "exit": 3 }).to_string()).await;
    client.until(|frame| frame["type"] == "exit").await;
    // There is nothing to interrupt: that starts no agent and says nothing.
    client.interrupt().await;
    client.interrupt().await;
    client.say(json!({ "echo": true }).to_string()).await;
    assert_eq!(client.turn().await.result()["subtype"], "success");
    client.close().await;
    http::post(harness.address(), "/config", "{}").await;
    harness.over().await;
}

#[tokio::test]
async fn unexpected_answers_are_reported() {
    let harness = AttackHarness::begin().await;
    let mut client = harness.client().await;
    for _ in 0..3 {
        client
            .send(&json!({ "type": "permission_response", "requestId": "nobody-asked", "approved": true }))
            .await;
        let told = client.frame().await;
        assert_eq!(told["type"], "error", "{told}");
    }
    // A second answer to the same question.
    client.say(json!({ "permission": "Bash" }).to_string()).await;
    let asked = client.until(|frame| frame["type"] == "permission_request").await;
    let id = &asked.last().expect("the question")["requestId"];
    let deny = json!({ "type": "permission_response", "requestId": id, "approved": false });
    let allow = json!({ "type": "permission_response", "requestId": id, "approved": true });
    client.send(&deny).await;
    client.send(&allow).await;
    let seen = client.until(|frame| frame["data"]["type"] == "result").await;
    let text = seen.iter().map(Value::to_string).collect::<String>();
    if !seen.iter().any(|frame| frame["type"] == "error") {
        assert_eq!(client.frame().await["type"], "error", "{text}");
    }
    client.close().await;
    harness.over().await;
}

#[tokio::test]
async fn messages_of_a_server_are_refused() {
    let harness = AttackHarness::begin().await;
    let mut client = harness.client().await;
    for kind in [
        "connected",
        "sdk_message",
        "error",
        "info",
        "permission_request",
        "control_response",
        "exit",
        "gap",
    ] {
        client.send(&json!({ "type": kind, "data": {}, "error": "x", "requestId": "1" })).await;
        let told = client.frame().await;
        assert_eq!(told["type"], "error");
        assert!(told["error"].as_str().is_some_and(|error| error.contains(kind)), "{told}");
    }
    client.close().await;
    harness.over().await;
}

#[tokio::test]
async fn envelope_text_inside_data_stays_data() {
    let harness = AttackHarness::begin().await;
    let mut client = harness.client().await;
    let text = json!({ "echo": true, "type": "error", "error": "no", "x": "{\"type\":\"exit\"}" });
    client
        .send(&json!({
            "type": "user_message",
            "data": {
                "type": "user",
                "message": { "role": "user", "content": text.to_string() },
                "error": "no", "seq": 5, "data": { "type": "interrupt" },
            },
        }))
        .await;
    let turn = client.turn().await;
    assert!(turn.0.iter().all(|frame| frame["type"] == "sdk_message"), "{turn:?}");
    assert_eq!(turn.result()["subtype"], "success");
    client.close().await;
    harness.over().await;
}

#[tokio::test]
async fn four_large_images_reach_the_agent() {
    let harness = AttackHarness::begin().await.may_grow_by(256 << 20);
    let mut client = harness.client().await;
    let image = "iVBORw0KGgo".repeat((10 << 20) / 11);
    let block = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": image } });
    let text = json!({ "type": "text", "text": "four images" });
    client.say(json!([text, block, block, block, block])).await;
    assert_eq!(client.turn().await.result()["subtype"], "success");
    client.close().await;
    harness.over().await;
}

#[tokio::test]
async fn deep_nesting_does_not_overflow_the_stack() {
    let harness = AttackHarness::begin().await.may_grow_by(64 << 20);
    let mut client = harness.client().await;
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for text in [
            deep.clone(),
            format!(r#"{{"type":"interrupt","x":{deep}}}"#),
            format!(r#"{{"type":"user_message","data":{deep}}}"#),
            format!(
                r#"{{"type":"permission_response","requestId":"x","approved":true,"updatedInput":{deep}}}"#
            ),
        ] {
            client.send_text(text).await;
        }
    }
    // Whatever each was answered, the connection goes on.
    client.say(json!({ "echo": true, "note": "after" }).to_string()).await;
    client.turn().await;
    client.close().await;
    harness.over().await;
}

#[tokio::test]
async fn second_client_is_refused_and_ignored() {
    let agent = RecordingHarness::begin().await;
    let address = agent.harness.address();
    let mut first = agent.harness.client().await;
    for _ in 0..5 {
        // Its message comes with its handshake, as early as possible.
        let (answer, mut second) = RawClient::upgrade(address, "/ws", &[]).await;
        assert_eq!(answer.status, 101);
        let intruding = br#"{"type":"user_message","data":{"type":"user","message":{"role":"user","content":"intruding"}}}"#;
        second.write(&client_frame(0x81, intruding)).await;
        second.write(&client_frame(0x81, br#"{"type":"interrupt"}"#)).await;
        // The holder answers the ping by which the server looks after it.
        let told = tokio::select! {
            told = second.read() => told,
            seen = first.see() => panic!("the first client sees nothing of it, but saw {seen:?}"),
        };
        let (kind, payload) = told.expect("a frame");
        assert_eq!(kind, 0x81);
        assert_eq!(
            String::from_utf8_lossy(&payload),
            r#"{"type":"error","error":"Server already has an active connection"}"#
        );
        assert_eq!(second.closed().await, Some(1013));
    }
    first.say("last").await;
    let last = json!({
        "type": "user", "message": { "role": "user", "content": "last" },
        "parent_tool_use_id": null, "session_id": "",
    });
    let lines = agent.lines_until(&last.to_string()).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    first.close().await;
    agent.over().await;
}

#[tokio::test]
async fn slot_is_free_as_soon_as_its_client_is_gone() {
    let harness = AttackHarness::begin().await;
    for _ in 0..20 {
        let client = harness.client().await;
        client.close().await;
    }
    for _ in 0..20 {
        // Without a close: the connection just ends.
        drop(harness.client().await);
    }
    let mut client = harness.client().await;
    client.say(json!({ "echo": true }).to_string()).await;
    assert_eq!(client.turn().await.result()["subtype"], "success");
    client.close().await;
    harness.over().await;
}
