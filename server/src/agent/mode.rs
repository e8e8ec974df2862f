//! Permission ceiling: the most that the agent may do, set by the operator.
//!
//! | mode | permissions of the agent |
//! |---|---|
//! | `safe` | text only |
//! | `ask` | everything, after asking |
//! | `agentic` | reads and writes files in the workspace; no shell, no network tools |
//! | `unrestricted` | everything |
//!
//! A configuration can lower the ceiling but not raise it. In `ask`, the client
//! that answers permission requests may also answer in advance (`allowedTools`,
//! its own MCP servers), but it may not turn the requests off. In `safe` and
//! `agentic` nobody is asked, so every field is refused that could run a
//! program or add a tool.
//!
//! The agent enforces the mode, so a bug in it is a gap, which the sandbox
//! covers. Observed in `agentic`: CLI 2.1.197 lists names outside the workspace
//! (`Glob` with an absolute pattern) but reads nothing there; 2.1.329 and later
//! refuse that too.

mod sub_agents;

use std::fmt;
use std::str::FromStr;

use claude_relay_protocol::config::{PermissionMode, QueryConfig, SettingSource, Tools};
use claude_relay_protocol::json::string;
use serde_json::value::RawValue;

/// Tools that exist in [`Mode::Agentic`].
pub const AGENTIC_TOOLS: [&str; 5] = ["Read", "Write", "Edit", "Glob", "Grep"];

/// The files of a workspace that configure an agent or this server, as patterns
/// below any directory: what stands in them acts later, with more rights than
/// whoever wrote it had.
pub const GUARDED_FILES: [&str; 6] =
    [".agents/**", ".claude/**", ".codex/**", ".git/**", ".mcp.json", ".env"];

/// Fields that the relay passes on without looking into them and that change
/// no right. A new one is refused below `unrestricted` until it stands here.
const PASSED_ON: [&str; 13] = [
    "betas",
    "enableFileCheckpointing",
    "includeHookEvents",
    "perTaskStopAffordance",
    "permissionPrompts",
    "persistSession",
    "planModeInstructions",
    "promptSuggestions",
    "strictMcpConfig",
    "taskBudget",
    "thinking",
    "title",
    "verbatimPrompts",
];

/// The same where a client is asked. They choose among what the client could
/// allow itself: tools, skills, sub-agents, conversations of the workspace.
const PASSED_ON_IN_ASK: [&str; 10] = [
    "agent",
    "agentProgressSummaries",
    "forwardSubagentText",
    "resumeDropsTurn",
    "resumeSessionAt",
    "sessionId",
    "skills",
    "supportedDialogKinds",
    "toolAliases",
    "toolConfig",
];

/// Fields of a configuration by which the client itself takes part. What a
/// client may answer where it is asked, it may answer there as well.
const CLIENTS_PART: [&str; 2] = ["hooks", "sdkMcpServers"];

/// Ceiling of the agent's permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Text only.
    Safe,
    /// Everything, after asking.
    #[default]
    Ask,
    /// Read and write files in the workspace.
    Agentic,
    /// Everything.
    Unrestricted,
}

impl Mode {
    /// All modes, from the narrowest to the widest.
    pub const ALL: [Self; 4] = [Self::Safe, Self::Agentic, Self::Ask, Self::Unrestricted];

