//! The agent's stdin and stdout: pipes or sockets.
//!
//! Whoever runs as the agent's user can open a pipe of it by
//! `/proc/PID/fd/0` and write into it: its own tools could answer its questions
//! and speak in its name. A socket cannot be opened so.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use bytes::BufMut;
use claude_relay_system as system;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

use super::PIPE_BYTES;

/// How the agent's stdin and stdout are made. Its stderr is always a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Pipes: the fastest.
    Pipes,
    /// Sockets, which nobody can open.
    Sockets,
}

/// The id of the agent's process, once it runs.
pub(super) type AgentPid = Arc<OnceLock<u32>>;

/// The more a socket may hold at once. What the agent has not read is at most
/// this; the system's own bound is far below.
const SOCKET_BYTES: u64 = 64 << 20;

/// The writing end of the agent's stdin.
#[derive(Debug)]
pub(super) enum StdinWriter {
    /// A pipe.
    Pipe(pipe::Sender),
    /// A socket.
    Socket {
        /// The end to write to.
        ours: UnixStream,
        /// A copy of the agent's end: the bytes in it are those that the agent
        /// has not read.
        theirs: OwnedFd,
        /// The inode of the agent's end.
        inode: u64,
        /// The agent.
        agent: AgentPid,
    },
}

/// The reading end of the agent's stdout.
#[derive(Debug)]
pub(super) enum StdoutReader {
    /// A pipe.
    Pipe(pipe::Receiver),
    /// A socket.
    Socket(UnixStream),
}

/// Makes the agent's stdin: its end and ours.
pub(super) fn stdin(channel: Channel, agent: AgentPid) -> io::Result<(OwnedFd, StdinWriter)> {
    match channel {
        Channel::Pipes => {
            let (theirs, ours) = io::pipe()?;
            Ok((theirs.into(), StdinWriter::Pipe(pipe::Sender::from_owned_fd(ours.into())?)))
        }
        Channel::Sockets => {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            let inode = rustix::fs::fstat(&theirs)?.st_ino;
            let copy = theirs.as_fd().try_clone_to_owned()?;
            let ours = UnixStream::from_std(ours)?;
            let writer = StdinWriter::Socket { ours, theirs: copy, inode, agent };
            Ok((theirs.into(), writer))
        }
    }
}

/// Makes the agent's stdout: its end and ours.
pub(super) fn stdout(channel: Channel) -> io::Result<(OwnedFd, StdoutReader)> {
    match channel {
        Channel::Pipes => {
            let (ours, theirs) = io::pipe()?;
            system::set_pipe_capacity(&ours, PIPE_BYTES);
            Ok((theirs.into(), StdoutReader::Pipe(pipe::Receiver::from_owned_fd(ours.into())?)))
        }
        Channel::Sockets => {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            ours.set_nonblocking(true)?;
            system::set_socket_buffer(&theirs, PIPE_BYTES);
            Ok((theirs.into(), StdoutReader::Socket(UnixStream::from_std(ours)?)))
        }
    }
}

impl StdinWriter {
    /// Returns how many bytes the agent may have left unread at most.
    pub(super) fn capacity(&self) -> u64 {
        match self {
            Self::Pipe(pipe) => system::pipe_capacity(pipe).unwrap_or(1 << 20) as u64,
            Self::Socket { .. } => SOCKET_BYTES,
        }
    }

    /// Returns how many bytes the agent has left unread.
    pub(super) fn unread(&self) -> u64 {
        let count = match self {
            Self::Pipe(pipe) => rustix::io::ioctl_fionread(pipe),
            Self::Socket { theirs, .. } => rustix::io::ioctl_fionread(theirs),
        };
        count.unwrap_or(0)
    }

    /// Writes some of `bytes`. It can be dropped half-way.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.write(bytes).await,
            Self::Socket { ours, .. } => ours.write(bytes).await,
        }
    }

    /// Returns whether the agent is known to have closed its end. A pipe says
    /// so when it is written to; of a socket there is a copy of that end here.
    pub(super) fn is_closed(&self) -> bool {
        let Self::Socket { inode, agent, .. } = self else { return false };
        agent.get().is_some_and(|pid| system::has_closed_stdin(*pid, *inode))
    }
}

impl StdoutReader {
    /// Reads what there is. It can be dropped half-way.
    pub(super) async fn read_buf(&mut self, buffer: &mut impl BufMut) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.read_buf(buffer).await,
            Self::Socket(socket) => socket.read_buf(buffer).await,
        }
    }
}
