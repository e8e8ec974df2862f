//! The values that pass between a program and a server.

pub(crate) mod agent_request;
pub(crate) mod agent_state;
pub(crate) mod callbacks;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod conversation;
pub(crate) mod file;
pub(crate) mod form;
pub(crate) mod frame;
pub(crate) mod message;
pub(crate) mod permission;
pub(crate) mod questions;
pub(crate) mod raw_json;
pub(crate) mod signal;
pub(crate) mod user_message;
pub(crate) mod view;

pub use self::agent_request::{AgentAnswer, AgentRequest};
pub use self::agent_state::{
    AgentState, AgentStatus, CurrentTurn, StoreState, StoreStatus, TurnOrigin,
};
pub use self::config::{
    Agent, Applies, Configuration, Configured, Plugin, Preset, Skills, SystemPrompt, TaskBudget,
    Thinking,
};
pub use self::connection::ConnectionState;
pub use self::conversation::Conversation;
pub use self::file::{FileChange, FileChangeKind, FileEntry, FileType};
pub use self::form::{FieldKind, Form, FormChoice, FormField};
pub use self::message::{Exit, Gap, MalformedMessage, SdkMessage, ServerMessage};
pub use self::permission::{Decision, PermissionRequest};
pub use self::questions::{Choice, Question};
pub use self::raw_json::RawJson;
pub use self::user_message::{Block, UserMessage};
pub use self::view::{HookRun, SessionStarted, Todo, TurnFinished, Usage, View};
pub use claude_relay_protocol::Secret;
