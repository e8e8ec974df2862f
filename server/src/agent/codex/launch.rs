//! What to run and what to ask for: from the configuration to the app-server's
//! command, its environment and the parameters of a thread.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

use claude_relay_protocol::config::{QueryConfig, SystemPrompt};
use claude_relay_protocol::json::{entries, fields, string};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::confine;
use super::policy::{Policy, policy};
use crate::agent::env;
use crate::agent::mode::Mode;
use crate::agent::workspace::{self, WorkspaceError};
use crate::settings::Settings;

/// Variables whose names look like secrets, as patterns of Codex. The
/// app-server needs some of them to reach the model; the commands that the
/// model runs would inherit them.
const SECRETS: [&str; 6] =
    ["*KEY*", "*TOKEN*", "*SECRET*", "*PASSWORD*", "*PASSWD*", "*CREDENTIAL*"];

/// Variables that are only for the other agent.
const FOREIGN: [&str; 3] = ["ANTHROPIC_", "CLAUDE_CODE_", "CLAUDE_AGENT_"];

/// What a run of the dialect is to do.
#[derive(Debug)]
pub struct Setup {
    /// The number of the run: no other in the life of the server has it.
    pub run: u64,
    /// The thread to go on with.
    pub resume: Option<String>,
    /// The parameters of a thread, less its policy.
    pub thread: Map<String, Value>,
    /// The parameters of every `turn/start`, beside those of its message.
    pub turn: Map<String, Value>,
    /// What the agent may do at most.
    pub mode: Mode,
    /// What is asked about, and what the sandbox lets through.
    pub policy: Policy,
    /// Whether every question is denied without asking anybody.
    pub denies_all: bool,
    /// How long the model's API may be tried in vain.
    pub retry_limit: Duration,
    /// Whether the app-server is another's, and goes on without the relay.
    pub is_remote: bool,
}

impl Setup {
    /// The parameters of `thread/start`, and of `thread/resume` with an id.
    pub(super) fn opening(&self) -> Map<String, Value> {
        let mut params = self.thread.clone();
        params.insert("approvalPolicy".into(), json!(self.policy.approval));
        // Also on resume: a thread does not remember its sandbox.
        params.insert("sandbox".into(), json!(self.policy.sandbox));
        params
    }

    /// The policy as the parameters of a turn, from which on it holds.
    pub(super) fn rights(&self) -> [(String, Value); 2] {
        [
            ("approvalPolicy".into(), json!(self.policy.approval)),
            ("sandboxPolicy".into(), json!({ "type": self.policy.sandbox_type() })),
        ]
    }

    /// Whether a thread has the policy that it was to be opened with.
    pub(super) fn is_as_asked(
        &self,
        approval: Option<&RawValue>,
        sandbox: Option<&RawValue>,
    ) -> bool {
        let kind = sandbox.and_then(|sandbox| fields(sandbox.get(), ["type"]).ok()?[0]);
        approval.and_then(string).as_deref() == Some(self.policy.approval)
            && kind.and_then(string).as_deref() == Some(self.policy.sandbox_type())
    }
}

/// What a run is to do for `config` in `cwd`.
pub(in crate::agent) fn setup(
    config: &QueryConfig,
    settings: &Settings,
    cwd: &Path,
    resume: Option<&str>,
    run: u64,
) -> Setup {
    Setup {
        run,
        resume: resume.map(str::to_owned).or_else(|| config.resume.clone()),
        thread: thread(config, settings.mode, cwd),
        turn: turn(config, settings.mode),
        mode: settings.mode,
        policy: policy(settings.mode, config.permission_mode),
        denies_all: confine::is_narrow(settings.mode),
        retry_limit: settings.codex_retry_limit,
        is_remote: settings.codex_url.is_some(),
    }
}

fn thread(config: &QueryConfig, mode: Mode, cwd: &Path) -> Map<String, Value> {
    let mut thread = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        thread.extend(value.map(|value| (name.to_owned(), value)));
    };
    set("cwd", Some(json!(cwd.to_string_lossy())));
    set("model", config.model.as_ref().map(|model| json!(model)));
    match &config.system_prompt {
        None => {}
        Some(SystemPrompt::Text(text)) => set("baseInstructions", Some(json!(text))),
        Some(SystemPrompt::Blocks(blocks)) => {
            set("baseInstructions", Some(json!(blocks.join("\n\n"))));
        }
        Some(SystemPrompt::Preset { append, .. }) => {
            set("developerInstructions", append.as_ref().map(|text| json!(text)));
        }
    }
    if !confine::has_environment(mode) {
        set("environments", Some(json!([])));
    }
    let mut overrides = confine::overrides(mode);
    if let Some(effort) = &config.effort {
        overrides.insert("model_reasoning_effort".into(), json!(effort));
    }
    let servers = mcp_servers(config);
    if !servers.is_empty() {
        overrides.insert("mcp_servers".into(), servers.into());
    }
    set("config", (!overrides.is_empty()).then(|| overrides.into()));
    thread
}

fn turn(config: &QueryConfig, mode: Mode) -> Map<String, Value> {
    let mut turn = Map::new();
    let schema = config.output_schema.as_ref();
    if let Some(schema) = schema.and_then(|schema| serde_json::from_str(schema.get()).ok()) {
        turn.insert("outputSchema".into(), schema);
    }
    if !confine::has_environment(mode) {
        // Also here: a thread that is taken up again does not remember it.
        turn.insert("environments".into(), json!([]));
    }
    turn
}

