//! Addresses: the fields and variables of a configuration that decide where
//! requests with a credential go.
//!
//! A credential goes only to the address that it came with. So a configuration
//! that names an address has to bring the credential for it, and whoever keeps
//! a credential by its mask cannot change an address.

use serde_json::Value;

use crate::config::{Provider, QueryConfig};
use crate::credentials::{self, CREDENTIALS, Receiver};
use crate::json::entries;
use crate::secret::Secret;

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

/// Members of a sub-agent's definition that are words for the model: nothing in
/// them is replaced.
const PROSE: [&str; 2] = ["description", "prompt"];

/// Lists of variables that a hook may put into its request.
const NAMES_OF_VARIABLES: [&str; 2] = ["allowedEnvVars", "httpHookAllowedEnvVars"];

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
    /// A reference that could make another one.
    #[error(
        "{field}: holds a reference that is put together of others, or stands for a text with a `$`, and could become one to the server's credential: write ${{NAME}} or ${{NAME:-default}}"
    )]
    Composed {
        /// The field.
        field: &'static str,
    },
    /// Text in which references cannot be looked for.
    #[error("{field}: cannot be read, so that a reference to the server's credential may be in it")]
    Unreadable {
        /// The field.
        field: &'static str,
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
        if let Some(servers) = &self.mcp_servers {
            self.check_references("mcpServers", servers.expose())?;
        }
        match &self.agents {
            Some(agents) => self.check_agents("agents", agents.expose()),
            None => Ok(()),
        }
    }

    /// Checks sub-agents as [`check_references`](Self::check_references) does, but for
    /// the words in them that are for the model.
    ///
    /// # Errors
    ///
    /// As it.
    pub fn check_agents(&self, field: &'static str, agents: &str) -> Result<(), AddressError> {
        let unreadable = |_| AddressError::Unreadable { field };
        for (_, agent) in entries(agents).map_err(unreadable)? {
            for (name, value) in entries(agent.get()).map_err(unreadable)? {
                if !PROSE.contains(&name.as_ref()) {
                    self.check_references(field, value.get())?;
                }
            }
        }
        Ok(())
    }

    /// Checks that `text`, the JSON of `field`, refers to no credential but the
    /// configuration's own.
    ///
    /// # Errors
    ///
    /// The first reference to a credential of the server, or one that could become
    /// one: some agents replace references twice.
    pub fn check_references(&self, field: &'static str, text: &str) -> Result<(), AddressError> {
        let value: Value =
            serde_json::from_str(text).map_err(|_| AddressError::Unreadable { field })?;
        self.check_value(field, &value)
    }

    /// Returns whether the configuration sets a variable with a credential.
    fn brings(&self, variable: &str) -> bool {
        self.own_values(variable).any(|value| !value.trim().is_empty())
    }

    /// Returns the values that the configuration gives a variable.
    fn own_values<'a>(&'a self, variable: &'a str) -> impl Iterator<Item = &'a str> {
        let field = credentials::by_variable(variable).and_then(|row| self.credential(row));
        let env = self.env.iter().flatten().filter(move |(name, _)| name == variable);
        field.into_iter().chain(env.map(|(_, value)| value)).map(Secret::expose)
    }

    /// Checks that no hook in settings puts a credential into its request but the
    /// configuration's own.
    ///
    /// # Errors
    ///
    /// The first credential of the server that a hook may put in.
    pub fn check_settings(&self, field: &'static str, text: &str) -> Result<(), AddressError> {
        let value: Value =
            serde_json::from_str(text).map_err(|_| AddressError::Unreadable { field })?;
        self.check_lists(field, &value)
    }

    fn check_value(&self, field: &'static str, value: &Value) -> Result<(), AddressError> {
        match value {
            Value::String(text) => self.check_text(field, text),
            Value::Array(list) => list.iter().try_for_each(|value| self.check_value(field, value)),
            Value::Object(map) => map.iter().try_for_each(|(name, value)| {
                self.check_text(field, name)?;
                self.check_value(field, value)
            }),
            _ => Ok(()),
        }
    }

    fn check_lists(&self, field: &'static str, value: &Value) -> Result<(), AddressError> {
        match value {
            Value::Array(list) => list.iter().try_for_each(|value| self.check_lists(field, value)),
            Value::Object(map) => map.iter().try_for_each(|(name, value)| {
                if NAMES_OF_VARIABLES.contains(&name.as_str()) {
                    let names = value.as_array().into_iter().flatten();
                    let mut names = names.filter_map(Value::as_str);
                    names.try_for_each(|name| self.check_name(field, name))?;
                }
                self.check_lists(field, value)
            }),
            _ => Ok(()),
        }
    }

    /// Checks the references of a text, `${NAME}` or `${NAME:-default}`. A `$` comes
    /// from the text alone and never stands before a reference, so that what they are
    /// replaced by makes no other.
    fn check_text(&self, field: &'static str, text: &str) -> Result<(), AddressError> {
        let mut parts = text.split("${").peekable();
        let mut before = parts.next().unwrap_or_default();
        while let Some(part) = parts.next() {
            let reference = match part.split_once('}') {
                Some((reference, _)) => reference,
                // It has no end.
                None if parts.peek().is_none() => part,
                None => return Err(AddressError::Composed { field }),
            };
            let end = reference.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let name = &reference[..end.unwrap_or(reference.len())];
            self.check_name(field, name)?;
            let stands_for_more = self.own_values(name).any(|value| value.contains('$'));
            if before.ends_with('$') || reference.contains('$') || stands_for_more {
                return Err(AddressError::Composed { field });
            }
            before = part;
        }
        Ok(())
    }

    /// Checks that a variable holds no credential of the server.
    fn check_name(&self, field: &'static str, name: &str) -> Result<(), AddressError> {
        match credentials::by_variable(name) {
            Some(row) if !self.brings(row.variable) => {
                Err(AddressError::Reference { field, variable: row.variable })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
