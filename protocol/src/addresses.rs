//! Addresses: the fields and variables of a configuration that decide where
//! requests with a credential go.
//!
//! A credential goes only to the address that it came with. So a configuration
//! that names an address has to bring the credential for it, and whoever keeps
//! a credential by its mask cannot change an address.

use serde_json::Value;

use crate::config::{Provider, QueryConfig};
use crate::credentials::{self, CREDENTIALS, Receiver};

/// Beginnings of the names of variables that belong to an agent, to a provider
/// of models or to a library for one.
const FAMILIES: [&str; 11] = [
    "ANTHROPIC_",
    "AWS_",
    "AZURE_",
    "CLAUDE_",
    "CLOUD_ML_",
    "CLOUDSDK_",
    "CODEX_",
    "GOOGLE_",
    "MSI_",
    "OPENAI_",
    "VERTEX_",
];

/// Parts of such a name that make it an address, or the place of a file or
/// service that names one.
const PARTS: [&str; 18] = [
    "ADDRESS",
    "API_BASE",
    "AUTHORITY",
    "CONFIG",
    "CREDS",
    "DOMAIN",
    "ENDPOINT",
    "GATEWAY",
    "HOST",
    "ISSUER",
    "PROFILE",
    "PROJECT",
    "REGION",
    "RESOURCE",
    "SETTINGS",
    "SOCKET",
    "URL",
    "_USE_",
];

/// Variables of every program that decide where its connections end: the
/// directories in which an agent finds its settings, and the certificates that
/// it trusts.
const OF_EVERY_PROGRAM: [&str; 7] = [
    "CODEX_HOME",
    "HOME",
    "NODE_EXTRA_CA_CERTS",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "XDG_CONFIG_HOME",
];

/// A configuration that would send a credential of the server elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// An address without a credential.
    #[error(
        "{name}: decides where requests go, and without a credential of its own the server's would be sent there: {}",
        help(.needed)
    )]
    NoCredential {
        /// The field or variable.
        name: String,
        /// Variables and fields, one of which has to come along.
        needed: Vec<&'static str>,
    },
    /// A reference to a credential of the server.
    #[error(
        "{field}: refers to {variable}, which would send the server's credential to a server of the configuration: write the value itself, or set env.{variable} along with it"
    )]
    Reference {
        /// The field.
        field: &'static str,
        /// The variable.
        variable: &'static str,
    },
}

fn help(needed: &[&str]) -> String {
    match needed {
        [] => "no configuration can bring one for it".to_owned(),
        needed => format!("give {} along with it", needed.join(" or ")),
    }
}

/// Returns whether a variable decides where requests go.
#[must_use]
pub fn is_address(variable: &str) -> bool {
    let name = variable.to_ascii_uppercase();
    is_for_all(&name)
        || FAMILIES.iter().any(|family| name.starts_with(family))
            && PARTS.iter().any(|part| name.contains(part))
}

/// Returns whether a variable decides it for every receiver.
fn is_for_all(name: &str) -> bool {
    name.contains("PROXY") && name != "NO_PROXY"
        || OF_EVERY_PROGRAM.contains(&name)
        || name == "CLAUDE_CONFIG_DIR"
}

/// Returns the variables with a credential for the address in `variable`, of
/// which a configuration that sets it needs one.
fn credentials_for(variable: &str, provider: Provider) -> Vec<&'static str> {
    let name = variable.to_ascii_uppercase();
    let of = |receiver: Receiver| {
        CREDENTIALS
            .iter()
            .filter(move |row| row.receiver == receiver && row.redact == credentials::Redact::Whole)
            .map(|row| row.variable)
    };
    let holds = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    if is_for_all(&name) {
        return match provider {
            Provider::Claude => of(Receiver::MessagesApi).collect(),
            Provider::Codex => of(Receiver::OpenAi).collect(),
        };
    }
    if holds(&["FOUNDRY", "AZURE_", "MSI_"]) {
        return vec!["ANTHROPIC_FOUNDRY_API_KEY"];
    }
    if holds(&["BEDROCK", "AWS_", "MANTLE"]) {
        return of(Receiver::Provider).filter(|name| name.starts_with("AWS_")).collect();
    }
    if holds(&["VERTEX", "GOOGLE_", "CLOUD_ML_", "CLOUDSDK_", "_USE_"]) {
        return Vec::new();
    }
    if name.starts_with("OPENAI_") || name.starts_with("CODEX_") {
        return of(Receiver::OpenAi).collect();
    }
    of(Receiver::MessagesApi).collect()
}

