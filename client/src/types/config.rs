//! The agent's configuration, as `POST /config` takes it.

mod json;
mod options;

use std::collections::BTreeMap;

use claude_relay_protocol::json::{elements, fields};
use claude_relay_protocol::secret::{Secret, exposed};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

pub use self::options::{Plugin, Skills, TaskBudget, Thinking};
use crate::types::raw_json::{RawJson, text_of};

/// The agent's configuration. The server decides about fields that are `None`.
///
/// It replaces the server's as a whole, so it is given whole. Names and
/// meanings are the official SDK's; the server checks them and names the field
/// that it refuses.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// Sub-agents by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<BTreeMap<String, Agent>>,
    /// Tools that run without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_tools: Option<Vec<String>>,
    /// Tools that are taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disallowed_tools: Option<Vec<String>>,
    /// The tools there are: a list of names, or the SDK's preset object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Value>,
    /// The agent's system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<SystemPrompt>,
    /// The model's name, such as `opus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The model to use when the first is overloaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    /// MCP servers by name, each as the SDK takes it. Their headers are
    /// secret: prefer a token that can be taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_servers: Option<Map<String, Value>>,
    /// `default`, `acceptEdits`, `plan`, `bypassPermissions`. The server's mode
    /// is the ceiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_mode: Option<String>,
    /// The most calls of the model in one turn, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<u64>,
    /// The most tokens for thinking; 0 turns it off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_thinking_tokens: Option<u64>,
    /// The most to spend, in US dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_budget_usd: Option<f64>,
    /// The effort of thinking: `low`, `medium`, `high`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effort: Option<String>,
    /// Text as it is being written, and not only in whole blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_partial_messages: Option<bool>,
    /// The settings files of the CLI that count: `user`, `project`, `local`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setting_sources: Option<Vec<String>>,
    /// More directories the agent may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub additional_directories: Option<Vec<String>>,
    /// The form of the answer: `{"type":"json_schema","schema":{…}}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_format: Option<Value>,
    /// The id of a conversation to go on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
    /// Go on with the last conversation of the directory.
    #[serde(rename = "continue", skip_serializing_if = "Option::is_none")]
    pub continue_last: Option<bool>,
    /// With `resume`: leave that conversation as it is and begin another from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fork_session: Option<bool>,
    /// The working directory, inside the server's workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables laid over the agent's environment. Every value is secret.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed::option_map")]
    pub env: Option<BTreeMap<String, Secret>>,
    /// A key of the Anthropic API.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed::option")]
    pub anthropic_api_key: Option<Secret>,
    /// A token of a Claude subscription.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed::option")]
    pub claude_code_oauth_token: Option<Secret>,
    /// A bearer token for a gateway in front of the API.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed::option")]
    pub anthropic_auth_token: Option<Secret>,
    /// The address of the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anthropic_base_url: Option<String>,
    /// `claude` or `codex`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Beta features of the Messages API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<Vec<String>>,
    /// Events of hooks, as messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub include_hook_events: Option<bool>,
    /// A suggestion for the next prompt after each turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_suggestions: Option<bool>,
    /// Hooks that the client runs: each reaches it as `agent_request`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Value>,
    /// Names of MCP servers that the client runs: their messages reach it as
    /// `agent_request`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sdk_mcp_servers: Option<Vec<String>>,
    /// The sub-agent whose prompt, tools and model the main conversation has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The skills of the main conversation; each is allowed without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skills: Option<Skills>,
    /// Plugins: commands, agents, skills, hooks and MCP servers of a directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Vec<Plugin>>,
    /// The way plugins are told: on the command line or, by a CLI from 2.1.261 on,
    /// in the first request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_delivery: Option<String>,
    /// The model's thinking; counts before `maxThinkingTokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thinking: Option<Thinking>,
    /// Tokens that the model is told to get along with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_budget: Option<TaskBudget>,
    /// The steps of plan mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan_mode_instructions: Option<String>,
    /// The title of a new conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The id of the conversation that begins; with `resume` or `continue` only
    /// beside `forkSession`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// `false` keeps the conversation off the disk, so that nothing can resume it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub persist_session: Option<bool>,
    /// With `resume`: the last message that counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_session_at: Option<String>,
    /// With `resumeSessionAt`: the message of the only turn that may be dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_drops_turn: Option<String>,
    /// Settings that beat those of the files; variables belong into `env`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Value>,
    /// The CLI's own sandbox around its commands; laid over `settings.sandbox`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Map<String, Value>>,
    /// Settings that only restrict, as an administrator's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_settings: Option<Map<String, Value>>,
    /// Use no MCP servers but those of this configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict_mcp_config: Option<bool>,
    /// The directory whose project settings count in place of the working
    /// directory's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_config_root: Option<String>,
    /// Keep copies of changed files, for `rewind_files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_file_checkpointing: Option<bool>,
    /// Settings of single tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_config: Option<Map<String, Value>>,
    /// Tools that run in place of others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_aliases: Option<BTreeMap<String, String>>,
    /// `none` denies what would be asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_prompts: Option<String>,
    /// The MCP tool that answers permission requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission_prompt_tool_name: Option<String>,
    /// Kinds of `request_user_dialog` that the client answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supported_dialog_kinds: Option<Vec<String>>,
    /// An interrupt leaves background tasks running, because the client can stop
    /// each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_task_stop_affordance: Option<bool>,
    /// Summaries of what sub-agents do, in `task_progress`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_progress_summaries: Option<bool>,
    /// Send the text of sub-agents too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_subagent_text: Option<bool>,
    /// Messages are text: `@path` and slash commands in them are not carried out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbatim_prompts: Option<bool>,
    /// The file for the CLI's own log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug_file: Option<String>,
    /// Flags of the CLI without a field here; shown like everything else, so no
    /// place for secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_args: Option<BTreeMap<String, Option<String>>>,
    /// Claims a server that has no token: from then on it wants this one.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "exposed::option")]
    pub auth_token: Option<Secret>,
    /// Fields this version does not know, sent as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The server's answer to a configuration.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The configuration as it is now, without its secrets.
    pub config: RawJson,
    /// The time at which it takes effect.
    pub applies: Applies,
    /// Fields that the server does not know and did not keep.
    pub ignored: Vec<String>,
    /// For some of those, the known name that was probably meant.
    pub hints: BTreeMap<String, String>,
    /// For options of the SDK among those, why a configuration cannot carry
    /// them.
    pub reasons: BTreeMap<String, String>,
    /// Names of the secrets that are set, such as `env.TOKEN`.
    pub secrets: Vec<String>,
}

