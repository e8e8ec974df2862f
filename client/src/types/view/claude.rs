//! The views of Claude Code's lines, and of those of the built-in agent. The
//! only room that knows their shapes.

use std::borrow::Cow;

use claude_relay_protocol::json::{elements, fields, is_string};
use serde_json::value::RawValue;

use super::value::{is_true, milliseconds, number, texts};
use super::{SessionStarted, TurnFinished, Usage, View, events, outcome};
use crate::types::raw_json::text_of;

/// The views of a line of this `type`; `None` where it is not of a known shape.
pub(super) fn read<'a>(
    kind: &str,
    subtype: Option<&'a RawValue>,
    line: &'a RawValue,
) -> Option<Vec<View<'a>>> {
    match kind {
        "assistant" => assistant(line),
        "user" => user(line),
        "stream_event" => stream_event(line),
        "result" => result(line).map(|finished| vec![View::TurnFinished(Box::new(finished))]),
        "system" => system(line, &text_of(subtype)?).map(|view| vec![view]),
        "command_lifecycle" => {
            let [id, state] = fields(line.get(), ["command_uuid", "state"]).ok()?;
            Some(vec![View::MessageProgress { message_id: text_of(id)?, state: text_of(state)? }])
        }
        other => events::read(other, line).map(|view| vec![view]),
    }
}

fn assistant(line: &RawValue) -> Option<Vec<View<'_>>> {
    let [message, parent] = fields(line.get(), ["message", "parent_tool_use_id"]).ok()?;
    let [content] = fields(message?.get(), ["content"]).ok()?;
    let parent = text_of(parent);
    let content = content?;
    if is_string(content) {
        return Some(vec![View::Text { text: text_of(Some(content))?, parent }]);
    }
    let mut views = Vec::new();
    for block in elements(content).ok()? {
        let Ok([kind, text, thinking, id, name, input]) =
            fields(block.get(), ["type", "text", "thinking", "id", "name", "input"])
        else {
            continue;
        };
        match text_of(kind).as_deref() {
            Some("text") => {
                if let Some(text) = text_of(text) {
                    views.push(View::Text { text, parent: parent.clone() });
                }
            }
            Some("thinking") => {
                if let Some(text) = text_of(thinking) {
                    views.push(View::Thinking { text, parent: parent.clone() });
                }
            }
            Some("tool_use") => {
                if let (Some(id), Some(name), Some(input)) = (text_of(id), text_of(name), input) {
                    tool_use(&mut views, id, name, input, parent.clone());
                }
            }
            _ => {}
        }
    }
    Some(views)
}

fn tool_use<'a>(
    views: &mut Vec<View<'a>>,
    id: Cow<'a, str>,
    name: Cow<'a, str>,
    input: &'a RawValue,
    parent: Option<Cow<'a, str>>,
) {
    let derived = match name.as_ref() {
        "TodoWrite" => outcome::todos_written(input),
        "Task" | "Agent" => fields(input.get(), ["subagent_type", "description", "prompt"])
            .ok()
            .map(|[kind, description, prompt]| View::SubagentStarted {
                id: id.clone(),
                kind: text_of(kind),
                description: text_of(description),
                prompt: text_of(prompt),
            }),
        _ => None,
    };
    views.push(View::ToolUse { id, name, input, parent });
    views.extend(derived);
}

fn user(line: &RawValue) -> Option<Vec<View<'_>>> {
    let [message, parent, result] =
        fields(line.get(), ["message", "parent_tool_use_id", "tool_use_result"]).ok()?;
    let [content] = fields(message?.get(), ["content"]).ok()?;
    let parent = text_of(parent);
    let mut views = Vec::new();
    for block in elements(content?).ok()? {
        let Ok([kind, id, content, is_error]) =
            fields(block.get(), ["type", "tool_use_id", "content", "is_error"])
        else {
            continue;
        };
        if let (Some("tool_result"), Some(id)) = (text_of(kind).as_deref(), text_of(id)) {
            views.push(View::ToolResult {
                tool_use_id: id,
                content,
                is_error: is_true(is_error),
                parent: parent.clone(),
            });
        }
    }
    if !views.is_empty() {
        views.extend(result.and_then(outcome::read));
    }
    Some(views)
}

fn stream_event(line: &RawValue) -> Option<Vec<View<'_>>> {
    let [event, parent] = fields(line.get(), ["event", "parent_tool_use_id"]).ok()?;
    let [kind, delta, block] = fields(event?.get(), ["type", "delta", "content_block"]).ok()?;
    let parent = text_of(parent);
    let view = match text_of(kind)?.as_ref() {
        "content_block_delta" => {
            let [kind, text, thinking] = fields(delta?.get(), ["type", "text", "thinking"]).ok()?;
            match text_of(kind)?.as_ref() {
                "text_delta" => View::TextDelta { text: text_of(text)?, parent },
                "thinking_delta" => View::ThinkingDelta { text: text_of(thinking)?, parent },
                _ => return None,
            }
        }
        "content_block_start" => {
            let [kind, id, name] = fields(block?.get(), ["type", "id", "name"]).ok()?;
            if text_of(kind)? != "tool_use" {
                return None;
            }
            View::ToolStarted { id: text_of(id)?, name: text_of(name)?, parent }
        }
        _ => return None,
    };
    Some(vec![view])
}

