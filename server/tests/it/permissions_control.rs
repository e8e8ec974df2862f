//! Control requests of a client: passed on as they are, answered exactly once.

use crate::support::place::Place;
use crate::support::proc;
use crate::support::relay::Launch;
use crate::support::reply::Reply;
use crate::support::scene::{Scene, for_both_clis};
use crate::support::scripted_agent::Recorder;
use crate::support::tools::Cli;
use crate::support::ws::Client;
use crate::support::{http, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

for_both_clis! {
    set_model_reaches_the_api,
    edits_are_accepted_after_set_permission_mode,
    no_mode_beyond_the_ceiling,
    no_approval_leads_beyond_the_ceiling,
    subtypes_nobody_knows,
    questions_about_the_agent,
}

/// Sends `request` under `id` and reads on to its answer.
async fn control(client: &mut Client, id: &str, request: Value) -> Value {
    client.send(&json!({ "type": "control_request", "requestId": id, "request": request })).await;
    let mut frames = client.until(|frame| frame["type"] == "control_response").await;
    let answer = frames.pop().expect("the answer itself");
    assert_eq!(answer["requestId"], id);
    answer["response"].clone()
}

async fn ask_scene(cli: Cli) -> Scene {
    Scene::launched(cli, json!({}), |launch| launch.mode("ask")).await
}

async fn set_model_reaches_the_api(cli: Cli) {
    let mut scene = ask_scene(cli).await;
    scene.api.script([Reply::text("One."), Reply::text("Two.")]);
    scene.client.say("First").await;
    scene.client.turn().await;
    let request = json!({ "subtype": "set_model", "model": "claude-test-model-7" });
    // The id of the relay's own first request is as good as any.
    let answer = control(&mut scene.client, "relay-initialize", request).await;
    assert_eq!(answer["subtype"], "success", "{answer}");
    scene.client.say("Second").await;
    scene.client.turn().await;
    assert_ne!(scene.api.turn(1).await.body["model"], "claude-test-model-7");
    assert_eq!(scene.api.turn(2).await.body["model"], "claude-test-model-7");
    scene.end().await;
}

async fn edits_are_accepted_after_set_permission_mode(cli: Cli) {
    let mut scene = ask_scene(cli).await;
    let file = scene.place.workspace().join("made");
    scene.api.script([
        Reply::tool("Write", json!({ "file_path": file, "content": "x" })),
        Reply::text("Done."),
    ]);
    let request = json!({ "subtype": "set_permission_mode", "mode": "acceptEdits" });
    let answer = control(&mut scene.client, "m", request).await;
    assert_eq!(answer["subtype"], "success", "{answer}");
    scene.client.say("Write it").await;
    let turn = scene.client.turn().await;
    assert!(turn.0.iter().all(|frame| frame["type"] != "permission_request"), "{turn:#?}");
    assert!(file.exists());
    scene.end().await;
}

async fn no_mode_beyond_the_ceiling(cli: Cli) {
    let mut scene = ask_scene(cli).await;
    for mode in ["bypassPermissions", "auto"] {
        let request = json!({ "subtype": "set_permission_mode", "mode": mode });
        let answer = control(&mut scene.client, "m", request).await;
        assert_eq!(answer["subtype"], "error", "{answer}");
        let words = answer["error"].as_str().unwrap_or_default();
        assert!(words.contains(mode) && words.contains("mode ask of the server"), "{words}");

        let config = json!({ "permissionMode": mode }).to_string();
        let refused = http::post(scene.relay.address(), "/config", &config).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.body.contains("permissionMode"), "{refused:?}");
    }
    // Still asked: nothing has come through.
    scene.api.script([
        Reply::tool("Bash", json!({ "command": "touch made", "description": "x" })),
        Reply::text("Then not."),
    ]);
    scene.client.say("Touch it").await;
    let mut frames = scene.client.until(|frame| frame["type"] == "permission_request").await;
    let id = frames.pop().expect("the request")["requestId"].clone();
    scene
        .client
        .send(&json!({ "type": "permission_response", "requestId": id, "approved": false }))
        .await;
    scene.client.turn().await;
    assert!(!scene.place.workspace().join("made").exists());
    scene.end().await;
}