impl QueryConfig {
    /// Returns the addresses that the configuration names, each by the path of
    /// its field, with the variable and the value.
    pub fn addresses(&self) -> impl Iterator<Item = (String, &str, &str)> {
        let field = self.anthropic_base_url.as_ref();
        let field =
            field.map(|url| ("anthropicBaseUrl".to_owned(), credentials::BASE_URL, url.expose()));
        let env = self.env.iter().flatten().filter(|(name, _)| is_address(name));
        field
            .into_iter()
            .chain(env.map(|(name, value)| (format!("env.{name}"), name.as_str(), value.expose())))
    }

    /// Returns the first address that is not the same in `previous`.
    pub(crate) fn changed_address(&self, previous: &Self) -> Option<String> {
        let all = |config: &Self| {
            let all = config.addresses();
            all.map(|(_, name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        let (before, after) = (all(previous), all(self));
        let only_in = |these: &Self, others: &[(String, String)]| {
            let mut these = these.addresses();
            these.find_map(|(path, name, value)| {
                let is_same = others.iter().any(|(known, is)| known == name && is == value);
                (!is_same).then_some(path)
            })
        };
        only_in(self, &before).or_else(|| only_in(previous, &after))
    }

    /// Checks that no credential but the configuration's own goes to an address
    /// of the configuration.
    ///
    /// # Errors
    ///
    /// The first address without a credential, or the first reference to a
    /// credential of the server.
    pub fn check_addresses(&self) -> Result<(), AddressError> {
        for (name, variable, value) in self.addresses() {
            let needed = credentials_for(variable, self.provider);
            if !value.trim().is_empty() && !needed.iter().any(|variable| self.brings(variable)) {
                let field = |variable: &&'static str| {
                    credentials::by_variable(variable).and_then(|row| row.field)
                };
                let needed = needed.iter().map(|name| field(name).unwrap_or(name)).collect();
                return Err(AddressError::NoCredential { name, needed });
            }
        }
        for (field, value) in [("mcpServers", &self.mcp_servers), ("agents", &self.agents)] {
            let Some(value) = value else { continue };
            self.check_references(field, value.expose())?;
        }
        Ok(())
    }

    /// Checks that MCP servers, the JSON of `field`, refer to no credential but the
    /// configuration's own.
    ///
    /// # Errors
    ///
    /// The first reference to a credential of the server.
    pub fn check_references(&self, field: &'static str, servers: &str) -> Result<(), AddressError> {
        // What comes here was parsed before.
        let servers: Value = serde_json::from_str(servers).unwrap_or_default();
        match self.referred(&servers) {
            Some(variable) => Err(AddressError::Reference { field, variable }),
            None => Ok(()),
        }
    }

    /// Returns whether the configuration sets a variable with a credential.
    fn brings(&self, variable: &str) -> bool {
        let field = credentials::by_variable(variable).and_then(|row| self.credential(row));
        let env = self.env.iter().flatten().filter(|(name, _)| name == variable);
        field
            .into_iter()
            .chain(env.map(|(_, value)| value))
            .any(|value| !value.expose().trim().is_empty())
    }

    /// Returns a credential of the server that a text in `value` refers to, in
    /// the form `${NAME}` or `${NAME:-…}` that an agent replaces.
    fn referred(&self, value: &Value) -> Option<&'static str> {
        match value {
            Value::String(text) => self.referred_in(text),
            Value::Array(list) => list.iter().find_map(|value| self.referred(value)),
            Value::Object(map) => {
                map.iter().find_map(|(name, value)| self.referred_in(name).or(self.referred(value)))
            }
            _ => None,
        }
    }

    fn referred_in(&self, text: &str) -> Option<&'static str> {
        text.split("${").skip(1).find_map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
            let row = credentials::by_variable(&rest[..end])?;
            (!self.brings(row.variable)).then_some(row.variable)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str) -> Result<(), String> {
        let config = QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap().config;
        config.check_addresses().map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_needs_a_credential_of_its_own() {
        let error = check(r#"{"anthropicBaseUrl":"http://h"}"#).unwrap_err();
        assert_eq!(
            error,
            "anthropicBaseUrl: decides where requests go, and without a credential of its own the server's would be sent there: give anthropicApiKey or anthropicAuthToken or claudeCodeOauthToken along with it"
        );
        for name in [
            "ANTHROPIC_BASE_URL",
            "ANTHROPIC_UNIX_SOCKET",
            "ANTHROPIC_BEDROCK_BASE_URL",
            "ANTHROPIC_FOUNDRY_RESOURCE",
            "AWS_ENDPOINT_URL_STS",
            "CLAUDE_CODE_USE_BEDROCK",
            "CLAUDE_CODE_USE_VERTEX",
            "CLAUDE_CODE_CUSTOM_OAUTH_URL",
            "CLAUDE_CODE_API_BASE_URL",
            "CLAUDE_CONFIG_DIR",
            "CLOUD_ML_REGION",
            "CODEX_HOME",
            "HOME",
            "HTTPS_PROXY",
            "https_proxy",
            "all_proxy",
            "NODE_EXTRA_CA_CERTS",
            "NODE_TLS_REJECT_UNAUTHORIZED",
            "OPENAI_BASE_URL",
            "SSL_CERT_FILE",
        ] {
            let error = check(&format!(r#"{{"env":{{"{name}":"http://h"}}}}"#)).unwrap_err();
            assert!(error.starts_with(&format!("env.{name}: decides where")), "{error}");
        }
    }

    #[test]
    fn the_credential_has_to_be_the_one_for_the_address() {
        for (body, is_allowed) in [
            (r#"{"anthropicBaseUrl":"http://h","anthropicApiKey":"k"}"#, true),
            (r#"{"anthropicBaseUrl":"http://h","env":{"ANTHROPIC_AUTH_TOKEN":"k"}}"#, true),
            (r#"{"anthropicBaseUrl":"http://h","env":{"ANTHROPIC_AUTH_TOKEN":""}}"#, false),
            (r#"{"anthropicBaseUrl":"http://h","env":{"OPENAI_API_KEY":"k"}}"#, false),
            (r#"{"env":{"HTTPS_PROXY":"http://h","ANTHROPIC_API_KEY":"k"}}"#, true),
            (
                r#"{"provider":"codex","env":{"HTTPS_PROXY":"http://h","ANTHROPIC_API_KEY":"k"}}"#,
                false,
            ),
            (r#"{"env":{"OPENAI_BASE_URL":"http://h","CODEX_API_KEY":"k"}}"#, true),
            (r#"{"anthropicApiKey":"k","env":{"ANTHROPIC_FOUNDRY_BASE_URL":"http://h"}}"#, false),
            (r#"{"env":{"CLAUDE_CODE_USE_BEDROCK":"1","AWS_BEARER_TOKEN_BEDROCK":"k"}}"#, true),
            (r#"{"env":{"CLAUDE_CODE_USE_VERTEX":"1","AWS_BEARER_TOKEN_BEDROCK":"k"}}"#, false),
            (r#"{"anthropicApiKey":"k"}"#, true),
            (r#"{"env":{"NO_PROXY":"h","TZ":"UTC","ANTHROPIC_MODEL":"m","HTTPS_PROXY":""}}"#, true),
        ] {
            assert_eq!(check(body).is_ok(), is_allowed, "{body}: {:?}", check(body));
        }
    }

    #[test]
    fn no_server_of_a_configuration_is_sent_the_servers_credential() {
        for (body, is_allowed) in [
            (
                r#"{"mcpServers":{"s":{"type":"http","url":"http://h/${ANTHROPIC_API_KEY}"}}}"#,
                false,
            ),
            (
                r#"{"mcpServers":{"s":{"type":"http","url":"http://h","headers":{"A":"\u0024{OPENAI_API_KEY:-x}"}}}}"#,
                false,
            ),
            (
                r#"{"agents":{"a":{"prompt":"p","mcpServers":[{"s":{"type":"sse","url":"http://${CLAUDE_CODE_OAUTH_TOKEN}"}}]}}}"#,
                false,
            ),
            (
                r#"{"anthropicApiKey":"k","mcpServers":{"s":{"type":"http","url":"http://h/${ANTHROPIC_API_KEY}"}}}"#,
                true,
            ),
            (r#"{"mcpServers":{"s":{"type":"http","url":"http://h/${USER}"}}}"#, true),
        ] {
            assert_eq!(check(body).is_ok(), is_allowed, "{body}: {:?}", check(body));
        }
    }
}
