//! Turns of the real Codex as a client of the server sees them.
//!
//! Every scenario over stdio ends in [`CodexFixture::end`]: what the client got
//! is what Codex wrote, byte for byte, and nothing is left running.

use crate::support::codex::{CODEX_KEY, CodexFixture, KEY_VARIABLE};
use crate::support::http;
use crate::support::relay::Launch;
use crate::support::replayed;
use crate::support::ws::Client;
use claude_relay_testing::reply::Gate;
use claude_relay_testing::responses_api::Reply;
use claude_relay_testing::{tools, wait};
use serde_json::{Value, json};

/// A PNG of one red pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

#[tokio::test]
async fn turns_in_one_process_keep_the_conversation() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.api.script([Reply::reasoned("I think.", "One."), Reply::text("Two.")]);
    let first = fixture.turn("First").await;
    assert_eq!((first.status(), first.texts()), (&json!("completed"), vec!["One."]));
    assert_eq!(first.items("reasoning")[0]["summary"], json!(["I think."]));
    let usage = first.of("thread/tokenUsage/updated").last().expect("tokens are counted");
    assert_eq!(usage["tokenUsage"]["last"]["outputTokens"], 10);

    let pid = fixture.pid().await;
    let second = fixture.turn("Second").await;
    assert_eq!(second.texts(), ["Two."]);
    assert_eq!(fixture.api.request(2).await.user_texts(), ["First", "Second"]);
    let agent = fixture.agent().await;
    assert_eq!((agent["pid"].clone(), agent["turns"].clone()), (json!(pid), json!(2)));
    assert_eq!(agent["provider"], "codex");
    let thread = &second.0.last().expect("frames")["data"]["params"]["threadId"];
    assert_eq!(&agent["session_id"], thread);
    fixture.end().await;
}

#[tokio::test]
async fn a_message_during_a_turn_waits_for_its_end() {
    let mut fixture = CodexFixture::start(json!({})).await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["one ", "two"]), Reply::text("Other.")]);
    fixture.client.say("First").await;
    fixture.api.request(1).await;
    fixture.client.say("Second").await;
    wait::until_async("the message to wait", async || {
        fixture.agent().await["waiting_messages"] == 1
    })
    .await;
    gate.open();
    let first = fixture.rest().await;
    let second = fixture.rest().await;

    // Plain `turn/start` would have cut the first answer off.
    assert_eq!((first.status(), first.texts()), (&json!("completed"), vec!["one two"]));
    assert_eq!((second.status(), second.texts()), (&json!("completed"), vec!["Other."]));
    assert_eq!(second.of("turn/started").count(), 1);
    fixture.end().await;
}

#[tokio::test]
async fn a_command_runs_without_the_servers_secrets() {
    let mut fixture = CodexFixture::start(json!({ "env": { "PLAIN_VALUE": "seen" } })).await;
    fixture.api.script([Reply::command("env | sort"), Reply::text("Done.")]);
    let turn = fixture.turn("Look around").await;
    assert_eq!(turn.items("commandExecution").len(), 1);
    let output = fixture.api.request(2).await.tool_output();
    assert!(output.contains("PLAIN_VALUE=seen"), "{output}");
    assert!(!output.contains(CODEX_KEY) && !output.contains(KEY_VARIABLE), "{output}");
    // The app-server itself needs it.
    let request = fixture.api.request(1).await;
    assert_eq!(request.headers["authorization"], format!("Bearer {CODEX_KEY}"));
    fixture.end().await;
}

