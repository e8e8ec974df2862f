//! Launch of Claude Code for a program that brings its own command line: the
//! official Agent SDKs over `/agent`.
//!
//! The ceiling is held by the same rules as a configuration's: the flags and
//! variables are put into a [`QueryConfig`] as far as one has a field for them.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::PathBuf;

use claude_relay_protocol::addresses::AddressError;
use claude_relay_protocol::json::entries;
use claude_relay_protocol::run::RunStart;
use claude_relay_protocol::{ConfigError, QueryConfig};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tempfile::TempPath;

use super::flags::{self, Flag, FlagError};
use super::launch::{LaunchSettings, in_sandbox};
use super::restrictions;
use crate::agent::command::{self, ArgumentError};
use crate::agent::controls::arguments;
use crate::agent::env;
use crate::agent::mode::{Exceeds, Mode};
use crate::agent::workspace::{self, WorkspaceError};

/// The flags of every run.
const BASE: [&str; 5] =
    ["--output-format", "stream-json", "--verbose", "--input-format", "stream-json"];

/// Flags whose value may hold secrets: the CLI reads it from a file as well. Of
/// `--managed-settings` it does not: given a path, it goes on without them.
const SECRET: [(&str, &str); 2] = [("--mcp-config", "mcp"), ("--settings", "settings")];

/// Both spellings of the flag for tools that are denied.
const DISALLOWED: [&str; 2] = ["--disallowedTools", "--disallowed-tools"];

/// A command for a run.
pub(in crate::agent) struct RunLaunch {
    pub(in crate::agent) program: PathBuf,
    pub(in crate::agent) args: Vec<OsString>,
    pub(in crate::agent) env: Vec<(OsString, OsString)>,
    pub(in crate::agent) cwd: PathBuf,
    /// The files that arguments name.
    pub(in crate::agent) files: Vec<TempPath>,
}

