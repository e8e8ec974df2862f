//! Sources of a git checkout: the files that git tracks, as they are on disk.

use std::path::{Component, Path, PathBuf};

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
    /// digest. A link to a tracked directory becomes a copy of it.
    ///
    /// # Errors
    /// See [`CheckoutError`]; any other tracked link is one.
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
        for Tracked { mode, file, name } in tracked(&root, &context)? {
            if context.ignore().excludes(&name) {
                continue;
            }
            let path = root.join(file);
            let mode = match &*mode {
                "100644" => 0o644,
                "100755" => 0o755,
                LINK => return Err(ContextError::Symlink(path).into()),
                _ => return Err(ContextError::Special(path).into()),
            };
            match std::fs::symlink_metadata(&path) {
                Ok(at) if at.is_file() => {}
                Ok(at) if at.is_symlink() => return Err(ContextError::Symlink(path).into()),
                Ok(_) => return Err(ContextError::Special(path).into()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    missing.push(name);
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

/// Mode of a link.
const LINK: &str = "120000";

/// A file that git tracks.
struct Tracked {
    /// Its mode in git.
    mode: String,
    /// Its path on the disk, below the top directory.
    file: String,
    /// The path under which it is included.
    name: String,
}

/// Returns the tracked files, those of a linked directory under the link's name
/// as well.
fn tracked(root: &Path, context: &Context) -> Result<Vec<Tracked>, CheckoutError> {
    let listing = git(root, &["ls-files", "-z", "--stage"])?;
    // "100644 <hash> 0\t<path>"
    let entries: Vec<(&str, &str)> = listing
        .split_terminator('\0')
        .filter_map(|line| line.split_once('\t'))
        .map(|(stage, name)| (stage.split(' ').next().unwrap_or_default(), name))
        .collect();
    let mut files = Vec::new();
    let mut add = |mode: &str, file: &str, name: String| {
        files.push(Tracked { mode: mode.to_owned(), file: file.to_owned(), name });
    };
    for &(mode, name) in &entries {
        let target = (mode == LINK && !context.ignore().excludes(name)).then(|| target(root, name));
        let Some(target) = target.flatten() else {
            add(mode, name, name.to_owned());
            continue;
        };
        let mut is_empty = true;
        for &(mode, file) in &entries {
            if let Some(rest) = file.strip_prefix(&target).and_then(|rest| rest.strip_prefix('/')) {
                add(mode, file, format!("{name}/{rest}"));
                is_empty = false;
            }
        }
        if is_empty {
            return Err(ContextError::Symlink(root.join(name)).into());
        }
    }
    Ok(files)
}

/// Returns the path below `root` that a link leads to; `None` if it leads
/// elsewhere.
fn target(root: &Path, link: &str) -> Option<String> {
    let target = std::fs::read_link(root.join(link)).ok()?;
    let mut parts: Vec<&str> = link.split('/').collect();
    parts.pop();
    for part in target.components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
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
    fn a_link_to_a_tracked_directory_is_a_copy_of_it() {
        let dir = checkout();
        std::fs::create_dir_all(dir.path().join("static/vendor")).unwrap();
        std::fs::create_dir(dir.path().join("server")).unwrap();
        std::fs::write(dir.path().join("static/page.js"), "p").unwrap();
        std::fs::write(dir.path().join("static/vendor/v.js"), "v").unwrap();
        std::os::unix::fs::symlink("../static", dir.path().join("server/static")).unwrap();
        git(dir.path(), &["add", "-A"]).unwrap();
        let read = Checkout::read(dir.path(), "src", "Cargo.toml").unwrap();
        let names: Vec<_> = read.files.names().collect();
        for name in
            ["src/static/page.js", "src/server/static/page.js", "src/server/static/vendor/v.js"]
        {
            assert!(names.contains(&name), "{name}: {names:?}");
        }
    }

    #[test]
    fn any_other_tracked_link_is_refused() {
        for target in ["/etc/passwd", "/etc", "../..", "..", ".", "a.rs", "missing", "sub/../../x"]
        {
            let dir = checkout();
            std::os::unix::fs::symlink(target, dir.path().join("link")).unwrap();
            git(dir.path(), &["add", "-A"]).unwrap();
            let error = Checkout::read(dir.path(), "src", "Cargo.toml").unwrap_err();
            let is_link = matches!(error, CheckoutError::Context(ContextError::Symlink(_)));
            assert!(is_link, "{target}: {error}");
        }
    }

    #[test]
    fn the_checkout_of_this_repository_can_be_read() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let read = Checkout::read(here, "src", "server/Cargo.toml").unwrap();
        assert!(read.files.names().any(|name| name == "src/server/static/page.js"));
    }

    #[test]
    fn a_checkout_of_another_project_is_refused_by_name() {
        let error = Checkout::read(checkout().path(), "src", "server/Cargo.toml").unwrap_err();
        assert!(matches!(error, CheckoutError::NotOurs { .. }), "{error}");
        let error = Checkout::read(tempfile::tempdir().unwrap().path(), "s", "x").unwrap_err();
        assert!(matches!(error, CheckoutError::Git { .. }), "{error}");
    }
}
