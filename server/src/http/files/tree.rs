//! A watched directory and those below it, by descriptors that were opened beneath
//! the workspace.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::{BuildHasher as _, RandomState};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use claude_relay_system::{Event, Happening, Watches};
use rustix::fs::{Dir, FileType};
use rustix::io::Errno;

use super::confined::Workspace;
use super::error::FileError;
use super::upload::is_temporary;

/// Maximum number of directories that one watch sees. The system's own limit
/// (`fs.inotify.max_user_watches`) may be lower.
const MAX_DIRECTORIES: usize = 8192;

/// Maximum number of names that one watch remembers, to tell a file that is
/// replaced from one that is new.
const MAX_NAMES: usize = 1 << 17;

/// Maximum number of changes that are taken at a time.
const MAX_CHANGES: usize = 256;

/// Kind of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Created,
    Modified,
    Removed,
    /// Changes at the path or below it may be missing.
    Gap,
}

/// A change, with its path relative to the watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) path: PathBuf,
}

/// The watched directories.
#[derive(Debug)]
pub(super) struct Tree {
    /// Path of the workspace. It is not kept open: the system tells of the end
    /// of a directory when nobody has it open.
    workspace: PathBuf,
    /// Path of the uppermost one in the workspace, links resolved.
    top: PathBuf,
    /// The only name that counts, for the watch of one file.
    only: Option<Vec<u8>>,
    watches: Watches,
    directories: HashMap<i32, Directory>,
    names: usize,
    hasher: RandomState,
    /// True once the uppermost directory has gone.
    has_ended: bool,
}

#[derive(Debug)]
struct Directory {
    /// Path relative to the uppermost one.
    path: PathBuf,
    /// Hashes of the names in it.
    names: HashSet<u64>,
}

impl Tree {
    /// Watches the directory `top` and all below it, or the file `only` in it.
    /// Also returns a gap for each part that is beyond the limits.
    pub(super) fn watch(
        workspace: &Workspace,
        top: PathBuf,
        only: Option<Vec<u8>>,
    ) -> Result<(Self, Vec<Change>), FileError> {
        let mut tree = Self {
            workspace: workspace.path().to_owned(),
            top,
            only,
            watches: new_watches()?,
            directories: HashMap::new(),
            names: 0,
            hasher: RandomState::new(),
            has_ended: false,
        };
        let mut changes = Vec::new();
        tree.add(PathBuf::new(), false, &mut changes)?;
        Ok((tree, changes))
    }

