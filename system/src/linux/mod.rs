//! Linux.

mod descendants;
mod files;
mod watches;

pub use descendants::Descendants;
pub use files::{LOOK, open_beneath, open_directory, path_of};
pub use watches::Watches;

use std::borrow::Cow;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::sockopt::{set_socket_send_buffer_size, set_socket_send_buffer_size_force};
use rustix::net::{RecvFlags, SendFlags};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, getppid,
    pidfd_open, pidfd_send_signal, set_child_subreaper, set_dumpable_behavior,
    set_parent_process_death_signal, wait,
};

use crate::{Woken, poll};

/// Program that makes a sandbox: bubblewrap.
pub const SANDBOX_PROGRAM: Option<&str> = Some("bwrap");

/// Flags by which descriptors are sent. A closed socket is an error, no signal.
pub const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;

/// Flags by which descriptors are received, none of which is left open by
/// `exec`.
pub const RECEIVE_FLAGS: RecvFlags = RecvFlags::CMSG_CLOEXEC;

/// Does nothing: [`RECEIVE_FLAGS`] has done it.
///
/// # Errors
///
/// None on this system.
pub fn close_on_exec(_descriptor: impl AsFd) -> io::Result<()> {
    Ok(())
}

/// Returns the path of `program` for the system: that of the own program stays
/// right when its file is replaced or removed.
///
/// # Errors
///
/// None on this system.
pub fn executable(program: &Path) -> io::Result<Cow<'_, Path>> {
    Ok(Cow::Borrowed(program))
}

/// Keeps other processes of this user from reading the memory and environment
/// of this one. Where this is not supported, nothing changes.
pub fn hide_memory() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Makes descendants whose parents have ended children of this process.
///
/// # Errors
///
/// The system's.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(set_child_subreaper(Some(getpid()))?)
}

/// Names this thread, and before others are started the process.
///
/// # Errors
///
/// The system's.
pub fn set_name(name: &CStr) -> io::Result<()> {
    Ok(rustix::thread::set_name(name)?)
}

/// Has this process killed when the thread ends that has started it. This
/// outlives `exec`.
///
/// # Errors
///
/// The system's.
pub fn end_with_parent() -> io::Result<()> {
    Ok(set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Ends the processes that a supervisor has left when it was killed: on this
/// system they end with it, or become children of this process.
pub fn end_group(_supervisor: u32) {}

/// A child, even after it has been reaped: never another process by its number.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Child {
    /// Refers to the child `pid`, which has not been reaped.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn new(pid: Pid) -> io::Result<Self> {
        Ok(Self { pid, pidfd: pidfd_open(pid, PidfdFlags::empty())? })
    }

    /// Sends a signal. It may have ended, which is no error.
    pub fn signal(&self, signal: Signal) {
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }

    /// Waits for its end, and reaps all other children that end meanwhile.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn wait(&self) -> io::Result<WaitStatus> {
        loop {
            match wait(WaitOptions::empty()) {
                Ok(Some((ended, status))) if ended == self.pid => return Ok(status),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The parent of this process. One in another process namespace is not seen.
#[derive(Debug)]
pub struct Parent(Option<OwnedFd>);

impl Parent {
    /// Begins to watch it. A pidfd, because the parent-death signal would be sent
    /// when the *thread* that started this process ends.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn watch() -> io::Result<Self> {
        Ok(Self(getppid().map(|pid| pidfd_open(pid, PidfdFlags::empty())).transpose()?))
    }

    /// Waits for its end or for `input`.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn wait(&self, input: impl AsFd) -> io::Result<Woken> {
        loop {
            let mut ready = vec![PollFd::new(&input, PollFlags::IN)];
            ready.extend(self.0.as_ref().map(|parent| PollFd::new(parent, PollFlags::IN)));
            poll(&mut ready, None)?;
            if ready.get(1).is_some_and(|parent| !parent.revents().is_empty()) {
                return Ok(Woken::Parent);
            }
            if !ready[0].revents().is_empty() {
                return Ok(Woken::Input);
            }
        }
    }
}

/// Asks for a capacity of a pipe. A smaller one is slower, nothing else; what is
/// no pipe stays as it is.
pub fn set_pipe_capacity(pipe: impl AsFd, bytes: usize) {
    let _ = rustix::pipe::fcntl_setpipe_size(pipe, bytes);
}

/// Returns the capacity of a pipe.
#[must_use]
pub fn pipe_capacity(pipe: impl AsFd) -> Option<usize> {
    rustix::pipe::fcntl_getpipe_size(pipe).ok()
}

/// Asks for a buffer of a socket, with the same effect. Root may go beyond the
/// system's bound.
pub fn set_socket_buffer(socket: impl AsFd, bytes: usize) {
    let socket = socket.as_fd();
    let _ = set_socket_send_buffer_size_force(socket, bytes)
        .or_else(|_| set_socket_send_buffer_size(socket, bytes));
}

/// Returns whether the stdin of the process `pid`, a socket of the inode `inode`,
/// is known to be closed.
#[must_use]
pub fn has_closed_stdin(pid: u32, inode: u64) -> bool {
    match fs::read_link(format!("/proc/{pid}/fd/0")) {
        Ok(target) => target != Path::new(&format!("socket:[{inode}]")),
        // Another user's, or one that hides it.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Returns the memory that a process holds.
#[must_use]
pub fn memory_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
}

/// Makes a file without a name that outlives `exec`.
///
/// # Errors
///
/// The system's.
pub fn memory_file(name: &str) -> io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::empty())?.into())
}