fn system<'a>(line: &'a RawValue, subtype: &str) -> Option<View<'a>> {
    match subtype {
        "init" => {
            let [session_id, model, mode, cwd, tools, commands] = fields(
                line.get(),
                ["session_id", "model", "permissionMode", "cwd", "tools", "slash_commands"],
            )
            .ok()?;
            Some(View::SessionStarted(SessionStarted {
                session_id: text_of(session_id)?,
                model: text_of(model),
                permission_mode: text_of(mode),
                cwd: text_of(cwd),
                tools: texts(tools).unwrap_or_default(),
                slash_commands: texts(commands).unwrap_or_default(),
            }))
        }
        "task_started" => {
            let [task, tool, kind, description] =
                fields(line.get(), ["task_id", "tool_use_id", "task_type", "description"]).ok()?;
            Some(View::TaskStarted {
                task_id: text_of(task)?,
                tool_use_id: text_of(tool),
                kind: text_of(kind),
                description: text_of(description),
            })
        }
        "task_notification" => {
            let [task, tool, status, summary] =
                fields(line.get(), ["task_id", "tool_use_id", "status", "summary"]).ok()?;
            Some(View::TaskFinished {
                task_id: text_of(task)?,
                tool_use_id: text_of(tool),
                status: text_of(status)?,
                summary: text_of(summary),
            })
        }
        "api_retry" => {
            let [attempt, most, delay, reason] =
                fields(line.get(), ["attempt", "max_retries", "retry_delay_ms", "error"]).ok()?;
            Some(View::Retrying {
                attempt: number(attempt)?,
                max_attempts: number(most)?,
                delay: milliseconds(delay)?,
                reason: text_of(reason),
            })
        }
        other => events::system(other, line),
    }
}

fn result(line: &RawValue) -> Option<TurnFinished<'_>> {
    let [subtype, is_error, result, structured, session_id, reason, status, errors] = fields(
        line.get(),
        [
            "subtype",
            "is_error",
            "result",
            "structured_output",
            "session_id",
            "terminal_reason",
            "api_error_status",
            "errors",
        ],
    )
    .ok()?;
    let [cost, tokens, duration, turns, ids, startup] = fields(
        line.get(),
        [
            "total_cost_usd",
            "usage",
            "duration_ms",
            "num_turns",
            "user_message_uuids",
            "startup_failure_reason",
        ],
    )
    .ok()?;
    Some(TurnFinished {
        session_id: text_of(session_id),
        subtype: text_of(subtype)?,
        is_error: is_true(is_error),
        result: text_of(result),
        structured_output: structured.filter(|value| value.get() != "null"),
        terminal_reason: text_of(reason),
        api_error_status: number(status),
        startup_failure: text_of(startup),
        errors: texts(errors).unwrap_or_default(),
        total_cost_usd: cost.and_then(|cost| serde_json::from_str(cost.get()).ok()),
        usage: tokens.and_then(usage).unwrap_or_default(),
        duration: milliseconds(duration),
        num_turns: number(turns),
        user_message_ids: texts(ids),
    })
}

fn usage(value: &RawValue) -> Option<Usage> {
    let [input, output, read, created] = fields(
        value.get(),
        ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"],
    )
    .ok()?;
    Some(Usage {
        input_tokens: number(input).unwrap_or(0),
        output_tokens: number(output).unwrap_or(0),
        cache_read_input_tokens: number(read).unwrap_or(0),
        cache_creation_input_tokens: number(created).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::check;

    #[test]
    fn each_block_of_an_answer_is_a_view() {
        check(
            r#"{"type":"assistant","message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"new_kind"},{"type":"text","text":"h\u00e9"},{"type":"tool_use","id":"t1","name":"Bash","input":{"n":1.0}}]},"parent_tool_use_id":"p"}"#,
            &["thinking hm", "text hé in p", r#"tool Bash t1 {"n":1.0}"#],
        );
        check(
            r#"{"type":"assistant","message":{"content":[{"type":"tool_use","id":"t1","name":"TodoWrite","input":{"todos":[{"content":"a","status":"pending","activeForm":"doing a"}]}},{"type":"tool_use","id":"t2","name":"Task","input":{"subagent_type":"x"}}]}}"#,
            &[
                r#"tool TodoWrite t1 {"todos":[{"content":"a","status":"pending","activeForm":"doing a"}]}"#,
                "todos None:a:pending:doing a",
                r#"tool Task t2 {"subagent_type":"x"}"#,
                r#"subagent t2 Some("x")"#,
            ],
        );
    }

    #[test]
    fn events_of_the_stream_and_the_system_are_views() {
        check(
            r#"{"type":"stream_event","event":{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}}"#,
            &["delta a"],
        );
        check(
            r#"{"type":"stream_event","event":{"type":"content_block_start","content_block":{"type":"tool_use","id":"t","name":"Bash","input":{}}}}"#,
            &["tool started Bash"],
        );
        check(
            r#"{"type":"system","subtype":"init","session_id":"s","tools":["Bash",5,"Read"]}"#,
            &[r#"session s ["Bash", "Read"]"#],
        );
        check(
            r#"{"type":"system","subtype":"api_retry","attempt":1,"max_retries":10,"retry_delay_ms":569.5,"error":"overloaded"}"#,
            &["retry 1/10 569.5ms"],
        );
        check(
            r#"{"type":"system","subtype":"task_notification","task_id":"b","status":"completed"}"#,
            &["task b completed"],
        );
        check(
            r#"{"type":"command_lifecycle","command_uuid":"u","state":"queued"}"#,
            &["message u queued"],
        );
    }
}
