//! Control requests of clients under the ceiling: an allow-list.
//!
//! [`table::CONTROLS`] names every subtype that a pinned CLI knows, the
//! narrowest mode that takes it, and the arguments it may carry. In
//! `unrestricted` everything passes. Elsewhere a subtype or an argument that the
//! table does not name is refused with a sentence: a CLI gets new ones every
//! week, and some of them change the operator's own files.
//!
//! The rules that come with an approval (`updatedPermissions`), the sub-agents
//! of a configuration, and the settings of `apply_flag_settings` are judged by
//! the same functions.

pub(super) mod arguments;
mod table;

use std::path::Path;

use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::json::{elements, entries, fields, string};
use serde_json::value::RawValue;

use crate::agent::mode::{Mode, takes_back};

use table::{CONTROLS, Control};

/// The control request that brings MCP servers. A credential goes nowhere else in
/// any mode.
pub const MCP_SET_SERVERS: &str = "mcp_set_servers";

/// How much of a name that a client chose goes into a refusal.
const QUOTED_CHARS: usize = 50;

/// Destinations of a permission rule that outlive the conversation in a file
/// of the workspace at most.
const DESTINATIONS: [&str; 3] = ["session", "cliArg", "localSettings"];

/// Those of rules that a client has set itself, and may take back. What the relay
/// says at the start stands elsewhere (`cliArg`).
const OWN_DESTINATIONS: [&str; 2] = ["session", "localSettings"];

/// Kinds of changes that an approval may bring along.
const UPDATES: [&str; 6] =
    ["addRules", "replaceRules", "removeRules", "setMode", "addDirectories", "removeDirectories"];

/// What a request is judged against.
#[derive(Debug, Clone, Copy)]
pub struct Ceiling<'a> {
    /// The operator's mode.
    pub mode: Mode,
    /// Whether the workspace's own settings act.
    pub trusted: bool,
    /// The workspace.
    pub workspace: &'a Path,
    /// The agent's working directory, which relative paths begin at.
    pub cwd: &'a Path,
    /// The variables of the client itself: references to them are its own.
    pub own: &'a QueryConfig,
}

impl Ceiling<'_> {
    /// Judges a control request. `request` is its object.
    ///
    /// # Errors
    ///
    /// The reason why it is refused.
    pub fn check_control(&self, subtype: &str, request: &str) -> Result<(), String> {
        let mode = self.mode;
        if subtype == MCP_SET_SERVERS {
            self.own.check_references("servers", request).map_err(|error| error.to_string())?;
        }
        if mode == Mode::Unrestricted {
            return Ok(());
        }
        let refuse = |reason: &str| {
            let subtype: String = subtype.chars().take(QUOTED_CHARS).collect();
            Err(format!("mode {mode} of the server does not allow {subtype}: {reason}"))
        };
        let Some(control) = CONTROLS.iter().find(|control| control.subtype == subtype) else {
            return refuse("this server does not know it, and only `unrestricted` passes it on");
        };
        if !mode.includes(control.from) {
            return refuse(control.reason);
        }
        if control.needs_trust && !self.trusted {
            return refuse("it can run programs that the workspace names; see --trust-workspace");
        }
        self.check_arguments(control, request)
    }

    fn check_arguments(&self, control: &Control, request: &str) -> Result<(), String> {
        let mode = self.mode;
        let given =
            entries(request).map_err(|error| format!("the request cannot be read: {error}"))?;
        for (name, value) in given {
            if name == "subtype" {
                continue;
            }
            let known = control.arguments.iter().find(|(known, _)| *known == name);
            let Some((_, argument)) = known else {
                let name: String = name.chars().take(QUOTED_CHARS).collect();
                return Err(format!(
                    "mode {mode} of the server does not allow {name:?} in {}",
                    control.subtype
                ));
            };
            arguments::check(*argument, value, self).map_err(|reason| {
                format!("mode {mode} of the server does not allow {reason} ({name})")
            })?;
        }
        Ok(())
    }

    /// Judges the rules that come with an approval: an array.
    ///
    /// # Errors
    ///
    /// The reason why they are refused.
    pub fn check_updates(&self, updates: &RawValue) -> Result<(), String> {
        if self.mode == Mode::Unrestricted {
            return Ok(());
        }
        let updates =
            elements(updates).map_err(|_| "permission updates that are no array".to_owned())?;
        for update in updates {
            let [kind, asked, destination] = fields(update.get(), ["type", "mode", "destination"])
                .map_err(|error| format!("a permission update cannot be read: {error}"))?;
            // Codex knows one kind and does not name it; Claude Code does nothing
            // with a rule without one.
            let Some(kind) = kind else { continue };
            let kind = string(kind).unwrap_or_default();
            if !UPDATES.contains(&kind.as_ref()) {
                return Err(format!(
                    "this server does not know permission updates like {kind:.50?}"
                ));
            }
            let destination = match destination.map(string) {
                Some(None) => {
                    return Err("this server does not know such a destination of rules".to_owned());
                }
                Some(named) => named,
                None => None,
            };
            if let Some(destination) = &destination
                && !DESTINATIONS.contains(&destination.as_ref())
            {
                return Err(format!(
                    "mode {} of the server does not allow rules that are kept for good ({destination:.50})",
                    self.mode
                ));
            }
            let takes_away = !matches!(kind.as_ref(), "addRules" | "addDirectories" | "setMode");
            let is_own = destination.is_some_and(|one| OWN_DESTINATIONS.contains(&one.as_ref()));
            if takes_away && !is_own {
                return Err(format!(
                    "mode {} of the server does not allow {kind} but for rules of the session",
                    self.mode
                ));
            }
            self.check_rules(update)?;
            if kind == "setMode"
                && let Some(asked) = asked
            {
                self.mode.check_permission_mode(asked).map_err(|reason| {
                    format!("mode {} of the server does not allow {reason}", self.mode)
                })?;
            }
        }
        Ok(())
    }

    /// Judges the rules of one update.
    fn check_rules(&self, update: &RawValue) -> Result<(), String> {
        let unreadable = |_| "a permission update cannot be read: its rules".to_owned();
        let [rules, behavior] = fields(update.get(), ["rules", "behavior"]).map_err(unreadable)?;
        if behavior.and_then(string).as_deref() == Some("allow") {
            return Ok(());
        }
        for rule in rules.map_or(Ok(Vec::new()), elements).map_err(unreadable)? {
            let [content] = fields(rule.get(), ["ruleContent"]).map_err(unreadable)?;
            if content.and_then(string).is_some_and(|content| takes_back(&content)) {
                return Err(format!(
                    "mode {} of the server does not allow a rule with `!`, which takes others back",
                    self.mode
                ));
            }
        }
        Ok(())
    }
}

/// Whether there is a decision about `subtype`.
#[must_use]
pub fn is_known(subtype: &str) -> bool {
    CONTROLS.iter().any(|control| control.subtype == subtype)
}

#[cfg(test)]
mod tests;
