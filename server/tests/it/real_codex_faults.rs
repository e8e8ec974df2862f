//! Failures with the real Codex: interrupts at every phase, errors of
//! the API, kills at the worst moment.

use crate::support::codex::{CodexFixture, Home, Turn};
use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::process;
use claude_relay_testing::reply::Gate;
use claude_relay_testing::responses_api::{Reply, ResponsesApi};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A command that leaves a process in a session of its own and runs itself.
const LONG_COMMAND: &str = "(setsid sleep 86311 &) ; sleep 86312";

async fn runs(fixture: &CodexFixture, words: &str) -> i32 {
    claude_relay_testing::wait::until(&format!("a process `{words}`"), || {
        let mut all = fixture.relay.offspring().into_iter();
        all.find(|process| process.command == words)
    })
    .await
    .pid
}

async fn ended(fixture: &CodexFixture, words: &str) {
    claude_relay_testing::wait::until(&format!("the end of `{words}`"), || {
        let all = fixture.relay.offspring();
        all.iter().all(|process| process.command != words).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_interrupt_right_behind_its_message_stops_the_turn() {
    let mut fixture = CodexFixture::start(json!({})).await;
    for _ in 0..5 {
        let gate = Gate::closed();
        fixture.api.script([Reply::gated(&gate, ["never"])]);
        fixture.client.say("Go").await;
        fixture.client.interrupt().await;
        let turn = fixture.rest().await;
        assert_eq!(turn.status(), "interrupted");
        fixture.api.forget_replies();
    }
    fixture.api.script([Reply::text("Next.")]);
    assert_eq!(fixture.turn("On").await.texts(), ["Next."]);
    fixture.end().await;
}

#[tokio::test]
async fn an_interrupt_in_mid_stream_passes_the_messages_that_wait() {
    let mut fixture = CodexFixture::start(json!({})).await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["one ", "two"]), Reply::text("Second.")]);
    fixture.client.say("First").await;
    gate.let_through(1);
    let is_delta = |frame: &Value| frame["data"]["method"] == "item/agentMessage/delta";
    fixture.client.until(is_delta).await;
    fixture.client.say("Second").await;
    fixture.client.interrupt().await;
    assert_eq!(fixture.rest().await.status(), "interrupted");
    let second = fixture.rest().await;
    assert_eq!((second.status(), second.texts()), (&json!("completed"), vec!["Second."]));
    fixture.end().await;
}

#[tokio::test]
async fn an_interrupt_ends_the_running_command() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.api.script([Reply::command("sleep 86313"), Reply::text("Next.")]);
    fixture.client.say("Go").await;
    runs(&fixture, "sleep 86313").await;
    fixture.client.interrupt().await;
    assert_eq!(fixture.rest().await.status(), "interrupted");
    ended(&fixture, "sleep 86313").await;
    assert_eq!(fixture.turn("On").await.texts(), ["Next."]);
    fixture.end().await;
}

#[tokio::test]
async fn an_interrupt_with_nothing_to_stop_does_nothing() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.client.interrupt().await;
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    assert_eq!(fixture.turn("First").await.status(), "completed");
    fixture.client.interrupt().await;
    assert_eq!(fixture.turn("Second").await.texts(), ["Two."]);
    fixture.end().await;
}

/// Fails a turn by what the API does, on a connection that the next turn
/// still uses, and gives what the client learns of it.
async fn failed(fixture: &mut CodexFixture, replies: [Reply; 4]) -> (String, Value) {
    fixture.api.script(replies);
    let turn = fixture.turn("Go").await;
    assert_eq!(turn.status(), "failed", "{turn:?}");
    let end = turn.of("turn/completed").next().expect("its end");
    let error = &end["turn"]["error"];
    let told = turn.of("error").last().expect("it is told before the end, too");
    assert_eq!(told["error"]["message"], error["message"]);
    fixture.api.forget_replies();
    fixture.api.script([Reply::text("Better.")]);
    assert_eq!(fixture.turn("Again").await.texts(), ["Better."]);
    (error["message"].as_str().unwrap_or_default().to_owned(), error["codexErrorInfo"].clone())
}

