//! Echo of a configuration: the part that may be shown.

use serde::ser::{Error, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::fields::{FIELDS, Field, Shown};
use super::mask::mask_url;
use super::servers::{redact, redact_agents};
use super::{MASK, Provider, QueryConfig, Secret, SystemPrompt, Tools};

/// A configuration to be shown; `Serialize` writes it as JSON.
///
/// Credentials are left out. Of `env` and of the `headers` and `env` of MCP
/// servers the names are shown, each with the value `"***"`. Addresses are
/// shown without passwords.
pub struct Echo<'a> {
    config: &'a QueryConfig,
    /// Shows credentials as masks instead of leaving them out.
    masks: bool,
}

impl QueryConfig {
    /// Returns the configuration without its secrets, for `GET /config` and
    /// for the answer to a `POST`.
    #[must_use]
    pub fn echo(&self) -> Echo<'_> {
        Echo { config: self, masks: false }
    }

    /// Returns the configuration with a mask for every secret. Posted back, it
    /// means the same configuration.
    pub(super) fn masked(&self) -> Echo<'_> {
        Echo { config: self, masks: true }
    }
}

impl Serialize for Echo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for field in FIELDS {
            let Some(value) = value(self.config, field).map_err(S::Error::custom)? else {
                continue;
            };
            let value = match field.echo {
                Shown::Whole | Shown::Masked => value,
                Shown::Nothing if self.masks => text(MASK),
                Shown::Nothing => continue,
            };
            let value = RawValue::from_string(value).map_err(S::Error::custom)?;
            map.serialize_entry(field.name, &value)?;
        }
        map.end()
    }
}

/// Returns the value of a field as JSON text, with the secrets inside it
/// masked. A field that is entirely secret becomes a mask.
fn value(config: &QueryConfig, field: &Field) -> Result<Option<String>, serde_json::Error> {
    Ok(match field.name {
        "agents" => config.agents.as_ref().map(redact_agents),
        "allowedTools" => json(&config.allowed_tools)?,
        "systemPrompt" => match &config.system_prompt {
            None => None,
            Some(SystemPrompt::Text(text)) => json(&Some(text))?,
            Some(SystemPrompt::Blocks(blocks)) => json(&Some(blocks))?,
            Some(SystemPrompt::Custom { prompt, snapshot }) => {
                let prompt = match &**prompt {
                    SystemPrompt::Blocks(blocks) => serde_json::to_string(blocks)?,
                    SystemPrompt::Text(text) => serde_json::to_string(text)?,
                    SystemPrompt::Custom { .. } | SystemPrompt::Preset { .. } => text(""),
                };
                let snapshot = snapshot.map(|on| format!(r#","snapshot":{on}"#));
                let snapshot = snapshot.unwrap_or_default();
                Some(format!(r#"{{"type":"custom","prompt":{prompt}{snapshot}}}"#))
            }
            Some(SystemPrompt::Preset { append, exclude_dynamic_sections, snapshot }) => {
                json(&Some(Preset {
                    append: append.as_deref(),
                    exclude_dynamic_sections: *exclude_dynamic_sections,
                    snapshot: *snapshot,
                    ..PRESET
                }))?
            }
        },
        "model" => json(&config.model)?,
        "mcpServers" => config.mcp_servers.as_ref().map(redact),
        "disallowedTools" => json(&config.disallowed_tools)?,
        "tools" => match &config.tools {
            None => None,
            Some(Tools::List(list)) => json(&Some(list))?,
            Some(Tools::Preset) => json(&Some(PRESET))?,
        },
        "permissionMode" => json(&config.permission_mode)?,
        "maxTurns" => json(&config.max_turns)?,
        "maxThinkingTokens" => json(&config.max_thinking_tokens)?,
        "maxBudgetUsd" => json(&config.max_budget_usd)?,
        "fallbackModel" => json(&config.fallback_model)?,
        "effort" => json(&config.effort)?,
        "includePartialMessages" => json(&config.include_partial_messages)?,
        "settingSources" => json(&config.setting_sources)?,
        "additionalDirectories" => json(&config.additional_directories)?,
        "outputFormat" => config
            .output_schema
            .as_ref()
            .map(|schema| format!(r#"{{"type":"json_schema","schema":{}}}"#, schema.get())),
        "resume" => json(&config.resume)?,
        "continue" => json(&config.continue_latest)?,
        "forkSession" => json(&config.fork_session)?,
        "cwd" => json(&config.cwd)?,
        "env" => json(&config.env.as_deref().map(Names))?,
        "anthropicBaseUrl" => {
            json(&config.anthropic_base_url.as_ref().map(|url| mask_url(url.expose())))?
        }
        "anthropicApiKey" => hidden(&config.anthropic_api_key),
        "claudeCodeOauthToken" => hidden(&config.claude_code_oauth_token),
        "anthropicAuthToken" => hidden(&config.anthropic_auth_token),
        "provider" => json(&(config.provider != Provider::default()).then_some(config.provider))?,
        // Not part of the configuration.
        "authToken" => None,
        other => config.other.get(other).map(|value| value.get().to_owned()),
    })
}

fn json(value: &Option<impl Serialize>) -> Result<Option<String>, serde_json::Error> {
    value.as_ref().map(serde_json::to_string).transpose()
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn hidden(secret: &Option<Secret>) -> Option<String> {
    secret.as_ref().map(|_| text(MASK))
}

const PRESET: Preset<'static> = Preset {
    kind: "preset",
    preset: "claude_code",
    append: None,
    exclude_dynamic_sections: None,
    snapshot: None,
};

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Preset<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    preset: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    append: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude_dynamic_sections: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<bool>,
}

/// Names of a map, each with a mask for its value.
struct Names<'a>(&'a [(String, Secret)]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, _)| (name, MASK)))
    }
}
