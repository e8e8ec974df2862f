//! The meaning of a line of the agent.
//!
//! A view borrows from the line and adds nothing to it: whatever it leaves
//! out is still in [`SdkMessage::json`](crate::SdkMessage::json). Lines of
//! another shape than known simply have no view, so that a new version of the
//! agent breaks no program.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::value::RawValue;

pub(crate) use read::views;

mod claude;
mod codex;
mod events;
mod outcome;
mod read;
mod value;

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
        /// The arguments of the call.
        input: &'a RawValue,
        /// See [`View`].
        parent: Option<Cow<'a, str>>,
    },
    /// The answer of a tool.
    ToolResult {
        /// The id of the call.
        tool_use_id: Cow<'a, str>,
        /// The answer as the model sees it: a string, or blocks.
        content: Option<&'a RawValue>,
        /// True if the call failed or was refused.
        is_error: bool,
        /// See [`View`].
        parent: Option<Cow<'a, str>>,
    },
    /// A tool changed a file; comes with the tool's result, so it has happened.
    FileChange {
        /// The file.
        path: Cow<'a, str>,
        /// True if it is new.
        created: bool,
        /// The whole new content, where the tool gives it or what it replaced.
        content: Option<Cow<'a, str>>,
    },
    /// The agent's list of what to do, whole: with CLIs that write it as one, and
    /// whenever the agent reads it. Others tell [`View::TodoAdded`] and
    /// [`View::TodoChanged`].
    Todos(Vec<Todo<'a>>),
    /// An entry of that list is new.
    TodoAdded(Todo<'a>),
    /// An entry of that list has changed; what else than its status is in the call.
    TodoChanged {
        /// The entry's id.
        id: Cow<'a, str>,
        /// Its new status, `deleted` for one that is gone; `None` if it is as before.
        status: Option<Cow<'a, str>>,
    },
    /// A sub-agent is started. Its own lines carry this id as their `parent`.
    SubagentStarted {
        /// The id of the call that starts it.
        id: Cow<'a, str>,
        /// Its kind, if one is named.
        kind: Option<Cow<'a, str>>,
        /// Its task, in a few words.
        description: Option<Cow<'a, str>>,
        /// Its system prompt.
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
        /// A description.
        description: Option<Cow<'a, str>>,
    },
    /// A task in the background has ended.
    TaskFinished {
        /// The task's id.
        task_id: Cow<'a, str>,
        /// The tool call it belongs to.
        tool_use_id: Option<Cow<'a, str>>,
        /// The kind of end, such as `completed`.
        status: Cow<'a, str>,
        /// The result.
        summary: Option<Cow<'a, str>>,
    },
    /// The model could not be reached; the agent will try again.
    Retrying {
        /// The number of the attempt that failed, from 1.
        attempt: u64,
        /// The most attempts there will be.
        max_attempts: u64,
        /// The time that the agent waits.
        delay: Duration,
        /// The reason, in a word.
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
    /// A task in the background goes on.
    TaskProgress {
        /// The task's id.
        task_id: Cow<'a, str>,
        /// The tool call it belongs to.
        tool_use_id: Option<Cow<'a, str>>,
        /// What it does.
        description: Option<Cow<'a, str>>,
        /// The tool that it used last.
        last_tool: Option<Cow<'a, str>>,
        /// What it has done; only with `agentProgressSummaries`.
        summary: Option<Cow<'a, str>>,
        /// The tokens it has taken.
        total_tokens: Option<u64>,
        /// The number of its tool calls.
        tool_uses: Option<u64>,
        /// The time since its start.
        duration: Option<Duration>,
    },
    /// A task in the background has changed; what is `None` is as before.
    TaskUpdated {
        /// The task's id.
        task_id: Cow<'a, str>,
        /// `pending`, `running`, `completed`, `failed`, `killed` or `paused`.
        status: Option<Cow<'a, str>>,
        /// What it does.
        description: Option<Cow<'a, str>>,
        /// Why it failed.
        error: Option<Cow<'a, str>>,
    },
    /// A tool call goes on.
    ToolProgress {
        /// The call's id.
        tool_use_id: Cow<'a, str>,
        /// The tool.
        name: Cow<'a, str>,
        /// The time since its start.
        elapsed: Option<Duration>,
        /// See [`View`].
        parent: Option<Cow<'a, str>>,
    },
    /// What came before has been made shorter for the model.
    Compacted {
        /// `manual` or `auto`.
        trigger: Option<Cow<'a, str>>,
        /// The tokens before.
        pre_tokens: Option<u64>,
        /// The tokens after.
        post_tokens: Option<u64>,
    },
    /// Another conversation begins.
    ConversationReset {
        /// Its id.
        conversation: Cow<'a, str>,
        /// The cause, such as `clear`.
        trigger: Option<Cow<'a, str>>,
    },
    /// A tool was refused without anybody being asked.
    PermissionDenied {
        /// The call's id.
        tool_use_id: Option<Cow<'a, str>>,
        /// The tool.
        tool: Cow<'a, str>,
        /// The kind of reason, such as `mode` or `rule`.
        reason_kind: Option<Cow<'a, str>>,
        /// The reason.
        reason: Option<Cow<'a, str>>,
        /// What the model is told.
        message: Cow<'a, str>,
    },
    /// The state of a plan's limit.
    RateLimit {
        /// `allowed`, `allowed_warning` or `rejected`.
        status: Cow<'a, str>,
        /// The limit, such as `five_hour`.
        kind: Option<Cow<'a, str>>,
        /// The share of it that is used, from 0 to 1.
        utilization: Option<f64>,
        /// The end of its time, in seconds since 1970.
        resets_at: Option<u64>,
    },
    /// A notice for the user.
    Notification {
        /// The notice.
        text: Cow<'a, str>,
        /// `low`, `medium`, `high` or `immediate`.
        priority: Option<Cow<'a, str>>,
    },
    /// A hook begins; of most events only with `includeHookEvents`.
    HookStarted(HookRun<'a>),
    /// A hook goes on; its output so far is in it.
    HookProgress(HookRun<'a>),
    /// A hook has ended.
    HookFinished {
        /// The hook, with its whole output.
        hook: HookRun<'a>,
        /// `success`, `error` or `cancelled`.
        outcome: Option<Cow<'a, str>>,
        /// The exit code of its command.
        exit_code: Option<i64>,
    },
    /// What the agent does at this moment, or what has changed of it.
    Status {
        /// `requesting` or `compacting`; `None` when it is over.
        status: Option<Cow<'a, str>>,
        /// The permission mode, where that has changed.
        permission_mode: Option<Cow<'a, str>>,
        /// Why the conversation could not be made shorter.
        compact_error: Option<Cow<'a, str>>,
    },
    /// A prompt that the user may want to send next; only with
    /// `promptSuggestions`.
    PromptSuggestion(Cow<'a, str>),
    /// One call of the model has taken these tokens. Said by agents that do
    /// not name them at the end of the turn.
    TokensUsed(Usage),
    /// A turn has ended.
    TurnFinished(Box<TurnFinished<'a>>),
}

/// The agent's account of itself at the start of a turn.
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

/// A hook that runs.
#[derive(Debug, Clone)]
pub struct HookRun<'a> {
    /// The id of this run of it.
    pub id: Cow<'a, str>,
    /// Its name, such as `PreToolUse:Bash`.
    pub name: Cow<'a, str>,
    /// The event that it belongs to, such as `PreToolUse`.
    pub event: Cow<'a, str>,
    /// What it has printed.
    pub output: Cow<'a, str>,
}

/// One entry of the agent's list of what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Todo<'a> {
    /// Its id, where it has one.
    pub id: Option<Cow<'a, str>>,
    /// The task.
    pub content: Cow<'a, str>,
    /// `pending`, `in_progress` or `completed`.
    pub status: Cow<'a, str>,
    /// The task in words for one that is under way. The tools for single entries
    /// have it in their calls alone.
    pub active_form: Option<Cow<'a, str>>,
}

/// The beginning of the error that Claude Code notes for itself when it is
/// interrupted.
const INTERRUPT_DIAGNOSTIC: &str = "[ede_diagnostic]";

/// The end of a turn, and its cost.
#[derive(Debug, Clone)]
pub struct TurnFinished<'a> {
    /// The conversation.
    pub session_id: Option<Cow<'a, str>>,
    /// `success`, `error_max_turns`, `error_during_execution` and so on.
    /// `success` alone does not mean that all went well: see `is_error`.
    pub subtype: Cow<'a, str>,
    /// True if the turn failed.
    pub is_error: bool,
    /// The last text of the agent, or what went wrong.
    pub result: Option<Cow<'a, str>>,
    /// The answer in the form that `outputFormat` asked for.
    pub structured_output: Option<&'a RawValue>,
    /// The reason of its end, such as `completed`, `aborted_streaming`, `api_error`.
    pub terminal_reason: Option<Cow<'a, str>>,
    /// The HTTP status of the model's API, if that is what failed.
    pub api_error_status: Option<u64>,
    /// Why the agent could not start, in a word such as
    /// `config_file_invalid`; the words are in `errors`.
    pub startup_failure: Option<Cow<'a, str>>,
    /// Failures inside the agent.
    pub errors: Vec<Cow<'a, str>>,
    /// The cost of the agent's process so far, in US dollars: all its turns
    /// together.
    pub total_cost_usd: Option<f64>,
    /// The tokens of this turn; none where [`View::TokensUsed`] has told them.
    pub usage: Usage,
    /// The time that the turn took.
    pub duration: Option<Duration>,
    /// The number of calls of the model that it took.
    pub num_turns: Option<u64>,
    /// The ids of the user messages it answers, where the agent names them.
    pub user_message_ids: Option<Vec<Cow<'a, str>>>,
}

impl TurnFinished<'_> {
    /// Returns true if it ended because somebody interrupted it.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::View;
    ///
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// for view in message.views() {
    ///     if let View::TurnFinished(finished) = view {
    ///         println!("interrupted: {}", finished.is_interrupted());
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        match self.terminal_reason.as_deref() {
            Some(reason) => reason.starts_with("aborted"),
            // Older agents give no reason; an interrupt is what this means, unless
            // it says what went wrong.
            None => {
                let is_diagnostic = |error: &Cow<'_, str>| error.starts_with(INTERRUPT_DIAGNOSTIC);
                self.subtype == "error_during_execution" && self.errors.iter().all(is_diagnostic)
            }
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
