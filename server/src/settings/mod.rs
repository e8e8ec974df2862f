//! Flags and environment, read once, into types that cannot be wrong.
//!
//! Nothing else in the server reads the environment. Two stages: [`Args`] is
//! what was typed, [`Settings`] is what was meant. A flag wins over its
//! variable, the real environment wins over `.env`, and a variable that is
//! empty counts as not set.

mod args;
mod source;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use claude_relay_protocol::Secret;

use crate::agent::codex::remote_url::RemoteUrl;
use crate::agent::mode::Mode;
use crate::http::access::{AllowedHost, AllowedOrigin};
use crate::isolation::program::find_program;
use crate::isolation::sandbox::option::SandboxOption;
use crate::session::slot::SlotTimeouts;

pub use args::Args;
use source::{Source, bad, dotenv};

/// The file that is read from the working directory before everything else.
const DOTENV: &str = ".env";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What was meant.
#[derive(Debug)]
pub struct Settings {
    /// Address to listen on: a name or an IP address.
    pub host: String,
    /// Port to listen on; 0 is any.
    pub port: u16,
    /// The agent's executable: a path, or a name to be found in `PATH`.
    pub claude_path: PathBuf,
    /// The second agent's executable, likewise.
    pub codex_path: PathBuf,
    /// A Codex app-server that already runs.
    pub codex_url: Option<RemoteUrl>,
    /// Its bearer token.
    pub codex_token: Option<Secret>,
    /// How long Codex may try to reach its model in vain.
    pub codex_retry_limit: Duration,
    /// Where the agent works.
    pub workspace: PathBuf,
    /// What clients must present.
    pub auth_token: Option<Secret>,
    /// Whether it is meant that a public address has no token.
    pub no_auth: bool,
    /// Foreign origins that may connect.
    pub allow_origins: Vec<AllowedOrigin>,
    /// Names beside the loopback ones.
    pub allow_hosts: Vec<AllowedHost>,
    /// What the agent may do at most.
    pub mode: Mode,
    /// The bound of the replay buffer.
    pub replay_bytes: usize,
    /// The slot's patience with its holder.
    pub slot_timeouts: SlotTimeouts,
    /// Between the steps that stop the agent.
    pub stop_grace: Duration,
    /// For an answer to a permission request.
    pub permission_timeout: Duration,
    /// What the operator wants around the agent.
    pub sandbox: SandboxOption,
    /// Whether the agent gets a placeholder key for its credential.
    pub key_proxy: bool,
    /// Whether the built-in agent runs.
    pub demo: bool,
    /// What is logged.
    pub log: String,
    /// How.
    pub log_format: LogFormat,
    /// The whole environment, `.env` included: the agent's begins with it.
    pub environment: Vec<(OsString, OsString)>,
    /// Whether the agent would run as root.
    pub is_root: bool,
}

/// A setting that cannot be used. The text names the flag or the variable and
/// never holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A bad value.
    #[error("{name}: {reason}")]
    Value {
        /// The flag or variable.
        name: String,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// `.env` is there and cannot be read.
    #[error(".env: {0}")]
    DotEnv(String),
}

impl Settings {
    /// Reads flags, `.env` and the environment of this process.
    ///
    /// # Errors
    ///
    /// See [`SettingsError`].
    pub fn from_process(args: Args) -> Result<Self, SettingsError> {
        let mut environment = dotenv(Path::new(DOTENV))?;
        environment.extend(std::env::vars_os());
        Self::read(args, environment, rustix::process::geteuid().is_root())
    }

