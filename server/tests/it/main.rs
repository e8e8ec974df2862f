//! Integration tests: real processes, real sockets on port 0, one binary.

mod support;

mod browser;
mod hostile_frames;
mod hostile_messages;
mod hostile_requests;
mod real_cli;
mod real_cli_config;
mod real_cli_direct;
mod real_cli_faults;
mod verbatim;