#[tokio::test]
async fn text_and_images_reach_the_model_and_the_rest_is_refused_by_name() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.api.script([Reply::text("A pixel.")]);
    let image = json!({ "type": "base64", "media_type": "image/png", "data": PNG });
    let text = json!({ "type": "text", "text": "What is it?" });
    fixture.client.say(json!([{ "type": "document", "source": {} }])).await;
    let is_error = |frame: &Value| frame["type"] == "error";
    let refused = fixture.client.until(is_error).await.pop().expect("a frame");
    assert_eq!(
        refused["error"],
        "The message was not taken: message.content[0]: Codex takes text and images, no block of type \"document\""
    );
    fixture.client.say(json!([text, { "type": "image", "source": image }])).await;
    assert_eq!(fixture.rest().await.texts(), ["A pixel."]);
    let request = fixture.api.request(1).await;
    let parts = request.user_parts();
    assert_eq!(parts[0]["text"], "What is it?");
    let url = parts[1]["image_url"].as_str().unwrap_or_else(|| panic!("an image, not {parts:?}"));
    assert!(url.starts_with("data:image/png;base64,"), "{url}");
    fixture.end().await;
}

#[tokio::test]
async fn the_configuration_reaches_codex_and_the_rest_is_named() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } },
        "required": ["a"], "additionalProperties": false });
    let config = json!({
        "model": "model-of-the-test",
        "systemPrompt": "BASE PROMPT",
        "effort": "low",
        "outputFormat": { "type": "json_schema", "schema": schema },
        "maxTurns": 3,
        "anthropicApiKey": "sk-ant-never-used",
    });
    let mut fixture = CodexFixture::start(config.clone()).await;
    let answer = crate::support::codex::configure(&fixture.relay, config).await;
    assert_eq!(
        answer["ignored"],
        json!([
            "maxTurns: Codex does not count the steps of a turn",
            "anthropicApiKey: a credential for Claude; Codex logs in with its own",
        ])
    );
    assert_eq!(answer["config"]["provider"], "codex");
    fixture.api.script([Reply::text("{\"a\":\"1\"}"), Reply::text("{\"a\":\"2\"}")]);
    fixture.turn("First").await;
    fixture.turn("Second").await;
    for request in fixture.api.requests() {
        assert_eq!(request.body["model"], "model-of-the-test");
        assert_eq!(request.body["reasoning"]["effort"], "low");
        assert_eq!(request.body["text"]["format"]["schema"], schema);
        assert!(request.body.to_string().contains("BASE PROMPT"));
    }
    fixture.end().await;
}

#[tokio::test]
async fn control_requests_that_codex_can_follow() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.api.script([Reply::text("One."), Reply::command("true"), Reply::text("Two.")]);
    fixture.turn("First").await;
    for (id, request, subtype) in [
        ("a", json!({ "subtype": "set_model", "model": "another-model" }), "success"),
        ("b", json!({ "subtype": "set_permission_mode", "mode": "default" }), "success"),
        ("c", json!({ "subtype": "mcp_status" }), "error"),
    ] {
        let frame = json!({ "type": "control_request", "requestId": id, "request": request });
        fixture.client.send(&frame).await;
        let answer = fixture.client.frame().await;
        assert_eq!(
            (&answer["type"], &answer["requestId"], &answer["response"]["subtype"]),
            (&json!("control_response"), &json!(id), &json!(subtype)),
            "{answer}"
        );
    }
    // The mode that was set asks about every command.
    fixture.client.say("Second").await;
    let question = fixture.question().await;
    assert_eq!(question["tool"], "commandExecution");
    let id = &question["requestId"];
    let yes = json!({ "type": "permission_response", "requestId": id, "approved": true });
    fixture.client.send(&yes).await;
    assert_eq!(fixture.rest().await.texts(), ["Two."]);
    assert_eq!(fixture.api.request(2).await.body["model"], "another-model");
    fixture.end().await;
}

#[tokio::test]
async fn three_megabytes_in_one_line() {
    let mut fixture = CodexFixture::start(json!({})).await;
    let long = "x".repeat(3 << 20);
    fixture.api.script([Reply::text(long.clone())]);
    let turn = fixture.turn("Much").await;
    assert_eq!(turn.texts(), [long.as_str()]);
    fixture.end().await;
}