    /// The same, from whatever is given.
    ///
    /// # Errors
    ///
    /// See [`SettingsError`].
    pub fn read(
        args: Args,
        environment: BTreeMap<OsString, OsString>,
        is_root: bool,
    ) -> Result<Self, SettingsError> {
        let source = Source { environment };
        let slot_timeouts = SlotTimeouts {
            ping_interval: source.duration(
                args.ping_interval,
                "--ping-interval",
                "RELAY_PING_INTERVAL",
                "30s",
            )?,
            pong_timeout: source.duration(
                args.pong_timeout,
                "--pong-timeout",
                "RELAY_PONG_TIMEOUT",
                "10s",
            )?,
            probe_timeout: source.duration(
                args.probe_timeout,
                "--probe-timeout",
                "RELAY_PROBE_TIMEOUT",
                "2s",
            )?,
        };
        let workspace = match source.path(args.workspace, "RELAY_WORKSPACE") {
            Some(path) => path,
            None => source.home()?.join("agent-workspace"),
        };
        Ok(Self {
            host: source
                .text(args.host, "--host", "HOST")?
                .map_or("127.0.0.1".into(), |found| found.value),
            port: source
                .parsed(args.port, "--port", "PORT", "a number from 0 to 65535")?
                .unwrap_or(3000),
            claude_path: source
                .path(args.claude_path, "CLAUDE_PATH")
                .unwrap_or_else(|| "claude".into()),
            codex_path: source
                .path(args.codex_path, "CODEX_PATH")
                .unwrap_or_else(|| "codex".into()),
            codex_url: source.parsed(
                args.codex_url,
                "--codex-url",
                "RELAY_CODEX_URL",
                "an address such as ws://127.0.0.1:8765",
            )?,
            codex_token: source.bearer("RELAY_CODEX_TOKEN")?,
            codex_retry_limit: source.duration(
                args.codex_retry_limit,
                "--codex-retry-limit",
                "RELAY_CODEX_RETRY_LIMIT",
                "2m",
            )?,
            workspace,
            auth_token: source.token(args.auth_token)?,
            no_auth: source.flag(args.no_auth, "RELAY_NO_AUTH")?,
            allow_origins: source.list(
                args.allow_origin,
                "--allow-origin",
                "RELAY_ALLOW_ORIGIN",
            )?,
            allow_hosts: source.list(args.allow_host, "--allow-host", "RELAY_ALLOW_HOST")?,
            mode: source
                .parsed(args.mode, "--mode", "RELAY_MODE", "safe, ask, agentic or unrestricted")?
                .unwrap_or_default(),
            replay_bytes: source
                .parsed(
                    args.replay_bytes,
                    "--replay-bytes",
                    "RELAY_REPLAY_BYTES",
                    "a number of bytes",
                )?
                .unwrap_or(16 << 20),
            slot_timeouts,
            stop_grace: source.duration(
                args.stop_grace,
                "--stop-grace",
                "RELAY_STOP_GRACE",
                "5s",
            )?,
            permission_timeout: source.duration(
                args.permission_timeout,
                "--permission-timeout",
                "RELAY_PERMISSION_TIMEOUT",
                "10m",
            )?,
            sandbox: source
                .parsed(args.sandbox, "--sandbox", "RELAY_SANDBOX", "none, auto, os or bwrap")?
                .unwrap_or_default(),
            key_proxy: source.flag(args.key_proxy, "RELAY_KEY_PROXY")?,
            demo: source.flag(args.demo, "RELAY_DEMO")?,
            log: source
                .text(args.log, "--log", "RELAY_LOG")?
                .map_or("info".into(), |found| found.value),
            log_format: match source.text(args.log_format, "--log-format", "RELAY_LOG_FORMAT")? {
                None => LogFormat::Text,
                Some(found) => match found.value.as_str() {
                    "text" => LogFormat::Text,
                    "json" => LogFormat::Json,
                    _ => return Err(bad(found.name, "expected text or json")),
                },
            },
            environment: source.environment.into_iter().collect(),
            is_root,
        })
    }

    /// Where the CLI is, if it is there and can be run.
    #[must_use]
    pub fn claude(&self) -> Option<PathBuf> {
        find_program(&self.claude_path, self.variable("PATH"))
    }

    /// Where the second agent is, likewise.
    #[must_use]
    pub fn codex(&self) -> Option<PathBuf> {
        find_program(&self.codex_path, self.variable("PATH"))
    }

