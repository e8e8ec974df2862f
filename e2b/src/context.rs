//! The files of a COPY step: which they are, their digest, their archive.
//!
//! The digest is the one of E2B's Python SDK: the JavaScript one takes in the
//! size of a directory, which is a number of the file system and differs from
//! machine to machine. The server uses the digest as a key only.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use crate::dockerignore::{BadPattern, DockerIgnore};
use crate::glob::Glob;

/// The most that the files of one COPY step may add up to.
pub const MAX_COPY_BYTES: u64 = 512 << 20;
/// The deepest that directories are followed.
const MAX_DEPTH: usize = 100;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const TYPE_BITS: u32 = 0o170_000;

/// Why the files of a COPY step cannot be sent. Nothing was uploaded then.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The source is absolute or leads out of the context.
    #[error("COPY {0:?}: the source must be a path inside the context directory")]
    Outside(String),
    /// Nothing is there, or a `.dockerignore` keeps all of it out.
    #[error("COPY {source_path:?}: no such files in {context}")]
    Nothing {
        /// The source as written.
        source_path: String,
        /// The context directory.
        context: PathBuf,
    },
    /// A symbolic link: the SDKs treat them in different ways, and one that
    /// points outside would leak what is there.
    #[error(
        "{0:?} is a symbolic link, which is not copied: copy what it points to, or list it in .dockerignore"
    )]
    Symlink(PathBuf),
    /// A socket, pipe or device.
    #[error("{0:?} is neither a file nor a directory: list it in .dockerignore")]
    Special(PathBuf),
    /// A name that is not UTF-8 or has a line break or NUL in it.
    #[error("{0:?} has a name that cannot be sent")]
    Name(PathBuf),
    /// More than [`MAX_COPY_BYTES`].
    #[error("COPY {0:?}: more than {limit} MiB; list what is not needed in .dockerignore", limit = MAX_COPY_BYTES >> 20)]
    TooLarge(String),
    /// A pattern that cannot be understood.
    #[error("{file}: {problem}")]
    Pattern {
        /// Where it stands.
        file: String,
        /// What is wrong with it.
        problem: BadPattern,
    },
    /// The file system says no.
    #[error("{path:?}: {problem}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it says.
        problem: std::io::Error,
    },
}

/// A directory that COPY steps take files from, less what its
/// `.dockerignore` keeps out.
#[derive(Clone, Debug)]
pub struct Context {
    root: PathBuf,
    ignore: DockerIgnore,
}

/// The files of one COPY step, in the order of the digest and the archive.
#[derive(Clone, Debug, Default)]
pub struct FileSet {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Relative to the context, with slashes; empty for the context itself.
    name: String,
    /// Permissions and type, as `stat` has them.
    mode: u32,
    /// Where the content is; directories have none.
    content: Option<PathBuf>,
}

/// The digest and archive of one COPY step.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The digest, 64 hexadecimal digits.
    pub hash: String,
    /// A tar in gzip.
    pub archive: Bytes,
    /// How many files are in it.
    pub files: usize,
}

impl Context {
    /// A context with the `.dockerignore` at its top, if there is one.
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

    /// What the `.dockerignore` says.
    #[must_use]
    pub fn ignore(&self) -> &DockerIgnore {
        &self.ignore
    }

    /// The files of a source: a file, a directory with all that is in it, or
    /// a pattern with `*`, `?`, `[…]` and `**`.
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
        if set.entries.is_empty() {
            let context = self.root.clone();
            return Err(ContextError::Nothing { source_path: source.to_owned(), context });
        }
        set.sort();
        Ok(set)
    }

    /// Takes in what is below a directory, if it is wanted and not ignored.
    /// All that is below a wanted directory is wanted.
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

impl FileSet {
    /// Adds a regular file under a name of the caller's choice. `mode` holds
    /// the permission bits alone. The content is read when the set is packed.
    pub fn add_file(&mut self, name: &str, content: &Path, mode: u32) {
        let mode = REGULAR | (mode & 0o7777);
        self.entries.push(Entry { name: name.to_owned(), mode, content: Some(content.to_owned()) });
        self.sort();
    }

