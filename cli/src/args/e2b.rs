//! The options and the subcommand for sandboxes of E2B's cloud.

use std::time::Duration;

use clap::Subcommand;
use claude_relay_client::e2b::SandboxId;

use super::values::{parse_duration, parse_text};

#[derive(Debug, Subcommand)]
pub(crate) enum E2bCommand {
    /// List the sandboxes that claude-relay has started
    Ls {
        /// List every one of the account
        #[arg(long)]
        all: bool,
    },
    /// Kill sandboxes
    Kill(KillArgs),
    /// Pause sandboxes with all that runs in them; their time stands still
    Pause {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<SandboxId>,
    },
    /// Resume sandboxes, or give them new time
    Resume {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<SandboxId>,
        /// How long they live from now on, at least
        #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
        lifetime: Duration,
        /// Boot it from its disk; what was in its memory is lost
        #[arg(long)]
        reboot: bool,
    },
    /// Print the log of a sandbox
    Logs {
        /// Its id
        id: SandboxId,
    },
    /// Run a command in a sandbox, with its output and exit code
    Exec {
        /// Its id
        id: SandboxId,
        /// As this user of the sandbox
        #[arg(long, value_name = "NAME", value_parser = parse_text)]
        user: Option<String>,
        /// In this directory
        #[arg(long, value_name = "DIR", value_parser = parse_text)]
        dir: Option<String>,
        /// The command, given to a login shell
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Print the address of a port of a sandbox, and the headers that it wants
    Url {
        /// Its id
        id: SandboxId,
        /// The port
        port: u16,
        /// Print the headers too; one is a secret
        #[arg(long = "headers")]
        with_headers: bool,
    },
    /// List the templates of the account, for --e2b-template
    Templates,
    /// Print what a sandbox uses: processor, memory, disk
    Metrics {
        /// Its id
        id: SandboxId,
    },
    /// Copy a sandbox with its memory and processes; the copies run at once. Each
    /// has a token and a conversation of its own, which goes on from here
    Fork {
        /// Its id
        id: SandboxId,
        /// How many copies
        #[arg(long, short = 'n', default_value = "1")]
        count: u32,
        /// How long they live
        #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
        lifetime: Duration,
    },
    /// Keep the state of a sandbox as a template, for --e2b-template
    Snapshot {
        /// Its id
        id: SandboxId,
        /// The name of the template
        #[arg(long, value_parser = parse_text)]
        name: Option<String>,
        /// Keep its files alone
        #[arg(long)]
        without_memory: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct KillArgs {
    /// Their ids
    #[arg(required_unless_present = "all")]
    pub(crate) ids: Vec<SandboxId>,
    /// All that claude-relay has started
    #[arg(long, conflicts_with = "ids")]
    pub(crate) all: bool,
    /// Of these, only those that were started this long ago, such as 90m or 24h
    #[arg(long, value_name = "TIME", requires = "all", value_parser = parse_duration)]
    pub(crate) older_than: Option<Duration>,
}

/// A sandbox of E2B's cloud in the place of an address.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "E2B (E2B_API_KEY and ANTHROPIC_API_KEY, also from .env)")]
pub(crate) struct E2bArgs {
    /// Run the agent in a fresh sandbox, which ends with this program
    #[arg(long, global = true)]
    pub(crate) e2b: bool,
    /// Of this template; means --e2b
    #[arg(long = "e2b-template", global = true, value_name = "NAME", value_parser = parse_text)]
    pub(crate) template: Option<String>,
    /// Leave the sandbox when done and print SANDBOX_ID=… to stderr; when its
    /// time is over it is paused
    #[arg(long, global = true)]
    pub(crate) keep: bool,
    /// Connect to this sandbox, resume it if it is paused, and leave it again
    #[arg(long, global = true, value_name = "ID", conflicts_with_all = ["e2b", "template", "keep"])]
    pub(crate) attach: Option<SandboxId>,
    /// Close the sandbox's way to the internet but for these hosts and the
    /// model's: names, *.example.com, addresses, blocks; separated by commas
    #[arg(
        long,
        global = true,
        value_name = "HOST",
        value_delimiter = ',',
        value_parser = parse_text
    )]
    pub(crate) e2b_allow: Option<Vec<String>>,
    /// Send the key into the sandbox; without it E2B adds the key to the agent's
    /// requests, outside of the sandbox, where the address is Anthropic's or
    /// OpenAI's own
    #[arg(long, global = true)]
    pub(crate) e2b_key_inside: bool,
    /// How long the sandbox lives once this program is gone
    #[arg(
        long,
        alias = "sandbox-timeout",
        global = true,
        value_name = "TIME",
        default_value = "5m",
        value_parser = parse_duration
    )]
    pub(crate) e2b_timeout: Duration,
}

impl E2bArgs {
    /// True if the server is one in a sandbox.
    pub(crate) fn is_wanted(&self) -> bool {
        self.e2b || self.template.is_some() || self.attach.is_some()
    }

    /// True if that sandbox is made by this program, so that nobody has said
    /// anything in it.
    pub(crate) fn is_fresh(&self) -> bool {
        self.is_wanted() && self.attach.is_none()
    }
}
