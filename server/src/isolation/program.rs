//! Search for an executable in `PATH`, as a shell does it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Returns the executable for `program`: a path with a separator is used as it
/// is, a bare name is searched in `path`, the value of `PATH`.
#[must_use]
pub fn find_program(program: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    let runs = |candidate: &Path| {
        candidate.is_file() && rustix::fs::access(candidate, rustix::fs::Access::EXEC_OK).is_ok()
    };
    if program.components().nth(1).is_some() {
        return runs(program).then(|| program.to_owned());
    }
    std::env::split_paths(path?)
        .map(|directory| directory.join(program))
        .find(|candidate| runs(candidate))
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
}
