//! Options of the SDK that become something else than a flag with their value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;

use claude_relay_protocol::config::QueryConfig;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Options whose arguments are not those of their row.
const PLACED: [&str; 9] = [
    "managedSettings",
    "persistSession",
    "plugins",
    "resumeDropsTurn",
    "resumeSessionAt",
    "sandbox",
    "sessionId",
    "settings",
    "thinking",
];

/// Whether an option has a place of its own on the command line.
pub(super) fn is_placed(name: &str) -> bool {
    PLACED.contains(&name) || name == "taskBudget"
}

/// The JSON text of an option.
pub(super) fn json<'c>(config: &'c QueryConfig, name: &str) -> Option<&'c str> {
    config.other.get(name).map(|value| value.get())
}

fn read<'c, T: Deserialize<'c>>(config: &'c QueryConfig, name: &str) -> Option<T> {
    serde_json::from_str(json(config, name)?).ok()
}

/// Whether a switch is there and off.
pub(super) fn is_off(config: &QueryConfig, name: &str) -> bool {
    json(config, name) == Some("false")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thinking {
    r#type: String,
    budget_tokens: Option<Value>,
    display: Option<String>,
}

/// The flags of `thinking`.
pub(super) fn thinking(config: &QueryConfig) -> Option<Vec<(&'static str, String)>> {
    let thinking: Thinking = read(config, "thinking")?;
    let mut flags = vec![match (&*thinking.r#type, thinking.budget_tokens) {
        ("enabled", Some(tokens)) => ("--max-thinking-tokens", tokens.to_string()),
        ("disabled", _) => ("--thinking", "disabled".to_owned()),
        _ => ("--thinking", "adaptive".to_owned()),
    }];
    flags.extend(thinking.display.map(|display| ("--thinking-display", display)));
    Some(flags)
}

/// The tokens of `taskBudget`.
pub(super) fn task_budget(config: &QueryConfig) -> Option<String> {
    Some(read::<Value>(config, "taskBudget")?.get("total")?.to_string())
}

/// A plugin.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plugin {
    pub(super) path: String,
    #[serde(default)]
    skip_mcp_discovery: bool,
}

impl Plugin {
    /// The flag that loads it.
    pub(super) fn flag(&self) -> &'static str {
        if self.skip_mcp_discovery { "--plugin-dir-no-mcp" } else { "--plugin-dir" }
    }
}

pub(super) fn plugins(config: &QueryConfig) -> Vec<Plugin> {
    read(config, "plugins").unwrap_or_default()
}

/// Whether the plugins are in the first request.
pub(super) fn plugins_in_first_request(config: &QueryConfig) -> bool {
    json(config, "pluginDelivery") == Some("\"initialize\"")
}

/// The rules that allow `skills`.
pub(super) fn skill_rules(config: &QueryConfig) -> Vec<String> {
    match json(config, "skills") {
        None => Vec::new(),
        Some(all) if all.starts_with('"') => vec!["Skill".to_owned()],
        Some(_) => {
            let names: Vec<String> = read(config, "skills").unwrap_or_default();
            names.into_iter().map(|name| format!("Skill({name})")).collect()
        }
    }
}

/// The flags of `extraArgs`, without their dashes.
pub(super) fn extra_args(config: &QueryConfig) -> Vec<(String, Option<String>)> {
    let entries = json(config, "extraArgs").map(claude_relay_protocol::json::entries);
    let entries = entries.and_then(Result::ok).unwrap_or_default();
    let value = |raw| claude_relay_protocol::json::string(raw).map(Cow::into_owned);
    entries.into_iter().map(|(name, raw)| (name.into_owned(), value(raw))).collect()
}

