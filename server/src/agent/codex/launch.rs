//! Launch of Codex: from the configuration to the command of the app-server,
//! its environment and the parameters of a thread.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use claude_relay_protocol::config::{QueryConfig, SystemPrompt};
use claude_relay_protocol::credentials::{self, OPENAI_BASE_URL};
use claude_relay_protocol::json::{entries, fields, string};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::confine::{self, Skills};
use super::fence::{self, PROFILE};
use super::instructions;
use super::location::Location;
use super::policy::{Policy, policy};
use crate::agent::env;
use crate::agent::mode::Mode;
use crate::settings::Settings;

/// Patterns of variables that look like secrets, in Codex's syntax. The
/// app-server needs some of them to reach the model, but commands of the model
/// must not inherit them.
const SECRET_PATTERNS: [&str; 6] =
    ["*KEY*", "*TOKEN*", "*SECRET*", "*PASSWORD*", "*PASSWD*", "*CREDENTIAL*"];

/// Prefixes of variables that are only for Claude Code.
const FOREIGN_PREFIXES: [&str; 3] = ["ANTHROPIC_", "CLAUDE_CODE_", "CLAUDE_AGENT_"];

/// Name of the model provider that is the key proxy.
const PROXY_PROVIDER: &str = "relay-key-proxy";

/// The field that keeps a conversation off the disk.
const PERSIST_SESSION: &str = "persistSession";

/// Parameters of a run of the dialect.
#[derive(Debug)]
pub struct Setup {
    /// Number of the run, unique within the server process.
    pub run: u64,
    /// The thread to resume.
    pub resume: Option<String>,
    /// Parameters of a thread, without its policy.
    pub thread: Map<String, Value>,
    /// Parameters of every `turn/start`, in addition to those of its message.
    pub turn: Map<String, Value>,
    /// Ceiling of the permission modes.
    pub mode: Mode,
    /// Approval and sandbox policy.
    pub policy: Policy,
    /// Permission profile in place of the sandbox mode `workspace-write`.
    pub profile: Option<Value>,
    /// The skills that load.
    pub skills: Skills,
    /// True if every approval request is denied without asking the client.
    pub denies_all: bool,
    /// Maximum time for retries of the model's API.
    pub retry_limit: Duration,
    /// True if the app-server was not started by the relay and outlives it.
    pub is_remote: bool,
    /// True if a thread that begins is kept off the disk.
    pub is_ephemeral: bool,
}

impl Setup {
    /// Returns the permission profile that is in effect.
    fn profile(&self) -> Option<&Value> {
        self.profile.as_ref().filter(|_| self.policy.is_workspace_write())
    }

    /// Returns the parameters of `thread/start`, which are also those of
    /// `thread/resume` with an id.
    pub(super) fn opening(&self) -> Map<String, Value> {
        let mut params = self.thread.clone();
        params.insert("approvalPolicy".into(), json!(self.policy.approval));
        // Also on resume, because a thread does not store its sandbox.
        match self.profile() {
            Some(_) => params.insert("permissions".into(), json!(PROFILE)),
            None => params.insert("sandbox".into(), json!(self.policy.sandbox)),
        };
        if let Some(profile) = &self.profile {
            // Also when it is not in effect, for a turn that changes to it.
            let overrides = params.entry("config").or_insert_with(|| json!({}));
            overrides["permissions"] = profile.clone();
        }
        params
    }

    /// Returns the policy as parameters of a turn. It applies from that turn
    /// on.
    pub(super) fn policy_params(&self) -> [(String, Value); 2] {
        let files = match self.profile() {
            Some(_) => ("permissions".into(), json!(PROFILE)),
            None => ("sandboxPolicy".into(), json!({ "type": self.policy.sandbox_type() })),
        };
        [("approvalPolicy".into(), json!(self.policy.approval)), files]
    }

    /// Returns true if a thread has the policy that was requested.
    pub(super) fn has_policy(
        &self,
        approval: Option<&RawValue>,
        sandbox: Option<&RawValue>,
    ) -> bool {
        let kind = sandbox.and_then(|sandbox| fields(sandbox.get(), ["type"]).ok()?[0]);
        let kind = kind.and_then(string);
        let requested = match self.profile() {
            Some(profile) => fence::reported_type(profile),
            None => self.policy.sandbox_type(),
        };
        approval.and_then(string).as_deref() == Some(self.policy.approval)
            && kind.as_deref() == Some(requested)
    }
}

/// Builds the parameters of a run for `config` in `location`.
pub(in crate::agent) fn setup(
    config: &QueryConfig,
    settings: &Settings,
    location: &Location,
    resume: Option<&str>,
    run: u64,
) -> Setup {
    let is_trusted = settings.workspace_is_trusted();
    Setup {
        run,
        resume: resume.map(str::to_owned).or_else(|| config.resume.clone()),
        thread: thread(config, settings.mode, is_trusted, location),
        turn: turn(config, settings.mode),
        mode: settings.mode,
        policy: policy(settings.mode, config.permission_mode),
        profile: fence::profile(settings.mode, &location.fence),
        skills: Skills::of(settings.mode, is_trusted),
        denies_all: settings.mode.asks_nobody(),
        retry_limit: settings.codex_retry_limit,
        is_remote: settings.codex_url.is_some(),
        is_ephemeral: config.other.get(PERSIST_SESSION).is_some_and(|keep| keep.get() == "false"),
    }
}

