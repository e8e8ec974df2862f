//! E2B for claude-relay: sandboxes in the cloud, and the template they start
//! from.
mod connect;
pub mod endpoint;
pub mod error;
pub mod files;
pub mod guard;
pub mod http;
mod multipart;
pub mod sandbox;
pub mod settings;
