//! Reading the agent's stderr at any rate, and passing on a bounded part of it.

use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use memchr::{memchr, memchr_iter};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{Diagnostics, ProcessEvent};
use crate::process::limiter::Limiter;

/// Size of the tail that is reported when the agent exits.
const TAIL_BYTES: usize = 4 << 10;

/// Maximum length of a line. Longer ones are split.
const MAX_LINE_BYTES: usize = 8 << 10;

/// The same where all lines are passed on.
const MAX_WHOLE_LINE_BYTES: usize = 1 << 20;

/// Timeout after which an incomplete line is passed on: it may be a prompt, or
/// the last output.
const PARTIAL_LINE_TIMEOUT: Duration = Duration::from_millis(200);

/// Maximum size of a read: four times the default pipe. Large reads keep
/// diagnostics from taking many turns of the executor.
const READ_BYTES: usize = 256 << 10;

/// Reads to the end, then sends the last [`TAIL_BYTES`] to `tail`.
pub(super) async fn read_loop(
    mut stderr: pipe::Receiver,
    diagnostics: Diagnostics,
    events: mpsc::Sender<ProcessEvent>,
    tail: oneshot::Sender<Vec<u8>>,
) {
    let mut last = Vec::with_capacity(TAIL_BYTES);
    let mut pending = BytesMut::new();
    let (max_line_bytes, mut limiter) = match diagnostics {
        Diagnostics::Limited => (MAX_LINE_BYTES, Some(Limiter::new(Instant::now()))),
        Diagnostics::All => (MAX_WHOLE_LINE_BYTES, None),
    };
    loop {
        pending.reserve(READ_BYTES);
        let before = pending.len();
        let read = stderr.read_buf(&mut pending);
        let has_dropped = limiter.as_ref().is_some_and(Limiter::has_dropped);
        let read = if before > 0 || has_dropped {
            match timeout(PARTIAL_LINE_TIMEOUT, read).await {
                Ok(read) => read,
                Err(_) => {
                    pass(&pending, &mut limiter, &events).await;
                    pending.clear();
                    report_dropped(&mut limiter, &events).await;
                    continue;
                }
            }
        } else {
            read.await
        };
        if !matches!(read, Ok(1..)) {
            break;
        }
        keep_tail(&mut last, &pending[before..]);
        if let Some(limiter) = &mut limiter
            && limiter.is_exhausted(Instant::now())
        {
            limiter.drop_lines(memchr_iter(b'\n', &pending).count() as u64);
            pending.clear();
            continue;
        }
        while let Some(end) = memchr(b'\n', &pending)
            .map(|newline| newline + 1)
            .or_else(|| (pending.len() >= max_line_bytes).then_some(max_line_bytes))
        {
            for piece in pending[..end].chunks(max_line_bytes) {
                pass(piece, &mut limiter, &events).await;
            }
            pending.advance(end);
        }
    }
    if !pending.is_empty() {
        pass(&pending, &mut limiter, &events).await;
    }
    report_dropped(&mut limiter, &events).await;
    let _ = tail.send(last);
}

/// Reports the number of dropped lines, if there are any.
async fn report_dropped(limiter: &mut Option<Limiter>, events: &mpsc::Sender<ProcessEvent>) {
    let dropped = limiter.as_mut().map_or(0, Limiter::take_dropped);
    if dropped > 0 {
        let _ = events.send(ProcessEvent::StderrDropped(dropped)).await;
    }
}

/// Passes a line on if the rate limit allows it, preceded by the number of
/// dropped lines.
async fn pass(line: &[u8], limiter: &mut Option<Limiter>, events: &mpsc::Sender<ProcessEvent>) {
    let mut line = line.strip_suffix(b"\n").unwrap_or(line);
    if let Some(limiter) = limiter {
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || !limiter.admit(line.len(), Instant::now()) {
            return;
        }
    }
    report_dropped(limiter, events).await;
    let _ = events.send(ProcessEvent::Stderr(String::from_utf8_lossy(line).into_owned())).await;
}

/// Appends to the tail and keeps its last [`TAIL_BYTES`].
fn keep_tail(tail: &mut Vec<u8>, more: &[u8]) {
    let more = &more[more.len().saturating_sub(TAIL_BYTES)..];
    let surplus = (tail.len() + more.len()).saturating_sub(TAIL_BYTES);
    tail.drain(..surplus);
    tail.extend_from_slice(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dropped_lines_are_counted_although_no_line_follows() {
        let (mut to, from) = pipe::pipe().unwrap();
        let (events_to, mut events) = mpsc::channel(1);
        let (tail_to, _tail) = oneshot::channel();
        tokio::spawn(read_loop(from, Diagnostics::Limited, events_to, tail_to));
        let writing = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt as _;
            to.write_all("a line\n".repeat(100_000).as_bytes()).await.unwrap();
            to
        });
        let (mut lines, mut dropped) = (0, 0);
        while lines + dropped < 100_000 {
            match timeout(Duration::from_secs(30), events.recv()).await.unwrap() {
                Some(ProcessEvent::Stderr(_)) => lines += 1,
                Some(ProcessEvent::StderrDropped(count)) => dropped += count,
                other => panic!("{other:?}"),
            }
        }
        assert!(dropped > 0);
        // It is still open: the count did not come with its end.
        drop(writing.await.unwrap());
    }

    #[test]
    fn the_tail_is_the_end_of_everything() {
        let mut tail = Vec::new();
        let mut all = Vec::new();
        for length in [0, 1, 100, 4000, 96, 5000, 10, 4096, 4095] {
            let more: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            keep_tail(&mut tail, &more);
            all.extend(more);
            assert_eq!(tail, all[all.len().saturating_sub(TAIL_BYTES)..]);
        }
    }
}
