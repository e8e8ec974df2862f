//! The wire of claude-relay as types. No I/O, no clock, no runtime.
//!
//! Read in this order:
//!
//! * [`json`]: fields of an object as raw text, the last of duplicates

pub mod json;
