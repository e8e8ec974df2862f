//! The views of Codex's lines: notifications of its app-server.

use std::borrow::Cow;

use claude_relay_protocol::json::{elements, fields};
use serde_json::value::RawValue;

use super::value::{milliseconds, number, texts};
use super::{SessionStarted, TurnFinished, Usage, View};
use crate::types::raw_json::text_of;

/// The views of a notification; `None` where it is not of a known shape.
pub(super) fn read<'a>(method: &str, params: &'a RawValue) -> Option<Vec<View<'a>>> {
    let [thread_id, delta, item] = fields(params.get(), ["threadId", "delta", "item"]).ok()?;
    let view = match method {
        "thread/started" => {
            let [thread] = fields(params.get(), ["thread"]).ok()?;
            let [id, model, cwd] = fields(thread?.get(), ["id", "model", "cwd"]).ok()?;
            View::SessionStarted(session(id, model, cwd)?)
        }
        "turn/started" => View::SessionStarted(session(thread_id, None, None)?),
        "item/agentMessage/delta" => View::TextDelta { text: text_of(delta)?, parent: None },
        "item/reasoning/summaryTextDelta" | "item/reasoning/textDelta" => {
            View::ThinkingDelta { text: text_of(delta)?, parent: None }
        }
        "item/started" => return item_started(item?).map(|view| vec![view]),
        "item/completed" => return item_completed(item?),
        "thread/tokenUsage/updated" => {
            let [usage] = fields(params.get(), ["tokenUsage"]).ok()?;
            let [last] = fields(usage?.get(), ["last"]).ok()?;
            View::TokensUsed(tokens(last?)?)
        }
        "turn/completed" => View::TurnFinished(Box::new(finished(params, thread_id)?)),
        _ => return None,
    };
    Some(vec![view])
}

fn session<'a>(
    id: Option<&'a RawValue>,
    model: Option<&'a RawValue>,
    cwd: Option<&'a RawValue>,
) -> Option<SessionStarted<'a>> {
    Some(SessionStarted {
        session_id: text_of(id)?,
        model: text_of(model),
        permission_mode: None,
        cwd: text_of(cwd),
        tools: Vec::new(),
        slash_commands: Vec::new(),
    })
}

fn item_started(item: &RawValue) -> Option<View<'_>> {
    let [kind, id, client_id] = fields(item.get(), ["type", "id", "clientId"]).ok()?;
    match &*text_of(kind)? {
        "userMessage" => {
            Some(View::MessageProgress { message_id: text_of(client_id)?, state: "started".into() })
        }
        "agentMessage" | "reasoning" => None,
        // Everything else is something that it does. The item says what.
        name => Some(View::ToolUse {
            id: text_of(id)?,
            name: Cow::Owned(name.to_owned()),
            input: item,
            parent: None,
        }),
    }
}

fn item_completed(item: &RawValue) -> Option<Vec<View<'_>>> {
    let [kind, id, text, status] = fields(item.get(), ["type", "id", "text", "status"]).ok()?;
    let view = match &*text_of(kind)? {
        "userMessage" => return None,
        "agentMessage" => View::Text { text: text_of(text)?, parent: None },
        "reasoning" => {
            let [summary, content] = fields(item.get(), ["summary", "content"]).ok()?;
            let parts = [texts(summary), texts(content)].into_iter().flatten().flatten();
            let text = parts.collect::<Vec<_>>().join("\n\n");
            if text.is_empty() {
                return None;
            }
            View::Thinking { text: Cow::Owned(text), parent: None }
        }
        kind => {
            let [output, exit_code, changes, result, error] =
                fields(item.get(), ["aggregatedOutput", "exitCode", "changes", "result", "error"])
                    .ok()?;
            let status = text_of(status);
            let is_error = matches!(status.as_deref(), Some("failed" | "declined"))
                || exit_code.is_some_and(|code| !matches!(code.get(), "0" | "null"));
            let is_there = |value: &&RawValue| value.get() != "null";
            let mut views = vec![View::ToolResult {
                tool_use_id: text_of(id)?,
                content: [output, error, result, changes].into_iter().flatten().find(is_there),
                is_error,
                parent: None,
            }];
            if kind == "fileChange" && !is_error {
                views.extend(elements(changes?).ok()?.into_iter().filter_map(file_change));
            }
            return Some(views);
        }
    };
    Some(vec![view])
}

fn file_change(change: &RawValue) -> Option<View<'_>> {
    let [path, kind, diff] = fields(change.get(), ["path", "kind", "diff"]).ok()?;
    let [kind] = fields(kind?.get(), ["type"]).ok()?;
    let created = text_of(kind)? == "add";
    // The diff of a new file is its content.
    let content = if created { text_of(diff) } else { None };
    Some(View::FileChange { path: text_of(path)?, created, content })
}

fn tokens(last: &RawValue) -> Option<Usage> {
    let [input, cached, written, output] = fields(
        last.get(),
        ["inputTokens", "cachedInputTokens", "cacheWriteInputTokens", "outputTokens"],
    )
    .ok()?;
    let cached = number(cached).unwrap_or(0);
    Some(Usage {
        // Codex counts what it read from the cache as input too.
        input_tokens: number(input)?.saturating_sub(cached),
        output_tokens: number(output).unwrap_or(0),
        cache_read_input_tokens: cached,
        cache_creation_input_tokens: number(written).unwrap_or(0),
    })
}

