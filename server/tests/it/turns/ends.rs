//! The end of every message: run, or handed back with a reason.

use super::{agent, client, say, state};
use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use rustix::process::Signal;
use serde_json::{Value, json};

async fn undelivered(client: &mut Client) -> Value {
    client.until(|frame| frame["type"] == "undelivered").await.pop().expect("a frame")
}

async fn configure(relay: &crate::support::relay::Relay, config: Value) {
    let answer = http::post(relay.address(), "/config", &config.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn an_agent_that_is_missing_refuses_messages_at_once() {
    let env = TestEnv::new();
    let relay = Launch::new(&env).argument("--claude-path=/no/such/claude").start();
    let mut client = client(&relay, "").await;
    say(&mut client, "hi", "uuid-1").await;
    let frames = client.until(|frame| frame["type"] == "undelivered").await;
    let last = frames.last().unwrap();
    assert_eq!(last["uuids"], json!(["uuid-1"]));
    assert!(last["reason"].as_str().unwrap().contains("/no/such/claude"), "{last}");
    let error = frames.iter().rfind(|frame| frame["type"] == "error").unwrap();
    assert!(error["error"].as_str().unwrap().contains("was not taken"), "{error}");
    let health = http::get(relay.address(), "/health").await.json();
    assert_eq!(health["agent"]["waiting_messages"], 0);
}

/// A former client has left messages without a `uuid`: one runs, two wait.
#[tokio::test]
async fn messages_without_a_uuid_that_wait_are_counted_and_their_end_is_told() {
    let env = TestEnv::new();
    let agent = agent(&env, "message(); begin(); message(); message(); gate('dies'); sys.exit(3)");
    let relay = agent.launch(&env).start();
    let mut former = client(&relay, "").await;
    for text in ["one", "two", "three"] {
        former.say(text).await;
    }
    let counted = |state: &Value| state["unnamed"] == 2 && !state["turn"].is_null();
    state(&mut former, counted).await;
    drop(former);
    let mut next = client(&relay, "&takeover=true").await;
    let first = state(&mut next, |_| true).await;
    assert_eq!((&first["queued"], &first["unnamed"]), (&json!([]), &json!(2)), "{first}");
    agent.open("dies");
    let told = undelivered(&mut next).await;
    assert_eq!((&told["uuids"], &told["unnamed"]), (&json!([]), &json!(2)), "{told}");
    let over = state(&mut next, |state| state["state"] == "stopped").await;
    assert_eq!(over.get("unnamed"), None, "{over}");
}

#[tokio::test]
async fn a_message_without_a_uuid_is_handed_back_as_one_of_their_number() {
    let env = TestEnv::new();
    let relay = Launch::new(&env).argument("--claude-path=/no/such/claude").start();
    let mut client = client(&relay, "").await;
    client.say("hi").await;
    let told = undelivered(&mut client).await;
    assert_eq!((&told["uuids"], &told["unnamed"]), (&json!([]), &json!(1)), "{told}");
}

#[tokio::test]
async fn a_workspace_that_cannot_be_entered_is_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let closed = env.workspace();
    let relay = agent.launch(&env).start();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read_dir(&closed).is_ok() {
        return; // Root enters everything.
    }
    let mut client = client(&relay, "").await;
    say(&mut client, "hi", "u").await;
    let told = undelivered(&mut client).await;
    assert!(told["reason"].as_str().unwrap().contains(closed.to_str().unwrap()), "{told}");
}

#[tokio::test]
async fn a_workspace_that_has_become_a_file_is_called_no_directory() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let workspace = env.workspace();
    let relay = agent.launch(&env).start();
    std::fs::remove_dir_all(&workspace).unwrap();
    std::fs::write(&workspace, "").unwrap();
    let mut client = client(&relay, "").await;
    say(&mut client, "hi", "u").await;
    let told = undelivered(&mut client).await;
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains(workspace.to_str().unwrap()), "{told}");
    assert!(reason.contains("not a directory"), "{told}");
}

#[tokio::test]
async fn three_ends_soon_after_the_start_hand_messages_back() {
    let env = TestEnv::new();
    let agent = agent(&env, "err('no licence\\n'); sys.exit(3)");
    let relay = agent.launch(&env).start();
    let mut client = client(&relay, "").await;
    say(&mut client, "hi", "uuid-1").await;
    let told = undelivered(&mut client).await;
    assert_eq!(told["uuids"], json!(["uuid-1"]));
    assert_eq!(agent.runs().len(), 3);
    // The next one is refused at once, with the reason for a client that has not
    // seen the ends.
    say(&mut client, "again", "uuid-2").await;
    let told = undelivered(&mut client).await;
    assert_eq!(told["uuids"], json!(["uuid-2"]));
    for part in ["not started again before", "code 3", "no licence"] {
        assert!(told["reason"].as_str().unwrap().contains(part), "{told}");
    }
}

#[tokio::test]
async fn a_configured_resume_that_is_refused_runs_nothing() {
    let env = TestEnv::new();
    let story = r#"
if RESUMED == "unknown":
    err("No conversation found with session ID: unknown\n"); sys.exit(1)
work()
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    configure(&relay, json!({ "resume": "unknown", "model": "m" })).await;
    let mut client = client(&relay, "").await;
    say(&mut client, "do it", "uuid-1").await;
    let frames = client.until(|frame| frame["type"] == "undelivered").await;
    assert_eq!(frames.last().unwrap()["uuids"], json!(["uuid-1"]));
    let error = frames.iter().find(|frame| frame["type"] == "error").unwrap();
    assert!(error["error"].as_str().unwrap().contains("unknown"), "{error}");
    let config = http::get(relay.address(), "/config").await.json();
    assert_eq!(config["config"], json!({ "model": "m" }), "the field is dropped");
    assert_eq!(agent.heard(), Vec::<String>::new(), "nothing ran");
    client.say("next").await;
    client.until(|frame| frame["data"]["type"] == "result").await;
    assert_eq!(agent.heard(), ["next"]);
}

