//! The options of one call, laid over the server's configuration and taken back
//! at its end, so that they do not hold for whoever comes next.

use claude_relay_client::{ClientBuilder, Configuration, ConfigureError, RawJson, RequestError};
use serde_json::{Map, Value};

/// The fields that a credential of the caller's environment may set.
const CREDENTIALS: [&str; 3] = ["anthropicApiKey", "anthropicAuthToken", "claudeCodeOauthToken"];

/// The fields that a call sets, as they were before.
pub(crate) struct Overlay {
    builder: ClientBuilder,
    before: Map<String, Value>,
    /// True if the server has a credential of its own, which the caller's must
    /// not replace: it could not be brought back.
    pub(super) has_credential: bool,
}

impl Overlay {
    /// Looks at the fields that `configuration` is going to set. `None` where
    /// nothing can be taken back: a server of another kind replaces all.
    pub(super) async fn look(
        builder: &ClientBuilder,
        configuration: &Configuration,
    ) -> Result<Option<Self>, RequestError> {
        // Reading is what tells whether the address is fit for the token.
        builder.get_configuration().await?;
        // No secret goes along from here on.
        let builder = builder.clone().allow_plaintext(true);
        let Ok(now) = builder.patch_configuration(json(&Map::new())?).await else {
            return Ok(None);
        };
        let values: Map<String, Value> = now.config.parse().unwrap_or_default();
        let set = serde_json::to_value(configuration).unwrap_or_default();
        if let Some(secret) = now.secrets.iter().find(|secret| covers(&set, secret)) {
            return Err(RequestError::InvalidOption {
                option: "configuration",
                reason: format!(
                    "{secret} of the server is secret, so it could not be brought back after this \
                     call: change it for good with `config set`"
                ),
            });
        }
        let mut before = undoing(&set, &values);
        let has_credential = now.secrets.iter().any(|name| CREDENTIALS.contains(&name.as_str()));
        if !has_credential {
            before.insert(CREDENTIALS[0].to_owned(), Value::Null);
        }
        Ok(Some(Self { builder, before, has_credential }))
    }

    /// Takes the options back.
    pub(super) async fn take_back(&self) -> Result<(), ConfigureError> {
        self.builder.patch_configuration(json(&self.before)?).await.map(drop)
    }
}

/// Returns the patch that undoes the patch `set` where `values` were before.
/// Patches merge objects, and null removes.
fn undoing(set: &Value, values: &Map<String, Value>) -> Map<String, Value> {
    let fields = set.as_object().into_iter().flatten();
    let undo = |(name, set): (&String, &Value)| {
        let value = match (set, values.get(name)) {
            (Value::Object(_), Some(Value::Object(values))) => Value::from(undoing(set, values)),
            (_, value) => value.cloned().unwrap_or_default(),
        };
        (name.clone(), value)
    };
    fields.map(undo).collect()
}

/// Returns true if the patch `set` replaces or removes the secret of this name,
/// such as `anthropicApiKey` or `env.TOKEN`.
fn covers(set: &Value, secret: &str) -> bool {
    set.as_object().into_iter().flatten().any(|(name, value)| {
        let Some(rest) = secret.strip_prefix(name.as_str()) else { return false };
        match rest.strip_prefix('.') {
            Some(below) => !value.is_object() || covers(value, below),
            None => rest.is_empty(),
        }
    })
}

fn json(fields: &Map<String, Value>) -> Result<RawJson, RequestError> {
    RawJson::new(Value::from(fields.clone()).to_string()).map_err(|error| {
        RequestError::InvalidOption { option: "configuration", reason: error.to_string() }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_is_undone_field_by_field() {
        let values = json!({"model": "opus", "env": {"A": "***"}, "tools": ["Read"]});
        let set =
            json!({"model": "haiku", "env": {"B": "1"}, "tools": {"x": 1}, "agents": {"a": {}}});
        let undone = undoing(&set, values.as_object().unwrap());
        let expected =
            json!({"model": "opus", "env": {"B": null}, "tools": ["Read"], "agents": null});
        assert_eq!(Value::from(undone), expected);
    }

    #[test]
    fn a_secret_that_would_be_lost_is_seen() {
        let set =
            json!({"env": {"A": "1", "b.c": "2"}, "mcpServers": null, "anthropicApiKey": "k"});
        for (secret, covered) in [
            ("env.A", true),
            ("env.B", false),
            ("env.b.c", true),
            ("mcpServers.x.headers.Authorization", true),
            ("anthropicApiKey", true),
            ("anthropicApiKeyHelper", false),
            ("claudeCodeOauthToken", false),
        ] {
            assert_eq!(covers(&set, secret), covered, "{secret}");
        }
    }
}
