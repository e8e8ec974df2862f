//! The server.
pub mod frame;
pub mod lines;
pub mod replay;
pub mod slot;
