//! The wire of claude-relay as types. No I/O, no clock, no runtime.
//!
//! Read in this order:
//!
//! * [`json`]: fields of an object as raw text, the last of duplicates
//! * [`client_message`]: what a client sends
//! * [`server_message`]: what a client receives
//! * [`envelope`]: how an agent's line is wrapped without being touched
//! * [`turns`]: which turn runs and whose it is, from the agent's lines
//! * [`config`]: what `POST /config` takes and `GET /config` shows
//!
//! Shared by all crates: [`secret`], [`credentials`], [`backoff`], [`duration`],
//! [`text`].

pub mod backoff;
pub mod client_message;
pub mod config;
pub mod credentials;
pub mod duration;
pub mod envelope;
pub mod json;
pub mod secret;
pub mod server_message;
pub mod text;
pub mod turns;

pub use backoff::Backoff;
pub use client_message::{ClientMessage, ClientMessageError};
pub use config::{ConfigError, QueryConfig};
pub use secret::Secret;
pub use server_message::ServerMessage;
