//! The command line: all flags with their help.

use std::ffi::OsString;

use clap::Parser;

/// Flags as given. Values are parsed in
/// [`Settings::read`](super::Settings::read), where a variable can replace a
/// flag.
#[derive(Debug, Default, Parser)]
#[command(
    name = "claude-relay-server",
    version,
    allow_negative_numbers = true,
    about = "Runs Claude Code beside a WebSocket: one client, one agent, every message byte for byte",
    after_help = "Every flag has a variable, named in brackets. A .env in the working directory is read first.\nANTHROPIC_API_KEY, CLAUDE_CODE_OAUTH_TOKEN, ANTHROPIC_BASE_URL and the like are inherited by the agent."
)]
pub struct Args {
    /// Address to listen on [HOST; default 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Port to listen on; 0 picks a free one [PORT; default 3000]
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,
    /// The agent's executable [CLAUDE_PATH; default claude]
    #[arg(long, value_name = "PATH")]
    pub claude_path: Option<OsString>,
    /// The second agent's native binary [CODEX_PATH; default codex]
    #[arg(long, value_name = "PATH")]
    pub codex_path: Option<OsString>,
    /// A Codex app-server that already runs, instead of starting one; RELAY_CODEX_TOKEN is its token [RELAY_CODEX_URL; default none]
    #[arg(long, value_name = "ws://ADDRESS:PORT")]
    pub codex_url: Option<String>,
    /// Maximum time for Codex to reach its model [RELAY_CODEX_RETRY_LIMIT;
    /// default 2m]
    #[arg(long, value_name = "DURATION")]
    pub codex_retry_limit: Option<String>,
    /// Working directory of the agent; created when missing [RELAY_WORKSPACE;
    /// default ~/agent-workspace]
    #[arg(long, value_name = "DIRECTORY")]
    pub workspace: Option<OsString>,
    /// Token that clients must present; `auto` draws one and prints the page's address with it [RELAY_AUTH_TOKEN; default none]
    #[arg(long, value_name = "TOKEN")]
    pub auth_token: Option<String>,
    /// End when stdin is closed or the parent process has ended [RELAY_LIFELINE; default off]
    #[arg(long)]
    pub lifeline: bool,
    /// Listen beyond loopback without a token [RELAY_NO_AUTH; default off]
    #[arg(long)]
    pub no_auth: bool,
    /// Web origin that may connect, such as `https://app.example`; repeatable [RELAY_ALLOW_ORIGIN, comma separated]
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// Host name under which the server may be reached on loopback; repeatable [RELAY_ALLOW_HOST, comma separated]
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Ceiling of the permission modes: safe, ask, agentic or unrestricted
    /// [RELAY_MODE; default ask]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Let the workspace's own settings, hooks and MCP servers act as the CLI lets them [RELAY_TRUST_WORKSPACE; default off]
    #[arg(long)]
    pub trust_workspace: bool,
    /// Bytes of output kept for clients that reconnect [RELAY_REPLAY_BYTES;
    /// default 16777216]
    #[arg(long, value_name = "BYTES")]
    pub replay_bytes: Option<String>,
    /// Runs of /agent at once, for the official Agent SDKs; 0 turns it off [RELAY_MAX_RUNS; default 8]
    #[arg(long, value_name = "NUMBER")]
    pub max_runs: Option<String>,
    /// Time for which a run of /agent lives without its client [RELAY_RUN_GRACE; default 60s]
    #[arg(long, value_name = "DURATION")]
    pub run_grace: Option<String>,
    /// Time between pings to a silent client [RELAY_PING_INTERVAL; default 30s]
    #[arg(long, value_name = "DURATION")]
    pub ping_interval: Option<String>,
    /// Time for the answer to a ping [RELAY_PONG_TIMEOUT; default 10s]
    #[arg(long, value_name = "DURATION")]
    pub pong_timeout: Option<String>,
    /// Time for the answer to a ping when another client connects
    /// [RELAY_PROBE_TIMEOUT; default 2s]
    #[arg(long, value_name = "DURATION")]
    pub probe_timeout: Option<String>,
    /// Time between the steps that stop the agent [RELAY_STOP_GRACE; default 5s]
    #[arg(long, value_name = "DURATION")]
    pub stop_grace: Option<String>,
    /// Time for a permission request to be answered [RELAY_PERMISSION_TIMEOUT; default 10m]
    #[arg(long, value_name = "DURATION")]
    pub permission_timeout: Option<String>,
    /// Time for a turn: after it the turn is interrupted, then the agent is stopped [RELAY_TURN_TIMEOUT; default none]
    #[arg(long, value_name = "DURATION")]
    pub turn_timeout: Option<String>,
    /// Go on with the workspace's last conversation when the server starts [RELAY_CONTINUE; default off]
    #[arg(long = "continue")]
    pub continue_latest: bool,
    /// OS sandbox for the agent: none, auto, os or bwrap [RELAY_SANDBOX;
    /// default none]
    #[arg(long, value_name = "SANDBOX")]
    pub sandbox: Option<String>,
    /// Keep the credential out of the agent's environment, with a placeholder key [RELAY_KEY_PROXY; default off]
    #[arg(long)]
    pub key_proxy: bool,
    /// Run the built-in scripted agent instead of the CLI [RELAY_DEMO; default off]
    #[arg(long)]
    pub demo: bool,
    /// Log filter for stderr: error, warn, info, debug, trace, or
    /// target=level,... [RELAY_LOG; default info]
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
    /// Log format: text or json [RELAY_LOG_FORMAT; default text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}