#[tokio::test]
async fn errors_of_the_api_fail_the_turn_and_not_the_next() {
    let mut fixture = CodexFixture::start(json!({})).await;
    let http = |status| json!({ "httpConnectionFailed": { "httpStatusCode": status } });
    let too_many = json!({ "responseTooManyFailedAttempts": { "httpStatusCode": 429 } });
    for (status, kind, words) in [
        (400, json!("other"), "scripted 400"),
        (401, http(401), "401 Unauthorized: scripted 401"),
        (403, http(403), "403 Forbidden: scripted 403"),
        (429, too_many, "429 Too Many Requests"),
        (500, json!("internalServerError"), "high demand"),
        (503, http(503), "503 Service Unavailable"),
    ] {
        let reply = || Reply::Error(status);
        let (text, info) = failed(&mut fixture, [reply(), reply(), reply(), reply()]).await;
        assert!(text.contains(words), "{text}");
        assert_eq!(info, kind, "{text}");
    }
    fixture.end().await;
}

#[tokio::test]
async fn a_stream_that_is_cut_fails_the_turn() {
    let mut fixture = CodexFixture::start(json!({})).await;
    let reply = || Reply::cut("one ");
    let (text, info) = failed(&mut fixture, [reply(), reply(), reply(), reply()]).await;
    assert!(text.contains("stream disconnected"), "{text}");
    assert_eq!(info, "other");
    // One that comes whole at the second attempt is no failure.
    fixture.api.script([reply(), Reply::text("Whole.")]);
    let turn = fixture.turn("And again").await;
    assert_eq!((turn.status(), turn.texts()), (&json!("completed"), vec!["Whole."]));
    fixture.end().await;
}

#[tokio::test]
async fn a_stream_that_stands_still_fails_the_turn() {
    let home = Home { provider: "stream_idle_timeout_ms = 1000", ..Home::default() };
    let mut fixture =
        CodexFixture::at_home(home, "unrestricted", json!({}), |launch, _| launch).await;
    let gate = Gate::closed();
    let reply = || Reply::gated(&gate, ["never"]);
    let (text, info) = failed(&mut fixture, [reply(), reply(), reply(), reply()]).await;
    assert!(text.contains("idle timeout"), "{text}");
    assert_eq!(info, "other");
    fixture.end().await;
}

#[tokio::test]
async fn an_api_out_of_reach_is_given_up_in_the_set_time() {
    let unreachable =
        |launch: Launch, _: &ResponsesApi| launch.argument("--codex-retry-limit").argument("2s");
    let mut fixture = CodexFixture::launched("ask", json!({}), unreachable).await;
    // A port that nobody listens on any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1", gone.local_addr().expect("an address"));
    drop(gone);
    crate::support::codex::prepare_home(&fixture.env, &url);
    let fixture_config = json!({ "effort": "low" });
    crate::support::codex::configure(&fixture.relay, fixture_config).await;
    fixture.client.close().await;
    fixture.client = Client::connect(fixture.relay.address()).await;
    let turn = fixture.turn("Go").await;
    assert_eq!(turn.status(), "interrupted");
    assert!(
        turn.errors().iter().any(|error| error.contains("not been reached for 2s")),
        "{turn:?}"
    );
    fixture.end_unchecked().await;
}

/// A turn whose process is killed while its command runs, and the one after.
async fn killed_and_resumed(signal: Signal) -> Turn {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.api.script([Reply::text("One."), Reply::command(LONG_COMMAND)]);
    fixture.turn("First").await;
    let before = fixture.agent().await["session_id"].clone();
    fixture.client.say("Second").await;
    runs(&fixture, "sleep 86311").await;
    runs(&fixture, "sleep 86312").await;
    process::signal(fixture.pid().await, signal);
    let frames = fixture.client.until(|frame| frame["type"] == "exit").await;
    assert!(frames.iter().any(|frame| frame["type"] == "error"));
    ended(&fixture, "sleep 86311").await;
    ended(&fixture, "sleep 86312").await;

    fixture.api.script([Reply::text("Three.")]);
    let turn = fixture.turn("Third").await;
    assert_eq!(turn.texts(), ["Three."]);
    assert_eq!(fixture.agent().await["session_id"], before);
    let request = fixture.api.requests().pop().expect("requests");
    assert_eq!(request.user_texts(), ["First", "Second", "Third"]);
    fixture.end_unchecked().await;
    turn
}

