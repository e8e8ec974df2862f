//! The program to run, and limits of its arguments and variables.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use claude_relay_protocol::config::MAX_ARGUMENT_BYTES;
use claude_relay_protocol::text;

/// Maximum length of one argument or variable: Linux's `MAX_ARG_STRLEN` without
/// the closing NUL. Configuration fields have a lower limit; this one also
/// covers lists that a mode extends.
const MAX_TOKEN_BYTES: usize = 128 * 1024 - 1;
const _: () = assert!(MAX_ARGUMENT_BYTES < MAX_TOKEN_BYTES);

/// An argument or variable that cannot be passed to a program.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct ArgumentError {
    /// The flag or variable, without its value.
    pub name: String,
    /// The reason.
    pub reason: &'static str,
}

/// Returns the program and the arguments that precede all others.
pub(crate) fn program(claude_path: &Path) -> (PathBuf, Vec<OsString>) {
    // The working directory differs from the server's, so a relative path is
    // made absolute here. A bare name is searched in PATH.
    let is_path = claude_path.components().nth(1).is_some();
    let path = match std::path::absolute(claude_path) {
        Ok(absolute) if is_path => absolute,
        _ => claude_path.to_owned(),
    };
    let script = path.extension().is_some_and(|extension| extension == "js" || extension == "mjs");
    if script { (PathBuf::from("node"), vec![path.into()]) } else { (path, Vec::new()) }
}

/// Checks what the system would refuse without naming the argument.
pub(in crate::agent) fn check(
    args: &[OsString],
    env: &[(OsString, OsString)],
) -> Result<(), ArgumentError> {
    let check_one = |name: &OsStr, bytes: usize, nul: bool| {
        let reason = if nul {
            "holds a NUL character"
        } else if bytes > MAX_TOKEN_BYTES {
            "is longer than a program's argument can be"
        } else {
            return Ok(());
        };
        let name = name.to_string_lossy();
        let name = name.split('=').next().unwrap_or_default();
        Err(ArgumentError { name: text::head(name, 50).to_owned(), reason })
    };
    let nul = |text: &OsStr| text.as_encoded_bytes().contains(&0);
    for arg in args {
        check_one(arg, arg.len(), nul(arg))?;
    }
    for (name, value) in env {
        check_one(name, name.len() + 1 + value.len(), nul(name) || nul(value))?;
    }
    Ok(())
}
