//! Context directory of COPY steps and the selection of their files.

mod error;
mod file_set;

use std::fs;
use std::path::{Path, PathBuf};

use crate::dockerignore::DockerIgnore;
use crate::glob::Glob;

pub use error::{ContextError, MAX_COPY_BYTES};
pub use file_set::{FileSet, Packed};

/// Deepest nesting of directories that is followed.
const MAX_DEPTH: usize = 100;

/// A directory with the files of COPY steps, except those that its
/// `.dockerignore` excludes.
#[derive(Clone, Debug)]
pub struct Context {
    root: PathBuf,
    ignore: DockerIgnore,
}

impl Context {
    /// Opens a context with the `.dockerignore` at its top, if there is one.
    ///
    /// # Errors
    /// [`ContextError::Pattern`] and [`ContextError::Io`].
    pub fn open(root: &Path) -> Result<Self, ContextError> {
        let path = root.join(".dockerignore");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(problem) => return Err(ContextError::Io { path, problem }),
        };
        let ignore = DockerIgnore::parse(&text).map_err(|problem| ContextError::Pattern {
            file: path.display().to_string(),
            problem,
        })?;
        Ok(Self { root: root.to_owned(), ignore })
    }

    /// Returns the patterns of the `.dockerignore`.
    #[must_use]
    pub fn ignore(&self) -> &DockerIgnore {
        &self.ignore
    }

    /// Returns the files of a source: a file, a directory with all its
    /// contents, or a pattern with `*`, `?`, `[…]` and `**`.
    ///
    /// # Errors
    /// See [`ContextError`].
    pub fn collect(&self, source: &str) -> Result<FileSet, ContextError> {
        let parts = inside(source).ok_or_else(|| ContextError::Outside(source.to_owned()))?;
        let is_pattern = source.contains(['*', '?', '[']);
        let mut set = FileSet::default();
        if is_pattern {
            let glob = Glob::parse(&parts.join("/")).map_err(|problem| ContextError::Pattern {
                file: format!("COPY {source:?}"),
                problem,
            })?;
            self.walk("", 0, &mut |name| glob.matches(name), &mut set)?;
        } else {
            let name = parts.join("/");
            let path = self.root.join(&name);
            let found = match fs::symlink_metadata(&path) {
                Ok(found) => Some(found),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(problem) => return Err(ContextError::Io { path, problem }),
            };
            let kept = name.is_empty() || !self.ignore.excludes(&name);
            if let Some(found) = found.filter(|_| kept) {
                set.push(name.clone(), &path, &found)?;
                if found.is_dir() {
                    self.walk(&name, 0, &mut |_| true, &mut set)?;
                }
            }
        }
        if set.is_empty() {
            let context = self.root.clone();
            return Err(ContextError::Nothing { source_path: source.to_owned(), context });
        }
        set.sort();
        Ok(set)
    }

    /// Adds the contents of a directory that are wanted and not ignored.
    /// Everything below a wanted directory is wanted.
    fn walk(
        &self,
        directory: &str,
        depth: usize,
        wanted: &mut dyn FnMut(&str) -> bool,
        set: &mut FileSet,
    ) -> Result<(), ContextError> {
        let path = self.root.join(directory);
        let io = |problem| ContextError::Io { path: path.clone(), problem };
        if depth > MAX_DEPTH {
            return Err(io(std::io::Error::other("too many directories in each other")));
        }
        for entry in fs::read_dir(&path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let entry_path = entry.path();
            let last = entry.file_name();
            let last = last.to_str().ok_or_else(|| ContextError::Name(entry_path.clone()))?;
            let name = match directory {
                "" => last.to_owned(),
                directory => format!("{directory}/{last}"),
            };
            let found = fs::symlink_metadata(&entry_path)
                .map_err(|problem| ContextError::Io { path: entry_path.clone(), problem })?;
            let ignored = self.ignore.excludes(&name);
            let takes = !ignored && wanted(&name);
            if takes {
                set.push(name.clone(), &entry_path, &found)?;
            }
            if found.is_dir() && (!ignored || self.ignore.has_exceptions()) {
                match takes {
                    true => self.walk(&name, depth + 1, &mut |_| true, set)?,
                    false => self.walk(&name, depth + 1, wanted, set)?,
                }
            }
        }
        Ok(())
    }
}

