//! Files beneath a directory: `openat2`, which lets no link and no race lead out.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2, readlinkat};
use rustix::io::Errno;

use crate::Links;

/// Flag that opens a file to look at it, not to read it.
pub const LOOK: OFlags = OFlags::PATH;

/// Opens a directory, to open files beneath it.
///
/// # Errors
///
/// The system's.
pub fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, LOOK | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens `path` beneath `directory`.
///
/// # Errors
///
/// The system's: `XDEV` if it leads out, `LOOP` at a link that is refused,
/// `AGAIN` while directories above it are being moved, `NOSYS` before Linux 5.6.
pub fn open_beneath(
    directory: impl AsFd,
    path: &Path,
    flags: OFlags,
    links: Links,
) -> Result<OwnedFd, Errno> {
    let mut rules = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    if links == Links::Refused {
        rules |= ResolveFlags::NO_SYMLINKS;
    }
    openat2(directory, path, flags | OFlags::CLOEXEC, Mode::empty(), rules)
}

/// Returns the path of an open file, with links resolved.
///
/// # Errors
///
/// The system's.
pub fn path_of(file: &OwnedFd) -> Result<PathBuf, Errno> {
    let path = readlinkat(CWD, handle_of(file), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

/// Returns the path by which the system finds an open file again.
pub(super) fn handle_of(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}
