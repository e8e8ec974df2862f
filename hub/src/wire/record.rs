//! The things that clients see: agents, workspaces, log entries, delegations.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A workspace: a directory, and the agents that work in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceInfo {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its creation, in milliseconds since 1970.
    pub created_at: u64,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentInfo {
    /// Its id.
    pub id: String,
    /// Its workspace.
    pub workspace_id: String,
    /// Its name.
    pub name: String,
    /// Its role, by which others delegate to it.
    pub role: String,
    /// The place where it runs.
    pub engine: Engine,
    /// What it does.
    pub status: AgentStatus,
    /// Its conversation, once there is one.
    pub session_id: Option<String>,
    /// The agent that it was spawned by; `null` for one of a client.
    pub spawned_by: Option<String>,
    /// What it has cost so far, in US dollars.
    pub cost: f64,
    /// The number of messages that it has not finished with.
    pub queued: usize,
    /// Its directory, relative to that of the workspace.
    pub directory: String,
    /// Its configuration.
    pub config: Map<String, Value>,
    /// Its creation, in milliseconds since 1970.
    pub created_at: u64,
}

/// The place where an agent runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// On the machine of the hub.
    #[default]
    Local,
    /// In a sandbox of E2B.
    E2b,
}

/// What an agent does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// It has no process; the next message starts one.
    #[default]
    Stopped,
    /// It waits for its turn to start, or starts.
    Starting,
    /// It waits for a message.
    Idle,
    /// A turn runs.
    Working,
    /// It waits for the answer of a person.
    Waiting,
    /// It has failed several times in a row; the next message tries again.
    Failed,
}

/// An entry of an agent's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// Its id within the log.
    pub id: u64,
    /// The kind of what is in `content`.
    pub kind: EntryKind,
    /// The tool, of calls and results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// A text, the input of a tool or its result.
    pub content: Value,
    /// Its time, in milliseconds since 1970.
    pub at: u64,
    /// True once a client has hidden it.
    #[serde(default)]
    pub hidden: bool,
}

/// The kind of a log entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A message for the agent.
    User,
    /// A text of the agent.
    Text,
    /// A call of a tool.
    Tool,
    /// The result of a call.
    ToolResult,
    /// A failure.
    Error,
}

/// A task that one agent has given another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DelegationInfo {
    /// Its id.
    pub id: String,
    /// The workspace of both.
    pub workspace_id: String,
    /// The agent that gave it.
    pub agent_id: String,
    /// The agent that it was given to.
    pub to_agent_id: String,
    /// The role of that one.
    pub to_role: String,
    /// The task.
    pub task: String,
    /// Its state.
    pub status: DelegationStatus,
    /// Its result, or the reason why there is none.
    pub result: Option<String>,
    /// The delegation within which it was given.
    pub parent: Option<String>,
    /// The number of delegations that it lies within.
    pub depth: u32,
    /// Its creation, in milliseconds since 1970.
    pub created_at: u64,
}

/// The state of a delegation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DelegationStatus {
    /// Its agent has not begun.
    Pending,
    /// Its agent works on it.
    Working,
    /// It has a result.
    Done,
    /// It has none, and will not have one.
    Failed,
}

impl DelegationStatus {
    /// Returns true if it has ended.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// An agent's request for more agents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpawnInfo {
    /// Its id.
    pub id: String,
    /// The workspace of all of them.
    pub workspace_id: String,
    /// The agent that asks.
    pub agent_id: String,
    /// What it asks for.
    pub agents: Vec<WantedAgent>,
    /// Its state.
    pub status: SpawnStatus,
    /// The ids of the agents that were created.
    pub created: Vec<String>,
    /// Its time, in milliseconds since 1970.
    pub created_at: u64,
}

/// The state of a [`SpawnInfo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpawnStatus {
    /// Nobody has decided.
    Pending,
    /// The agents were created.
    Approved,
    /// They were not.
    Denied,
}

/// An agent that another one asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WantedAgent {
    /// Its role.
    pub role: String,
    /// Its name; the role when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its system prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// Its first message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}
