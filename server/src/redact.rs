//! Redaction: secrets that the agent was given are masked in its stderr, and in
//! a recording.
//!
//! A program that fails over its credentials often prints them, and its stderr
//! goes to the client and into the log. Its stdout is the conversation, and
//! reaches clients as it is.

use std::ffi::OsString;

use claude_relay_protocol::config::MASK;
use claude_relay_protocol::credentials::secrets_of_variable;
use claude_relay_protocol::{QueryConfig, Secret};
use percent_encoding::percent_decode_str;

/// Shorter values are not masked: they would be found inside ordinary words.
const MIN_SECRET_BYTES: usize = 8;

/// Maximum number of texts to mask. A configuration has a few.
const MAX_SECRETS: usize = 4096;

/// The texts to mask, the longest first.
#[derive(Debug, Default, Clone)]
pub struct Redactor {
    secrets: Vec<Secret>,
}

impl Redactor {
    /// Collects the secrets of an agent's configuration and environment.
    #[must_use]
    pub fn new(config: &QueryConfig, environment: &[(OsString, OsString)]) -> Self {
        let inherited = environment
            .iter()
            .filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)))
            .flat_map(|(name, value)| secrets_of_variable(name, value))
            .map(Secret::from);
        let mut redactor = Self::default();
        redactor.extend(config.secret_values().into_iter().chain(inherited));
        redactor
    }

    /// Adds secrets, and forgets others where there are too many.
    pub fn extend(&mut self, secrets: impl IntoIterator<Item = Secret>) {
        let known = std::mem::take(&mut self.secrets);
        let new = secrets.into_iter().flat_map(spellings);
        let mut secrets: Vec<Secret> =
            new.filter(|secret| secret.expose().len() >= MIN_SECRET_BYTES).collect();
        secrets.extend(known);
        secrets.truncate(MAX_SECRETS);
        // A secret can be part of a longer one, which is masked whole.
        secrets.sort_by(|a, b| {
            let (a, b) = (a.expose(), b.expose());
            b.len().cmp(&a.len()).then_with(|| a.cmp(b))
        });
        secrets.dedup();
        self.secrets = secrets;
    }

    /// Returns true if a secret is in `text`.
    #[must_use]
    pub fn finds(&self, text: &str) -> bool {
        self.secrets.iter().any(|secret| text.contains(secret.expose()))
    }

    /// Returns `text` with a mask in place of every secret.
    #[must_use]
    pub fn redact(&self, text: String) -> String {
        self.secrets.iter().fold(text, |text, secret| {
            if text.contains(secret.expose()) { text.replace(secret.expose(), MASK) } else { text }
        })
    }
}

/// Returns a secret as programs may print it: whole, line by line, and without
/// its percent encoding.
fn spellings(secret: Secret) -> Vec<Secret> {
    let text = secret.expose();
    let mut spellings: Vec<Secret> = Vec::new();
    if text.contains('\n') {
        spellings.extend(text.lines().map(|line| Secret::from(line.trim())));
    }
    if text.contains('%') {
        let decoded = percent_decode_str(text).decode_utf8_lossy();
        spellings.push(Secret::from(decoded));
    }
    spellings.push(secret);
    spellings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(config: &str, environment: &[(&str, &str)]) -> Redactor {
        let config = QueryConfig::parse(config.as_bytes(), &QueryConfig::default()).unwrap().config;
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Redactor::new(&config, &environment)
    }

    #[test]
    fn credentials_are_masked_wherever_they_came_from() {
        let redactor = redactor(
            r#"{"anthropicApiKey":"sk-configured","env":{"A":"laid-over-value","B":"x"}}"#,
            &[("CLAUDE_CODE_OAUTH_TOKEN", "inherited-token"), ("HOME", "/home/user")],
        );
        assert_eq!(
            redactor.redact("sk-configured laid-over-value x inherited-token /home/user".into()),
            "*** *** x *** /home/user"
        );
    }

    #[test]
    fn headers_and_passwords_in_addresses_are_masked() {
        let redactor = redactor(
            r#"{"mcpServers":{"s":{"type":"http","url":"http://u:mcp-password@h/?k=query-value","headers":{"Authorization":"Bearer mcp-token"}}},
                "agents":{"a":{"mcpServers":[{"t":{"command":"c","env":{"K":"deep-value"}}}]}}}"#,
            &[
                ("ANTHROPIC_CUSTOM_HEADERS", "X-A: first-value\nAuthorization: Basic second-value"),
                ("ANTHROPIC_BASE_URL", "https://user:p%40ssword@host/path"),
                ("https_proxy", "http://user:proxy-password@host"),
            ],
        );
        for (text, masked) in [
            ("mcp-password query-value mcp-token", "*** *** ***"),
            ("deep-value", "***"),
            ("first-value, second-value", "***, ***"),
            ("Basic second-value", "***"),
            ("https://user:p%40ssword@host/path p@ssword", "https://***@host/path ***"),
            ("proxy-password http://host", "*** http://host"),
        ] {
            assert_eq!(redactor.redact(text.into()), masked);
        }
    }

    #[test]
    fn a_secret_of_several_lines_is_masked_line_by_line() {
        let redactor = redactor(r#"{"env":{"PEM":"first-line\nsecond-line"}}"#, &[]);
        assert_eq!(redactor.redact("at second-line".into()), "at ***");
    }
}
