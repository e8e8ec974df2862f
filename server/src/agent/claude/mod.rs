//! Claude Code: its command line, its first request, and its lines.

pub mod controls;
pub mod launch;

pub mod text;
pub mod version;

mod arguments;
mod initialize;
mod lines;
mod options;
mod restrictions;

pub(in crate::agent) use restrictions::is_narrow;

pub use lines::{classify, control_request, initialize, interrupt, interrupt_for_good};
