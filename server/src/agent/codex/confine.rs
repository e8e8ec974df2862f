//! Restrictions of the narrow modes, as overrides of Codex's configuration.
//!
//! Codex has no allow-list of tools, but a switch for each feature. Its own
//! terminal program turns them off one by one where it needs a plain answer,
//! and this module does the same. Tools that the switches do not cover (some
//! models bring their own) are stopped by the missing environment: without one,
//! no command can be run and no file changed.

use claude_relay_protocol::json::{entries, fields};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::agent::mode::Mode;

/// Features that load programs and tools of third parties, or use the network.
const EXTENSION_FEATURES: [&str; 11] = [
    "apps",
    "hooks",
    "image_generation",
    "memories",
    "multi_agent",
    "multi_agent_v2",
    "plugins",
    "request_permissions_tool",
    "skill_mcp_dependency_install",
    "standalone_web_search",
    "tool_suggest",
];

/// Features that are tools, or run a program.
const TOOL_FEATURES: [&str; 12] = [
    "code_mode",
    "code_mode_only",
    "context_management",
    "current_time_reminder",
    "deferred_executor",
    "goals",
    "shell_snapshot",
    "shell_tool",
    "sleep_tool",
    "token_budget",
    "unified_exec",
    "view_image",
];

/// Returns the overrides of Codex's configuration in `mode`.
pub(super) fn overrides(mode: Mode) -> Map<String, Value> {
    let mut overrides = Map::new();
    let mut off = |features: &[&str]| {
        overrides.extend(features.iter().map(|name| (format!("features.{name}"), json!(false))));
    };
    if mode.asks_nobody() {
        off(&EXTENSION_FEATURES);
    }
    if mode == Mode::Safe {
        off(&TOOL_FEATURES);
    }
    let mut set = |name: &str, value: Value| overrides.insert(name.into(), value);
    if mode.asks_nobody() {
        set("web_search", json!("disabled"));
        // The feature switch does not apply to models that bring their own
        // sub-agents.
        set("agents.enabled", json!(false));
        set("skills.include_instructions", json!(false));
    }
    match mode {
        Mode::Safe => {
            set("orchestrator.skills.enabled", json!(false));
            set("tools.experimental_request_user_input.enabled", json!(false));
            set("tools.update_plan.enabled", json!(false));
        }
        Mode::Agentic => {
            // Overrides the user's sandbox settings.
            set("sandbox_workspace_write.network_access", json!(false));
            set("sandbox_workspace_write.writable_roots", json!([]));
        }
        Mode::Ask | Mode::Unrestricted => {}
    }
    overrides
}

/// The skills of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skills {
    /// All that Codex finds.
    All,
    /// Those of the workspace do not load.
    Own,
    /// None: a message could call one by its name.
    None,
}

impl Skills {
    /// Returns the skills in `mode`.
    pub(super) fn of(mode: Mode, is_trusted: bool) -> Self {
        match mode {
            mode if mode.asks_nobody() => Self::None,
            _ if is_trusted => Self::All,
            _ => Self::Own,
        }
    }
}

/// Disables the skills that do not load, each by its path. `read` is the result
/// of `skills/list`. Returns `None` if it is not a list.
pub(super) fn without_skills(read: &RawValue, skills: Skills) -> Option<Value> {
    let read: Value = serde_json::from_str(read.get()).ok()?;
    let mut off = Vec::new();
    for directory in read["data"].as_array()? {
        for skill in directory["skills"].as_array()? {
            let is_own = matches!(skill["scope"].as_str(), Some("user" | "system" | "admin"));
            if skills == Skills::None || !is_own {
                off.push(json!({ "path": skill["path"].as_str()?, "enabled": false }));
            }
        }
    }
    Some(off.into())
}

/// Returns true if the model has an environment for commands and file changes.
pub(super) fn has_environment(mode: Mode) -> bool {
    mode != Mode::Safe
}

/// Disables every MCP server of Codex's configuration. `read` is the result of
/// `config/read`. Returns `None` if it is not a configuration.
pub(super) fn without_servers(read: &RawValue) -> Option<Map<String, Value>> {
    let [config] = fields(read.get(), ["config"]).ok()?;
    let [servers] = fields(config?.get(), ["mcp_servers"]).ok()?;
    let Some(servers) = servers.filter(|servers| servers.get() != "null") else {
        return Some(Map::new());
    };
    let names = entries(servers.get()).ok()?.into_iter().map(|(name, _)| name);
    Some(names.map(|name| (name.into_owned(), json!({ "enabled": false }))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_mode_disables_less() {
        assert!(overrides(Mode::Ask).is_empty() && overrides(Mode::Unrestricted).is_empty());
        let (safe, agentic) = (overrides(Mode::Safe), overrides(Mode::Agentic));
        assert_eq!(
            (&safe["features.shell_tool"], &safe["web_search"]),
            (&json!(false), &json!("disabled"))
        );
        assert!(!agentic.contains_key("features.shell_tool"));
        for feature in EXTENSION_FEATURES {
            let feature = format!("features.{feature}");
            assert_eq!((&safe[&feature], &agentic[&feature]), (&json!(false), &json!(false)));
        }
    }

    #[test]
    fn skills_are_turned_off_by_path() {
        let list = r#"{"data":[{"cwd":"/w","errors":[],"skills":[
            {"name":"a","path":"/w/.codex/skills/a/SKILL.md","scope":"repo"},
            {"name":"b","path":"/h/.codex/skills/b/SKILL.md","scope":"user"},
            {"name":"c","path":"/x/SKILL.md","scope":"not known here"}]}]}"#;
        let off = |list: &str, skills| {
            let list = RawValue::from_string(list.to_owned()).unwrap();
            without_skills(&list, skills).map(|off| {
                let off = off.as_array().cloned().unwrap();
                assert!(off.iter().all(|skill| skill["enabled"] == false));
                off.iter().map(|skill| skill["path"].as_str().unwrap().len()).collect::<Vec<_>>()
            })
        };
        assert_eq!(off(list, Skills::None).unwrap().len(), 3);
        assert_eq!(off(list, Skills::Own), Some(vec![27, 11]));
        for no_answer in ["{}", r#"{"data":[{}]}"#, r#"{"data":[{"skills":[{"scope":"repo"}]}]}"#] {
            assert_eq!(off(no_answer, Skills::Own), None, "{no_answer}");
        }
        assert_eq!(Skills::of(Mode::Safe, true), Skills::None);
        assert_eq!(Skills::of(Mode::Ask, false), Skills::Own);
        assert_eq!(Skills::of(Mode::Ask, true), Skills::All);
    }

    #[test]
    fn servers_are_turned_off_by_name() {
        let off = |text: &str| {
            let read = RawValue::from_string(text.to_owned()).unwrap();
            without_servers(&read).map(|servers| Value::from(servers).to_string())
        };
        assert_eq!(
            off(r#"{"config":{"model":"m","mcp_servers":{"a.b":{"command":"x"},"c":{}}}}"#)
                .as_deref(),
            Some(r#"{"a.b":{"enabled":false},"c":{"enabled":false}}"#)
        );
        assert_eq!(off(r#"{"config":{}}"#).as_deref(), Some("{}"));
        assert_eq!(off(r#"{"config":{"mcp_servers":null}}"#).as_deref(), Some("{}"));
        for no_answer in ["{}", "[]", r#"{"config":[]}"#, r#"{"config":{"mcp_servers":[]}}"#] {
            assert_eq!(off(no_answer), None, "{no_answer}");
        }
    }
}
