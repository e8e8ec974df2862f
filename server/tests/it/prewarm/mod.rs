//! An agent that is started before it is needed: when it is used, when it is
//! not, and that the conversation is the same.

mod equal;
mod options;

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use claude_relay_testing::test_env::TestEnv;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;

/// Time for a spare to be ready on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// Waits until `/health` is as asked for, and gives it.
async fn health(relay: &Relay, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let address = relay.address();
    let wait = async {
        loop {
            let health = http::get(address, "/health").await.json();
            if is_so(&health) {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(READY, wait).await;
    found.unwrap_or_else(|_| panic!("{what}: not in time"))
}

/// The spare of a kind, as `/health` tells it.
fn told<'h>(health: &'h Value, kind: &str) -> &'h Value {
    let spares = health["prewarm"]["spares"].as_array().expect("the spares");
    spares.iter().find(|spare| spare["kind"] == kind).expect("the kind")
}

/// Waits for a spare of a kind that is ready, and gives its pid.
async fn spare_of(relay: &Relay, kind: &str) -> i64 {
    // The system tells its memory once its pid is known.
    let is_ready = |spare: &Value| spare["state"] == "ready" && spare["memory_bytes"].is_u64();
    let health = health(relay, "a spare", |health| is_ready(told(health, kind))).await;
    let spare = told(&health, kind);
    assert!(spare["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{spare}");
    assert!(health["prewarm"]["memory_bytes"].as_u64() >= spare["memory_bytes"].as_u64());
    spare["pid"].as_i64().expect("its pid")
}

/// Waits for a spare that gives whole messages.
async fn spare(relay: &Relay) -> i64 {
    spare_of(relay, "whole").await
}

async fn configure(relay: &Relay, config: &Value) {
    let answer = http::post(relay.address(), "/config", &config.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_spare_serves_the_first_client_and_the_next_conversation() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--prewarm").start();
    let pid = spare(&relay).await;
    let mut client = Client::connect(relay.address()).await;
    client.say("hello").await;
    client.turn().await;
    let now = http::get(relay.address(), "/health").await.json();
    assert_eq!((&now["agent"]["pid"], &now["prewarm"]["used"]), (&json!(pid), &json!(1)));
    let first = now["agent"]["session_id"].clone();

    let next = spare(&relay).await;
    assert_ne!(next, pid);
    let request = json!({ "subtype": "new_conversation" });
    let request = json!({ "type": "control_request", "requestId": "n", "request": request });
    client.send(&request).await;
    client.until(|frame| frame["type"] == "control_response").await;
    client.say("again").await;
    client.turn().await;
    let now = http::get(relay.address(), "/health").await.json();
    assert_eq!((&now["agent"]["pid"], &now["prewarm"]["used"]), (&json!(next), &json!(2)));
    assert_ne!(now["agent"]["session_id"], first);
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn a_start_that_the_spare_cannot_serve_is_cold_and_says_why() {
    for (config, why) in [
        (json!({ "maxTurns": 3 }), "--max-turns cannot be said late"),
        (
            json!({ "resume": "00000000-0000-4000-8000-000000000000" }),
            "--resume cannot be said late",
        ),
        (json!({ "env": { "A": "1" } }), "the variable A cannot be said late"),
        (json!({ "mcpServers": { "a": { "command": "true" } } }), "MCP servers"),
    ] {
        let env = TestEnv::new();
        let relay = Launch::demo(&env).mode("unrestricted").argument("--prewarm").start();
        let pid = spare(&relay).await;
        configure(&relay, &config).await;
        // It came before its client: the work has begun.
        let now = health(&relay, "the agent", |health| health["agent"]["pid"].is_i64()).await;
        assert_ne!(now["agent"]["pid"], pid, "{config}");
        assert_eq!((&now["prewarm"]["cold"], &now["prewarm"]["used"]), (&json!(why), &json!(0)));
        let mut client = Client::connect(relay.address()).await;
        client.say("hello").await;
        client.turn().await;
        client.close().await;
        relay.stop();
    }
}

#[tokio::test]
async fn two_spares_wait_that_differ_in_what_is_fixed_at_the_start() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--prewarm").start();
    let (whole, partial) = (spare_of(&relay, "whole").await, spare_of(&relay, "partial").await);
    assert_ne!(whole, partial);
    configure(&relay, &json!({ "includePartialMessages": true, "model": "m" })).await;
    let mut client = Client::connect(relay.address()).await;
    client.say("hello").await;
    let turn = client.turn().await;
    let now = http::get(relay.address(), "/health").await.json();
    assert_eq!((&now["agent"]["pid"], &now["prewarm"]["used"]), (&json!(partial), &json!(1)));
    assert_eq!(told(&now, "whole")["pid"], whole);
    assert!(turn.said().iter().any(|line| line["type"] == "stream_event"), "parts of messages");
    client.close().await;
    relay.stop();
}

/// An agent that knows nothing late, and answers a message with its arguments.
fn refusing_agent(env: &TestEnv) -> PathBuf {
    let path = env.file("refusing-agent");
    let script = r#"#!/bin/sh
case "$*" in *--version*) echo '2.1.332 (A test)'; exit ;; esac
while read -r line; do
    id=$(printf '%s' "$line" | sed 's/.*"request_id": *"\([^"]*\)".*/\1/')
    case "$line" in
    *apply_flag_settings*) printf '{"type":"control_response","response":{"subtype":"error","request_id":"%s","error":"no"}}\n' "$id" ;;
    *control_request*) printf '{"type":"control_response","response":{"subtype":"success","request_id":"%s","response":{}}}\n' "$id" ;;
    *) printf '{"type":"system","subtype":"init","session_id":"s"}\n{"type":"result","subtype":"success","is_error":false,"result":"%s","session_id":"s"}\n' "$(printf '%s' "$*" | tr -d '"')" ;;
    esac
