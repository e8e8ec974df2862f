//! What a line of the agent means.
//!
//! A view borrows from the line and adds nothing to it: whatever it leaves
//! out is still in [`SdkMessage::json`](crate::SdkMessage::json). Lines of
//! another shape than known simply have no view, so that a new version of the
//! agent breaks no program.

use std::borrow::Cow;
use std::time::Duration;

use claude_relay_protocol::json::{elements, fields, is_string};
use serde_json::value::RawValue;

use crate::message::text_of;

/// One thing that a line of the agent says. A line can say several.
///
/// `parent` names the tool call of the sub-agent that speaks; `None` for the
/// main agent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum View<'a> {
    /// A turn begins; said anew for every turn.
    SessionStarted(SessionStarted<'a>),
    /// A piece of text as it is being written; only when partial messages are
    /// configured. The whole text follows as [`View::Text`].
    TextDelta {
        /// The piece.
        text: Cow<'a, str>,
        /// See [`View`].
        parent: Option<Cow<'a, str>>,
    },
    /// A piece of thinking as it is being written; see [`View::TextDelta`].
    ThinkingDelta {
        /// The piece.
        text: Cow<'a, str>,
        /// See [`View`].
        parent: Option<Cow<'a, str>>,
    },
    /// A whole block of text.
    Text {
        /// The text.
        text: Cow<'a, str>,
        /// See [`View`].
        parent: Option<Cow<'a, str>>,
    },
    /// A whole block of thinking.
    Thinking {
        /// The text.
        text: Cow<'a, str>,
        /// See [`View`].
        parent: Option<Cow<'a, str>>,
    },
    /// A tool call begins to be written; its input is not known yet. Only
    /// when partial messages are configured.
    ToolStarted {
        /// The call's id.
        id: Cow<'a, str>,
        /// The tool.
        name: Cow<'a, str>,
        /// See [`View`].
        parent: Option<Cow<'a, str>>,
    },
    /// A tool is called.
    ToolUse {
        /// The call's id, which its result names.
        id: Cow<'a, str>,
        /// The tool.
        name: Cow<'a, str>,
        /// What it is called with.
        input: &'a RawValue,
        /// See [`View`].
        parent: Option<Cow<'a, str>>,
    },
    /// What a tool answered.
    ToolResult {
        /// The id of the call.
        tool_use_id: Cow<'a, str>,
        /// The answer as the model sees it: a string, or blocks.
        content: Option<&'a RawValue>,
        /// Whether the call failed or was refused.
        is_error: bool,
        /// See [`View`].
        parent: Option<Cow<'a, str>>,
    },
    /// A tool changed a file; comes with the tool's result, so it has happened.
    FileChange {
        /// The file.
        path: Cow<'a, str>,
        /// Whether it is new.
        created: bool,
        /// The whole new content, where the tool gives it.
        content: Option<Cow<'a, str>>,
    },
    /// The agent's list of what to do, whole, whenever it changes.
    Todos(Vec<Todo<'a>>),
    /// A sub-agent is started. What it says carries this id as its `parent`.
    SubagentStarted {
        /// The id of the call that starts it.
        id: Cow<'a, str>,
        /// Its kind, if one is named.
        kind: Option<Cow<'a, str>>,
        /// What it is to do, in a few words.
        description: Option<Cow<'a, str>>,
        /// What it is told.
        prompt: Option<Cow<'a, str>>,
    },
    /// A task in the background, a command or a sub-agent, has started.
    TaskStarted {
        /// The task's id.
        task_id: Cow<'a, str>,
        /// The tool call it belongs to.
        tool_use_id: Option<Cow<'a, str>>,
        /// Its kind, such as `local_bash`.
        kind: Option<Cow<'a, str>>,
        /// What it does.
        description: Option<Cow<'a, str>>,
    },
    /// A task in the background has ended.
    TaskFinished {
        /// The task's id.
        task_id: Cow<'a, str>,
        /// The tool call it belongs to.
        tool_use_id: Option<Cow<'a, str>>,
        /// How, such as `completed`.
        status: Cow<'a, str>,
        /// What came of it.
        summary: Option<Cow<'a, str>>,
    },
    /// The model could not be reached; the agent will try again.
    Retrying {
        /// Which attempt failed, from 1.
        attempt: u64,
        /// How many there will be at most.
        max_attempts: u64,
        /// How long the agent waits.
        delay: Duration,
        /// Why, in a word.
        reason: Option<Cow<'a, str>>,
    },
    /// The agent has taken up, finished or dropped a user message that
    /// carried an id.
    MessageProgress {
        /// The id of the user message.
        message_id: Cow<'a, str>,
        /// `queued`, `started`, `completed` or `cancelled`.
        state: Cow<'a, str>,
    },
    /// A turn has ended.
    TurnFinished(Box<TurnFinished<'a>>),
}

/// What the agent says about itself at the start of a turn.
#[derive(Debug, Clone)]
pub struct SessionStarted<'a> {
    /// The conversation. It can change within one agent's life.
    pub session_id: Cow<'a, str>,
    /// The model in use.
    pub model: Option<Cow<'a, str>>,
    /// The permission mode in force.
    pub permission_mode: Option<Cow<'a, str>>,
    /// The working directory.
    pub cwd: Option<Cow<'a, str>>,
    /// The tools there are.
    pub tools: Vec<Cow<'a, str>>,
    /// The slash commands that can be sent as text.
    pub slash_commands: Vec<Cow<'a, str>>,
}

/// One entry of the agent's list of what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Todo<'a> {
    /// What is to be done.
    pub content: Cow<'a, str>,
    /// `pending`, `in_progress` or `completed`.
    pub status: Cow<'a, str>,
}

