//! Tests of the program as it is used: real processes, real sockets on port 0.

mod support;

mod addresses;
mod browser;
mod capabilities;
mod configuration;
mod demo_agent;
mod descriptors;
mod dotenv;
mod faults;
mod flags_document;
mod half_open;
mod hostile;
mod key_proxy;
mod key_proxy_cli;
#[cfg(feature = "tls")]
mod key_proxy_tls;
mod lifecycle;
mod lifecycle_start;
mod modes;
mod operations;
mod page;
mod page_permissions;
mod permissions;
mod permissions_control;
mod promises;
mod protocol_document;
mod real_cli;
mod real_cli_config;
mod real_cli_direct;
mod real_cli_faults;
mod real_cli_questions;
mod real_codex;
mod real_codex_approvals;
mod real_codex_faults;
mod real_codex_page;
mod real_codex_remote;
mod real_codex_tools;
mod replay;
mod runs;
mod sandbox;
mod sandbox_cli;
mod sdk_options;
mod slot;
mod turns;
mod verbatim;
