//! Arguments of control requests, judged one by one. A reason completes the
//! sentence "… does not allow".

use std::path::{Component, Path};

use claude_relay_protocol::json::{elements, entries, string};
use serde_json::value::RawValue;

use super::Ceiling;
use crate::agent::mode::{Mode, takes_back};

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Argument {
    /// Anything: it is text or a number to the agent.
    Any,
    /// A permission mode at the ceiling or below.
    PermissionMode,
    /// A path inside the workspace, links followed.
    Path,
    /// The beginning of a path inside the workspace, which may not exist.
    Beginning,
    /// Settings of which each is known to be harmless.
    Settings,
}

/// Settings that change the conversation alone.
const SETTINGS: [&str; 9] = [
    "alwaysThinkingEnabled",
    "attribution",
    "effortLevel",
    "fastMode",
    "includeCoAuthoredBy",
    "language",
    "model",
    "permissions",
    "showThinkingSummaries",
];

/// What `permissions` may hold: what a client may answer beforehand.
const PERMISSIONS: [&str; 5] = ["additionalDirectories", "allow", "ask", "defaultMode", "deny"];

pub(super) fn check(
    argument: Argument,
    value: &RawValue,
    ceiling: &Ceiling<'_>,
) -> Result<(), String> {
    match argument {
        Argument::Any => Ok(()),
        Argument::PermissionMode => ceiling.mode.check_permission_mode(value),
        Argument::Path => {
            let path = string(value).ok_or("what is no path")?;
            inside(ceiling, &path)
        }
        Argument::Beginning => {
            let text = string(value).ok_or("what is no text")?;
            below(&text)
        }
        Argument::Settings => settings(value, ceiling.mode),
    }
}

/// Judges a path that has to exist in the workspace.
fn inside(ceiling: &Ceiling<'_>, path: &str) -> Result<(), String> {
    const OUTSIDE: &str = "paths outside the workspace";
    // The CLI puts the home directory in the place of `~`.
    if path.starts_with('~') || path.contains('\0') {
        return Err(OUTSIDE.to_owned());
    }
    // The agent may have left the directory it was started in.
    let upwards = |part| matches!(part, Component::ParentDir);
    if Path::new(path).is_relative() && Path::new(path).components().any(upwards) {
        return Err("relative paths with `..`: give an absolute one".to_owned());
    }
    let resolved = |path: &Path| path.canonicalize().map_err(|_| OUTSIDE.to_owned());
    let inside = resolved(ceiling.workspace)?;
    let path = resolved(&ceiling.cwd.join(path))?;
    if path.starts_with(inside) { Ok(()) } else { Err(OUTSIDE.to_owned()) }
}

/// Judges the beginning of a path: relative, and nowhere upwards.
fn below(text: &str) -> Result<(), String> {
    let path = Path::new(text);
    let plain =
        path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if plain && !text.starts_with('~') && !text.contains('\0') {
        Ok(())
    } else {
        Err("paths outside the workspace".to_owned())
    }
}

fn settings(value: &RawValue, mode: Mode) -> Result<(), String> {
    let unreadable = |error| format!("settings that cannot be read: {error}");
    for (name, value) in entries(value.get()).map_err(unreadable)? {
        if !SETTINGS.contains(&name.as_ref()) {
            return Err(format!("the setting {name:.50}"));
        }
        if name != "permissions" {
            continue;
        }
        for (name, value) in entries(value.get()).map_err(unreadable)? {
            if !PERMISSIONS.contains(&name.as_ref()) {
                return Err(format!("the setting permissions.{name:.50}"));
            }
            permissions(&name, value, mode)?;
        }
    }
    Ok(())
}

/// Judges one member of the setting `permissions`.
pub(in crate::agent) fn permissions(
    name: &str,
    value: &RawValue,
    mode: Mode,
) -> Result<(), String> {
    match name {
        "defaultMode" => mode.check_permission_mode(value),
        "ask" | "deny" => {
            let rules =
                elements(value).map_err(|_| format!("permissions.{name} that is no list"))?;
            match rules.iter().any(|rule| string(rule).is_none_or(|rule| takes_back(&rule))) {
                true => Err("a rule with `!`, which takes others back".to_owned()),
                false => Ok(()),
            }
        }
        _ => Ok(()),
    }
}
