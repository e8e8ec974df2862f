//! The hub as a process, on real sockets, with real relays below it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

mod access;
mod agents;
mod bounds;
mod clients;
mod delegations;
mod document;
mod flags_document;
mod hostile;
mod kills;
mod many;
mod page;
mod permissions;
mod real_cli;
mod restarts;
#[cfg(feature = "e2b")]
mod sandboxes;
#[cfg(feature = "e2b")]
mod seed;
mod todos;
mod turns;
