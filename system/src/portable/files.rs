//! Files beneath a directory and watches: none, because nothing that POSIX has
//! keeps a path inside.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::{Event, Links};

/// Flag that opens a file to look at it: to read it, on this system.
pub const LOOK: OFlags = OFlags::RDONLY;

/// Fails: no file could be opened beneath it.
///
/// # Errors
///
/// Always `NOSYS`.
pub fn open_directory(_path: &Path) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// Fails.
///
/// # Errors
///
/// Always `NOSYS`.
pub fn open_beneath(
    _directory: impl AsFd,
    _path: &Path,
    _flags: OFlags,
    _links: Links,
) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

/// Fails.
///
/// # Errors
///
/// Always `NOSYS`.
pub fn path_of(_file: &OwnedFd) -> Result<PathBuf, Errno> {
    Err(Errno::NOSYS)
}

/// Watched directories: there are none.
#[derive(Debug)]
pub struct Watches(Infallible);

impl Watches {
    /// Fails.
    ///
    /// # Errors
    ///
    /// Always `NOSYS`.
    pub fn new() -> Result<Self, Errno> {
        Err(Errno::NOSYS)
    }

    /// Returns a descriptor that is readable when something has happened.
    ///
    /// # Errors
    ///
    /// None: there is no such value.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        match self.0 {}
    }

    /// Watches a directory.
    ///
    /// # Errors
    ///
    /// None: there is no such value.
    pub fn add(&self, _directory: &OwnedFd) -> Result<i32, Errno> {
        match self.0 {}
    }

    /// Ends a watch.
    pub fn remove(&self, _watch: i32) {
        match self.0 {}
    }

    /// Takes events that have happened.
    ///
    /// # Errors
    ///
    /// None: there is no such value.
    pub fn events(&self) -> Result<Option<Vec<Event>>, Errno> {
        match self.0 {}
    }
}
