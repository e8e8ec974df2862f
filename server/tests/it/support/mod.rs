//! What the integration tests stand on.
//!
//! * [`tools`]: the outside programs, as `scripts/test` installed them
//! * [`place`]: a home, a workspace and an environment of a test's own
//! * [`api`]: a server on loopback, for the two below
//! * [`messages_api`], [`reply`]: the API the real CLI talks to, scripted
//! * [`proc`]: processes, and proof that none is left
//! * [`relay`]: the server as a user starts it
//! * [`http`], [`ws`]: clients that do not share the server's libraries
//! * [`scripted_agent`]: an agent that prints what a test wants printed
//! * [`tee`]: what the CLI printed, kept beside the relay
//! * [`scene`]: all of these together, for the scenarios with the real CLI
//! * [`codex`], [`responses_api`]: the same for the real Codex
//! * [`browser`]: a headless Chromium
//! * [`wait`]: waiting with a deadline

pub(crate) mod api;
pub(crate) mod browser;
pub(crate) mod codex;
pub(crate) mod codex_home;
pub(crate) mod http;
pub(crate) mod messages_api;
pub(crate) mod place;
pub(crate) mod proc;
pub(crate) mod relay;
pub(crate) mod reply;
pub(crate) mod responses_api;
pub(crate) mod scene;
pub(crate) mod scripted_agent;
pub(crate) mod tee;
pub(crate) mod tools;
pub(crate) mod visit;
pub(crate) mod wait;
pub(crate) mod ws;
