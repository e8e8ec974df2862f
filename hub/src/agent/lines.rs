//! The lines of an agent, as events.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use claude_relay_client::{AgentState, AgentStatus, SdkMessage, View};
use claude_relay_protocol::json::fields;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::cut::cut;
use crate::hub::todos::{MAX_TODO_BYTES, Todo, TodoChange};
use crate::hub::{Hub, MAX_EVENT_BYTES, MAX_NAME_BYTES};
use crate::wire::TodoItem;

/// Maximum number of calls whose tool is remembered for the result.
const MAX_CALLS: usize = 256;

/// Tools that make or change one entry of the list of what to do.
const TODO_TOOLS: [&str; 2] = ["TaskCreate", "TaskUpdate"];

/// Time after a line within which the relay tells of the turn that it belongs to. It
/// does so at once, or 100 ms after it has told something else.
const STATE_TIME: Duration = Duration::from_secs(1);

/// A call without a result.
#[derive(Debug)]
struct Call {
    id: String,
    tool: String,
    /// Of the tools that make or change an entry of the list of what to do.
    words: TodoChange,
}

/// What is remembered of the lines of one agent's process.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Calls without a result.
    calls: VecDeque<Call>,
    /// The words for an entry of the list of what to do, from the call whose result
    /// has come.
    words: TodoChange,
    /// What the agent's process has cost at the end of the last turn.
    total_cost: f64,
    /// What the relay has last said of the agent.
    state: Option<AgentState>,
    /// The time of the last sign of work that the relay has told nothing after.
    worked_at: Option<Instant>,
}

impl Lines {
    /// The agent has a new process, which counts anew.
    pub(super) fn on_exit(&mut self) {
        *self = Self { state: self.state.take(), ..Self::default() };
    }

    /// The relay says what the agent does.
    pub(super) fn on_state(&mut self, state: &AgentState) {
        self.state = Some(state.clone());
        self.worked_at = None;
    }

    /// The agent works, perhaps on a turn of its own of which the relay tells later.
    pub(super) fn on_work(&mut self) {
        self.worked_at = Some(Instant::now());
    }

    /// Returns true if the agent does something by itself: a turn of its own, or
    /// tasks in the background.
    pub(super) fn is_busy(&self) -> bool {
        self.has_turn() || self.state.as_ref().is_some_and(|state| state.background_tasks > 0)
    }

    /// Returns true in a turn, of a message or of its own.
    pub(super) fn has_turn(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.turn.is_some())
    }

    /// The time from which on the agent has no turn and begins none, if the relay
    /// tells nothing else. A turn that ends before the relay has told of it, and a
    /// line without a turn, change nothing for the relay: it tells nothing.
    pub(super) fn quiet_at(&self) -> Option<Instant> {
        let is_quiet = |state: &AgentState| {
            state.turn.is_none() && matches!(state.state, AgentStatus::Idle | AgentStatus::Stopped)
        };
        let is_quiet = self.state.as_ref().is_some_and(is_quiet);
        is_quiet.then(|| self.worked_at.map_or_else(Instant::now, |at| at + STATE_TIME))
    }

    /// Tells what a line means.
    pub(super) fn on_line(&mut self, hub: &Hub, id: &str, line: &SdkMessage) {
        for view in line.views() {
            // A subagent says something beside the turns, too.
            if let View::Text { parent: None, .. } | View::ToolUse { parent: None, .. } = view {
                self.on_work();
                hub.on_active(id);
            }
            match view {
                View::SessionStarted(session) => hub.on_session(id, &session.session_id),
                View::Text { text, .. } => hub.on_text(id, text.into_owned()),
                View::ToolUse { id: call, name, input, .. } => {
                    let name = cut(name.into_owned(), MAX_NAME_BYTES);
                    hub.on_tool(id, &name, value(Some(input)));
                    if call.len() <= MAX_NAME_BYTES {
                        let words = words(&name, input);
                        self.calls.push_back(Call { id: call.into_owned(), tool: name, words });
                    }
                    if self.calls.len() > MAX_CALLS {
                        self.calls.pop_front();
                    }
                }
                View::ToolResult { tool_use_id, content, .. } => {
                    let place = self.calls.iter().position(|call| call.id == tool_use_id);
                    let call = place.and_then(|place| self.calls.remove(place));
                    let (tool, words) = call.map_or_else(
                        || ("unknown".to_owned(), TodoChange::default()),
                        |call| (call.tool, call.words),
                    );
                    self.words = words;
                    hub.on_tool_result(id, &tool, value(content));
                }
                View::Todos(todos) => {
                    hub.on_todos(id, todos.into_iter().map(todo_of).collect());
                }
                // What it is called while it is under way stands in the call.
                View::TodoAdded(added) => {
                    let mut todo = todo_of(added);
                    todo.item.active_form = std::mem::take(&mut self.words).active_form;
                    hub.on_todo_added(id, todo);
                }
                View::TodoChanged { id: todo, status } => {
                    let status = status.map(Cow::into_owned);
                    let change = TodoChange { status, ..std::mem::take(&mut self.words) };
                    hub.on_todo_changed(id, &todo, change);
                }
                View::TurnFinished(finished) => {
                    let total = finished.total_cost_usd.unwrap_or(self.total_cost);
                    // A process that resumes a conversation may count on or anew.
                    let cost =
                        if total >= self.total_cost { total - self.total_cost } else { total };
                    self.total_cost = total;
                    hub.on_done(id, cost);
                }
                _ => {}
            }
        }
    }
}

fn todo_of(todo: claude_relay_client::Todo<'_>) -> Todo {
    let item = TodoItem {
        content: todo.content.into_owned(),
        status: todo.status.into_owned(),
        active_form: todo.active_form.map(Cow::into_owned),
    };
    Todo { id: todo.id.map(Cow::into_owned), item }
}

/// The words for an entry of the list of what to do in a call that makes or changes
/// one; the result says which one, and its status.
fn words(tool: &str, input: &RawValue) -> TodoChange {
    if !TODO_TOOLS.contains(&tool) {
        return TodoChange::default();
    }
    let [subject, active_form] = fields(input.get(), ["subject", "activeForm"]).unwrap_or_default();
    let text = |raw: Option<&RawValue>| {
        let text: String = serde_json::from_str(raw?.get()).ok()?;
        Some(cut(text, MAX_TODO_BYTES))
    };
    TodoChange { content: text(subject), status: None, active_form: text(active_form) }
}

/// The value, or its text where it is so long that it is cut anyway: a value of
/// many parts needs many times the memory of its text.
fn value(raw: Option<&RawValue>) -> Value {
    if let Some(long) = raw.filter(|raw| raw.get().len() > MAX_EVENT_BYTES)
        && !long.get().starts_with('"')
    {
        return Value::String(long.get().to_owned());
    }
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}
