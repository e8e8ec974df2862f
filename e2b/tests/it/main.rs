//! Tests of the library and the program against a fake of the E2B API.

#![allow(clippy::unwrap_used, reason = "a test whose preparation fails has failed")]

mod build;
mod files;
mod guard;
mod pool;
mod program;
mod recorded;
mod sandboxes;
mod secrets;
mod support;
mod template_list;
