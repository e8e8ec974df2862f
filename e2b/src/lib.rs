//! E2B for claude-relay: sandboxes in the cloud, and the template they start
//! from.
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
pub mod settings;
pub mod strays;
pub mod template;
pub mod template_name;
pub mod templates;
