//! Three descriptors passed over a Unix socket.
//!
//! The server makes the agent's pipes, the supervisor starts the agent, and the
//! agent's own image is started by a step that must first set a parent-death
//! signal. The pipes travel down that chain as descriptors, so that no process
//! in between stands in the way of the bytes, and every copy that is not the
//! agent's is closed: an end that somebody else held open would hide that the
//! agent has closed it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The agent's ends of its stdin, stdout and stderr.
#[derive(Debug)]
pub struct Stdio {
    /// Its stdin, to read from.
    pub stdin: OwnedFd,
    /// Its stdout, to write to.
    pub stdout: OwnedFd,
    /// Its stderr, to write to.
    pub stderr: OwnedFd,
}

/// A descriptor cannot travel without a byte beside it.
const COMPANION: &[u8] = b"s";

impl Stdio {
    /// Passes the three over `socket`; the caller's own copies are closed.
    ///
    /// # Errors
    ///
    /// When the other end is gone.
    pub fn send(self, socket: impl AsFd) -> io::Result<()> {
        let descriptors: [BorrowedFd<'_>; 3] =
            [self.stdin.as_fd(), self.stdout.as_fd(), self.stderr.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        message.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(socket, &[IoSlice::new(COMPANION)], &mut message, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Takes the three from `socket`. They are not passed on to programs that
    /// are started later.
    ///
    /// # Errors
    ///
    /// When the other end is gone or sent something else.
    pub fn receive(socket: impl AsFd) -> io::Result<Self> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut message = RecvAncillaryBuffer::new(&mut space);
        let mut companion = [0];
        recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut companion)],
            &mut message,
            RecvFlags::CMSG_CLOEXEC,
        )?;
        let mut descriptors = message
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten();
        match (descriptors.next(), descriptors.next(), descriptors.next()) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok(Self { stdin, stdout, stderr }),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no three descriptors came")),
        }
    }
}
