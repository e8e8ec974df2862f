//! Shared parts of the integration tests.
//!
//! * [`relay`]: the server as a user starts it
//! * [`http`], [`ws`]: clients that do not share the server's libraries
//! * [`replayed`]: a recording, played and compared
//! * [`tee`]: a copy of the CLI's output, kept beside the relay
//! * [`cli_fixture`]: a server with the real CLI and a scripted Messages API
//! * [`codex`]: the same for the real Codex
//! * [`browser`]: a headless Chromium
//! * [`browser_fixture`]: the server's page in it
//!
//! Parts that other crates' tests use too are in `claude-relay-testing`.

pub(crate) mod browser;
pub(crate) mod browser_fixture;
pub(crate) mod cli_fixture;
pub(crate) mod codex;
pub(crate) mod http;
pub(crate) mod nginx;
pub(crate) mod relay;
pub(crate) mod replayed;
pub(crate) mod tee;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod ws;
