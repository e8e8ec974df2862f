//! A conversation goes on on another machine.

use super::{Machine, messages};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

for_both_clis! {
    a_conversation_goes_on_on_another_machine,
    a_conversation_with_a_sub_agent_goes_on_with_the_other_version,
    sub_agents_of_before_the_store_are_added_to_it,
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

/// The transcripts of sub-agents of a conversation on a machine and what describes
/// them, without the names of their folders and what the CLI notes for itself.
fn sub_agents(env: &TestEnv, id: &str) -> BTreeMap<OsString, Value> {
    let projects = std::fs::read_dir(env.file("claude/projects")).expect("projects");
    let folders = projects.map(|project| project.expect("a project").path().join(id));
    let folder = folders.map(|folder| folder.join("subagents")).find(|folder| folder.is_dir());
    let files = std::fs::read_dir(folder.expect("sub-agents")).expect("sub-agents");
    let content = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).expect("text");
        let is_transcript = file.extension().is_some_and(|end| end == "jsonl");
        let content = match is_transcript {
            true => text.lines().filter(|line| line.contains("\"uuid\":")).collect(),
            false => serde_json::from_str(&text).expect("JSON"),
        };
        (file.file_name().expect("a name").to_owned(), content)
    };
    files.map(|file| content(file.expect("a file").path())).collect()
}

fn helper() -> Value {
    json!({ "helper": { "description": "d", "prompt": "Help." } })
}

/// A turn in which a sub-agent says something. Gives the id of the conversation.
async fn ask_helper(machine: &mut Machine) -> String {
    let call = json!({
        "description": "d", "prompt": "Ask-of-helper", "subagent_type": "helper",
        "run_in_background": false,
    });
    machine.api.script([
        Reply::tool("Agent", call),
        Reply::text("Word-of-helper."),
        Reply::text("One."),
    ]);
    machine.client.say("One?").await;
    let turn = machine.client.turn().await;
    assert_eq!(turn.result()["result"], "One.", "{turn:#?}");
    turn.result()["session_id"].as_str().expect("an id").to_owned()
}

async fn a_conversation_with_a_sub_agent_goes_on_with_the_other_version(cli: Cli) {
    let other = match cli {
        Cli::Newest => Cli::Oldest,
        Cli::Oldest => Cli::Newest,
    };
    let store = tempfile::tempdir().expect("a directory");
    let mut first = Machine::start(cli, store.path(), json!({ "agents": helper() })).await;
    let id = ask_helper(&mut first).await;
    let (env, api) = first.lose();
    let kept = sub_agents(&env, &id);
    assert!(kept.values().any(|text| text.to_string().contains("Word-of-helper.")), "{kept:#?}");
    let said = messages(api.turns().last().expect("a request"));

    let mut second = Machine::resuming(other, store.path(), &id).await;
    let end = second.turn("Two?", "Two.").await;
    assert_eq!(end["session_id"], json!(id));
    let sent = messages(&second.api.turn(1).await);
    // Each version puts reminders of its own into what it sends; what was said is
    // the same.
    let words = |messages: &[Value], role: &str| -> Vec<Value> {
        let of_role = messages.iter().filter(|message| message["role"] == role);
        of_role.map(|message| message["content"].clone()).collect()
    };
    let before = words(&said, "assistant");
    assert_eq!(words(&sent, "assistant")[..before.len()], before[..], "{sent:#?}");
    let sent = serde_json::to_string(&sent).expect("JSON");
    let places: Vec<_> = ["One?", "Ask-of-helper", "Word-of-helper.", "One.", "Two?"]
        .map(|text| sent.find(text))
        .into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{sent}");
    assert_eq!(sub_agents(&second.env, &id), kept);
    second.end().await;
}

async fn sub_agents_of_before_the_store_are_added_to_it(cli: Cli) {
    let store = tempfile::tempdir().expect("a directory");
    let agents = json!({ "agents": helper() });
    let mut without = Machine::launched(cli, agents, |launch| launch).await;
    let id = ask_helper(&mut without).await;
    without.env.session_holds("One.").await;
    let (env, _) = without.lose();
    let kept = sub_agents(&env, &id);
    let with_store =
        |launch: crate::support::relay::Launch| launch.argument("--store").argument(store.path());
    let mut with = Machine::on(env, cli, json!({ "resume": id }), with_store).await;
    with.turn("Two?", "Two.").await;
    with.lose();

    let mut elsewhere = Machine::resuming(cli, store.path(), &id).await;
    elsewhere.turn("Three?", "Three.").await;
    assert_eq!(sub_agents(&elsewhere.env, &id), kept);
    elsewhere.end().await;
}
