//! The conversations of the store, listed, read, and gone on with as the last one
//! of the workspace.

use super::{Machine, messages};
use crate::support::http;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};
use std::path::Path;

/// Loses a machine. Another one at the same paths has nothing of its own.
fn emptied((env, _): (TestEnv, MessagesApi)) -> TestEnv {
    std::fs::remove_dir_all(env.file("claude")).expect("the directory of the CLI");
    std::fs::remove_dir_all(env.home()).expect("the home");
    std::fs::create_dir(env.home()).expect("a home");
    env
}

/// Leaves a conversation of two turns in the store. Gives its id.
async fn two_turns(cli: Cli, store: &Path) -> (TestEnv, String) {
    let mut machine = Machine::start(cli, store, json!({})).await;
    machine.turn("One?", "One.").await;
    let id = machine.turn("Two?", "Two.").await["session_id"].as_str().expect("an id").to_owned();
    (emptied(machine.lose()), id)
}

async fn get(machine: &Machine, path: &str) -> http::Response {
    http::get(machine.relay.address(), path).await
}

async fn listed(machine: &Machine) -> Vec<Value> {
    let list = get(machine, "/conversations").await.json();
    list["conversations"].as_array().unwrap_or_else(|| panic!("{list}")).clone()
}

fn with_store(
    store: &Path,
    arguments: &[&str],
) -> impl FnOnce(crate::support::relay::Launch) -> crate::support::relay::Launch {
    move |launch| {
        let launch = launch.argument("--store").argument(store);
        arguments.iter().fold(launch, |launch, argument| launch.argument(*argument))
    }
}

#[tokio::test]
async fn conversations_of_the_store_are_listed_and_given_where_this_machine_has_none() {
    let store = tempfile::tempdir().unwrap();
    let (env, id) = two_turns(Cli::Newest, store.path()).await;
    let machine = Machine::on(env, Cli::Newest, json!({}), with_store(store.path(), &[])).await;
    let [only] = &listed(&machine).await[..] else { panic!("not one conversation") };
    assert_eq!((&only["id"], &only["turns"]), (&json!(id), &json!(2)));
    assert_eq!(only["first_words"], "One?");
    assert!(only["modified"].as_u64() > Some(1_700_000_000_000), "{only}");
    let given = get(&machine, &format!("/conversations/{id}")).await;
    assert_eq!(given.status, 200);
    let places: Vec<_> = ["One?", "One.", "Two?", "Two."].map(|text| given.body.find(text)).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{}", given.body);
    for limit in ["?limit=1", "?limit=200"] {
        let list = get(&machine, &format!("/conversations{limit}")).await.json();
        assert_eq!(list["conversations"].as_array().unwrap().len(), 1);
        assert_eq!(list.get("more"), None);
    }
    machine.end().await;
}

#[tokio::test]
async fn of_another_directory_a_conversation_is_given_by_its_id_alone() {
    let store = tempfile::tempdir().unwrap();
    let (_, id) = two_turns(Cli::Newest, store.path()).await;
    let machine = Machine::start(Cli::Newest, store.path(), json!({})).await;
    assert_eq!(listed(&machine).await, [] as [Value; 0]);
    let given = get(&machine, &format!("/conversations/{id}")).await;
    assert_eq!(given.status, 200);
    assert!(given.body.contains("Two."), "{}", given.body);
    let other = "11111111-2222-4333-8444-555555555555";
    assert_eq!(get(&machine, &format!("/conversations/{other}")).await.status, 404);
    machine.end().await;
}

#[tokio::test]
async fn conversations_of_this_machine_and_of_the_store_are_one_list() {
    let store = tempfile::tempdir().unwrap();
    let (env, first) = two_turns(Cli::Newest, store.path()).await;
    let mut machine = Machine::on(env, Cli::Newest, json!({}), with_store(store.path(), &[])).await;
    let second = machine.turn("Three?", "Three.").await["session_id"].clone();
    machine.env.session_holds("Three.").await;
    let ids: Vec<_> = listed(&machine).await.iter().map(|listed| listed["id"].clone()).collect();
    assert_eq!(ids, [second, json!(first)]);
    let list = get(&machine, "/conversations?limit=1").await.json();
    assert_eq!(list["conversations"].as_array().unwrap().len(), 1);
    assert_eq!(list["more"], true);
    machine.end().await;
}

#[tokio::test]
async fn a_store_that_is_down_is_said_beside_the_list() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    std::fs::write(&store, "").unwrap();
    let mut machine = Machine::start(Cli::Newest, &store, json!({})).await;
    let id = machine.turn("One?", "One.").await["session_id"].as_str().unwrap().to_owned();
    machine.env.session_holds("One.").await;
    let list = get(&machine, "/conversations").await.json();
    assert_eq!(list["conversations"][0]["id"], json!(id));
    assert!(list["store_error"].as_str().is_some_and(|error| error.contains("store")), "{list}");
    let given = get(&machine, "/conversations/11111111-2222-4333-8444-555555555555").await;
    assert_eq!(given.status, 503, "{given:?}");
    machine.end().await;
}

for_both_clis! {
    the_last_conversation_of_the_store_goes_on,
}

async fn the_last_conversation_of_the_store_goes_on(cli: Cli) {
    let store = tempfile::tempdir().expect("a directory");
    let (env, id) = two_turns(cli, store.path()).await;
    let by_flag = with_store(store.path(), &["--continue"]);
    let mut second = Machine::on(env, cli, json!({}), by_flag).await;
    let end = second.turn("Three?", "Three.").await;
    assert_eq!(end["session_id"], json!(id));
    let sent = serde_json::to_string(&messages(&second.api.turn(1).await)).expect("JSON");
    assert!(sent.contains("One?") && sent.contains("Two."), "{sent}");

    let env = emptied(second.lose());
    let configured = json!({ "continue": true });
    let mut third = Machine::on(env, cli, configured, with_store(store.path(), &[])).await;
    let end = third.turn("Four?", "Four.").await;
    assert_eq!(end["session_id"], json!(id));
    let sent = serde_json::to_string(&messages(&third.api.turn(1).await)).expect("JSON");
    assert!(sent.contains("One?") && sent.contains("Three."), "{sent}");
    third.end().await;
}

#[tokio::test]
async fn a_later_conversation_that_the_store_lacks_is_the_last_one() {
    let store = tempfile::tempdir().unwrap();
    let (env, _) = two_turns(Cli::Newest, store.path()).await;
    let mut without = Machine::on(env, Cli::Newest, json!({}), |launch| launch).await;
    let later = without.turn("Later?", "Later.").await["session_id"].clone();
    without.env.session_holds("Later.").await;
    let (env, _) = without.lose();
    let by_flag = with_store(store.path(), &["--continue"]);
    let mut machine = Machine::on(env, Cli::Newest, json!({}), by_flag).await;
    assert_eq!(machine.turn("And?", "And.").await["session_id"], later);
    machine.end().await;
}

#[tokio::test]
async fn without_any_conversation_one_begins() {
    let store = tempfile::tempdir().unwrap();
    let by_flag = with_store(store.path(), &["--continue"]);
    let env = TestEnv::new();
    let mut machine = Machine::on(env, Cli::Newest, json!({}), by_flag).await;
    machine.turn("One?", "One.").await;
    machine.end().await;
}
