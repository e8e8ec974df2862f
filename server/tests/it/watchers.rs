//! Watchers: connections that read along (`/ws?watch=true`).

use crate::faults::checks::heap_bytes;
use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::{Client, RawClient};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use serde_json::{Value, json};

const WATCH: &str = "/ws?watch=true";

fn demo(env: &TestEnv) -> Relay {
    Launch::demo(env).start()
}

async fn health(relay: &Relay) -> Value {
    http::get(relay.address(), "/health").await.json()
}

/// Opens a watcher and reads its `connected`.
async fn watch(relay: &Relay, more: &str) -> (Client, Value) {
    let mut watcher = Client::open(relay.address(), &format!("{WATCH}{more}")).await;
    let connected = watcher.frame().await;
    assert_eq!(connected["type"], "connected");
    (watcher, connected)
}

#[tokio::test]
async fn a_watcher_sees_what_the_client_sees() {
    let env = TestEnv::new();
    let relay = demo(&env);
    let mut client = Client::connect(relay.address()).await;
    let (mut live, connected) = watch(&relay, "").await;
    assert_eq!(connected, json!({ "type": "connected" }));
    client.say("Hello").await;
    client.turn().await;
    live.turn().await;
    assert_eq!(client.frames()[1..], live.frames()[1..], "byte for byte");

    let (mut late, connected) = watch(&relay, "&after=0&supports=input").await;
    let seen = late.turn().await.0;
    let numbers: Vec<_> = seen.iter().map(|frame| frame["seq"].as_u64().unwrap()).collect();
    let next = connected["next"].as_u64().unwrap();
    assert_eq!(numbers, (1..next).collect::<Vec<_>>());
    client.say("Again").await;
    let input = late.frame().await;
    assert_eq!((&input["type"], &input["seq"]), (&json!("input"), &json!(next)));
    late.turn().await;
    live.turn().await;
    // The first of what was seen is an input.
    assert_eq!(client.turn().await.0.len(), live.frames().len() - seen.len());

    let stream = connected["stream"].as_str().unwrap();
    let path = format!("&supports=input&after={}&stream={stream}", next - 1);
    let (mut back, _) = watch(&relay, &path).await;
    assert_eq!(back.frame().await, input);
    // Without inputs there is one number less before it.
    let (mut without, _) = watch(&relay, &format!("&after={}", next - 2)).await;
    let frame = without.frame().await;
    assert_eq!((&frame["type"], &frame["seq"]), (&json!("sdk_message"), &json!(next - 1)));
    for foreign in ["another", stream] {
        let (mut foreign, _) = watch(&relay, &format!("&after=3&stream={foreign}")).await;
        assert_eq!(foreign.frame().await, json!({ "type": "gap", "from": 1, "to": 0 }));
    }
}

#[tokio::test]
async fn a_watcher_holds_no_slot_and_starts_no_agent() {
    let env = TestEnv::new();
    let relay = demo(&env);
    let (mut watcher, _) = watch(&relay, "&supports=agent_state").await;
    let state = watcher.frame().await;
    assert_eq!((&state["state"], &state["watchers"]), (&json!("stopped"), &json!(1)));
    let seen = health(&relay).await;
    assert_eq!(seen["agent"]["state"], "stopped");
    assert_eq!((&seen["client"], &seen["watchers"]), (&json!("none"), &json!(1)));
    assert_eq!(seen["agent_state"]["watchers"], 1);
    let mut client = Client::open(relay.address(), "/ws?supports=agent_state").await;
    assert_eq!(client.frame().await["type"], "connected");
    let (second, _) = watch(&relay, "").await;
    client.until(|frame| frame["watchers"] == 2).await;
    second.close().await;
    client.until(|frame| frame["watchers"] == 1).await;
    watcher.until(|frame| frame["state"] == "idle").await;
    client.say("Hello").await;
    watcher.turn().await;
}

#[tokio::test]
async fn nothing_that_a_watcher_sends_reaches_the_agent() {
    let env = TestEnv::new();
    let relay = demo(&env);
    let mut client = Client::connect(relay.address()).await;
    let (mut watcher, _) = watch(&relay, "").await;
    let set_model = json!({ "subtype": "set_model", "model": "opus" });
    watcher.say("Hello").await;
    for message in [
        json!({ "type": "interrupt" }),
        json!({ "type": "permission_response", "requestId": "1", "approved": true }),
        json!({ "type": "control_request", "requestId": "1", "request": set_model }),
        json!({ "type": "agent_response", "requestId": "1", "response": {} }),
        json!({ "type": "configure", "config": { "model": "opus" } }),
    ] {
        watcher.send(&message).await;
    }
    for _ in 0..6 {
        let error = watcher.frame().await;
        let text = error["error"].as_str().unwrap();
        assert!(error["type"] == "error" && text.contains("watches"), "{error}");
    }
    watcher.send_text("{").await;
    let error = watcher.frame().await;
    assert!(error["error"].as_str().unwrap().starts_with("Invalid message format"), "{error}");
    watcher.send(&json!({ "type": "capabilities" })).await;
    assert_eq!(watcher.frame().await["type"], "capabilities");
    client.send(&json!({ "type": "capabilities" })).await;
    assert_eq!(client.frame().await["type"], "capabilities", "the client has seen none of it");
    assert_eq!(health(&relay).await["agent"]["turns"], 0);
    watcher.send_text("x".repeat((64 << 10) + 1)).await;
    assert_eq!(watcher.closed().await, Some(1009));
    client.say("Hello").await;
    client.turn().await;
}

