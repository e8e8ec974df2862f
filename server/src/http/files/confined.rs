//! Access to the workspace that no link and no race can lead out of it: the
//! kernel resolves every path beneath the workspace.

use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use claude_relay_system::{self as system, LOOK, Links};
use rustix::fs::{AtFlags, FileType, OFlags, Stat, fstat};
use rustix::io::Errno;

use super::error::FileError;
use crate::agent::mode::{GUARDED_FILES, Mode};

/// Attempts to resolve a path while directories above it are being moved.
const ATTEMPTS: usize = 16;

/// The workspace.
#[derive(Debug)]
pub(super) struct Workspace {
    directory: OwnedFd,
    /// Its path with links resolved.
    path: PathBuf,
}

/// A file or directory that exists.
#[derive(Debug)]
pub(super) struct Found {
    /// Its path relative to the workspace, with links resolved.
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
}

impl Found {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

impl Workspace {
    pub(super) fn open(path: &Path) -> Result<Self, FileError> {
        let directory = system::open_directory(path)?;
        let path = system::path_of(&directory)?;
        Ok(Self { directory, path })
    }

    /// Returns its path with links resolved.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Finds what `path` leads to, links followed.
    pub(super) fn find(&self, path: &Path) -> Result<Found, FileError> {
        let found = match self.resolve(path, LOOK, Links::Followed) {
            // An absolute link: it may lead to another place in the workspace.
            Err(FileError::Outside) => {
                let target = self.target(path)?;
                self.resolve(&target, LOOK | OFlags::NOFOLLOW, Links::Refused)?
            }
            found => found?,
        };
        let stat = fstat(&found)?;
        if stat.st_nlink == 0 {
            return Err(FileError::NotFound);
        }
        let path = system::path_of(&found)?;
        let path = path.strip_prefix(&self.path).map_err(|_| FileError::Outside)?;
        Ok(Found { path: path.to_owned(), stat })
    }

    /// Returns the place in the workspace that a path with absolute links leads
    /// to. It is opened without links, so that a race cannot lead it out.
    fn target(&self, path: &Path) -> Result<PathBuf, FileError> {
        let full = self.path.join(path);
        let inside = |path: PathBuf| {
            path.strip_prefix(&self.path).map(Path::to_owned).map_err(|_| FileError::Outside)
        };
        match full.canonicalize() {
            Ok(target) => inside(target),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let missing = full.ancestors().take_while(|path| path.canonicalize().is_err());
                let missing = missing.last().ok_or(FileError::NotFound)?;
                if missing.is_symlink() {
                    // It may lead anywhere, once there is something.
                    return Err(FileError::Outside);
                }
                let above = missing.parent().ok_or(FileError::Outside)?;
                inside(above.canonicalize().map_err(|_| FileError::Outside)?)?;
                Err(FileError::NotFound)
            }
            Err(_) => Err(FileError::Outside),
        }
    }

    /// Opens what was found, and nothing that has taken its place behind a
    /// link. A FIFO does not block.
    pub(super) fn open_found(
        &self,
        path: &Path,
        flags: OFlags,
    ) -> Result<(OwnedFd, Stat), FileError> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = self.resolve(path, flags, Links::Refused)?;
        let stat = fstat(&opened)?;
        Ok((opened, stat))
    }

    /// Opens the directory `path` without following links.
    pub(super) fn open_directory(&self, path: &Path) -> Result<OwnedFd, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        self.resolve(path, flags, Links::Refused)
    }

    fn resolve(&self, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, FileError> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        for _ in 0..ATTEMPTS {
            match system::open_beneath(&self.directory, path, flags, links) {
                Err(Errno::AGAIN) => {}
                opened => return Ok(opened?),
            }
        }
        Err(FileError::Conflict("directories above it are being moved"))
    }

    /// Checks that the mode lets a client write `path`, relative to the
    /// workspace with links resolved.
    pub(super) fn check_writable(&self, path: &Path, mode: Mode) -> Result<(), FileError> {
        if mode == Mode::Safe {
            return Err(FileError::ReadOnly(mode));
        }
        if mode == Mode::Unrestricted {
            return Ok(());
        }
        for pattern in GUARDED_FILES {
            let name = pattern.trim_end_matches("/**");
            let is_named = path.components().any(|part| match part {
                Component::Normal(part) => part.eq_ignore_ascii_case(name),
                _ => false,
            });
            // A link by this name may make another directory one that
            // configures the agent.
            let is_target = || {
                let link = rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
                link.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_symlink())
                    && self.find(Path::new(name)).is_ok_and(|found| path.starts_with(found.path))
            };
            if is_named || is_target() {
                return Err(FileError::Guarded { name, mode });
            }
        }
        Ok(())
    }
}
