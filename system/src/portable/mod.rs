//! Systems other than Linux, as far as POSIX and `ps` reach.
//!
//! It is weaker than the one for Linux where such a system has nothing alike. A
//! process that leaves the agent's process group and loses its parent between two
//! looks at the processes is not found. An agent whose supervisor was killed is
//! ended by the server, and outlives both if the server was killed, too. Other
//! processes of the user may read the server's memory. Nothing confines paths to a
//! directory, so that no file beneath one is opened, and no directory is watched.

mod descendants;
mod files;

use std::borrow::Cow;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getppid, kill_process,
    kill_process_group, wait, waitid,
};

pub use descendants::Descendants;
pub use files::{LOOK, Watches, open_beneath, open_directory, path_of};

use crate::{OWN_PROGRAM, Woken, poll};

/// Interval between two looks at the parent.
const PARENT_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// Capacity of a pipe where nothing tells it.
const PIPE_BYTES: usize = 64 << 10;

/// There is none.
pub const SANDBOX_PROGRAM: Option<&str> = None;

/// Flags by which descriptors are sent: programs in Rust ignore the signal of a
/// closed socket.
pub const SEND_FLAGS: SendFlags = SendFlags::empty();

/// Flags by which descriptors are received, each of which is then given to
/// [`close_on_exec`].
pub const RECEIVE_FLAGS: RecvFlags = RecvFlags::empty();

/// Closes a descriptor at `exec`. Another thread may have executed a program
/// before.
///
/// # Errors
///
/// The system's.
pub fn close_on_exec(descriptor: impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfd(descriptor, FdFlags::CLOEXEC)?)
}

/// Returns the path of `program` for the system. That of the own program is
/// wrong once its file has been moved.
///
/// # Errors
///
/// The own path cannot be found.
pub fn executable(program: &Path) -> io::Result<Cow<'_, Path>> {
    match program == Path::new(OWN_PROGRAM) {
        true => Ok(Cow::Owned(std::env::current_exe()?)),
        false => Ok(Cow::Borrowed(program)),
    }
}

/// Does nothing.
pub fn hide_memory() {}

/// Does nothing: [`Descendants`] looks for orphans.
///
/// # Errors
///
/// None.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

/// Does nothing.
///
/// # Errors
///
/// None.
pub fn set_name(_name: &CStr) -> io::Result<()> {
    Ok(())
}

/// Does nothing: see [`end_group`].
///
/// # Errors
///
/// None.
pub fn end_with_parent() -> io::Result<()> {
    Ok(())
}

/// Ends the process group that a supervisor has left when it was killed. It was
/// named after the supervisor, and its name is not given away as long as one of
/// its processes is left.
pub fn end_group(supervisor: u32) {
    let group = i32::try_from(supervisor).ok().and_then(Pid::from_raw);
    if let Some(group) = group.filter(|group| *group != Pid::INIT) {
        // Nothing may be left of it.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// A child: a signal and its reaping exclude each other, so that no signal
/// reaches another process by its number.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    is_reaped: Mutex<bool>,
}

impl Child {
    /// Refers to the child `pid`, which has not been reaped.
    ///
    /// # Errors
    ///
    /// None.
    pub fn new(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid, is_reaped: Mutex::new(false) })
    }

    /// Sends a signal. It may have ended, which is no error.
    pub fn signal(&self, signal: Signal) {
        let is_reaped = self.is_reaped.lock().unwrap_or_else(PoisonError::into_inner);
        if !*is_reaped {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Waits for its end, and reaps all other children that end meanwhile.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn wait(&self) -> io::Result<WaitStatus> {
        loop {
            match waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut is_reaped = self.is_reaped.lock().unwrap_or_else(PoisonError::into_inner);
            match wait(WaitOptions::NOHANG) {
                Ok(Some((ended, status))) if ended == self.pid => {
                    *is_reaped = true;
                    return Ok(status);
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The parent of this process.
#[derive(Debug)]
pub struct Parent(Option<Pid>);

impl Parent {
    /// Begins to watch it.
    ///
    /// # Errors
    ///
    /// None.
    pub fn watch() -> io::Result<Self> {
        Ok(Self(getppid()))
    }

    /// Waits for its end, which is seen by the parent that takes its place, or for
    /// `input`.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn wait(&self, input: impl AsFd) -> io::Result<Woken> {
        loop {
            let mut ready = [PollFd::new(&input, PollFlags::IN)];
            poll(&mut ready, Some(&PARENT_INTERVAL))?;
            if getppid() != self.0 {
                return Ok(Woken::Parent);
            }
            if !ready[0].revents().is_empty() {
                return Ok(Woken::Input);
            }
        }
    }
}

/// Does nothing: the capacity of a pipe is the system's.
pub fn set_pipe_capacity(_pipe: impl AsFd, _bytes: usize) {}

/// Returns the capacity of a pipe, as far as one is known.
#[must_use]
pub fn pipe_capacity(_pipe: impl AsFd) -> Option<usize> {
    Some(PIPE_BYTES)
}

/// Asks for a buffer of a socket. A smaller one is slower, nothing else.
pub fn set_socket_buffer(socket: impl AsFd, bytes: usize) {
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(socket, bytes);
}

/// Returns false: nothing tells of it.
#[must_use]
pub fn has_closed_stdin(_pid: u32, _inode: u64) -> bool {
    false
}

/// Returns `None`: nothing tells of it at once.
#[must_use]
pub fn memory_bytes(_pid: u32) -> Option<u64> {
    None
}

/// Fails: what it is for exists on Linux alone.
///
/// # Errors
///
/// Always.
pub fn memory_file(_name: &str) -> io::Result<File> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
