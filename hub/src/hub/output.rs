//! What an agent says: events, and entries of its log.

use serde_json::Value;

use super::Hub;
use super::state::State;
use super::todos::TodoList;
use crate::cut::cut;
use crate::wire::{AgentStatus, EntryKind, Event};

/// Maximum size of a text or a value in an event; what is longer is cut.
pub(crate) const MAX_EVENT_BYTES: usize = 256 << 10;

/// Maximum size of the name of a tool or of a conversation.
pub(crate) const MAX_NAME_BYTES: usize = 256;

impl Hub {
    pub(crate) fn add_to_log(
        &self,
        state: &mut State,
        id: &str,
        kind: EntryKind,
        tool: Option<&str>,
        content: Value,
    ) {
        if let Some(live) = state.live.get_mut(id) {
            live.log.add(kind, tool, content);
            self.on_log_change();
        }
    }

    /// Tells an event of an agent that still exists, by its id and workspace.
    fn tell_of(&self, id: &str, log: Logged<'_>, event: impl FnOnce(String, String) -> Event) {
        let mut state = self.state();
        let Some(agent) = state.kept.agents.get(id) else { return };
        let workspace = agent.workspace_id.clone();
        if let Some((kind, tool, content)) = log {
            self.add_to_log(&mut state, id, kind, tool, content);
        }
        self.tell(&workspace, &event(id.to_owned(), workspace.clone()));
    }

    pub(crate) fn on_text(&self, id: &str, text: String) {
        let text = cut(text, MAX_EVENT_BYTES);
        let log = Some((EntryKind::Text, None, Value::String(text.clone())));
        self.tell_of(id, log, |agent_id, workspace_id| Event::AgentText {
            agent_id,
            workspace_id,
            text,
        });
    }

    pub(crate) fn on_tool(&self, id: &str, tool: &str, input: Value) {
        let input = bounded(input);
        let log = Some((EntryKind::Tool, Some(tool), input.clone()));
        self.tell_of(id, log, |agent_id, workspace_id| Event::AgentTool {
            agent_id,
            workspace_id,
            tool: tool.to_owned(),
            input,
        });
    }

    pub(crate) fn on_tool_result(&self, id: &str, tool: &str, result: Value) {
        let result = bounded(result);
        let log = Some((EntryKind::ToolResult, Some(tool), result.clone()));
        self.tell_of(id, log, |agent_id, workspace_id| Event::AgentToolResult {
            agent_id,
            workspace_id,
            tool: tool.to_owned(),
            result,
        });
    }

    pub(crate) fn on_error(&self, id: &str, error: String) {
        let error = cut(error, MAX_EVENT_BYTES);
        let log = Some((EntryKind::Error, None, Value::String(error.clone())));
        self.tell_of(id, log, |agent_id, workspace_id| Event::AgentError {
            agent_id,
            workspace_id,
            error,
        });
    }

    pub(crate) fn on_session(&self, id: &str, session: &str) {
        if session.len() > MAX_NAME_BYTES {
            tracing::warn!(agent = id, "the name of a conversation is too long, and not kept");
            return;
        }
        let mut state = self.state();
        let Some(agent) = state.kept.agents.get_mut(id) else { return };
        if agent.session_id.as_deref() == Some(session) {
            return;
        }
        agent.session_id = Some(session.to_owned());
        if let Some(live) = state.live.get_mut(id) {
            live.todos = TodoList::default();
        }
        let Some(agent) = state.kept.agents.get(id) else { return };
        let workspace = agent.workspace_id.clone();
        self.on_change(&mut state);
        let (agent_id, session_id) = (id.to_owned(), session.to_owned());
        self.tell(&workspace, &Event::AgentSession { agent_id, session_id });
    }

    /// A turn has ended, which has cost this much.
    pub(crate) fn on_done(&self, id: &str, cost: f64) {
        let mut state = self.state();
        let Some(agent) = state.kept.agents.get_mut(id) else { return };
        agent.cost += cost;
        let (workspace_id, role) = (agent.workspace_id.clone(), agent.role.clone());
        self.set_status_in(&mut state, id, AgentStatus::Idle);
        self.on_change(&mut state);
        let workspace = workspace_id.clone();
        let agent_id = id.to_owned();
        self.tell(&workspace, &Event::AgentDone { agent_id, workspace_id, role, cost });
    }

    pub(crate) fn set_status(&self, id: &str, status: AgentStatus) {
        self.set_status_in(&mut self.state(), id, status);
    }

    pub(super) fn set_status_in(&self, state: &mut State, id: &str, status: AgentStatus) {
        let Some(live) = state.live.get_mut(id) else { return };
        let former = std::mem::replace(&mut live.status, status);
        let was_working = matches!(former, AgentStatus::Working | AgentStatus::Waiting);
        let Some(agent) = state.kept.agents.get(id) else { return };
        let (agent_id, workspace_id) = (id.to_owned(), agent.workspace_id.clone());
        let event = match status {
            // Who waits for a person has begun something.
            AgentStatus::Working | AgentStatus::Waiting if !was_working => {
                Event::AgentWorking { agent_id, workspace_id }
            }
            // Its turn was cut short: no result tells of its end.
            AgentStatus::Stopped if was_working => {
                Event::AgentDone { agent_id, workspace_id, role: agent.role.clone(), cost: 0.0 }
            }
            _ => return,
        };
        self.tell(&agent.workspace_id, &event);
    }

    /// The agent says something, so it works: perhaps on a turn of its own, of which
    /// nobody has heard yet.
    pub(crate) fn on_active(&self, id: &str) {
        let mut state = self.state();
        if state.live.get(id).is_some_and(|live| live.status == AgentStatus::Idle) {
            self.set_status_in(&mut state, id, AgentStatus::Working);
        }
    }

    /// The agent does nothing any more, though no result has said so. One that waits
    /// for a person does.
    pub(crate) fn on_quiet(&self, id: &str) {
        let is_working = |live: &super::state::Live| live.status == AgentStatus::Working;
        let was_working = self.state().live.get(id).is_some_and(is_working);
        if was_working {
            self.on_done(id, 0.0);
        }
    }
}

type Logged<'a> = Option<(EntryKind, Option<&'a str>, Value)>;

/// A value that is not too long for an event.
fn bounded(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(cut(text, MAX_EVENT_BYTES)),
        other => {
            let text = other.to_string();
            if text.len() <= MAX_EVENT_BYTES { other } else { cut(text, MAX_EVENT_BYTES).into() }
        }
    }
}
