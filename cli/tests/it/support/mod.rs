//! Helpers that the tests share: servers of every kind, the program on a
//! terminal and without one.

pub(crate) mod cloud;
pub(crate) mod codex;
pub(crate) mod program;
pub(crate) mod scripted_relay;
pub(crate) mod terminal;

pub(crate) use claude_relay_testing::wait::{DEADLINE, soon};
