//! WebSocket connections: a read loop, a write loop, and their end.
//!
//! Only this module and the Codex client know WebSocket frames.

pub mod frame;

mod arriving;
mod connection;
mod read;
mod write;

pub use connection::{serve, serve_with};
pub use read::Parser;
