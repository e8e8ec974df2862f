//! Failures with the real CLI: errors of the API, no key, a kill at the
//! worst moment. The server lives, says what happened, and the conversation
//! goes on.

use crate::support::cli_fixture::CliFixture;
use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::{Gate, Message, Reply};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::{process, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

for_both_clis! {
    wrong_key,
    overloaded_api,
    refused_request,
    cut_connection,
    no_key_at_all,
    nowhere_to_write,
    killed_in_mid_turn_and_resumed,
    killed_while_a_tool_runs_and_resumed,
    server_stopped_while_a_tool_runs_and_resumed,
    server_killed_while_a_tool_runs,
}

/// A command for the Bash tool that leaves a process in a session of its own
/// and goes on running itself.
const LONG_COMMAND: &str = "(setsid sleep 86301 &) ; sleep 86302";

fn long_tool() -> Reply {
    let input = json!({ "command": LONG_COMMAND, "description": "x", "timeout": 600_000 });
    Reply::tool("Bash", input)
}

/// Waits until both processes of [`LONG_COMMAND`] are there.
async fn long_tool_runs(fixture: &CliFixture) {
    fixture.process("sleep 86301").await;
    fixture.process("sleep 86302").await;
}

async fn wrong_key(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::Error(401), Reply::text("Better.")]);
    fixture.client.say("Hi").await;
    let failed = fixture.client.turn().await;
    assert_eq!(failed.kinds(), ["system/init", "assistant", "result/success"], "{failed:#?}");
    assert_eq!(failed.result()["is_error"], true);
    assert_eq!(failed.result()["api_error_status"], 401);

    fixture.client.say("Again").await;
    assert_eq!(fixture.client.turn().await.result()["result"], "Better.");
    fixture.end().await;
}

async fn overloaded_api(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::Error(529), Reply::text("At last.")]);
    fixture.client.say("Hi").await;
    let turn = fixture.client.turn().await;
    let kinds = turn.kinds();
    assert!(kinds.contains(&"system/api_retry".to_owned()), "{kinds:?}");
    assert_eq!(turn.result()["result"], "At last.");
    fixture.end().await;
}

async fn refused_request(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::Error(400)]);
    fixture.client.say("Hi").await;
    let turn = fixture.client.turn().await;
    assert_eq!(turn.result()["is_error"], true);
    assert_eq!(turn.result()["api_error_status"], 400);
    fixture.end().await;
}

async fn cut_connection(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    let cut = Message::default().pieces(["half", "never"]).cut_after(1);
    fixture.api.script([Reply::from(cut), Reply::text("Whole."), Reply::text("Whole.")]);
    fixture.client.say("Hi").await;
    let turn = fixture.client.turn().await;
    assert!(turn.result()["is_error"].is_boolean(), "{turn:#?}");
    fixture.end().await;
}

async fn no_key_at_all(cli: Cli) {
    let mut fixture =
        CliFixture::launched(cli, json!({}), |launch| launch.without_variable("ANTHROPIC_API_KEY"))
            .await;
    fixture.client.say("Hi").await;
    let turn = fixture.client.turn().await;
    assert_eq!(turn.result()["is_error"], true);
    let told = turn.result()["result"].as_str().unwrap_or_default();
    assert!(told.contains("/login"), "{told}");
    assert!(fixture.api.turns().is_empty());
    fixture.end().await;
}

