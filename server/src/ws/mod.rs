//! WebSocket connections: one loop that reads, one that writes, and their end.
//!
//! Only this module and the Codex client know WebSocket frames.

pub mod frame;

mod connection;
mod read;
mod write;

pub use connection::serve;
