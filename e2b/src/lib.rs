//! E2B for claude-relay: sandboxes in the cloud, and their template.
//!
//! A small typed client of E2B's control plane and of envd, E2B's agent in each
//! sandbox. It sends the same requests as the official SDKs and kills every
//! sandbox whose guard is dropped.
//!
//! ```no_run
//! # async fn example() -> Result<(), claude_relay_e2b::Error> {
//! use std::time::Duration;
//! use claude_relay_e2b::{E2b, NewSandbox};
//!
//! let e2b = E2b::from_environment()?;
//! let guard = e2b.create_guarded(&NewSandbox::new("claude-agent-server")).await?;
//! if let Some(sandbox) = guard.sandbox() {
//!     sandbox.files()?.write("/home/user/agent-workspace/input.txt", b"Hello").await?;
//!     let relay = sandbox.endpoint(3000)?;
//!     println!("{} with {} headers", relay.url, relay.headers.len());
//! }
//! drop(guard);
//! e2b.wait_for_cleanup(Duration::from_secs(30)).await;
//! # Ok(())
//! # }
//! ```
//!
//! In reading order:
//!
//! * requests: [`settings`] and the environment, [`error`], [`http`] with the
//!   key and the retries;
//! * sandboxes: [`sandbox`] and its [`network`], [`sandboxes`] with the calls,
//!   [`copies`] of them, [`endpoint`] of their ports, [`files`], [`watch`] and
//!   [`exec`] through envd;
//! * many sandboxes: [`guard`], [`orphans`], [`pool`];
//! * templates: the definition in [`template`], its files in [`context`], the
//!   calls in [`templates`], a complete [`build`];
//! * the relay's template: [`relay`], its names in [`template_defaults`], its
//!   contents in [`checkout`] and [`binary`], a Docker version in
//!   [`dockerfile`], a [`rehearsal`] without a cloud.
//!
//! Features: `template` for everything about templates, `cli` (default) for the
//! program too. To use sandboxes alone, neither is needed.
//!
//! Only [`settings`] reads the environment. Nothing here depends on the relay's
//! own wire protocol.

#[cfg(feature = "template")]
pub mod binary;
#[cfg(feature = "template")]
pub mod build;
#[cfg(feature = "template")]
pub mod checkout;
mod cleanup;
mod connect;
#[cfg(feature = "template")]
pub mod context;
pub mod copies;
#[cfg(feature = "template")]
pub mod dockerfile;
#[cfg(feature = "template")]
pub mod dockerignore;
pub mod endpoint;
pub mod error;
pub mod exec;
pub mod files;
mod generation;
#[cfg(feature = "template")]
mod glob;
pub mod guard;
pub mod http;
mod multipart;
pub mod network;
pub mod orphans;
pub mod pool;
#[cfg(feature = "template")]
pub mod quote;
#[cfg(feature = "template")]
pub mod rehearsal;
#[cfg(feature = "template")]
pub mod relay;
mod retry;
pub mod sandbox;
pub mod sandbox_id;
pub mod sandboxes;
pub mod secrets;
pub mod settings;
pub mod strip_ansi;
#[cfg(feature = "template")]
pub mod template;
pub mod template_defaults;
pub mod template_list;
#[cfg(feature = "template")]
pub mod template_name;
#[cfg(feature = "template")]
pub mod templates;
pub mod watch;

pub use endpoint::Endpoint;
pub use error::{Error, Refusal};
pub use files::Files;
pub use guard::Guard;
pub use http::E2b;
pub use network::{Egress, Injection};
pub use pool::{Lease, PoolOptions, SandboxPool};
pub use sandbox::{Identity, NewSandbox, Sandbox};
pub use sandbox_id::SandboxId;
pub use sandboxes::{Filter, Killed, Paused, SandboxInfo, SandboxState};
pub use secrets::AccountSecret;
pub use settings::{Options, Settings};
#[cfg(feature = "template")]
pub use template::Template;
