//! A store that is down: the conversation goes on, and nothing is lost while the
//! disk lasts.

use super::Machine;
use crate::support::http;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use serde_json::{Value, json};
use std::path::Path;

pub(super) async fn store_state(machine: &Machine) -> Value {
    let health = http::get(machine.relay.address(), "/health").await.json();
    health["agent_state"]["store"].clone()
}

pub(super) async fn until_state(machine: &Machine, state: &str) -> Value {
    wait::within(&format!("the store to be {state}"), async {
        loop {
            let told = store_state(machine).await;
            if told["state"] == state {
                return told;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Makes a store take nothing: a file is where its directory would be.
fn break_store(store: &Path) {
    std::fs::write(store, "").expect("a file");
}

fn mend_store(store: &Path) {
    std::fs::remove_file(store).expect("the file");
}

#[tokio::test]
async fn a_conversation_goes_on_without_its_store_and_is_stored_later() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    break_store(&store);
    let mut machine = Machine::start(Cli::Newest, &store, json!({})).await;
    let id = machine.turn("One?", "One.").await["session_id"].as_str().unwrap().to_owned();
    let told = store_state(&machine).await;
    assert_eq!(told["state"], "behind");
    assert!(told["waiting_bytes"].as_u64() > Some(0), "{told}");
    assert!(told["error"].as_str().unwrap().contains("store"), "{told}");
    machine.until_told("takes nothing").await;
    machine.until_told("waits on this machine").await;
    machine.turn("Two?", "Two.").await;
    mend_store(&store);
    until_state(&machine, "ok").await;
    machine.lose();

    let mut second = Machine::resuming(Cli::Newest, &store, &id).await;
    second.turn("Three?", "Three.").await;
    let sent = second.api.turn(1).await.body["messages"].to_string();
    for text in ["One?", "One.", "Two?", "Two."] {
        assert!(sent.contains(text), "{text}: {sent}");
    }
    second.end().await;
}

#[tokio::test]
async fn what_waits_is_stored_by_the_next_server_on_the_machine() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    break_store(&store);
    let mut machine = Machine::start(Cli::Newest, &store, json!({})).await;
    let id = machine.turn("One?", "One.").await["session_id"].as_str().unwrap().to_owned();
    let (env, _) = machine.lose();
    mend_store(&store);
    let with_store =
        |launch: crate::support::relay::Launch| launch.argument("--store").argument(&store);
    let again = Machine::on(env, Cli::Newest, json!({}), with_store).await;
    until_state(&again, "ok").await;
    again.end().await;

    let mut second = Machine::resuming(Cli::Newest, &store, &id).await;
    second.turn("Two?", "Two.").await;
    let sent = second.api.turn(1).await.body["messages"].to_string();
    assert!(sent.contains("One?") && sent.contains("One."), "{sent}");
    second.end().await;
}

#[tokio::test]
async fn a_full_spool_is_told_and_stops_nothing() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    break_store(&store);
    let mut machine = Machine::launched(Cli::Newest, json!({}), |launch| {
        launch.argument("--store").argument(&store).argument("--store-spool-bytes=10")
    })
    .await;
    machine.turn("One?", "One.").await;
    machine.turn("Two?", "Two.").await;
    let told = store_state(&machine).await;
    assert!(told["lost"].as_u64() > Some(0), "{told}");
    machine.until_told("are lost to it").await;
    machine.until_told("the spool is full").await;
    machine.end().await;
}

#[test]
fn a_store_in_the_workspace_is_refused() {
    let env = TestEnv::new();
    for inside in [env.workspace(), env.workspace().join("a/b")] {
        let store = inside.to_str().unwrap();
        let (code, said) = crate::support::relay::refused(&env, &["--store", store], &[]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--store") && said.contains("workspace"), "{said}");
    }
}
