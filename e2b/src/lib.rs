//! E2B for claude-relay: sandboxes in the cloud, and the template that they
//! start from.
//!
//! A small typed client of E2B's control plane and of envd, the agent of E2B
//! in each sandbox. It does what the official SDKs do on the wire, and leaves
//! nothing behind: a sandbox that nobody holds any more is killed.
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
//! e2b.settled(Duration::from_secs(30)).await;
//! # Ok(())
//! # }
//! ```
//!
//! In reading order:
//!
//! * asking: [`settings`] and the environment, [`error`], [`http`] where the
//!   key is attached and a request repeated;
//! * sandboxes: [`sandbox`], [`sandboxes`] with the calls, [`endpoint`] of
//!   their ports, [`files`] and [`watch`] through envd;
//! * many of them: [`guard`], [`strays`], [`pool`];
//! * templates: the definition in [`template`], its files in [`context`], the
//!   calls in [`templates`], a whole [`build`];
//! * ours: [`relay`] is the template, [`checkout`] and [`binary`] what goes
//!   in, [`dockerfile`] the same for Docker, [`rehearsal`] without a cloud.
//!
//! Only [`settings`] reads the environment. Nothing here knows the relay's
//! own wire.

pub mod binary;
pub mod build;
pub mod checkout;
mod connect;
pub mod context;
pub mod dockerfile;
pub mod dockerignore;
pub mod endpoint;
pub mod error;
pub mod files;
mod glob;
pub mod guard;
pub mod http;
mod multipart;
pub mod plain;
pub mod pool;
pub mod quote;
pub mod rehearsal;
pub mod relay;
pub mod sandbox;
pub mod sandbox_id;
pub mod sandboxes;
pub mod settings;
pub mod strays;
pub mod template;
pub mod template_name;
pub mod templates;
pub mod watch;

pub use endpoint::Endpoint;
pub use error::{Error, Refusal};
pub use files::Files;
pub use guard::Guard;
pub use http::E2b;
pub use pool::{Lease, PoolOptions, SandboxPool};
pub use sandbox::{Egress, NewSandbox, Sandbox};
pub use sandbox_id::SandboxId;
pub use sandboxes::{Filter, Killed, Paused, SandboxInfo, SandboxState};
pub use settings::{Options, Settings};
pub use template::Template;
