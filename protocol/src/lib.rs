//! The wire of claude-relay as types. No I/O, no clock, no runtime.
//!
//! Read in this order:
//!
//! * [`json`]: fields of an object as raw text, the last of duplicates
//! * [`config`]: the configuration of `GET` and `POST /config`

pub mod config;
pub mod json;
