//! Start of Claude Code: its command, and the spare in the place of a process.

use std::ffi::OsString;

use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::credentials;

use super::spare::{self, Early, LateRequests, Spare};
use super::{Conversation, StartError, Started, Warmth, channel, launch_settings, wrap_in_sandbox};
use crate::agent::claude::text::Messages;
use crate::agent::claude::version::{Capability, Version};
use crate::agent::player::Protocol;
use crate::agent::{DEMO_AGENT, Dialect, claude};
use crate::isolation::key_proxy::api::Api;
use crate::isolation::key_proxy::credentials::SubstituteError;
use crate::isolation::sandbox::state;
use crate::process::{Diagnostics, Process, SpawnSpec};
use crate::runtime::Runtime;

/// The command of Claude Code for a configuration.
pub(super) struct ClaudeCommand {
    pub(super) spec: SpawnSpec,
    /// The `initialize` request.
    pub(super) initialize: String,
}

/// Builds the command. A spare gets no credential where the key proxy is on.
pub(super) fn command(
    runtime: &Runtime,
    config: &QueryConfig,
    conversation: Conversation<'_>,
    version: Option<Version>,
    is_spare: bool,
) -> Result<ClaudeCommand, StartError> {
    let settings = &runtime.settings;
    let mut launch_settings = launch_settings(runtime, version);
    if let Conversation::New(id) = conversation {
        launch_settings.session_id = Some(id.to_owned());
    }
    let launch = claude::launch::launch(config, &launch_settings, conversation.resumed())?;
    // The built-in agent ignores flags that it does not know.
    if !settings.demo {
        claude::launch::check_version(config, version)?;
    }
    let mut args = launch.args;
    if settings.demo {
        args.insert(0, OsString::from(DEMO_AGENT));
    }
    let env = match runtime.key_proxy.is_some() && is_spare {
        true => spare::without_credentials(launch.env),
        false => with_placeholders(runtime, launch.env)?,
    };
    let spec = SpawnSpec {
        program: launch.program.into(),
        args,
        env,
        cwd: launch.cwd,
        scratch: launch
            .mcp_config
            .map(tempfile::NamedTempFile::into_temp_path)
            .into_iter()
            .collect(),
        diagnostics: Diagnostics::Limited,
        reserved_paths: Vec::new(),
        channel: channel(settings),
        supervisor: runtime.supervisor.clone(),
    };
    let spec = wrap_in_sandbox(runtime, spec, &state::CLAUDE, &[])?;
    Ok(ClaudeCommand { spec, initialize: launch.initialize })
}

pub(super) fn start(
    runtime: &Runtime,
    config: &QueryConfig,
    conversation: Conversation<'_>,
    version: Option<Version>,
    spare: &mut Option<Spare>,
) -> Result<Started, StartError> {
    let settings = &runtime.settings;
    // The built-in agent expands nothing.
    let version = if settings.demo { Some(Version::OLDEST) } else { version };
    let command = command(runtime, config, conversation, version, false)?;
    let verbatim = config.other.get("verbatimPrompts").is_some_and(|value| value.get() == "true");
    let dialect = Dialect::Claude(Messages::new(settings.mode, version, verbatim));
    let first = claude::initialize(&command.initialize);
    let resumed = conversation.resumed().map(str::to_owned).or_else(|| config.resume.clone());
    // The built-in agent has no use for variables.
    let told = if settings.demo { Some(Capability::LateSettings.since()) } else { version };
    let fits = spare.as_ref().map(|spare| spare.fits(runtime, &command, conversation, told));
    let warmth = match fits {
        None => Warmth::Cold(None),
        Some(Err(reason)) => Warmth::Cold(Some(reason)),
        Some(Ok(late)) => {
            if let Some(spare) = spare.take() {
                let (process, early) = spare.into_parts();
                let late = late.into_requests();
                let first = [&*first, &*late.lines].concat().into();
                let warmth = Warmth::Warm;
                return Ok(Started { process, dialect, first, late, resumed, early, warmth });
            }
            Warmth::Cold(None)
        }
    };
    let process = match &runtime.replay {
        Some(replay) => replay.start(Protocol::Claude),
        None => Process::spawn(command.spec)?,
    };
    let (late, early) = (LateRequests::default(), Early::default());
    Ok(Started { process, dialect, first, late, resumed, early, warmth })
}

/// Puts placeholder keys in the place of the credentials, where the key proxy is
/// on.
pub(super) fn with_placeholders(
    runtime: &Runtime,
    env: Vec<(OsString, OsString)>,
) -> Result<Vec<(OsString, OsString)>, SubstituteError> {
    let settings = &runtime.settings;
    match &runtime.key_proxy {
        // The built-in agent needs no credential.
        Some(proxy) if !settings.demo => {
            // The key of the other agent is nothing for this one's tools.
            let is_others = |entry: &(OsString, OsString)| {
                credentials::openai_logins().any(|row| entry.0 == row.variable)
                    && settings.environment.contains(entry)
            };
            let env = env.into_iter().filter(|entry| !is_others(entry)).collect();
            proxy.substitute(env, Api::Messages)
        }
        _ => Ok(env),
    }
}