    /// Returns the name on the command line and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Ask => "ask",
            Self::Agentic => "agentic",
            Self::Unrestricted => "unrestricted",
        }
    }

    /// Returns true if nobody is asked before the agent does something, so that
    /// what is not allowed is denied.
    #[must_use]
    pub fn asks_nobody(self) -> bool {
        matches!(self, Self::Safe | Self::Agentic)
    }

    /// Whether everything that `other` takes is taken here, too.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        let place = |mode| Self::ALL.iter().position(|one| *one == mode);
        place(self) >= place(other)
    }

    /// Returns true if the agent may be put into `mode`, at its start or later.
    #[must_use]
    pub fn allows(self, mode: PermissionMode) -> bool {
        match mode {
            // With "auto", a model answers in place of the user.
            PermissionMode::BypassPermissions | PermissionMode::Auto => self == Self::Unrestricted,
            // While planning, the CLI reads files outside the workspace without
            // asking.
            PermissionMode::Plan => self != Self::Agentic,
            PermissionMode::Default | PermissionMode::AcceptEdits | PermissionMode::DontAsk => true,
        }
    }

    /// Judges a permission mode that a client asks for; `null` clears an
    /// override.
    ///
    /// # Errors
    ///
    /// What is asked for, to complete a sentence that says that it is refused.
    pub fn check_permission_mode(self, asked: &RawValue) -> Result<(), String> {
        if asked.get() == "null" {
            return Ok(());
        }
        let name = string(asked).ok_or("what is no permission mode")?;
        match PermissionMode::from_name(&name) {
            // Another name of `default` in newer CLIs.
            None if name == "manual" => Ok(()),
            Some(asked) if self.allows(asked) => Ok(()),
            Some(asked) => Err(format!("the permission mode {}", asked.as_str())),
            // The oldest CLI takes any word for a mode.
            None => Err(format!("a permission mode that it does not know ({name:.50})")),
        }
    }

    /// Judges sub-agents: an object of objects.
    ///
    /// # Errors
    ///
    /// The reason why they are refused.
    pub fn check_sub_agents(self, agents: &str) -> Result<(), &'static str> {
        sub_agents::check(self, agents)
    }

    /// Checks that `config` does not exceed this ceiling.
    ///
    /// # Errors
    ///
    /// Returns the first field that does, with the reason.
    pub fn check(self, config: &QueryConfig) -> Result<(), Exceeds> {
        let refuse = |field, reason| Err(Exceeds { field, mode: self, reason });
        if let Some(mode) = config.permission_mode
            && !self.allows(mode)
        {
            return match mode {
                PermissionMode::Plan => refuse("permissionMode", "planning reads any file"),
                _ => refuse("permissionMode", "it takes the user's decisions away"),
            };
        }
        if self == Self::Unrestricted {
            return Ok(());
        }
        for (field, _) in config.passed_on() {
            if CLIENTS_PART.contains(&field.name) {
                if self != Self::Ask {
                    return refuse(field.name, "the client takes no part in what the agent does");
                }
            } else if !(PASSED_ON.contains(&field.name)
                || self == Self::Ask && PASSED_ON_IN_ASK.contains(&field.name))
            {
                return refuse(field.name, "it has no place under this ceiling");
            }
        }
        if config.resume.as_deref().is_some_and(|id| !is_id(id)) {
            return refuse("resume", "expected the id of a conversation, not a path");
        }
        if config.disallowed_tools.iter().flatten().any(|rule| takes_back(rule)) {
            return refuse("disallowedTools", "a rule with `!` takes others back");
        }
        if let Some(agents) = &config.agents
            && let Err(reason) = sub_agents::check(self, agents.expose())
        {
            return refuse("agents", reason);
        }
        if self == Self::Ask {
            return Ok(());
        }

        match &config.tools {
            Some(Tools::List(list)) if list.iter().all(|tool| self.has_tool(tool)) => {}
            None => {}
            Some(_) => return refuse("tools", self.tools_reason()),
        }
        if !config.allowed_tools.iter().flatten().all(|tool| self.has_tool(tool)) {
            return refuse("allowedTools", self.tools_reason());
        }
        for (field, value) in [("agents", &config.agents), ("mcpServers", &config.mcp_servers)] {
            if value.as_ref().is_some_and(|value| value.expose() != "{}") {
                return refuse(field, "it brings in programs and tools of its own");
            }
        }
        if config.setting_sources.iter().flatten().next().is_some() {
            return refuse("settingSources", "settings files can name programs to run");
        }
        if config.additional_directories.iter().flatten().next().is_some() {
            return refuse("additionalDirectories", "the agent stays in the workspace");
        }
        let env = config.env.as_deref().unwrap_or_default();
        if !env.is_empty() {
            return refuse("env", "variables can name programs to run (GIT_SSH_COMMAND, SHELL)");
        }
        if config.anthropic_base_url.is_some() && !config.has_login() {
            return refuse(
                "anthropicBaseUrl",
                "the server's credential would go there; give one along with it",
            );
        }
        Ok(())
    }

    /// Returns the settings files that apply if the configuration names none.
    pub(crate) fn setting_sources(self) -> &'static [SettingSource] {
        match self {
            Self::Safe => &[],
            // Of an untrusted workspace CLAUDE.md alone.
            Self::Agentic | Self::Ask | Self::Unrestricted => &[SettingSource::Project],
        }
    }

    fn has_tool(self, tool: &str) -> bool {
        self == Self::Agentic && AGENTIC_TOOLS.contains(&tool)
    }

    fn tools_reason(self) -> &'static str {
        match self {
            Self::Safe => "there are no tools",
            _ => "only Read, Write, Edit, Glob and Grep exist, without rules of their own",
        }
    }
}

/// Whether `text` can only be the id of a conversation: the CLI takes a path to
/// a transcript as well.
fn is_id(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.len() <= 128 && text.chars().all(plain)
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text).ok_or(UnknownMode)
    }
}

/// Parse error of [`Mode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected safe, ask, agentic or unrestricted")]
pub struct UnknownMode;

/// Whether a rule that denies or asks takes others back.
pub(in crate::agent) fn takes_back(rule: &str) -> bool {
    rule.contains('!')
}

