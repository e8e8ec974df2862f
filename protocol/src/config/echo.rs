//! What may be shown of a configuration.

use serde::ser::{Error, Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::servers::{mask_url, redact, redact_agents};
use super::{MASK, Provider, QueryConfig, Secret, SystemPrompt, Tools};

/// A configuration to be shown, as JSON by way of `Serialize`.
///
/// Credentials are left out. Of `env` and of the `headers` and `env` of MCP
/// servers the names are shown, each with the value `"***"`. Addresses are
/// shown without passwords.
pub struct Echo<'a>(&'a QueryConfig);

impl QueryConfig {
    /// The configuration without its secrets, for `GET /config` and for the
    /// answer to a `POST`.
    #[must_use]
    pub fn echo(&self) -> Echo<'_> {
        Echo(self)
    }
}

impl Serialize for Echo<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Every field is named here, so that a new one cannot be forgotten.
        let QueryConfig {
            agents,
            allowed_tools,
            system_prompt,
            model,
            mcp_servers,
            disallowed_tools,
            tools,
            permission_mode,
            max_turns,
            max_thinking_tokens,
            max_budget_usd,
            fallback_model,
            effort,
            include_partial_messages,
            setting_sources,
            additional_directories,
            output_schema,
            resume,
            continue_latest,
            fork_session,
            cwd,
            env,
            anthropic_api_key: _,
            claude_code_oauth_token: _,
            anthropic_auth_token: _,
            anthropic_base_url,
            provider,
        } = self.0;

        let mut map = serializer.serialize_map(None)?;
        raw(&mut map, "agents", agents.as_ref().map(redact_agents))?;
        field(&mut map, "allowedTools", allowed_tools)?;
        match system_prompt {
            None => {}
            Some(SystemPrompt::Text(text)) => map.serialize_entry("systemPrompt", text)?,
            Some(SystemPrompt::Blocks(blocks)) => map.serialize_entry("systemPrompt", blocks)?,
            Some(SystemPrompt::Preset { append, exclude_dynamic_sections }) => {
                map.serialize_entry(
                    "systemPrompt",
                    &Preset {
                        append: append.as_deref(),
                        exclude_dynamic_sections: *exclude_dynamic_sections,
                        ..PRESET
                    },
                )?;
            }
        }
        field(&mut map, "model", model)?;
        raw(&mut map, "mcpServers", mcp_servers.as_ref().map(redact))?;
        field(&mut map, "disallowedTools", disallowed_tools)?;
        match tools {
            None => {}
            Some(Tools::List(list)) => map.serialize_entry("tools", list)?,
            Some(Tools::Preset) => map.serialize_entry("tools", &PRESET)?,
        }
        field(&mut map, "permissionMode", permission_mode)?;
        field(&mut map, "maxTurns", max_turns)?;
        field(&mut map, "maxThinkingTokens", max_thinking_tokens)?;
        field(&mut map, "maxBudgetUsd", max_budget_usd)?;
        field(&mut map, "fallbackModel", fallback_model)?;
        field(&mut map, "effort", effort)?;
        field(&mut map, "includePartialMessages", include_partial_messages)?;
        field(&mut map, "settingSources", setting_sources)?;
        field(&mut map, "additionalDirectories", additional_directories)?;
        let format = output_schema
            .as_ref()
            .map(|schema| format!(r#"{{"type":"json_schema","schema":{}}}"#, schema.get()));
        raw(&mut map, "outputFormat", format)?;
        field(&mut map, "resume", resume)?;
        field(&mut map, "continue", continue_latest)?;
        field(&mut map, "forkSession", fork_session)?;
        field(&mut map, "cwd", cwd)?;
        field(&mut map, "env", &env.as_deref().map(Names))?;
        let url = anthropic_base_url.as_ref().map(|url| mask_url(url.expose()));
        field(&mut map, "anthropicBaseUrl", &url)?;
        if *provider != Provider::default() {
            map.serialize_entry("provider", provider)?;
        }
        map.end()
    }
}

const PRESET: Preset<'static> =
    Preset { kind: "preset", preset: "claude_code", append: None, exclude_dynamic_sections: None };

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
}

/// A map's names, each with a mask for its value.
struct Names<'a>(&'a [(String, Secret)]);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, _)| (name, MASK)))
    }
}

fn field<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    value: &Option<impl Serialize>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, value),
        None => Ok(()),
    }
}

fn raw<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    text: Option<String>,
) -> Result<(), M::Error> {
    match text {
        Some(text) => {
            let value = RawValue::from_string(text).map_err(M::Error::custom)?;
            map.serialize_entry(name, &value)
        }
        None => Ok(()),
    }
}
