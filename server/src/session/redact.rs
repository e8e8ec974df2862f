//! Secrets the agent was given, taken out of what it writes to stderr.
//!
//! A program that dies over its credentials likes to print them, and its last
//! words go to the client and into the log. Its stdout is the conversation and
//! is never touched.

use std::ffi::OsString;

use claude_relay_protocol::config::MASK;
use claude_relay_protocol::{QueryConfig, Secret};

/// Variables of the server's environment that hold a credential.
const CREDENTIALS: [&str; 4] =
    ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "OPENAI_API_KEY"];

/// Shorter values are no secrets worth the name, and would blot out words.
const SHORTEST: usize = 8;

/// What must not be repeated.
#[derive(Debug, Default)]
pub(super) struct Redactor {
    secrets: Vec<Secret>,
}

impl Redactor {
    /// For an agent with this configuration and environment.
    pub(super) fn new(config: &QueryConfig, environment: &[(OsString, OsString)]) -> Self {
        let configured = [
            &config.anthropic_api_key,
            &config.claude_code_oauth_token,
            &config.anthropic_auth_token,
        ];
        let laid_over = config.env.iter().flatten().map(|(_, value)| value);
        let inherited = environment
            .iter()
            .filter(|(name, _)| CREDENTIALS.iter().any(|credential| name == credential))
            .filter_map(|(_, value)| value.to_str())
            .map(|value| Secret::new(value.to_owned()));
        let mut secrets: Vec<Secret> =
            configured.into_iter().flatten().chain(laid_over).cloned().chain(inherited).collect();
        secrets.retain(|secret| secret.expose().len() >= SHORTEST);
        Self { secrets }
    }

    /// `text` with a mask in place of every secret.
    pub(super) fn redact(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| {
            if text.contains(secret.expose()) { text.replace(secret.expose(), MASK) } else { text }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_came_from() {
        let config =
            br#"{"anthropicApiKey":"sk-configured","env":{"A":"laid-over-value","B":"x"}}"#;
        let config = QueryConfig::parse(config, &QueryConfig::default()).unwrap().config;
        let environment = [
            ("CLAUDE_CODE_OAUTH_TOKEN".into(), "inherited-token".into()),
            ("HOME".into(), "/home/user".into()),
        ];
        let redactor = Redactor::new(&config, &environment);
        assert_eq!(
            redactor.redact("sk-configured laid-over-value x inherited-token /home/user".into()),
            "*** *** x *** /home/user"
        );
    }
}
