//! Passing three descriptors over a Unix socket.
//!
//! The server creates the agent's pipes, the supervisor starts the agent, and
//! an intermediate step sets the parent-death signal before it executes the
//! agent's image. The pipes are passed along as descriptors, so that no process
//! in between copies bytes. Every copy except the agent's is closed, because an
//! open one would hide that the agent has closed its end.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use claude_relay_system::{self as system, RECEIVE_FLAGS, SEND_FLAGS};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer, SendAncillaryMessage, recvmsg,
    sendmsg,
};

/// The agent's ends of stdin, stdout and stderr.
#[derive(Debug)]
pub struct Stdio {
    /// Stdin, to read from.
    pub stdin: OwnedFd,
    /// Stdout, to write to.
    pub stdout: OwnedFd,
    /// Stderr, to write to.
    pub stderr: OwnedFd,
}

/// Descriptors can only be sent together with at least one byte.
const PAYLOAD: &[u8] = b"s";

impl Stdio {
    /// Sends the descriptors over `socket` and closes the caller's copies.
    ///
    /// # Errors
    ///
    /// Returns an error if the other end is closed.
    pub fn send(self, socket: impl AsFd) -> io::Result<()> {
        let descriptors: [BorrowedFd<'_>; 3] =
            [self.stdin.as_fd(), self.stdout.as_fd(), self.stderr.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        message.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(socket, &[IoSlice::new(PAYLOAD)], &mut message, SEND_FLAGS)?;
        Ok(())
    }

    /// Receives the descriptors from `socket`, with close-on-exec set.
    ///
    /// # Errors
    ///
    /// Returns an error if the other end is closed or sent something else.
    pub fn receive(socket: impl AsFd) -> io::Result<Self> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let mut payload = [0];
        recvmsg(socket, &mut [IoSliceMut::new(&mut payload)], &mut message, RECEIVE_FLAGS)?;
        let mut descriptors = message
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten();
        match (descriptors.next(), descriptors.next(), descriptors.next()) {
            (Some(stdin), Some(stdout), Some(stderr)) => {
                for descriptor in [&stdin, &stdout, &stderr] {
                    system::close_on_exec(descriptor)?;
                }
                Ok(Self { stdin, stdout, stderr })
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "expected three descriptors")),
        }
    }
}
