//! The limit program: a line out of a pipe, into a frame, onto a socket, and
//! nothing else. No JSON, no replay, no bound, no safety, one client.
//!
//! It blocks in one thread for each direction, which is the least a kernel can
//! be asked for. There are two forms of it, because which one is faster
//! depends on the size of the lines: `copy` frames into one buffer and writes
//! that, `writev` leaves the lines where they were read.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStderr, ChildStdin, Command, Stdio};
use std::thread;

use claude_relay_listen::ws::frame;
use memchr::{memchr, memrchr};
use rustix::net::sockopt;

use crate::Outcome;
use crate::client::take_frame;

/// The subcommand under which the bench is this program.
pub(crate) const SUBCOMMAND: &str = "limit";

/// The subcommand that turns into the agent.
pub(crate) const OWN_SESSION: &str = "own-session";

const PREFIX: &[u8] = br#"{"type":"sdk_message","data":"#;
const SUFFIX: &[u8] = b"}";
const READ_BYTES: usize = 128 << 10;
const PIPE_BYTES: usize = 1 << 20;

/// The channels to its agent.
pub(crate) const PIPE: &str = "pipe";
pub(crate) const SOCKETS: &str = "sockets";

/// `limit copy|writev pipe|sockets AGENT ARGS…`
pub(crate) fn run(args: &[String]) -> Outcome {
    let [form, channel, program, args @ ..] = args else {
        return Err("limit FORM CHANNEL AGENT ARGS…".into());
    };
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    let (mut socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    // The client of the bench does not check the key's answer.
    let mut answer =
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            .to_vec();
    push_frame(&mut answer, &[br#"{"type":"connected"}"#]);
    socket.write_all(&answer)?;

    let (stdout, theirs) = if channel == SOCKETS { sockets()? } else { pipe()? };
    #[expect(clippy::disallowed_methods, reason = "the limit program starts the agent itself")]
    let mut agent = Command::new(std::env::current_exe()?)
        .arg(OWN_SESSION)
        .arg(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(theirs)
        .stderr(Stdio::piped())
        .spawn()?;
    let (Some(stdin), Some(stderr)) = (agent.stdin.take(), agent.stderr.take()) else {
        return Err("no pipes".into());
    };
    let from_client = socket.try_clone()?;
    thread::spawn(move || feed(from_client, stdin));
    thread::spawn(move || drain(stderr));
    let stdout = File::from(stdout);
    let relay = if form == "copy" { relay_copying } else { relay_in_place };
    let relayed = relay(stdout, &socket);
    agent.wait()?;
    Ok(relayed?)
}

/// Makes the agent's stdout of a pipe: our end and its.
fn pipe() -> Outcome<(OwnedFd, Stdio)> {
    let (ours, theirs) = io::pipe()?;
    rustix::pipe::fcntl_setpipe_size(&ours, PIPE_BYTES)?;
    Ok((ours.into(), theirs.into()))
}

/// Makes the agent's stdout of sockets, as the relay does it.
fn sockets() -> Outcome<(OwnedFd, Stdio)> {
    let (ours, theirs) = UnixStream::pair()?;
    let _ = sockopt::set_socket_send_buffer_size_force(&theirs, PIPE_BYTES)
        .or_else(|_| sockopt::set_socket_send_buffer_size(&theirs, PIPE_BYTES));
    Ok((ours.into(), OwnedFd::from(theirs).into()))
}

/// `own-session AGENT ARGS…`: becomes the agent, in a session of its own. The
/// relay's is in one too, and on a busy machine Linux shares out the CPUs by
/// sessions.
pub(crate) fn become_agent(args: &[String]) -> Outcome {
    let [program, args @ ..] = args else { return Err("own-session AGENT ARGS…".into()) };
    rustix::process::setsid()?;
    #[expect(clippy::disallowed_methods, reason = "this process turns into the agent")]
    Err(Command::new(program).args(args).exec().into())
}

/// Client to agent: the `data` of each message and a newline.
fn feed(mut socket: TcpStream, mut stdin: ChildStdin) -> io::Result<()> {
    const BEFORE: usize = br#"{"type":"user_message","data":"#.len();
    let mut buffer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = socket.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        buffer.extend_from_slice(&chunk[..count]);
        while let Some((payload, rest)) = take_frame(&buffer) {
            let rest = buffer.len() - rest.len();
            let mut line = payload.get(BEFORE..payload.len() - 1).unwrap_or_default().to_vec();
            line.push(b'\n');
            stdin.write_all(&line)?;
            buffer.drain(..rest);
        }
    }
}

fn drain(mut stderr: ChildStderr) -> io::Result<()> {
    let mut chunk = vec![0; 64 << 10];
    while stderr.read(&mut chunk)? > 0 {}
    Ok(())
}

/// Reads what there is, and gives all whole lines at once.
fn read_lines(mut stdout: File, mut pass: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    loop {
        if buffer.len() - filled < READ_BYTES / 2 {
            buffer.resize(buffer.len() * 2, 0);
        }
        let count = stdout.read(&mut buffer[filled..])?;
        if count == 0 {
            return Ok(());
        }
        let before = filled;
        filled += count;
        let Some(newline) = memrchr(b'\n', &buffer[before..filled]) else { continue };
        let end = before + newline + 1;
        pass(&buffer[..end])?;
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}

fn relay_copying(stdout: File, mut socket: &TcpStream) -> io::Result<()> {
    let mut out = Vec::new();
    read_lines(stdout, |lines| {
        out.clear();
        let mut rest = lines;
        while let Some(newline) = memchr(b'\n', rest) {
            push_frame(&mut out, &[PREFIX, &rest[..newline], SUFFIX]);
            rest = &rest[newline + 1..];
        }
        socket.write_all(&out)
    })
}

/// Number of slices that Linux takes in one call.
const SLICES: usize = 1024;

fn relay_in_place(stdout: File, mut socket: &TcpStream) -> io::Result<()> {
    let mut heads = Vec::new();
    read_lines(stdout, |lines| {
        let mut rest = lines;
        while !rest.is_empty() {
            // The heads of as many lines as fit into one call, then the call.
            heads.clear();
            let mut ends = Vec::with_capacity(SLICES / 2);
            let batch = rest;
            let mut at = 0;
            while ends.len() < SLICES / 2
                && let Some(newline) = memchr(b'\n', &batch[at..])
            {
                let (head, used) =
                    frame::header(frame::TEXT, PREFIX.len() + newline + SUFFIX.len());
                if !ends.is_empty() {
                    heads.extend_from_slice(SUFFIX);
                }
                heads.extend_from_slice(&head[..used]);
                heads.extend_from_slice(PREFIX);
                ends.push((heads.len(), at + newline));
                at += newline + 1;
            }
            rest = &batch[at..];
            let mut slices = Vec::with_capacity(SLICES);
            let (mut head_at, mut line_at) = (0, 0);
            for (head_end, line_end) in ends {
                slices.push(IoSlice::new(&heads[head_at..head_end]));
                slices.push(IoSlice::new(&batch[line_at..line_end]));
                (head_at, line_at) = (head_end, line_end + 1);
            }
            slices.push(IoSlice::new(SUFFIX));
            let mut slices = &mut slices[..];
            while !slices.is_empty() {
                let written = socket.write_vectored(&slices[..slices.len().min(SLICES)])?;
                IoSlice::advance_slices(&mut slices, written);
            }
        }
        Ok(())
    })
}

fn push_frame(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let payload = parts.iter().map(|part| part.len()).sum();
    let (head, used) = frame::header(frame::TEXT, payload);
    out.extend_from_slice(&head[..used]);
    for part in parts {
        out.extend_from_slice(part);
    }
}
