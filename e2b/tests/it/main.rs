//! The library and the program against a fake of the E2B API.

mod build;
mod files;
mod program;
mod recorded;
mod sandboxes;
mod support;
