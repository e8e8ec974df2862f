//! Permission and control requests.

use std::sync::Arc;
use std::time::Duration;

use claude_relay_client::{ControlError, Decision, RawJson, SendError, ServerMessage};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::{client, soon};
use claude_relay_testing::fake_relay::{FakeRelay, Peer};

const ASK: &str = r#"{"type":"permission_request","seq":1,"requestId":"r1","tool":"Bash","input":{"command":"ls"},"context":{"permission_suggestions":[{"type":"addRules"}]}}"#;

/// A relay that sends `frames` and shows what comes back.
async fn relay(frames: &'static [&'static str]) -> (FakeRelay, mpsc::Receiver<String>) {
    let (seen, shown) = mpsc::channel(16);
    let fake = FakeRelay::relay(move |_, _, mut peer: Peer<TcpStream>| {
        let seen = seen.clone();
        async move {
            for frame in frames {
                peer.text(frame).await;
            }
            while let Some(message) = peer.message().await {
                let _ = seen.send(message).await;
            }
        }
    })
    .await;
    (fake, shown)
}

#[tokio::test]
async fn the_program_answers_from_the_stream() {
    let (fake, mut shown) = relay(&[ASK]).await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut messages = client.messages();
    let Some(Ok(ServerMessage::PermissionRequest(request))) = soon(messages.next()).await else {
        panic!("no request");
    };
    assert_eq!((request.tool.as_str(), request.input.get()), ("Bash", r#"{"command":"ls"}"#));
    let always =
        Decision::Allow { updated_input: None, updated_permissions: request.suggestions() };
    soon(client.respond(&request, &always)).await.unwrap();
    assert_eq!(
        soon(shown.recv()).await.unwrap(),
        r#"{"type":"permission_response","requestId":"r1","approved":true,"updatedPermissions":[{"type":"addRules"}]}"#
    );
}

#[tokio::test]
async fn a_handler_answers_several_at_once_and_a_panic_denies() {
    const ASK_2: &str = r#"{"type":"permission_request","seq":2,"requestId":"r2","tool":"Write","input":{},"context":{}}"#;
    const ASK_3: &str = r#"{"type":"permission_request","seq":3,"requestId":"r3","tool":"Panic","input":{},"context":{}}"#;
    let (fake, mut shown) = relay(&[ASK, ASK_2, ASK_3]).await;
    // The first is only decided when the second is asked too.
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let builder = client(&fake.url).on_permission(move |request| {
        let both = Arc::clone(&both);
        async move {
            assert!(request.tool != "Panic", "this handler fails on purpose");
            both.wait().await;
            if request.tool == "Bash" { Decision::allow() } else { Decision::deny("no") }
        }
    });
    let _client = soon(builder.start()).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(soon(shown.recv()).await.unwrap());
    }
    answers.sort();
    assert_eq!(
        answers,
        [
            r#"{"type":"permission_response","requestId":"r1","approved":true}"#,
            r#"{"type":"permission_response","requestId":"r2","approved":false,"message":"no"}"#,
            r#"{"type":"permission_response","requestId":"r3","approved":false,"message":"the program that decides failed"}"#,
        ]
    );
}

#[tokio::test]
async fn a_withdrawn_request_ends_its_decision() {
    struct Running(mpsc::Sender<&'static str>);
    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.try_send("ended");
        }
    }
    // It is withdrawn after the first frame of the client, which is an
    // interrupt; another frame would be an answer.
    let (answer, mut answers) = mpsc::channel(8);
    let fake = FakeRelay::relay(move |_, _, mut peer: Peer<TcpStream>| {
        let answer = answer.clone();
        async move {
            peer.text(ASK).await;
            peer.message().await;
            peer.text(r#"{"type":"permission_cancelled","seq":2,"requestId":"r1"}"#).await;
            while let Some(message) = peer.message().await {
                let _ = answer.send(message).await;
            }
        }
    })
    .await;
    let (tell, mut told) = mpsc::channel(2);
    let builder = client(&fake.url).on_permission(move |_| {
        let running = Running(tell.clone());
        async move {
            let _ = running.0.try_send("begun");
            std::future::pending().await
        }
    });
    let client = soon(builder.start()).await.unwrap();
    let mut messages = client.messages();
    assert!(matches!(soon(messages.next()).await, Some(Ok(ServerMessage::PermissionRequest(_)))));
    assert_eq!(soon(told.recv()).await, Some("begun"));
    soon(client.interrupt()).await.unwrap();
    let cancelled = soon(messages.next()).await;
    assert!(matches!(cancelled, Some(Ok(ServerMessage::PermissionCancelled(id))) if id == "r1"));
    assert_eq!(soon(told.recv()).await, Some("ended"));
    assert!(answers.try_recv().is_err(), "nothing is answered");
}

#[tokio::test]
async fn a_pending_request_is_shown_once_however_often_the_server_sends_it() {
    let fake = FakeRelay::relay(|number, _, mut peer| async move {
        peer.text(ASK).await;
        if number == 0 {
            return;
        }
        peer.line(2).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut messages = client.messages();
    assert!(matches!(soon(messages.next()).await, Some(Ok(ServerMessage::PermissionRequest(_)))));
    assert!(matches!(soon(messages.next()).await, Some(Ok(ServerMessage::Sdk(_)))));
}

/// A relay that answers control requests with `response`, whole.
async fn answering(response: &'static str) -> (FakeRelay, mpsc::Receiver<String>) {
    let (seen, shown) = mpsc::channel(16);
    let fake = FakeRelay::relay(move |_, _, mut peer: Peer<TcpStream>| {
        let seen = seen.clone();
        async move {
            while let Some(message) = peer.message().await {
                let request: serde_json::Value = serde_json::from_str(&message).unwrap();
                let id = &request["requestId"];
                let _ = seen.send(request["request"].to_string()).await;
                peer.text(r#"{"type":"control_response","requestId":"nobody's","response":{}}"#)
                    .await;
                peer.text(&format!(
                    r#"{{"type":"control_response","requestId":{id},"response":{response}}}"#
                ))
                .await;
            }
        }
    })
    .await;
    (fake, shown)
}

#[tokio::test]
async fn control_requests_are_the_sdks_and_get_their_answers() {
    let (fake, mut shown) = answering(r#"{"subtype":"success","response":{"mode":"plan"}}"#).await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let own = RawJson::new(r#"{"subtype":"apply_flag_settings","settings":{"a":1.0}}"#).unwrap();
    assert_eq!(soon(client.control(&own)).await.unwrap().get(), r#"{"mode":"plan"}"#);
    soon(client.set_model(Some("opus"))).await.unwrap();
    soon(client.set_model(None)).await.unwrap();
    soon(client.set_permission_mode("plan")).await.unwrap();
    soon(client.set_max_thinking_tokens(Some(100))).await.unwrap();
    soon(client.set_max_thinking_tokens(None)).await.unwrap();
    soon(client.mcp_status()).await.unwrap();
    soon(client.mcp_toggle("h", false)).await.unwrap();
    soon(client.mcp_reconnect("h")).await.unwrap();
    soon(client.rewind_files("u", true)).await.unwrap();
    soon(client.rewind_files("u", false)).await.unwrap();
    soon(client.context_usage()).await.unwrap();
    soon(client.stop_task("t")).await.unwrap();
    for expected in [
        r#"{"subtype":"apply_flag_settings","settings":{"a":1.0}}"#,
        r#"{"subtype":"set_model","model":"opus"}"#,
        r#"{"subtype":"set_model"}"#,
        r#"{"subtype":"set_permission_mode","mode":"plan"}"#,
        r#"{"subtype":"set_max_thinking_tokens","max_thinking_tokens":100}"#,
        r#"{"subtype":"set_max_thinking_tokens","max_thinking_tokens":null}"#,
        r#"{"subtype":"mcp_status"}"#,
        r#"{"subtype":"mcp_toggle","serverName":"h","enabled":false}"#,
        r#"{"subtype":"mcp_reconnect","serverName":"h"}"#,
        r#"{"subtype":"rewind_files","user_message_id":"u","dry_run":true}"#,
        r#"{"subtype":"rewind_files","user_message_id":"u"}"#,
        r#"{"subtype":"get_context_usage"}"#,
        r#"{"subtype":"stop_task","task_id":"t"}"#,
    ] {
        assert_eq!(soon(shown.recv()).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_refused_control_request_tells_the_agents_words() {
    let (fake, _shown) = answering(
        r#"{"subtype":"error","request_id":"x","error":"File rewinding is not enabled."}"#,
    )
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let error = soon(client.rewind_files("u", false)).await.unwrap_err();
    assert!(
        matches!(&error, ControlError::Refused { subtype, message }
            if subtype == "rewind_files" && message == "File rewinding is not enabled."),
        "{error:?}"
    );
    let no_subtype = RawJson::new("{}").unwrap();
    assert!(matches!(
        soon(client.control(&no_subtype)).await,
        Err(ControlError::Send(SendError::InvalidMessage { .. }))
    ));
}

#[tokio::test]
async fn a_control_request_whose_answer_is_lost_fails_and_does_not_hang() {
    let fake = FakeRelay::relay(|number, _, mut peer: Peer<TcpStream>| async move {
        if number == 0 {
            peer.message().await;
            // Confirms that it was read, and goes.
            tokio::select! {
                _ = peer.message() => {}
                () = tokio::time::sleep(Duration::from_millis(50)) => {}
            }
            return;
        }
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let error = soon(client.mcp_status()).await.unwrap_err();
    assert!(matches!(error, ControlError::Send(SendError::DeliveryUnknown { .. })), "{error:?}");
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Sum {
    a: i64,
    b: i64,
}

/// A call of the tool `add`, and a hook.
const CALL: &str = r#"{"type":"agent_request","seq":1,"requestId":"c1","request":{"subtype":"mcp_message","server_name":"host","message":{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2}}}}}"#;
const HOOK: &str = r#"{"type":"agent_request","seq":2,"requestId":"c2","request":{"subtype":"hook_callback","callback_id":"hook_0","input":{"tool_name":"Bash"}}}"#;

#[tokio::test]
async fn tools_and_hooks_of_the_program_run_once_over_a_break() {
    let (seen, mut shown) = mpsc::channel(16);
    let breaks = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let fake = FakeRelay::start(move |_, request, mut peer: Peer<TcpStream>| {
        let (seen, breaks) = (seen.clone(), Arc::clone(&breaks));
        async move {
            match request.path.as_str() {
                "/health" => return peer.health().await,
                "/config" => return peer.json("200 OK", r#"{"success":true,"config":{}}"#).await,
                _ => {}
            }
            peer.upgrade(&request).await;
            peer.text(claude_relay_testing::fake_relay::CONNECTED).await;
            // The first connection breaks with the answers.
            let is_lost = breaks.swap(false, std::sync::atomic::Ordering::Relaxed);
            if is_lost {
                peer.text(CALL).await;
                peer.text(HOOK).await;
            }
            while let Some(message) = peer.message().await {
                let _ = seen.send(message).await;
                if is_lost {
                    return;
                }
            }
        }
    })
    .await;
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let builder = client(&fake.url)
        .tool("add", "Adds", move |Sum { a, b }| {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move { a.checked_add(b).ok_or("too large") }
        })
        .hook("PreToolUse", Some("Bash"), |input| async move {
            assert_eq!(input["tool_name"], "Bash");
            json!({ "decision": "block", "reason": "no" })
        });
    let _client = soon(builder.start()).await.unwrap();
    let result = json!({ "content": [{ "type": "text", "text": "3" }], "isError": false });
    let mcp = json!({ "mcp_response": { "jsonrpc": "2.0", "id": 4, "result": result } });
    let hook = json!({ "decision": "block", "reason": "no" });
    let answers = [("c1", mcp), ("c2", hook)].map(
        |(id, response)| json!({ "type": "agent_response", "requestId": id, "response": response }),
    );
    let mut missing = answers.to_vec();
    soon(shown.recv()).await.unwrap();
    while !missing.is_empty() {
        let answer = serde_json::from_str(&soon(shown.recv()).await.unwrap()).unwrap();
        assert!(answers.contains(&answer), "{answer}");
        missing.retain(|other| *other != answer);
    }
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 1);
}
