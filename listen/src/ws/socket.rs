//! The writing half of a client's socket. Its write loop owns it; the session
//! writes to it at once while the loop has nothing under way, which saves two
//! changes of the task for every message.

use std::io::{self, IoSlice};
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::{Buf as _, Bytes};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;

use super::channels::PriorityMessage;

/// Maximum number of slices per system call.
const MAX_SLICES: usize = 64;

/// Socket of a client, for writing.
#[derive(Debug)]
pub struct Socket {
    half: OwnedWriteHalf,
    /// The write loop is in the middle of a frame.
    is_busy: AtomicBool,
    /// The session has written the beginning of a batch and sent the rest to
    /// the write loop.
    has_rest: AtomicBool,
    /// Size of all that the system has taken.
    written: AtomicU64,
}

impl Socket {
    /// Takes the half of a connection.
    #[must_use]
    pub fn new(half: OwnedWriteHalf) -> Self {
        Self {
            half,
            is_busy: AtomicBool::new(false),
            has_rest: AtomicBool::new(false),
            written: AtomicU64::new(0),
        }
    }

    /// Says whether the write loop is in the middle of a frame.
    pub fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Relaxed);
    }

    /// Returns true while the write loop is in the middle of a frame.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }

    /// Returns true once if the next batch is the rest of one, which must come
    /// before any other frame.
    #[must_use]
    pub fn take_rest(&self) -> bool {
        self.has_rest.swap(false, Ordering::Relaxed)
    }

    /// Writes all bytes. Cancel-safe only between batches.
    ///
    /// # Errors
    ///
    /// Returns the error of the socket.
    pub async fn write_all(&self, batch: &mut Vec<Bytes>) -> io::Result<()> {
        while !batch.is_empty() {
            match self.write(batch) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.half.writable().await?;
                }
                written => written?,
            }
        }
        Ok(())
    }

    /// Writes what the socket takes in one call, and removes it from the batch.
    fn write(&self, batch: &mut Vec<Bytes>) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(batch.iter()) {
            *slice = IoSlice::new(piece);
            used += 1;
        }
        let mut written = self.half.try_write_vectored(&slices[..used])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.written.fetch_add(written as u64, Ordering::Relaxed);
        let mut whole = 0;
        while written > 0 {
            let piece = &mut batch[whole];
            let part = written.min(piece.len());
            piece.advance(part);
            written -= part;
            whole += usize::from(piece.is_empty());
        }
        batch.drain(..whole);
        Ok(())
    }
}

/// Way of the session's batches to a client.
#[derive(Debug)]
pub struct Outlet {
    /// To the write loop, one batch at a time.
    write_loop: mpsc::Sender<Vec<Bytes>>,
    socket: Weak<Socket>,
}

impl Outlet {
    /// Creates the way over a socket and the channel of its write loop.
    #[must_use]
    pub fn new(write_loop: mpsc::Sender<Vec<Bytes>>, socket: Weak<Socket>) -> Self {
        Self { write_loop, socket }
    }

    /// Returns the size of all that the socket has taken, which grows while a client
    /// reads what waits for it.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.socket.upgrade().map_or(0, |socket| socket.written.load(Ordering::Relaxed))
    }

    /// Sends a batch. Returns it, empty, if the socket has taken all of it at
    /// once; otherwise the write loop returns it. What waits in `priority`
    /// comes before it. The end of the connection is reported by its events.
    pub fn send(
        &self,
        priority: &mpsc::Sender<PriorityMessage>,
        mut batch: Vec<Bytes>,
    ) -> Option<Vec<Bytes>> {
        let is_idle = priority.capacity() == priority.max_capacity();
        if let Some(socket) = self.socket.upgrade()
            && is_idle
            && !socket.is_busy()
        {
            // An error is found again by the write loop.
            let is_begun = socket.write(&mut batch).is_ok();
            if batch.is_empty() {
                return Some(batch);
            }
            socket.has_rest.store(is_begun, Ordering::Relaxed);
        }
        let _ = self.write_loop.try_send(batch);
        None
    }
}
