//! A conversation goes on on another machine.

use super::{Machine, messages};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::tools::Cli;
use serde_json::json;

for_both_clis! {
    a_conversation_goes_on_on_another_machine,
}

async fn a_conversation_goes_on_on_another_machine(cli: Cli) {
    let store = tempfile::tempdir().expect("a directory");
    let mut first = Machine::start(cli, store.path(), json!({})).await;
    first.turn("One?", "One.").await;
    let id = first.turn("Two?", "Two.").await["session_id"].as_str().expect("an id").to_owned();
    let (_, api) = first.lose();
    let said = messages(&api.turns()[1]);

    let mut second = Machine::resuming(cli, store.path(), &id).await;
    let third = second.turn("Three?", "Three.").await;
    assert_eq!(third["session_id"], json!(id));
    let resumed = messages(&second.api.turn(1).await);
    assert_eq!(resumed[..said.len()], said[..], "{resumed:#?}");
    assert!(resumed[said.len()].to_string().contains("Two."), "{resumed:#?}");
    second.lose();

    let mut back = Machine::resuming(cli, store.path(), &id).await;
    back.turn("Four?", "Four.").await;
    let resumed = serde_json::to_string(&messages(&back.api.turn(1).await)).expect("JSON");
    let places: Vec<_> = ["One?", "One.", "Two?", "Two.", "Three?", "Three.", "Four?"]
        .map(|text| resumed.find(text))
        .into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{resumed}");
    back.end().await;
}
