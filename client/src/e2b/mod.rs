//! E2B itself (accounts, sandboxes, pools of them), and the sandbox that a
//! client's server runs in.

#[cfg(not(feature = "e2b"))]
mod absent;
#[cfg(feature = "e2b")]
mod host;
#[cfg(feature = "e2b")]
mod keep_alive;
#[cfg(feature = "e2b")]
pub(crate) mod outside;
#[cfg(feature = "e2b")]
pub(crate) mod workspace;

#[cfg(feature = "e2b")]
pub use self::outside::{keep_variables_outside, unreachable_variable};
#[cfg(feature = "e2b")]
pub use claude_relay_e2b::*;

#[cfg(not(feature = "e2b"))]
pub(crate) use self::absent::{SandboxHost, SandboxRef};
#[cfg(feature = "e2b")]
pub(crate) use self::host::{SandboxHost, SandboxRef};
