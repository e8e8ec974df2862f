//! Turns: the answer to a message is that of its own turn, whatever runs
//! before, between and after.

use std::sync::Arc;

use claude_relay_client::{Client, ConnectionError, ServerMessage, TurnError, TurnOrigin};
use claude_relay_testing::fake_relay::{FakeRelay, Peer};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::support::{client, soon};

/// Sends one line of the agent under its number.
async fn line(peer: &mut Peer<TcpStream>, seq: u64, line: Value) {
    peer.text(&format!(r#"{{"type":"sdk_message","seq":{seq},"data":{line}}}"#)).await;
}

fn init() -> Value {
    json!({ "type": "system", "subtype": "init", "session_id": "s" })
}

fn says(text: &str) -> Value {
    json!({ "type": "assistant", "parent_tool_use_id": null,
        "message": { "content": [{ "type": "text", "text": text }] } })
}

/// A piece of a text.
fn streams(text: &str) -> Value {
    json!({ "type": "stream_event", "parent_tool_use_id": null, "event":
        { "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } } })
}

fn result(text: &str, more: Value) -> Value {
    let mut line = json!({ "type": "result", "subtype": "success", "result": text });
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    line
}

/// The id of the next message.
async fn message_id(peer: &mut Peer<TcpStream>) -> String {
    let message: Value = serde_json::from_str(&peer.message().await.unwrap()).unwrap();
    message["data"]["uuid"].as_str().unwrap().to_owned()
}

async fn connect(fake: &FakeRelay) -> Client {
    soon(client(&fake.url).start()).await.unwrap()
}

/// A relay that greets with the state of the agent.
async fn relay<F, D>(state: Value, script: F) -> FakeRelay
where
    F: Fn(Peer<TcpStream>) -> D + Send + Sync + 'static,
    D: Future<Output = ()> + Send + 'static,
{
    let (state, script) = (state.to_string(), Arc::new(script));
    FakeRelay::relay(move |_, request, mut peer| {
        let (state, script) = (state.clone(), Arc::clone(&script));
        async move {
            assert!(request.path.contains("supports=agent_state"), "{}", request.path);
            peer.text(&state).await;
            script(peer).await;
        }
    })
    .await
}

fn state(name: &str, turn: Value, tasks: u64) -> Value {
    json!({ "type": "agent_state", "state": name, "turn": turn, "background_tasks": tasks })
}

#[tokio::test]
async fn the_rest_of_another_turn_is_not_part_of_the_answer() {
    let busy = state("running", json!({ "origin": "client", "uuid": "gone" }), 0);
    let fake = relay(busy, |mut peer| async move {
        let id = message_id(&mut peer).await;
        line(&mut peer, 1, says("the rest of another turn")).await;
        line(&mut peer, 2, result("of another turn", json!({}))).await;
        line(&mut peer, 3, init()).await;
        line(&mut peer, 4, says("ours")).await;
        line(&mut peer, 5, result("ours", json!({ "user_message_uuid": id }))).await;
        peer.text(&state("idle", Value::Null, 0).to_string()).await;
        peer.idle().await;
    })
    .await;
    let client = connect(&fake).await;
    assert_eq!(lines_of_turn(&client).await, ([3, 4, 5].into(), "ours".to_owned()));
    soon(client.wait_until_idle()).await.unwrap();
}

/// An agent that names a turn only at its end: a second report follows the first
/// while the message waits.
#[tokio::test]
async fn a_second_turn_of_the_agent_itself_is_not_part_of_the_answer() {
    let busy = state("running", json!({ "origin": "agent" }), 0);
    let fake = relay(busy, |mut peer| async move {
        let id = message_id(&mut peer).await;
        let own = json!({ "origin": { "kind": "task-notification" } });
        line(&mut peer, 1, result("a report", own.clone())).await;
        line(&mut peer, 2, init()).await;
        line(&mut peer, 3, says("another report")).await;
        line(&mut peer, 4, result("another report", own)).await;
        line(&mut peer, 5, init()).await;
        line(&mut peer, 6, says("ours")).await;
        line(&mut peer, 7, result("ours", json!({ "user_message_uuids": [id] }))).await;
        peer.idle().await;
    })
    .await;
    assert_eq!(lines_of_turn(&connect(&fake).await).await, ([5, 6, 7].into(), "ours".to_owned()));
}

/// The agent names a turn at its end alone, and begins one of its own just after
/// the message was sent.
#[tokio::test]
async fn a_turn_of_the_agent_itself_that_begins_before_the_answer_is_not_part_of_it() {
    for say in [says, streams] {
        for is_announced in [true, false] {
            let fake = relay(state("idle", Value::Null, 0), move |mut peer| async move {
                message_id(&mut peer).await;
                let own = json!({ "origin": { "kind": "task-notification" } });
                if is_announced {
                    line(&mut peer, 1, init()).await;
                }
                line(&mut peer, 2, say("a report")).await;
                line(&mut peer, 3, result("a report", own)).await;
                line(&mut peer, 4, init()).await;
                line(&mut peer, 5, say("ours")).await;
                line(&mut peer, 6, result("ours", json!({}))).await;
                peer.idle().await;
            })
            .await;
            let found = lines_of_turn(&connect(&fake).await).await;
            assert_eq!(found, ([4, 5, 6].into(), "ours".to_owned()), "announced: {is_announced}");
        }
    }
}

/// Nothing tells any more to which turn the lines belong: they are all there is.
#[tokio::test]
async fn the_text_of_a_turn_in_which_the_agent_ends_is_given() {
    let fake = relay(state("idle", Value::Null, 0), |mut peer| async move {
        message_id(&mut peer).await;
        line(&mut peer, 1, init()).await;
        line(&mut peer, 2, streams("as far as")).await;
        peer.text(r#"{"type":"exit","seq":3,"code":1,"signal":null,"stderr":""}"#).await;
        peer.idle().await;
    })
    .await;
    let mut turn = soon(connect(&fake).await.turn("hi")).await.unwrap();
    let mut lines = Vec::new();
    let error = loop {
        match soon(turn.next()).await.unwrap() {
            Ok(ServerMessage::Sdk(message)) => lines.push(message.seq().unwrap()),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(lines, [1, 2]);
    assert!(matches!(error, TurnError::AgentExited { code: Some(1), .. }), "{error}");
}

/// The client before was killed while its messages waited. They have no id, so
/// the server tells their number. The agent takes them one by one, or all at once.
#[tokio::test]
async fn the_answers_to_messages_without_an_id_that_waited_are_not_part_of_the_answer() {
    for is_merged in [false, true] {
        let waiting = json!({ "type": "agent_state", "state": "running",
            "turn": { "origin": "client" }, "background_tasks": 0, "queued": [], "unnamed": 2 });
        let fake = relay(waiting, move |mut peer| async move {
            message_id(&mut peer).await;
            line(&mut peer, 1, result("the running one", json!({}))).await;
            let texts = if is_merged { &["ours"][..] } else { &["first", "second", "ours"] };
            for (seq, text) in (2..).step_by(3).zip(texts) {
                line(&mut peer, seq, init()).await;
                line(&mut peer, seq + 1, says(text)).await;
                line(&mut peer, seq + 2, result(text, json!({}))).await;
            }
            peer.idle().await;
        })
        .await;
        let (_, text) = lines_of_turn(&connect(&fake).await).await;
        assert_eq!(text, "ours", "merged: {is_merged}");
    }
}

/// The server can have taken a turn of the agent itself for that of a message,
/// which waits for the next one then.
#[tokio::test]
async fn a_message_of_another_that_the_server_took_for_running_still_comes_first() {
    let guessed = state("running", json!({ "origin": "client", "uuid": "gone" }), 0);
    let fake = relay(guessed, |mut peer| async move {
        message_id(&mut peer).await;
        let own = json!({ "origin": { "kind": "task-notification" } });
        line(&mut peer, 1, result("a report", own)).await;
        line(&mut peer, 2, init()).await;
        line(&mut peer, 3, says("to another")).await;
        line(&mut peer, 4, result("to another", json!({ "user_message_uuids": ["gone"] }))).await;
        line(&mut peer, 5, init()).await;
        line(&mut peer, 6, says("ours")).await;
        line(&mut peer, 7, result("ours", json!({}))).await;
        peer.idle().await;
    })
    .await;
    assert_eq!(lines_of_turn(&connect(&fake).await).await, ([5, 6, 7].into(), "ours".to_owned()));
}

/// The client before was killed while its message waited.
#[tokio::test]
async fn the_answer_to_a_message_that_waited_before_is_not_part_of_the_answer() {
    let waiting = json!({ "type": "agent_state", "state": "running", "turn": null,
        "background_tasks": 0, "queued": ["gone"] });
    let fake = relay(waiting, |mut peer| async move {
        let id = message_id(&mut peer).await;
        line(&mut peer, 1, init()).await;
        line(&mut peer, 2, says("to another")).await;
        line(&mut peer, 3, result("to another", json!({ "user_message_uuids": ["gone"] }))).await;
        line(&mut peer, 4, init()).await;
        line(&mut peer, 5, says("ours")).await;
        line(&mut peer, 6, result("ours", json!({ "user_message_uuids": [id] }))).await;
        peer.idle().await;
    })
    .await;
    assert_eq!(lines_of_turn(&connect(&fake).await).await, ([4, 5, 6].into(), "ours".to_owned()));
}

#[tokio::test]
async fn a_takeover_is_the_end_of_the_connection_and_not_a_refused_message() {
    let fake = relay(state("idle", Value::Null, 0), |mut peer| async move {
        message_id(&mut peer).await;
        line(&mut peer, 1, init()).await;
        assert!(peer.message().await.unwrap().contains("interrupt"));
        peer.text(r#"{"type":"error","error":"Another client has taken over"}"#).await;
        peer.close(4001, "another client is there").await;
        peer.idle().await;
    })
    .await;
    let client = connect(&fake).await;
    let turn = soon(client.turn("hi")).await.unwrap();
    // Its outcome is the turn's.
    let _ = soon(client.interrupt()).await;
    let error = soon(turn.finish()).await.unwrap_err();
    let replaced = TurnError::Connection(ConnectionError::Replaced {
        message: "another client is there".to_owned(),
    });
    assert_eq!(error.to_string(), replaced.to_string());
}

/// The numbers of the lines that a turn gives, and its text.
async fn lines_of_turn(client: &Client) -> (Vec<u64>, String) {
    let mut turn = soon(client.turn("hi")).await.unwrap();
    let mut lines = Vec::new();
    while let Some(message) = soon(turn.next()).await {
        if let ServerMessage::Sdk(message) = message.unwrap() {
            lines.push(message.seq().unwrap());
        }
    }
    (lines, turn.answer().text.clone())
}

#[tokio::test]
async fn the_agents_own_turn_is_shown_among_the_turns_and_not_as_the_answer() {
    let fake = relay(state("idle", Value::Null, 0), |mut peer| async move {
        let id = message_id(&mut peer).await;
        let own = json!({ "origin": { "kind": "task-notification" } });
        line(&mut peer, 1, init()).await;
        line(&mut peer, 2, result("a report", own)).await;
        line(&mut peer, 3, init()).await;
        line(&mut peer, 4, result("ours", json!({ "user_message_uuids": [id] }))).await;
        peer.idle().await;
    })
    .await;
    let client = connect(&fake).await;
    let mut turns = client.turns();
    let answer = soon(client.ask("hi")).await.unwrap();
    assert_eq!(answer.text, "ours");
    let own = soon(turns.next()).await.unwrap().unwrap();
    assert_eq!((own.origin, own.answer.text.as_str()), (TurnOrigin::Agent, "a report"));
    let ours = soon(turns.next()).await.unwrap().unwrap();
    assert_eq!((ours.origin, ours.message_ids.len()), (TurnOrigin::Client, 1));
}

#[tokio::test]
async fn ask_waits_for_background_tasks_and_their_report() {
    let tasks = |list: Value| json!({ "type": "system", "subtype": "background_tasks_changed", "tasks": list });
    let fake = relay(state("idle", Value::Null, 0), move |mut peer| async move {
        let id = message_id(&mut peer).await;
        line(&mut peer, 1, init()).await;
        line(&mut peer, 2, tasks(json!([{ "task_id": "t" }]))).await;
        line(&mut peer, 3, result("started", json!({ "user_message_uuids": [id] }))).await;
        peer.text(&state("idle", Value::Null, 1).to_string()).await;
        // The second client message comes while the task runs.
        assert!(peer.message().await.unwrap().contains("capabilities"));
        line(&mut peer, 4, json!({ "type": "system", "subtype": "task_notification", "task_id": "t", "status": "completed" })).await;
        line(&mut peer, 5, tasks(json!([]))).await;
        line(&mut peer, 6, init()).await;
        line(&mut peer, 7, result("report", json!({ "origin": { "kind": "task-notification" } }))).await;
        peer.text(&state("idle", Value::Null, 0).to_string()).await;
        peer.idle().await;
    })
    .await;
    let client = connect(&fake).await;
    let mut turns = client.turns();
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.ask("hi").await }
    });
    assert_eq!(soon(turns.next()).await.unwrap().unwrap().answer.text, "started");
    assert!(!asking.is_finished());
    soon(client.request_capabilities()).await.unwrap();
    assert_eq!(soon(turns.next()).await.unwrap().unwrap().answer.text, "report");
    assert_eq!(soon(asking).await.unwrap().unwrap().text, "started");
}

#[tokio::test]
async fn a_message_that_is_handed_back_ends_its_turn_with_the_reason() {
    let fake = relay(state("stopped", Value::Null, 0), |mut peer| async move {
        let id = message_id(&mut peer).await;
        let exit = json!({ "type": "exit", "seq": 1, "code": 1, "signal": null, "stderr": "", "waiting": [id] });
        peer.text(&exit.to_string()).await;
        let back = json!({ "type": "undelivered", "seq": 2, "uuids": [id], "reason": "it is gone" });
        peer.text(&back.to_string()).await;
        peer.idle().await;
    })
    .await;
    let client = connect(&fake).await;
    let error = soon(client.ask("hi")).await.unwrap_err();
    assert!(
        matches!(&error, TurnError::Undelivered { reason } if reason == "it is gone"),
        "{error}"
    );
    soon(client.wait_until_idle()).await.unwrap();
}
