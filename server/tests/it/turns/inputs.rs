//! `input`: the messages that were handed to the agent.

use super::{agent, say};
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use serde_json::{Value, json};

fn inputs(frames: &[Value]) -> Vec<(&Value, &Value)> {
    let inputs = frames.iter().filter(|frame| frame["type"] == "input");
    inputs.map(|frame| (&frame["data"]["message"]["content"], &frame["seq"])).collect()
}

#[tokio::test]
async fn a_message_is_shown_once_in_its_place_and_replayed() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    let mut first = Client::open(relay.address(), "/ws?supports=input&after=0").await;
    for text in ["a", "b"] {
        first.say(text).await;
        let frames = first.until(|frame| frame["data"]["type"] == "result").await;
        let input = frames.iter().position(|frame| frame["type"] == "input").unwrap();
        let init = frames.iter().position(|frame| frame["data"]["type"] == "system").unwrap();
        assert!(input < init, "{frames:?}");
        assert_eq!(inputs(&frames).len(), 1);
    }
    first.close().await;
    let mut second = Client::open(relay.address(), "/ws?supports=input&after=0").await;
    let frames = second.until(|frame| frame["data"]["result"] == "b").await;
    assert_eq!(inputs(&frames), [(&json!("a"), &json!(1)), (&json!("b"), &json!(4))]);
}

#[tokio::test]
async fn a_message_from_before_the_first_client_that_asks_is_replayed_to_it() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    let mut first = Client::open(relay.address(), "/ws?after=0").await;
    first.say("a").await;
    let frames = first.until(|frame| frame["data"]["type"] == "result").await;
    assert_eq!(inputs(&frames), []);
    first.close().await;
    let mut second = Client::open(relay.address(), "/ws?supports=input&after=0").await;
    let frames = second.until(|frame| frame["data"]["type"] == "result").await;
    assert_eq!(inputs(&frames), [(&json!("a"), &json!(1))]);
}

/// Otherwise it would evict the output that is kept.
#[tokio::test]
async fn a_long_message_is_kept_only_for_a_client_that_has_asked() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).argument("--replay-bytes=100000").start();
    let long = "x".repeat(90_000);
    let mut first = Client::open(relay.address(), "/ws?after=0").await;
    first.say("a").await;
    first.until(|frame| frame["data"]["result"] == "a").await;
    first.say(long.as_str()).await;
    first.until(|frame| frame["data"]["type"] == "system").await;
    first.close().await;
    let mut second = Client::open(relay.address(), "/ws?supports=input&after=0").await;
    let frames = second.until(|frame| frame["data"]["result"] == "a").await;
    assert!(frames.iter().all(|frame| frame["type"] != "gap"), "{frames:?}");
    assert_eq!(inputs(&frames), [(&json!("a"), &json!(1))]);
    second.say(long.as_str()).await;
    let frames = second.until(|frame| frame["type"] == "input").await;
    assert_eq!(inputs(&frames)[0].0, &json!(long));
}

/// Numbers with inputs and without them are two streams, and say so.
#[tokio::test]
async fn a_number_that_counts_inputs_is_none_of_a_client_without_them() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    let mut first = Client::open(relay.address(), "/ws?supports=input&after=0").await;
    let with = first.frame().await["stream"].clone();
    first.say("a").await;
    first.until(|frame| frame["data"]["type"] == "result").await;
    first.close().await;
    let path = format!("/ws?after=3&stream={}", with.as_str().unwrap());
    let mut second = Client::open(relay.address(), &path).await;
    let connected = second.frame().await;
    assert_eq!(connected["next"], 3, "two lines");
    assert_ne!(connected["stream"], with);
    assert_eq!(second.frame().await, json!({ "type": "gap", "from": 1, "to": 0 }));
    let frames = second.until(|frame| frame["data"]["type"] == "result").await;
    let numbers: Vec<_> = frames.iter().map(|frame| &frame["seq"]).collect();
    assert_eq!(numbers, [1, 2]);
}

#[tokio::test]
async fn the_bytes_of_a_message_are_kept() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    let mut client = Client::open(relay.address(), "/ws?supports=input").await;
    let data = r#"{ "type":"user","n":1.0,"n":2,"message":{"role":"user","content":"\u00e9"}}"#;
    client.send_text(format!(r#"{{"type":"user_message","data":{data}}}"#)).await;
    client.until(|frame| frame["type"] == "input").await;
    let sent = format!(r#"{{"type":"input","data":{data}}}"#);
    assert!(client.frames().contains(&sent), "{:?}", client.frames());
}

#[tokio::test]
async fn a_message_that_is_handed_over_again_is_not_shown_again() {
    let env = TestEnv::new();
    let story = r#"
if RUN == 1:
    json.loads(line()); gate("end"); sys.exit(1)
work()
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    let mut client = Client::open(relay.address(), "/ws?supports=input").await;
    say(&mut client, "a", "u").await;
    client.until(|frame| frame["type"] == "input").await;
    agent.open("end");
    let frames = client.until(|frame| frame["data"]["type"] == "result").await;
    assert_eq!(inputs(&frames), []);
    assert_eq!(agent.heard(), ["a"]);
}

#[tokio::test]
async fn a_client_that_does_not_ask_sees_no_inputs_and_no_holes() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    let open =
        async |query: &str| Client::open(relay.address(), &format!("/ws?after=0{query}")).await;
    let mut asking = open("&watch=true&supports=input").await;
    for (query, seq) in [("", 1), ("&supports=agent_state", 3)] {
        let mut client = open(query).await;
        client.say("a").await;
        let frames = client.until(|frame| frame["seq"] == seq + 1).await;
        assert_eq!(inputs(&frames), []);
        let numbers: Vec<_> = frames.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
        assert_eq!(numbers, (1..=seq + 1).collect::<Vec<_>>());
        client.close().await;
    }
    let frames = asking.until(|frame| frame["seq"] == 6).await;
    assert_eq!(inputs(&frames).len(), 2);
}
