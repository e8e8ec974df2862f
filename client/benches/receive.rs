//! Cost of receiving: this crate against a bare reader of frames, which
//! walks their headers and looks at nothing else. Both in the same thread, on
//! the same bytes; the server is another thread. Prints microseconds of CPU
//! for each message and the ratio.
//!
//! `cargo bench --package claude-relay-client --bench receive [-- 300]`
//!
//! `-- 300 client 20000`, or `bare`, runs one side alone, once, with so many
//! messages: for a profiler.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use base64::Engine as _;
use bytes::{Buf as _, BytesMut};
use claude_relay_client::{Client, ServerMessage};
use rustix::time::{ClockId, clock_gettime};
use sha1::{Digest as _, Sha1};
use tokio::io::AsyncReadExt as _;

const REPETITIONS: usize = 9;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|text| text != "--bench").collect();
    if let [size, side, count] = &arguments[..] {
        let (size, count) = (size.parse().unwrap(), count.parse().unwrap());
        return match side.as_str() {
            "bare" => run(size, count, |port| Box::pin(bare(port, count))),
            _ => run(size, count, |port| Box::pin(client(port, count))),
        };
    }
    let mut out = std::io::stdout();
    let _ = writeln!(
        out,
        "| bytes | bare, µs | client, µs | ratio | messages/s |\n|---|---|---|---|---|"
    );
    for (size, count) in [(300, 1_000_000), (4096, 200_000), (65_536, 20_000), (1 << 20, 1_000)] {
        if arguments.first().is_some_and(|only| *only != size.to_string()) {
            continue;
        }
        let mut results = Vec::new();
        for _ in 0..REPETITIONS {
            let (bare, _) = timed(count, || run(size, count, |port| Box::pin(bare(port, count))));
            let (client, wall) =
                timed(count, || run(size, count, |port| Box::pin(client(port, count))));
            results.push((client / bare, bare, client, wall));
        }
        results.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (ratio, bare, client, wall) = results[REPETITIONS / 2];
        #[allow(clippy::cast_precision_loss, reason = "a count of messages is small")]
        let rate = count as f64 / wall;
        let _ = writeln!(out, "| {size} | {bare:.3} | {client:.3} | {ratio:.2} | {rate:.0} |");
    }
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// Runs `work` against a server that sends `count` messages.
fn run(size: usize, count: u64, work: impl FnOnce(u16) -> Work) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || serve(&listener, size, count));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work(port));
    drop(runtime);
    server.join().unwrap();
}

/// Microseconds of this thread's CPU for each message, and seconds in all.
fn timed(count: u64, work: impl FnOnce()) -> (f64, f64) {
    let (began, wall) = (cpu(), std::time::Instant::now());
    work();
    #[allow(clippy::cast_precision_loss, reason = "a count of messages is small")]
    let each = (cpu() - began) * 1e6 / count as f64;
    (each, wall.elapsed().as_secs_f64())
}

fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    #[allow(clippy::cast_precision_loss, reason = "nanoseconds below a second")]
    let fraction = time.tv_nsec as f64 * 1e-9;
    #[allow(clippy::cast_precision_loss, reason = "seconds of a bench")]
    let seconds = time.tv_sec as f64;
    seconds + fraction
}

/// Answers `/health`, then upgrades and sends the messages.
fn serve(listener: &TcpListener, size: usize, count: u64) {
    loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let Some(key) = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("sec-websocket-key").then_some(value)
        }) else {
            let body = r#"{"status":"ok","replay":{"first":1,"next":1}}"#;
            let length = body.len();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
            continue;
        };
        let accept = Sha1::new()
            .chain_update(key)
            .chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
            .finalize();
        let accept = base64::engine::general_purpose::STANDARD.encode(accept);
        write!(stream, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").unwrap();
        send(&mut stream, size, count);
        // Until the client has gone.
        let _ = stream.read(&mut [0; 64]);
        return;
    }
}

fn send(stream: &mut TcpStream, size: usize, count: u64) {
    let line = format!(
        r#"{{"type":"assistant","message":{{"role":"assistant","content":[{{"type":"text","text":"{}"}}]}},"session_id":"0123"}}"#,
        "x".repeat(size - 103)
    );
    let mut block = Vec::new();
    push_frame(&mut block, &[br#"{"type":"connected","stream":"s","next":1}"#]);
    for seq in 1..=count {
        // No more work than this, so that it is the reader that is waited for.
        let seq = seq.to_string();
        let parts = [r#"{"type":"sdk_message","seq":"#, &seq, r#","data":"#, &line, "}"];
        push_frame(&mut block, &parts.map(str::as_bytes));
        if block.len() > 256 << 10 {
            stream.write_all(&block).unwrap();
            block.clear();
        }
    }
    stream.write_all(&block).unwrap();
}

fn push_frame(block: &mut Vec<u8>, payload: &[&[u8]]) {
    block.push(0x81);
    match payload.iter().map(|part| part.len()).sum::<usize>() {
        length @ 0..126 => block.push(u8::try_from(length).unwrap()),
        length @ 126..65536 => {
            block.push(126);
            block.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            block.push(127);
            block.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    for part in payload {
        block.extend_from_slice(part);
    }
}

async fn client(port: u16, count: u64) {
    let builder = Client::builder().connection_url(format!("http://127.0.0.1:{port}"));
    let client = builder.environment(false).start().await.unwrap();
    let mut messages = client.messages();
    let mut bytes = 0;
    for seq in 1..=count {
        match messages.next().await.unwrap().unwrap() {
            ServerMessage::Sdk(message) => {
                assert_eq!(message.seq(), Some(seq));
                bytes += message.frame().len();
            }
            other => panic!("{other:?}"),
        }
    }
    std::hint::black_box(bytes);
}

async fn bare(port: u16, count: u64) {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let request = "GET /ws HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: x\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let mut buffer = BytesMut::with_capacity(128 << 10);
    let (mut seen, mut bytes) = (0, 0);
    // The greeting is a message too.
    while seen < count + 1 {
        while let Some((header, length)) = header(&buffer) {
            if buffer.len() < header + length {
                buffer.reserve(header + length - buffer.len());
                break;
            }
            let mut message = buffer.split_to(header + length).freeze();
            message.advance(header);
            bytes += message.len();
            seen += 1;
        }
        buffer.reserve(64 << 10);
        if seen < count + 1 {
            assert!(stream.read_buf(&mut buffer).await.unwrap() > 0);
        }
    }
    std::hint::black_box(bytes);
}

/// The length of the header at the front, and of the payload after it.
fn header(buffer: &[u8]) -> Option<(usize, usize)> {
    match buffer.get(1)? & 0x7f {
        126 => Some((4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?)))),
        127 => {
            let length = u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?);
            Some((10, usize::try_from(length).ok()?))
        }
        length => Some((2, usize::from(length))),
    }
}
