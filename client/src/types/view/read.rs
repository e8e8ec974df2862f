//! From the JSON of a line to its views: which agent says it, by its shape.

use claude_relay_protocol::json::fields;
use serde_json::value::RawValue;

use super::{View, claude, codex};
use crate::types::raw_json::text_of;

/// The views of one line.
pub(crate) fn views(line: &RawValue) -> Vec<View<'_>> {
    read(line).unwrap_or_default()
}

/// `None` where the line is not of a known shape.
fn read(line: &RawValue) -> Option<Vec<View<'_>>> {
    let [kind, subtype, method, params] =
        fields(line.get(), ["type", "subtype", "method", "params"]).ok()?;
    match kind {
        Some(_) => claude::read(&text_of(kind)?, subtype, line),
        None => codex::read(&text_of(method)?, params?),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::borrow::Cow;

    use super::super::Todo;
    use super::*;

    /// The views of a line, each in a few words.
    pub(in crate::types::view) fn check(line: &str, expected: &[&str]) {
        let line = serde_json::from_str(line).unwrap();
        let shown: Vec<_> = views(line).iter().map(show).collect();
        assert_eq!(shown, expected);
    }

    fn entry(todo: &Todo<'_>) -> String {
        let active_form = todo.active_form.as_ref().map(|words| format!(":{words}"));
        let active_form = active_form.unwrap_or_default();
        format!("{:?}:{}:{}{active_form}", todo.id, todo.content, todo.status)
    }

    fn show(view: &View<'_>) -> String {
        let child = |parent: &Option<Cow<'_, str>>| {
            parent.as_ref().map(|parent| format!(" in {parent}")).unwrap_or_default()
        };
        match view {
            View::SessionStarted(s) => format!("session {} {:?}", s.session_id, s.tools),
            View::TextDelta { text, parent } => format!("delta {text}{}", child(parent)),
            View::ThinkingDelta { text, .. } => format!("thinking delta {text}"),
            View::Text { text, parent } => format!("text {text}{}", child(parent)),
            View::Thinking { text, .. } => format!("thinking {text}"),
            View::ToolStarted { name, .. } => format!("tool started {name}"),
            View::ToolUse { id, name, input, .. } => format!("tool {name} {id} {input}"),
            View::ToolResult { tool_use_id, content, is_error, .. } => {
                format!("result {tool_use_id} {} {is_error}", content.map_or("", RawValue::get))
            }
            View::FileChange { path, created, content } => {
                format!("file {path} {created} {content:?}")
            }
            View::Todos(todos) => todos
                .iter()
                .fold("todos".to_owned(), |shown, todo| format!("{shown} {}", entry(todo))),
            View::TodoAdded(todo) => format!("todo {}", entry(todo)),
            View::TodoChanged { id, status } => format!("todo {id} is {status:?}"),
            View::SubagentStarted { id, kind, .. } => format!("subagent {id} {kind:?}"),
            View::TaskStarted { task_id, .. } => format!("task {task_id}"),
            View::TaskFinished { task_id, status, .. } => format!("task {task_id} {status}"),
            View::Retrying { attempt, max_attempts, delay, .. } => {
                format!("retry {attempt}/{max_attempts} {delay:?}")
            }
            View::MessageProgress { message_id, state } => format!("message {message_id} {state}"),
            View::TaskProgress { task_id, last_tool, tool_uses, duration, .. } => {
                format!("progress {task_id} {last_tool:?} {tool_uses:?} {duration:?}")
            }
            View::TaskUpdated { task_id, status, .. } => format!("updated {task_id} {status:?}"),
            View::ToolProgress { tool_use_id, name, elapsed, .. } => {
                format!("tool goes on {tool_use_id} {name} {elapsed:?}")
            }
            View::Compacted { trigger, pre_tokens, post_tokens } => {
                format!("compacted {trigger:?} {pre_tokens:?} {post_tokens:?}")
            }
            View::ConversationReset { conversation, trigger } => {
                format!("reset {conversation} {trigger:?}")
            }
            View::PermissionDenied { tool, reason_kind, message, .. } => {
                format!("denied {tool} {reason_kind:?} {}", &message[..21])
            }
            View::RateLimit { status, kind, utilization, resets_at } => {
                format!("limit {status} {kind:?} {utilization:?} {resets_at:?}")
            }
            View::Notification { text, priority } => format!("notice {text} {priority:?}"),
            View::HookStarted(hook) => format!("hook {}", hook.name),
            View::HookProgress(hook) => format!("hook {} {:?}", hook.event, hook.output),
            View::HookFinished { hook, outcome, exit_code } => {
                format!("hook {} {:?} {outcome:?} {exit_code:?}", hook.name, hook.output)
            }
            View::Status { status, permission_mode, .. } => {
                format!("status {status:?} {permission_mode:?}")
            }
            View::PromptSuggestion(text) => format!("suggestion {text}"),
            View::TokensUsed(used) => format!(
                "tokens {} in {} cached {} out",
                used.input_tokens, used.cache_read_input_tokens, used.output_tokens
            ),
            View::TurnFinished(f) if f.startup_failure.is_some() => {
                format!("not started {:?} {}", f.startup_failure, f.errors.len())
            }
            View::TurnFinished(f) => format!(
                "finished {} {} {:?} interrupted {}",
                f.subtype,
                f.is_error,
                f.result,
                f.is_interrupted()
            ),
        }
    }

    #[test]
    fn type_may_stand_anywhere_and_what_is_unknown_has_no_view() {
        check(
            r#"{"duration_ms":5,"is_error":true,"terminal_reason":"aborted_streaming","type":"result","subtype":"error_during_execution"}"#,
            &["finished error_during_execution true None interrupted true"],
        );
        check(
            r#"{"type":"result","subtype":"error_during_execution","is_error":true,"num_turns":0,"errors":["No conversation found with session ID: x"]}"#,
            &["finished error_during_execution true None interrupted false"],
        );
        check(
            r#"{"type":"result","subtype":"error_during_execution","is_error":true,"num_turns":1,"errors":["the disk is full"]}"#,
            &["finished error_during_execution true None interrupted false"],
        );
        check(
            r#"{"type":"result","subtype":"error_during_execution","is_error":true,"num_turns":1,"errors":["[ede_diagnostic] x"]}"#,
            &["finished error_during_execution true None interrupted true"],
        );
        for line in [
            "5",
            "[]",
            "{}",
            r#"{"type":5}"#,
            r#"{"type":"rate_limit_event"}"#,
            r#"{"type":"system"}"#,
            r#"{"type":"system","subtype":"new"}"#,
            r#"{"type":"assistant"}"#,
            r#"{"type":"assistant","message":{"content":5}}"#,
            r#"{"type":"result"}"#,
            r#"{"type":"stream_event","event":{"type":"message_stop"}}"#,
        ] {
            check(line, &[]);
        }
    }
}
