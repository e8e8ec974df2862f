//! Sources of a git checkout: the files that git tracks, as they are on disk.

use std::path::{Path, PathBuf};

use crate::context::{Context, ContextError, FileSet};

/// Sources of a checkout, with notes for the user.
#[derive(Debug)]
pub struct Checkout {
    /// The top directory.
    pub root: PathBuf,
    /// The current commit; `None` before the first one.
    pub commit: Option<String>,
    /// The tracked files, each with the given prefix before its name.
    pub files: FileSet,
    /// The number of files.
    pub count: usize,
    /// Tracked files that differ from the commit. They are included as they
    /// are.
    pub dirty: Vec<String>,
    /// Tracked files that are not on disk. They are left out.
    pub missing: Vec<String>,
    /// Files that git does not track and does not ignore. They are left out.
    pub untracked: Vec<String>,
}

/// Reason for failing to read the sources.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// git cannot be started.
    #[error("git cannot be started: {0}; install it, or give a built server with --binary")]
    NoGit(std::io::Error),
    /// git fails, for instance because the directory is not a checkout.
    #[error(
        "{directory:?} is not a git checkout that can be read: {said}; name one with --checkout, or give a built server with --binary"
    )]
    Git {
        /// The directory.
        directory: PathBuf,
        /// The error of git.
        said: String,
    },
    /// The directory is a checkout of another project.
    #[error(
        "{root:?} is a checkout, but has no {wanted}: name the one of claude-relay with --checkout"
    )]
    NotOurs {
        /// The top directory.
        root: PathBuf,
        /// The missing file.
        wanted: &'static str,
    },
    /// A file that cannot be sent.
    #[error(transparent)]
    Context(#[from] ContextError),
}

impl Checkout {
    /// Reads the files that git tracks in the checkout around `directory`,
    /// except those that a `.dockerignore` at its top excludes. Permissions are
    /// those in git, not those on disk, so that every machine gets the same
    /// digest.
    ///
    /// # Errors
    /// See [`CheckoutError`]; a tracked symbolic link is one.
    pub fn read(
        directory: &Path,
        prefix: &str,
        wanted: &'static str,
    ) -> Result<Self, CheckoutError> {
        let top = git(directory, &["rev-parse", "--show-toplevel"])?;
        let root = PathBuf::from(top.trim_end_matches('\n'));
        let commit = git(&root, &["rev-parse", "--short=12", "HEAD"]).ok();
        let context = Context::open(&root)?;

        let (mut files, mut missing, mut count) = (FileSet::default(), Vec::new(), 0);
        let mut found = false;
        for line in git(&root, &["ls-files", "-z", "--stage"])?.split_terminator('\0') {
            // "100644 <hash> 0\t<path>"
            let Some((stage, name)) = line.split_once('\t') else {
                continue;
            };
            if context.ignore().excludes(name) {
                continue;
            }
            let path = root.join(name);
            let mode = match stage.split(' ').next().unwrap_or_default() {
                "100644" => 0o644,
                "100755" => 0o755,
                "120000" => return Err(ContextError::Symlink(path).into()),
                _ => return Err(ContextError::Special(path).into()),
            };
            match std::fs::symlink_metadata(&path) {
                Ok(at) if at.is_file() => {}
                Ok(at) if at.is_symlink() => return Err(ContextError::Symlink(path).into()),
                Ok(_) => return Err(ContextError::Special(path).into()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    missing.push(name.to_owned());
                    continue;
                }
                Err(problem) => return Err(ContextError::Io { path, problem }.into()),
            }
            found |= name == wanted;
            count += 1;
            files.add_file(&format!("{prefix}/{name}"), &path, mode);
        }
        if !found {
            return Err(CheckoutError::NotOurs { root, wanted });
        }

        let (mut dirty, mut untracked) = (Vec::new(), Vec::new());
        let status = git(&root, &["status", "--porcelain=v1", "-z", "--no-renames"])?;
        for line in status.split_terminator('\0') {
            match line.split_at_checked(3) {
                Some(("?? ", name)) => untracked.push(name.to_owned()),
                Some((_, name)) if !missing.iter().any(|gone| gone == name) => {
                    dirty.push(name.to_owned());
                }
                _ => {}
            }
        }
        let commit = commit.map(|commit| commit.trim().to_owned());
        Ok(Self { root, commit, files, count, dirty, missing, untracked })
    }
}

#[expect(clippy::disallowed_methods, reason = "only git knows the tracked files")]
fn git(directory: &Path, arguments: &[&str]) -> Result<String, CheckoutError> {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .output()
        .map_err(CheckoutError::NoGit)?;
    let refused = |said: &str| CheckoutError::Git {
        directory: directory.to_owned(),
        said: said.trim().to_owned(),
    };
    match output.status.success() {
        true => String::from_utf8(output.stdout).map_err(|_| refused("a name is not UTF-8")),
        false => Err(refused(&String::from_utf8_lossy(&output.stderr))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("Cargo.toml"), "[workspace]").unwrap();
        std::fs::write(dir.path().join("a.rs"), "a").unwrap();
        std::fs::write(dir.path().join("gone.rs"), "g").unwrap();
        git(dir.path(), &["init", "-q"]).unwrap();
        git(dir.path(), &["add", "-A"]).unwrap();
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"];
        git(dir.path(), &[&identity[..], &["commit", "-qm", "x"]].concat()).unwrap();
        dir
    }

    #[test]
    fn tracked_files_go_along_as_they_are_and_what_differs_is_said() {
        let dir = checkout();
        std::fs::write(dir.path().join("a.rs"), "changed").unwrap();
        std::fs::write(dir.path().join("new.rs"), "n").unwrap();
        std::fs::remove_file(dir.path().join("gone.rs")).unwrap();
        let read = Checkout::read(dir.path(), "src", "Cargo.toml").unwrap();
        assert_eq!(read.files.names().collect::<Vec<_>>(), ["src/Cargo.toml", "src/a.rs"]);
        assert_eq!(
            (read.dirty, read.missing),
            (vec!["a.rs".to_owned()], vec!["gone.rs".to_owned()])
        );
        assert_eq!((read.untracked, read.count), (vec!["new.rs".to_owned()], 2));
        assert_eq!(read.commit.map(|commit| commit.len()), Some(12));
    }

    #[test]
    fn permissions_are_gits_and_not_the_disks() {
        use std::os::unix::fs::PermissionsExt;
        let dir = checkout();
        let hash = || {
            let read = Checkout::read(dir.path(), "src", "Cargo.toml").unwrap();
            read.files.pack("src", "/x").unwrap().hash
        };
        let before = hash();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(dir.path().join("a.rs"), private).unwrap();
        assert_eq!(hash(), before);
    }

    #[test]
    fn a_tracked_link_is_refused() {
        let dir = checkout();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).unwrap();
        git(dir.path(), &["add", "-A"]).unwrap();
        let error = Checkout::read(dir.path(), "src", "Cargo.toml").unwrap_err();
        assert!(matches!(error, CheckoutError::Context(ContextError::Symlink(_))), "{error}");
    }

    #[test]
    fn a_checkout_of_another_project_is_refused_by_name() {
        let error = Checkout::read(checkout().path(), "src", "server/Cargo.toml").unwrap_err();
        assert!(matches!(error, CheckoutError::NotOurs { .. }), "{error}");
        let error = Checkout::read(tempfile::tempdir().unwrap().path(), "s", "x").unwrap_err();
        assert!(matches!(error, CheckoutError::Git { .. }), "{error}");
    }
}
