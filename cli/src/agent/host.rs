//! The program that has started this one: its three descriptors, each in a
//! thread, because they can be of any kind and may block.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::os::fd::AsFd;
use std::time::Duration;

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::{mpsc, watch};

/// The longest line of the program.
const LINE_BYTES: usize = (64 << 20) - 1024;

/// Time for the program's first line, where there is nothing but a failure.
pub(super) const FIRST_LINE_LIMIT: Duration = Duration::from_millis(500);

/// The stack of a thread whose call depth is small.
const STACK_BYTES: usize = 128 << 10;

/// The most bytes that are put together for one write.
const WRITE_BYTES: usize = 256 << 10;

/// Input of the program.
#[derive(Debug)]
pub(super) enum FromHost {
    /// A line, without its newline.
    Line(String),
    /// The end.
    End,
    /// It cannot be passed on, for this reason.
    Bad(String),
    /// The program reads no more: it has gone.
    Gone,
}

/// Output for the program.
#[derive(Debug)]
pub(super) struct ToHost {
    /// The number of its message.
    pub(super) seq: u64,
    pub(super) stream: Stream,
    /// A line without its newline.
    pub(super) line: Bytes,
}

/// Where a line goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// What has been written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Written {
    /// The number of the last message.
    pub(super) seq: u64,
    /// All bytes so far.
    pub(super) bytes: u64,
    /// Stdout cannot be written.
    pub(super) failed: bool,
}

/// Writes one line to stderr.
pub(super) fn say(text: &str) {
    // With stderr closed nobody is told.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Waits until the program has said something, closed stdin, or `limit` has passed.
/// One that fails before the program has written its first line would have it fail
/// for the writing, without the reason.
pub(super) fn await_input(limit: Duration) {
    let stdin = io::stdin();
    let fd = stdin.as_fd();
    let limit = Timespec::try_from(limit).ok();
    // Whatever comes of it, the program ends.
    let _ = poll(&mut [PollFd::new(&fd, PollFlags::IN)], limit.as_ref());
}

/// Reads stdin to its end, one line at a time.
pub(super) fn read_stdin(to: mpsc::Sender<FromHost>) -> io::Result<()> {
    spawn(move || {
        let mut stdin = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = (&mut stdin).take(LINE_BYTES as u64 + 1).read_until(b'\n', &mut line);
            let input = match read {
                Ok(0) | Err(_) => FromHost::End,
                Ok(bytes) if bytes > LINE_BYTES => FromHost::Bad(format!(
                    "a line of stdin is over the limit of {LINE_BYTES} bytes"
                )),
                Ok(_) => match parse(line) {
                    Some(input) => input,
                    None => continue,
                },
            };
            let is_last = !matches!(input, FromHost::Line(_));
            if to.blocking_send(input).is_err() || is_last {
                return;
            }
        }
    })
}

/// Reads a line; blank ones mean nothing.
fn parse(line: Vec<u8>) -> Option<FromHost> {
    let bad = |reason: &str| FromHost::Bad(format!("a line of stdin is no JSON: {reason}"));
    let Ok(mut line) = String::from_utf8(line) else { return Some(bad("it is not UTF-8")) };
    line.truncate(line.trim_end().len());
    if line.is_empty() {
        return None;
    }
    match serde_json::from_str::<&serde_json::value::RawValue>(&line) {
        Ok(_) => Some(FromHost::Line(line)),
        Err(error) => Some(bad(&error.to_string())),
    }
}

/// Tells when nobody can read stdout any more.
pub(super) fn watch_stdout(to: mpsc::Sender<FromHost>) -> io::Result<()> {
    spawn(move || {
        let stdout = io::stdout();
        let fd = stdout.as_fd();
        let mut fds = [PollFd::new(&fd, PollFlags::empty())];
        loop {
            match poll(&mut fds, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
        let gone = fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP);
        if gone {
            let _ = to.blocking_send(FromHost::Gone);
        }
    })
}

/// Writes lines in order until the channel closes.
pub(super) fn write_output(
    mut from: mpsc::Receiver<Vec<ToHost>>,
    written: watch::Sender<Written>,
) -> io::Result<()> {
    spawn(move || {
        let (out, err) = (io::stdout(), io::stderr());
        let mut buffer = Vec::new();
        while let Some(batch) = from.blocking_recv() {
            let mut lines = batch.into_iter().peekable();
            while let Some(first) = lines.next() {
                let (mut seq, stream) = (first.seq, first.stream);
                append(&mut buffer, &first.line);
                while let Some(next) = lines.next_if(|next| {
                    next.stream == stream && buffer.len() + next.line.len() < WRITE_BYTES
                }) {
                    seq = next.seq;
                    append(&mut buffer, &next.line);
                }
                let failed = match stream {
                    Stream::Stdout => write(&out, &buffer).is_err(),
                    // A closed stderr does not concern the conversation.
                    Stream::Stderr => {
                        let _ = write(&err, &buffer);
                        false
                    }
                };
                written.send_modify(|written| {
                    written.seq = seq;
                    written.bytes += buffer.len() as u64;
                    written.failed |= failed;
                });
                buffer.clear();
                buffer.shrink_to(WRITE_BYTES);
                if failed {
                    return;
                }
            }
        }
    })
}

fn append(buffer: &mut Vec<u8>, line: &[u8]) {
    buffer.reserve(line.len() + 1);
    buffer.extend_from_slice(line);
    buffer.push(b'\n');
}

/// Writes past the line buffer of the standard library.
fn write(stream: &impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(stream.as_fd(), bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            // A descriptor that somebody else has set so.
            Err(rustix::io::Errno::AGAIN) => {
                let fd = stream.as_fd();
                poll(&mut [PollFd::new(&fd, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The threads end with the program: what they wait for may never come.
fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).map(drop)
}
