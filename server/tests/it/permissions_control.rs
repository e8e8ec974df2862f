//! Control requests of a client: passed on as they are, answered exactly once.

use crate::support::cli_fixture::CliFixture;
use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::process;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::scripted_agent::Recorder;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
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

async fn asking_fixture(cli: Cli) -> CliFixture {
    CliFixture::launched(cli, json!({}), |launch| launch.mode("ask")).await
}

async fn set_model_reaches_the_api(cli: Cli) {
    let mut fixture = asking_fixture(cli).await;
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    fixture.client.say("First").await;
    fixture.client.turn().await;
    let request = json!({ "subtype": "set_model", "model": "claude-test-model-7" });
    // The id of the relay's own first request is as good as any.
    let answer = control(&mut fixture.client, "relay-initialize", request).await;
    assert_eq!(answer["subtype"], "success", "{answer}");
    fixture.client.say("Second").await;
    fixture.client.turn().await;
    assert_ne!(fixture.api.turn(1).await.body["model"], "claude-test-model-7");
    assert_eq!(fixture.api.turn(2).await.body["model"], "claude-test-model-7");
    fixture.end().await;
}

async fn edits_are_accepted_after_set_permission_mode(cli: Cli) {
    let mut fixture = asking_fixture(cli).await;
    let file = fixture.env.workspace().join("made");
    fixture.api.script([
        Reply::tool("Write", json!({ "file_path": file, "content": "x" })),
        Reply::text("Done."),
    ]);
    let request = json!({ "subtype": "set_permission_mode", "mode": "acceptEdits" });
    let answer = control(&mut fixture.client, "m", request).await;
    assert_eq!(answer["subtype"], "success", "{answer}");
    fixture.client.say("Write it").await;
    let turn = fixture.client.turn().await;
    assert!(turn.0.iter().all(|frame| frame["type"] != "permission_request"), "{turn:#?}");
    assert!(file.exists());
    fixture.end().await;
}

async fn no_mode_beyond_the_ceiling(cli: Cli) {
    let mut fixture = asking_fixture(cli).await;
    for mode in ["bypassPermissions", "auto"] {
        let request = json!({ "subtype": "set_permission_mode", "mode": mode });
        let answer = control(&mut fixture.client, "m", request).await;
        assert_eq!(answer["subtype"], "error", "{answer}");
        let words = answer["error"].as_str().unwrap_or_default();
        assert!(words.contains(mode) && words.contains("mode ask of the server"), "{words}");

        let config = json!({ "permissionMode": mode }).to_string();
        let refused = http::post(fixture.relay.address(), "/config", &config).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        assert!(refused.body.contains("permissionMode"), "{refused:?}");
    }
    // Still asked: nothing has come through.
    fixture.api.script([
        Reply::tool("Bash", json!({ "command": "touch made", "description": "x" })),
        Reply::text("Then not."),
    ]);
    fixture.client.say("Touch it").await;
    let mut frames = fixture.client.until(|frame| frame["type"] == "permission_request").await;
    let id = frames.pop().expect("the request")["requestId"].clone();
    fixture
        .client
        .send(&json!({ "type": "permission_response", "requestId": id, "approved": false }))
        .await;
    fixture.client.turn().await;
    assert!(!fixture.env.workspace().join("made").exists());
    fixture.end().await;
}

async fn no_approval_leads_beyond_the_ceiling(cli: Cli) {
    let mut fixture = asking_fixture(cli).await;
    let touch = |file: &str| {
        Reply::tool("Bash", json!({ "command": format!("touch {file}"), "description": "x" }))
    };
    fixture.api.script([touch("one"), touch("two"), Reply::text("Then not.")]);
    fixture.client.say("Touch them").await;
    let mut frames = fixture.client.until(|frame| frame["type"] == "permission_request").await;
    let id = frames.pop().expect("the request")["requestId"].clone();
    let bypass =
        json!([{ "type": "setMode", "mode": "bypassPermissions", "destination": "session" }]);
    let yes = json!({ "type": "permission_response", "requestId": id, "approved": true });
    let mut too_much = yes.clone();
    too_much["updatedPermissions"] = bypass;
    fixture.client.send(&too_much).await;
    let error = fixture.client.until(|frame| frame["type"] == "error").await.pop().expect("it");
    let words = error["error"].as_str().unwrap_or_default();
    assert!(words.contains("still open") && words.contains("bypassPermissions"), "{words}");
    let flags = json!({ "subtype": "apply_flag_settings", "settings": { "permissions": { "defaultMode": "bypassPermissions" } } });
    let answer = control(&mut fixture.client, "f", flags).await;
    assert_eq!(answer["subtype"], "error", "{answer}");

    // It is open, and the next one is asked about again.
    fixture.client.send(&yes).await;
    let mut frames = fixture.client.until(|frame| frame["type"] == "permission_request").await;
    let id = frames.pop().expect("the request")["requestId"].clone();
    fixture
        .client
        .send(&json!({ "type": "permission_response", "requestId": id, "approved": false }))
        .await;
    fixture.client.turn().await;
    assert!(fixture.env.workspace().join("one").exists());
    assert!(!fixture.env.workspace().join("two").exists());
    fixture.end().await;
}

async fn subtypes_nobody_knows(cli: Cli) {
    let mut fixture = asking_fixture(cli).await;
    let answer = control(&mut fixture.client, "x", json!({ "subtype": "brew_tea" })).await;
    assert_eq!(answer["subtype"], "error", "{answer}");
    assert!(answer["error"].as_str().is_some_and(|e| e.contains("brew_tea")), "{answer}");
    let answer = control(&mut fixture.client, "y", json!({ "subtype": "initialize" })).await;
    assert_eq!(answer["subtype"], "error", "{answer}");
    assert!(answer["error"].as_str().is_some_and(|e| e.contains("relay itself")), "{answer}");

    fixture.api.script([Reply::text("Alive.")]);
    fixture.client.say("Hi").await;
    assert_eq!(fixture.client.turn().await.result()["result"], "Alive.");
    fixture.end().await;
}

/// Answers with a body come through whole.
async fn questions_about_the_agent(cli: Cli) {
    let mut fixture = asking_fixture(cli).await;
    fixture.api.script([Reply::text("Hi.")]);
    fixture.client.say("Hi").await;
    fixture.client.turn().await;
    let answer = control(&mut fixture.client, "a", json!({ "subtype": "mcp_status" })).await;
    assert_eq!(answer["subtype"], "success", "{answer}");
    assert!(answer["response"]["mcpServers"].is_array(), "{answer}");
    let answer = control(&mut fixture.client, "b", json!({ "subtype": "get_context_usage" })).await;
    assert_eq!(answer["subtype"], "success", "{answer}");
    assert!(answer["response"].as_object().is_some_and(|body| !body.is_empty()), "{answer}");
    let rewind = json!({ "subtype": "rewind_files", "user_message_id": "x" });
    let answer = control(&mut fixture.client, "c", rewind).await;
    assert_eq!(answer["subtype"], "error", "{answer}");
    fixture.end().await;
}

/// Two requests under one id and an agent that dies with both open: two
/// answers, both errors.
#[tokio::test]
async fn every_request_is_answered_when_the_agent_dies() {
    let env = TestEnv::new();
    let agent = Recorder::new(&env);
    let relay = Launch::new(&env).argument("--claude-path").argument(&agent.script).start();
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
    process::signal(i32::try_from(pid).expect("a process id fits"), Signal::KILL);
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
