//! A configuration from JSON, and one laid over another.

use claude_relay_protocol::secret::Secret;
use serde_json::{Map, Value};

use super::{Configuration, SystemPrompt};
use crate::error::RequestError;

impl Configuration {
    /// Reads a configuration from JSON with the names of the wire, as
    /// `POST /config` takes it. The server judges the values.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Configuration;
    ///
    /// let text = r#"{"model":"opus","env":{"CLAUDE_CODE_USE_BEDROCK":"1"}}"#;
    /// let configuration = Configuration::from_json(text).unwrap();
    /// assert_eq!(configuration.model.as_deref(), Some("opus"));
    /// assert!(Configuration::from_json("[]").is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// [`RequestError::InvalidOption`]: it is not an object of JSON. The reason
    /// repeats nothing of it, which may be secret.
    pub fn from_json(text: &str) -> Result<Self, RequestError> {
        let fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| RequestError::InvalidOption {
                option: "configuration",
                reason: match error.classify() {
                    serde_json::error::Category::Data => "it is not an object of JSON".to_owned(),
                    _ => {
                        format!("it is not JSON: line {}, column {}", error.line(), error.column())
                    }
                },
            })?;
        let mut configuration = Self::default();
        for (name, value) in fields {
            configuration.set(name, value);
        }
        Ok(configuration)
    }

    /// Returns it with `more` laid over it: fields that `more` sets win.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Configuration;
    ///
    /// let base = Configuration::from_json(r#"{"model":"opus","maxTurns":3}"#).unwrap();
    /// let more = Configuration { model: Some("haiku".into()), ..Default::default() };
    /// let both = base.overlaid_with(more);
    /// assert_eq!(both.model.as_deref(), Some("haiku"));
    /// assert_eq!(both.other["maxTurns"], 3);
    /// ```
    #[must_use]
    pub fn overlaid_with(self, more: Self) -> Self {
        let fields = |configuration: &Self| match serde_json::to_value(configuration) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        let set = fields(&more);
        let mut result = more;
        for (name, value) in fields(&self) {
            if !set.contains_key(&name) {
                result.set(name, value);
            }
        }
        result
    }

    /// Sets a field by its name on the wire. Fields that this crate itself acts
    /// on become members; the others, and what has another form, go along as they
    /// are.
    fn set(&mut self, name: String, value: Value) {
        let secret = |text: String| Some(Secret::from(text));
        match (&*name, value) {
            ("provider", Value::String(text)) => self.provider = Some(text),
            ("model", Value::String(text)) => self.model = Some(text),
            ("cwd", Value::String(text)) => self.cwd = Some(text),
            ("resume", Value::String(text)) => self.resume = Some(text),
            ("systemPrompt", Value::String(text)) => {
                self.system_prompt = Some(SystemPrompt::Text(text));
            }
            ("includePartialMessages", Value::Bool(partial)) => {
                self.include_partial_messages = Some(partial);
            }
            ("anthropicBaseUrl", Value::String(text)) => self.anthropic_base_url = Some(text),
            ("anthropicApiKey", Value::String(text)) => self.anthropic_api_key = secret(text),
            ("claudeCodeOauthToken", Value::String(text)) => {
                self.claude_code_oauth_token = secret(text);
            }
            ("anthropicAuthToken", Value::String(text)) => self.anthropic_auth_token = secret(text),
            ("authToken", Value::String(text)) => self.auth_token = secret(text),
            ("mcpServers", Value::Object(servers)) => self.mcp_servers = Some(servers),
            ("env", Value::Object(variables)) if variables.values().all(Value::is_string) => {
                let secret = |(name, value): (String, Value)| {
                    (name, Secret::from(value.as_str().unwrap_or_default()))
                };
                self.env = Some(variables.into_iter().map(secret).collect());
            }
            (_, value) => {
                self.other.insert(name, value);
            }
        }
    }
}
