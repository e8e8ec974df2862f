//! The hub's wire: what is written to clients and read from them.

mod command;
mod event;
mod record;

pub use command::{
    AgentChanges, ClientFrame, Command, Decided, MAX_FRAME_BYTES, MAX_TEXT_BYTES, NewAgent,
    NewDelegation, NewMessage, NewWorkspace, PermissionAnswer,
};
pub use event::{Event, PendingPermission, TodoItem};
pub use record::{
    AgentInfo, AgentStatus, DelegationInfo, DelegationStatus, Engine, EntryKind, LogEntry,
    SpawnInfo, SpawnStatus, WantedAgent, WorkspaceInfo,
};