/// How a turn ended, and what it cost.
#[derive(Debug, Clone)]
pub struct TurnFinished<'a> {
    /// The conversation.
    pub session_id: Option<Cow<'a, str>>,
    /// `success`, `error_max_turns`, `error_during_execution` and so on.
    /// `success` alone does not mean that all went well: see `is_error`.
    pub subtype: Cow<'a, str>,
    /// Whether the turn failed.
    pub is_error: bool,
    /// The last text of the agent, or what went wrong.
    pub result: Option<Cow<'a, str>>,
    /// The answer in the form that `outputFormat` asked for.
    pub structured_output: Option<&'a RawValue>,
    /// Why it ended, such as `completed`, `aborted_streaming`, `api_error`.
    pub terminal_reason: Option<Cow<'a, str>>,
    /// The HTTP status of the model's API, if that is what failed.
    pub api_error_status: Option<u64>,
    /// What went wrong inside the agent.
    pub errors: Vec<Cow<'a, str>>,
    /// What the agent's process has cost so far, in US dollars: all its turns
    /// together.
    pub total_cost_usd: Option<f64>,
    /// The tokens of this turn.
    pub usage: Usage,
    /// How long the turn took.
    pub duration: Option<Duration>,
    /// How many calls of the model it took.
    pub num_turns: Option<u64>,
    /// The ids of the user messages it answers, where the agent names them.
    pub user_message_ids: Option<Vec<Cow<'a, str>>>,
}

impl TurnFinished<'_> {
    /// Whether it ended because somebody interrupted it.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        match self.terminal_reason.as_deref() {
            Some(reason) => reason.starts_with("aborted"),
            // Older agents give no reason; an interrupt is what this means.
            None => self.subtype == "error_during_execution",
        }
    }
}

/// Tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Usage {
    /// Read by the model, without those from its cache.
    pub input_tokens: u64,
    /// Written by the model.
    pub output_tokens: u64,
    /// Read from the model's cache.
    pub cache_read_input_tokens: u64,
    /// Put into the model's cache.
    pub cache_creation_input_tokens: u64,
}

/// The views of one line.
pub(crate) fn views(line: &RawValue) -> Vec<View<'_>> {
    read(line).unwrap_or_default()
}

/// `None` where the line is not of a known shape.
fn read(line: &RawValue) -> Option<Vec<View<'_>>> {
    let [kind, subtype] = fields(line.get(), ["type", "subtype"]).ok()?;
    match text_of(kind)?.as_ref() {
        "assistant" => assistant(line),
        "user" => user(line),
        "stream_event" => stream_event(line),
        "result" => result(line).map(|finished| vec![View::TurnFinished(Box::new(finished))]),
        "system" => system(line, &text_of(subtype)?).map(|view| vec![view]),
        "command_lifecycle" => {
            let [id, state] = fields(line.get(), ["command_uuid", "state"]).ok()?;
            Some(vec![View::MessageProgress { message_id: text_of(id)?, state: text_of(state)? }])
        }
        _ => None,
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
        "TodoWrite" => todos(input),
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

fn todos(input: &RawValue) -> Option<View<'_>> {
    let [todos] = fields(input.get(), ["todos"]).ok()?;
    let todos = elements(todos?).ok()?;
    Some(View::Todos(todos.into_iter().filter_map(read_todo).collect()))
}

fn read_todo(todo: &RawValue) -> Option<Todo<'_>> {
    let [content, status] = fields(todo.get(), ["content", "status"]).ok()?;
    Some(Todo { content: text_of(content)?, status: text_of(status)? })
}

fn user(line: &RawValue) -> Option<Vec<View<'_>>> {
    let [message, parent, outcome] =
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
        views.extend(outcome.and_then(file_change));
    }
    Some(views)
}

/// The file-writing tools tell what they did beside what the model sees.
fn file_change(outcome: &RawValue) -> Option<View<'_>> {
    let [kind, path, content, patch] =
        fields(outcome.get(), ["type", "filePath", "content", "structuredPatch"]).ok()?;
    let path = text_of(path)?;
    let created = match text_of(kind).as_deref() {
        Some("create") => true,
        Some("update") => false,
        // An edit names no kind but carries its patch.
        None if patch.is_some() => false,
        _ => return None,
    };
    Some(View::FileChange { path, created, content: text_of(content) })
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
        _ => None,
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
    let [cost, tokens, duration, turns, ids] = fields(
        line.get(),
        ["total_cost_usd", "usage", "duration_ms", "num_turns", "user_message_uuids"],
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

fn texts(value: Option<&RawValue>) -> Option<Vec<Cow<'_, str>>> {
    let elements = elements(value?).ok()?;
    Some(elements.into_iter().filter_map(|value| text_of(Some(value))).collect())
}

fn number(value: Option<&RawValue>) -> Option<u64> {
    serde_json::from_str(value?.get()).ok()
}

/// Milliseconds, whole or not.
fn milliseconds(value: Option<&RawValue>) -> Option<Duration> {
    let ms: f64 = serde_json::from_str(value?.get()).ok()?;
    Duration::try_from_secs_f64(ms / 1000.0).ok()
}

fn is_true(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get() == "true")
}
