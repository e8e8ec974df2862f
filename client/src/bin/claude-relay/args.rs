//! The command line as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
#[cfg(feature = "e2b")]
use claude_relay_client::e2b::SandboxId;
use claude_relay_client::{Configuration, SystemPrompt};

use crate::outcome::Exit;

/// Talk to an agent behind a relay.
///
/// The answer goes to stdout, everything else to stderr. What is piped in is
/// part of the prompt.
#[derive(Debug, Parser)]
#[command(
    name = "claude-relay",
    version,
    after_help = "Exit codes: 0 ok, 1 the turn failed, 2 bad arguments, 3 connection, 4 timeout, \
                  5 not understood, 130 interrupted."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) ask: AskArgs,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

impl Args {
    /// What clap cannot say: options of `ask` before another subcommand.
    pub(crate) fn check(&self) -> Result<(), Exit> {
        if self.command.is_some() && self.ask != AskArgs::default() {
            return Err(Exit::usage(
                "options of `ask` cannot stand before a subcommand: write them after it",
            ));
        }
        #[cfg(feature = "e2b")]
        {
            let sandbox = &self.server.sandbox;
            let talks = matches!(self.command, None | Some(Command::Ask(_) | Command::Chat(_)));
            if sandbox.is_wanted() && !talks {
                return Err(Exit::usage("a sandbox is for `ask` and `chat`"));
            }
            if sandbox.keep && !sandbox.is_wanted() {
                return Err(Exit::usage("--keep goes with --sandbox or --template"));
            }
        }
        Ok(())
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask one question; this is also what happens without a subcommand
    Ask(AskArgs),
    /// Talk back and forth
    Chat(ChatArgs),
    /// Show or replace the server's configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Show how the server is
    Health,
    /// See to the sandboxes in E2B's cloud
    #[cfg(feature = "e2b")]
    Sandbox {
        #[command(subcommand)]
        command: SandboxCommand,
    },
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print it, without its secrets
    Get,
    /// Replace it as a whole
    Set {
        /// A file of JSON, `-` for stdin
        #[arg(long, value_name = "FILE", conflicts_with = "fields")]
        file: Option<PathBuf>,
        /// `name=value`; a value is JSON if it can be read as such, else text
        #[arg(value_name = "NAME=VALUE", required_unless_present = "file")]
        fields: Vec<String>,
    },
}

#[cfg(feature = "e2b")]
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    /// List those that claude-relay has started
    Ls {
        /// List every one of the account
        #[arg(long)]
        all: bool,
    },
    /// End them
    Kill(KillArgs),
    /// Pause them with all that runs in them; their time stands still
    Pause {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<SandboxId>,
    },
    /// Resume them, or give them new time
    Resume {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<SandboxId>,
        /// How long they live from now on, at least
        #[arg(long = "for", value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
        sandbox_timeout: Duration,
    },
    /// Print the log of one
    Logs {
        /// Its id
        id: SandboxId,
    },
}

#[cfg(feature = "e2b")]
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
#[cfg(feature = "e2b")]
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Sandbox (E2B_API_KEY and ANTHROPIC_API_KEY, also from .env)")]
pub(crate) struct SandboxArgs {
    /// Run the agent in a fresh sandbox, which ends with this program
    #[arg(long, global = true)]
    pub(crate) sandbox: bool,
    /// Of this template; means --sandbox
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) template: Option<String>,
    /// Leave the sandbox when done and print SANDBOX_ID=… to stderr; when its
    /// time is over it is paused
    #[arg(long, global = true)]
    pub(crate) keep: bool,
    /// Come back to this sandbox, resume it if it is paused, and leave it again
    #[arg(long, global = true, value_name = "ID", conflicts_with_all = ["sandbox", "template", "keep"])]
    pub(crate) attach: Option<SandboxId>,
    /// How long the sandbox lives once this program is gone
    #[arg(long, global = true, value_name = "TIME", default_value = "5m", value_parser = parse_duration)]
    pub(crate) sandbox_timeout: Duration,
}

