//! What a store has not taken yet, on the disk: one file for each part, read
//! again when the server starts.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};

use super::backend::write;
use super::key::part_time;

/// Servers on one machine that have the same store and workspace.
const MAX_SPOOLS: usize = 16;

/// Parts that wait, and their place.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    /// Held for as long as this server uses the directory.
    _lock: File,
    waiting: VecDeque<Entry>,
    bytes: u64,
    limit: u64,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    file: PathBuf,
    bytes: u64,
}

/// Reason for which a part cannot wait.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpoolError {
    /// There is no room.
    #[error("the spool is full: {limit} bytes wait for the store (--store-spool-bytes)")]
    Full {
        /// Its size.
        limit: u64,
    },
    /// The disk refuses.
    #[error("the spool {path:?} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl Spool {
    /// Opens the spool below `base`, with what an earlier server has left. A
    /// second server at once gets one of its own.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub(super) fn open(base: &Path, limit: u64) -> io::Result<Self> {
        let mut own: Option<Self> = None;
        for number in 0..MAX_SPOOLS {
            let directory = base.join(number.to_string());
            if own.is_some() && !directory.exists() {
                break;
            }
            std::os::unix::fs::DirBuilderExt::mode(fs::DirBuilder::new().recursive(true), 0o700)
                .create(&directory)?;
            let lock = File::create(directory.join("lock"))?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let found = entries(&directory)?;
            match &mut own {
                None => {
                    let next =
                        found.last().and_then(|entry| number_of(&entry.file)).unwrap_or(0) + 1;
                    let bytes = found.iter().map(|entry| entry.bytes).sum();
                    let waiting = found.into();
                    own = Some(Self { directory, _lock: lock, waiting, bytes, limit, next });
                }
                // What a server that is gone has left.
                Some(own) => {
                    for entry in found {
                        let file = own.next_file();
                        fs::rename(&entry.file, &file)?;
                        own.bytes += entry.bytes;
                        own.waiting.push_back(Entry { file, bytes: entry.bytes });
                    }
                }
            }
        }
        own.ok_or_else(|| io::Error::other(format!("{MAX_SPOOLS} servers use it already")))
    }

    /// Returns the number of parts that wait.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the bytes that wait.
    #[must_use]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps a part for `path`.
    ///
    /// # Errors
    ///
    /// See [`SpoolError`].
    pub(super) fn push(&mut self, path: &str, body: &[u8]) -> Result<(), SpoolError> {
        let bytes = body.len() as u64;
        if self.bytes + bytes > self.limit {
            return Err(SpoolError::Full { limit: self.limit });
        }
        let file = self.next_file();
        write(&file, &[path.as_bytes(), b"\n", body].concat())
            .map_err(|source| SpoolError::Write { path: file.clone(), source })?;
        self.waiting.push_back(Entry { file, bytes });
        self.bytes += bytes;
        Ok(())
    }

    /// Returns the oldest part. What is none is removed.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub(super) fn front(&mut self) -> io::Result<Option<(String, Bytes)>> {
        while let Some(entry) = self.waiting.front() {
            let text = match fs::read(&entry.file) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                text => text?,
            };
            if let Some(part) = parse(text.into()) {
                return Ok(Some(part));
            }
            self.pop();
        }
        Ok(None)
    }

    /// Returns the paths and bodies below a directory of the store, oldest
    /// first.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub(super) fn below(&self, directory: &str) -> io::Result<Vec<(String, Bytes)>> {
        let mut found = Vec::new();
        for entry in &self.waiting {
            let Some((path, body)) = parse(fs::read(&entry.file)?.into()) else { continue };
            if path.rsplit_once('/').is_some_and(|(above, _)| above == directory) {
                found.push((path, body));
            }
        }
        Ok(found)
    }

    /// Removes the oldest part.
    pub(super) fn pop(&mut self) {
        if let Some(entry) = self.waiting.pop_front() {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
            // If it stays, the store gets the same object once more.
            let _ = fs::remove_file(entry.file);
        }
    }

    fn next_file(&mut self) -> PathBuf {
        let file = self.directory.join(format!("{:012}.part", self.next));
        self.next += 1;
        file
    }
}

/// Reads a file of the spool: the path, and the part.
fn parse(text: Bytes) -> Option<(String, Bytes)> {
    let end = memchr::memchr(b'\n', &text)?;
    let path = std::str::from_utf8(&text[..end]).ok()?;
    let (above, name) = path.rsplit_once('/')?;
    part_time(name)?;
    above.split('/').all(super::key::is_name).then(|| (path.to_owned(), text.slice(end + 1..)))
}

fn number_of(file: &Path) -> Option<u64> {
    file.file_name()?.to_str()?.strip_suffix(".part")?.parse().ok()
}

fn entries(directory: &Path) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if number_of(&entry.path()).is_some() {
            found.push(Entry { file: entry.path(), bytes: entry.metadata()?.len() });
        }
    }
    found.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "-w/s/part-1795891029675-abcdef.jsonl";

    #[test]
    fn what_waits_is_there_again_in_order() {
        let base = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(base.path(), 1000).unwrap();
        spool.push(PATH, b"one\n").unwrap();
        spool.push(PATH, b"two\n").unwrap();
        let mut other = Spool::open(base.path(), 1000).unwrap();
        assert_eq!(other.len(), 0, "another server has its own");
        other.push(PATH, b"three\n").unwrap();
        drop((spool, other));
        let mut spool = Spool::open(base.path(), 1000).unwrap();
        assert_eq!(spool.len(), 3);
        for body in ["one\n", "two\n", "three\n"] {
            let (path, found) = spool.front().unwrap().unwrap();
            assert_eq!((path.as_str(), &found[..]), (PATH, body.as_bytes()));
            spool.pop();
        }
        drop(spool);
        assert_eq!(Spool::open(base.path(), 1000).unwrap().len(), 0);
    }

    #[test]
    fn a_spool_is_bounded() {
        let base = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(base.path(), 10).unwrap();
        spool.push(PATH, b"12345678").unwrap();
        assert!(matches!(spool.push(PATH, b"123"), Err(SpoolError::Full { limit: 10 })));
        spool.pop();
        spool.push(PATH, b"123").unwrap();
        assert_eq!(spool.below("-w/s").unwrap().len(), 1);
        assert_eq!(spool.below("-w").unwrap().len(), 0);
    }

    #[test]
    fn what_is_no_part_is_left_aside() {
        let base = tempfile::tempdir().unwrap();
        let mut spool = Spool::open(base.path(), 1000).unwrap();
        for text in ["", "no newline", "../x/part-1795891029675-abcdef.jsonl\nx", "a/b\nx"] {
            let file = spool.next_file();
            fs::write(&file, text).unwrap();
            spool.waiting.push_back(Entry { file, bytes: 0 });
        }
        spool.push(PATH, b"x").unwrap();
        assert_eq!(spool.front().unwrap().unwrap().0, PATH);
    }
}
