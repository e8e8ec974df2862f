//! What keeps the CLI under the ceiling beyond the SDK's own command line:
//! flags, settings of the flag layer, which beats all files but an
//! administrator's, and variables. Tried with 2.1.197, 2.1.329 and 2.1.332.
//!
//! | | how |
//! |---|---|
//! | the workspace's settings, hooks, helpers, agents, commands, skills, plugins | their sources are left out |
//! | its `.mcp.json` | `--strict-mcp-config` |
//! | its CLAUDE.md is read all the same | as that of an additional directory, which brings nothing else along |
//! | git programs of the repository (2.1.197 runs `git status` at its start) | `CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS` |
//! | auto memory, which would carry what one mode allows into a narrower one | switched off, and its directory is one that cannot exist: 2.1.197 takes the directory from a source that is left out |
//! | commands and paths in a message (`safe`, `agentic`) | `--disable-slash-commands`, `CLAUDE_CODE_DISABLE_ATTACHMENTS`, and [`super::text`] |

use std::ffi::OsString;
use std::path::Path;

use claude_relay_protocol::config::{PermissionMode, QueryConfig, SettingSource};
use serde_json::{Value, json};

use super::launch::LaunchSettings;
use super::version::Capability;
use crate::agent::mode::Mode;

/// A directory that cannot exist, for the memory.
const NO_DIRECTORY: &str = "/dev/null/none";

/// The sources of settings that the configuration names, or the mode's.
fn named_sources(config: &QueryConfig, mode: Mode) -> &[SettingSource] {
    config.setting_sources.as_deref().unwrap_or(mode.setting_sources())
}

/// The sources whose settings act.
pub(super) fn setting_sources(
    config: &QueryConfig,
    settings: &LaunchSettings,
) -> Vec<SettingSource> {
    let acts = |source: &SettingSource| settings.trusted || *source == SettingSource::User;
    named_sources(config, settings.mode).iter().copied().filter(acts).collect()
}

/// Whether the CLAUDE.md of the workspace is read although its settings do
/// not act.
pub(super) fn reads_instructions(config: &QueryConfig, settings: &LaunchSettings) -> bool {
    !settings.trusted && named_sources(config, settings.mode).contains(&SettingSource::Project)
}

/// The permission mode of the start. One is always said: else a settings file
/// could choose it.
pub(super) fn permission_mode(config: &QueryConfig, mode: Mode) -> PermissionMode {
    config.permission_mode.unwrap_or(match mode {
        Mode::Ask => PermissionMode::Default,
        // What is not allowed is denied: nobody would answer a question.
        Mode::Safe | Mode::Agentic => PermissionMode::DontAsk,
        Mode::Unrestricted => PermissionMode::BypassPermissions,
    })
}

/// The arguments behind the SDK's.
pub(super) fn arguments(
    config: &QueryConfig,
    settings: &LaunchSettings,
    cwd: &Path,
) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    if mode_is_implied(config, settings.mode) {
        let mode = permission_mode(config, settings.mode);
        args.push(format!("--permission-mode={}", mode.as_str()).into());
    }
    let said = config.other.get("strictMcpConfig").is_some_and(|said| said.get() == "true");
    if !said && (!settings.trusted || settings.mode.asks_nobody()) {
        // Without it the user's and the project's own MCP servers come along.
        args.push("--strict-mcp-config".into());
    }
    if reads_instructions(config, settings) {
        args.push(instructions_of(cwd));
    }
    if settings.mode != Mode::Unrestricted {
        args.push(format!("--settings={}", flag_settings(settings)).into());
    }
    if settings.mode.asks_nobody() {
        args.push("--disable-slash-commands".into());
        if Capability::Hardened.is_in(settings.version) {
            args.push("--restricted".into());
        }
    }
    args
}

/// The argument by which the CLAUDE.md of `cwd` is read.
pub(super) fn instructions_of(cwd: &Path) -> OsString {
    let mut argument = OsString::from("--add-dir=");
    argument.push(cwd);
    argument
}

/// Whether the SDK would say no permission mode.
pub(super) fn mode_is_implied(config: &QueryConfig, mode: Mode) -> bool {
    config.permission_mode.is_none() && matches!(mode, Mode::Safe | Mode::Ask)
}

/// Variables that a configuration cannot change.
pub(super) fn variables(config: &QueryConfig, settings: &LaunchSettings) -> Vec<Variable> {
    let mut variables = Vec::new();
    if settings.mode != Mode::Unrestricted {
        variables.push(("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "1"));
    }
    if reads_instructions(config, settings) {
        variables.push(("CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD", "1"));
    }
    if !settings.trusted && !Capability::Hardened.is_in(settings.version) {
        variables.push(("CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS", "1"));
    }
    if settings.mode.asks_nobody() {
        variables.push(("CLAUDE_CODE_DISABLE_ATTACHMENTS", "1"));
        // There is no shell, so nothing needs a repository.
        variables.push(("GIT_DIR", "/dev/null"));
    }
    variables
}

/// A name and a value.
pub(super) type Variable = (&'static str, &'static str);

/// The settings of the flag layer.
pub(super) fn flag_settings(settings: &LaunchSettings) -> Value {
    let mut pinned = json!({ "autoMemoryEnabled": false, "autoMemoryDirectory": NO_DIRECTORY });
    if settings.mode == Mode::Ask {
        // The CLI reads them unasked where they are of the same project.
        let rules = |directory: String| {
            ["memory/**", "*.jsonl"].map(|files| format!("Read({directory}/projects/*/{files})"))
        };
        let rules: Vec<_> =
            state_directories(&settings.environment).into_iter().flat_map(rules).collect();
        pinned["permissions"] = json!({ "ask": rules });
    }
    pinned
}

/// Rules that keep the file tools out of the CLI's own directory: memory,
/// transcripts of other conversations, plans, the login.
pub(super) fn state_rules(environment: &[(OsString, OsString)]) -> Vec<String> {
    let rules =
        |directory: String| [format!("Read({directory}/**)"), format!("Edit({directory}/**)")];
    state_directories(environment).into_iter().flat_map(rules).collect()
}

/// The CLI's own directories, as a rule names them.
fn state_directories(environment: &[(OsString, OsString)]) -> Vec<String> {
    let mut directories = vec!["~/.claude".to_owned()];
    let configured = environment.iter().find(|(name, _)| name == "CLAUDE_CONFIG_DIR");
    if let Some((_, directory)) = configured.filter(|(_, directory)| !directory.is_empty()) {
        let directory = directory.to_string_lossy();
        // A rule ends at a bracket and a list of rules at a comma; `?` stands
        // for any one character.
        let pattern = |c: char| if c.is_alphanumeric() || "/._-".contains(c) { c } else { '?' };
        directories.push(format!("/{}", directory.chars().map(pattern).collect::<String>()));
    }
    directories
}
