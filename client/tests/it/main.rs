//! The client against servers of every kind: a scripted one that follows the
//! protocol, a hostile one that does not, and the real one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

mod configuring;
mod connecting;
mod examples;
mod hostile;
mod kills;
mod messages;
mod parts;
mod real_cli;
mod real_cli_tasks;
mod real_codex;
mod real_server;
mod reconnecting;
mod requests;
mod restarts;
#[cfg(feature = "e2b")]
mod sandbox;
mod states;
#[cfg(feature = "tls")]
mod tls;
mod turns;
mod workspace;
