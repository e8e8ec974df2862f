//! Flags and environment, read once.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use claude_relay_listen::access::{AllowedHost, AllowedOrigin};
use claude_relay_listen::program::find_program;
use claude_relay_protocol::{Secret, duration};
use sha2::{Digest as _, Sha256};

/// Minimum length of a token, as for the relay.
const MIN_TOKEN_BYTES: usize = 8;

/// Flags of a relay that the hub decides about.
const RESERVED: [&str; 6] =
    ["--host", "--port", "--workspace", "--auth-token", "--no-auth", "--lifeline"];

/// Command line of the program.
#[derive(Debug, Parser)]
#[command(name = "claude-relay-hub", version, about = "Many agents behind one WebSocket")]
pub struct Args {
    /// Address to listen on.
    #[arg(long, env = "RELAY_HUB_HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// Port; 0 picks a free one, which the first line on stdout tells.
    #[arg(long, env = "RELAY_HUB_PORT", default_value_t = 22609)]
    pub port: u16,
    /// Directory of the hub: its state, its logs, and the workspaces.
    #[arg(long, env = "RELAY_HUB_DIRECTORY")]
    pub directory: Option<PathBuf>,
    /// Token that clients must present; drawn and kept when there is none.
    #[arg(long, env = "RELAY_HUB_TOKEN", hide_env_values = true)]
    pub auth_token: Option<String>,
    /// PIN whose SHA-256 is the token. A short one can be guessed.
    #[arg(long, env = "RELAY_HUB_PIN", hide_env_values = true, conflicts_with = "auth_token")]
    pub pin: Option<String>,
    /// Web origins that may connect; repeatable.
    #[arg(long, env = "RELAY_HUB_ALLOW_ORIGIN", value_delimiter = ',')]
    pub allow_origin: Vec<AllowedOrigin>,
    /// Names beside the loopback ones; repeatable.
    #[arg(long, env = "RELAY_HUB_ALLOW_HOST", value_delimiter = ',')]
    pub allow_host: Vec<AllowedHost>,
    /// The relay's program.
    #[arg(long, env = "RELAY_HUB_RELAY_PATH")]
    pub relay_path: Option<PathBuf>,
    /// Maximum number of agents.
    #[arg(long, env = "RELAY_HUB_MAX_AGENTS", default_value_t = 256)]
    pub max_agents: usize,
    /// Maximum number of agents that have processes at once.
    #[arg(long, env = "RELAY_HUB_MAX_RUNNING", default_value_t = 16)]
    pub max_running: usize,
    /// Time after which an agent without a message has no processes any more.
    #[arg(long, env = "RELAY_HUB_IDLE_TIMEOUT", default_value = "15m", value_parser = parse_duration)]
    pub idle_timeout: Duration,
    /// Time after its last turn for which tasks in the background keep an agent's
    /// processes.
    #[arg(long, env = "RELAY_HUB_BACKGROUND_TIMEOUT", default_value = "24h", value_parser = parse_duration)]
    pub background_timeout: Duration,
    /// Size of the events that are kept for clients that come back.
    #[arg(long, env = "RELAY_HUB_REPLAY_BYTES", default_value_t = 16 << 20)]
    pub replay_bytes: usize,
    /// Number of agents in a request of an agent that need no approval.
    #[arg(long, env = "RELAY_HUB_ALLOW_SPAWN", default_value_t = 0)]
    pub allow_spawn: usize,
    /// Template of the sandboxes of E2B in which agents can run.
    #[cfg(feature = "e2b")]
    #[arg(long, env = "RELAY_HUB_E2B_TEMPLATE")]
    pub e2b_template: Option<String>,
    /// Time between two pings.
    #[arg(long, env = "RELAY_HUB_PING_INTERVAL", default_value = "30s", value_parser = parse_duration)]
    pub ping_interval: Duration,
    /// Time for the answer to a ping.
    #[arg(long, env = "RELAY_HUB_PONG_TIMEOUT", default_value = "10s", value_parser = parse_duration)]
    pub pong_timeout: Duration,
    /// Filter of the log, which goes to stderr.
    #[arg(long, env = "RELAY_HUB_LOG", default_value = "info")]
    pub log: String,
    /// Flags for each relay, such as `--mode ask`.
    #[arg(last = true)]
    pub relay_args: Vec<OsString>,
}

