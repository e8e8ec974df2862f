//! The body of `POST /config`.

use schemars::{Schema, json_schema};
use serde_json::{Map, Value, json};

use crate::config::fields::{FIELDS, Field, Kind};
use crate::config::{MAX_AUTH_TOKEN_BYTES, MIN_AUTH_TOKEN_BYTES};

/// Returns the schema of a configuration. Unknown fields are allowed, as on the
/// wire, and so is `null` for a field that is not set.
#[must_use]
pub fn schema() -> Schema {
    let properties: Map<String, Value> = FIELDS
        .iter()
        .map(|field| {
            let value = json!({
                "description": field.doc,
                "examples": [serde_json::from_str::<Value>(field.example).unwrap_or_default()],
                "anyOf": [value(field), { "type": "null" }],
            });
            (field.name.to_owned(), value)
        })
        .collect();
    json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration",
        "description": "The configuration of `POST /config`; see docs/configuration.md.",
        "type": "object",
        "properties": properties,
    })
}

fn value(field: &Field) -> Value {
    match field.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Whole(least) => json!({ "type": "integer", "minimum": least }),
        Kind::Positive => json!({ "type": "number", "exclusiveMinimum": 0 }),
        Kind::OneOf(names) => json!({ "enum": names }),
        Kind::List | Kind::Items => strings(),
        Kind::Object => json!({ "type": "object" }),
        Kind::Own(_) => own(field.name),
    }
}

fn strings() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

/// The forms that only one field has. A field without a row here is any value,
/// which a test does not let pass.
fn own(name: &str) -> Value {
    let preset = json!({ "const": "claude_code" });
    match name {
        "agents" => json!({
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {
                    "description": { "type": "string" },
                    "prompt": { "type": "string" },
                    "model": { "type": "string" },
                    "tools": strings(),
                    "disallowedTools": strings(),
                    "mcpServers": {
                        "type": "array",
                        "items": { "anyOf": [{ "type": "string" }, { "type": "object" }] },
                    },
                },
            },
        }),
        "systemPrompt" => json!({
            "anyOf": [
                { "type": "string" },
                strings(),
                {
                    "type": "object",
                    "properties": {
                        "type": { "const": "custom" },
                        "prompt": { "anyOf": [{ "type": "string" }, strings()] },
                    },
                    "required": ["type", "prompt"],
                },
                {
                    "type": "object",
                    "properties": {
                        "type": { "const": "preset" },
                        "preset": preset,
                        "append": { "type": "string" },
                    },
                    "required": ["type", "preset"],
                },
            ],
        }),
        "mcpServers" => json!({
            "type": "object",
            "additionalProperties": { "type": "object" },
        }),
        "tools" => json!({
            "anyOf": [
                strings(),
                {
                    "type": "object",
                    "properties": { "type": { "const": "preset" }, "preset": preset },
                    "required": ["type", "preset"],
                },
            ],
        }),
        "settingSources" => json!({
            "type": "array",
            "items": { "enum": ["user", "project", "local"] },
        }),
        "outputFormat" => json!({
            "type": "object",
            "properties": { "type": { "const": "json_schema" }, "schema": { "type": "object" } },
            "required": ["type", "schema"],
        }),
        "env" | "toolAliases" => json!({
            "type": "object",
            "additionalProperties": { "type": "string" },
        }),
        "extraArgs" => json!({
            "type": "object",
            "additionalProperties": { "type": ["string", "null"] },
        }),
        "anthropicBaseUrl" => json!({ "type": "string" }),
        "hooks" => json!({
            "type": "object",
            "additionalProperties": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "matcher": { "type": ["string", "null"] },
                        "hookCallbackIds": strings(),
                        "timeout": {
                            "anyOf": [{ "type": "number", "exclusiveMinimum": 0 }, { "type": "null" }],
                        },
                    },
                },
            },
        }),
        "skills" => json!({ "anyOf": [{ "const": "all" }, strings()] }),
        "plugins" => json!({
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": { "const": "local" },
                    "path": { "type": "string" },
                    "skipMcpDiscovery": { "type": "boolean" },
                },
                "required": ["type", "path"],
                "additionalProperties": false,
            },
        }),
        "thinking" => {
            let display = json!({ "enum": ["summarized", "omitted"] });
            json!({
                "oneOf": [
                    {
                        "type": "object",
                        "properties": { "type": { "const": "adaptive" }, "display": display },
                        "required": ["type"],
                        "additionalProperties": false,
                    },
                    {
                        "type": "object",
                        "properties": {
                            "type": { "const": "enabled" },
                            "budgetTokens": { "type": "integer", "minimum": 1 },
                            "display": display,
                        },
                        "required": ["type"],
                        "additionalProperties": false,
                    },
                    {
                        "type": "object",
                        "properties": { "type": { "const": "disabled" } },
                        "required": ["type"],
                        "additionalProperties": false,
                    },
                ],
            })
        }
        "taskBudget" => json!({
            "type": "object",
            "properties": { "total": { "type": "integer", "minimum": 1 } },
            "required": ["total"],
        }),
        "sessionId" | "resumeSessionAt" | "resumeDropsTurn" => json!({
            "type": "string",
            "pattern": "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
        }),
        "settings" => json!({ "anyOf": [{ "type": "object" }, { "type": "string" }] }),
        "toolConfig" => json!({
            "type": "object",
            "properties": {
                "askUserQuestion": {
                    "type": "object",
                    "properties": { "previewFormat": { "enum": ["markdown", "html"] } },
                    "additionalProperties": false,
                },
            },
            "additionalProperties": false,
        }),
        "authToken" => json!({
            "type": "string",
            "minLength": MIN_AUTH_TOKEN_BYTES,
            "maxLength": MAX_AUTH_TOKEN_BYTES,
        }),
        _ => json!({}),
    }
}