/// MCP servers in Codex's words. They travel over standard input, so their
/// headers stay off the command line.
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
            // See `ignored`.
            Some(_) => continue,
        };
        let entry = given.iter().filter_map(|(name, value)| {
            Some(((*name).to_owned(), serde_json::from_str(value.as_ref()?.get()).ok()?))
        });
        known.insert(name.into_owned(), Value::Object(entry.collect()));
    }
    known
}

/// Configured fields that Codex has nothing like, each with the reason.
#[must_use]
pub fn ignored(config: &QueryConfig) -> Vec<String> {
    const MODE: &str = "Codex has no list of tools; permissionMode decides what it may do";
    const KEY: &str = "a credential for Claude; Codex logs in with its own";
    // Every field is named here, so that a new one cannot be forgotten.
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
        ("agents", agents.is_some(), "Codex has no sub-agents of a client's making"),
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
        ("maxBudgetUsd", max_budget_usd.is_some(), "Codex counts tokens and no money"),
        ("fallbackModel", fallback_model.is_some(), "Codex has one model at a time"),
        (
            "includePartialMessages",
            *include_partial_messages == Some(false),
            "Codex always sends text while it is being written",
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
    .chain(other.keys().map(|field| (*field, "an option of Claude Code that Codex has not")))
    .map(|(field, reason)| format!("{field}: {reason}"))
    .collect()
}

/// The arguments of the app-server. A command line is for everybody to see,
/// so nothing of the configuration is in them.
pub(in crate::agent) fn arguments() -> Vec<OsString> {
    let secrets = json!(SECRETS);
    let exclude = format!("shell_environment_policy.exclude={secrets}");
    ["-c", &exclude, "app-server"].map(OsString::from).into()
}

/// The environment of the app-server, sorted by name.
pub(in crate::agent) fn variables(
    config: &QueryConfig,
    inherited: &[(OsString, OsString)],
) -> Vec<(OsString, OsString)> {
    let is_foreign = |name: &OsStr| {
        FOREIGN.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()))
    };
    let mut env: std::collections::BTreeMap<OsString, OsString> = inherited
        .iter()
        .filter(|(name, _)| !env::is_removed(name) && !is_foreign(name))
        .cloned()
        .collect();
    let configured = config.env.iter().flatten();
    env.extend(configured.map(|(name, value)| (name.into(), value.expose().into())));
    env.into_iter().collect()
}

/// Where it works.
pub(in crate::agent) fn directory(
    config: &QueryConfig,
    settings: &Settings,
) -> Result<std::path::PathBuf, WorkspaceError> {
    workspace::directory(config.cwd.as_deref(), &settings.workspace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> QueryConfig {
        QueryConfig::parse(text.as_bytes(), &QueryConfig::default()).unwrap().config
    }

    fn asked(text: &str, mode: Mode) -> String {
        Value::from(thread(&config(text), mode, Path::new("/w"))).to_string()
    }

    #[test]
    fn the_configuration_becomes_a_thread() {
        assert_eq!(asked("{}", Mode::Ask), r#"{"cwd":"/w"}"#);
        assert_eq!(
            asked(
                r#"{"model":"m","systemPrompt":"be brief","effort":"low","permissionMode":"plan",
                    "mcpServers":{"a":{"command":"x","args":["y"],"env":{"K":"v"}},
                                  "b":{"type":"http","url":"http://h/","headers":{"H":"v"}},
                                  "c":{"type":"sse","url":"http://h/"}}}"#,
                Mode::Unrestricted
            ),
            r#"{"cwd":"/w","model":"m","baseInstructions":"be brief","config":{"model_reasoning_effort":"low","mcp_servers":{"a":{"command":"x","args":["y"],"env":{"K":"v"}},"b":{"url":"http://h/","http_headers":{"H":"v"}}}}}"#
        );
        assert_eq!(
            asked(
                r#"{"systemPrompt":{"type":"preset","preset":"claude_code","append":"more"}}"#,
                Mode::Safe
            ),
            format!(
                r#"{{"cwd":"/w","developerInstructions":"more","environments":[],"config":{}}}"#,
                Value::from(confine::overrides(Mode::Safe))
            )
        );
    }

    #[test]
    fn what_has_no_equivalent_is_named_with_the_reason() {
        assert!(ignored(&config(r#"{"model":"m","env":{"A":"b"}}"#)).is_empty());
        assert_eq!(
            ignored(&config(r#"{"maxTurns":3,"anthropicApiKey":"sk-secret"}"#)),
            [
                "maxTurns: Codex does not count the steps of a turn",
                "anthropicApiKey: a credential for Claude; Codex logs in with its own"
            ]
        );
        assert_eq!(
            ignored(&config(r#"{"mcpServers":{"c":{"type":"sse","url":"http://h/"}}}"#)).len(),
            1
        );
    }

    #[test]
    fn the_environment_is_the_servers_without_what_is_the_others() {
        let inherited = [
            ("ANTHROPIC_API_KEY", "a"),
            ("RELAY_AUTH_TOKEN", "b"),
            ("E2B_API_KEY", "c"),
            ("OPENAI_API_KEY", "d"),
            ("HOME", "/h"),
        ]
        .map(|(name, value)| (name.into(), value.into()));
        let env = variables(&config(r#"{"env":{"HOME":"/other"}}"#), &inherited);
        let expected = [("HOME", "/other"), ("OPENAI_API_KEY", "d")];
        assert_eq!(env, expected.map(|(name, value)| (name.into(), value.into())));
    }

    #[test]
    fn commands_do_not_inherit_what_looks_like_a_secret() {
        assert_eq!(
            arguments()[1],
            r#"shell_environment_policy.exclude=["*KEY*","*TOKEN*","*SECRET*","*PASSWORD*","*PASSWD*","*CREDENTIAL*"]"#
        );
    }
}
