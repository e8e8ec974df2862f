//! Signs that the agent can log in: credentials of the environment, of the
//! configuration, and in the agent's own files.
//!
//! Only their presence is looked at. A credential that is found may still be
//! refused; where none is found, the agent can only say that it is not logged
//! in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::config::Provider;
use claude_relay_protocol::credentials::{self, CUSTOM_HEADERS, Receiver};
use claude_relay_system as system;
use serde_json::Value;

use super::env;
use crate::settings::Settings;

/// Maximum size of a file that is looked into.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;

/// Returns whether anything is there to log in with.
#[must_use]
pub fn is_possible(settings: &Settings, config: &QueryConfig) -> bool {
    let environment = env::environment(config, &settings.environment, false);
    let variable = |name: &str| {
        let found = environment.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
    };
    match config.provider {
        _ if settings.demo => true,
        Provider::Codex => settings.codex_url.is_some() || codex(&variable),
        Provider::Claude => claude(&variable),
    }
}

fn claude(variable: &impl Fn(&str) -> Option<OsString>) -> bool {
    // It may be in the keychain, which asks its user before it tells.
    if system::HAS_KEYCHAIN {
        return true;
    }
    let by_variable = credentials::CREDENTIALS
        .iter()
        .filter(|row| row.is_login() || row.receiver == Receiver::Provider)
        .map(|row| row.variable)
        .chain(env::LOGIN_CHOICES)
        // A gateway may log in by itself.
        .chain([CUSTOM_HEADERS, credentials::BASE_URL])
        .any(|name| variable(name).is_some());
    if by_variable {
        return true;
    }
    let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
    let own = variable("CLAUDE_CONFIG_DIR").map_or_else(|| home.join(".claude"), PathBuf::from);
    own.join(".credentials.json").exists()
        || has(&own.join("settings.json"), &["apiKeyHelper", "env"])
        || has(Path::new("/etc/claude-code/managed-settings.json"), &["apiKeyHelper", "env"])
        || has(&own.join(".claude.json"), &["primaryApiKey", "oauthAccount"])
        || has(&home.join(".claude.json"), &["primaryApiKey", "oauthAccount"])
}

fn codex(variable: &impl Fn(&str) -> Option<OsString>) -> bool {
    let keys = credentials::CREDENTIALS.iter().filter(|row| row.receiver == Receiver::OpenAi);
    if keys.map(|row| row.variable).any(|name| variable(name).is_some()) {
        return true;
    }
    let home = variable("HOME").map(PathBuf::from).unwrap_or_default();
    let own = variable("CODEX_HOME").map_or_else(|| home.join(".codex"), PathBuf::from);
    // Its configuration may name a provider that wants no key.
    own.join("auth.json").exists() || own.join("config.toml").exists()
}

/// Returns whether a JSON file has one of these fields.
fn has(file: &Path, fields: &[&str]) -> bool {
    let small = std::fs::metadata(file).is_ok_and(|file| file.is_file() && file.len() < FILE_LIMIT);
    let text = small.then(|| std::fs::read(file).ok()).flatten();
    let value = text.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    value.is_some_and(|value| fields.iter().any(|field| !value[field].is_null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |name| {
            variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).into())
        }
    }

    #[test]
    fn a_credential_is_seen_wherever_it_is() {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().to_str().unwrap();
        assert!(!claude(&with(&[("HOME", at)])) || system::HAS_KEYCHAIN);
        assert!(!codex(&with(&[("HOME", at)])));
        for name in ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK"] {
            assert!(claude(&with(&[("HOME", at), (name, "1")])), "{name}");
        }
        assert!(codex(&with(&[("HOME", at), ("OPENAI_API_KEY", "1")])));

        std::fs::create_dir(home.path().join(".claude")).unwrap();
        let settings = home.path().join(".claude/settings.json");
        std::fs::write(&settings, r#"{"model":"opus"}"#).unwrap();
        assert!(!claude(&with(&[("HOME", at)])) || system::HAS_KEYCHAIN);
        std::fs::write(&settings, r#"{"apiKeyHelper":"pass key"}"#).unwrap();
        assert!(claude(&with(&[("HOME", at)])));
    }
}
