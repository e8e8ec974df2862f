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
//! * [`Client::turn`] gives what belongs to one turn, [`Client::ask`] only its
//!   [`Answer`].
//! * The connection restores itself. What the program sees has no holes and
//!   nothing twice, or says so with a [`Gap`]. A message is sent once, or the
//!   error says which of "not delivered" and "not known" it is.
//! * Every failure is a variant of [`Error`] that says what to do.
//!
//! * Instead of an address, [`ClientBuilder::template`] runs the server in a
//!   sandbox of E2B's cloud, which ends with the client.
//!
//! Features: `tls` (default) for `https` and `wss`; `e2b` (default) for
//! sandboxes; `cli` (default) for the program `claude-relay`, of no use to a
//! library.
//!
//! [claude-relay]: ClientBuilder::connection_url

// In reading order.
mod error;
mod secret;

mod address;
mod builder;
mod configuration;
mod environment;

mod client;
mod control;
mod message;
mod messages;
mod offers;
mod permission;
mod raw_json;
mod turn;
mod user_message;
mod view;

mod connection;
mod session;

mod backoff;
mod delivery;
mod desk;
mod greeting;
mod held;
mod home;
mod hub;
mod link;
mod order;
mod queue;
mod receive;

mod dial;
mod http;
mod routes;
mod socket;

#[cfg(feature = "e2b")]
mod sandbox;

pub use builder::{ClientBuilder, MAX_MESSAGE_BYTES};
/// E2B itself: accounts, sandboxes, pools of them.
#[cfg(feature = "e2b")]
pub use claude_relay_e2b as e2b;
pub use client::Client;
pub use configuration::{Agent, Configuration, Preset, SystemPrompt};
pub use connection::Connection;
pub use desk::Direction;
pub use error::Error;
pub use message::{Exit, Gap, MalformedMessage, SdkMessage, ServerMessage};
pub use messages::Messages;
pub use offers::{ModelInfo, SlashCommand};
pub use order::Position;
pub use permission::{Decision, PermissionRequest};
pub use raw_json::RawJson;
pub use routes::{Applies, Configured, Health};
#[cfg(feature = "e2b")]
pub use sandbox::{Change, ChangeKind, Entry, EntryKind, Files, Watch};
pub use secret::Secret;
pub use turn::{Answer, Turn};
pub use user_message::{Block, UserMessage};
pub use view::{SessionStarted, Todo, TurnFinished, Usage, View};