done
"#;
    std::fs::write(&path, script).expect("a script");
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, mode).expect("a mode for our own file");
    path
}

#[tokio::test]
async fn a_spare_that_refuses_what_is_said_late_gets_no_message_and_is_followed_by_a_cold_start() {
    let env = TestEnv::new();
    let agent = refusing_agent(&env);
    let launch = Launch::new(&env).argument("--claude-path").argument(&agent);
    let relay = launch.argument("--prewarm").start();
    let pid = spare(&relay).await;
    let client = Client::connect(relay.address()).await;
    client.close().await;
    health(&relay, "the spare is used", |health| health["agent"]["pid"] == pid).await;
    // The next start would be told a model late, by the next spare.
    let next = health(&relay, "another spare", |health| {
        let spare = told(health, "whole");
        spare["state"] == "ready" && spare["pid"] != pid
    })
    .await;
    let next = told(&next, "whole")["pid"].clone();
    configure(&relay, &json!({ "model": "m" })).await;
    let mut client = Client::connect(relay.address()).await;
    client.say("hello").await;
    let turn = client.turn().await;
    let arguments = turn.result()["result"].as_str().expect("a text").to_owned();
    assert!(arguments.contains("--model=m"), "{arguments}");
    let now = http::get(relay.address(), "/health").await.json();
    assert_ne!(now["agent"]["pid"], next);
    assert_eq!(now["prewarm"]["cold"], "the CLI has refused what was said late");
    assert_eq!(now["agent"]["turns"], 1, "one turn for one message");
    health(&relay, "no spare", |health| {
        ["whole", "partial"].iter().all(|kind| told(health, kind)["state"] == "none")
    })
    .await;
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn what_the_agent_reads_at_its_start_makes_a_spare_stale() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--prewarm").start();
    let pid = spare(&relay).await;
    std::fs::write(env.workspace().join("CLAUDE.md"), "Be brief.").expect("a file");
    let client = Client::connect(relay.address()).await;
    let now = health(&relay, "the agent", |health| health["agent"]["pid"].is_i64()).await;
    assert_ne!(now["agent"]["pid"], pid);
    assert!(now["prewarm"]["cold"].as_str().expect("a text").contains("have changed"), "{now}");
    assert_ne!(spare(&relay).await, pid, "another one takes its place");
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn a_spare_that_dies_is_replaced_and_nobody_is_told() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--prewarm").start();
    let pid = spare(&relay).await;
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(process, Signal::KILL).expect("our process");
    health(&relay, "another spare", |health| {
        let spare = told(health, "whole");
        spare["state"] == "ready" && spare["pid"] != pid
    })
    .await;
    let mut client = Client::open(relay.address(), "/ws?after=0").await;
    client.frame().await;
    client.say("hello").await;
    let turn = client.turn().await;
    assert_eq!(turn.result()["is_error"], false);
    assert!(
        !client.frames().iter().any(|frame| frame.contains("\"error\"")),
        "{:?}",
        client.frames()
    );
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn a_configuration_starts_the_work_before_its_client_comes() {
    let env = TestEnv::new();
    for (argument, starts) in [("--prewarm=configured", true), ("--prewarm=off", false)] {
        let relay = Launch::demo(&env).argument(argument).start();
        configure(&relay, &json!({ "model": "m" })).await;
        let now = http::get(relay.address(), "/health").await.json();
        let state = now["agent"]["state"].as_str().expect("a text").to_owned();
        assert_eq!(state != "stopped", starts, "{argument}: {now}");
        assert_eq!(now.get("prewarm").is_some(), starts);
        relay.stop();
    }
}
