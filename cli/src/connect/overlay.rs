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
        let mut values: Map<String, Value> = now.config.parse().unwrap_or_default();
        let set = serde_json::to_value(configuration).unwrap_or_default();
        let names = set.as_object().into_iter().flat_map(Map::keys);
        let mut before: Map<_, _> =
            names.map(|name| (name.clone(), values.remove(name).unwrap_or_default())).collect();
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

fn json(fields: &Map<String, Value>) -> Result<RawJson, RequestError> {
    RawJson::new(Value::from(fields.clone()).to_string()).map_err(|error| {
        RequestError::InvalidOption { option: "configuration", reason: error.to_string() }
    })
}
