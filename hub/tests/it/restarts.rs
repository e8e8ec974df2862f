//! Ends and returns: of a relay, of an agent's process, of the hub.

use claude_relay_testing::process::signal;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::HubDirectory;

/// The pids of the relays of a place.
fn relays(place: &HubDirectory) -> Vec<i32> {
    let processes = place.mark.processes();
    let is_relay = |command: &str| command.contains("--lifeline");
    processes.iter().filter(|one| is_relay(&one.command)).map(|one| one.pid).collect()
}

#[tokio::test]
async fn a_relay_that_is_killed_is_started_again_and_its_message_is_worked_on() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("a").await;
    hub.say(&agent, "first").await;
    let before = hub.until_done(&agent).await;
    let mut socket = hub.connect().await;
    hub.say(&agent, r#"{"sleep_ms":700,"echo":true,"note":"second"}"#).await;
    socket.until_type("agent_working").await;
    for relay in relays(&place) {
        signal(relay, Signal::KILL);
    }
    socket.until_type("agent_error").await;
    let (seen, _) = socket.until("agent_done").await;
    assert!(
        seen.iter().any(|event| event["text"].as_str().is_some_and(|text| text.contains("second")))
    );
    let after = hub.until_done(&agent).await;
    assert_eq!(before["sessionId"], after["sessionId"]);
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn an_agent_that_exits_over_every_message_is_given_up_and_lives_on() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("a").await;
    hub.say(&agent, r#"{"exit":3}"#).await;
    hub.say(&agent, "after").await;
    hub.until_done(&agent).await;
    let log = hub.ok("GET", &format!("/api/agents/{agent}/log"), Value::Null).await;
    let log = log.to_string();
    assert!(log.contains("given up") && log.contains("“after”"), "{log}");
    hub.stop().await;
}

#[tokio::test]
async fn a_hub_that_ends_in_order_finds_everything_again() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("a").await;
    hub.say(&agent, "first").await;
    let before = hub.until_done(&agent).await;
    let log = hub.ok("GET", &format!("/api/agents/{agent}/log"), Value::Null).await;
    hub.say(&agent, r#"{"sleep_ms":60000}"#).await;
    hub.say(&agent, "later").await;
    hub.stop().await;
    place.assert_no_orphans();
    let hub = place.start().await;
    let agents = hub.ok("GET", "/api/agents", Value::Null).await;
    assert_eq!(agents[0]["id"], *agent);
    assert_eq!(agents[0]["queued"], 2);
    let again = hub.ok("GET", &format!("/api/agents/{agent}/log"), Value::Null).await;
    let entries = log.as_array().unwrap();
    assert_eq!(again.as_array().unwrap()[..entries.len()], entries[..]);
    hub.ok("POST", &format!("/api/agents/{agent}/interrupt"), json!({})).await;
    hub.ok("POST", &format!("/api/agents/{agent}/stop"), json!({})).await;
    let after = hub.ok("GET", &format!("/api/agents/{agent}"), Value::Null).await;
    assert_eq!(before["sessionId"], after["sessionId"]);
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn nothing_outlives_a_hub_that_is_killed() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let workspace = hub.workspace("w").await;
    for role in ["a", "b", "c"] {
        let agent = hub.agent(&workspace, role).await;
        hub.say(&agent, r#"{"sleep_ms":60000}"#).await;
    }
    wait::until("three relays", || (relays(&place).len() == 3).then_some(())).await;
    hub.kill().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn a_directory_has_one_hub() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let second = std::panic::AssertUnwindSafe(place.start());
    let second = futures_util::FutureExt::catch_unwind(second).await;
    assert!(second.is_err(), "another hub has started");
    hub.stop().await;
}
