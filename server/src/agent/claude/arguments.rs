//! The command line, flag by flag in the order of the SDK.
//!
//! All values but one are part of their flag's argument, `--flag=value`, so
//! that they cannot be taken for a flag. The exception is the path of the MCP
//! file, which is absolute.

use std::ffi::OsString;
use std::path::Path;

use claude_relay_protocol::config::fields::{Field, Target};
use claude_relay_protocol::config::{PassedOn, QueryConfig, SettingSource, Tools};

use super::launch::LaunchSettings;
use super::{options, restrictions};
use crate::agent::mode::{AGENTIC_TOOLS, GUARDED_FILES, Mode};

const BASE: [&str; 5] =
    ["--output-format", "stream-json", "--verbose", "--input-format", "stream-json"];

/// What `agentic` denies on top of there being no tool for it: a shell and the
/// network.
const AGENTIC_DENIED: [&str; 3] = ["Bash", "WebFetch", "WebSearch"];

/// Returns all arguments of the agent.
pub(super) fn arguments(
    config: &QueryConfig,
    settings: &LaunchSettings,
    resume: Option<&str>,
    mcp_file: Option<&Path>,
) -> Vec<OsString> {
    let mode = settings.mode;
    let mut args = Args(BASE.into_iter().map(OsString::from).collect());
    // One arm for each field that is passed on, at the place of the SDK; what
    // has none follows at the end.
    let mut rest: Vec<(&Field, PassedOn)> = config.passed_on().collect();
    let mut take = |name: &str| {
        let at = rest.iter().position(|(field, _)| field.name == name)?;
        Some(rest.remove(at))
    };

    match options::thinking(config) {
        Some(thinking) => thinking.into_iter().for_each(|(flag, value)| args.value(flag, &value)),
        None => match config.max_thinking_tokens {
            None => {}
            Some(0) => args.value("--thinking", "disabled"),
            Some(tokens) => args.value("--max-thinking-tokens", &tokens.to_string()),
        },
    }
    args.text("--effort", config.effort.as_deref());
    if let Some(turns) = config.max_turns {
        args.value("--max-turns", &turns.to_string());
    }
    if let Some(dollars) = config.max_budget_usd {
        args.value("--max-budget-usd", &dollars.to_string());
    }
    args.text("--task-budget", options::task_budget(config).as_deref());
    args.text("--model", config.model.as_deref());
    args.taken(take("agent"));
    args.taken(take("betas"));
    args.text("--json-schema", config.output_schema.as_ref().map(|schema| schema.get()));
    args.taken(take("debugFile"));
    let prompt_tool = take("permissionPromptToolName");
    if prompt_tool.is_none()
        && matches!(mode, Mode::Ask | Mode::Unrestricted)
        && settings.prompt_tool
    {
        args.value("--permission-prompt-tool", "stdio");
    }
    args.taken(prompt_tool);
    args.taken(take("permissionPrompts"));
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
    args.list("--disallowedTools", &disallowed_tools(config, settings));
    tools(config, mode, &mut args);
    if let Some(path) = mcp_file {
        args.flag("--mcp-config");
        args.0.push(path.into());
    }
    let sources = restrictions::setting_sources(config, settings);
    let sources: Vec<_> = sources.into_iter().map(SettingSource::as_str).collect();
    args.value("--setting-sources", &sources.join(","));
    args.taken(take("strictMcpConfig"));
    if !restrictions::mode_is_implied(config, mode) {
        args.value("--permission-mode", restrictions::permission_mode(config, mode).as_str());
    }
    if mode == Mode::Unrestricted {
        args.flag("--allow-dangerously-skip-permissions");
    }
    args.text("--fallback-model", config.fallback_model.as_deref());
    args.taken(take("includeHookEvents"));
    if config.include_partial_messages == Some(true) {
        args.flag("--include-partial-messages");
    }
    if settings.session_mirror && !options::is_off(config, "persistSession") {
        args.flag("--session-mirror");
    }
    args.taken(take("projectConfigRoot"));
    for directory in config.additional_directories.iter().flatten() {
        args.value("--add-dir", directory);
    }
    args.plugins(config);
    // They say how a conversation begins: one that goes on has begun.
    let [at, drops, id] = ["resumeSessionAt", "resumeDropsTurn", "sessionId"].map(&mut take);
    if resume.is_none() {
        if config.fork_session == Some(true) {
            args.flag("--fork-session");
        }
        args.taken(at);
        args.taken(drops);
        match settings.session_id.as_deref() {
            Some(id) => args.value("--session-id", id),
            None => args.taken(id),
        }
    }
    if options::is_off(config, "persistSession") {
        args.flag("--no-session-persistence");
    }
    if let Some(managed) = options::json(config, "managedSettings") {
        args.pair("--managed-settings", managed);
    }
    for (flag, value) in options::extra_args(config) {
        match value {
            Some(value) => args.pair(&format!("--{flag}"), &value),
            None => args.flag(&format!("--{flag}")),
        }
    }
    // Below, they are part of what the relay itself sets.
    if mode == Mode::Unrestricted
        && let Some(settings) = options::settings(config)
    {
        args.pair("--settings", &settings);
    }
    for (field, value) in rest {
        if let (Target::Flag(flag), false) = (field.target, options::is_placed(field.name)) {
            args.passed_on(flag, value);
        }
    }
    args.0
}

fn allowed_tools(config: &QueryConfig, mode: Mode) -> Vec<String> {
    if mode != Mode::Agentic {
        let mut tools = config.allowed_tools.clone().unwrap_or_default();
        let skills = options::skill_rules(config);
        let new: Vec<_> = skills.into_iter().filter(|rule| !tools.contains(rule)).collect();
        tools.extend(new);
        return tools;
    }
    // A name alone would allow the whole disk. The pattern is relative to the
    // working directory, which is in the workspace.
    let inside = |tool: &str| format!("{tool}(**)");
    // There are no skills in this mode.
    match &config.allowed_tools {
        Some(chosen) => chosen.iter().map(|tool| inside(tool)).collect(),
        None => AGENTIC_TOOLS.into_iter().map(inside).collect(),
    }
}

fn disallowed_tools(config: &QueryConfig, settings: &LaunchSettings) -> Vec<String> {
    // The mode's own come first: the list is joined by commas, and what a
    // configuration puts after them cannot take them apart.
    let mut rules = Vec::new();
    if settings.mode == Mode::Agentic {
        rules.extend(AGENTIC_DENIED.map(str::to_owned));
        rules.extend(GUARDED_FILES.map(|pattern| format!("Edit(**/{pattern})")));
        rules.extend(restrictions::state_rules(&settings.environment));
    }
    rules.extend(config.disallowed_tools.iter().flatten().cloned());
    rules
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

    /// Adds a flag and its value as two arguments, as the SDK does with long
    /// ones. A value that begins like a flag becomes part of the first.
    fn pair(&mut self, name: &str, value: &str) {
        if value.starts_with('-') {
            return self.value(name, value);
        }
        self.flag(name);
        self.0.push(value.into());
    }

    /// Adds a field that the relay passes on, if it is there.
    fn taken(&mut self, taken: Option<(&Field, PassedOn)>) {
        if let Some((field, value)) = taken
            && let Target::Flag(flag) = field.target
        {
            self.passed_on(flag, value);
        }
    }

    fn plugins(&mut self, config: &QueryConfig) {
        let plugins = options::plugins(config);
        if plugins.is_empty() {
            return;
        }
        if options::plugins_in_first_request(config) {
            return self.flag("--await-initialize");
        }
        for plugin in plugins {
            self.value(plugin.flag(), &plugin.path);
        }
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
