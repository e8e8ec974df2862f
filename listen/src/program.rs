//! Search for an executable in `PATH`, as a shell does it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Reason for which a program cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// There is none.
    #[error("it was not found")]
    Missing,
    /// It is a directory or a device.
    #[error("{0:?} is no file")]
    NoFile(PathBuf),
    /// This user must not execute it.
    #[error("{0:?} cannot be executed: give it the right (`chmod +x`)")]
    NotExecutable(PathBuf),
}

/// Returns the executable for `program`: a path with a separator is used as it
/// is, a bare name is searched in `path`, the value of `PATH`.
#[must_use]
pub fn find_program(program: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    look_for_program(program, path).ok()
}

/// Finds the executable like [`find_program`].
///
/// # Errors
///
/// Returns the reason for which the first file of that name cannot be used.
pub fn look_for_program(program: &Path, path: Option<&OsStr>) -> Result<PathBuf, Unusable> {
    if program.components().nth(1).is_some() {
        return check(program.to_owned());
    }
    let mut reason = Unusable::Missing;
    for directory in path.into_iter().flat_map(std::env::split_paths) {
        match check(directory.join(program)) {
            Ok(found) => return Ok(found),
            Err(found) if reason == Unusable::Missing => reason = found,
            Err(_) => {}
        }
    }
    Err(reason)
}

fn check(candidate: PathBuf) -> Result<PathBuf, Unusable> {
    if candidate.is_file() {
        match rustix::fs::access(&candidate, rustix::fs::Access::EXEC_OK) {
            Ok(()) => Ok(candidate),
            Err(_) => Err(Unusable::NotExecutable(candidate)),
        }
    } else if candidate.exists() {
        Err(Unusable::NoFile(candidate))
    } else {
        Err(Unusable::Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_as_the_shell_would() {
        assert!(find_program(Path::new("sh"), Some(OsStr::new("/nowhere:/bin"))).is_some());
        assert!(find_program(Path::new("/bin/sh"), None).is_some());
        assert!(find_program(Path::new("/bin"), None).is_none());
        assert!(find_program(Path::new("/etc/passwd"), None).is_none());
        assert!(find_program(Path::new("sh"), Some(OsStr::new("/nowhere"))).is_none());
    }

    #[test]
    fn the_reason_is_that_of_the_first_file_of_the_name() {
        let look = |program: &str, path| look_for_program(Path::new(program), path).unwrap_err();
        assert_eq!(look("/nowhere/claude", None), Unusable::Missing);
        assert_eq!(look("/bin", None), Unusable::NoFile("/bin".into()));
        let plain = Unusable::NotExecutable("/etc/passwd".into());
        assert_eq!(look("/etc/passwd", None), plain);
        assert_eq!(look("passwd", Some(OsStr::new("/nowhere:/etc"))), plain);
        let found = look_for_program(Path::new("sh"), Some(OsStr::new("/etc:/bin")));
        assert_eq!(found, Ok("/bin/sh".into()));
    }
}
