//! What a sandbox hides when the server runs as root.
//!
//! Inside, root has no capability, but it still owns the files of root. The
//! system is shown to every agent; what of it ordinary users cannot read is
//! hidden from this one, too.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where the system keeps secrets among its settings.
pub const SETTINGS: &str = "/etc";

/// How many entries are looked at. A system has some two thousand.
const ENTRIES: usize = 20_000;

/// The right of everybody to read, and for a directory to enter.
const FOR_ALL: u32 = 0o004;

/// A file or directory that is empty inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hidden {
    /// A file.
    File(PathBuf),
    /// A directory.
    Directory(PathBuf),
}

/// Returns what below `directory` not everybody may read.
#[must_use]
pub fn hidden_below(directory: &Path) -> Vec<Hidden> {
    let mut hidden = Vec::new();
    let mut open = vec![directory.to_owned()];
    let mut seen = 0;
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            seen += 1;
            // A link is as readable as what it leads to.
            let Ok(kind) = entry.metadata() else { continue };
            let path = entry.path();
            let is_private = kind.permissions().mode() & FOR_ALL == 0;
            if kind.is_dir() {
                if is_private || seen > ENTRIES {
                    hidden.push(Hidden::Directory(path));
                } else {
                    open.push(path);
                }
            } else if kind.is_file() && is_private {
                hidden.push(Hidden::File(path));
            }
        }
    }
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_not_everybody_may_read_is_hidden() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for (name, mode) in [("hosts", 0o644), ("shadow", 0o640)] {
            fs::write(at(name), "x").unwrap();
            set(&at(name), mode);
        }
        for (name, mode) in [("ssl", 0o755), ("ssl/private", 0o700)] {
            fs::create_dir(at(name)).unwrap();
            set(&at(name), mode);
        }
        fs::write(at("ssl/private/key"), "x").unwrap();
        std::os::unix::fs::symlink(at("shadow"), at("link")).unwrap();
        let hidden = hidden_below(root.path());
        assert_eq!(hidden.len(), 2, "{hidden:?}");
        assert!(hidden.contains(&Hidden::File(at("shadow"))));
        assert!(hidden.contains(&Hidden::Directory(at("ssl/private"))));
    }
}
