//! `agent_state`: what it says, when, and to whom.

use super::{agent, client, say, state};
use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use serde_json::json;

#[tokio::test]
async fn the_first_state_comes_behind_connected_and_health_says_the_same() {
    let env = TestEnv::new();
    let agent = agent(&env, "work()");
    let relay = agent.launch(&env).start();
    let mut client = client(&relay, "").await;
    assert_eq!(client.frame().await, json!({ "type": "connected" }));
    let first = client.frame().await;
    assert_eq!(first["type"], "agent_state");
    assert!(["stopped", "starting"].contains(&first["state"].as_str().unwrap()), "{first}");
    let idle = state(&mut client, |state| state["state"] == "idle").await;
    assert_eq!(
        idle,
        json!({
            "type": "agent_state", "state": "idle", "turn": null, "background_tasks": 0,
            "conversation": null, "model": null, "permission_mode": null, "queued": [],
            "watchers": 0,
        })
    );
    let health = http::get(relay.address(), "/health").await.json();
    assert_eq!(health["agent_state"]["state"], "idle");
    assert_eq!(health["agent_state"].get("type"), None);
}

#[tokio::test]
async fn a_client_that_does_not_ask_is_told_nothing_new() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let mut client = Client::open(relay.address(), "/ws?supports=from_the_future").await;
    client.say("hi").await;
    let frames = client.until(|frame| frame["data"]["type"] == "result").await;
    assert!(frames.iter().all(|frame| frame["type"] != "agent_state"), "{frames:?}");
}

#[tokio::test]
async fn a_turn_is_the_messages_that_the_agent_names_and_its_own_turn_is_its_own() {
    let env = TestEnv::new();
    let story = r#"
uuid = message(); life(uuid, "queued"); life(uuid, "started"); begin(uuid); tasks("t")
gate("first"); end(uuid); life(uuid, "completed")
gate("report")
say(type="system", subtype="task_notification", task_id="t", status="completed"); tasks(); begin()
uuid = message(); life(uuid, "queued")
gate("own"); end(origin=dict(kind="task-notification")); life(uuid, "started"); begin(uuid)
gate("second"); end(uuid); life(uuid, "completed")
message()
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    let mut client = client(&relay, "").await;
    say(&mut client, "one", "uuid-1").await;
    let runs = state(&mut client, |state| state["background_tasks"] == 1).await;
    assert_eq!(runs["turn"], json!({ "origin": "client", "uuid": "uuid-1" }));
    assert_eq!((&runs["model"], &runs["permission_mode"]), (&json!("m"), &json!("default")));
    agent.open("first");
    state(&mut client, |state| state["state"] == "idle" && state["background_tasks"] == 1).await;
    agent.open("report");
    let own = state(&mut client, |state| !state["turn"].is_null()).await;
    assert_eq!(own["turn"], json!({ "origin": "agent" }));
    say(&mut client, "two", "uuid-2").await;
    let queued = state(&mut client, |state| state["queued"] != json!([])).await;
    assert_eq!((&queued["turn"], &queued["queued"]), (&own["turn"], &json!(["uuid-2"])));
    agent.open("own");
    let turn = json!({ "origin": "client", "uuid": "uuid-2" });
    state(&mut client, |state| state["turn"] == turn && state["queued"] == json!([])).await;
    agent.open("second");
    state(&mut client, |state| state["state"] == "idle").await;
}

#[tokio::test]
async fn states_are_told_at_most_ten_times_a_second_and_the_last_one_always() {
    let env = TestEnv::new();
    let story = r#"
uuid = message()
for n in range(400):
    begin(uuid); tasks(*[str(i) for i in range(n % 7)]); time.sleep(0.0025)
tasks("a", "b"); end(uuid); message()
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    let mut client = client(&relay, "").await;
    say(&mut client, "go", "u").await;
    let begun = std::time::Instant::now();
    let last = |frame: &serde_json::Value| {
        frame["type"] == "agent_state" && frame["state"] == "idle" && frame["background_tasks"] == 2
    };
    let frames = client.until(last).await;
    let states = frames.iter().filter(|frame| frame["type"] == "agent_state").count();
    let most = begun.elapsed().as_millis() / 100 + 3;
    assert!(states > 3 && states as u128 <= most, "{states} states, at most {most}");
}

#[tokio::test]
async fn a_state_comes_behind_the_lines_that_it_follows_from() {
    let env = TestEnv::new();
    let story = r#"
uuid = message(); begin(uuid)
for n in range(2000): say(type="assistant", n=n, text="x" * 500)
end(uuid); message()
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    let mut client = client(&relay, "").await;
    state(&mut client, |state| state["state"] == "idle").await;
    say(&mut client, "go", "u").await;
    let frames = client
        .until(|frame| {
            frame["type"] == "agent_state"
                && frame["state"] == "idle"
                && !frame["conversation"].is_null()
        })
        .await;
    assert!(frames.iter().any(|frame| frame["data"]["type"] == "result"));
}

#[tokio::test]
async fn an_agent_that_asks_waits() {
    let env = TestEnv::new();
    let story = r#"
uuid = message(); begin(uuid)
say(type="control_request", request_id="p", request=dict(subtype="can_use_tool", tool_name="Bash", input={}))
line(); end(uuid); message()
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).start();
    let mut client = client(&relay, "").await;
    say(&mut client, "go", "u").await;
    state(&mut client, |state| state["state"] == "waiting").await;
    client
        .send(&json!({ "type": "permission_response", "requestId": "p", "approved": false }))
        .await;
    state(&mut client, |state| state["state"] == "idle").await;
}