    /// Returns the descriptor that is readable when there is a change.
    pub(super) fn descriptor(&self) -> std::io::Result<OwnedFd> {
        self.watches.descriptor()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Takes the changes that have happened, without waiting.
    pub(super) fn changes(&mut self) -> Result<Vec<Change>, FileError> {
        let mut changes: Vec<Change> = Vec::new();
        while let Some(events) = self.watches.events()? {
            for event in events {
                self.on_event(event, &mut changes)?;
            }
            if changes.len() >= MAX_CHANGES || self.has_ended {
                break;
            }
        }
        Ok(changes)
    }

    fn on_event(&mut self, event: Event, changes: &mut Vec<Change>) -> Result<(), FileError> {
        let Event { watch, what, is_directory, name } = event;
        if what == Happening::Overflow {
            return self.begin_anew(changes);
        }
        let Some(directory) = self.directories.get_mut(&watch) else { return Ok(()) };
        if what == Happening::Ended {
            // The directory above tells of all but the uppermost one.
            if directory.path.as_os_str().is_empty() {
                changes.push(Change { kind: Kind::Removed, path: PathBuf::new() });
                self.has_ended = true;
            }
            return Ok(());
        }
        if name.is_empty() || is_temporary(&name) || self.only.as_ref().is_some_and(|o| *o != name)
        {
            return Ok(());
        }
        let path = directory.path.join(as_path(&name));
        let hash = self.hasher.hash_one(&name);
        match what {
            Happening::Removed => {
                if directory.names.remove(&hash) {
                    self.names -= 1;
                }
                if is_directory {
                    self.forget(&path);
                }
                push(changes, Kind::Removed, path);
            }
            Happening::Made | Happening::MovedIn => {
                let is_new = self.names >= MAX_NAMES || directory.names.insert(hash);
                self.names += usize::from(is_new && self.names < MAX_NAMES);
                let kind = if is_new { Kind::Created } else { Kind::Modified };
                // One that was found when its directory was listed has been told.
                if is_new || (what == Happening::MovedIn && !is_directory) {
                    push(changes, kind, path.clone());
                }
                if is_directory && is_new && self.only.is_none() {
                    match self.add(path, true, changes) {
                        // The workspace has gone, which the next event tells.
                        Err(FileError::NotFound) | Ok(()) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            Happening::Modified => push(changes, Kind::Modified, path),
            Happening::Overflow | Happening::Ended | Happening::Other => {}
        }
        Ok(())
    }

    /// Watches the directory `path` and all below it. With `tells`, what is in
    /// them counts as created.
    fn add(
        &mut self,
        path: PathBuf,
        tells: bool,
        changes: &mut Vec<Change>,
    ) -> Result<(), FileError> {
        let workspace = Workspace::open(&self.workspace)?;
        let mut open = vec![path];
        while let Some(path) = open.pop() {
            let is_top = path.as_os_str().is_empty();
            let found = match self.add_one(&workspace, &path) {
                Ok(found) => found,
                Err(error) if is_top => return Err(error),
                // It has gone, or is none of ours to read.
                Err(FileError::NotFound | FileError::Outside | FileError::Denied(_)) => continue,
                Err(FileError::NoSpace(_)) => {
                    let above = path.parent().unwrap_or(Path::new("")).to_owned();
                    push(changes, Kind::Gap, above);
                    // What is beside it is beyond the limits as well.
                    open.retain(|other| other.parent() != path.parent());
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (name, is_directory, is_new) in found {
                let path = path.join(as_path(&name));
                if tells && is_new {
                    push(changes, Kind::Created, path.clone());
                }
                if is_directory && self.only.is_none() {
                    open.push(path);
                }
            }
        }
        Ok(())
    }

    /// Watches one directory and returns what is in it: names, which of them
    /// are directories, and which are new.
    fn add_one(
        &mut self,
        workspace: &Workspace,
        path: &Path,
    ) -> Result<Vec<(Vec<u8>, bool, bool)>, FileError> {
        if self.directories.len() >= MAX_DIRECTORIES {
            return Err(FileError::NoSpace(Errno::NOSPC));
        }
        let opened = workspace.open_directory(&self.top.join(path))?;
        let watch = self.watches.add(&opened)?;
        let directory = self
            .directories
            .entry(watch)
            .or_insert_with(|| Directory { path: path.to_owned(), names: HashSet::new() });
        let mut found = Vec::new();
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || is_temporary(name) {
                continue;
            }
            if self.names >= MAX_NAMES {
                return Err(FileError::NoSpace(Errno::NOSPC));
            }
            let is_new = directory.names.insert(self.hasher.hash_one(name.to_vec()));
            self.names += usize::from(is_new);
            found.push((name.to_vec(), entry.file_type() == FileType::Directory, is_new));
        }
        Ok(found)
    }

    /// Ends the watch of the directory `path` and of all below it.
    fn forget(&mut self, path: &Path) {
        let watches = &self.watches;
        let mut names = self.names;
        self.directories.retain(|watch, directory| {
            let stays = !directory.path.starts_with(path);
            if !stays {
                names -= directory.names.len();
                watches.remove(*watch);
            }
            stays
        });
        self.names = names;
    }

    /// Begins anew after the system has left out events.
    fn begin_anew(&mut self, changes: &mut Vec<Change>) -> Result<(), FileError> {
        // The descriptor stays, since its owner waits for it: every watch is
        // ended, and what was queued for them is ignored.
        self.forget(Path::new(""));
        push(changes, Kind::Gap, PathBuf::new());
        match self.add(PathBuf::new(), false, changes) {
            Err(FileError::NotFound | FileError::Outside) => {
                changes.push(Change { kind: Kind::Removed, path: PathBuf::new() });
                self.has_ended = true;
                Ok(())
            }
            added => added,
        }
    }
}

fn new_watches() -> Result<Watches, FileError> {
    match Watches::new() {
        Err(Errno::MFILE) => {
            Err(FileError::Busy { limit: 0, what: "watches of this system's user" })
        }
        made => Ok(made?),
    }
}

/// Appends a change, unless it is the one told last.
fn push(changes: &mut Vec<Change>, kind: Kind, path: PathBuf) {
    let change = Change { kind, path };
    if changes.last() != Some(&change) {
        changes.push(change);
    }
}

fn as_path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

#[cfg(test)]
mod tests;