async fn no_approval_leads_beyond_the_ceiling(cli: Cli) {
    let mut scene = ask_scene(cli).await;
    let touch = |file: &str| {
        Reply::tool("Bash", json!({ "command": format!("touch {file}"), "description": "x" }))
    };
    scene.api.script([touch("one"), touch("two"), Reply::text("Then not.")]);
    scene.client.say("Touch them").await;
    let mut frames = scene.client.until(|frame| frame["type"] == "permission_request").await;
    let id = frames.pop().expect("the request")["requestId"].clone();
    let bypass =
        json!([{ "type": "setMode", "mode": "bypassPermissions", "destination": "session" }]);
    let yes = json!({ "type": "permission_response", "requestId": id, "approved": true });
    let mut too_much = yes.clone();
    too_much["updatedPermissions"] = bypass;
    scene.client.send(&too_much).await;
    let error = scene.client.until(|frame| frame["type"] == "error").await.pop().expect("it");
    let words = error["error"].as_str().unwrap_or_default();
    assert!(words.contains("still open") && words.contains("bypassPermissions"), "{words}");
    let flags = json!({ "subtype": "apply_flag_settings", "settings": { "permissions": { "defaultMode": "bypassPermissions" } } });
    let answer = control(&mut scene.client, "f", flags).await;
    assert_eq!(answer["subtype"], "error", "{answer}");

    // It is open, and the next one is asked about again.
    scene.client.send(&yes).await;
    let mut frames = scene.client.until(|frame| frame["type"] == "permission_request").await;
    let id = frames.pop().expect("the request")["requestId"].clone();
    scene
        .client
        .send(&json!({ "type": "permission_response", "requestId": id, "approved": false }))
        .await;
    scene.client.turn().await;
    assert!(scene.place.workspace().join("one").exists());
    assert!(!scene.place.workspace().join("two").exists());
    scene.end().await;
}

async fn subtypes_nobody_knows(cli: Cli) {
    let mut scene = ask_scene(cli).await;
    let answer = control(&mut scene.client, "x", json!({ "subtype": "brew_tea" })).await;
    assert_eq!(answer["subtype"], "error", "{answer}");
    assert!(answer["error"].as_str().is_some_and(|e| e.contains("brew_tea")), "{answer}");
    let answer = control(&mut scene.client, "y", json!({ "subtype": "initialize" })).await;
    assert_eq!(answer["subtype"], "error", "{answer}");
    assert!(answer["error"].as_str().is_some_and(|e| e.contains("relay itself")), "{answer}");

    scene.api.script([Reply::text("Alive.")]);
    scene.client.say("Hi").await;
    assert_eq!(scene.client.turn().await.result()["result"], "Alive.");
    scene.end().await;
}

/// Answers with a body come through whole.
async fn questions_about_the_agent(cli: Cli) {
    let mut scene = ask_scene(cli).await;
    scene.api.script([Reply::text("Hi.")]);
    scene.client.say("Hi").await;
    scene.client.turn().await;
    let answer = control(&mut scene.client, "a", json!({ "subtype": "mcp_status" })).await;
    assert_eq!(answer["subtype"], "success", "{answer}");
    assert!(answer["response"]["mcpServers"].is_array(), "{answer}");
    let answer = control(&mut scene.client, "b", json!({ "subtype": "get_context_usage" })).await;
    assert_eq!(answer["subtype"], "success", "{answer}");
    assert!(answer["response"].as_object().is_some_and(|body| !body.is_empty()), "{answer}");
    let rewind = json!({ "subtype": "rewind_files", "user_message_id": "x" });
    let answer = control(&mut scene.client, "c", rewind).await;
    assert_eq!(answer["subtype"], "error", "{answer}");
    scene.end().await;
}

/// Two requests under one id and an agent that dies with both open: two
/// answers, both errors.
#[tokio::test]
async fn every_request_is_answered_when_the_agent_dies() {
    let place = Place::new();
    let agent = Recorder::new(&place);
    let relay = Launch::new(&place).argument("--claude-path").argument(&agent.script).start();
    let mut client = Client::connect(relay.address()).await;
    for _ in 0..2 {
        client
            .send(&json!({ "type": "control_request", "requestId": "same", "request": { "subtype": "mcp_status" } }))
            .await;
    }
    agent
        .lines_until(r#"{"request_id":"client-2","type":"control_request","request":{"subtype":"mcp_status"}}"#)
        .await;
    let health = http::get(relay.address(), "/health").await.json();
    let pid = health["agent"]["pid"].as_i64().expect("a running agent");
    proc::signal(i32::try_from(pid).expect("a process id fits"), Signal::KILL);
    let (mut answers, mut exits) = (0, 0);
    wait::within("two answers and the exit", async {
        while (answers, exits) != (2, 1) {
            let frame = client.frame().await;
            exits += usize::from(frame["type"] == "exit");
            if frame["type"] == "control_response" {
                assert_eq!(frame["requestId"], "same");
                assert_eq!(frame["response"]["subtype"], "error", "{frame}");
                answers += 1;
            }
        }
    })
    .await;
    client.close().await;
    relay.stop();
}