#[tokio::test]
async fn a_long_text_in_many_pieces() {
    let mut fixture = CodexFixture::start(json!({})).await;
    let open = Gate::closed();
    open.open();
    let piece = "0123456789 ".repeat(20);
    fixture.api.script([Reply::gated(&open, vec![piece.as_str(); 1000])]);
    let turn = fixture.turn("Much").await;
    assert_eq!(turn.texts(), [piece.repeat(1000)]);
    let deltas = turn.of("item/agentMessage/delta").filter_map(|params| params["delta"].as_str());
    assert_eq!(deltas.collect::<String>(), piece.repeat(1000));
    fixture.end().await;
}

#[tokio::test]
async fn three_megabytes_in_one_message_come_back_whole() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.api.script([Reply::text("Seen.")]);
    // Codex tells the model that it is no image, and the client what it was.
    let data = "A".repeat(3 << 20);
    let source = json!({ "type": "base64", "media_type": "image/png", "data": data });
    fixture.client.say(json!([{ "type": "image", "source": source }])).await;
    let turn = fixture.rest().await;
    assert_eq!(turn.texts(), ["Seen."]);
    let echo = &turn.items("userMessage")[0]["content"][0]["url"];
    assert_eq!(echo.as_str().map(str::len), Some(data.len() + "data:image/png;base64,".len()));
    fixture.end().await;
}

#[tokio::test]
async fn a_text_beyond_what_codex_takes_is_refused_with_its_words() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.client.say("x".repeat((1 << 20) + 1).as_str()).await;
    let is_error = |frame: &Value| frame["type"] == "error";
    let refused = fixture.client.until(is_error).await.pop().expect("a frame");
    let text = refused["error"].as_str().unwrap_or_default();
    assert!(text.contains("1048576"), "{text}");
    fixture.api.script([Reply::text("Shorter.")]);
    assert_eq!(fixture.turn("Less").await.texts(), ["Shorter."]);
    fixture.end().await;
}

#[tokio::test]
async fn another_conversation_begins_in_the_same_process() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    fixture.turn("First").await;
    let before = fixture.agent().await;
    let anew = json!({ "subtype": "new_conversation" });
    let ask = json!({ "type": "control_request", "requestId": "a", "request": anew });
    fixture.client.send(&ask).await;
    let is_answer = |frame: &Value| frame["type"] == "control_response";
    let answer = fixture.client.until(is_answer).await.pop().expect("a frame");
    assert_eq!(answer["response"]["subtype"], "success", "{answer}");
    assert_eq!(fixture.turn("Second").await.texts(), ["Two."]);
    assert_eq!(fixture.api.request(2).await.user_texts(), ["Second"]);
    let after = fixture.agent().await;
    assert_eq!(after["pid"], before["pid"]);
    assert_ne!(after["session_id"], before["session_id"]);
    fixture.end().await;
}

#[tokio::test]
async fn another_conversation_begins_in_the_middle_of_a_turn() {
    let mut fixture = CodexFixture::start(json!({})).await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["One."]), Reply::text("Two.")]);
    fixture.client.say("First").await;
    fixture.api.request(1).await;
    let anew = json!({ "subtype": "new_conversation" });
    let ask = json!({ "type": "control_request", "requestId": "a", "request": anew });
    fixture.client.send(&ask).await;
    let is_end = |frame: &Value| frame["data"]["method"] == "turn/completed";
    let frames = fixture.client.until(is_end).await;
    let answer = frames.iter().find(|frame| frame["type"] == "control_response").unwrap();
    assert_eq!(answer["response"]["subtype"], "success", "{answer}");
    let end = frames.last().unwrap();
    assert_eq!(end["data"]["params"]["turn"]["status"], "interrupted", "{end}");
    assert_eq!(fixture.turn("Second").await.texts(), ["Two."]);
    assert_eq!(fixture.api.request(2).await.user_texts(), ["Second"]);
    fixture.end().await;
}

