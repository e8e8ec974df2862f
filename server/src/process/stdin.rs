//! Writing lines to the agent, and tracking those that it has not read.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::ProcessEvent;
use super::channel::StdinWriter;

/// How often an agent that does not read is asked whether it still could.
const CLOSED_CHECK: Duration = Duration::from_millis(500);

/// Lines up to this size are copied to be kept.
const COPY_BYTES: usize = 4 << 10;

/// One line for the agent, with its newline.
#[derive(Debug, Clone)]
pub enum Input {
    /// A message of the client, which is sent to the next agent if this one
    /// ends without reading it.
    Message(Bytes),
    /// A message of the relay, which is meaningless to another process.
    Control(Bytes),
}

/// Lines that have been written and may still be in the pipe.
#[derive(Debug, Default)]
struct Written {
    /// Total number of bytes written.
    total: u64,
    /// Messages with the stream position of their end, oldest first.
    messages: VecDeque<(u64, Bytes)>,
}

impl Written {
    fn record(&mut self, input: Input, capacity: u64) {
        match input {
            Input::Message(line) => {
                self.total += line.len() as u64;
                // A short line would keep the whole buffer that it was read into.
                let line =
                    if line.len() < COPY_BYTES { Bytes::copy_from_slice(&line) } else { line };
                self.messages.push_back((self.total, line));
            }
            Input::Control(line) => self.total += line.len() as u64,
        }
        // Bytes further back than the capacity of the pipe have been read.
        while self.messages.front().is_some_and(|(end, _)| end + capacity <= self.total) {
            self.messages.pop_front();
        }
    }

    fn unread(self, in_pipe: u64) -> impl Iterator<Item = Bytes> {
        let read = self.total.saturating_sub(in_pipe);
        self.messages.into_iter().filter(move |(end, _)| *end > read).map(|(_, line)| line)
    }
}

/// Writes each line completely before it takes the next. Ends when the channel
/// is closed, the agent has closed its end, or `exited` reports the end of the
/// process (true if it exited by itself). Then sends the messages that the
/// agent has not read completely to `unread`.
pub(super) async fn write_loop(
    mut stdin: StdinWriter,
    mut lines: mpsc::Receiver<Input>,
    events: mpsc::Sender<ProcessEvent>,
    mut exited: oneshot::Receiver<bool>,
    unread: oneshot::Sender<Vec<Bytes>>,
) {
    let capacity = stdin.capacity();
    let mut written = Written::default();
    let mut current = None;
    let ended = tokio::select! {
        _ = &mut exited => true,
        () = write(&mut stdin, &mut lines, &mut written, &mut current, capacity) => false,
    };
    let left = if ended {
        stdin.unread()
    } else if current.is_some() {
        // The agent has closed its end. The pipe is kept until the process
        // ends, to count the unread bytes.
        let _ = events.send(ProcessEvent::StdinClosed).await;
        let _ = exited.await;
        stdin.unread()
    } else {
        // The agent is to stop, and closing its stdin is the first step. If it
        // exits by itself, it has read everything; if it had to be killed, it
        // has not.
        let at_close = stdin.unread();
        drop(stdin);
        if exited.await == Ok(true) { 0 } else { at_close }
    };
    let mut messages: Vec<Bytes> = written.unread(left).collect();
    if let Some(Input::Message(line)) = current {
        messages.push(line);
    }
    while let Ok(input) = lines.try_recv() {
        if let Input::Message(line) = input {
            messages.push(line);
        }
    }
    let _ = unread.send(messages);
}

async fn write(
    stdin: &mut StdinWriter,
    lines: &mut mpsc::Receiver<Input>,
    written: &mut Written,
    current: &mut Option<Input>,
    capacity: u64,
) {
    while let Some(input) = lines.recv().await {
        let (Input::Message(line) | Input::Control(line)) = &input;
        let line = line.clone();
        *current = Some(input);
        if write_line(stdin, line).await.is_err() {
            return;
        }
        if let Some(input) = current.take() {
            written.record(input, capacity);
        }
    }
}

/// Writes all of `line`, unless the agent closes its end.
async fn write_line(stdin: &mut StdinWriter, mut line: Bytes) -> io::Result<()> {
    if stdin.is_closed() {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    while !line.is_empty() {
        match timeout(CLOSED_CHECK, stdin.write(&line)).await {
            Ok(written) => line.advance(written?),
            Err(_) if stdin.is_closed() => return Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> Input {
        Input::Message(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_message_that_was_not_read_completely_is_unread() {
        let mut written = Written::default();
        written.record(message("one\n"), 100);
        written.record(Input::Control(Bytes::from_static(b"control\n")), 100);
        written.record(message("two\n"), 100);
        written.record(message("three\n"), 100);
        // All of "three" and the end of "two" are still in the pipe.
        let unread: Vec<Bytes> = written.unread(7).collect();
        assert_eq!(unread, [&b"two\n"[..], b"three\n"]);
    }

    #[test]
    fn only_messages_that_fit_in_the_pipe_are_kept() {
        let mut written = Written::default();
        for _ in 0..1000 {
            written.record(message("0123456789"), 100);
            assert!(written.messages.len() <= 11);
        }
    }
}
