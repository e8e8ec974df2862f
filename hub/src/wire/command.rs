//! The commands: what clients ask of the hub, as frames and as REST.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::record::Engine;

/// Maximum size of a frame of a client.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

/// Maximum size of a message for an agent, of a task and of a prompt.
pub const MAX_TEXT_BYTES: usize = 512 << 10;

/// A frame of a client: a command, and a value that its answer repeats.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ClientFrame {
    /// Repeated in the answer; without it a command that succeeds has none.
    #[serde(default)]
    pub id: Option<Value>,
    /// The command.
    #[serde(flatten)]
    pub command: Command,
}

/// A command.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Command {
    /// Answers a permission request.
    PermissionResponse {
        /// The request.
        request_id: String,
        /// The answer.
        #[serde(flatten)]
        answer: PermissionAnswer,
    },
    /// Leaves out the events of all workspaces but those that were named so.
    Subscribe {
        /// The workspace.
        workspace_id: String,
    },
    /// Takes a workspace out of those again.
    Unsubscribe {
        /// The workspace.
        workspace_id: String,
    },
    /// Lists the workspaces.
    ListWorkspaces,
    /// Creates a workspace.
    CreateWorkspace(NewWorkspace),
    /// Ends what its agents do, empties their logs, and gives each a new
    /// conversation. The files stay.
    ResetWorkspace {
        /// The workspace.
        workspace_id: String,
    },
    /// Removes a workspace and its agents. The files stay.
    RemoveWorkspace {
        /// The workspace.
        workspace_id: String,
    },
    /// Lists the agents.
    ListAgents,
    /// Tells of one agent.
    GetAgent {
        /// The agent.
        agent_id: String,
    },
    /// Creates an agent.
    CreateAgent(NewAgent),
    /// Changes an agent. It has the new configuration from its next turn on.
    ConfigureAgent {
        /// The agent.
        agent_id: String,
        /// The changes.
        #[serde(flatten)]
        changes: AgentChanges,
    },
    /// Gives an agent a message. Messages are worked off one after the other.
    SendMessage {
        /// The agent.
        agent_id: String,
        /// The message.
        #[serde(flatten)]
        message: NewMessage,
    },
    /// Interrupts an agent's turn.
    InterruptAgent {
        /// The agent.
        agent_id: String,
    },
    /// Ends an agent's processes. The next message starts it again, in the
    /// same conversation.
    StopAgent {
        /// The agent.
        agent_id: String,
    },
    /// Removes an agent.
    RemoveAgent {
        /// The agent.
        agent_id: String,
    },
    /// Tells an agent's log.
    GetLog {
        /// The agent.
        agent_id: String,
    },
    /// Hides an entry of an agent's log.
    HideLogEntry {
        /// The agent.
        agent_id: String,
        /// The entry.
        entry_id: u64,
    },
    /// Lists the permission requests that wait for an answer.
    ListPermissions,
    /// Gives another agent a task in the name of an agent.
    Delegate {
        /// The agent that gives it, and gets the result.
        agent_id: String,
        /// The task.
        #[serde(flatten)]
        delegation: NewDelegation,
    },
    /// Lists the delegations.
    ListDelegations,
    /// Lists the requests for more agents.
    ListSpawnRequests,
    /// Decides about a request for more agents.
    SpawnResponse {
        /// The request.
        request_id: String,
        /// The decision.
        #[serde(flatten)]
        decided: Decided,
    },
}

/// The answer to a permission request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionAnswer {
    /// True if the tool may run.
    pub approved: bool,
    /// The input to run it with instead of the asked one.
    #[serde(default)]
    pub updated_input: Option<Map<String, Value>>,
    /// The reason of a refusal; the agent reads it.
    #[serde(default)]
    pub message: Option<String>,
}

/// A decision.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Decided {
    /// True if it is granted.
    pub approved: bool,
}

/// A new workspace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewWorkspace {
    /// Its name.
    pub name: String,
}

/// A new agent.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewAgent {
    /// Its workspace.
    pub workspace_id: String,
    /// Its role, by which others delegate to it; `agent` when there is none.
    #[serde(default)]
    pub role: Option<String>,
    /// Its name; the role when there is none.
    #[serde(default)]
    pub name: Option<String>,
    /// The place where it runs.
    #[serde(default)]
    pub engine: Option<Engine>,
    /// Its directory, relative to that of the workspace, which it is by default.
    #[serde(default)]
    pub directory: Option<String>,
    /// Its configuration: fields of the relay's that hold no secret.
    #[serde(default)]
    pub config: Map<String, Value>,
    /// Its first message.
    #[serde(default)]
    pub message: Option<String>,
}

/// Changes of an agent; what is left out stays.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentChanges {
    /// Its role.
    #[serde(default)]
    pub role: Option<String>,
    /// Its name.
    #[serde(default)]
    pub name: Option<String>,
    /// Fields of its configuration; `null` removes one.
    #[serde(default)]
    pub config: Map<String, Value>,
}

/// A message for an agent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewMessage {
    /// The text.
    pub text: String,
}

/// A task for another agent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NewDelegation {
    /// The role, name or id of an agent of the same workspace.
    pub role: String,
    /// The task.
    pub task: String,
}
