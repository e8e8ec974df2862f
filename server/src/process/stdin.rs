//! Writing to the agent: a line at a time, whole, and remembering what it has
//! not read.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::ProcessEvent;

/// One line for the agent, its newline included.
#[derive(Debug, Clone)]
pub enum Input {
    /// A message of the client: handed on if the agent ends without reading it.
    Message(Bytes),
    /// Something of the relay's own, of no use to another process.
    Control(Bytes),
}

/// What has been written and may lie in the pipe unread.
#[derive(Debug, Default)]
struct Written {
    /// Bytes written in all.
    total: u64,
    /// Messages and where each one ends, oldest first.
    messages: VecDeque<(u64, Bytes)>,
}

impl Written {
    fn record(&mut self, input: Input, capacity: u64) {
        match input {
            Input::Message(line) => {
                self.total += line.len() as u64;
                self.messages.push_back((self.total, line));
            }
            Input::Control(line) => self.total += line.len() as u64,
        }
        // What lies further back than the pipe holds has been read.
        while self.messages.front().is_some_and(|(end, _)| end + capacity <= self.total) {
            self.messages.pop_front();
        }
    }

    fn unread(self, in_pipe: u64) -> impl Iterator<Item = Bytes> {
        let read = self.total.saturating_sub(in_pipe);
        self.messages.into_iter().filter(move |(end, _)| *end > read).map(|(_, line)| line)
    }
}

/// Writes each line whole before it takes the next, until there is none, the
/// agent has closed its end, or `over` says that it has ended, and whether by
/// exiting. Then `unread` gets the messages that the agent has not read to
/// their end.
pub(super) async fn write_loop(
    mut stdin: pipe::Sender,
    mut lines: mpsc::Receiver<Input>,
    events: mpsc::Sender<ProcessEvent>,
    mut over: oneshot::Receiver<bool>,
    unread: oneshot::Sender<Vec<Bytes>>,
) {
    let capacity = rustix::pipe::fcntl_getpipe_size(&stdin).unwrap_or(1 << 20) as u64;
    let mut written = Written::default();
    let mut current = None;
    let ended = tokio::select! {
        _ = &mut over => true,
        () = write(&mut stdin, &mut lines, &mut written, &mut current, capacity) => false,
    };
    let in_pipe = |stdin: &pipe::Sender| rustix::io::ioctl_fionread(stdin).unwrap_or(0);
    let left = if ended {
        in_pipe(&stdin)
    } else if current.is_some() {
        // The agent has closed its end. What it will do next shows itself;
        // until then the pipe stays as it is.
        let _ = events.send(ProcessEvent::StdinClosed).await;
        let _ = over.await;
        in_pipe(&stdin)
    } else {
        // It is to stop: the end of its input is the first step. One that
        // then exits has read what was before that end; one that had to be
        // killed has not.
        let before_the_end = in_pipe(&stdin);
        drop(stdin);
        if over.await == Ok(true) { 0 } else { before_the_end }
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
    stdin: &mut pipe::Sender,
    lines: &mut mpsc::Receiver<Input>,
    written: &mut Written,
    current: &mut Option<Input>,
    capacity: u64,
) {
    while let Some(input) = lines.recv().await {
        let (Input::Message(line) | Input::Control(line)) = &input;
        let line = line.clone();
        *current = Some(input);
        if stdin.write_all(&line).await.is_err() {
            return;
        }
        if let Some(input) = current.take() {
            written.record(input, capacity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &'static str) -> Input {
        Input::Message(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn what_was_not_read_to_its_end_is_unread() {
        let mut written = Written::default();
        written.record(message("one\n"), 100);
        written.record(Input::Control(Bytes::from_static(b"control\n")), 100);
        written.record(message("two\n"), 100);
        written.record(message("three\n"), 100);
        // "three" whole and the end of "two" are still in the pipe.
        let unread: Vec<Bytes> = written.unread(7).collect();
        assert_eq!(unread, [&b"two\n"[..], b"three\n"]);
    }

    #[test]
    fn only_what_the_pipe_can_hold_is_remembered() {
        let mut written = Written::default();
        for _ in 0..1000 {
            written.record(message("0123456789"), 100);
            assert!(written.messages.len() <= 11);
        }
    }
}
