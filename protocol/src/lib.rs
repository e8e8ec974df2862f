//! The wire protocol of claude-relay as types. No I/O, no clock, no async
//! runtime.
//!
//! Read in this order:
//!
//! * [`json`]: fields of an object as raw text, the last of duplicates
//! * [`client_message`]: messages from a client
//! * [`server_message`]: messages to a client
//! * [`envelope`]: the wrapping of an agent's line, which stays unchanged
//! * [`turns`]: the running turn and its author, from the agent's lines
//! * [`run`]: messages of `/agent`
//! * [`config`]: the body of `POST /config` and the answer of `GET /config`
//!
//! Shared by all crates: [`secret`], [`credentials`], [`addresses`], [`backoff`],
//! [`duration`], [`text`].

pub mod addresses;
pub mod backoff;
pub mod client_message;
pub mod config;
pub mod credentials;
pub mod duration;
pub mod envelope;
pub mod json;
pub mod nearest;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod run;
#[cfg(feature = "schema")]
pub mod schema;
pub mod secret;
pub mod server_message;
pub mod text;
pub mod turns;

pub use backoff::Backoff;
pub use client_message::{ClientMessage, ClientMessageError};
pub use config::{ConfigError, QueryConfig};
pub use secret::Secret;
pub use server_message::ServerMessage;
