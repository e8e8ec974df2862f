//! Claude Code: its command line, its first request, and its lines.

pub mod launch;

pub mod text;
pub mod version;

mod arguments;
mod flags;
mod initialize;
mod judge;
mod lines;
mod options;
mod restrictions;
pub(in crate::agent) mod run_launch;

pub use judge::{Judgement, is_plain};
pub use lines::{classify, control_request, initialize, interrupt, interrupt_for_good};