fn thread(
    config: &QueryConfig,
    mode: Mode,
    is_trusted: bool,
    location: &Location,
) -> Map<String, Value> {
    let mut thread = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        thread.extend(value.map(|value| (name.to_owned(), value)));
    };
    set("cwd", Some(json!(location.cwd.to_string_lossy())));
    set("model", config.model.as_ref().map(|model| json!(model)));
    let mut developer = Vec::new();
    let prompt = match &config.system_prompt {
        Some(SystemPrompt::Custom { prompt, .. }) => Some(&**prompt),
        prompt => prompt.as_ref(),
    };
    match prompt {
        None | Some(SystemPrompt::Custom { .. }) => {}
        Some(SystemPrompt::Text(text)) => set("baseInstructions", Some(json!(text))),
        Some(SystemPrompt::Blocks(blocks)) => {
            set("baseInstructions", Some(json!(blocks.join("\n\n"))));
        }
        Some(SystemPrompt::Preset { append, .. }) => developer.extend(append.clone()),
    }
    if !is_trusted && mode != Mode::Safe {
        developer.extend(instructions::read(&location.workspace, &location.cwd));
    }
    let developer = (!developer.is_empty()).then(|| developer.join("\n\n"));
    set("developerInstructions", developer.map(Value::from));
    if !confine::has_environment(mode) {
        set("environments", Some(json!([])));
    }
    let mut overrides = confine::overrides(mode);
    let projects = fence::projects(is_trusted, &location.workspace, &location.cwd);
    overrides.insert("projects".into(), projects);
    if let Some(effort) = &config.effort {
        overrides.insert("model_reasoning_effort".into(), json!(effort));
    }
    let servers = mcp_servers(config);
    if !servers.is_empty() {
        overrides.insert("mcp_servers".into(), servers.into());
    }
    set("config", Some(overrides.into()));
    thread
}

fn turn(config: &QueryConfig, mode: Mode) -> Map<String, Value> {
    let mut turn = Map::new();
    let schema = config.output_schema.as_ref();
    if let Some(schema) = schema.and_then(|schema| serde_json::from_str(schema.get()).ok()) {
        turn.insert("outputSchema".into(), schema);
    }
    if !confine::has_environment(mode) {
        // Also here, because a resumed thread does not store it.
        turn.insert("environments".into(), json!([]));
    }
    turn
}

/// Translates MCP servers to Codex's format. They are sent on stdin, which
/// keeps their headers off the command line.
fn mcp_servers(config: &QueryConfig) -> Map<String, Value> {
    let servers = config.mcp_servers.as_ref().and_then(|servers| entries(servers.expose()).ok());
    let mut known = Map::new();
    for (name, server) in servers.unwrap_or_default() {
        let read = fields(server.get(), ["type", "command", "args", "env", "url", "headers"]);
        let Ok([kind, command, args, env, url, headers]) = read else { continue };
        let kind = kind.and_then(string);
        let given: &[_] = match kind.as_deref() {
            None | Some("stdio") => &[("command", command), ("args", args), ("env", env)],
            Some("http") => &[("url", url), ("http_headers", headers)],
            // Reported by `ignored`.
            Some(_) => continue,
        };
        let entry = given.iter().filter_map(|(name, value)| {
            Some(((*name).to_owned(), serde_json::from_str(value.as_ref()?.get()).ok()?))
        });
        known.insert(name.into_owned(), Value::Object(entry.collect()));
    }
    known
}

