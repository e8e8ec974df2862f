//! The command line against servers of every kind: the real one with the
//! built-in agent, with Claude Code and with Codex, and scripted ones.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod agent;
mod agent_cuts;
mod agent_e2b;
mod agent_elsewhere;
mod agent_killed;
mod agent_memory;
mod agent_sdk;
mod asking;
mod background;
mod chat;
mod chat_screen;
mod codex;
mod commands;
mod conversations;
mod e2b;
mod e2b_canary;
mod e2b_copies;
mod e2b_faults;
mod e2b_proxies;
mod e2b_resume;
mod failures;
mod files;
mod forms;
mod forms_with_claude;
mod options;
mod proxies;
mod support;
mod terminal;
mod terminal_with_claude;
mod watching;
mod workspace;
