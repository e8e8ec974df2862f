//! The table of flags: the variable and the default of each.
//!
//! The help and the settings read it, and a test compares `docs/flags.md` with
//! the help, so that a default is written once.

use clap::Arg;

/// One flag.
pub(super) struct Flag {
    /// Its long name, with the dashes.
    pub(super) name: &'static str,
    /// The variable that stands for it.
    pub(super) variable: &'static str,
    /// The value as it would be given; `None` for a flag that is off or a value
    /// that is not set.
    pub(super) default: Option<&'static str>,
}

macro_rules! flags {
    ($($constant:ident: $name:literal $variable:literal $default:expr;)*) => {
        $(pub(super) const $constant: Flag =
            Flag { name: $name, variable: $variable, default: $default };)*
        const ALL: &[&Flag] = &[$(&$constant),*];
    };
}

flags! {
    HOST: "--host" "HOST" Some("127.0.0.1");
    PORT: "--port" "PORT" Some("3000");
    CLAUDE_PATH: "--claude-path" "CLAUDE_PATH" Some("claude");
    CODEX_PATH: "--codex-path" "CODEX_PATH" Some("codex");
    CODEX_URL: "--codex-url" "RELAY_CODEX_URL" None;
    CODEX_RETRY_LIMIT: "--codex-retry-limit" "RELAY_CODEX_RETRY_LIMIT" Some("2m");
    WORKSPACE: "--workspace" "RELAY_WORKSPACE" Some("~/agent-workspace");
    AUTH_TOKEN: "--auth-token" "RELAY_AUTH_TOKEN" None;
    LIFELINE: "--lifeline" "RELAY_LIFELINE" None;
    NO_AUTH: "--no-auth" "RELAY_NO_AUTH" None;
    ALLOW_ORIGIN: "--allow-origin" "RELAY_ALLOW_ORIGIN" None;
    ALLOW_HOST: "--allow-host" "RELAY_ALLOW_HOST" None;
    MODE: "--mode" "RELAY_MODE" Some("ask");
    TRUST_WORKSPACE: "--trust-workspace" "RELAY_TRUST_WORKSPACE" None;
    REPLAY_BYTES: "--replay-bytes" "RELAY_REPLAY_BYTES" Some("16777216");
    MAX_WATCHERS: "--max-watchers" "RELAY_MAX_WATCHERS" Some("8");
    MAX_RUNS: "--max-runs" "RELAY_MAX_RUNS" Some("8");
    RUN_GRACE: "--run-grace" "RELAY_RUN_GRACE" Some("60s");
    PING_INTERVAL: "--ping-interval" "RELAY_PING_INTERVAL" Some("30s");
    PONG_TIMEOUT: "--pong-timeout" "RELAY_PONG_TIMEOUT" Some("10s");
    PROBE_TIMEOUT: "--probe-timeout" "RELAY_PROBE_TIMEOUT" Some("2s");
    STOP_GRACE: "--stop-grace" "RELAY_STOP_GRACE" Some("5s");
    PERMISSION_TIMEOUT: "--permission-timeout" "RELAY_PERMISSION_TIMEOUT" Some("10m");
    TURN_TIMEOUT: "--turn-timeout" "RELAY_TURN_TIMEOUT" None;
    CONTINUE: "--continue" "RELAY_CONTINUE" None;
    PREWARM: "--prewarm" "RELAY_PREWARM" Some("off");
    STORE: "--store" "RELAY_STORE" None;
    STORE_SPOOL_BYTES: "--store-spool-bytes" "RELAY_STORE_SPOOL_BYTES" Some("268435456");
    ON_WAITING: "--on-waiting" "RELAY_ON_WAITING" None;
    REPLAY: "--replay" "RELAY_REPLAY" None;
    REPLAY_SPEED: "--replay-speed" "RELAY_REPLAY_SPEED" Some("1");
    RECORD: "--record" "RELAY_RECORD" None;
    SANDBOX: "--sandbox" "RELAY_SANDBOX" Some("none");
    KEY_PROXY: "--key-proxy" "RELAY_KEY_PROXY" None;
    DEMO: "--demo" "RELAY_DEMO" None;
    LOG: "--log" "RELAY_LOG" Some("info");
    LOG_FORMAT: "--log-format" "RELAY_LOG_FORMAT" Some("text");
}

/// Appends the variable and the default of an argument to its help.
pub(super) fn with_default(argument: Arg) -> Arg {
    let long = argument.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    let Some(flag) = ALL.iter().find(|flag| flag.name == long) else { return argument };
    let more = match (flag.default, argument.get_action()) {
        (Some(default), _) => format!("; default {default}"),
        (None, clap::ArgAction::SetTrue) => "; default off".to_owned(),
        (None, clap::ArgAction::Append) => ", comma separated; default none".to_owned(),
        (None, _) => "; default none".to_owned(),
    };
    let help = argument.get_help().cloned().unwrap_or_default();
    argument.help(format!("{help} [{}{more}]", flag.variable))
}