#[tokio::test]
async fn killed_while_a_command_runs_and_resumed() {
    killed_and_resumed(Signal::KILL).await;
}

#[tokio::test]
async fn interrupted_by_a_signal_while_a_command_runs_and_resumed() {
    killed_and_resumed(Signal::INT).await;
}

#[tokio::test]
async fn a_message_that_was_not_read_is_handed_to_the_next_process() {
    let mut fixture = CodexFixture::start(json!({})).await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["never"]), Reply::text("Second.")]);
    fixture.client.say("First").await;
    fixture.api.request(1).await;
    fixture.client.say("Second").await;
    process::signal(fixture.pid().await, Signal::KILL);
    fixture.client.until(|frame| frame["type"] == "exit").await;
    assert_eq!(fixture.rest().await.texts(), ["Second."]);
    fixture.end_unchecked().await;
}

#[tokio::test]
async fn a_session_that_is_not_known_is_said_and_nothing_runs_in_another() {
    let unknown = "01a1faa1-6d0a-7902-91f3-6135ebca7a8f";
    let mut fixture = CodexFixture::start(json!({ "resume": unknown })).await;
    fixture.client.say("Go").await;
    let error = fixture.client.until(|frame| frame["type"] == "error").await.pop().unwrap();
    let words = error["error"].as_str().unwrap();
    assert!(words.contains(unknown) && words.contains("could not be resumed"), "{words}");
    // The next message begins another conversation.
    fixture.api.script([Reply::text("New.")]);
    assert_eq!(fixture.turn("Again").await.texts(), ["New."]);
    assert_eq!(fixture.api.request(1).await.user_texts(), ["Again"]);
    assert_ne!(fixture.agent().await["session_id"], unknown);
    fixture.end().await;
}

#[tokio::test]
async fn a_changed_configuration_starts_anew_with_the_same_conversation() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    fixture.turn("First").await;
    let before = (fixture.pid().await, fixture.agent().await["session_id"].clone());
    let answer =
        crate::support::codex::configure(&fixture.relay, json!({ "model": "another" })).await;
    assert_eq!(answer["applies"], "next_start");
    fixture.client.close().await;
    fixture.client = Client::connect(fixture.relay.address()).await;
    assert_eq!(fixture.turn("Second").await.texts(), ["Two."]);
    assert_ne!(fixture.pid().await, before.0);
    assert_eq!(fixture.agent().await["session_id"], before.1);
    let request = fixture.api.request(2).await;
    assert_eq!(
        (request.user_texts(), &request.body["model"]),
        (vec!["First", "Second"], &json!("another"))
    );
    fixture.end_unchecked().await;
}

#[tokio::test]
async fn a_codex_that_is_not_there_is_said_with_what_installs_it() {
    let elsewhere = |launch: Launch, _: &ResponsesApi| {
        launch.argument("--codex-path").argument("no-such-codex")
    };
    let env = claude_relay_testing::test_env::TestEnv::new();
    let api = ResponsesApi::start();
    let relay = elsewhere(crate::support::codex::launch(&env, "ask"), &api).start();
    crate::support::codex::configure(&relay, json!({})).await;
    let mut client = Client::connect(relay.address()).await;
    let error = client.until(|frame| frame["type"] == "error").await.pop().expect("a frame");
    let text = error["error"].as_str().unwrap_or_default();
    assert!(text.contains("npm install -g @openai/codex"), "{text}");
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn the_server_ends_while_a_command_runs() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.api.script([Reply::command(LONG_COMMAND)]);
    fixture.client.say("Go").await;
    runs(&fixture, "sleep 86312").await;
    // `stop` looks that nothing is left.
    fixture.relay.stop();
}

#[tokio::test]
async fn the_server_is_killed_while_a_command_runs() {
    let mut fixture = CodexFixture::start(json!({})).await;
    fixture.api.script([Reply::command(LONG_COMMAND)]);
    fixture.client.say("Go").await;
    runs(&fixture, "sleep 86312").await;
    fixture.relay.signal(Signal::KILL);
    // `end` looks that nothing is left.
    assert!(!fixture.relay.end().success());
}
