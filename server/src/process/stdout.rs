//! Reading the agent's stdout: complete lines in blocks, then its end.

use bytes::BufMut as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::channel::StdoutReader;
use super::{Output, ProcessEvent, ProcessExit, REAP_TIMEOUT};
use crate::process::lines::{LineBuffer, READ_BYTES};

/// Reads stdout: one permit, one read, one block. Once the permit is available,
/// the block before has been processed and dropped, so its memory can be
/// reused.
///
/// After a long line, the client's write goes before the next read. The line is
/// then still in the processor's cache, and the agent, which writes the next
/// line in one call, can do so without competing for the pipe's lock. For short
/// lines this gained nothing.
pub(super) async fn read_loop(
    mut stdout: StdoutReader,
    output: mpsc::Sender<Output>,
    events: mpsc::Sender<ProcessEvent>,
    mut ended: oneshot::Receiver<ProcessExit>,
) {
    let mut buffer = LineBuffer::default();
    let mut end = None;
    let mut after_long = false;
    'read: while let Ok(permit) = output.reserve().await {
        if after_long {
            // This task is woken when the session takes the block, so before
            // the task of the writer. Yielding lets the writer run first.
            tokio::task::yield_now().await;
        }
        loop {
            let mut spare = buffer.spare().limit(READ_BYTES);
            let read = if end.is_none() {
                tokio::select! {
                    read = stdout.read_buf(&mut spare) => read,
                    exit = &mut ended => {
                        end = exit.ok();
                        continue;
                    }
                }
            } else {
                // The last output is in the pipe. If the pipe stays open,
                // another process holds it.
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
        let _ = output.send(Output::Exited(end)).await;
    }
}
