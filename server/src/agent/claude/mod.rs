//! Claude Code: its command line, its first request, and its lines.

pub mod launch;

mod arguments;
mod initialize;
mod lines;

pub use lines::{classify, control_request, initialize, interrupt};
