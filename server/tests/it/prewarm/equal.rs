//! A warm start and a cold one give the same conversation: real CLI, a Messages
//! API that keeps every request.

use std::sync::Arc;

use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::options::{self, OptionSet};
use super::{configure, spare_of};
use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::Client;

/// How many pairs of conversations run at once.
const AT_ONCE: usize = 3;

/// What a conversation is, without what is drawn for each: `init`, the answer,
/// the kinds of its messages, and what arrived at the API.
#[derive(Debug, PartialEq)]
struct Conversation {
    init: Value,
    answer: Value,
    kinds: Vec<Value>,
    requests: Vec<(Value, Vec<(String, String)>)>,
}

/// Removes what is drawn anew or measured.
fn without_drawn(value: &mut Value, session: &str) {
    match value {
        Value::Object(map) => {
            for name in ["uuid", "session_id", "user_id", "messaging_socket_path"] {
                map.remove(name);
            }
            map.values_mut().for_each(|value| without_drawn(value, session));
        }
        Value::Array(all) => all.iter_mut().for_each(|value| without_drawn(value, session)),
        Value::String(text) => *text = text.replace(session, "SESSION"),
        _ => {}
    }
}

/// Where the agent has its credential from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Key {
    /// From the server's environment.
    Early,
    /// From the configuration.
    Late,
}

async fn conversation(prewarm: &str, set: &OptionSet, key: Key) -> (Conversation, Value) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let mut launch = Launch::new(&env).mode(set.mode).argument("--claude-path");
    launch = launch.argument(Cli::Newest.path()).variable("IS_SANDBOX", "1");
    if key == Key::Early {
        let variables = env.environment_with(&api);
        launch =
            variables.iter().fold(launch, |launch, (name, value)| launch.variable(name, value));
    }
    let relay = launch.argument(prewarm).start();
    if prewarm == "--prewarm" {
        let is_partial = set.options["includePartialMessages"] == true;
        spare_of(&relay, if is_partial { "partial" } else { "whole" }).await;
    }
    let mut config = set.options.clone();
    if key == Key::Late {
        config["anthropicApiKey"] = "sk-ant-late".into();
        config["anthropicBaseUrl"] = api.url().into();
    }
    api.script([Reply::text("Yes."), Reply::text("Yes."), Reply::text("Yes.")]);
    configure(&relay, &config).await;
    // The agent that the configuration has started may have said something.
    let mut client = Client::open(relay.address(), "/ws?after=0").await;
    client.say("Hi").await;
    let turn = client.turn().await;
    let now = http::get(relay.address(), "/health").await.json();
    let said = turn.said();
    let init = said.iter().find(|line| line["subtype"] == "init");
    let mut init = (*init.unwrap_or_else(|| panic!("{}: no init", set.name))).clone();
    let session = init["session_id"].as_str().expect("a text").to_owned();
    // Each has a home and a workspace of its own.
    let place = env.home().parent().expect("a parent").display().to_string();
    let clean = |value: &mut Value| {
        without_drawn(value, &session);
        let text = value.to_string();
        let text = text.replace(&place, "PLACE").replace(&place.replace('/', "-"), "PLACE");
        *value = serde_json::from_str(&text).expect("JSON");
    };
    clean(&mut init);
    let kinds = said.iter().map(|line| json!([line["type"], line["subtype"]])).collect();
    let requests = api.turns().into_iter().map(|request| {
        let mut body = request.body.clone();
        clean(&mut body);
        let headers = ["x-api-key", "authorization", "anthropic-beta", "user-agent"];
        let headers = headers.map(|name| (name.to_owned(), request.header(name).to_owned()));
        (body, headers.to_vec())
    });
    let answer = json!(turn.result()["result"]);
    let found = Conversation { init, answer, kinds, requests: requests.collect() };
    client.close().await;
    relay.stop();
    (found, now["prewarm"].clone())
}

/// Returns the differences between a warm start and a cold one, or that it was
/// not warm.
async fn differences(set: OptionSet, key: Key) -> Option<String> {
    let (warm, prewarm) = conversation("--prewarm", &set, key).await;
    let name = format!("{} ({key:?})", set.name);
    if prewarm["used"] != 1 {
        return Some(format!("{name}: {prewarm}"));
    }
    let (cold, _) = conversation("--prewarm=off", &set, key).await;
    let (warm, cold) = (format!("{warm:#?}"), format!("{cold:#?}"));
    let lines = warm.lines().zip(cold.lines()).filter(|(warm, cold)| warm != cold);
    let first: Vec<_> = lines.take(3).collect();
    (warm != cold).then(|| format!("{name}: {first:#?}"))
}

#[tokio::test]
async fn a_warm_and_a_cold_start_give_the_same_conversation_for_every_recorded_option_set() {
    let warm = options::recorded().into_iter().filter(|set| set.reason().is_none());
    let warm: Vec<_> = warm.filter(|set| set.says_something() || set.name == "defaults").collect();
    assert!(warm.len() >= 20, "{}", warm.len());
    let mut cases: Vec<_> = warm.into_iter().map(|set| (set, Key::Early)).collect();
    let late = options::of_our_own().into_iter().map(|set| (set, Key::Late));
    cases.extend(late);
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for (set, key) in cases {
        let places = Arc::clone(&places);
        running.spawn(async move {
            let _place = places.acquire().await;
            differences(set, key).await
        });
    }
    let differ: Vec<_> = running.join_all().await.into_iter().flatten().collect();
    assert!(differ.is_empty(), "{differ:#?}");
}