fn finished<'a>(params: &'a RawValue, thread_id: Option<&'a RawValue>) -> Option<TurnFinished<'a>> {
    let [turn] = fields(params.get(), ["turn"]).ok()?;
    let [status, error, items, duration] =
        fields(turn?.get(), ["status", "error", "items", "durationMs"]).ok()?;
    let status = text_of(status)?;
    let [message, info] = error
        .and_then(|error| fields(error.get(), ["message", "codexErrorInfo"]).ok())
        .unwrap_or_default();
    let message = text_of(message);
    let last_text = || {
        let items = elements(items?).ok()?;
        let mut texts = items.into_iter().filter_map(|item| {
            let [kind, text] = fields(item.get(), ["type", "text"]).ok()?;
            (text_of(kind)? == "agentMessage").then(|| text_of(text))?
        });
        texts.next_back()
    };
    Some(TurnFinished {
        session_id: text_of(thread_id),
        is_error: status == "failed",
        // A failure is no text of the agent's.
        result: last_text(),
        structured_output: None,
        terminal_reason: Some(match &*status {
            "interrupted" => "aborted".into(),
            other => Cow::Owned(other.to_owned()),
        }),
        subtype: if status == "completed" { "success".into() } else { status },
        api_error_status: info.and_then(http_status),
        startup_failure: None,
        errors: message.into_iter().collect(),
        total_cost_usd: None,
        usage: Usage::default(),
        duration: milliseconds(duration),
        num_turns: None,
        user_message_ids: None,
    })
}

/// `{"someKind":{"httpStatusCode":401}}`
fn http_status(info: &RawValue) -> Option<u64> {
    let kinds: std::collections::BTreeMap<String, &RawValue> =
        serde_json::from_str(info.get()).ok()?;
    kinds.into_values().find_map(|kind| number(fields(kind.get(), ["httpStatusCode"]).ok()?[0]))
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::check;

    #[test]
    fn messages_and_actions_have_a_view() {
        check(
            r#"{"method":"thread/started","params":{"thread":{"id":"t","model":"m"}},"emittedAtMs":1}"#,
            &["session t []"],
        );
        check(
            r#"{"method":"item/agentMessage/delta","params":{"itemId":"i","delta":"a"}}"#,
            &["delta a"],
        );
        check(
            r#"{"method":"item/reasoning/summaryTextDelta","params":{"delta":"a"}}"#,
            &["thinking delta a"],
        );
        check(
            r#"{"method":"item/completed","params":{"item":{"type":"agentMessage","text":"all"}}}"#,
            &["text all"],
        );
        check(
            r#"{"method":"item/completed","params":{"item":{"type":"reasoning","summary":["a","b"],"content":[]}}}"#,
            &["thinking a\n\nb"],
        );
        check(
            r#"{"method":"item/started","params":{"item":{"type":"userMessage","id":"u","clientId":"mine"}}}"#,
            &["message mine started"],
        );
    }

    #[test]
    fn commands_and_file_changes() {
        check(
            r#"{"method":"item/started","params":{"item":{"type":"commandExecution","id":"c","command":"ls"}}}"#,
            &[r#"tool commandExecution c {"type":"commandExecution","id":"c","command":"ls"}"#],
        );
        check(
            r#"{"method":"item/completed","params":{"item":{"type":"commandExecution","id":"c","status":"completed","aggregatedOutput":"x","exitCode":1}}}"#,
            &[r#"result c "x" true"#],
        );
        let change = |status: &str| {
            format!(
                r#"{{"method":"item/completed","params":{{"item":{{"type":"fileChange","id":"f","status":"{status}","changes":[{{"path":"/n","kind":{{"type":"add"}},"diff":"new\n"}},{{"path":"/o","kind":{{"type":"update"}},"diff":"@@"}}]}}}}}}"#
            )
        };
        let changes = r#"[{"path":"/n","kind":{"type":"add"},"diff":"new\n"},{"path":"/o","kind":{"type":"update"},"diff":"@@"}]"#;
        check(
            &change("completed"),
            &[
                &format!("result f {changes} false"),
                r#"file /n true Some("new\n")"#,
                "file /o false None",
            ],
        );
        check(&change("declined"), &[&format!("result f {changes} true")]);
    }

    #[test]
    fn the_end_of_a_turn() {
        check(
            r#"{"method":"thread/tokenUsage/updated","params":{"tokenUsage":{"last":{"inputTokens":100,"cachedInputTokens":40,"outputTokens":10}}}}"#,
            &["tokens 60 in 40 cached 10 out"],
        );
        check(
            r#"{"method":"turn/completed","params":{"threadId":"t","turn":{"status":"completed","items":[{"type":"agentMessage","text":"all"}],"error":null}}}"#,
            &[r#"finished success false Some("all") interrupted false"#],
        );
        check(
            r#"{"method":"turn/completed","params":{"threadId":"t","turn":{"status":"interrupted","items":[]}}}"#,
            &["finished interrupted false None interrupted true"],
        );
        check(
            r#"{"method":"turn/completed","params":{"threadId":"t","turn":{"status":"failed","error":{"message":"no key","codexErrorInfo":{"x":{"httpStatusCode":401}}}}}}"#,
            &["finished failed true None interrupted false"],
        );
    }

    #[test]
    fn unknown_items_have_no_view() {
        for line in [
            r#"{"method":"brand/new","params":{}}"#,
            r#"{"method":"turn/completed"}"#,
            r#"{"method":"turn/completed","params":[]}"#,
            r#"{"method":"turn/completed","params":{"turn":{}}}"#,
            r#"{"method":"item/completed","params":{"item":5}}"#,
            r#"{"method":5,"params":{}}"#,
        ] {
            check(line, &[]);
        }
    }
}
