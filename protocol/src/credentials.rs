//! Credentials: the variables, configuration fields and headers that carry
//! them.
//!
//! Every part that must know a credential by name reads [`CREDENTIALS`]: the
//! agent's environment, the redaction of its stderr, the key proxy, the checks
//! of a configuration, and the client that sends credentials of its own.

use crate::config::{QueryConfig, servers};
use crate::secret::Secret;

/// Variable of the Messages API's address.
pub const BASE_URL: &str = "ANTHROPIC_BASE_URL";

/// Variable of the headers that the agent adds to every request to the Messages
/// API, one `Name: value` per line.
pub const CUSTOM_HEADERS: &str = "ANTHROPIC_CUSTOM_HEADERS";

/// Variable of the address of OpenAI's API.
pub const OPENAI_BASE_URL: &str = "OPENAI_BASE_URL";

/// Variable of the key of E2B's API.
pub const E2B_API_KEY: &str = "E2B_API_KEY";

/// A variable that holds a credential, alone or inside a longer text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credential {
    /// The name of the variable.
    pub variable: &'static str,
    /// The field of the configuration that sets it.
    pub field: Option<&'static str>,
    /// The receiver of the credential.
    pub receiver: Receiver,
    /// The header that carries it.
    pub header: Header,
    /// The part that is secret.
    pub redact: Redact,
}

/// The receiver of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver {
    /// The Messages API at [`BASE_URL`].
    MessagesApi,
    /// A cloud provider of the same models.
    Provider,
    /// OpenAI, for Codex.
    OpenAi,
    /// E2B. The agent never gets it.
    E2b,
}

/// The header in which a credential travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// `x-api-key`.
    ApiKey,
    /// `Authorization: Bearer`.
    Bearer,
    /// Headers named in the value.
    Listed,
    /// None: the credential signs requests, or is part of an address.
    None,
}

/// The part of a value that is secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redact {
    /// All of it.
    Whole,
    /// The value of each `Name: value` line.
    HeaderValues,
    /// The user name and password of an address.
    UserInfo,
}

const fn row(
    variable: &'static str,
    field: Option<&'static str>,
    receiver: Receiver,
    header: Header,
    redact: Redact,
) -> Credential {
    Credential { variable, field, receiver, header, redact }
}

/// All credentials.
pub const CREDENTIALS: &[Credential] = {
    use Header::{ApiKey, Bearer, Listed, None as Unsent};
    use Receiver::{E2b, MessagesApi, OpenAi, Provider};
    use Redact::{HeaderValues, UserInfo, Whole};
    &[
        row("ANTHROPIC_API_KEY", Some("anthropicApiKey"), MessagesApi, ApiKey, Whole),
        row("ANTHROPIC_AUTH_TOKEN", Some("anthropicAuthToken"), MessagesApi, Bearer, Whole),
        row("CLAUDE_CODE_OAUTH_TOKEN", Some("claudeCodeOauthToken"), MessagesApi, Bearer, Whole),
        row(CUSTOM_HEADERS, None, MessagesApi, Listed, HeaderValues),
        row(BASE_URL, Some("anthropicBaseUrl"), MessagesApi, Unsent, UserInfo),
        row("ANTHROPIC_FOUNDRY_API_KEY", None, Provider, ApiKey, Whole),
        row("AWS_BEARER_TOKEN_BEDROCK", None, Provider, Bearer, Whole),
        row("AWS_SECRET_ACCESS_KEY", None, Provider, Unsent, Whole),
        row("AWS_SESSION_TOKEN", None, Provider, Unsent, Whole),
        row("OPENAI_API_KEY", None, OpenAi, Bearer, Whole),
        row("CODEX_API_KEY", None, OpenAi, Bearer, Whole),
        row(E2B_API_KEY, None, E2b, ApiKey, Whole),
        row("E2B_ACCESS_TOKEN", None, E2b, Bearer, Whole),
    ]
};

/// Returns the credential of a variable.
#[must_use]
pub fn by_variable(name: &str) -> Option<&'static Credential> {
    CREDENTIALS.iter().find(|credential| credential.variable == name)
}

/// Credentials with which the agent logs in to the Messages API.
pub fn logins() -> impl Iterator<Item = &'static Credential> {
    CREDENTIALS.iter().filter(|credential| credential.is_login())
}

/// Credentials with which Codex logs in to OpenAI's API.
pub fn openai_logins() -> impl Iterator<Item = &'static Credential> {
    CREDENTIALS.iter().filter(|credential| credential.receiver == Receiver::OpenAi)
}

impl Credential {
    /// Returns whether the agent logs in to the Messages API with this
    /// credential.
    #[must_use]
    pub fn is_login(&self) -> bool {
        self.receiver == Receiver::MessagesApi && self.redact == Redact::Whole
    }

    /// Returns whether the agent sends this credential to the address in
    /// [`BASE_URL`].
    #[must_use]
    pub fn goes_to_base_url(&self) -> bool {
        self.receiver == Receiver::MessagesApi && self.header != Header::None
    }

    /// Returns the secret parts of `value`.
    #[must_use]
    pub fn secrets_in<'v>(&self, value: &'v str) -> Vec<&'v str> {
        match self.redact {
            Redact::Whole => vec![value],
            Redact::HeaderValues => header_values(value).collect(),
            Redact::UserInfo => user_info(value),
        }
    }
}