/// A configuration that exceeds the ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field}: not possible in mode {mode} of this server: {reason}")]
pub struct Exceeds {
    /// The field.
    pub field: &'static str,
    /// The ceiling.
    pub mode: Mode,
    /// Reason for which the field exceeds it.
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: Mode, body: &str) -> Result<(), String> {
        let config = QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap().config;
        mode.check(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn modes_parse_as_they_are_displayed() {
        for mode in Mode::ALL {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("Ask".parse::<Mode>(), Err(UnknownMode));
    }

    #[test]
    fn only_unrestricted_turns_permission_requests_off() {
        for permission in ["bypassPermissions", "auto"] {
            let body = format!(r#"{{"permissionMode":"{permission}"}}"#);
            assert!(check(Mode::Unrestricted, &body).is_ok());
            for mode in [Mode::Safe, Mode::Ask, Mode::Agentic] {
                assert_eq!(
                    check(mode, &body).unwrap_err(),
                    format!(
                        "permissionMode: not possible in mode {mode} of this server: it takes the user's decisions away"
                    )
                );
            }
        }
        for permission in ["default", "acceptEdits", "plan", "dontAsk"] {
            for mode in Mode::ALL {
                let body = format!(r#"{{"permissionMode":"{permission}"}}"#);
                let plans_outside = permission == "plan" && mode == Mode::Agentic;
                assert_eq!(check(mode, &body).is_err(), plans_outside, "{mode} {permission}");
            }
        }
    }

    #[test]
    fn ids_rules_and_sub_agents_stay_below_the_ceiling() {
        for body in [
            r#"{"resume":"/abs/other.jsonl"}"#,
            r#"{"resume":"../other.jsonl"}"#,
            r#"{"resume":"~/x"}"#,
            r#"{"resume":"a.jsonl"}"#,
            r#"{"disallowedTools":["Edit(!**)"]}"#,
            r#"{"disallowedTools":["A","Edit(a),Edit(!b)"]}"#,
            r#"{"agents":{"a":{"prompt":"p","permissionMode":"auto"}}}"#,
            r#"{"agents":{"a":{"prompt":"p","hooks":{}}}}"#,
        ] {
            let field = body.split('"').nth(1).unwrap();
            for mode in [Mode::Safe, Mode::Agentic, Mode::Ask] {
                assert!(check(mode, body).unwrap_err().starts_with(field), "{mode}: {body}");
            }
            assert_eq!(check(Mode::Unrestricted, body), Ok(()), "{body}");
        }
        let id =
            r#"{"resume":"6f9619ff-8b86-d011-b42d-00cf4fc964ff","agents":{"a":{"prompt":"p"}}}"#;
        assert_eq!(check(Mode::Ask, id), Ok(()));
    }

    #[test]
    fn the_narrow_modes_refuse_every_field_that_adds_programs_or_tools() {
        for body in [
            r#"{"tools":["Bash"]}"#,
            r#"{"tools":["Read,Bash"]}"#,
            r#"{"tools":{"type":"preset","preset":"claude_code"}}"#,
            r#"{"allowedTools":["Read(//etc/**)"]}"#,
            r#"{"agents":{"a":{}}}"#,
            r#"{"mcpServers":{"a":{"command":"sh"}}}"#,
            r#"{"settingSources":["project"]}"#,
            r#"{"additionalDirectories":["/"]}"#,
            r#"{"env":{"GIT_SSH_COMMAND":"sh"}}"#,
            r#"{"anthropicBaseUrl":"http://h"}"#,
        ] {
            for mode in [Mode::Safe, Mode::Agentic] {
                let field = body.split('"').nth(1).unwrap();
                assert!(check(mode, body).unwrap_err().starts_with(field), "{mode}: {body}");
            }
            for mode in [Mode::Ask, Mode::Unrestricted] {
                assert_eq!(check(mode, body), Ok(()), "{mode}: {body}");
            }
        }
    }

    #[test]
    fn the_narrow_modes_accept_fields_within_the_ceiling() {
        for body in [
            r#"{"model":"m","systemPrompt":"s","maxTurns":1,"cwd":"a","anthropicApiKey":"k"}"#,
            r#"{"tools":[],"allowedTools":[],"agents":{},"mcpServers":{},"settingSources":[],"env":{}}"#,
            r#"{"disallowedTools":["Bash","Write"]}"#,
            r#"{"anthropicBaseUrl":"http://h","anthropicAuthToken":"t"}"#,
        ] {
            assert_eq!(check(Mode::Safe, body), Ok(()), "{body}");
            assert_eq!(check(Mode::Agentic, body), Ok(()), "{body}");
        }
        assert_eq!(check(Mode::Agentic, r#"{"tools":["Read"],"allowedTools":["Edit"]}"#), Ok(()));
        assert!(check(Mode::Safe, r#"{"tools":["Read"]}"#).is_err());
    }
}