/// Reason for which a run cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum RunLaunchError {
    /// A flag is refused.
    #[error(transparent)]
    Flag(#[from] FlagError),
    /// A variable is refused.
    #[error(transparent)]
    Variable(#[from] ConfigError),
    /// The ceiling is exceeded.
    #[error(transparent)]
    Exceeds(#[from] Exceeds),
    /// It would send a credential of the server elsewhere.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// A value of a flag exceeds the ceiling or cannot be read.
    #[error("{flag}: mode {mode} of this server does not allow {reason}")]
    Value {
        /// The flag.
        flag: &'static str,
        /// The ceiling.
        mode: Mode,
        /// The reason.
        reason: String,
    },
    /// The workspace cannot be used.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// An argument or variable cannot be passed to a program.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// A file for the agent cannot be written.
    #[error("a file for the agent cannot be written: {0}")]
    File(#[source] io::Error),
}

/// Returns true if `args` ask for nothing but the version of the CLI.
pub(in crate::agent) fn is_version(args: &[String]) -> bool {
    matches!(args, [only] if only == "--version" || only == "-v")
}

/// Builds the command of a run.
pub(in crate::agent) fn launch(
    start: &RunStart,
    settings: &LaunchSettings,
) -> Result<RunLaunch, RunLaunchError> {
    let mode = settings.mode;
    let (program, mut args) = command::program(&settings.claude_path);
    let cwd = directory(start.cwd.as_deref(), settings)?;
    let mut files = Vec::new();
    let mut config = QueryConfig::default();
    if is_version(&start.args) {
        args.push("--version".into());
    } else {
        let mut flags = flags::parse(&start.args, mode)?;
        config = configuration(start, &flags, mode)?;
        check_references(&flags, &config)?;
        if mode != Mode::Unrestricted {
            hold_under_ceiling(&mut flags, &config, settings)?;
        }
        args.extend(BASE.map(OsString::from));
        for flag in &flags {
            args.push(argument(flag, settings, &mut files)?);
        }
        if !settings.trusted && restrictions::reads_instructions(&config, settings) {
            args.push(restrictions::instructions_of(&cwd));
        }
    }
    // Root may skip the permission checks only where the relay knows that this
    // is a sandbox.
    let unasked = mode == Mode::Unrestricted && settings.is_root && in_sandbox(settings);
    let mut env = env::bare(&config, &settings.environment, unasked);
    if mode != Mode::Unrestricted {
        for (name, value) in restrictions::variables(&config, settings) {
            env.retain(|(known, _)| known != name);
            env.push((name.into(), value.into()));
        }
    }
    env.sort();
    command::check(&args, &env)?;
    Ok(RunLaunch { program, args, env, cwd, files })
}

/// The directory of the program where it lies in the workspace, else the
/// workspace: a path of another machine means nothing here.
fn directory(cwd: Option<&str>, settings: &LaunchSettings) -> Result<PathBuf, WorkspaceError> {
    let named = cwd.filter(|cwd| cwd.starts_with('/'));
    if let Some(Ok(inside)) = named.map(|cwd| workspace::directory(Some(cwd), &settings.workspace))
    {
        return Ok(inside);
    }
    workspace::directory(None, &settings.workspace)
}

/// The variables that a program brings along, as a configuration.
pub(in crate::agent) fn variables(start: &RunStart) -> Result<QueryConfig, ConfigError> {
    let fields = json!({ "env": start.env }).to_string();
    Ok(QueryConfig::parse(fields.as_bytes(), &QueryConfig::default())?.config)
}

/// The part of a run that is a configuration's: its rules hold for it.
fn configuration(start: &RunStart, flags: &[Flag], mode: Mode) -> Result<QueryConfig, ConfigError> {
    if mode == Mode::Unrestricted {
        return variables(start);
    }
    let mut fields = json!({ "env": start.env });
    let last = |name: &str| {
        let found = flags.iter().rev().find(|flag| flag.name == name);
        found.and_then(|flag| flag.value.as_deref())
    };
    if let Some(sources) = last("--setting-sources") {
        let sources: Vec<_> = sources.split(',').filter(|source| !source.is_empty()).collect();
        fields["settingSources"] = json!(sources);
    } else {
        fields["settingSources"] = json!(["user", "project", "local"]);
    }
    let denied = flags.iter().filter(|flag| DISALLOWED.contains(&flag.name.as_str()));
    let denied: Vec<_> = denied.filter_map(|flag| flag.value.as_deref()).collect();
    fields["disallowedTools"] = json!(denied);
    if let Some(id) = last("--resume") {
        fields["resume"] = json!(id);
    }
    let parsed = QueryConfig::parse(fields.to_string().as_bytes(), &QueryConfig::default())?;
    Ok(parsed.config)
}

/// Checks that no flag refers to a credential of the server, in any mode.
fn check_references(flags: &[Flag], own: &QueryConfig) -> Result<(), AddressError> {
    let objects =
        flags.iter().filter_map(|flag| Some((flag.name.as_str(), flag.value.as_deref()?)));
    // A value that is no object names a file, which `unrestricted` alone takes.
    for (name, value) in objects.filter(|(_, value)| is_object(value)) {
        match name {
            "--mcp-config" => own.check_references("--mcp-config", value)?,
            "--settings" => own.check_settings("--settings", value)?,
            "--managed-settings" => own.check_settings("--managed-settings", value)?,
            "--agents" => own.check_agents("--agents", value)?,
            _ => {}
        }
    }
    Ok(())
}

fn is_object(value: &str) -> bool {
    value.trim_start().starts_with('{')
}

/// Checks the flags, and adds those that keep the agent under the ceiling.
fn hold_under_ceiling(
    flags: &mut Vec<Flag>,
    config: &QueryConfig,
    settings: &LaunchSettings,
) -> Result<(), RunLaunchError> {
    let mode = settings.mode;
    mode.check(config)?;
    for flag in flags.iter() {
        let Some(value) = flag.value.as_deref() else { continue };
        let refuse = |name, reason: String| RunLaunchError::Value { flag: name, mode, reason };
        match flag.name.as_str() {
            "--permission-mode" => {
                let name = RawValue::from_string(json!(value).to_string()).unwrap_or_default();
                mode.check_permission_mode(&name)
                    .map_err(|reason| refuse("--permission-mode", reason))?;
            }
            // Of several the last one counts, also where it has no value.
            "--resume" => {
                let resume = Some(value.to_owned());
                mode.check(&QueryConfig { resume, ..QueryConfig::default() })?;
            }
            "--mcp-config" if !is_object(value) => {
                return Err(refuse("--mcp-config", "a file of this server".to_owned()));
            }
            "--settings" => {
                check_settings(value, mode, config)
                    .map_err(|reason| refuse("--settings", reason))?;
            }
            "--managed-settings" => {
                check_settings(value, mode, config)
                    .map_err(|reason| refuse("--managed-settings", reason))?;
            }
            "--agents" => {
                mode.check_sub_agents(value)
                    .map_err(|reason| refuse("--agents", reason.to_owned()))?;
            }
            _ => {}
        }
    }
    // One is always said: else a settings file could choose it.
    if !flags.iter().any(|flag| flag.name == "--permission-mode") {
        flags.push(Flag { name: "--permission-mode".into(), value: Some("default".into()) });
    }
    if !settings.trusted {
        flags.retain(|flag| flag.name != "--setting-sources" && flag.name != "--strict-mcp-config");
        let sources = restrictions::setting_sources(config, settings);
        let sources: Vec<_> = sources.into_iter().map(|source| source.as_str()).collect();
        flags.push(Flag { name: "--setting-sources".into(), value: Some(sources.join(",")) });
        flags.push(Flag { name: "--strict-mcp-config".into(), value: None });
    }
    let mut pinned = restrictions::flag_settings(settings);
    for flag in flags.iter().filter(|flag| flag.name == "--settings") {
        let given = flag.value.as_deref().and_then(|value| serde_json::from_str(value).ok());
        pinned = merge(given.unwrap_or_default(), pinned);
    }
    flags.retain(|flag| flag.name != "--settings");
    flags.push(Flag { name: "--settings".into(), value: Some(pinned.to_string()) });
    Ok(())
}

/// Judges the settings of a program: an object that leaves the questions on and
/// sends no credential of the server.
pub(super) fn check_settings(value: &str, mode: Mode, own: &QueryConfig) -> Result<(), String> {
    let unreadable = |error: serde_json::Error| format!("settings that cannot be read: {error}");
    own.check_settings("settings", value).map_err(|error| error.to_string())?;
    for (name, value) in entries(value).map_err(unreadable)? {
        match name.as_ref() {
            "permissions" => {
                for (name, value) in entries(value.get()).map_err(unreadable)? {
                    arguments::permissions(&name, value, mode)?;
                }
            }
            "env" => check_field("env", value, mode)?,
            _ => {}
        }
    }
    Ok(())
}

/// Judges what a program says after its start, or in settings, as the field of a
/// configuration. An address is refused even beside a credential: the agent may
/// have one of the server's by then.
pub(super) fn check_field(field: &str, value: &RawValue, mode: Mode) -> Result<(), String> {
    let body = format!("{{{}:{}}}", json!(field), value.get());
    let config = QueryConfig::parse(body.as_bytes(), &QueryConfig::default())
        .map_err(|error| error.to_string())?
        .config;
    mode.check(&config).map_err(|exceeds| format!("{field}: {}", exceeds.reason))?;
    if let Some((path, ..)) = config.addresses().next() {
        return Err(format!(
            "an address in {path}: it is said at the start, in `env`, beside its own credential"
        ));
    }
    // A text that refers to the variable has been judged without it.
    match config.env.iter().flatten().find(|(_, value)| value.expose().contains('$')) {
        Some((name, _)) => Err(format!("a `$` in env.{name}: it is said at the start, in `env`")),
        None => Ok(()),
    }
}

/// Lays `over` over `under`: of two values the one of `over` counts, objects
/// are merged and arrays joined.
fn merge(under: Value, over: Value) -> Value {
    match (under, over) {
        (Value::Object(mut under), Value::Object(over)) => {
            for (name, value) in over {
                let merged = match under.remove(&name) {
                    Some(before) => merge(before, value),
                    None => value,
                };
                under.insert(name, merged);
            }
            Value::Object(under)
        }
        (Value::Array(mut under), Value::Array(over)) => {
            under.extend(over);
            Value::Array(under)
        }
        (_, over) => over,
    }
}

/// Returns a flag as one argument. JSON that may hold secrets goes into a file
/// of mode 0600.
fn argument(
    flag: &Flag,
    settings: &LaunchSettings,
    files: &mut Vec<TempPath>,
) -> Result<OsString, RunLaunchError> {
    let Some(value) = &flag.value else { return Ok(flag.name.clone().into()) };
    let secret = SECRET.iter().find(|(name, _)| *name == flag.name);
    let mut argument = OsString::from(format!("{}=", flag.name));
    match secret.filter(|_| is_object(value)) {
        None => argument.push(value),
        Some((_, what)) => {
            let file = write(what, value, settings).map_err(RunLaunchError::File)?;
            argument.push(&file);
            files.push(file);
        }
    }
    Ok(argument)
}

fn write(what: &str, text: &str, settings: &LaunchSettings) -> io::Result<TempPath> {
    let mut file = tempfile::Builder::new()
        .prefix(&format!("claude-relay-{what}-"))
        .suffix(".json")
        .tempfile_in(std::path::absolute(&settings.temp_dir)?)?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    Ok(file.into_temp_path())
}
