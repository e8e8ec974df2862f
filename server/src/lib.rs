//! The server of claude-relay.

pub mod agent;
