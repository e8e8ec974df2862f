//! The agent asks, the user decides: permission requests of the real CLI in
//! mode `ask`, from the question to what became of the tool.

use crate::support::cli_fixture::CliFixture;
use crate::support::relay::Launch;
use crate::support::ws::{Client, Turn};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::reply::{Message, Reply};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};

for_both_clis! {
    allowed,
    denied_with_a_reason,
    edited_input,
    denied_and_interrupted,
    always_allowed_for_the_session,
    two_tools_at_once,
    withdrawn_by_an_interrupt,
    unanswered_in_time,
    sent_again_once_to_the_next_client,
    sent_once_in_a_replay,
    withdrawn_when_the_agent_dies,
}

/// A command that no CLI runs without asking.
fn touch(file: &str) -> Reply {
    Reply::tool("Bash", json!({ "command": format!("touch {file}"), "description": "x" }))
}

async fn fixture(cli: Cli) -> CliFixture {
    CliFixture::launched(cli, json!({}), |launch| launch.mode("ask")).await
}

fn exists(fixture: &CliFixture, file: &str) -> bool {
    fixture.env.workspace().join(file).exists()
}

/// Reads on to the next permission request.
async fn asked(client: &mut Client) -> Value {
    let mut frames = client.until(|frame| frame["type"] == "permission_request").await;
    frames.pop().expect("the request itself")
}

/// Answers `request` with the fields of `answer`.
async fn answer(client: &mut Client, request: &Value, mut answer: Value) {
    answer["type"] = json!("permission_response");
    answer["requestId"] = request["requestId"].clone();
    client.send(&answer).await;
}

/// Results of the tools of a turn, in order: true for an error, and the
/// words.
fn tool_results(turn: &Turn) -> Vec<(bool, String)> {
    turn.said()
        .into_iter()
        .filter(|said| said["type"] == "user")
        .flat_map(|said| said["message"]["content"].as_array().cloned().unwrap_or_default())
        .filter(|block| block["type"] == "tool_result")
        .map(|block| (block["is_error"] == true, block["content"].to_string()))
        .collect()
}

fn kinds(frames: &[Value], kind: &str) -> usize {
    frames.iter().filter(|frame| frame["type"] == kind).count()
}

async fn allowed(cli: Cli) {
    let mut fixture = fixture(cli).await;
    fixture.api.script([touch("made"), Reply::text("Done.")]);
    fixture.client.say("Touch it").await;
    let request = asked(&mut fixture.client).await;
    assert_eq!(request["tool"], "Bash");
    assert_eq!(request["input"], json!({ "command": "touch made", "description": "x" }));
    let context = &request["context"];
    assert!(
        context["tool_use_id"].as_str().is_some_and(|id| id.starts_with("toolu_")),
        "{context}"
    );
    assert!(
        context["permission_suggestions"].as_array().is_some_and(|s| !s.is_empty()),
        "{context}"
    );
    for told_elsewhere in ["subtype", "tool_name", "input"] {
        assert!(context.get(told_elsewhere).is_none(), "{context}");
    }
    assert!(!exists(&fixture, "made"), "nothing happens before the answer");
    assert_eq!(fixture.agent().await["open_permissions"], 1);

    // The older CLI refuses an approval without an input: the relay adds it.
    answer(&mut fixture.client, &request, json!({ "approved": true })).await;
    let turn = fixture.client.turn().await;
    assert!(exists(&fixture, "made"), "{turn:#?}");
    assert_eq!(turn.result()["result"], "Done.");
    assert_eq!(turn.result()["permission_denials"], json!([]));
    assert_eq!(fixture.agent().await["open_permissions"], 0);
    fixture.end().await;
}

