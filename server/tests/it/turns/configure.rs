//! Configuration and place in one step: `?configure=true`.

use super::agent;
use crate::support::http;
use crate::support::relay::Relay;
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use serde_json::{Value, json};

async fn open(relay: &Relay, query: &str) -> Client {
    Client::open(relay.address(), &format!("/ws?configure=true{query}")).await
}

async fn configure(client: &mut Client, config: Value) -> Value {
    client.send(&json!({ "type": "configure", "config": config })).await;
    let answers = |frame: &Value| frame["type"] == "configured" || frame["type"] == "error";
    client.until(answers).await.pop().expect("an answer")
}

async fn stored(relay: &Relay) -> Value {
    http::get(relay.address(), "/config").await.json()["config"].take()
}

#[tokio::test]
async fn a_client_configures_as_it_connects_and_the_agent_starts_with_it() {
    let env = TestEnv::new();
    let agent = agent(&env, r#"note("argv", " ".join(sys.argv)); work()"#);
    let relay = agent.launch(&env).start();
    let mut client = open(&relay, "").await;
    assert_eq!(client.frame().await, json!({ "type": "connected" }));
    assert_eq!(agent.runs(), Vec::<String>::new(), "no agent before the configuration");
    let config = json!({ "model": "opus", "env": { "A": "b" }, "x": 1 });
    assert_eq!(
        configure(&mut client, config).await,
        json!({
            "type": "configured", "applies": "now",
            "config": { "model": "opus", "env": { "A": "***" } },
            "secrets": ["env.A"], "ignored": ["x"],
        })
    );
    client.say("hi").await;
    client.turn().await;
    assert!(agent.noted("argv")[0].contains("--model=opus"));
    // A second one is a message like any other that does not belong here.
    let error = configure(&mut client, json!({})).await;
    assert!(error["error"].as_str().unwrap().contains("first message"), "{error}");
    client.close().await;
    let mut merging = open(&relay, "").await;
    let merge = json!({ "type": "configure", "config": { "effort": "low" }, "merge": true });
    merging.send(&merge).await;
    let answer = merging.until(|frame| frame["type"] == "configured").await.pop().unwrap();
    assert_eq!(answer["config"]["model"], "opus");
    merging.say("again").await;
    merging.turn().await;
    assert!(agent.noted("argv")[1].contains("--effort=low"));
}

#[tokio::test]
async fn what_a_client_has_missed_comes_behind_its_configuration() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    let mut first = Client::connect(relay.address()).await;
    first.say("hi").await;
    first.turn().await;
    first.close().await;
    let mut client = open(&relay, "&after=0&stream=another&supports=agent_state").await;
    client.send(&json!({ "type": "configure", "config": {}, "merge": true })).await;
    let frames = client.until(|frame| frame["data"]["type"] == "result").await;
    let kinds: Vec<_> = frames.iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["connected", "configured", "gap", "agent_state", "sdk_message", "sdk_message"]
    );
    assert_eq!(agent.runs(), ["(new)"], "nothing has changed");
}

#[tokio::test]
async fn a_client_that_is_refused_changes_nothing() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    let mut first = open(&relay, "").await;
    configure(&mut first, json!({ "model": "first" })).await;
    let mut second = open(&relay, "").await;
    second.send(&json!({ "type": "configure", "config": { "model": "second" } })).await;
    // The holder is probed, and answers because it reads.
    let (_, code) = tokio::join!(
        async {
            first.say("hi").await;
            first.turn().await
        },
        second.closed()
    );
    assert_eq!(code, Some(1013));
    assert_eq!(stored(&relay).await, json!({ "model": "first" }));
}

#[tokio::test]
async fn a_configuration_that_is_refused_ends_the_connection_and_changes_nothing() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    http::post(relay.address(), "/config", r#"{"model":"kept"}"#).await;
    for (first, reason) in [
        (json!({ "type": "configure", "config": { "maxTurns": 0 } }), "maxTurns"),
        (
            json!({ "type": "configure", "config": { "permissionMode": "bypassPermissions" } }),
            "permissionMode",
        ),
        (json!({ "type": "configure", "config": { "authToken": "0123456789" } }), "authToken"),
        (json!({ "type": "configure" }), "config"),
        (json!({ "type": "interrupt" }), "configure"),
        (json!({ "type": "nothing" }), "nothing"),
    ] {
        let mut client = open(&relay, "").await;
        client.send(&first).await;
        let error = client.until(|frame| frame["type"] == "error").await.pop().unwrap();
        assert!(error["error"].as_str().unwrap().contains(reason), "{error}");
        assert_eq!(client.closed().await, Some(4002));
    }
    assert_eq!(stored(&relay).await, json!({ "model": "kept" }));
    assert_eq!(agent.runs(), Vec::<String>::new());
    let mut client = Client::connect(relay.address()).await;
    client.say("the place is free").await;
    client.turn().await;
}

#[tokio::test]
async fn a_configuration_that_does_not_come_frees_the_place() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    let mut silent = open(&relay, "").await;
    assert_eq!(silent.closed().await, Some(4002));
}

#[tokio::test]
async fn an_equal_configuration_in_another_order_restarts_nothing() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    let one = r#"{"env":{"A":"1","B":"2"},"maxBudgetUsd":1.0,"agents":{"a":{"description":"d","prompt":"p"},"b":{"prompt":"q","description":"e"}},"mcpServers":{"s":{"type":"http","url":"http://127.0.0.1:9/","headers":{"X":"1","Y":"2"}}},"outputFormat":{"type":"json_schema","schema":{"type":"object","properties":{"x":{"minimum":1e0,"type":"number"}}}},"hooks":{"Stop":[{"matcher":"x","hookCallbackIds":["h"]}],"Start":[]}}"#;
    let other = r#"{ "hooks":{"Start":[],"Stop":[{"hookCallbackIds":["h"],"matcher":"x"}]},"outputFormat":{"schema":{"properties":{"x":{"type":"number","minimum":1.0}},"type":"object"},"type":"json_schema"},"mcpServers":{"s":{"headers":{"Y":"2","X":"1"},"url":"http://127.0.0.1:9/","type":"http"}},"agents":{"b":{"description":"e","prompt":"q"},"a":{"prompt":"p","description":"d"}},"maxBudgetUsd":1,"env":{"B":"2","A":"1"}}"#;
    for (run, config) in [one, other, one].into_iter().enumerate() {
        let answer = http::post(relay.address(), "/config", config).await;
        assert_eq!((answer.status, &answer.json()["applies"]), (200, &json!("now")), "{run}");
        let mut client = Client::connect(relay.address()).await;
        client.say("hi").await;
        client.turn().await;
        client.close().await;
    }
    assert_eq!(agent.runs(), ["(new)"], "one run served all");
}
