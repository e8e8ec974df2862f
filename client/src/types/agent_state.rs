//! The server's account of the agent, for clients that ask for it.

use serde::Deserialize;

/// The agent's state, as the server tells it after `connected` and at every
/// change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct AgentState {
    /// The state in one word.
    pub state: AgentStatus,
    /// The turn that runs.
    #[serde(default)]
    pub turn: Option<CurrentTurn>,
    /// The number of background tasks.
    #[serde(default)]
    pub background_tasks: u64,
    /// The id of the conversation.
    #[serde(default)]
    pub conversation: Option<String>,
    /// The model, as the agent names it.
    #[serde(default)]
    pub model: Option<String>,
    /// The permission mode.
    #[serde(default)]
    pub permission_mode: Option<String>,
    /// The ids of messages that no turn has taken yet.
    #[serde(default)]
    pub queued: Vec<String>,
    /// The number of such messages that have no id.
    #[serde(default)]
    pub unnamed: u64,
    /// The number of read-only clients.
    #[serde(default)]
    pub watchers: u64,
    /// The state of the store; `None` if the server has none.
    #[serde(default)]
    pub store: Option<StoreState>,
}

/// The state of the store, in which the server keeps conversations.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct StoreState {
    /// The state in one word.
    pub state: StoreStatus,
    /// The bytes that wait for it on the server's disk.
    #[serde(default)]
    pub waiting_bytes: u64,
    /// The parts of conversations that are neither in it nor on the disk.
    #[serde(default)]
    pub lost: u64,
    /// The reason for which it takes nothing.
    #[serde(default)]
    pub error: Option<String>,
}

/// The state of the store in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StoreStatus {
    /// It has everything.
    Ok,
    /// It lacks something, or takes nothing.
    Behind,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The agent's state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AgentStatus {
    /// No process runs.
    Stopped,
    /// A process has started and is not ready.
    Starting,
    /// No turn runs. Background tasks may.
    Idle,
    /// A turn runs or is about to.
    Running,
    /// The agent waits for an answer of a person.
    Waiting,
    /// The process is being stopped.
    Stopping,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The turn that runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct CurrentTurn {
    /// Its author, as far as is known.
    pub origin: TurnOrigin,
    /// The id of the message that it answers last.
    #[serde(default)]
    pub uuid: Option<String>,
    /// The ids of all messages that it answers, if there are several.
    #[serde(default)]
    pub uuids: Vec<String>,
}

/// The author of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnOrigin {
    /// A message of a client.
    Client,
    /// The agent itself: the report of a background task, a schedule.
    Agent,
}

impl CurrentTurn {
    /// The ids of all messages that the turn answers.
    pub(crate) fn message_ids(&self) -> Vec<String> {
        if self.uuids.is_empty() { self.uuid.iter().cloned().collect() } else { self.uuids.clone() }
    }
}