async fn denied_with_a_reason(cli: Cli) {
    let mut fixture = fixture(cli).await;
    fixture.api.script([touch("made"), Reply::text("Then not.")]);
    fixture.client.say("Touch it").await;
    let request = asked(&mut fixture.client).await;
    let no = json!({ "approved": false, "message": "Not before \"tea\"." });
    answer(&mut fixture.client, &request, no).await;
    let turn = fixture.client.turn().await;

    let [(true, words)] = &tool_results(&turn)[..] else { panic!("one refusal: {turn:#?}") };
    assert!(words.contains(r#"Not before \"tea\"."#), "{words}");
    assert_eq!(turn.result()["result"], "Then not.");
    assert_eq!(turn.result()["permission_denials"].as_array().map(Vec::len), Some(1));
    assert!(!exists(&fixture, "made"));
    fixture.end().await;
}

async fn edited_input(cli: Cli) {
    let mut fixture = fixture(cli).await;
    fixture.api.script([touch("made"), Reply::text("Done.")]);
    fixture.client.say("Touch it").await;
    let request = asked(&mut fixture.client).await;
    let edited = json!({ "command": "touch edited", "description": "x" });
    answer(&mut fixture.client, &request, json!({ "approved": true, "updatedInput": edited }))
        .await;
    fixture.client.turn().await;
    assert!(exists(&fixture, "edited") && !exists(&fixture, "made"));
    fixture.end().await;
}

async fn denied_and_interrupted(cli: Cli) {
    let mut fixture = fixture(cli).await;
    fixture.api.script([touch("made"), Reply::text("Next.")]);
    fixture.client.say("Touch it").await;
    let request = asked(&mut fixture.client).await;
    let stop = json!({ "approved": false, "message": "Stop it.", "interrupt": true });
    answer(&mut fixture.client, &request, stop).await;
    let stopped = fixture.client.turn().await;
    assert_eq!(stopped.result()["subtype"], "error_during_execution", "{stopped:#?}");
    assert!(!exists(&fixture, "made"));

    fixture.client.say("And now").await;
    assert_eq!(fixture.client.turn().await.result()["result"], "Next.");
    fixture.end().await;
}

/// The suggestions of a request go back as they came: the same tool is then
/// not asked about again.
async fn always_allowed_for_the_session(cli: Cli) {
    let mut fixture = fixture(cli).await;
    fixture.api.script([touch("made"), Reply::text("One."), touch("made"), Reply::text("Two.")]);
    fixture.client.say("Touch it").await;
    let request = asked(&mut fixture.client).await;
    let suggestions = request["context"]["permission_suggestions"].as_array().expect("a list");
    let mut rules = suggestions.clone();
    for rule in &mut rules {
        rule["destination"] = json!("session");
    }
    answer(&mut fixture.client, &request, json!({ "approved": true, "updatedPermissions": rules }))
        .await;
    fixture.client.turn().await;

    std::fs::remove_file(fixture.env.workspace().join("made")).expect("the tool's file");
    fixture.client.say("Touch it again").await;
    let again = fixture.client.turn().await;
    assert_eq!(kinds(&again.0, "permission_request"), 0, "{again:#?}");
    assert!(exists(&fixture, "made"));
    fixture.end().await;
}

/// Reading outside the workspace is asked about and may go on side by side.
async fn two_tools_at_once(cli: Cli) {
    let mut fixture = fixture(cli).await;
    let read = |name: &str| {
        let file = fixture.env.file(name);
        std::fs::write(&file, format!("text of {name}")).expect("a file of the test");
        json!({ "file_path": file })
    };
    let both = Message::default().tool("Read", read("first")).tool("Read", read("second"));
    fixture.api.script([both.into(), Reply::text("Read.")]);
    fixture.client.say("Read both").await;
    let one = asked(&mut fixture.client).await;
    let other = asked(&mut fixture.client).await;
    assert_ne!(one["requestId"], other["requestId"]);

    // In the other order, and differently, so that a mix-up would show.
    let no = json!({ "approved": false, "message": "Not the other one." });
    answer(&mut fixture.client, &other, no).await;
    answer(&mut fixture.client, &one, json!({ "approved": true })).await;
    let turn = fixture.client.turn().await;
    let results = tool_results(&turn);
    let read = one["input"]["file_path"].as_str().and_then(|path| path.rsplit('/').next());
    let text = format!("text of {}", read.expect("the path that was asked for"));
    assert_eq!(results.len(), 2, "{turn:#?}");
    assert!(results.iter().any(|(error, words)| !error && words.contains(&text)), "{results:?}");
    assert!(
        results.iter().any(|(error, words)| *error && words.contains("Not the other one.")),
        "{results:?}"
    );
    fixture.end().await;
}

async fn withdrawn_by_an_interrupt(cli: Cli) {
    let mut fixture = fixture(cli).await;
    fixture.api.script([touch("made"), Reply::text("Next.")]);
    fixture.client.say("Touch it").await;
    let request = asked(&mut fixture.client).await;
    fixture.client.interrupt().await;
    let turn = fixture.client.turn().await;
    let cancelled: Vec<_> =
        turn.0.iter().filter(|frame| frame["type"] == "permission_cancelled").collect();
    assert_eq!(cancelled.len(), 1, "{turn:#?}");
    assert_eq!(cancelled[0]["requestId"], request["requestId"]);
    assert_eq!(turn.result()["is_error"], true);

    // An answer that comes too late is one to nothing.
    answer(&mut fixture.client, &request, json!({ "approved": true })).await;
    let error = fixture.client.until(|frame| frame["type"] == "error").await.pop().expect("it");
    let words = error["error"].as_str().unwrap_or_default();
    assert!(words.contains("No permission request"), "{words}");
    fixture.client.say("And now").await;
    assert_eq!(fixture.client.turn().await.result()["result"], "Next.");
    assert!(!exists(&fixture, "made"));
    fixture.end().await;
}

async fn unanswered_in_time(cli: Cli) {
    let mut fixture = CliFixture::launched(cli, json!({}), |launch| {
        launch.mode("ask").argument("--permission-timeout=500ms")
    })
    .await;
    fixture.api.script([touch("made"), Reply::text("Then not.")]);
    fixture.client.say("Touch it").await;
    let request = asked(&mut fixture.client).await;
    let turn = fixture.client.turn().await;
    let cancelled: Vec<_> =
        turn.0.iter().filter(|frame| frame["type"] == "permission_cancelled").collect();
    assert_eq!(cancelled.len(), 1, "{turn:#?}");
    assert_eq!(cancelled[0]["requestId"], request["requestId"]);
    let [(true, words)] = &tool_results(&turn)[..] else { panic!("one refusal: {turn:#?}") };
    assert!(words.contains("Nobody answered the permission request within 500ms"), "{words}");
    assert_eq!(turn.result()["result"], "Then not.");
    assert!(!exists(&fixture, "made"));
    fixture.end().await;
}

async fn sent_again_once_to_the_next_client(cli: Cli) {
    let mut fixture = fixture(cli).await;
    fixture.api.script([touch("made"), Reply::text("Done.")]);
    fixture.client.say("Touch it").await;
    let first = asked(&mut fixture.client).await;

    let mut fixture = fixture.reconnect().await;
    let again = asked(&mut fixture.client).await;
    assert_eq!(again, first);
    answer(&mut fixture.client, &again, json!({ "approved": true })).await;
    let turn = fixture.client.turn().await;
    assert_eq!(kinds(&turn.0, "permission_request"), 0, "{turn:#?}");
    assert!(exists(&fixture, "made"));
    fixture.end().await;
}

/// A client that is sent everything from the beginning comes across the
/// question there; it is not asked a second time.
async fn sent_once_in_a_replay(cli: Cli) {
    let mut fixture = fixture(cli).await;
    fixture.api.script([touch("made"), Reply::text("Done.")]);
    fixture.client.say("Touch it").await;
    let first = asked(&mut fixture.client).await;
    let made = fixture.env.workspace().join("made");
    let CliFixture { env, api, relay, client, .. } = fixture;
    client.close().await;

    let mut client = Client::open(relay.address(), "/ws?after=0").await;
    let again = asked(&mut client).await;
    assert_eq!(again["requestId"], first["requestId"]);
    assert!(again["seq"].is_u64(), "{again}");
    answer(&mut client, &again, json!({ "approved": true })).await;
    let turn = client.turn().await;
    assert_eq!(kinds(&turn.0, "permission_request"), 0, "{turn:#?}");
    assert!(made.exists());
    client.close().await;
    relay.stop();
    drop((env, api));
}

/// A client that is sent everything from the beginning comes across a question
/// that was answered long ago; before it is told the replay's end, it is told
/// that nobody waits for an answer any more. An answer all the same is one to
/// nothing.
#[tokio::test]
async fn answered_ones_are_ended_in_a_replay() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let mut client = Client::connect(relay.address()).await;
    client.say(json!({ "permission": "Bash" }).to_string()).await;
    let request = asked(&mut client).await;
    answer(&mut client, &request, json!({ "approved": true })).await;
    let turn = client.turn().await;
    assert_eq!(kinds(&turn.0, "permission_cancelled"), 0, "not for who answered: {turn:#?}");
    client.close().await;

    // The second time as the first: it is said once and stays.
    for _ in 0..2 {
        let mut client = Client::open(relay.address(), "/ws?after=0").await;
        let next = client.frame().await["next"].as_u64().expect("the number of the next frame");
        let frames = client.until(|frame| frame["seq"] == next - 1).await;
        let about: Vec<_> = frames
            .iter()
            .filter(|frame| frame["requestId"] == request["requestId"])
            .map(|frame| frame["type"].as_str().expect("a type"))
            .collect();
        assert_eq!(about, ["permission_request", "permission_cancelled"], "{frames:#?}");

        answer(&mut client, &request, json!({ "approved": true })).await;
        let error = client.frame().await;
        assert!(error["error"].to_string().contains("No permission request"), "{error}");
        client.say("And now").await;
        assert_eq!(client.turn().await.result()["is_error"], false);

        // The process behind the question is not told.
        let after = frames.last().expect("a frame")["seq"].as_u64().expect("a number");
        client.close().await;
        let mut client = Client::open(relay.address(), &format!("/ws?after={after}")).await;
        let frames = client.until(|frame| frame["data"]["type"] == "result").await;
        assert_eq!(kinds(&frames, "permission_cancelled"), 0, "{frames:#?}");
        client.close().await;
    }
    relay.stop();
}

async fn withdrawn_when_the_agent_dies(cli: Cli) {
    let mut fixture = fixture(cli).await;
    fixture.api.script([touch("made")]);
    fixture.client.say("Touch it").await;
    let request = asked(&mut fixture.client).await;
    claude_relay_testing::process::signal(fixture.agent_pid().await, rustix::process::Signal::KILL);
    let frames = fixture.client.until(|frame| frame["type"] == "exit").await;
    let cancelled: Vec<_> =
        frames.iter().filter(|frame| frame["type"] == "permission_cancelled").collect();
    assert_eq!(cancelled.len(), 1, "{frames:#?}");
    assert_eq!(cancelled[0]["requestId"], request["requestId"]);
    assert_eq!(fixture.agent().await["open_permissions"], 0);
    fixture.end().await;
}
