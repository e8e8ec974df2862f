//! Flags and environment, read once and parsed into validated types.
//!
//! No other module of the server reads the environment. There are two stages:
//! [`Args`] holds the flags as given, [`Settings`] the parsed values. A flag
//! takes precedence over its variable, the real environment over `.env`, and an
//! empty variable counts as unset.

mod args;
mod flags;
mod prewarm;
mod source;
mod unknown;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use claude_relay_dotenv::DotEnvError;
use claude_relay_listen::access::{AllowedHost, AllowedOrigin};
use claude_relay_listen::log::{BadFilter, LogFormat};
use claude_relay_listen::program::find_program;
use claude_relay_protocol::Secret;

use crate::agent::codex::remote_url::RemoteUrl;
use crate::agent::mode::Mode;
use crate::isolation::sandbox::option::SandboxOption;
use crate::notify::target::Target;
use crate::recording::speed::Speed;
use crate::session::slot::SlotTimeouts;
use crate::store::access::BucketAccess;
use crate::store::location::Location;

pub use args::Args;
pub use prewarm::Prewarm;
use source::{Source, Token};

/// Validated settings.
#[derive(Debug)]
pub struct Settings {
    /// Address to listen on: a name or an IP address.
    pub host: String,
    /// Port to listen on; 0 picks a free one.
    pub port: u16,
    /// The Claude Code executable: a path, or a name to be found in `PATH`.
    pub claude_path: PathBuf,
    /// The Codex executable: a path, or a name to be found in `PATH`.
    pub codex_path: PathBuf,
    /// Address of a Codex app-server that already runs.
    pub codex_url: Option<RemoteUrl>,
    /// Bearer token of that server.
    pub codex_token: Option<Secret>,
    /// Maximum time for Codex to reach its model.
    pub codex_retry_limit: Duration,
    /// Working directory of the agent.
    pub workspace: PathBuf,
    /// Token that clients must present.
    pub auth_token: Option<Secret>,
    /// True if the token was drawn for this start.
    pub token_is_drawn: bool,
    /// True if the server ends with its stdin or its parent.
    pub lifeline: bool,
    /// True if a public address without a token is intended.
    pub no_auth: bool,
    /// Foreign origins that may connect.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Host names that are accepted besides loopback ones.
    pub allow_hosts: Vec<AllowedHost>,
    /// Ceiling of the permission modes.
    pub mode: Mode,
    /// Whether the operator trusts what lies in the workspace.
    pub trust_workspace: bool,
    /// Capacity of the replay buffer.
    pub replay_bytes: usize,
    /// Watchers at once.
    pub max_watchers: usize,
    /// Runs of `/agent` at once; 0 turns the route off.
    pub max_runs: usize,
    /// Time for which a run lives without its client.
    pub run_grace: Duration,
    /// Timeouts of the client slot.
    pub slot_timeouts: SlotTimeouts,
    /// Time between the steps of the escalation.
    pub stop_grace: Duration,
    /// Timeout of a permission request.
    pub permission_timeout: Duration,
    /// For a turn.
    pub turn_timeout: Option<Duration>,
    /// Whether the first agent goes on with the workspace's last conversation.
    pub continue_latest: bool,
    /// When the agent is started before a client needs it.
    pub prewarm: Prewarm,
    /// Where conversations are kept.
    pub store: Option<Location>,
    /// How its bucket is reached.
    pub store_access: Option<BucketAccess>,
    /// Bytes that may wait for the store.
    pub store_spool_bytes: u64,
    /// Whom to tell that the agent waits.
    pub on_waiting: Option<Target>,
    /// Key of the signature of a webhook.
    pub on_waiting_secret: Option<Secret>,
    /// Recording that is played as the agent.
    pub replay: Option<PathBuf>,
    /// The speed at which it is played.
    pub replay_speed: Speed,
    /// File that the conversation is recorded in.
    pub record: Option<PathBuf>,
    /// Sandbox requested by the operator.
    pub sandbox: SandboxOption,
    /// True if the agent gets a placeholder key instead of its credential.
    pub key_proxy: bool,
    /// True for the built-in agent.
    pub demo: bool,
    /// Log filter.
    pub log: String,
    /// Log format.
    pub log_format: LogFormat,
    /// The whole environment, including `.env`. The agent's environment is
    /// built from it.
    pub environment: Vec<(OsString, OsString)>,
    /// Variables taken from `.env`, for the log.
    pub dotenv: Option<String>,
    /// Sentences about variables that look like settings and are none.
    pub warnings: Vec<String>,
    /// True if the agent would run as root.
    pub is_root: bool,
}