#[tokio::test]
async fn more_watchers_than_the_limit_are_told_to_come_later() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--max-watchers=2").start();
    let (first, _) = watch(&relay, "").await;
    let (_second, _) = watch(&relay, "").await;
    let mut third = Client::open(relay.address(), WATCH).await;
    assert_eq!(
        third.frame().await,
        json!({ "type": "error", "error": "Server already has 2 watchers, its limit (--max-watchers)" })
    );
    assert_eq!(third.closed().await, Some(1013));
    first.close().await;
    watch(&relay, "").await;
    for query in ["watch=true&takeover=true", "watch=true&configure=true", "watch=maybe"] {
        let path = format!("/ws?{query}");
        let (answer, _) = RawClient::upgrade(relay.address(), &path, &[]).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_watcher_needs_the_token() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--auth-token=correct-horse-battery").start();
    let (answer, _) = RawClient::upgrade(relay.address(), WATCH, &[]).await;
    assert_eq!(answer.status, 401);
    watch(&relay, "&token=correct-horse-battery").await;
}

#[tokio::test]
async fn watchers_that_read_or_not_neither_slow_the_client_nor_grow_the_server() {
    const MESSAGES: usize = 20_000;
    const SIZE: usize = 2_000;
    const REPLAY: usize = 1 << 20;
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument(format!("--replay-bytes={REPLAY}")).start();
    let mut client = Client::connect(relay.address()).await;
    let mut reading = Vec::new();
    for n in 0..7 {
        let (watcher, _) = watch(&relay, if n % 2 == 0 { "&after=0" } else { "" }).await;
        reading.push(tokio::spawn(async move { until_result(watcher).await }));
    }
    let (mut silent, _) = watch(&relay, "&after=0").await;
    client.say(json!({ "n": MESSAGES, "size": SIZE }).to_string()).await;
    let seen = client.turn().await.0;
    let lines = seen.iter().filter(|frame| frame["data"]["type"] == "assistant").count();
    assert!(lines >= MESSAGES, "{lines}");
    let heap = heap_bytes(relay.pid());
    assert!(heap < (REPLAY as u64) + (24 << 20), "{heap} bytes");
    for watcher in reading {
        watcher.await.unwrap();
    }
    // What it has missed is told where it is missing.
    let gap = silent.until(|frame| frame["type"] == "gap").await;
    let last = gap.iter().rev().nth(1).map_or(0, |frame| frame["seq"].as_u64().unwrap());
    assert_eq!(gap.last().unwrap()["from"], last + 1);
    let after = silent.frame().await;
    assert_eq!(after["seq"], gap.last().unwrap()["to"].as_u64().unwrap() + 1);
    until_result(silent).await;
}

/// Reads to the end of the turn: every number, once, or in a gap.
async fn until_result(mut watcher: Client) {
    let mut next = None;
    loop {
        let frame = watcher.frame().await;
        if frame["type"] == "gap" {
            next = frame["to"].as_u64().map(|to| to + 1);
            continue;
        }
        if let Some(seq) = frame["seq"].as_u64() {
            assert!(next.is_none_or(|next| next == seq), "{next:?} {seq}");
            next = Some(seq + 1);
        }
        if frame["data"]["type"] == "result" {
            return;
        }
    }
}

#[tokio::test]
async fn a_watcher_that_answers_no_ping_is_dropped() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env)
        .argument("--ping-interval=200ms")
        .argument("--pong-timeout=200ms")
        .start();
    let (answer, _silent) = RawClient::upgrade(relay.address(), WATCH, &[]).await;
    assert_eq!(answer.status, 101);
    wait::within("its end", async {
        while health(&relay).await["watchers"] != 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn watchers_get_the_last_messages_of_a_shutdown() {
    let env = TestEnv::new();
    let relay = demo(&env);
    let mut client = Client::connect(relay.address()).await;
    let (mut watcher, _) = watch(&relay, "").await;
    let (mut silent, _) = watch(&relay, "").await;
    client.say("Hello").await;
    client.turn().await;
    relay.stop();
    let seen = watcher.until(|frame| frame["type"] == "error").await;
    assert_eq!(seen.last().unwrap()["error"], "Server is shutting down");
    assert_eq!(watcher.closed().await, Some(1001));
    assert_eq!(silent.closed().await, Some(1001));
}
