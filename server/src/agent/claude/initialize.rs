//! The `initialize` request, which sets the system prompt.

use std::collections::BTreeMap;

use claude_relay_protocol::config::fields::{Field, Target};
use claude_relay_protocol::config::{QueryConfig, SystemPrompt};
use serde::Serialize;
use serde_json::value::RawValue;

use super::options;

/// Fields of the SDK in the SDK's order. Absent ones are left out instead of
/// `null`, which the agent takes for an empty prompt.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Initialize<'a> {
    subtype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_schema: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_prompt: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    append_system_prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exclude_dynamic_sections: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agents: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    system_prompt_snapshot: Option<bool>,
    #[serde(flatten)]
    passed_on: BTreeMap<&'static str, &'a RawValue>,
}

fn raw(text: &str) -> Result<&RawValue, serde_json::Error> {
    serde_json::from_str(text)
}

/// Returns the `request` object of the `initialize` control request, on one
/// line.
///
/// An agent that goes on with a conversation keeps the system prompt that it
/// has recorded, unless it is told not to: a changed one would never count.
pub(super) fn request(config: &QueryConfig, resumes: bool) -> Result<String, serde_json::Error> {
    let mut passed_on = BTreeMap::new();
    for (name, value) in &config.other {
        if let Some(Target::Initialize(key)) = Field::by_name(name).map(|field| field.target) {
            // The SDK names skills one by one or not at all.
            if key != "skills" || value.get().starts_with('[') {
                passed_on.insert(key, raw(value.get())?);
            }
        }
    }
    let agents = config.complete_agents();
    if options::plugins_in_first_request(config)
        && let Some(plugins) = options::json(config, "plugins")
    {
        passed_on.insert("plugins", raw(plugins)?);
    }
    let mut request = Initialize {
        subtype: "initialize",
        json_schema: config.output_schema.as_ref().map(|schema| raw(schema.get())).transpose()?,
        system_prompt: None,
        append_system_prompt: None,
        system_prompt_snapshot: resumes.then_some(false),
        exclude_dynamic_sections: None,
        agents: agents.as_deref().map(raw).transpose()?,
        passed_on,
    };
    let prompt = match &config.system_prompt {
        Some(SystemPrompt::Custom { prompt, snapshot }) => {
            request.system_prompt_snapshot = snapshot.or(request.system_prompt_snapshot);
            Some(&**prompt)
        }
        prompt => prompt.as_ref(),
    };
    match prompt {
        // An absent prompt means an empty one. Without the field, the agent
        // would use its own.
        None => request.system_prompt = Some(vec![""]),
        Some(SystemPrompt::Text(text)) => request.system_prompt = Some(vec![text]),
        Some(SystemPrompt::Blocks(blocks)) => {
            request.system_prompt = Some(blocks.iter().map(String::as_str).collect());
        }
        Some(SystemPrompt::Custom { .. }) => {}
        Some(SystemPrompt::Preset { append, exclude_dynamic_sections, snapshot }) => {
            request.system_prompt_snapshot = snapshot.or(request.system_prompt_snapshot);
            request.append_system_prompt = append.as_deref();
            request.exclude_dynamic_sections = *exclude_dynamic_sections;
        }
    }
    serde_json::to_string(&request)
}
