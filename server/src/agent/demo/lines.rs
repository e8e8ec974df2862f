//! The lines of the CLI: their keys and order are those recorded from version
//! 2.1.329, with `type` in the middle of `result`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Version in `initialize` and `system/init`, which tells a page that no model
/// answers.
pub(super) const VERSION: &str = concat!("demo-", env!("CARGO_PKG_VERSION"));

/// Facts that many lines contain.
pub(super) struct Facts<'a> {
    pub(super) session_id: &'a str,
    pub(super) model: &'a str,
    pub(super) permission_mode: &'a str,
    pub(super) cwd: &'a str,
}

/// Builds the `response` of an `initialize`.
pub(super) fn initialize(facts: &Facts<'_>, busy: bool) -> Value {
    json!({
        "commands": [],
        "agents": [],
        "output_style": "default",
        "available_output_styles": ["default"],
        "models": [models()],
        "account": {"tokenSource": "none", "apiKeySource": "none", "apiProvider": "demo"},
        "pid": std::process::id(),
        "claude_code_version": VERSION,
        "current_permission_mode": facts.permission_mode,
        "hook_on_failure_supported": false,
        "analytics_disabled": true,
        "fast_mode_state": "off",
        "session_state": if busy { "running" } else { "idle" },
        "capabilities": [],
        "demo": true,
    })
}

fn models() -> Value {
    json!({
        "value": "default",
        "resolvedModel": super::options::DEFAULT_MODEL,
        "displayName": "Demo agent",
        "description": "The scripted agent built into claude-relay; no model answers",
        "supportsEffort": false,
    })
}

/// Builds `system/init`, the first line of a turn.
pub(super) fn init(facts: &Facts<'_>, uuid: &str) -> Value {
    json!({
        "type": "system",
        "subtype": "init",
        "cwd": facts.cwd,
        "session_id": facts.session_id,
        "tools": ["Bash", "Read", "Write"],
        "mcp_servers": [],
        "model": facts.model,
        "permissionMode": facts.permission_mode,
        "slash_commands": [],
        "apiKeySource": "none",
        "claude_code_version": VERSION,
        "output_style": "default",
        "agents": [],
        "skills": [],
        "plugins": [],
        "capabilities": ["interrupt_receipt_v1", "interrupt_cancel_queued_v1", "msg_lifecycle_v1"],
        "analytics_disabled": true,
        "uuid": uuid,
        "fast_mode_state": "off",
        "demo": true,
    })
}

/// Builds `system/session_state_changed`, which is for the host only.
pub(super) fn state(facts: &Facts<'_>, state: &str, uuid: &str) -> Value {
    json!({
        "type": "system",
        "subtype": "session_state_changed",
        "state": state,
        "sdk_host_only": true,
        "uuid": uuid,
        "session_id": facts.session_id,
    })
}

/// Builds `command_lifecycle`, printed for messages with a uuid.
pub(super) fn lifecycle(facts: &Facts<'_>, command: &str, state: &str, uuid: &str) -> Value {
    json!({
        "type": "command_lifecycle",
        "command_uuid": command,
        "state": state,
        "uuid": uuid,
        "session_id": facts.session_id,
    })
}

/// Builds the `system/status` at the start of an API call.
pub(super) fn requesting(facts: &Facts<'_>, uuid: &str) -> Value {
    json!({
        "type": "system",
        "subtype": "status",
        "status": "requesting",
        "session_id": facts.session_id,
        "uuid": uuid,
    })
}

/// Builds the `system/status` after a change of the permission mode.
pub(super) fn mode_changed(facts: &Facts<'_>, uuid: &str) -> Value {
    json!({
        "type": "system",
        "subtype": "status",
        "status": null,
        "permissionMode": facts.permission_mode,
        "uuid": uuid,
        "session_id": facts.session_id,
    })
}

/// Builds the token usage of a message that is being written.
pub(super) fn usage() -> Value {
    json!({
        "input_tokens": 10,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
        "service_tier": "standard",
    })
}

