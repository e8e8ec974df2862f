//! Files of a COPY step: their digest and archive.
//!
//! The digest is that of E2B's Python SDK. The JavaScript SDK includes the size
//! of directories, which depends on the file system and differs between
//! machines. The server uses the digest as a key only.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::error::{ContextError, MAX_COPY_BYTES};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const TYPE_BITS: u32 = 0o170_000;

/// Files of one COPY step, in the order of the digest and the archive.
#[derive(Clone, Debug, Default)]
pub struct FileSet {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// Relative to the context, with slashes; empty for the context itself.
    name: String,
    /// Permissions and type, as in `stat`.
    mode: u32,
    /// The location of the content; directories have none.
    content: Option<PathBuf>,
}

/// Digest and archive of one COPY step.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The digest, 64 hexadecimal digits.
    pub hash: String,
    /// A tar archive, compressed with gzip.
    pub archive: Bytes,
    /// The number of its files.
    pub files: usize,
}

impl FileSet {
    /// Adds a regular file under the name `name`. `mode` holds the permission
    /// bits alone. The content is read when the set is packed.
    pub fn add_file(&mut self, name: &str, content: &Path, mode: u32) {
        let mode = REGULAR | (mode & 0o7777);
        self.entries.push(Entry { name: name.to_owned(), mode, content: Some(content.to_owned()) });
        self.sort();
    }

    /// Returns the names in the set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn push(
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

    pub(super) fn sort(&mut self) {
        // Sorted like the SDK: by the whole path, not directory by directory.
        self.entries.sort_by(|a, b| a.name.cmp(&b.name));
        self.entries.dedup_by(|a, b| a.name == b.name);
    }

    /// Packs the set. Reads every file once for both the digest and the
    /// archive, so that the two agree.
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
    // No modification time: the same files give the same archive.
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

/// Reads a file's content. Returns `None` if it is longer than the limit.
fn read_bounded(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ContextError> {
    let io = |problem| ContextError::Io { path: path.to_owned(), problem };
    let file = fs::File::open(path).map_err(io)?;
    let mut content = Vec::new();
    file.take(limit + 1).read_to_end(&mut content).map_err(io)?;
    Ok((content.len() as u64 <= limit).then_some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_is_refused_while_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        fs::File::create(&path).unwrap().set_len(100).unwrap();
        assert!(read_bounded(&path, 99).unwrap().is_none());
        assert_eq!(read_bounded(&path, 100).unwrap().unwrap().len(), 100);
    }
}
