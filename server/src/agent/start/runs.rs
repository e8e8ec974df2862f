//! Start of Claude Code for a run of `/agent`.

use std::ffi::OsString;
use std::path::PathBuf;

use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::config::Provider;
use claude_relay_protocol::run::RunStart;

use super::claude_code::with_placeholders;
use super::{StartError, channel, launch_settings, wrap_in_sandbox};
use crate::agent::claude::launch::LaunchSettings;
use crate::agent::claude::run_launch::{self, RunLaunch};
use crate::agent::claude::version::Version;
use crate::agent::mode::Mode;
use crate::agent::{DEMO_AGENT, claude, provider};
use crate::isolation::sandbox::state;
use crate::process::{Diagnostics, Process, SpawnSpec};
use crate::runtime::Runtime;
use crate::settings::Settings;

/// Whether the start of a run needs to know the version of Claude Code's CLI.
#[must_use]
pub fn run_needs_version(settings: &Settings, start: &RunStart) -> bool {
    !settings.workspace_is_trusted() && !settings.demo && !run_launch::is_version(&start.args)
}

/// Returns the variables that the program of a run brings along, unless one of them
/// is refused at its start.
#[must_use]
pub fn run_variables(start: &RunStart) -> Option<QueryConfig> {
    run_launch::variables(start).ok()
}

/// A started run.
#[derive(Debug)]
pub struct StartedRun {
    /// The process.
    pub process: Process,
    /// Its working directory.
    pub cwd: PathBuf,
}

/// Starts Claude Code for a raw connection: with the server's configuration, and
/// without the first request, which is the client's.
///
/// # Errors
///
/// A [`StartError`] that names what keeps the agent from starting.
pub fn start_raw(
    runtime: &Runtime,
    config: &QueryConfig,
    version: Option<Version>,
) -> Result<StartedRun, StartError> {
    let settings = &runtime.settings;
    if provider(settings, config) != Provider::Claude {
        return Err(StartError::NoRun);
    }
    // The SDK beside it mirrors by itself, where it is to.
    let launch_settings =
        LaunchSettings { session_mirror: false, ..launch_settings(runtime, version) };
    let launch = claude::launch::launch(config, &launch_settings, None)?;
    let mut args = launch.args;
    if settings.mode == Mode::Unrestricted {
        // What the configuration lets be asked, the client answers.
        args.push("--permission-prompt-tool=stdio".into());
    }
    let files = launch.mcp_config.map(tempfile::NamedTempFile::into_temp_path);
    let launch = RunLaunch {
        program: launch.program,
        args,
        env: launch.env,
        cwd: launch.cwd,
        files: files.into_iter().collect(),
    };
    spawn_run(runtime, launch)
}

/// Starts Claude Code for a program that brings its own command line.
///
/// # Errors
///
/// A [`StartError`] that names what keeps the agent from starting.
pub fn start_run(
    runtime: &Runtime,
    start: &RunStart,
    version: Option<Version>,
) -> Result<StartedRun, StartError> {
    let launch = run_launch::launch(start, &launch_settings(runtime, version))?;
    spawn_run(runtime, launch)
}

fn spawn_run(runtime: &Runtime, launch: RunLaunch) -> Result<StartedRun, StartError> {
    let settings = &runtime.settings;
    let mut args = launch.args;
    if settings.demo {
        args.insert(0, OsString::from(DEMO_AGENT));
    }
    let env = with_placeholders(runtime, launch.env)?;
    let spec = SpawnSpec {
        program: launch.program.into(),
        args,
        env,
        cwd: launch.cwd.clone(),
        scratch: launch.files,
        reserved_paths: Vec::new(),
        diagnostics: Diagnostics::All,
        channel: channel(settings),
        supervisor: runtime.supervisor.clone(),
    };
    Ok(StartedRun {
        process: Process::spawn(wrap_in_sandbox(runtime, spec, &state::CLAUDE, &[])?)?,
        cwd: launch.cwd,
    })
}
