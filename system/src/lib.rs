//! What the programs of claude-relay ask of the operating system beyond POSIX:
//! one implementation for Linux and one for all other systems. No other crate
//! asks which system it is.
//!
//! The second one is compiled on Linux, too: for its own tests, and with the
//! feature `portable` in the place of the first. It has never run elsewhere.

use std::io;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
mod linux;
#[cfg(any(test, feature = "portable", not(target_os = "linux")))]
pub mod portable;

#[cfg(all(target_os = "linux", not(feature = "portable")))]
pub use linux::*;
#[cfg(any(feature = "portable", not(target_os = "linux")))]
pub use portable::*;

/// Name by which a program starts itself. [`executable`] has its path.
pub const OWN_PROGRAM: &str = "/proc/self/exe";

/// A system whose users keep logins in a keychain, which asks before it tells.
pub const HAS_KEYCHAIN: bool = cfg!(target_os = "macos");

/// Treatment of symbolic links in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// They are followed, unless they lead out of the directory.
    Followed,
    /// A path with one is refused.
    Refused,
}

/// What has happened in a watched directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The watch, as [`Watches::add`] has returned it.
    pub watch: i32,
    /// What has happened.
    pub what: Happening,
    /// True if it has happened to a directory.
    pub is_directory: bool,
    /// The name in the directory; empty for the directory itself.
    pub name: Vec<u8>,
}

/// Kind of an [`Event`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// Events are missing.
    Overflow,
    /// The directory itself was removed or moved.
    Ended,
    /// A name was removed, or moved away.
    Removed,
    /// A name was made.
    Made,
    /// Something was moved to a name.
    MovedIn,
    /// A file was written to.
    Modified,
    /// Something else.
    Other,
}

/// Reason for which a wait for the parent or for input is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The parent has ended.
    Parent,
    /// The input can be read, or is closed.
    Input,
}

/// Polls until something is ready, or `timeout` is over.
fn poll(
    ready: &mut [rustix::event::PollFd<'_>],
    timeout: Option<&rustix::event::Timespec>,
) -> io::Result<()> {
    match rustix::event::poll(ready, timeout) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
