//! A client for [claude-relay]: a server that runs Claude Code beside a
//! WebSocket.
//!
//! ```no_run
//! use claude_relay_client::Client;
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), claude_relay_client::Error> {
//!     let client = Client::builder().connection_url("http://localhost:3000").start().await?;
//!     let answer = client.ask("What is in this directory?").await?;
//!     println!("{}", answer.text);
//!     client.stop().await;
//!     Ok(())
//! }
//! ```
//!
//! * [`Client::messages`] gives everything the agent says, as a stream; what a
//!   line means is in its [`View`]s, its bytes are in [`SdkMessage::json`].
//! * [`Client::turn`] gives what belongs to the turn of one message,
//!   [`Client::ask`] only its [`Answer`], [`Client::turns`] every turn, also
//!   those that the agent begins by itself.
//! * The connection restores itself. The messages that the program sees have no holes and
//!   nothing twice, or says so with a [`Gap`]. A message is sent once, or the
//!   error says which of "not delivered" and "not known" it is.
//! * [`Client::workspace`] gives the files of the server's workspace, and the
//!   conversations that were held in it.
//! * Every operation has its own enum of errors, whose variants say what to do;
//!   [`Error`] is all of them.
//!
//! * With the feature `e2b`, `ClientBuilder::template` runs the server in a
//!   sandbox of E2B's cloud, which ends with the client.
//!
//! Features: `tls` (default) for `https` and `wss`; `e2b` for sandboxes.
//!
//! [claude-relay]: ClientBuilder::connection_url

mod api;
mod driver;
#[cfg(feature = "e2b")]
pub mod e2b;
#[cfg(not(feature = "e2b"))]
mod e2b;
mod error;
mod net;
mod types;

#[cfg(feature = "e2b")]
pub use api::Reclaimed;
pub use api::{
    Answer, Client, ClientBuilder, EndedTurn, FileWatch, MAX_MESSAGE_BYTES, Messages, ModelInfo,
    RunIncoming, RunReader, RunServer, RunText, RunWriter, SlashCommand, Turn, Turns, Workspace,
};
pub use driver::{Direction, Position};
#[cfg(feature = "e2b")]
pub use e2b::workspace::{Change, ChangeKind, Entry, EntryKind, Files, Watch};
pub use error::{
    ConfigureError, ConnectError, ConnectionError, ControlError, Error, FileError, RequestError,
    SandboxError, SendError, TurnError,
};
pub use net::{Health, MessageForm};
pub use types::{
    Agent, AgentAnswer, AgentRequest, AgentState, AgentStatus, Applies, Block, Choice,
    Configuration, Configured, ConnectionState, Conversation, CurrentTurn, Decision, Exit,
    FieldKind, FileChange, FileChangeKind, FileEntry, FileType, Form, FormChoice, FormField, Gap,
    HookRun, MalformedMessage, PermissionRequest, Plugin, Preset, Question, RawJson, SdkMessage,
    Secret, ServerMessage, SessionStarted, Skills, StoreState, StoreStatus, SystemPrompt,
    TaskBudget, Thinking, Todo, TurnFinished, TurnOrigin, Usage, UserMessage, View,
};
