//! The `.env` file of the working directory, for the server and the clients.
//!
//! Somebody else may have written it: an agent, another user, the author of a
//! repository. So it is read only where it belongs to whoever runs the program,
//! and it may set only what is in [`rules`]: secrets, and settings that do no
//! harm. An address comes from it only together with the credential for it.

pub mod rules;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The name of the file.
pub const NAME: &str = ".env";

/// A longer file is none of settings.
const MOST_BYTES: u64 = 256 << 10;

/// What some editors put in front of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Stands for a dollar sign while the file is parsed. It is no character of any
/// text.
const DOLLAR: char = '\u{ffff}';

/// The rights of the group and of all others to write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Names that a report lists.
const LISTED: usize = 20;

/// What was read. `Debug` shows no value.
#[derive(Default)]
pub struct DotEnv {
    /// The file, if there is one.
    pub path: PathBuf,
    /// The variables to use. None of them is set in the real environment.
    pub variables: BTreeMap<String, String>,
    /// Names that the file may not set.
    pub left_out: Vec<String>,
}

/// A file that must not be used. The text holds no value.
#[derive(Debug, thiserror::Error)]
pub enum DotEnvError {
    /// It cannot be read.
    #[error("{path:?} cannot be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A line that is none.
    #[error("{path:?}: entry {entry} cannot be read: expected NAME=value")]
    Entry {
        /// The file.
        path: PathBuf,
        /// Its number.
        entry: usize,
    },
    /// Somebody else may have written it.
    #[error(
        "{path:?} is not read, because it {reason}: set {} in the environment, or {remedy}", list(.names)
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Why it is not trusted.
        reason: &'static str,
        /// What would help.
        remedy: &'static str,
        /// Variables that would have been taken.
        names: Vec<String>,
    },
}

impl fmt::Debug for DotEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DotEnv")
            .field("path", &self.path)
            .field("variables", &self.variables.keys())
            .field("left_out", &self.left_out)
            .finish()
    }
}

/// Reads the file of `directory`, if there is one. `workspace` is where an
/// agent may write; `is_set` tells of a variable whether the real environment,
/// which wins, holds it.
///
/// # Errors
///
/// See [`DotEnvError`]. A file that sets nothing of ours is never an error.
pub fn load(
    directory: &Path,
    workspace: Option<&Path>,
    is_set: impl Fn(&str) -> bool,
) -> Result<DotEnv, DotEnvError> {
    let path = directory.join(NAME);
    let failed = |source| DotEnvError::Read { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DotEnv::default()),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Err(failed(io::Error::other("it is no file of settings")));
    }
    let mut text = String::new();
    (&file).take(MOST_BYTES).read_to_string(&mut text).map_err(failed)?;

    let text = literal(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text));
    let (mut found, mut broken) = (BTreeMap::new(), None);
    for (index, entry) in dotenvy::from_read_iter(text.as_bytes()).enumerate() {
        match entry {
            Ok((name, value)) => drop(found.insert(name, value.replace(DOLLAR, "$"))),
            // The library's own words repeat the line, and with it a key.
            Err(_) => {
                broken.get_or_insert(index + 1);
            }
        }
    }
    let selected = rules::select(found, is_set);
    if !selected.variables.is_empty()
        && let Some((reason, remedy)) = distrust(&path, &metadata, workspace)
    {
        let names = selected.variables.into_keys().collect();
        return Err(DotEnvError::Untrusted { path, reason, remedy, names });
    }
    if let Some(entry) = broken {
        return Err(DotEnvError::Entry { path, entry });
    }
    let path = path.canonicalize().unwrap_or(path);
    Ok(DotEnv { path, variables: selected.variables, left_out: selected.left_out })
}

/// Returns `text` with a character in place of each dollar sign for which the
/// library would look up a variable. A `$` in a key is part of the key, and a
/// file must not copy variables of the real environment.
fn literal(text: &str) -> String {
    let mut escaped = false;
    let shown = text.chars().map(|char| {
        let replaced = char == '$' && !escaped;
        escaped = char == '\\' && !escaped;
        if replaced { DOLLAR } else { char }
    });
    shown.collect()
}

/// Returns why somebody else may have written the file, and what would help.
fn distrust(
    path: &Path,
    metadata: &std::fs::Metadata,
    workspace: Option<&Path>,
) -> Option<(&'static str, &'static str)> {
    let resolved = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let is_inside = workspace
        .map(|workspace| workspace.canonicalize().unwrap_or_else(|_| workspace.to_owned()))
        .is_some_and(|workspace| resolved.starts_with(workspace));
    if is_inside {
        return Some((
            "lies in the workspace, where the agent writes",
            "move it out and start the server in its directory",
        ));
    }
    let user = rustix::process::geteuid();
    if metadata.uid() != user.as_raw() && metadata.uid() != 0 {
        return Some(("belongs to another user", "make the file your own"));
    }
    if metadata.permissions().mode() & WRITABLE_BY_OTHERS != 0 {
        return Some(("can be written by other users", "take that right away (`chmod go-w .env`)"));
    }
    None
}

impl fmt::Display for DotEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.variables.keys().cloned().collect();
        match names.as_slice() {
            [] => write!(f, "nothing is taken from {:?}", self.path)?,
            names => write!(f, "{} taken from {:?}", list(names), self.path)?,
        }
        if !self.left_out.is_empty() {
            let names = list(&self.left_out);
            write!(f, "; {names} not: set in the environment what is meant for this program")?;
        }
        Ok(())
    }
}

/// Names in a row, cut.
fn list(names: &[String]) -> String {
    let shown = names.iter().take(LISTED);
    let mut text = shown.map(|name| format!("{name:.60}")).collect::<Vec<_>>().join(", ");
    if names.len() > LISTED {
        text.push_str(&format!(" and {} more", names.len() - LISTED));
    }
    text
}

#[cfg(test)]
mod tests;
