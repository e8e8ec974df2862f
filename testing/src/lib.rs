//! Test doubles and tools that the tests of several crates share.
//!
//! * [`tools`]: the external programs, as `scripts/test` installed them
//! * [`test_env`]: a home, a workspace and an environment of a test's own
//! * [`wait`]: waits with a deadline
//! * [`process`]: running processes, and proof that none is left
//! * [`messages_api`], [`reply`]: a scripted Messages API for the real CLI
//! * [`responses_api`], [`codex_home`]: the same for the real Codex
//! * [`scripted_agent`]: agents that print given bytes or record their stdin
//! * [`relay_process`]: the real server, for crates that do not build it;
//!   [`real_cli`]: with the real CLI behind it
//! * [`fake_relay`]: a server whose every byte the test decides
//! * [`connect_proxy`], [`socks_proxy`]: proxies that open tunnels
//! * [`tcp_service`]: a server whose connections a function serves
//! * `e2b` (behind the feature of that name): a fake of the E2B API
//!
//! No crate of the workspace is a dependency of this one, so that each of them
//! can have it as a dev-dependency.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

pub mod codex_home;
pub mod connect_proxy;
#[cfg(feature = "e2b")]
pub mod e2b;
pub mod fake_relay;
mod http_api;
pub mod messages_api;
pub mod process;
pub mod real_cli;
pub mod relay_process;
pub mod reply;
pub mod responses_api;
pub mod scripted_agent;
pub mod socks_proxy;
pub mod tcp_service;
pub mod test_env;
pub mod tools;
pub mod transcript;
pub mod wait;