/// The settings, checked.
#[derive(Debug)]
pub struct Settings {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on.
    pub port: u16,
    /// Directory of the hub.
    pub directory: PathBuf,
    /// Token that was given, or follows from the PIN.
    pub token: Option<Secret>,
    /// True if the token follows from a PIN.
    pub has_pin: bool,
    /// Origins whose pages may use the hub.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Hosts that requests may name.
    pub allow_hosts: Vec<AllowedHost>,
    /// The relay's program.
    pub relay: PathBuf,
    /// Flags for each relay.
    pub relay_args: Vec<OsString>,
    /// Maximum number of agents.
    pub max_agents: usize,
    /// Maximum number of agents with processes.
    pub max_running: usize,
    /// Time after which an agent without a message is stopped.
    pub idle_timeout: Duration,
    /// Time after its last turn for which an agent with tasks in the background runs.
    pub background_timeout: Duration,
    /// Size of the events that are kept.
    pub replay_bytes: usize,
    /// Number of agents that are spawned without approval.
    pub allow_spawn: usize,
    /// Template of the sandboxes in which agents can run.
    #[cfg(feature = "e2b")]
    pub e2b_template: Option<String>,
    /// Time between two pings.
    pub ping_interval: Duration,
    /// Time for the answer to a ping.
    pub pong_timeout: Duration,
}

/// A value that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no home directory to put the hub's into.
    #[error("--directory is needed: HOME is not set")]
    NoDirectory,
    /// The token is too weak.
    #[error("--auth-token: at least {MIN_TOKEN_BYTES} visible ASCII characters")]
    Token,
    /// The PIN is empty.
    #[error("--pin: at least 4 characters")]
    Pin,
    /// The relay's program is missing.
    #[error(
        "claude-relay-server was found neither beside this program nor in PATH: name it with --relay-path"
    )]
    NoRelay,
    /// A flag of the relay that the hub sets.
    #[error("{0} is decided by the hub for each relay")]
    Reserved(String),
    /// A limit that lets nothing happen.
    #[error("{0}: at least 1")]
    Zero(&'static str),
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// The token of a PIN: its SHA-256 in hexadecimal digits.
#[must_use]
pub fn pin_token(pin: &str) -> String {
    Sha256::digest(pin.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Settings {
    /// Checks the arguments.
    ///
    /// # Errors
    ///
    /// See [`SettingsError`].
    pub fn new(args: Args) -> Result<Self, SettingsError> {
        let home = || Some(std::env::home_dir()?.join("claude-relay-hub"));
        let directory = args.directory.or_else(home).ok_or(SettingsError::NoDirectory)?;
        let is_token = |token: &String| {
            token.len() >= MIN_TOKEN_BYTES && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if args.auth_token.as_ref().is_some_and(|token| !is_token(token)) {
            return Err(SettingsError::Token);
        }
        if args.pin.as_ref().is_some_and(|pin| pin.chars().count() < 4) {
            return Err(SettingsError::Pin);
        }
        for argument in &args.relay_args {
            let text = argument.to_string_lossy();
            let flag = text.split('=').next().unwrap_or_default();
            if RESERVED.contains(&flag) {
                return Err(SettingsError::Reserved(flag.to_owned()));
            }
        }
        for (limit, flag) in
            [(args.max_agents, "--max-agents"), (args.max_running, "--max-running")]
        {
            if limit == 0 {
                return Err(SettingsError::Zero(flag));
            }
        }
        let name = PathBuf::from("claude-relay-server");
        #[expect(clippy::disallowed_methods, reason = "where the hub reads the environment")]
        let path = std::env::var_os("PATH");
        let relay = match args.relay_path {
            Some(given) => find_program(&given, path.as_deref()),
            None => std::env::current_exe()
                .ok()
                .and_then(|own| find_program(&own.with_file_name(&name), None))
                .or_else(|| find_program(&name, path.as_deref())),
        };
        let has_pin = args.pin.is_some();
        let token = args.pin.as_deref().map(pin_token).or(args.auth_token).map(Secret::from);
        Ok(Self {
            host: args.host,
            port: args.port,
            directory,
            token,
            has_pin,
            allow_origins: args.allow_origin,
            allow_hosts: args.allow_host,
            relay: relay.ok_or(SettingsError::NoRelay)?,
            relay_args: args.relay_args,
            max_agents: args.max_agents,
            max_running: args.max_running,
            idle_timeout: args.idle_timeout,
            background_timeout: args.background_timeout,
            replay_bytes: args.replay_bytes,
            allow_spawn: args.allow_spawn,
            #[cfg(feature = "e2b")]
            e2b_template: args.e2b_template,
            ping_interval: args.ping_interval,
            pong_timeout: args.pong_timeout,
        })
    }
}