/// Builds a `stream_event` with one event of the Messages API.
pub(super) fn stream_event(facts: &Facts<'_>, event: Value, message_id: &str, uuid: &str) -> Value {
    let is_start = event["type"] == "message_start";
    let mut line = json!({
        "type": "stream_event",
        "event": event,
        "session_id": facts.session_id,
        "parent_tool_use_id": null,
        "uuid": uuid,
    });
    if is_start {
        line["ttft_ms"] = json!(1);
        line["thinking_display"] = json!("updates");
    }
    line["api_message_id"] = json!(message_id);
    line
}

/// Builds an `assistant` line, one for each content block.
pub(super) fn assistant(facts: &Facts<'_>, block: Value, message: u64, uuid: &str) -> Value {
    let is_thinking = block["type"] == "thinking";
    let mut line = json!({
        "type": "assistant",
        "message": {
            "id": message_id(message),
            "type": "message",
            "role": "assistant",
            "model": facts.model,
            "content": [block],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": usage(),
            "context_management": null,
        },
        "parent_tool_use_id": null,
        "session_id": facts.session_id,
        "uuid": uuid,
        "timestamp": timestamp(),
        "request_id": format!("req_{message}"),
    });
    if is_thinking {
        line["thinking_duration_ms"] = json!(1);
        line["thinking_display"] = json!("updates");
    }
    line
}

/// Returns the id of the agent's message number `message`.
pub(super) fn message_id(message: u64) -> String {
    format!("msg_{message:06}")
}

/// Builds a `user` line: a tool result, or the note of an interrupt.
pub(super) fn user(facts: &Facts<'_>, content: Value, uuid: &str) -> Value {
    json!({
        "type": "user",
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": null,
        "session_id": facts.session_id,
        "uuid": uuid,
        "timestamp": timestamp(),
    })
}

/// Builds the `user` line with `isReplay` by which the CLI reports a changed
/// model.
pub(super) fn model_changed(facts: &Facts<'_>, uuid: &str) -> Value {
    let text =
        format!("<local-command-stdout>Set model to `{}`</local-command-stdout>", facts.model);
    json!({
        "type": "user",
        "message": {"role": "user", "content": text},
        "session_id": facts.session_id,
        "parent_tool_use_id": null,
        "uuid": uuid,
        "timestamp": timestamp(),
        "isReplay": true,
    })
}

/// Builds the `control_request` with subtype `can_use_tool`.
pub(super) fn can_use_tool(
    facts: &Facts<'_>,
    tool: &str,
    tool_use_id: &str,
    input: &Value,
    id: &str,
) -> Value {
    let rule = input["command"].as_str().unwrap_or("*");
    json!({
        "type": "control_request",
        "request_id": id,
        "request": {
            "subtype": "can_use_tool",
            "tool_name": tool,
            "display_name": tool,
            "input": input,
            "description": input["description"],
            "permission_suggestions": [
                {"type": "addRules", "rules": [{"toolName": tool, "ruleContent": rule}],
                 "behavior": "allow", "destination": "localSettings"},
                {"type": "addDirectories", "directories": [facts.cwd], "destination": "session"},
                {"type": "setMode", "mode": "acceptEdits", "destination": "session"},
            ],
            "blocked_path": format!("{}/demo.txt", facts.cwd),
            "tool_use_id": tool_use_id,
        },
    })
}

/// Adds the uuids of the user messages that a line answers.
pub(super) fn add_user_uuids(line: &mut Value, user_uuids: &[String]) {
    if let Some(last) = user_uuids.last() {
        line["user_message_uuid"] = json!(last);
        line["user_message_uuids"] = json!(user_uuids);
    }
}

/// Returns the current time in UTC, in JavaScript's format.
fn timestamp() -> String {
    utc(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Formats a time since 1970 as a civil date, by Howard Hinnant's algorithm.
fn utc(since_1970: Duration) -> String {
    let (days, seconds) = (since_1970.as_secs() / 86_400, since_1970.as_secs() % 86_400);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60,
        since_1970.subsec_millis()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_converted() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000, "2023-11-14T22:13:20.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
        ] {
            assert_eq!(utc(Duration::from_secs(seconds)), text);
        }
    }
}