    /// A variable of the server's environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&OsStr> {
        self.environment.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_os_str())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn read(args: &[&str], environment: &[(&str, &str)]) -> Result<Settings, String> {
        let args = Args::try_parse_from(std::iter::once("relay").chain(args.iter().copied()))
            .map_err(|error| error.to_string())?;
        let mut environment: BTreeMap<OsString, OsString> =
            environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
        environment.entry("HOME".into()).or_insert_with(|| "/home/u".into());
        Settings::read(args, environment, false).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults() {
        let settings = read(&[], &[]).unwrap();
        assert_eq!((settings.host.as_str(), settings.port), ("127.0.0.1", 3000));
        assert_eq!(settings.claude_path, Path::new("claude"));
        assert_eq!(settings.workspace, Path::new("/home/u/agent-workspace"));
        assert_eq!(settings.mode, Mode::Ask);
        assert_eq!(settings.replay_bytes, 16_777_216);
        assert_eq!(settings.slot_timeouts.ping_interval, Duration::from_secs(30));
        assert_eq!(settings.slot_timeouts.pong_timeout, Duration::from_secs(10));
        assert_eq!(settings.slot_timeouts.probe_timeout, Duration::from_secs(2));
        assert_eq!(settings.stop_grace, Duration::from_secs(5));
        assert_eq!(settings.permission_timeout, Duration::from_secs(600));
        assert!(!settings.demo && settings.auth_token.is_none());
    }

    #[test]
    fn a_flag_wins_over_its_variable_and_an_empty_variable_is_none() {
        assert_eq!(read(&["--port", "1"], &[("PORT", "2")]).unwrap().port, 1);
        assert_eq!(read(&[], &[("PORT", "2")]).unwrap().port, 2);
        assert_eq!(read(&[], &[("PORT", "")]).unwrap().port, 3000);
        assert!(read(&[], &[("RELAY_DEMO", "1")]).unwrap().demo);
        assert!(!read(&[], &[("RELAY_DEMO", "0")]).unwrap().demo);
        assert_eq!(
            read(&[], &[("RELAY_PING_INTERVAL", "500ms")]).unwrap().slot_timeouts.ping_interval,
            Duration::from_millis(500)
        );
    }

    #[test]
    fn a_bad_value_names_its_flag_or_variable() {
        for (args, environment, expected) in [
            (&["--port", "x"][..], &[][..], "--port: expected a number from 0 to 65535, got \"x\""),
            (&[], &[("PORT", "70000")], "PORT: expected a number from 0 to 65535, got \"70000\""),
            (
                &["--mode", "wild"],
                &[],
                "--mode: expected safe, ask, agentic or unrestricted, got \"wild\"",
            ),
            (
                &["--stop-grace", "5"],
                &[],
                "--stop-grace: expected a duration with a unit, got \"5\": did you mean 5s?",
            ),
            (&["--ping-interval", "0s"], &[], "--ping-interval: expected a duration above 0"),
            (&[], &[("RELAY_DEMO", "maybe")], "RELAY_DEMO: expected true or false, got \"maybe\""),
            (&["--log-format", "xml"], &[], "--log-format: expected text or json"),
            (&["--replay-bytes", "-1"], &[], "unexpected argument"),
        ] {
            let error = read(args, environment).map(|_| ()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_weak_token_is_refused_and_not_shown() {
        for token in ["", "short", "with space in the middle", "fünf und mehr"] {
            let error = read(&["--auth-token", token], &[]).map(|_| ()).unwrap_err();
            assert!(error.starts_with("--auth-token: a token has at least 8"), "{error}");
            assert!(token.is_empty() || !error.contains(token));
            let error = read(&[], &[("RELAY_AUTH_TOKEN", token)]).map(|_| ()).unwrap_err();
            assert!(error.starts_with("RELAY_AUTH_TOKEN: "), "{error}");
        }
        assert!(read(&["--auth-token", "01234567"], &[]).unwrap().auth_token.is_some());
    }

    #[test]
    fn dotenv_is_read_and_its_errors_hold_no_value() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(".env");
        assert!(dotenv(&file).unwrap().is_empty());
        std::fs::write(&file, "PORT=1\n# comment\nANTHROPIC_API_KEY='k'\n").unwrap();
        assert_eq!(dotenv(&file).unwrap()[OsStr::new("ANTHROPIC_API_KEY")], "k");
        std::fs::write(&file, "GOOD=1\nKEY='sk-secret\n").unwrap();
        let error = dotenv(&file).unwrap_err().to_string();
        assert!(error.contains("entry 2") && !error.contains("sk-secret"), "{error}");
    }
}
