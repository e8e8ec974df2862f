//! The command line: all flags with their help.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Parser};

use super::flags;

/// Flags as given. Values are parsed in
/// [`Settings::read`](super::Settings::read), where a variable can replace a
/// flag.
#[derive(Debug, Default, Parser)]
#[command(
    name = "claude-relay-server",
    version,
    allow_negative_numbers = true,
    mut_args = flags::with_default,
    about = "Runs Claude Code beside a WebSocket: one client, one agent, every message byte for byte",
    after_help = "Every flag has a variable, named in brackets. A .env in the working directory is read first.\nANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN, ANTHROPIC_BASE_URL and the like are inherited by the agent."
)]
pub struct Args {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Port to listen on; 0 picks a free one
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
    /// The agent's executable
    #[arg(long, value_name = "PATH")]
    pub claude_path: Option<OsString>,
    /// The second agent's native binary
    #[arg(long, value_name = "PATH")]
    pub codex_path: Option<OsString>,
    /// A Codex app-server that already runs, instead of starting one; RELAY_CODEX_TOKEN is its token
    #[arg(long, value_name = "ws://ADDRESS:PORT")]
    pub codex_url: Option<String>,
    /// Maximum time for Codex to reach its model
    #[arg(long, value_name = "DURATION")]
    pub codex_retry_limit: Option<String>,
    /// Working directory of the agent; created when missing
    #[arg(long, value_name = "DIRECTORY")]
    pub workspace: Option<OsString>,
    /// Token that clients must present; `auto` draws one and prints the page's address with it
    #[arg(long, value_name = "TOKEN")]
    pub auth_token: Option<String>,
    /// End when stdin is closed or the parent process has ended
    #[arg(long)]
    pub lifeline: bool,
    /// Listen beyond loopback without a token
    #[arg(long)]
    pub no_auth: bool,
    /// Web origin that may connect, such as `https://app.example`; repeatable
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// Host name under which the server may be reached on loopback; repeatable
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Ceiling of the permission modes: safe, ask, agentic or unrestricted
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Let the workspace's own settings, hooks and MCP servers act as the CLI lets them
    #[arg(long)]
    pub trust_workspace: bool,
    /// Bytes of output kept for clients that reconnect
    #[arg(long, value_name = "BYTES")]
    pub replay_bytes: Option<String>,
    /// Watchers (/ws?watch=true) at once; 0 for none
    #[arg(long, value_name = "NUMBER")]
    pub max_watchers: Option<String>,
    /// Runs of /agent at once, for the official Agent SDKs; 0 turns it off
    #[arg(long, value_name = "NUMBER")]
    pub max_runs: Option<String>,
    /// Time for which a run of /agent lives without its client
    #[arg(long, value_name = "DURATION")]
    pub run_grace: Option<String>,
    /// Time between pings to a silent client
    #[arg(long, value_name = "DURATION")]
    pub ping_interval: Option<String>,
    /// Time for the answer to a ping
    #[arg(long, value_name = "DURATION")]
    pub pong_timeout: Option<String>,
    /// Time for the answer to a ping when another client connects
    #[arg(long, value_name = "DURATION")]
    pub probe_timeout: Option<String>,
    /// Time between the steps that stop the agent
    #[arg(long, value_name = "DURATION")]
    pub stop_grace: Option<String>,
    /// Time for a permission request to be answered
    #[arg(long, value_name = "DURATION")]
    pub permission_timeout: Option<String>,
    /// Time for a turn: after it the turn is interrupted, then the agent is stopped
    #[arg(long, value_name = "DURATION")]
    pub turn_timeout: Option<String>,
    /// Go on with the workspace's last conversation when the server starts
    #[arg(long = "continue")]
    pub continue_latest: bool,
    /// Start the agent before a client needs it: off, configured (once a
    /// configuration is posted) or spare (at once; without a value)
    #[arg(
        long,
        value_name = "WHEN",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "spare"
    )]
    pub prewarm: Option<String>,
    /// Where conversations are kept so that they outlive this machine: a directory, or
    /// s3://BUCKET/PREFIX with RELAY_STORE_ACCESS_KEY_ID, RELAY_STORE_SECRET_ACCESS_KEY,
    /// RELAY_STORE_SESSION_TOKEN, RELAY_STORE_REGION and RELAY_STORE_ENDPOINT
    #[arg(long, value_name = "PLACE")]
    pub store: Option<String>,
    /// Bytes that may wait on this disk for a store that is down
    #[arg(long, value_name = "BYTES")]
    pub store_spool_bytes: Option<String>,
    /// Tell this address or command that a person is waited for; RELAY_ON_WAITING_SECRET signs
    #[arg(long, value_name = "URL|COMMAND")]
    pub on_waiting: Option<String>,
    /// Play this recording in the place of the agent
    #[arg(long, value_name = "FILE")]
    pub replay: Option<OsString>,
    /// Speed of the recording: a factor, or `max` for no pauses
    #[arg(long, value_name = "FACTOR")]
    pub replay_speed: Option<String>,
    /// Record every frame in this file, with times and without secrets
    #[arg(long, value_name = "FILE")]
    pub record: Option<OsString>,
    /// OS sandbox for the agent: none, auto, os or bwrap
    #[arg(long, value_name = "SANDBOX")]
    pub sandbox: Option<String>,
    /// Keep the credential out of the agent's environment, with a placeholder key
    #[arg(long)]
    pub key_proxy: bool,
    /// Run the built-in scripted agent instead of the CLI
    #[arg(long)]
    pub demo: bool,
    /// Log filter for stderr: error, warn, info, debug, trace, or
    /// target=level,...
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Log format: text or json
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl Args {
    /// Reads the words of a command line, the program's name first.
    ///
    /// # Errors
    ///
    /// Returns clap's error, which names the flag of a value that begins with a dash.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let words: Vec<OsString> = words.into_iter().collect();
        Self::try_parse_from(&words).map_err(|error| flag_of_value(&error, &words).unwrap_or(error))
    }
}

/// Returns a better error for a word that stands where a flag wants its value and
/// looks like a flag itself.
fn flag_of_value(error: &clap::Error, words: &[OsString]) -> Option<clap::Error> {
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let mut command = Args::command();
    let (flag, value) = words.windows(2).find_map(|pair| {
        let (flag, value) = (pair[0].to_str()?, pair[1].to_str()?);
        let is_it = value.starts_with(unknown.as_str()) && !value.starts_with("--");
        let name = flag.strip_prefix("--")?;
        let known = command.get_arguments().find(|known| known.get_long() == Some(name))?;
        (is_it && known.get_action().takes_values()).then_some((flag, value))
    })?;
    let text = format!(
        "{flag}: expected a value, got \"{value}\"; a value that begins with a dash is written {flag}={value}"
    );
    Some(command.error(ErrorKind::InvalidValue, text))
}