    /// The names in it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    fn push(
        &mut self,
        name: String,
        path: &Path,
        found: &fs::Metadata,
    ) -> Result<(), ContextError> {
        if name.contains(['\n', '\r', '\0']) {
            return Err(ContextError::Name(path.to_owned()));
        }
        let content = match found.file_type() {
            kind if kind.is_symlink() => return Err(ContextError::Symlink(path.to_owned())),
            kind if kind.is_dir() => None,
            kind if kind.is_file() => Some(path.to_owned()),
            _ => return Err(ContextError::Special(path.to_owned())),
        };
        self.entries.push(Entry { name, mode: found.mode(), content });
        Ok(())
    }

    fn sort(&mut self) {
        // As the SDK does: by the whole path, not directory by directory.
        self.entries.sort_by(|a, b| a.name.cmp(&b.name));
        self.entries.dedup_by(|a, b| a.name == b.name);
    }

    /// Reads every file once, for the digest and the archive alike, so that
    /// the two cannot disagree.
    ///
    /// # Errors
    /// See [`ContextError`].
    pub fn pack(&self, source: &str, dest: &str) -> Result<Packed, ContextError> {
        let mut digest = Sha256::new();
        digest.update(format!("COPY {source} {dest}"));
        let gzip = GzEncoder::new(Vec::new(), Compression::default());
        let mut archive = tar::Builder::new(gzip);
        let mut total = 0;
        for entry in &self.entries {
            let content = match &entry.content {
                Some(path) => {
                    let content = read_bounded(path, MAX_COPY_BYTES - total)?
                        .ok_or_else(|| ContextError::TooLarge(source.to_owned()))?;
                    total += content.len() as u64;
                    Some(content)
                }
                None => None,
            };
            digest.update(&entry.name);
            digest.update(entry.mode.to_string());
            if let Some(content) = &content {
                digest.update(content.len().to_string());
                digest.update(content);
            }
            append(&mut archive, entry, content.as_deref())
                .map_err(|problem| ContextError::Io { path: entry.name.clone().into(), problem })?;
        }
        let archive = archive
            .into_inner()
            .and_then(GzEncoder::finish)
            .map_err(|problem| ContextError::Io { path: source.into(), problem })?;
        let hash = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Packed { hash, archive: archive.into(), files: self.entries.len() })
    }
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    entry: &Entry,
    content: Option<&[u8]>,
) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(entry.mode & !TYPE_BITS);
    header.set_uid(0);
    header.set_gid(0);
    // No time: the same files give the same archive.
    header.set_mtime(0);
    let content = content.unwrap_or_default();
    header.set_size(content.len() as u64);
    match entry.mode & TYPE_BITS {
        DIRECTORY => {
            header.set_entry_type(tar::EntryType::Directory);
            let name = match entry.name.as_str() {
                "" => "./".to_owned(),
                name => format!("{name}/"),
            };
            archive.append_data(&mut header, name, content)
        }
        _ => {
            header.set_entry_type(tar::EntryType::Regular);
            archive.append_data(&mut header, &entry.name, content)
        }
    }
}

/// A file's content, `None` if it is longer than the limit.
fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ContextError> {
    let io = |problem| ContextError::Io { path: path.to_owned(), problem };
    let file = fs::File::open(path).map_err(io)?;
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content).map_err(io)?;
    Ok((content.len() as u64 <= limit).then_some(content))
}

/// The parts of a relative path that stays inside, `None` if it does not.
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

    /// The tree of the recordings, as far as its contents are known.
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
    fn what_is_below_a_directory_comes_along() {
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
            assert!(names(dir.path(), "app").is_ok(), "an ignored link is no obstacle");
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

    #[test]
    fn too_much_is_refused_while_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        fs::File::create(&path).unwrap().set_len(100).unwrap();
        assert!(read_bounded(&path, 99).unwrap().is_none());
        assert_eq!(read_bounded(&path, 100).unwrap().unwrap().len(), 100);
    }
}