/// An invalid setting. The text names the flag or variable and never holds a
/// secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The value is invalid.
    #[error("{name}: {reason}")]
    Value {
        /// The flag or variable.
        name: String,
        /// The error, and the expected format.
        reason: String,
    },
    /// The filter of the log is invalid.
    #[error("--log (RELAY_LOG): {0}")]
    Log(#[from] BadFilter),
    /// `.env` is there and must not or cannot be read.
    #[error(transparent)]
    DotEnv(#[from] DotEnvError),
}

impl Settings {
    /// Reads the flags, `.env` and the environment of this process.
    ///
    /// # Errors
    ///
    /// See [`SettingsError`].
    pub fn from_process(args: Args) -> Result<Self, SettingsError> {
        let source = Source { environment: std::env::vars_os().collect() };
        let workspace = source.workspace(args.workspace.clone()).ok();
        let mut environment = source.environment;
        let is_set = |name: &str| environment.contains_key(OsStr::new(name));
        let dotenv = claude_relay_dotenv::load(Path::new("."), workspace.as_deref(), is_set)?;
        let report = dotenv.to_string();
        let is_there = !dotenv.path.as_os_str().is_empty();
        environment.extend(dotenv.variables.into_iter().map(|(n, value)| (n.into(), value.into())));
        let settings = Self::read(args, environment, rustix::process::geteuid().is_root())?;
        let warnings = unknown::warnings(settings.environment.iter().map(|(name, _)| name));
        Ok(Self { dotenv: is_there.then_some(report), warnings, ..settings })
    }

    /// Reads the flags and the environment of this process, or the given one, for
    /// a server within another program. It reads no `.env`.
    ///
    /// # Errors
    ///
    /// See [`SettingsError`].
    pub fn for_host(
        args: Args,
        environment: Option<Vec<(OsString, OsString)>>,
    ) -> Result<Self, SettingsError> {
        let environment = environment
            .map_or_else(|| std::env::vars_os().collect(), |given| given.into_iter().collect());
        Self::read(args, environment, rustix::process::geteuid().is_root())
    }

    /// Reads the given flags and environment.
    ///
    /// # Errors
    ///
    /// See [`SettingsError`].
    pub fn read(
        args: Args,
        environment: BTreeMap<OsString, OsString>,
        is_root: bool,
    ) -> Result<Self, SettingsError> {
        let mut source = Source { environment };
        let store =
            source.optional(args.store, &flags::STORE, "a directory, or s3://BUCKET/PREFIX")?;
        let store_access = match &store {
            Some(Location::Bucket { .. }) => Some(source.take_bucket_access()?),
            _ => None,
        };
        let slot_timeouts = SlotTimeouts {
            ping_interval: source.duration(args.ping_interval, &flags::PING_INTERVAL)?,
            pong_timeout: source.duration(args.pong_timeout, &flags::PONG_TIMEOUT)?,
            probe_timeout: source.duration(args.probe_timeout, &flags::PROBE_TIMEOUT)?,
        };
        let token = source.token(args.auth_token)?;
        let on_waiting_secret = source.bearer("RELAY_ON_WAITING_SECRET")?;
        let replay = source.optional_path(args.replay, &flags::REPLAY);
        Ok(Self {
            host: source.host(args.host)?,
            port: source.parsed(args.port, &flags::PORT, "a number from 0 to 65535")?,
            claude_path: source.path(args.claude_path, &flags::CLAUDE_PATH),
            codex_path: source.path(args.codex_path, &flags::CODEX_PATH),
            codex_url: source.optional(
                args.codex_url,
                &flags::CODEX_URL,
                "an address such as ws://127.0.0.1:8765",
            )?,
            codex_token: source.bearer("RELAY_CODEX_TOKEN")?,
            codex_retry_limit: source
                .duration(args.codex_retry_limit, &flags::CODEX_RETRY_LIMIT)?,
            workspace: source.workspace(args.workspace)?,
            token_is_drawn: token == Token::Auto,
            auth_token: match token {
                Token::Given(token) => Some(token),
                Token::Auto => Some(Secret::new(claude_relay_random::hexadecimal::<16>())),
                Token::None => None,
            },
            lifeline: source.switch(args.lifeline, &flags::LIFELINE)?,
            no_auth: source.switch(args.no_auth, &flags::NO_AUTH)?,
            allow_origins: source.list(args.allow_origin, &flags::ALLOW_ORIGIN)?,
            allow_hosts: source.list(args.allow_host, &flags::ALLOW_HOST)?,
            mode: source.parsed(args.mode, &flags::MODE, "safe, ask, agentic or unrestricted")?,
            trust_workspace: source.switch(args.trust_workspace, &flags::TRUST_WORKSPACE)?,
            replay_bytes: source.parsed(
                args.replay_bytes,
                &flags::REPLAY_BYTES,
                "a number of bytes",
            )?,
            max_watchers: source.parsed(
                args.max_watchers,
                &flags::MAX_WATCHERS,
                "a whole number",
            )?,
            // A recording has one conversation, and plays it once.
            max_runs: match &replay {
                Some(_) => 0,
                None => source.parsed(args.max_runs, &flags::MAX_RUNS, "a whole number")?,
            },
            run_grace: source.duration(args.run_grace, &flags::RUN_GRACE)?,
            slot_timeouts,
            stop_grace: source.duration(args.stop_grace, &flags::STOP_GRACE)?,
            permission_timeout: source
                .duration(args.permission_timeout, &flags::PERMISSION_TIMEOUT)?,
            turn_timeout: source.optional_duration(args.turn_timeout, &flags::TURN_TIMEOUT)?,
            continue_latest: source.switch(args.continue_latest, &flags::CONTINUE)?,
            store,
            store_access,
            store_spool_bytes: source.parsed(
                args.store_spool_bytes,
                &flags::STORE_SPOOL_BYTES,
                "a number of bytes",
            )?,
            prewarm: match &replay {
                Some(_) => Prewarm::Off,
                None => source.parsed(args.prewarm, &flags::PREWARM, "off, configured or spare")?,
            },
            replay_speed: source.parsed(
                args.replay_speed,
                &flags::REPLAY_SPEED,
                "a factor above 0, or max",
            )?,
            on_waiting: source.on_waiting(args.on_waiting, on_waiting_secret.is_some())?,
            on_waiting_secret,
            record: source.optional_path(args.record, &flags::RECORD),
            sandbox: source.parsed(
                args.sandbox,
                &flags::SANDBOX,
                "none, auto, os or bwrap (this server runs on Linux alone)",
            )?,
            key_proxy: source.switch(args.key_proxy, &flags::KEY_PROXY)?,
            // Like the built-in agent, it executes nothing and needs nothing.
            demo: source.switch(args.demo, &flags::DEMO)? || replay.is_some(),
            replay,
            log: source.parsed(args.log, &flags::LOG, "a filter")?,
            log_format: source.parsed(args.log_format, &flags::LOG_FORMAT, "text or json")?,
            environment: source.environment.into_iter().collect(),
            dotenv: None,
            warnings: Vec::new(),
            is_root,
        })
    }

    /// Whether the workspace's own settings act: hooks, helpers, MCP servers.
    #[must_use]
    pub fn workspace_is_trusted(&self) -> bool {
        self.trust_workspace || self.mode == Mode::Unrestricted
    }

    /// Returns the path of the Claude Code executable, if it exists.
    #[must_use]
    pub fn claude(&self) -> Option<PathBuf> {
        find_program(&self.claude_path, self.variable("PATH"))
    }

    /// Returns the path of the Codex executable, if it exists.
    #[must_use]
    pub fn codex(&self) -> Option<PathBuf> {
        find_program(&self.codex_path, self.variable("PATH"))
    }

    /// The user's directory for state.
    #[must_use]
    pub fn state_dir(&self) -> Option<PathBuf> {
        let absolute =
            |name| self.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))
    }

    /// A variable of the server's environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_os_str())
    }
}

#[cfg(test)]
mod tests;