#[tokio::test]
async fn capabilities_name_both_agents_with_their_versions() {
    let real = tools::Cli::Newest.path();
    for (claude, installed, version) in [
        ("no-such-claude".into(), false, Value::Null),
        (real, true, json!(tools::Cli::Newest.version())),
    ] {
        let mut fixture = CodexFixture::launched("ask", json!({}), |launch, _| {
            launch.argument("--claude-path").argument(claude)
        })
        .await;
        fixture.client.send(&json!({ "type": "capabilities" })).await;
        let is_it = |frame: &Value| frame["type"] == "capabilities";
        let frame = fixture.client.until(is_it).await.pop().expect("a frame");
        let health = http::get(fixture.relay.address(), "/health").await.json();
        for told in [&frame, &health] {
            // The agent is the one that is configured.
            assert_eq!(told["agent"]["provider"], "codex");
            assert_eq!(told["agent"]["version"], tools::codex_version(), "{told}");
            let codex =
                json!({ "installed": true, "remote": false, "version": tools::codex_version() });
            assert_eq!(told["providers"]["codex"], codex);
            assert_eq!(told["providers"]["claude"]["installed"], installed);
            assert_eq!(told["providers"]["claude"]["version"], version);
        }
        fixture.end_unchecked().await;
    }
}

#[tokio::test]
async fn an_unknown_provider_is_a_bad_request_and_an_address_of_one_is_ignored() {
    let fixture = CodexFixture::start(json!({})).await;
    let answer = http::post(fixture.relay.address(), "/config", r#"{"provider":"other"}"#).await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("provider: expected one of"), "{}", answer.body);
    // The address of the app-server is not for a client to choose.
    let elsewhere = json!({ "codexUrl": "ws://127.0.0.1:1", "codexPath": "/bin/sh" });
    let answer = crate::support::codex::configure(&fixture.relay, elsewhere).await;
    let ignored = answer["ignored"].to_string();
    assert!(ignored.contains("codexUrl") && ignored.contains("codexPath"), "{ignored}");
    fixture.end_unchecked().await;
}

/// What it says on stderr is text for people.
#[tokio::test]
async fn the_log_of_codex_comes_without_colours() {
    let mut fixture = CodexFixture::start(json!({ "env": { "RUST_LOG": "info" } })).await;
    fixture.api.script([Reply::text("One.")]);
    let turn = fixture.turn("First").await;
    let told: Vec<_> = turn.0.iter().filter(|frame| frame["type"] == "info").collect();
    assert!(!told.is_empty(), "{:?}", turn.0);
    for frame in told {
        let text = frame["data"].as_str().unwrap_or_default();
        assert!(!text.contains('\x1b'), "{text:?}");
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_recording_of_codex_plays_to_the_same_frames() {
    let mut recording = std::path::PathBuf::new();
    let mut fixture = CodexFixture::launched("ask", json!({}), |launch, _| {
        recording = launch.file("recording.jsonl");
        launch.argument("--record").argument(&recording)
    })
    .await;
    fixture.api.script([
        Reply::reasoned("I think.", "One."),
        Reply::command("touch made"),
        Reply::text("Made."),
    ]);
    assert_eq!(fixture.turn("First").await.texts(), ["One."]);
    fixture.client.say("Second").await;
    let question = fixture.question().await;
    let id = question["requestId"].clone();
    fixture
        .client
        .send(&json!({ "type": "permission_response", "requestId": id, "approved": true }))
        .await;
    assert_eq!(fixture.rest().await.texts(), ["Made."]);
    let CodexFixture { env, relay, client, .. } = fixture;
    client.close().await;
    relay.stop();
    let launch = Launch::new(&env).mode("unrestricted");
    replayed::assert_same(launch, &recording, &["/ws".to_owned()]).await;

    // Another agent's part of a recording is refused by name.
    let relay = Launch::new(&env).argument("--replay").argument(&recording).start();
    let mut client = Client::connect(relay.address()).await;
    client.say("x").await;
    let turn = client.turn().await;
    let reason = turn.result()["errors"][0].to_string();
    assert!(reason.contains("of Codex") && reason.contains("provider"), "{reason}");
    client.close().await;
    relay.stop();
}