/// The time at which a configuration takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Applies {
    /// With the next message.
    Now,
    /// The agent is running with another one; the next client to connect gets
    /// this one, in the same conversation.
    NextStart,
    /// The server does not say.
    Unknown,
}

impl Configured {
    /// Reads it from the JSON of an answer.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let names = ["config", "applies", "ignored", "secrets", "hints", "reasons"];
        let [config, applies, ignored, secrets, hints, reasons] = fields(text, names).ok()?;
        Some(Self {
            config: RawJson::from_raw(config?),
            applies: match text_of(applies).as_deref() {
                Some("now") => Applies::Now,
                Some("next_start") => Applies::NextStart,
                _ => Applies::Unknown,
            },
            ignored: texts(ignored),
            hints: about(hints),
            reasons: about(reasons),
            secrets: texts(secrets),
        })
    }
}

fn texts(list: Option<&RawValue>) -> Vec<String> {
    let list = list.and_then(|list| elements(list).ok()).unwrap_or_default();
    list.into_iter().filter_map(|name| text_of(Some(name)).map(Into::into)).collect()
}

fn about(map: Option<&RawValue>) -> BTreeMap<String, String> {
    map.and_then(|map| serde_json::from_str(map.get()).ok()).unwrap_or_default()
}

/// A sub-agent, as the SDK defines it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Agent {
    /// A description of its use.
    pub description: String,
    /// Its system prompt.
    pub prompt: String,
    /// The tools it has; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// Its model; the main one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Fields this version does not know, sent as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The agent's system prompt.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SystemPrompt {
    /// This text and nothing else.
    Text(String),
    /// The prompt of Claude Code, and perhaps more.
    Preset(Preset),
}

impl SystemPrompt {
    /// Claude Code's own prompt with `more` after it.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::{Configuration, SystemPrompt};
    ///
    /// let prompt = SystemPrompt::claude_code(Some("Be brief.".into()));
    /// let configuration = Configuration { system_prompt: Some(prompt), ..Default::default() };
    /// ```
    #[must_use]
    pub fn claude_code(more: Option<String>) -> Self {
        Self::Preset(Preset { kind: "preset", preset: "claude_code", append: more })
    }
}

impl<T: Into<String>> From<T> for SystemPrompt {
    fn from(text: T) -> Self {
        Self::Text(text.into())
    }
}

/// See [`SystemPrompt::claude_code`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preset {
    #[serde(rename = "type")]
    kind: &'static str,
    preset: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    append: Option<String>,
}

impl Configuration {
    /// Returns true if it says nothing at all.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Configuration;
    ///
    /// assert!(Configuration::default().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns it as JSON without the token that claims a server; `None` if it
    /// says nothing else.
    pub(crate) fn without_claim(&self) -> Result<Option<String>, serde_json::Error> {
        let rest = Self { auth_token: None, ..self.clone() };
        if rest.is_empty() { Ok(None) } else { serde_json::to_string(&rest).map(Some) }
    }

    /// Returns true if it holds a secret.
    pub(crate) fn has_secrets(&self) -> bool {
        self.anthropic_api_key.is_some()
            || self.claude_code_oauth_token.is_some()
            || self.anthropic_auth_token.is_some()
            || self.auth_token.is_some()
            || self.env.is_some()
            || self.mcp_servers.is_some()
    }

    /// Returns true if it holds a credential for the model.
    pub(crate) fn has_credential(&self) -> bool {
        self.anthropic_api_key.is_some()
            || self.claude_code_oauth_token.is_some()
            || self.anthropic_auth_token.is_some()
    }
}

#[cfg(test)]
mod tests;
