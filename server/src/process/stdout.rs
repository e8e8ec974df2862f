//! Reading the agent's stdout: whole lines, a block at a time, and its end
//! behind the last.

use bytes::BufMut as _;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Ended, Output, ProcessEvent, REAP_TIMEOUT};
use crate::process::lines::{LineBuffer, READ_BYTES};

/// Reads stdout: one permit, one read, one block. Asking for the permit first
/// means that the block before has been dealt with and dropped, so the memory
/// it lay in is free again.
///
/// After a long line the client is written to before more is read. The line is
/// then still in the processor's cache, and the agent, which writes all of the
/// next one at once, has the time to do so: who reads at once waits for the
/// pipe's lock meanwhile. With short lines nothing was gained.
pub(super) async fn read_loop(
    mut stdout: pipe::Receiver,
    output: mpsc::Sender<Output>,
    events: mpsc::Sender<ProcessEvent>,
    mut ended: oneshot::Receiver<Ended>,
) {
    let mut buffer = LineBuffer::default();
    let mut end = None;
    let mut after_long = false;
    'read: while let Ok(permit) = output.reserve().await {
        if after_long {
            // This task is woken when the session takes the block, so before
            // the writer, which now goes first.
            tokio::task::yield_now().await;
        }
        loop {
            let mut spare = buffer.spare().limit(READ_BYTES);
            let read = if end.is_none() {
                tokio::select! {
                    read = stdout.read_buf(&mut spare) => read,
                    news = &mut ended => {
                        end = news.ok();
                        continue;
                    }
                }
            } else {
                // What it said last is in the pipe; an end that stays open
                // belongs to somebody else.
                timeout(REAP_TIMEOUT, stdout.read_buf(&mut spare)).await.unwrap_or(Ok(0))
            };
            match read {
                Ok(0) | Err(_) => break 'read,
                Ok(_) => {}
            }
            if let Some(block) = buffer.take() {
                after_long = block.begins_long();
                permit.send(Output::Lines(block));
                break;
            }
        }
    }
    if let Some(block) = buffer.finish() {
        let _ = output.send(Output::Lines(block)).await;
    }
    if end.is_none() {
        let _ = events.send(ProcessEvent::StdoutClosed).await;
        end = ended.await.ok();
    }
    if let Some(end) = end {
        let _ = output.send(Output::Ended(end)).await;
    }
}