/// Returns the configured fields without an equivalent in Codex, each with the
/// reason.
#[must_use]
pub fn ignored(config: &QueryConfig) -> Vec<String> {
    const MODE: &str = "Codex has no list of tools; permissionMode decides what it may do";
    const KEY: &str = "a credential for Claude; Codex logs in with its own";
    const NOTHING: &str = "Codex has no equivalent of this option";
    // Destructured completely, so that a new field cannot be missed.
    let QueryConfig {
        agents,
        allowed_tools,
        system_prompt: _,
        model: _,
        mcp_servers,
        disallowed_tools,
        tools,
        permission_mode: _,
        max_turns,
        max_thinking_tokens,
        max_budget_usd,
        fallback_model,
        effort: _,
        include_partial_messages,
        setting_sources,
        additional_directories,
        output_schema: _,
        resume: _,
        continue_latest,
        fork_session,
        cwd: _,
        env: _,
        anthropic_api_key,
        claude_code_oauth_token,
        anthropic_auth_token,
        anthropic_base_url,
        provider: _,
        other,
    } = config;
    let has_sse = mcp_servers
        .as_ref()
        .and_then(|servers| entries(servers.expose()).ok())
        .into_iter()
        .flatten()
        .filter_map(|(_, server)| fields(server.get(), ["type"]).ok()?[0].and_then(string))
        .any(|kind| !["stdio", "http"].contains(&&*kind));
    [
        ("agents", agents.is_some(), "Codex has no configurable sub-agents"),
        ("allowedTools", allowed_tools.is_some(), MODE),
        (
            "mcpServers",
            has_sse,
            "Codex takes servers of type stdio and http; the others are left out",
        ),
        ("disallowedTools", disallowed_tools.is_some(), MODE),
        ("tools", tools.is_some(), MODE),
        ("maxTurns", max_turns.is_some(), "Codex does not count the steps of a turn"),
        ("maxThinkingTokens", max_thinking_tokens.is_some(), "Codex takes effort instead"),
        ("maxBudgetUsd", max_budget_usd.is_some(), "Codex counts tokens, not money"),
        ("fallbackModel", fallback_model.is_some(), "Codex has one model at a time"),
        (
            "includePartialMessages",
            *include_partial_messages == Some(false),
            "Codex always streams text",
        ),
        ("settingSources", setting_sources.is_some(), "Codex reads its own configuration"),
        (
            "additionalDirectories",
            additional_directories.is_some(),
            "Codex's sandbox knows the working directory only",
        ),
        ("continue", *continue_latest == Some(true), "name the session with resume"),
        ("forkSession", *fork_session == Some(true), "a resumed session keeps its id"),
        ("anthropicApiKey", anthropic_api_key.is_some(), KEY),
        ("claudeCodeOauthToken", claude_code_oauth_token.is_some(), KEY),
        ("anthropicAuthToken", anthropic_auth_token.is_some(), KEY),
        ("anthropicBaseUrl", anthropic_base_url.is_some(), "an address for Claude"),
    ]
    .into_iter()
    .filter(|(_, given, _)| *given)
    .map(|(field, _, reason)| (field, reason))
    .chain(other.keys().filter(|field| **field != PERSIST_SESSION).map(|field| (*field, NOTHING)))
    .map(|(field, reason)| format!("{field}: {reason}"))
    .collect()
}

/// Returns the arguments of the app-server. Of the configuration they hold the
/// working directory alone, because other users can see the command line.
pub(in crate::agent) fn arguments(is_trusted: bool, location: &Location) -> Vec<OsString> {
    let secrets = json!(SECRET_PATTERNS);
    let exclude = format!("shell_environment_policy.exclude={secrets}");
    // For what the app-server reads before a thread is opened.
    let projects = fence::projects(is_trusted, &location.workspace, &location.cwd);
    let projects = fence::projects_in_toml(&projects);
    ["-c", &exclude, "-c", &projects, "app-server"].map(OsString::from).into()
}

/// Returns the arguments that lead all requests to the key proxy in `env`,
/// whatever provider Codex's own configuration names.
pub(in crate::agent) fn proxied(env: &[(OsString, OsString)]) -> Vec<OsString> {
    let value = |name: &str| env.iter().find(|(variable, _)| variable == name);
    let address = value(OPENAI_BASE_URL).map(|(_, address)| address.to_string_lossy());
    let keys = credentials::openai_logins().map(|row| row.variable);
    let provider = json!(PROXY_PROVIDER);
    let settings = [
        format!("model_provider={provider}"),
        format!("model_providers.{PROXY_PROVIDER}.name={provider}"),
        format!("model_providers.{PROXY_PROVIDER}.base_url={}", json!(address)),
        format!(
            "model_providers.{PROXY_PROVIDER}.env_key={}",
            json!(keys.into_iter().find(|name| value(name).is_some()))
        ),
        format!("model_providers.{PROXY_PROVIDER}.wire_api=\"responses\""),
    ];
    settings.into_iter().flat_map(|setting| ["-c".into(), setting.into()]).collect()
}

/// Returns the environment of the app-server, sorted by name.
pub(in crate::agent) fn variables(
    config: &QueryConfig,
    inherited: &[(OsString, OsString)],
) -> Vec<(OsString, OsString)> {
    let is_foreign = |name: &OsStr| {
        FOREIGN_PREFIXES.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
    };
    // An address of the configuration gets credentials of the configuration.
    let own_address = config.addresses().next().is_some();
    let mut env: std::collections::BTreeMap<OsString, OsString> = inherited
        .iter()
        .filter(|(name, _)| !env::is_removed(name) && !is_foreign(name))
        .filter(|(name, _)| !own_address || !env::is_credential(name))
        .cloned()
        .collect();
    // Its stderr is shown to clients as text.
    env.entry("NO_COLOR".into()).or_insert_with(|| "1".into());
    let configured = config.env.iter().flatten();
    env.extend(configured.map(|(name, value)| (name.into(), value.expose().into())));
    env.into_iter().collect()
}

#[cfg(test)]
mod tests;