impl QueryConfig {
    /// Returns the value of the configuration's own field for `credential`. Its
    /// `env` is not read.
    #[must_use]
    pub fn credential(&self, credential: &Credential) -> Option<&Secret> {
        match credential.field? {
            "anthropicApiKey" => self.anthropic_api_key.as_ref(),
            "anthropicAuthToken" => self.anthropic_auth_token.as_ref(),
            "claudeCodeOauthToken" => self.claude_code_oauth_token.as_ref(),
            "anthropicBaseUrl" => self.anthropic_base_url.as_ref(),
            _ => None,
        }
    }

    /// Returns the variables that the configuration's own fields set.
    pub fn credential_variables(&self) -> impl Iterator<Item = (&'static Credential, &Secret)> {
        CREDENTIALS.iter().filter_map(|row| Some((row, self.credential(row)?)))
    }

    /// Returns every secret text of the configuration: credentials, the values
    /// of `env`, and the headers, variables and addresses of MCP servers.
    #[must_use]
    pub fn secret_values(&self) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for (row, value) in self.credential_variables() {
            secrets.extend(row.secrets_in(value.expose()).into_iter().map(Secret::from));
        }
        for (name, value) in self.env.iter().flatten() {
            secrets.push(value.clone());
            secrets.extend(secrets_of_variable(name, value.expose()).into_iter().map(Secret::from));
        }
        if let Some(servers) = &self.mcp_servers {
            servers::collect_secrets(servers, &mut secrets);
        }
        if let Some(agents) = &self.agents {
            servers::collect_agents_secrets(agents, &mut secrets);
        }
        secrets
    }

    /// Returns whether a field of the configuration logs the agent in.
    #[must_use]
    pub fn has_login(&self) -> bool {
        logins().any(|row| self.credential(row).is_some())
    }
}

/// Returns the secret parts of a variable: those of its row in [`CREDENTIALS`],
/// or the password if it holds an address.
#[must_use]
pub fn secrets_of_variable<'v>(name: &str, value: &'v str) -> Vec<&'v str> {
    by_variable(name).map_or_else(|| user_info(value), |row| row.secrets_in(value))
}

/// Returns the values of `Name: value` lines. For `Authorization` and similar
/// headers, also returns the part after the scheme.
pub fn header_values(lines: &str) -> impl Iterator<Item = &str> {
    lines
        .lines()
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(_, value)| header_secrets(value))
}

/// Returns a header's value and, when it has the form `Scheme token`, the
/// token alone, which programs print without the scheme.
pub fn header_secrets(value: &str) -> impl Iterator<Item = &str> {
    let value = value.trim();
    let token = value.split_once(' ').map(|(_, token)| token.trim());
    [Some(value), token].into_iter().flatten().filter(|text| !text.is_empty())
}

/// Returns the user information of an address, `user:password`, and the
/// password alone.
#[must_use]
pub fn user_info(address: &str) -> Vec<&str> {
    let Some((_, rest)) = address.split_once("://") else { return Vec::new() };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let Some((user_info, _)) = authority.rsplit_once('@') else { return Vec::new() };
    let password = user_info.split_once(':').map(|(_, password)| password);
    [Some(user_info), password].into_iter().flatten().filter(|text| !text.is_empty()).collect()
}

/// Returns the values of an address's query.
pub fn query_values(address: &str) -> impl Iterator<Item = &str> {
    let address = address.split_once('#').map_or(address, |(address, _)| address);
    let query = address.split_once('?').map(|(_, query)| query);
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    pairs.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_the_table_is_a_field_of_the_configuration() {
        for row in CREDENTIALS {
            let Some(field) = row.field else { continue };
            let body = format!(r#"{{"{field}":"https://user:secret@host/"}}"#);
            let config =
                QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap().config;
            assert!(config.credential(row).is_some(), "{field}");
            assert_eq!(config.credential_variables().count(), 1, "{field}");
            assert_eq!(config.has_login(), row.is_login(), "{field}");
        }
    }

    #[test]
    fn variables_are_listed_once() {
        for (index, row) in CREDENTIALS.iter().enumerate() {
            assert!(CREDENTIALS[..index].iter().all(|other| other.variable != row.variable));
            assert_eq!(by_variable(row.variable), Some(row));
        }
    }

    #[test]
    fn secret_parts_are_found() {
        let headers = by_variable(CUSTOM_HEADERS).unwrap();
        assert_eq!(
            headers.secrets_in("X-A: one\nAuthorization: Bearer two\nbroken\nX-Empty:"),
            ["one", "Bearer two", "two"]
        );
        let url = by_variable(BASE_URL).unwrap();
        assert_eq!(url.secrets_in("https://user:pass@host/path@x"), ["user:pass", "pass"]);
        assert_eq!(url.secrets_in("https://token@host?x"), ["token"]);
        assert!(url.secrets_in("https://host/a@b").is_empty());
        assert!(url.secrets_in("not an address").is_empty());
        assert_eq!(by_variable("OPENAI_API_KEY").unwrap().secrets_in("k"), ["k"]);
    }
}
