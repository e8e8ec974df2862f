//! The command line, flag by flag in the order of the SDK.
//!
//! All values but one are part of their flag's argument, `--flag=value`, so
//! that they cannot be taken for a flag. The exception is the path of the MCP
//! file, which is absolute.

use std::ffi::OsString;
use std::path::Path;

use claude_relay_protocol::config::fields::Target;
use claude_relay_protocol::config::{PassedOn, PermissionMode, QueryConfig, SettingSource, Tools};

use super::launch::LaunchSettings;
use crate::agent::mode::{AGENTIC_TOOLS, Mode};

const BASE: [&str; 5] =
    ["--output-format", "stream-json", "--verbose", "--input-format", "stream-json"];

/// Tools and files that `agentic` denies in addition to its allow-list: a
/// shell, the network, and files in the workspace that can name programs to
/// run. CLI 2.1.197 and 2.1.329 refuse to write these files themselves; the
/// relay does not rely on that.
const AGENTIC_DENIED: [&str; 6] = [
    "Bash",
    "WebFetch",
    "WebSearch",
    "Edit(**/.git/**)",
    "Edit(**/.claude/**)",
    "Edit(**/.mcp.json)",
];

/// Returns all arguments of the agent.
pub(super) fn arguments(
    config: &QueryConfig,
    settings: &LaunchSettings,
    resume: Option<&str>,
    mcp_file: Option<&Path>,
) -> Vec<OsString> {
    let mode = settings.mode;
    let mut args = Args(BASE.into_iter().map(OsString::from).collect());

    match config.max_thinking_tokens {
        None => {}
        Some(0) => args.value("--thinking", "disabled"),
        Some(tokens) => args.value("--max-thinking-tokens", &tokens.to_string()),
    }
    args.text("--effort", config.effort.as_deref());
    if let Some(turns) = config.max_turns {
        args.value("--max-turns", &turns.to_string());
    }
    if let Some(dollars) = config.max_budget_usd {
        args.value("--max-budget-usd", &dollars.to_string());
    }
    args.text("--model", config.model.as_deref());
    args.text("--json-schema", config.output_schema.as_ref().map(|schema| schema.get()));
    if mode == Mode::Ask && settings.prompt_tool {
        args.value("--permission-prompt-tool", "stdio");
    }
    match resume {
        Some(id) => args.value("--resume", id),
        None => {
            if config.continue_latest == Some(true) {
                args.flag("--continue");
            }
            args.text("--resume", config.resume.as_deref());
        }
    }
    args.list("--allowedTools", &allowed_tools(config, mode));
    args.list("--disallowedTools", &disallowed_tools(config, mode));
    tools(config, mode, &mut args);
    if let Some(path) = mcp_file {
        args.flag("--mcp-config");
        args.0.push(path.into());
    }
    let sources = config.setting_sources.as_deref().unwrap_or(mode.setting_sources());
    let sources: Vec<_> = sources.iter().copied().map(SettingSource::as_str).collect();
    args.value("--setting-sources", &sources.join(","));
    if matches!(mode, Mode::Safe | Mode::Agentic) {
        // Otherwise the user's and the project's MCP servers would be loaded.
        args.flag("--strict-mcp-config");
    }
    if let Some(permission) = permission_mode(config, mode) {
        args.value("--permission-mode", permission.as_str());
    }
    if mode == Mode::Unrestricted {
        args.flag("--allow-dangerously-skip-permissions");
    }
    args.text("--fallback-model", config.fallback_model.as_deref());
    if config.include_partial_messages == Some(true) {
        args.flag("--include-partial-messages");
    }
    for directory in config.additional_directories.iter().flatten() {
        args.value("--add-dir", directory);
    }
    if config.fork_session == Some(true) && resume.is_none() {
        args.flag("--fork-session");
    }
    for (field, value) in config.passed_on() {
        if let Target::Flag(flag) = field.target {
            args.passed_on(flag, value);
        }
    }
    args.0
}

fn permission_mode(config: &QueryConfig, mode: Mode) -> Option<PermissionMode> {
    config.permission_mode.or(match mode {
        Mode::Safe | Mode::Ask => None,
        // Denies what is not allowed, because nobody would answer a request.
        Mode::Agentic => Some(PermissionMode::DontAsk),
        Mode::Unrestricted => Some(PermissionMode::BypassPermissions),
    })
}

fn allowed_tools(config: &QueryConfig, mode: Mode) -> Vec<String> {
    if mode != Mode::Agentic {
        return config.allowed_tools.clone().unwrap_or_default();
    }
    // A name alone would allow the whole disk. The pattern is relative to the
    // working directory, which is in the workspace.
    let inside = |tool: &str| format!("{tool}(**)");
    match &config.allowed_tools {
        Some(chosen) => chosen.iter().map(|tool| inside(tool)).collect(),
        None => AGENTIC_TOOLS.into_iter().map(inside).collect(),
    }
}

fn disallowed_tools(config: &QueryConfig, mode: Mode) -> Vec<String> {
    // The mode's own entries come first: the list is joined by commas, and
    // entries of the configuration after them cannot split them.
    let own: &[&str] = if mode == Mode::Agentic { &AGENTIC_DENIED } else { &[] };
    let own = own.iter().map(|tool| (*tool).to_owned());
    own.chain(config.disallowed_tools.iter().flatten().cloned()).collect()
}

fn tools(config: &QueryConfig, mode: Mode, args: &mut Args) {
    match (&config.tools, mode) {
        (_, Mode::Safe) => args.value("--tools", ""),
        (Some(Tools::List(list)), _) => args.value("--tools", &list.join(",")),
        (None, Mode::Agentic) => args.value("--tools", &AGENTIC_TOOLS.join(",")),
        (Some(Tools::Preset), _) => args.value("--tools", "default"),
        (None, _) => {}
    }
}

struct Args(Vec<OsString>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.into());
    }

    fn value(&mut self, name: &str, value: &str) {
        self.0.push(format!("{name}={value}").into());
    }

    /// Adds a value that the relay passes on.
    fn passed_on(&mut self, flag: &str, value: PassedOn) {
        match value {
            PassedOn::Text(text) => self.text(flag, Some(&text)),
            PassedOn::Switch(true) => self.flag(flag),
            PassedOn::Switch(false) => {}
            PassedOn::List(list) => self.list(flag, &list),
            PassedOn::Items(items) => items.iter().for_each(|item| self.value(flag, item)),
        }
    }

    /// Adds a text; an empty one counts as absent, as in the SDK.
    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.value(name, value);
        }
    }

    /// Adds a list as one argument, or nothing if it is empty, as in the SDK.
    fn list(&mut self, name: &str, list: &[String]) {
        if !list.is_empty() {
            self.value(name, &list.join(","));
        }
    }
}