/// Returns the parts of a relative path, or `None` if it leads out of the
/// context.
fn inside(source: &str) -> Option<Vec<&str>> {
    if source.is_empty() || source.starts_with('/') || source.contains(['\0', '\n', '\r']) {
        return None;
    }
    let mut parts = Vec::new();
    for part in source.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Builds the tree of the recordings, as far as its contents are known.
    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let files: [(&str, &str, u32); 7] = [
            ("app/.hidden", "hidden", 0o644),
            ("app/a.txt", "hello\n", 0o644),
            ("app/node_modules/dep/index.js", "x", 0o644),
            ("app/src/B.rs", "b", 0o644),
            ("app/zero", "", 0o644),
            ("app/ä file.txt", "umlaut", 0o644),
            ("bin/tool", "#!/bin/sh\necho hi\n", 0o755),
        ];
        for (name, content, mode) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        dir
    }

    fn names(root: &Path, source: &str) -> Result<Vec<String>, ContextError> {
        let set = Context::open(root)?.collect(source)?;
        Ok(set.names().map(str::to_owned).collect())
    }

    #[test]
    fn the_digest_is_the_one_that_both_official_sdks_give_for_files() {
        let dir = tree();
        let context = Context::open(dir.path()).unwrap();
        let hash = |source, dest| context.collect(source).unwrap().pack(source, dest).unwrap().hash;
        assert_eq!(
            hash("bin/tool", "/usr/local/bin/tool"),
            "a9afe5b01d325fe0de23647df3dd2004719d66ef6cffff92458b6d58c403da47"
        );
        assert_eq!(
            hash("app/a.txt", "/srv/"),
            "ab1d7056953cba76bb4e9008d49aa9f91495d58a0f31c2498a89781dca34e7dc"
        );
        assert_eq!(
            hash("app/ä file.txt", "/u"),
            "bda0ac4c737ea9177ba0689319464c6803a6ed9e1639469353235279731f6a12"
        );
    }

    #[test]
    fn a_directory_includes_everything_below_it() {
        let dir = tree();
        assert_eq!(names(dir.path(), "app/src").unwrap(), ["app/src", "app/src/B.rs"]);
        assert_eq!(names(dir.path(), "app/*.txt").unwrap(), ["app/a.txt", "app/ä file.txt"]);
        assert_eq!(names(dir.path(), "app/s*").unwrap(), ["app/src", "app/src/B.rs"]);
        assert_eq!(names(dir.path(), "**/*.js").unwrap(), ["app/node_modules/dep/index.js"]);
        assert_eq!(names(dir.path(), "./bin/../bin").unwrap(), ["bin", "bin/tool"]);
        assert!(names(dir.path(), ".").unwrap().contains(&String::new()));
    }

    #[test]
    fn dockerignore_keeps_out_directories_with_their_contents() {
        let dir = tree();
        fs::write(dir.path().join(".dockerignore"), "**/node_modules\n*.md\n!app/x").unwrap();
        let found = names(dir.path(), "app").unwrap();
        assert!(found.iter().all(|name| !name.contains("node_modules")), "{found:?}");
        assert!(found.contains(&"app/.hidden".to_owned()));
    }

    #[test]
    fn a_source_cannot_lead_out() {
        let dir = tree();
        for source in ["/etc/passwd", "../x", "a/../../x", "", "a\0b"] {
            let error = names(dir.path(), source).unwrap_err();
            assert!(matches!(error, ContextError::Outside(_)), "{source}: {error}");
        }
        assert!(matches!(names(dir.path(), "nope"), Err(ContextError::Nothing { .. })));
        assert!(matches!(names(dir.path(), "*.nope"), Err(ContextError::Nothing { .. })));
    }

    #[test]
    fn links_are_refused_wherever_they_point() {
        for target in ["a.txt", "/etc/passwd", "nowhere"] {
            let dir = tree();
            std::os::unix::fs::symlink(target, dir.path().join("app/link")).unwrap();
            for source in ["app", "app/link", "app/*"] {
                let error = names(dir.path(), source).unwrap_err();
                assert!(matches!(error, ContextError::Symlink(_)), "{source}: {error}");
            }
            fs::write(dir.path().join(".dockerignore"), "app/link").unwrap();
            assert!(names(dir.path(), "app").is_ok(), "an ignored link is allowed");
        }
    }

    #[test]
    fn the_archive_holds_what_was_digested() {
        let dir = tree();
        let set = Context::open(dir.path()).unwrap().collect("app/src").unwrap();
        let packed = set.pack("app/src", "/srv").unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&packed.archive[..]));
        let found: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
                (name, header.mode().unwrap(), header.size().unwrap())
            })
            .collect();
        assert_eq!(found[0].0, "app/src/");
        assert_eq!(found[1], ("app/src/B.rs".to_owned(), 0o644, 1));
    }
}
