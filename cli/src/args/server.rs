//! The options that name the server and the connection to it.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::E2bArgs;
use super::values::{parse_duration, parse_header};

/// The server's address, and how to reach it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// Address: http, https, ws or wss
    #[arg(long, global = true, env = "CLAUDE_RELAY_URL", default_value = "http://127.0.0.1:3000")]
    pub(crate) url: String,
    /// The server's token; better in the variable than on the command line
    #[arg(long, global = true, env = "CLAUDE_RELAY_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// One more header, `Name: value`; can be repeated
    #[arg(long = "header", global = true, value_name = "HEADER", value_parser = parse_header)]
    pub(crate) headers: Vec<(String, String)>,
    /// Trust the certificates in this PEM file too
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_certificate: Option<PathBuf>,
    /// Send secrets unencrypted to another machine
    #[arg(long, global = true)]
    pub(crate) allow_plaintext: bool,
    /// Replace another client that is connected
    #[arg(long, global = true)]
    pub(crate) takeover: bool,
    /// Wait this long for another client to leave, such as 30s or 5m
    #[arg(long, global = true, value_name = "TIME", default_value = "0", value_parser = parse_duration)]
    pub(crate) wait: Duration,
    /// How long each step of connecting may take, such as 500ms, 10s or 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) connect_timeout: Duration,
    /// Write all traffic, both ways, to this file as lines of JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ndjson_file: Option<PathBuf>,
    /// Say what happens; twice: show all traffic
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Colours and the spinner
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
    #[command(flatten)]
    pub(crate) e2b: E2bArgs,
}

impl ServerArgs {
    /// The server's address as people are told it.
    pub(crate) fn told_url(&self) -> &str {
        match &self.e2b.attach {
            Some(id) => id.as_str(),
            None if self.e2b.is_wanted() => "a sandbox",
            None => &self.url,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}
