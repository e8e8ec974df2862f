//! Environment of the agent: the server's without some variables, plus those
//! that the SDK sets, plus those of the configuration.
//!
//! Every tool of the agent inherits it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use claude_relay_protocol::config::QueryConfig;
use claude_relay_protocol::credentials::{self, Redact};

/// Variables of the server that the agent does not get, each with the reason. A
/// `*` at the end matches any suffix.
pub const REMOVED: [(&str, &str); 22] = [
    ("E2B_API_KEY", "it controls the sandboxes of the whole account"),
    ("E2B_ACCESS_TOKEN", "it controls the account itself"),
    ("RELAY_*", "the server's own settings, its token among them"),
    ("HOST", "a setting of the server, which a program under the agent would take for its own"),
    ("PORT", "as HOST"),
    ("CLAUDE_PATH", "a setting of the server"),
    ("CODEX_PATH", "a setting of the server"),
    ("CLAUDECODE", "the agent believes to run inside another one and refuses parts of its work"),
    ("CLAUDE_CODE_CHILD_SESSION", "as CLAUDECODE"),
    ("CLAUDE_CODE_SESSION_ID", "the outer agent's session"),
    ("CLAUDE_CODE_SSE_PORT", "the agent would connect to the editor that started the server"),
    ("CLAUDE_CODE_ENTRYPOINT", "set below, whatever the server was started by"),
    ("CLAUDE_AGENT_SDK_VERSION", "set below"),
    ("CLAUDE_CODE_SDK_READS_SESSION_STATE", "set below"),
    ("NODE_OPTIONS", "puts a debugger or other code into the agent; the SDK drops it too"),
    ("BUN_OPTIONS", "as NODE_OPTIONS, for the runtime that the agent is built with"),
    ("BUN_INSPECT*", "as NODE_OPTIONS: a debugger that waits stops the agent"),
    ("VSCODE_INSPECTOR_OPTIONS", "as NODE_OPTIONS"),
    ("DEBUG", "turns on output that is no message; the SDK drops it too"),
    ("LISTEN_FDS", "the socket that the server was handed is not the agent's"),
    ("LISTEN_PID", "as LISTEN_FDS"),
    ("NOTIFY_SOCKET", "the agent must not report to the service manager for the server"),
];

/// Version of the SDK (TypeScript) whose command line and first request are
/// copied here. The CLI is told it.
pub const SDK_VERSION: &str = "0.3.332";

/// Variables that the agent always gets, each with the reason. A configured
/// `env` overrides them.
pub const SET: [(&str, &str, &str); 3] = [
    ("CLAUDE_CODE_ENTRYPOINT", "sdk-ts", "as the SDK: its frames depend on who calls"),
    ("CLAUDE_AGENT_SDK_VERSION", SDK_VERSION, "as the SDK, whose command line is copied here"),
    ("CLAUDE_CODE_SDK_READS_SESSION_STATE", "1", "as the SDK: asks for session state frames"),
];

/// Variables besides the credentials that select the agent's login. If the
/// configuration has a credential, these and the server's credentials are
/// removed: the agent prefers some kinds to others, and a cloud provider to
/// all.
pub(in crate::agent) const LOGIN_CHOICES: [&str; 5] = [
    "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
    "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
];

/// Returns the whole environment, sorted by name. `root_in_sandbox` is true if
/// the agent runs as root without permission checks, which it refuses unless
/// the environment says that it is in a sandbox.
pub(in crate::agent) fn environment(
    config: &QueryConfig,
    inherited: &[(OsString, OsString)],
    root_in_sandbox: bool,
) -> Vec<(OsString, OsString)> {
    let set = SET.iter().map(|(name, value, _)| ((*name).into(), (*value).into()));
    let mut env: BTreeMap<OsString, OsString> = set.collect();
    env.extend(bare(config, inherited, root_in_sandbox));
    env.into_iter().collect()
}

/// The same without [`SET`], for a program that brings those variables along.
pub(in crate::agent) fn bare(
    config: &QueryConfig,
    inherited: &[(OsString, OsString)],
    root_in_sandbox: bool,
) -> Vec<(OsString, OsString)> {
    let configured: Vec<(&str, &str)> = config
        .credential_variables()
        .map(|(credential, value)| (credential.variable, value.expose()))
        .chain(config.env.iter().flatten().map(|(name, value)| (name.as_str(), value.expose())))
        .collect();
    // An address of the configuration gets credentials of the configuration.
    let own_address = config.addresses().next().is_some();
    let own_login = own_address
        || configured
            .iter()
            .any(|(name, _)| credentials::logins().any(|row| row.variable == *name));
    let is_login = |name: &OsStr| {
        LOGIN_CHOICES.iter().any(|choice| name == *choice)
            || credentials::logins().any(|row| name == row.variable)
    };

    let mut env: BTreeMap<OsString, OsString> = inherited
        .iter()
        .filter(|(name, _)| !is_removed(name))
        .filter(|(name, _)| !own_address || !is_credential(name))
        .filter(|(name, _)| !own_login || !is_login(name))
        .cloned()
        .collect();
    // An update would replace the program of a process that runs for days.
    env.entry("DISABLE_AUTOUPDATER".into()).or_insert_with(|| "1".into());
    if root_in_sandbox {
        env.insert("IS_SANDBOX".into(), "1".into());
    }
    env.extend(configured.into_iter().map(|(name, value)| (name.into(), value.into())));
    env.into_iter().collect()
}

/// Returns whether a variable holds a credential that travels somewhere.
pub(in crate::agent) fn is_credential(name: &OsStr) -> bool {
    let row = name.to_str().and_then(credentials::by_variable);
    row.is_some_and(|row| row.redact != Redact::UserInfo)
}

pub(in crate::agent) fn is_removed(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    REMOVED.iter().any(|(pattern, _)| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix.as_bytes()),
        None => name == pattern.as_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use claude_relay_protocol::credentials::{CREDENTIALS, Receiver};

    use super::*;

    #[test]
    fn the_version_that_the_agent_is_told_is_the_pinned_one() {
        assert_eq!(SDK_VERSION, claude_relay_testing::tools::agent_sdk_version());
    }

    #[test]
    fn credentials_of_e2b_are_removed() {
        for row in CREDENTIALS.iter().filter(|row| row.receiver == Receiver::E2b) {
            assert!(is_removed(row.variable.as_ref()), "{}", row.variable);
        }
    }
}
