//! The `result` line and its figures.

use std::time::Duration;

use serde_json::{Value, json};

use super::lines::{Facts, add_user_uuids};

/// Outcome of a turn.
pub(super) enum Outcome<'a> {
    /// Success, with the last text.
    Success(&'a str),
    /// Failure as after an API error: the subtype is `success`, and `is_error`
    /// is set.
    Failure(&'a str),
    /// Interrupted.
    Aborted {
        /// True if it was interrupted in a tool call or its permission request.
        tool: bool,
    },
}

/// Figures of a turn and of the process so far. Tokens and cost are invented,
/// but their sums are right.
pub(super) struct Figures {
    pub(super) turn: Tokens,
    pub(super) total: Tokens,
    pub(super) duration: Duration,
    pub(super) total_duration: Duration,
    pub(super) num_turns: u64,
    pub(super) result_index: u64,
}

/// Tokens, counted as words.
#[derive(Clone, Copy, Default)]
pub(super) struct Tokens {
    pub(super) input: u64,
    pub(super) output: u64,
}

impl Tokens {
    /// Returns US dollars at an invented price: 4 per million in, 20 out.
    fn cost(self) -> f64 {
        (self.input * 4 + self.output * 20) as f64 / 1e6
    }

    fn by_model(self, model: &str) -> Value {
        json!({model: {
            "inputTokens": self.input,
            "outputTokens": self.output,
            "cacheReadInputTokens": 0,
            "cacheCreationInputTokens": 0,
            "webSearchRequests": 0,
            "costUSD": self.cost(),
            "contextWindow": 1_000_000,
            "maxOutputTokens": 128_000,
            "thinkingTokens": 0,
            "cacheCreationEphemeral5mInputTokens": 0,
            "cacheCreationEphemeral1hInputTokens": 0,
            "canonicalModel": model,
            "provider": "demo",
            "costBasis": "unknown",
        }})
    }
}

/// Builds `result`, the last line of a turn.
pub(super) fn result(
    facts: &Facts<'_>,
    outcome: &Outcome<'_>,
    figures: &Figures,
    denials: &[Value],
    user_uuids: &[String],
    uuid: &str,
) -> Value {
    let milliseconds = |duration: Duration| duration.as_millis() as u64;
    let aborted_tool = match outcome {
        Outcome::Aborted { tool } => Some(*tool),
        _ => None,
    };
    let stop_reason = match aborted_tool {
        None => json!("end_turn"),
        Some(true) => json!("tool_use"),
        Some(false) => Value::Null,
    };
    let mut line = json!({
        "duration_api_ms": milliseconds(figures.total_duration),
        "stop_reason": stop_reason,
        "session_id": facts.session_id,
        "total_cost_usd": figures.total.cost(),
        "usage": {
            "input_tokens": figures.turn.input,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": figures.turn.output,
            "output_tokens_details": {"thinking_tokens": 0},
            "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 0},
            "service_tier": "standard",
            "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
            "inference_geo": "",
            "iterations": [],
            "speed": "standard",
            "fallback_credit": null,
        },
        "modelUsage": figures.total.by_model(facts.model),
        "permission_denials": denials,
        "terminal_reason": match aborted_tool {
            None => "completed",
            Some(true) => "aborted_tools",
            Some(false) => "aborted_streaming",
        },
        "fast_mode_state": "off",
        "fast_mode_disabled_reason": "sdk_opt_in_required",
        "subagent_stats": {
            "spawned": 0,
            "requested": {"background": 0, "foreground": 0, "unset": 0},
            "started_in_background": 0,
            "max_depth": 0,
            "spawned_by_subagents": 0,
            "completed": 0,
            "failed": 0,
            "killed": {"parent": 0, "user": 0, "system": 0},
            "refused": {"depth_limit": 0, "concurrency_limit": 0, "budget": 0},
            "by_type": {},
        },
        "safety_stops": 0,
        "is_error": !matches!(outcome, Outcome::Success(_)),
        "num_turns": figures.num_turns,
    });
    match outcome {
        Outcome::Success(text) | Outcome::Failure(text) => {
            line["subtype"] = json!("success");
            line["api_error_status"] = Value::Null;
            line["result"] = json!(text);
            line["ttft_ms"] = json!(1);
            line["type"] = json!("result");
        }
        Outcome::Aborted { .. } => {
            line["subtype"] = json!("error_during_execution");
            line["errors"] = json!([format!(
                "[ede_diagnostic] result_type=user last_content_type=n/a stop_reason={}",
                stop_reason.as_str().unwrap_or("null")
            )]);
            // Only this case has the key at this position; setting it again
            // keeps the position.
            if let Some(last) = user_uuids.last() {
                line["user_message_uuid"] = json!(last);
            }
            line["type"] = json!("result");
        }
    }
    line["duration_ms"] = json!(milliseconds(figures.duration));
    line["uuid"] = json!(uuid);
    if aborted_tool.is_none() {
        line["ttft_stream_ms"] = json!(1);
        line["time_to_request_ms"] = json!(1);
        line["first_content_frame_ms"] = json!(1);
    }
    add_user_uuids(&mut line, user_uuids);
    line["queued_turn_count"] = json!(0);
    line["result_index"] = json!(figures.result_index);
    line["model_usage_since_last_result"] = figures.turn.by_model(facts.model);
    line
}
