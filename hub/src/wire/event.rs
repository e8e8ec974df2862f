//! The events: what the hub tells all clients.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::record::{AgentInfo, DelegationStatus, LogEntry, SpawnInfo, WorkspaceInfo};

/// One event, as its JSON is written.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Event {
    /// There is a new agent.
    AgentCreated {
        /// The agent.
        agent: AgentInfo,
        /// Its workspace.
        workspace_id: String,
        /// The agent that it was spawned by; `null` for one of a client.
        spawned_by: Option<String>,
    },
    /// An agent's configuration has changed.
    AgentUpdated {
        /// The agent.
        agent_id: String,
        /// The agent as it is now.
        agent: AgentInfo,
        /// Its workspace.
        workspace_id: String,
    },
    /// An agent is gone.
    AgentRemoved {
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
    },
    /// An agent has finished a turn.
    AgentDone {
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
        /// Its role.
        role: String,
        /// What the turn has cost, in US dollars.
        cost: f64,
    },
    /// Something of an agent has failed.
    AgentError {
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
        /// The failure, in words.
        error: String,
    },
    /// An agent is in another conversation than before.
    AgentSession {
        /// The agent.
        agent_id: String,
        /// The conversation.
        session_id: String,
    },
    /// An agent has written a text.
    AgentText {
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
        /// The text.
        text: String,
    },
    /// An agent calls a tool.
    AgentTool {
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
        /// The tool.
        tool: String,
        /// The arguments of the call.
        input: Value,
    },
    /// A tool has answered.
    AgentToolResult {
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
        /// The tool.
        tool: String,
        /// Its answer: a text, or blocks.
        result: Value,
    },
    /// An agent has begun a turn.
    AgentWorking {
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
    },
    /// A message for an agent is in its log.
    AgentUserMessage {
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
        /// The message.
        text: String,
    },
    /// An agent's log is another than the entries that were told.
    AgentLogUpdated {
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
        /// The log, whole.
        log: Vec<LogEntry>,
    },
    /// An agent's list of what to do has changed.
    AgentTodos {
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
        /// The list, whole.
        todos: Vec<TodoItem>,
    },
    /// A delegation is in another state.
    DelegationUpdate {
        /// The agent that gave it.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
        /// The delegation.
        delegation_id: String,
        /// Its state.
        status: DelegationStatus,
        /// The role of the agent that it was given to.
        to_role: String,
    },
    /// An agent asks for more agents.
    AgentSpawnRequest {
        /// Its workspace.
        workspace_id: String,
        /// The request.
        request: SpawnInfo,
    },
    /// A request for more agents was decided about.
    SpawnRequestUpdate {
        /// Its workspace.
        workspace_id: String,
        /// The request.
        request: SpawnInfo,
    },
    /// An agent asks whether it may use a tool.
    PermissionRequest(PendingPermission),
    /// A workspace begins anew.
    WorkspaceReset {
        /// The workspace.
        workspace_id: String,
    },
    /// There is a new workspace; only with `after=`.
    WorkspaceCreated {
        /// The workspace.
        workspace_id: String,
        /// The workspace.
        workspace: WorkspaceInfo,
    },
    /// A workspace is gone; only with `after=`.
    WorkspaceRemoved {
        /// The workspace.
        workspace_id: String,
    },
    /// A permission request needs no answer any more; only with `after=`.
    PermissionResolved {
        /// The request.
        request_id: String,
        /// The agent.
        agent_id: String,
        /// Its workspace.
        workspace_id: String,
        /// The answer; `null` if the agent has withdrawn the request.
        approved: Option<bool>,
    },
}

/// A permission request that waits for an answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingPermission {
    /// Names it in the answer.
    pub request_id: String,
    /// The agent that asks.
    pub agent_id: String,
    /// Its workspace.
    pub workspace_id: String,
    /// The tool.
    pub tool: String,
    /// The arguments of the call.
    pub input: Value,
}

/// An entry of an agent's list of what to do.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TodoItem {
    /// The task.
    pub content: String,
    /// `pending`, `in_progress` or `completed`.
    pub status: String,
    /// The task in words for one that is under way, where the agent gives them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_form: Option<String>,
}

impl Event {
    /// Returns true for an event that only clients with `after=` get.
    #[must_use]
    pub fn is_additional(&self) -> bool {
        matches!(
            self,
            Self::WorkspaceCreated { .. }
                | Self::WorkspaceRemoved { .. }
                | Self::PermissionResolved { .. }
        )
    }
}
