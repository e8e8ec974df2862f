//! Which configurations a spare serves, and why it does not serve the others.

use claude_relay_testing::test_env::TestEnv;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{configure, health, spare_of};
use crate::support::relay::Launch;

const CASES: &str = include_str!("../../sdk/cases.json");

/// The table of docs/prewarm.md.
const DOCUMENT: &str = include_str!("../../../../docs/prewarm.md");

/// A set of options.
#[derive(Debug, Clone)]
pub(super) struct OptionSet {
    pub(super) name: String,
    pub(super) mode: &'static str,
    pub(super) options: Value,
}

impl OptionSet {
    /// Whether an option has a value that is not empty.
    pub(super) fn says_something(&self) -> bool {
        self.options.as_object().is_some_and(|options| !options.values().all(is_nothing))
    }

    /// The reasons for a cold start that the document gives, if there are any.
    pub(super) fn reason(&self) -> Option<Vec<String>> {
        let options = self.options.as_object().expect("options");
        let reasons = options.iter().filter_map(|(name, value)| documented(self.mode, name, value));
        let reasons: Vec<_> = reasons.collect();
        (!reasons.is_empty()).then_some(reasons)
    }
}

/// Whether a value is as good as none.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The option sets that the official SDK was driven with.
pub(super) fn recorded() -> Vec<OptionSet> {
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("cases");
    let set = |case: &Value| OptionSet {
        name: case["case"].as_str().expect("a name").to_owned(),
        mode: if case["mode"] == "unrestricted" { "unrestricted" } else { "ask" },
        options: case["options"].clone(),
    };
    cases.iter().map(set).collect()
}

/// Sets in every mode, with all that is said late at once.
pub(super) fn of_our_own() -> Vec<OptionSet> {
    let set = |mode, options: Value| OptionSet { name: format!("{mode} {options}"), mode, options };
    let all = json!({
        "model": "claude-sonnet-4-5", "effort": "low", "maxThinkingTokens": 2000,
        "systemPrompt": "Rhyme.", "includePartialMessages": true,
    });
    let in_each = ["safe", "agentic", "ask", "unrestricted"].map(|mode| set(mode, all.clone()));
    let thinking = json!({ "thinking": { "type": "disabled" }, "model": "claude-haiku-4-5" });
    let alone = set("unrestricted", json!({}));
    in_each.into_iter().chain([set("unrestricted", thinking), alone]).collect()
}

/// The reason that the document gives for a field with this value.
fn documented(mode: &str, field: &str, value: &Value) -> Option<String> {
    let own_mode = if mode == "ask" { "default" } else { "bypassPermissions" };
    let makes_no_difference = match (field, value) {
        ("persistSession", value) => value == true,
        ("settingSources" | "tools", _) => false,
        ("thinking", value) => !value["display"].is_string() && value["type"] != "adaptive",
        ("permissionMode", value) => value == own_mode,
        ("cwd", value) => value == ".",
        // Alone it delivers nothing.
        ("pluginDelivery", _) => true,
        _ => is_nothing(value),
    };
    let name = format!("`{field}`");
    let mut rows = DOCUMENT.lines().filter(|line| line.starts_with("| `"));
    let row = rows.find(|line| line.split('|').nth(1).is_some_and(|cell| cell.contains(&name)));
    let row = row.unwrap_or_else(|| panic!("no row for {field}"));
    let cell = row.trim_matches('|').rsplit('|').next().expect("a cell").trim();
    (cell != "warm" && !makes_no_difference).then(|| cell.to_owned())
}

/// Posts a configuration to a server with a spare; what `/health` says then.
async fn outcome(set: OptionSet) -> (OptionSet, Value) {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).mode(set.mode).argument("--prewarm").start();
    let is_partial = set.options["includePartialMessages"] == true;
    spare_of(&relay, if is_partial { "partial" } else { "whole" }).await;
    configure(&relay, &set.options).await;
    let now = health(&relay, &set.name, |health| health["agent"]["pid"].is_i64()).await;
    relay.stop();
    (set, now["prewarm"].clone())
}

#[tokio::test]
async fn every_recorded_option_set_is_served_warm_or_its_reason_is_documented() {
    let mut differ = Vec::new();
    let mut sets = recorded();
    while !sets.is_empty() {
        let mut running = JoinSet::new();
        for set in sets.drain(..sets.len().min(8)) {
            running.spawn(outcome(set));
        }
        for (set, prewarm) in running.join_all().await {
            let is_as_documented = match set.reason() {
                None => prewarm["used"] == 1,
                Some(reasons) => {
                    let cold = prewarm["cold"].as_str().unwrap_or("warm");
                    let mut names = reasons.iter().flat_map(|reason| reason.split(", "));
                    names.any(|name| cold.contains(name.trim_matches('`')))
                }
            };
            if !is_as_documented {
                differ.push(format!("{}: {:?}, in truth {prewarm}", set.name, set.reason()));
            }
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
}
