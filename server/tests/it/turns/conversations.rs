//! The conversation that goes on, and the one that begins.

use super::{agent, client, say};
use crate::support::http;
use crate::support::relay::Relay;
use crate::support::ws::Client;
use claude_relay_testing::process;
use claude_relay_testing::test_env::TestEnv;
use rustix::process::Signal;
use serde_json::{Value, json};

async fn configure(relay: &Relay, config: Value) {
    let answer = http::post(relay.address(), "/config", &config.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn turn(client: &mut Client, text: &str) {
    client.say(text).await;
    client.until(|frame| frame["data"]["result"] == text).await;
}

/// Notes which flags each run was given.
const FLAGS: &str = r#"
note("flags", " ".join(a for a in sys.argv if a.startswith(("--resume", "--continue", "--fork", "--session-id"))))
own = [a.split("=")[1] for a in sys.argv if a.startswith("--session-id=")]
if own: SESSION = own[0]
work()
"#;

#[tokio::test]
async fn a_new_conversation_is_begun_by_a_control_request() {
    let env = TestEnv::new();
    let agent = agent(&env, FLAGS);
    let relay = agent.launch(&env).start();
    let mut client = client(&relay, "").await;
    turn(&mut client, "one").await;
    let request = json!({
        "type": "control_request", "requestId": "r", "request": { "subtype": "new_conversation" },
    });
    client.send(&request).await;
    let answer = client.until(|frame| frame["type"] == "control_response").await.pop().unwrap();
    assert_eq!(answer["response"]["subtype"], "success");
    assert_eq!(answer["response"]["request_id"], "r");
    let id = answer["response"]["response"]["session_id"].as_str().unwrap().to_owned();
    turn(&mut client, "two").await;
    assert_eq!(agent.noted("flags"), [String::new(), format!("--session-id={id}")]);
    let health = http::get(relay.address(), "/health").await.json();
    assert_eq!(health["agent"]["session_id"], json!(id));
}

#[tokio::test]
async fn what_a_configuration_does_not_say_any_more_changes_no_conversation() {
    let env = TestEnv::new();
    let agent = agent(&env, FLAGS);
    let relay = agent.launch(&env).start();
    configure(&relay, json!({ "resume": "aaa" })).await;
    let mut first = client(&relay, "").await;
    turn(&mut first, "one").await;
    configure(&relay, json!({ "model": "opus" })).await;
    first.close().await;
    let mut second = client(&relay, "").await;
    turn(&mut second, "two").await;
    assert_eq!(agent.noted("flags"), ["--resume=aaa", "--resume=aaa"]);
}

#[tokio::test]
async fn a_fork_without_a_name_is_one_of_the_conversation_that_goes_on() {
    let env = TestEnv::new();
    let agent = agent(&env, FLAGS);
    let relay = agent.launch(&env).start();
    let mut first = client(&relay, "").await;
    turn(&mut first, "one").await;
    let health = http::get(relay.address(), "/health").await.json();
    let id = health["agent"]["session_id"].as_str().unwrap().to_owned();
    configure(&relay, json!({ "forkSession": true })).await;
    first.close().await;
    let mut second = client(&relay, "").await;
    turn(&mut second, "two").await;
    let flags = agent.noted("flags");
    assert!(flags[1].starts_with(&format!("--resume={id} --fork-session")), "{flags:?}");
}

/// Copies of a machine would draw alike.
#[tokio::test]
async fn where_a_machine_may_be_copied_the_server_draws_the_id_of_a_conversation() {
    let own = "6d4f3c2e-8a0b-4c1d-9e2f-0a1b2c3d4e5f";
    let mut drawn = Vec::new();
    for (prewarm, config) in [
        ("configured", json!({})),
        ("configured", json!({})),
        ("configured", json!({ "sessionId": own })),
        ("configured", json!({ "resume": own })),
        ("configured", json!({ "continue": true })),
        ("off", json!({})),
    ] {
        let env = TestEnv::new();
        let agent = agent(&env, FLAGS);
        let relay = agent.launch(&env).argument(format!("--prewarm={prewarm}")).start();
        configure(&relay, config).await;
        let mut client = client(&relay, "").await;
        turn(&mut client, "one").await;
        drawn.extend(agent.noted("flags"));
        relay.stop();
    }
    let ids = [0, 1].map(|at| drawn[at].strip_prefix("--session-id=").unwrap_or_default());
    assert!(ids.iter().all(|id| id.len() == 36) && ids[0] != ids[1], "{drawn:?}");
    let others = [format!("--session-id={own}"), format!("--resume={own}"), "--continue".into()];
    assert_eq!(drawn[2..5], others);
    assert_eq!(drawn[5], "");
}

#[tokio::test]
async fn another_directory_is_another_conversation() {
    let env = TestEnv::new();
    let agent = agent(&env, FLAGS);
    let relay = agent.launch(&env).start();
    let mut first = client(&relay, "").await;
    turn(&mut first, "one").await;
    std::fs::create_dir_all(env.workspace().join("sub")).unwrap();
    configure(&relay, json!({ "cwd": "sub", "continue": true })).await;
    first.close().await;
    let mut second = client(&relay, "").await;
    turn(&mut second, "two").await;
    assert_eq!(agent.noted("flags"), ["", "--continue"]);
}

/// As a program does that takes its configuration back.
#[tokio::test]
async fn the_conversation_of_a_running_agent_is_known_where_its_directory_comes_back() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    std::fs::create_dir(env.workspace().join("sub")).unwrap();
    let relay = agent.launch(&env).start();
    configure(&relay, json!({ "cwd": "sub" })).await;
    let mut first = Client::connect(relay.address()).await;
    turn(&mut first, "one").await;
    first.close().await;
    let known =
        async || http::get(relay.address(), "/health").await.json()["agent"]["session_id"].clone();
    let id = known().await;
    assert!(id.is_string(), "{id}");
    configure(&relay, json!({})).await;
    assert_eq!(known().await, Value::Null, "it is of another directory");
    configure(&relay, json!({ "cwd": "sub" })).await;
    assert_eq!(known().await, id);
    let mut second = Client::connect(relay.address()).await;
    turn(&mut second, "two").await;
    assert_eq!(agent.runs(), ["(new)"], "it has not been started anew");
}

#[tokio::test]
async fn the_workspaces_last_conversation_goes_on_when_the_server_is_told_so() {
    let env = TestEnv::new();
    let agent = agent(&env, FLAGS);
    let relay = agent.launch(&env).argument("--continue").start();
    let mut client = client(&relay, "").await;
    say(&mut client, "one", "u").await;
    client.until(|frame| frame["data"]["type"] == "result").await;
    assert_eq!(agent.noted("flags"), ["--continue"]);
}

#[tokio::test]
async fn a_conversation_that_is_kept_off_the_disk_ends_with_the_agent() {
    let env = TestEnv::new();
    let agent = agent(&env, FLAGS);
    let relay = agent.launch(&env).start();
    configure(&relay, json!({ "persistSession": false })).await;
    let mut first = client(&relay, "").await;
    turn(&mut first, "one").await;
    let health = http::get(relay.address(), "/health").await.json();
    let pid = health["agent"]["pid"].as_i64().expect("an agent");
    process::signal(i32::try_from(pid).expect("a process id"), Signal::KILL);
    let error = first.until(|frame| frame["type"] == "error").await.pop().unwrap();
    assert!(error["error"].as_str().unwrap().contains("new conversation"), "{error}");
    turn(&mut first, "two").await;
    configure(&relay, json!({ "persistSession": false, "model": "opus" })).await;
    first.close().await;
    let mut second = client(&relay, "").await;
    turn(&mut second, "three").await;
    assert_eq!(agent.noted("flags"), ["", "", ""]);
}