#[cfg(feature = "e2b")]
impl SandboxArgs {
    pub(crate) fn is_wanted(&self) -> bool {
        self.sandbox || self.template.is_some() || self.attach.is_some()
    }
}

/// Where the server is and how to reach it.
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
    /// Throw another client out
    #[arg(long, global = true)]
    pub(crate) takeover: bool,
    /// How long each step of connecting may take, such as 500ms, 10 or 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "10", value_parser = parse_duration)]
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
    #[cfg(feature = "e2b")]
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct AskArgs {
    /// What to ask
    pub(crate) prompt: Option<String>,
    /// Read the prompt from this file, `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub(crate) prompt_file: Option<PathBuf>,
    /// An image that goes with the prompt: PNG, JPEG, GIF or WebP; can be repeated
    #[arg(long = "image", value_name = "FILE")]
    pub(crate) images: Vec<PathBuf>,
    /// Print one JSON object instead of the answer's text
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the answer once, at its end
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// Also write the answer to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The answer must have the form of this JSON schema
    #[arg(long, value_name = "FILE")]
    pub(crate) output_schema: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) turn: TurnArgs,
}

#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct ChatArgs {
    /// Keep what was typed in this file; default: claude-relay/history under
    /// XDG_STATE_HOME or ~/.local/state
    #[arg(long, value_name = "FILE", env = "CLAUDE_RELAY_HISTORY")]
    pub(crate) history: Option<PathBuf>,
    /// Keep nothing of what was typed
    #[arg(long, conflicts_with = "history")]
    pub(crate) no_history: bool,
    #[command(flatten)]
    pub(crate) turn: TurnArgs,
}

/// What `ask` and `chat` share.
///
/// Options under "Agent" replace the server's configuration as a whole;
/// without any of them it is left as it is.
#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct TurnArgs {
    /// The most time for a turn, such as 90 or 5m; 0 for no limit
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Print tokens, cost and time after each turn
    #[arg(long)]
    pub(crate) summary: bool,
    /// Print SESSION_ID=… to stderr
    #[arg(long)]
    pub(crate) print_session_id: bool,
    /// Ask on the terminal when the agent wants to use a tool; without it the
    /// answer is no
    #[arg(long)]
    pub(crate) interactive_approvals: bool,
    /// Which agent answers: claude or codex
    #[arg(long, value_name = "NAME", help_heading = "Agent (replaces the configuration)")]
    pub(crate) provider: Option<String>,
    /// Go on with this conversation
    #[arg(long, value_name = "ID", help_heading = "Agent (replaces the configuration)")]
    pub(crate) resume: Option<String>,
    /// The model
    #[arg(long, help_heading = "Agent (replaces the configuration)")]
    pub(crate) model: Option<String>,
    /// What the agent is told about itself
    #[arg(long, value_name = "TEXT", help_heading = "Agent (replaces the configuration)")]
    pub(crate) system_prompt: Option<String>,
    /// Show text as it is being written, also with no other option of this group
    #[arg(long, help_heading = "Agent (replaces the configuration)")]
    pub(crate) partial: bool,
}

impl TurnArgs {
    /// The configuration that is asked for; empty if none is.
    pub(crate) fn configuration(&self) -> Configuration {
        let mut configuration = Configuration {
            provider: self.provider.clone(),
            resume: self.resume.clone(),
            model: self.model.clone(),
            system_prompt: self.system_prompt.as_deref().map(SystemPrompt::from),
            ..Configuration::default()
        };
        if self.partial || !configuration.is_empty() {
            configuration.include_partial_messages = Some(true);
        }
        configuration
    }
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("expected `Name: value`")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Seconds, or a number with `ms`, `s`, `m` or `h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time such as 500ms, 90 or 5m".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    let number: f64 = digits.parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| expected())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_default_is_what_an_empty_command_line_gives() {
        assert_eq!(Args::parse_from(["claude-relay"]).ask, AskArgs::default());
    }

    #[test]
    fn times_are_read_with_and_without_units() {
        for (text, ms) in
            [("0", 0), ("500ms", 500), ("10", 10_000), ("1.5s", 1500), ("2m", 120_000)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1", "1d", "NaN", "inf", "1e400"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
