//! A store that has lost something, or that two machines have written at once: the
//! conversation goes on, and the client is told.

use super::{Machine, parts, texts};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use serde_json::{Value, json};
use std::path::Path;

for_both_clis! {
    a_part_that_was_cut_is_told,
    a_conversation_that_goes_on_in_two_places_is_told,
}

/// Two turns on a machine, whose id is given.
async fn two_turns(cli: Cli, store: &Path) -> (Machine, String) {
    let mut machine = Machine::start(cli, store, json!({})).await;
    machine.turn("One?", "One.").await;
    let id = machine.turn("Two?", "Two.").await["session_id"].as_str().expect("an id").to_owned();
    (machine, id)
}

async fn a_part_that_was_cut_is_told(cli: Cli) {
    let store = tempfile::tempdir().expect("a directory");
    let (machine, id) = two_turns(cli, store.path()).await;
    let (env, _) = machine.lose();
    let holds = |text: &str| text.contains("\"One.\"");
    let parts = parts(store.path(), &id);
    let cut = parts.iter().find(|part| holds(&texts(&[(*part).clone()]))).expect("the part");
    let text = texts(std::slice::from_ref(cut));
    let within = text.find("\"One.\"").expect("the answer");
    let before = text[..within].rfind('\n').map_or(0, |end| end + 1);
    let answer: Value = serde_json::from_str(text[before..].lines().next().expect("a line"))
        .expect("the line of the answer");
    // The CLI may have said before the answer with which message it would go on.
    let named = json!({ "type": "last-prompt", "lastPrompt": "One?", "leafUuid": answer["parentUuid"], "sessionId": id });
    let left = format!("{}{named}\n{}", &text[..before], &text[before..within]);
    std::fs::write(cut, left).expect("a part that is cut");

    let mut elsewhere = Machine::resuming(cli, store.path(), &id).await;
    elsewhere.turn("Three?", "Three.").await;
    elsewhere.until_told("is damaged in the store").await;
    elsewhere.until_told("has lost a part of the conversation").await;
    elsewhere.lose();

    // The machine that has all of it goes on with all of it, and says what the
    // store lacks.
    let launch =
        |launch: crate::support::relay::Launch| launch.argument("--store").argument(store.path());
    let mut whole = Machine::on(env, cli, json!({ "resume": id }), launch).await;
    whole.turn("Four?", "Four.").await;
    let sent = whole.api.turn(1).await.body["messages"].to_string();
    assert!(sent.contains("Two."), "{sent}");
    whole.until_told("differs: the store's goes on, the other is kept as").await;
    whole.end().await;
}

async fn a_conversation_that_goes_on_in_two_places_is_told(cli: Cli) {
    let store = tempfile::tempdir().expect("a directory");
    let (mut one, id) = two_turns(cli, store.path()).await;
    let mut other = Machine::resuming(cli, store.path(), &id).await;
    other.turn("Other?", "Other.").await;
    let told = other.client.frames().join("\n");
    assert!(!told.contains("at the same time"), "{told}");
    one.turn("Three?", "Three.").await;
    one.lose();
    other.lose();
    let kept = texts(&parts(store.path(), &id));
    assert!(kept.contains("Other.") && kept.contains("Three."), "{kept}");

    let mut third = Machine::resuming(cli, store.path(), &id).await;
    third.turn("And?", "And.").await;
    third.until_told("at the same time").await;
    let sent = third.api.turn(1).await.body["messages"].to_string();
    let is_one = sent.contains("Three?") != sent.contains("Other?");
    assert!(sent.contains("Two.") && is_one, "{sent}");
    third.end().await;
}

#[tokio::test]
async fn a_store_that_fails_for_a_moment_is_asked_again() {
    let place = tempfile::tempdir().unwrap();
    let (store, away) = (place.path().join("store"), place.path().join("away"));
    let (machine, id) = two_turns(Cli::Newest, &store).await;
    machine.lose();
    std::fs::rename(&store, &away).unwrap();
    std::fs::write(&store, "").unwrap();
    let mut elsewhere = Machine::resuming(Cli::Newest, &store, &id).await;
    let is_asked = || elsewhere.relay.stderr().contains("asked again in").then_some(());
    wait::until("the store to have failed", is_asked).await;
    std::fs::remove_file(&store).unwrap();
    std::fs::rename(&away, &store).unwrap();
    elsewhere.turn("Three?", "Three.").await;
    let sent = elsewhere.api.turn(1).await.body["messages"].to_string();
    assert!(sent.contains("One.") && sent.contains("Two."), "{sent}");
    elsewhere.end().await;
}

#[tokio::test]
async fn nothing_runs_where_the_store_of_the_conversation_is_down() {
    let place = tempfile::tempdir().unwrap();
    let store = place.path().join("store");
    std::fs::write(&store, "").unwrap();
    let id = "11111111-2222-4333-8444-555555555555";
    let mut machine = Machine::resuming(Cli::Newest, &store, id).await;
    machine.client.say("One?").await;
    machine.client.until(|frame| frame["type"] == "error" && frame.to_string().contains(id)).await;
    machine.client.until(|frame| frame["state"] == "stopped").await;
    machine.until_told("The store could not be asked for the conversation").await;
    assert!(machine.api.turns().is_empty());
    machine.end().await;
}
