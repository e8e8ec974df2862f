//! The agent's dialect: what to run, what to write, what a line is.

pub mod launch;
pub mod mode;
