//! The options of `ask` and `chat`.

use std::path::PathBuf;
use std::time::Duration;

use claude_relay_client::{Configuration, SystemPrompt};
use serde_json::Value;

use super::values::{parse_duration, parse_text};

/// The field of the configuration that keeps a conversation on the disk.
const PERSIST_SESSION: &str = "persistSession";

#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Prompt and answer")]
pub(crate) struct AskArgs {
    /// The prompt, in quotes; `-` for stdin
    #[arg(value_name = "PROMPT", help_heading = None::<&'static str>)]
    pub(crate) words: Vec<String>,
    /// Read the prompt from this file, `-` for stdin
    #[arg(long, value_name = "FILE", conflicts_with = "words")]
    pub(crate) prompt_file: Option<PathBuf>,
    /// An image that goes with the prompt: PNG, JPEG, GIF or WebP; can be repeated
    #[arg(long = "image", value_name = "FILE")]
    pub(crate) images: Vec<PathBuf>,
    /// A file that goes with the prompt: text, PDF or an image; can be repeated
    #[arg(long = "file", short, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Print one JSON object instead of the answer's text
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the answer once, at its end
    #[arg(long)]
    pub(crate) no_stream: bool,
    /// End with the answer; without it, and without --interactive-approvals,
    /// background tasks are waited for
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Also write the answer to this file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// The answer must have the form of this JSON schema
    #[arg(long, value_name = "FILE")]
    pub(crate) output_schema: Option<PathBuf>,
    /// Exit with 1 if the agent was not allowed to use a tool
    #[arg(long)]
    pub(crate) fail_on_denial: bool,
    /// Ignored: the answer is always printed, as `claude -p` does it
    #[arg(long, short)]
    pub(crate) print: bool,
    #[command(flatten)]
    pub(crate) turn: TurnArgs,
}

impl AskArgs {
    /// The prompt on the command line; `None` for `-`, which is stdin.
    pub(crate) fn prompt(&self) -> Option<&str> {
        self.words.first().map(String::as_str).filter(|word| *word != "-")
    }
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

/// The options that `ask` and `chat` share.
///
/// Options under "Agent" are laid over the server's configuration and taken back
/// at the end: what is to stay is set with `config set`.
#[derive(Debug, Default, PartialEq, Eq, clap::Args)]
#[command(next_help_heading = "Turn")]
pub(crate) struct TurnArgs {
    /// The most time for a turn, such as 90s or 5m; 0 for no limit
    #[arg(long, short, value_name = "TIME", default_value = "0", value_parser = parse_duration)]
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
    /// The agent that answers: claude or codex
    #[arg(
        long,
        value_name = "NAME",
        value_parser = parse_text,
        help_heading = "Agent (for this call)"
    )]
    pub(crate) provider: Option<String>,
    /// Go on with the conversation that is open; without it a new one begins
    #[arg(
        long = "continue",
        short = 'c',
        conflicts_with = "resume",
        help_heading = "Conversation"
    )]
    pub(crate) go_on: bool,
    /// Go on with this conversation
    #[arg(long, short, value_name = "ID", value_parser = parse_text, help_heading = "Conversation")]
    pub(crate) resume: Option<String>,
    /// The model
    #[arg(long, short, value_parser = parse_text, help_heading = "Agent (for this call)")]
    pub(crate) model: Option<String>,
    /// The system prompt
    #[arg(long, short, value_name = "TEXT", help_heading = "Agent (for this call)")]
    pub(crate) system_prompt: Option<String>,
    /// A configuration of the agent from this file of JSON, as `config set --file`
    /// takes it: MCP servers, sub-agents, tools, variables; other options win
    #[arg(long, value_name = "FILE", help_heading = "Agent (for this call)")]
    pub(crate) config: Option<PathBuf>,
    /// The directory that it works in, inside the server's workspace
    #[arg(
        long,
        value_name = "DIR",
        value_parser = parse_text,
        help_heading = "Agent (for this call)"
    )]
    pub(crate) cwd: Option<String>,
    /// Keep conversations off the server's disk, so that nothing can go on with
    /// them once the agent has ended
    #[arg(
        long,
        conflicts_with_all = ["resume", "go_on"],
        help_heading = "Agent (for this call)"
    )]
    pub(crate) ephemeral: bool,
    /// Copy this file, or what is in this directory, into the server's workspace
    /// first; can be repeated
    #[arg(long = "upload", value_name = "PATH", help_heading = "Files")]
    pub(crate) uploads: Vec<PathBuf>,
    /// Copy this file or directory of the server's workspace into the current
    /// directory at the end; can be repeated
    #[arg(
        long = "download",
        value_name = "PATH",
        value_parser = parse_text,
        help_heading = "Files"
    )]
    pub(crate) downloads: Vec<String>,
    /// Show text as it is being written, also with no other option of this group
    #[arg(long, help_heading = "Agent (for this call)")]
    pub(crate) partial: bool,
}

impl TurnArgs {
    /// Returns true if a conversation goes on that there is already.
    pub(crate) fn goes_on(&self) -> bool {
        self.go_on || self.resume.is_some()
    }

    /// Returns the configuration that the options ask for, without the file of
    /// `--config`; empty if none does.
    pub(crate) fn configuration(&self) -> Configuration {
        let mut configuration = Configuration {
            provider: self.provider.clone(),
            resume: self.resume.clone(),
            model: self.model.clone(),
            system_prompt: self.system_prompt.as_deref().map(SystemPrompt::from),
            cwd: self.cwd.clone(),
            ..Configuration::default()
        };
        if self.ephemeral {
            configuration.other.insert(PERSIST_SESSION.to_owned(), Value::from(false));
        }
        if self.partial || !configuration.is_empty() {
            configuration.include_partial_messages = Some(true);
        }
        configuration
    }
}