#[tokio::test]
async fn a_crash_names_what_it_cut_and_what_it_lost() {
    let env = TestEnv::new();
    let story = r#"
if RUN > 1: work()
a = message(); life(a, "queued"); life(a, "started"); begin(a)
b = message(); life(b, "queued")
sys.exit(7)
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    let mut client = client(&relay, "").await;
    say(&mut client, "a", "uuid-a").await;
    say(&mut client, "b", "uuid-b").await;
    let frames = client.until(|frame| frame["type"] == "undelivered").await;
    assert_eq!(frames.last().unwrap()["uuids"], json!(["uuid-b"]));
    let exit = frames.iter().find(|frame| frame["type"] == "exit").unwrap();
    assert_eq!(exit["dropped"], json!(["uuid-a", "uuid-b"]), "{exit}");
}

#[tokio::test]
async fn a_shutdown_hands_back_what_waits() {
    let env = TestEnv::new();
    let story = r#"
a = message(); begin(a)
note("runs", "busy")
while (taken := line()) is not None: pass
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).argument("--stop-grace=300ms").start();
    let mut client = client(&relay, "").await;
    say(&mut client, "a", "uuid-a").await;
    agent.notes("runs", "busy").await;
    say(&mut client, "b", "uuid-b").await;
    state(&mut client, |state| state["queued"] == json!(["uuid-b"])).await;
    relay.signal(Signal::TERM);
    let told = undelivered(&mut client).await;
    assert_eq!(told["uuids"], json!(["uuid-b"]));
    assert!(told["reason"].as_str().unwrap().contains("shutting down"), "{told}");
}

#[tokio::test]
async fn a_restart_for_the_configuration_waits_for_the_running_turn() {
    let env = TestEnv::new();
    let story = r#"
if RUN > 1: work()
a = message(); begin(a)
gate("first"); end(a)
while line() is not None: pass
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    let mut first = client(&relay, "").await;
    say(&mut first, "a", "uuid-a").await;
    state(&mut first, |state| !state["turn"].is_null()).await;
    configure(&relay, json!({ "model": "another" })).await;
    first.close().await;
    let mut second = client(&relay, "").await;
    say(&mut second, "b", "uuid-b").await;
    let waits = |state: &Value| state["queued"] == json!(["uuid-b"]) && !state["turn"].is_null();
    state(&mut second, waits).await;
    agent.open("first");
    let frames = second.until(|frame| frame["data"]["type"] == "result").await;
    assert!(frames.iter().all(|frame| frame["type"] != "error"), "{frames:?}");
    second.until(|frame| frame["data"]["result"] == "b").await;
    assert_eq!(agent.heard(), ["a", "b"]);
}

/// The agent has taken it and not begun with it when the configuration changes.
#[tokio::test]
async fn a_restart_for_the_configuration_waits_for_what_the_agent_has_taken() {
    let env = TestEnv::new();
    let story = r#"
if RUN > 1: work()
a = message(); life(a, "queued"); life(a, "started"); begin(a)
b = message(); life(b, "queued")
gate("first"); end(a); life(a, "completed"); life(b, "started"); begin(b)
gate("second"); end(b); life(b, "completed")
while line() is not None: pass
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    let mut first = client(&relay, "").await;
    say(&mut first, "a", "uuid-a").await;
    state(&mut first, |state| !state["turn"].is_null()).await;
    say(&mut first, "b", "uuid-b").await;
    first.until(|frame| frame["data"]["command_uuid"] == "uuid-b").await;
    configure(&relay, json!({ "model": "another" })).await;
    first.close().await;
    let mut second = client(&relay, "").await;
    say(&mut second, "c", "uuid-c").await;
    agent.open("first");
    let runs_second = |state: &Value| state["turn"]["uuid"] == "uuid-b";
    state(&mut second, runs_second).await;
    assert_eq!(agent.runs().len(), 1, "the agent is the one that has taken the message");
    agent.open("second");
    let frames = second.until(|frame| frame["data"]["result"] == "c").await;
    let told = |kind: &str| frames.iter().any(|frame| frame["type"] == kind);
    assert!(!told("undelivered") && !told("error") && !told("exit"), "{frames:?}");
    assert_eq!(agent.heard(), ["a", "b", "c"]);
}

#[tokio::test]
async fn an_agent_that_does_not_make_way_for_the_next_one_is_told_of() {
    let env = TestEnv::new();
    let story = r#"
if RUN > 1: work()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
a = message(); begin(a); end(a)
while True: time.sleep(60)
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).argument("--stop-grace=300ms").start();
    let mut first = client(&relay, "").await;
    say(&mut first, "a", "uuid-a").await;
    first.until(|frame| frame["data"]["type"] == "result").await;
    configure(&relay, json!({ "model": "another" })).await;
    first.close().await;
    // One that asks for nothing is told, too.
    let mut second = Client::open(relay.address(), "/ws").await;
    second.say("b").await;
    let frames = second.until(|frame| frame["data"]["result"] == "b").await;
    for signal in ["SIGTERM", "SIGKILL"] {
        let told =
            |frame: &Value| frame["type"] == "info" && frame["data"].to_string().contains(signal);
        assert!(frames.iter().any(told), "{signal}: {frames:?}");
    }
}
