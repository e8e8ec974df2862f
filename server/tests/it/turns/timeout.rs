//! The bound on a turn.

use super::{agent, client, say};
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use serde_json::Value;

/// Whether the server says that it has interrupted the turn.
fn is_interrupted(frame: &Value) -> bool {
    frame["error"].as_str().is_some_and(|text| text.starts_with("The turn was interrupted"))
}

#[tokio::test]
async fn a_turn_over_its_limit_is_interrupted_and_the_next_one_runs() {
    let env = TestEnv::new();
    let story = r#"
while (uuid := message()) is not None:
    begin(uuid)
    if uuid == "long":
        m = json.loads(line()); note("heard", m["request"]["subtype"]); answer(m)
    end(uuid)
"#;
    let agent = agent(&env, story);
    let relay = agent.launch(&env).argument("--turn-timeout=200ms").start();
    let mut client = client(&relay, "").await;
    say(&mut client, "go", "long").await;
    client.until(is_interrupted).await;
    client.until(|frame| frame["data"]["type"] == "result").await;
    say(&mut client, "go", "short").await;
    let frames = client.until(|frame| frame["data"]["type"] == "result").await;
    assert!(!frames.iter().any(|frame| frame["type"] == "exit"), "{frames:?}");
    assert!(agent.noted("heard").iter().any(|noted| noted == "interrupt"));
    relay.stop();
}

#[tokio::test]
async fn an_agent_that_does_not_heed_the_interrupt_is_stopped() {
    let env = TestEnv::new();
    let agent = agent(&env, "begin(message())\nwhile line() is not None: pass\n");
    let arguments = ["--turn-timeout=100ms", "--stop-grace=100ms"];
    let relay = arguments.iter().fold(agent.launch(&env), |launch, arg| launch.argument(arg));
    let relay = relay.start();
    let mut client = client(&relay, "").await;
    say(&mut client, "go", "u").await;
    client.until(is_interrupted).await;
    let is_told = |frame: &Value| {
        frame["error"].as_str().is_some_and(|text| text.contains("after it was interrupted"))
    };
    client.until(is_told).await;
    client.until(|frame| frame["type"] == "exit").await;
    relay.stop();
}

#[tokio::test]
async fn waiting_for_a_person_does_not_count() {
    for asked in
        [r#""subtype":"elicitation""#, r#""subtype":"can_use_tool","tool_name":"T","input":{}"#]
    {
        let env = TestEnv::new();
        let story = format!(
            r#"
uuid = message()
begin(uuid)
out('{{"type":"control_request","request_id":"q","request":{{{asked}}}}}\n')
time.sleep(1)
say(type="still")
message()
"#
        );
        let relay = agent(&env, &story).launch(&env).argument("--turn-timeout=300ms").start();
        let path = "/ws?supports=agent_state,questions";
        let mut client = Client::open(relay.address(), path).await;
        say(&mut client, "go", "u").await;
        let frames = client.until(|frame| frame["data"]["type"] == "still").await;
        assert!(!frames.iter().any(is_interrupted), "{asked}: {frames:?}");
        relay.stop();
    }
}
