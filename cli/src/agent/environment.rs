//! Variables of this program that the agent gets: those that the CLI reads by
//! itself, not those of this machine.

use std::collections::BTreeMap;

/// Beginnings of names that the CLI reads.
const PREFIXES: [&str; 7] =
    ["ANTHROPIC_", "CLAUDE_CODE_", "CLAUDE_AGENT_SDK_", "MCP_", "DISABLE_", "OTEL_", "ENABLE_"];

/// Further names.
const NAMES: [&str; 8] = [
    "API_TIMEOUT_MS",
    "BASH_DEFAULT_TIMEOUT_MS",
    "BASH_MAX_OUTPUT_LENGTH",
    "BASH_MAX_TIMEOUT_MS",
    "MAX_MCP_OUTPUT_TOKENS",
    "MAX_THINKING_TOKENS",
    "TRACEPARENT",
    "TRACESTATE",
];

/// Beginnings of names of a cloud provider's login, which goes along where the
/// provider is chosen.
const PROVIDERS: [(&str, &[&str]); 3] = [
    ("CLAUDE_CODE_USE_BEDROCK", &["AWS_"]),
    ("CLAUDE_CODE_USE_VERTEX", &["GOOGLE_", "CLOUD_ML_REGION", "VERTEX_"]),
    ("CLAUDE_CODE_USE_FOUNDRY", &["AZURE_"]),
];

/// Names that are about this machine or this process, and those that no server
/// takes. They are never sent.
const NEVER: [&str; 38] = [
    "PATH",
    "HOME",
    "PWD",
    "OLDPWD",
    "SHELL",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TERM",
    "XDG_*",
    "SSH_*",
    "LD_*",
    "DYLD_*",
    "NODE_*",
    "BUN_*",
    "PYTHON*",
    "VIRTUAL_ENV",
    "CLAUDE_CONFIG_DIR",
    "CLAUDECODE",
    "CLAUDE_CODE_CHILD_SESSION",
    "CLAUDE_CODE_EXECPATH",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_CODE_SSE_PORT",
    "CLAUDE_CODE_BUBBLEWRAP",
    "CLAUDE_RELAY_*",
    "RELAY_*",
    "E2B_*",
    "HOST",
    "PORT",
    "CLAUDE_PATH",
    "CODEX_PATH",
    "IS_SANDBOX",
    "NODE_OPTIONS",
    "BUN_OPTIONS",
    "VSCODE_INSPECTOR_OPTIONS",
    "DEBUG",
    "SHLVL",
    "_",
];

/// A variable of this program; an empty one is unset.
#[expect(clippy::disallowed_methods, reason = "this program is told by its environment")]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The variables for the agent. `named` are sent too.
pub(super) fn of_agent(named: &[String]) -> BTreeMap<String, String> {
    let all: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let providers: Vec<&str> = PROVIDERS
        .into_iter()
        .filter(|(choice, _)| all.get(*choice).is_some_and(|value| !value.is_empty()))
        .flat_map(|(_, prefixes)| prefixes.iter().copied())
        .collect();
    let is_sent = |name: &str| {
        if NEVER.iter().any(|pattern| matches(pattern, name)) {
            return false;
        }
        named.iter().any(|other| other == name)
            || NAMES.contains(&name)
            || PREFIXES.iter().chain(&providers).any(|prefix| name.starts_with(prefix))
    };
    all.into_iter().filter(|(name, _)| is_sent(name)).collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}
