//! The object that `--json` prints.

use claude_relay_client::{Answer, RawJson};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::notifications::Notifications;
use super::run::Seen;
use crate::turn::Ended;

#[derive(Serialize)]
pub(super) struct Report<'a> {
    session_id: Option<&'a str>,
    /// Present where the agent names its turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_id: Option<String>,
    /// `completed`, `failed`, `interrupted` or `timeout`.
    status: &'a str,
    is_error: bool,
    model: Option<&'a str>,
    text: &'a str,
    /// The answer in the form of `--output-schema`.
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_output: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    /// The tools that were not allowed, in the agent's words.
    permission_denials: &'a [Denial],
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<&'a Notifications>,
    metrics: Metrics,
}

#[derive(Serialize)]
struct Metrics {
    latency_ms: u128,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_input_tokens: u64,
    cache_creation_input_tokens: u64,
    /// Of this turn, in US dollars, where it is known: not in a conversation
    /// that goes on.
    cost_usd: Option<f64>,
    /// Of the conversation, as long as its agent process has run.
    conversation_cost_usd: Option<f64>,
    turns: Option<u64>,
}

/// A tool that was not allowed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Denial {
    pub(crate) tool_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tool_use_id: Option<String>,
    #[serde(default)]
    tool_input: serde_json::Value,
}

impl Denial {
    /// One of this program, by a request of the agent.
    pub(super) fn new(tool: &str, input: &RawJson) -> Self {
        Self {
            tool_name: tool.to_owned(),
            tool_use_id: None,
            tool_input: input.parse().unwrap_or_default(),
        }
    }

    /// All of a turn: those that the agent names at its end, or else those that
    /// were seen.
    pub(super) fn of_turn(answer: &Answer, seen: Vec<Self>) -> Vec<Self> {
        #[derive(Deserialize)]
        struct Line {
            permission_denials: Vec<Denial>,
        }
        let named = answer.result.as_ref().and_then(|result| result.parse::<Line>().ok());
        named.map_or(seen, |line| line.permission_denials)
    }
}

impl<'a> Report<'a> {
    /// `begun`: the conversation began with this turn, so that its cost is the
    /// turn's.
    pub(super) fn new(ended: &'a Ended, seen: &'a Seen, begun: bool) -> Self {
        let answer = &ended.answer;
        let structured = answer.structured_output.as_deref();
        Self {
            session_id: answer.session_id.as_deref(),
            turn_id: turn_id(answer),
            status: ended.status,
            is_error: answer.is_error || ended.exit.message().is_some(),
            model: answer.model.as_deref(),
            text: structured.unwrap_or(&answer.text),
            structured_output: structured.and_then(|json| serde_json::from_str(json).ok()),
            error: ended.exit.message(),
            permission_denials: &seen.denials,
            notifications: Some(&seen.notifications).filter(|seen| !seen.is_empty()),
            metrics: Metrics {
                latency_ms: answer.latency.as_millis(),
                input_tokens: answer.usage.input_tokens,
                output_tokens: answer.usage.output_tokens,
                cache_read_input_tokens: answer.usage.cache_read_input_tokens,
                cache_creation_input_tokens: answer.usage.cache_creation_input_tokens,
                cost_usd: answer.total_cost_usd.filter(|_| begun),
                conversation_cost_usd: answer.total_cost_usd,
                turns: answer.num_turns,
            },
        }
    }
}

/// The id in the line that ended the turn.
fn turn_id(answer: &Answer) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        turn: Turn,
    }
    #[derive(Deserialize)]
    struct Turn {
        id: String,
    }
    let line: Line = answer.result.as_ref()?.parse().ok()?;
    Some(line.params.turn.id)
}
