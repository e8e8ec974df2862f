//! The hub's state: what is kept in its file, and what lives beside it.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use claude_relay_client::{Client, PermissionRequest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot, watch};

use super::log::Log;
use super::todos::TodoList;
use crate::wire::{
    AgentInfo, AgentStatus, DelegationInfo, Engine, PendingPermission, SpawnInfo, WorkspaceInfo,
};

/// Everything that the hub knows.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// What is kept.
    pub(crate) kept: Kept,
    /// The running side of each agent.
    pub(crate) live: BTreeMap<String, Live>,
    /// Permission requests without an answer.
    pub(crate) permissions: BTreeMap<String, Pending>,
    /// Calls that wait for the end of a delegation.
    pub(crate) waiting: BTreeMap<String, oneshot::Sender<Result<String, String>>>,
    /// Grows with every change of what is kept.
    pub(crate) version: u64,
}

/// What the state file holds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kept {
    pub(crate) workspaces: BTreeMap<String, WorkspaceInfo>,
    pub(crate) agents: BTreeMap<String, Agent>,
    #[serde(default)]
    pub(crate) delegations: BTreeMap<String, DelegationInfo>,
    #[serde(default)]
    pub(crate) spawns: BTreeMap<String, SpawnInfo>,
}

/// An agent as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Agent {
    pub(crate) id: String,
    pub(crate) workspace_id: String,
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) engine: Engine,
    pub(crate) directory: String,
    pub(crate) config: Map<String, Value>,
    pub(crate) session_id: Option<String>,
    pub(crate) spawned_by: Option<String>,
    /// The number of agents in the line of those that have spawned it.
    pub(crate) depth: u32,
    pub(crate) cost: f64,
    pub(crate) created_at: u64,
    /// Messages that it has not finished with, the one of its turn first.
    pub(crate) inbox: VecDeque<Message>,
    /// The sandbox that it runs in.
    #[serde(default)]
    pub(crate) sandbox: Option<String>,
    /// The number of entries of its log at the last message.
    pub(crate) logged: u64,
}

/// A message for an agent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    /// The `uuid` under which the agent gets it.
    pub(crate) uuid: String,
    pub(crate) text: String,
    /// The delegation that its turn answers.
    #[serde(default)]
    pub(crate) delegation: Option<String>,
    /// The number of times that it was handed to the agent.
    #[serde(default)]
    pub(crate) attempts: u32,
}

impl Message {
    pub(crate) fn new(text: String, delegation: Option<String>) -> Self {
        Self { uuid: claude_relay_random::uuid(), text, delegation, attempts: 0 }
    }
}

/// The running side of an agent.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) commands: mpsc::Sender<AgentCommand>,
    pub(crate) status: AgentStatus,
    pub(crate) log: Log,
    /// The connection to its relay, while it has one.
    pub(crate) client: watch::Sender<Option<Client>>,
    /// The result that it has reported within its turn.
    pub(crate) reported: Option<String>,
    /// A person was told that a permission request could not be refused.
    pub(crate) lost_refusal: bool,
    pub(crate) todos: TodoList,
}

/// A command to the task of an agent.
#[derive(Debug)]
pub(crate) enum AgentCommand {
    /// Look at the inbox, or start for somebody who wants files.
    Wake,
    /// Interrupt the turn.
    Interrupt,
    /// Hand over the answer to a permission request.
    Answer(Box<PermissionRequest>, claude_relay_client::Decision, oneshot::Sender<bool>),
    /// Take up the new configuration before the next turn.
    Configure,
    /// End all processes.
    Stop,
}

/// A permission request without an answer.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) shown: PendingPermission,
    pub(crate) request: PermissionRequest,
}

impl Agent {
    pub(crate) fn info(&self, status: AgentStatus) -> AgentInfo {
        AgentInfo {
            id: self.id.clone(),
            workspace_id: self.workspace_id.clone(),
            name: self.name.clone(),
            role: self.role.clone(),
            engine: self.engine,
            status,
            session_id: self.session_id.clone(),
            spawned_by: self.spawned_by.clone(),
            cost: self.cost,
            queued: self.inbox.len(),
            directory: self.directory.clone(),
            config: self.config.clone(),
            created_at: self.created_at,
        }
    }
}

impl State {
    pub(crate) fn info(&self, agent: &Agent) -> AgentInfo {
        let live = self.live.get(&agent.id);
        agent.info(live.map(|live| live.status).unwrap_or_default())
    }
}

/// The time, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A new id, such as `ws_3f…`.
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}_{}", claude_relay_random::hexadecimal::<6>())
}

/// The ids of the oldest records beyond a number of them and a size of all; each
/// has its time, its id and its size.
pub(super) fn oldest_beyond(
    mut records: Vec<(u64, String, usize)>,
    most: usize,
    most_bytes: usize,
) -> Vec<String> {
    records.sort_unstable();
    let mut bytes: usize = records.iter().map(|(.., size)| size).sum();
    let mut count = records.len();
    let mut oldest = Vec::new();
    for (_, id, size) in records {
        if count <= most && bytes <= most_bytes {
            break;
        }
        (count, bytes) = (count - 1, bytes - size);
        oldest.push(id);
    }
    oldest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_records_go_first_and_no_more_than_must() {
        let records = || {
            [(3, "c", 10), (1, "a", 50), (2, "b", 10)]
                .map(|(at, id, size)| (at, id.to_owned(), size))
                .to_vec()
        };
        assert!(oldest_beyond(records(), 3, 70).is_empty());
        assert_eq!(oldest_beyond(records(), 2, 70), ["a"]);
        assert_eq!(oldest_beyond(records(), 3, 69), ["a"]);
        assert_eq!(oldest_beyond(records(), 3, 19), ["a", "b"]);
        assert_eq!(oldest_beyond(records(), 0, 70), ["a", "b", "c"]);
    }
}
