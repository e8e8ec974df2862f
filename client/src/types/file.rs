//! Files of the workspace, and their changes.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

/// An entry of a directory of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileEntry {
    /// Its name in the directory.
    pub name: String,
    /// Its type.
    pub kind: FileType,
    /// Its length in bytes; 0 for what is no file.
    pub size: u64,
    /// When it was last written.
    pub modified: SystemTime,
}

/// Type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FileType {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A change in the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct FileChange {
    /// Its kind.
    #[serde(rename = "event")]
    pub kind: FileChangeKind,
    /// Its place, relative to the workspace.
    pub path: String,
}

/// Kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FileChangeKind {
    /// It is new.
    Created,
    /// It was written.
    Modified,
    /// It is gone.
    Removed,
    /// Changes at the path or below it may be missing: list it anew.
    Gap,
    /// A kind newer than this library.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct RawEntry {
    name: String,
    #[serde(rename = "type")]
    kind: FileType,
    size: u64,
    modified: i64,
}

#[derive(Deserialize)]
pub(crate) struct RawListing {
    entries: Vec<RawEntry>,
}

impl RawListing {
    pub(crate) fn entries(self) -> Vec<FileEntry> {
        let entry = |raw: RawEntry| FileEntry {
            name: raw.name,
            kind: raw.kind,
            size: raw.size,
            modified: time(raw.modified),
        };
        self.entries.into_iter().map(entry).collect()
    }
}

/// Milliseconds since 1970 as a time.
pub(crate) fn time(milliseconds: i64) -> SystemTime {
    let distance = Duration::from_millis(milliseconds.unsigned_abs());
    let time = match milliseconds < 0 {
        true => SystemTime::UNIX_EPOCH.checked_sub(distance),
        false => SystemTime::UNIX_EPOCH.checked_add(distance),
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}