/// The value of `--settings`: `settings` with `sandbox` laid over its own.
pub(super) fn settings(config: &QueryConfig) -> Option<String> {
    let settings = json(config, "settings");
    let Some(sandbox) = read::<Map<String, Value>>(config, "sandbox") else {
        return Some(match settings? {
            file if file.starts_with('"') => read(config, "settings")?,
            object => object.to_owned(),
        });
    };
    let mut settings: Map<String, Value> = match settings {
        Some(_) => read(config, "settings")?,
        None => Map::new(),
    };
    let own = settings.get("sandbox").and_then(Value::as_object).cloned().unwrap_or_default();
    settings.insert("sandbox".to_owned(), merged_sandbox(own, &sandbox).into());
    Some(Value::from(settings).to_string())
}

/// Lists of the sandbox that only restrict: both sides count.
const RESTRICTIONS: [[&str; 2]; 5] = [
    ["filesystem", "denyRead"],
    ["filesystem", "denyWrite"],
    ["network", "deniedDomains"],
    ["credentials", "files"],
    ["credentials", "envVars"],
];

/// Lays one sandbox over another, as the SDK does.
fn merged_sandbox(own: Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = own.clone();
    overlay(&mut merged, over);
    for [group, list] in RESTRICTIONS {
        let at = |side: &Map<String, Value>| side.get(group)?.get(list)?.as_array().cloned();
        if let (Some(mut all), Some(more)) = (at(&own), at(over)) {
            all.extend(more.into_iter().filter(|entry| !all.contains(entry)).collect::<Vec<_>>());
            merged[group][list] = all.into();
        }
    }
    // What would switch off the restrictions that are laid over.
    let denies_files = over.get("credentials").and_then(|value| value.get("files")?.as_array());
    let denies_files =
        denies_files.is_some_and(|files| files.iter().any(|file| file["mode"] == "deny"));
    let over_filesystem = over.get("filesystem");
    if (over_filesystem.is_some() || denies_files)
        && over_filesystem.is_none_or(|value| value.get("disabled").is_none())
        && merged.get("filesystem").is_some_and(|value| value["disabled"] == true)
    {
        remove(&mut merged, "filesystem", "disabled");
    }
    let network = over.get("network");
    let is_filled = |name: &str| {
        let list = network.and_then(|network| network.get(name)?.as_array());
        list.is_some_and(|list| !list.is_empty())
    };
    let limits_network = network.is_some_and(|network| {
        network.get("allowedDomains").is_some() || network["strictAllowlist"] == true
    }) || is_filled("deniedDomains");
    for port in ["httpProxyPort", "socksProxyPort"] {
        if limits_network && network.is_some_and(|network| network.get(port).is_none()) {
            remove(&mut merged, "network", port);
        }
    }
    if over.get("enabled") == Some(&json!(true)) && !merged.contains_key("failIfUnavailable") {
        merged.insert("failIfUnavailable".to_owned(), true.into());
    }
    merged
}

fn remove(map: &mut Map<String, Value>, group: &str, name: &str) {
    if let Some(Value::Object(group)) = map.get_mut(group) {
        group.remove(name);
    }
}

/// Objects that are replaced whole.
const WHOLE: [&str; 2] = ["ripgrep", "tlsTerminate"];

fn overlay(under: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (name, value) in over {
        match (under.get_mut(name), value) {
            (Some(Value::Object(under)), Value::Object(over)) if !WHOLE.contains(&&**name) => {
                overlay(under, over);
            }
            _ => {
                under.insert(name.clone(), value.clone());
            }
        }
    }
}

/// The variables of options.
pub(super) fn variables(config: &QueryConfig) -> Vec<(OsString, OsString)> {
    let mut variables: BTreeMap<&str, String> = BTreeMap::new();
    if json(config, "enableFileCheckpointing") == Some("true") {
        variables.insert("CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING", "true".to_owned());
    }
    let format = read::<Value>(config, "toolConfig");
    let format =
        format.as_ref().and_then(|value| value["askUserQuestion"]["previewFormat"].as_str());
    if let Some(format) = format {
        variables.insert("CLAUDE_CODE_QUESTION_PREVIEW_FORMAT", format.to_owned());
    }
    let set = variables
        .into_iter()
        .filter(|(name, _)| !config.env.iter().flatten().any(|(configured, _)| configured == name));
    set.map(|(name, value)| (name.into(), value.into())).collect()
}
