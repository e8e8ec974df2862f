//! The write loop of a connection.

use std::io::IoSlice;

use bytes::{Buf as _, Bytes};
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::connection::CLOSE_TIMEOUT;
use super::frame;
use crate::session::channels::{Close, PriorityMessage};

/// Maximum number of slices per system call.
const MAX_SLICES: usize = 64;

const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Capacity for small frames that is kept after a large answer.
const KEPT_BYTES: usize = 1 << 20;

/// Writes batches of encoded frames from the session and returns each spent
/// batch for reuse, which asks for the next one. Priority messages are sent
/// between batches. Returns true after a close frame, and false when the
/// session has dropped its channel or the socket has failed.
pub(super) async fn write_loop(
    mut socket: OwnedWriteHalf,
    mut priority: mpsc::Receiver<PriorityMessage>,
    mut data: mpsc::Receiver<Vec<Bytes>>,
    spent: mpsc::Sender<Vec<Bytes>>,
) -> bool {
    let mut small = Vec::new();
    loop {
        let batch = tokio::select! {
            biased;
            frame = priority.recv() => {
                let Some(frame) = frame else { return false };
                small.clear();
                let mut last = encode(&frame, &mut small);
                while !last && let Ok(frame) = priority.try_recv() {
                    last = encode(&frame, &mut small);
                }
                if write_small(&mut socket, &small, &mut data).await.is_err() {
                    return false;
                }
                if small.capacity() > KEPT_BYTES {
                    small = Vec::new();
                }
                if last {
                    return true;
                }
                continue;
            }
            batch = data.recv() => batch,
        };
        let Some(mut batch) = batch else { return false };
        if write_batch(&mut socket, &mut batch, &mut data).await.is_err() {
            return false;
        }
        batch.clear();
        if spent.send(batch).await.is_err() {
            // The session has released this client; a close frame may be on its
            // way.
            data.close();
        }
    }
}

/// Writes all frames of a batch, many per system call.
async fn write_batch(
    socket: &mut OwnedWriteHalf,
    batch: &mut [Bytes],
    data: &mut mpsc::Receiver<Vec<Bytes>>,
) -> std::io::Result<()> {
    let mut first = 0;
    let mut drain = DrainTimer::default();
    while first < batch.len() {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(&batch[first..]) {
            *slice = IoSlice::new(piece);
            used += 1;
        }
        let mut written = tokio::select! {
            biased;
            written = socket.write_vectored(&slices[..used]) => written?,
            () = drain.expired(data) => return Err(std::io::ErrorKind::TimedOut.into()),
        };
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        while written > 0 {
            let piece = &mut batch[first];
            let part = written.min(piece.len());
            piece.advance(part);
            written -= part;
            if piece.is_empty() {
                first += 1;
            }
        }
    }
    Ok(())
}

async fn write_small(
    socket: &mut OwnedWriteHalf,
    bytes: &[u8],
    data: &mut mpsc::Receiver<Vec<Bytes>>,
) -> std::io::Result<()> {
    let mut drain = DrainTimer::default();
    tokio::select! {
        biased;
        written = socket.write_all(bytes) => written,
        () = drain.expired(data) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

/// Deadline for a write after the session has released the client. Before that,
/// a client that does not read may block a write without limit.
#[derive(Default)]
struct DrainTimer {
    deadline: Option<Instant>,
}

impl DrainTimer {
    /// Waits until the session has dropped its channel and the timeout has
    /// passed. No batch arrives on `data` during a write, because the session
    /// sends the next one only on request.
    async fn expired(&mut self, data: &mut mpsc::Receiver<Vec<Bytes>>) {
        let deadline = match self.deadline {
            Some(deadline) => deadline,
            None => {
                while data.recv().await.is_some() {}
                *self.deadline.insert(Instant::now() + CLOSE_TIMEOUT)
            }
        };
        sleep_until(deadline).await;
    }
}

/// Appends the frame. Returns true for a close frame, which is the last one.
fn encode(message: &PriorityMessage, out: &mut Vec<u8>) -> bool {
    match message {
        PriorityMessage::Text(text) | PriorityMessage::Answer(text, _) => {
            push(out, frame::TEXT, text.as_bytes())
        }
        PriorityMessage::Ping => push(out, PING, &[]),
        PriorityMessage::Pong(payload) => push(out, PONG, payload),
        PriorityMessage::Close(Close { code, reason }) => {
            let mut payload = Vec::new();
            if let Some(code) = code {
                payload.extend_from_slice(&code.to_be_bytes());
                payload.extend_from_slice(reason.as_bytes());
            }
            push(out, CLOSE, &payload);
            return true;
        }
    }
    false
}

fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    let (head, head_bytes) = frame::header(opcode, payload.len());
    out.extend_from_slice(&head[..head_bytes]);
    out.extend_from_slice(payload);
}