/// A home, a directory for sessions and a workspace that are closed: the agent
/// works, but what it has not written down it cannot resume.
async fn nowhere_to_write(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let user = env.give_to_nobody().as_raw();
    for closed in [env.home(), env.workspace(), env.file("claude")] {
        let mode = std::fs::Permissions::from_mode(0o555);
        std::fs::set_permissions(closed, mode).expect("a directory of the test");
    }
    let relay = Launch::unrestricted(&env, &cli.path(), &api).user(user).start();
    let mut client = Client::connect(relay.address()).await;
    api.script([Reply::text("One."), Reply::text("Two.")]);
    client.say("Hi").await;
    assert_eq!(client.turn().await.result()["result"], "One.");
    let health = http::get(relay.address(), "/health").await.json();
    let pid = health["agent"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    process::signal(pid.expect("a running agent"), Signal::KILL);
    told_of_the_kill(&mut client).await;

    client.say("Still there?").await;
    let frames = client.until(|frame| frame["type"] == "exit").await;
    let [.., error, _] = &frames[..] else { panic!("an error before the exit: {frames:#?}") };
    assert!(error["error"].to_string().contains("could not be resumed"), "{error}");
    // The message was handed back; sent again, it begins a new conversation.
    client.say("Still there?").await;
    assert_eq!(client.turn().await.result()["result"], "Two.");
    client.close().await;
    relay.stop();
}

/// Reads the two frames that tell of the agent's end: words, then facts.
async fn told_of_the_kill(client: &mut Client) {
    let frames = client.until(|frame| frame["type"] == "exit").await;
    let [.., error, exit] = &frames[..] else { panic!("an error before the exit: {frames:#?}") };
    assert_eq!(error["type"], "error", "{frames:#?}");
    assert!(exit["code"].is_null(), "{exit}");
    assert!(exit["signal"].to_string().contains("KILL") || exit["signal"] == 9, "{exit}");
}

async fn killed_in_mid_turn_and_resumed(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    let gate = Gate::closed();
    fixture.api.script([
        Reply::text("Noted."),
        Reply::gated(&gate, ["never"]),
        Reply::text("I am back."),
    ]);
    fixture.client.say("Remember the teapot").await;
    let first = fixture.client.turn().await;
    fixture.client.say("Go on").await;
    fixture.api.turn(2).await;
    fixture.env.session_holds("Go on").await;
    let killed = fixture.agent_pid().await;
    process::signal(killed, Signal::KILL);
    told_of_the_kill(&mut fixture.client).await;

    fixture.client.say("Still there?").await;
    let resumed = fixture.client.turn().await;
    assert_eq!(resumed.result()["result"], "I am back.", "{resumed:#?}");
    assert_ne!(fixture.agent_pid().await, killed);
    assert_same_conversation(&fixture.api.turn(3).await.body, first.result(), resumed.result());
    assert_eq!(fixture.agent().await["restarts"], 1);
    fixture.end().await;
}

async fn killed_while_a_tool_runs_and_resumed(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::text("Noted."), long_tool(), Reply::text("I am back.")]);
    fixture.client.say("Remember the teapot").await;
    let first = fixture.client.turn().await;
    fixture.client.say("Run it").await;
    long_tool_runs(&fixture).await;
    fixture.env.session_holds("Run it").await;
    process::signal(fixture.agent_pid().await, Signal::KILL);
    told_of_the_kill(&mut fixture.client).await;

    // The CLI's tools do not die with it: the server has to see to that.
    let (relay, told) = (&fixture.relay, Instant::now());
    wait::until("the tool to be gone", || {
        let left = relay.offspring();
        let running = left.iter().any(|process| process.command.starts_with("sleep 8630"));
        (!running).then_some(())
    })
    .await;
    wait::was_within(Duration::from_secs(2), told);
    wait::until("no zombie", || process::zombies_of(relay.pid()).is_empty().then_some(())).await;

    fixture.client.say("Still there?").await;
    let resumed = fixture.client.turn().await;
    assert_eq!(resumed.result()["result"], "I am back.", "{resumed:#?}");
    assert_same_conversation(&fixture.api.turn(3).await.body, first.result(), resumed.result());
    fixture.end().await;
}

async fn server_stopped_while_a_tool_runs_and_resumed(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::text("Noted."), long_tool()]);
    fixture.client.say("Remember the teapot").await;
    let first = fixture.client.turn().await;
    fixture.client.say("Run it").await;
    long_tool_runs(&fixture).await;
    let (env, api, close_code) = fixture.stop_server().await;
    assert_eq!(close_code, Some(1001));

    // Another server on the same workspace takes the conversation up by its id.
    let before = api.turns().len();
    api.script([Reply::text("I am back.")]);
    let relay = Launch::unrestricted(&env, &cli.path(), &api).start();
    let config = json!({ "resume": first.result()["session_id"] }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &config).await.status, 200);
    let mut client = Client::connect(relay.address()).await;
    client.say("Still there?").await;
    let resumed = client.turn().await;
    assert_eq!(resumed.result()["result"], "I am back.", "{resumed:#?}");
    let request = api.turn(before + 1).await;
    assert_same_conversation(&request.body, first.result(), resumed.result());
    client.close().await;
    relay.stop();
}

async fn server_killed_while_a_tool_runs(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([long_tool()]);
    fixture.client.say("Run it").await;
    long_tool_runs(&fixture).await;
    let CliFixture { relay, env, .. } = fixture;
    relay.signal(Signal::KILL);
    assert!(!relay.end().success());
    drop::<TestEnv>(env);
}

/// The resumed turn has the session's id, and the model is shown what was said
/// before the kill.
fn assert_same_conversation(request: &Value, first: &Value, resumed: &Value) {
    assert_eq!(first["session_id"], resumed["session_id"]);
    let messages = request["messages"].to_string();
    for text in ["Remember the teapot", "Noted.", "Still there?"] {
        assert!(messages.contains(text), "{text} is missing in {messages:.3000}");
    }
}
