//! Floods: every kind of message at full speed against a peer that reads
//! nothing. The memory of the server, its log and the time of `/health` are
//! bounded for each.
//!
//! `RELAY_TEST_FLOOD_SECONDS=30` makes each one longer. The time of `/health` is that of
//! an optimised build: `cargo test --release -p claude-relay-server --test it -- floods
//! --test-threads 1 --nocapture`.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::bounds::{LOG_BYTES, RESIDENT_BYTES, resident_bytes, start};
use super::load::IsOver;
use crate::support::http;
use crate::support::relay::{Launch, Relay};
use claude_relay_testing::test_env::TestEnv;

/// Longest time of an answer of `/health`. A build that is not optimised, on a
/// machine that is busy, has only to answer.
const HEALTH: Duration = Duration::from_millis(if cfg!(debug_assertions) { 20_000 } else { 100 });

#[expect(clippy::disallowed_methods, reason = "a test is told by its variable how long to go on")]
fn flood_time() -> Duration {
    let seconds = std::env::var("RELAY_TEST_FLOOD_SECONDS").ok();
    Duration::from_secs_f64(seconds.and_then(|text| text.parse().ok()).unwrap_or(0.3))
}

/// A text frame of a client, with a mask of zeros.
fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        short @ 0..126 => frame.push(0x80 | u8::try_from(short).unwrap_or_default()),
        _ => {
            frame.push(0xff);
            frame.extend((text.len() as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.as_bytes());
    frame
}

/// Time after which a flood looks whether it is over.
const TIMEOUT: Duration = Duration::from_millis(200);

/// Sends these bytes again and again over a WebSocket, and reads nothing. A
/// connection that the server ends is followed by another.
fn flood(address: SocketAddr, path: &str, first: &[u8], bytes: &[u8], is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address) else { continue };
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.set_write_timeout(Some(TIMEOUT)).expect("a time-out");
        stream.set_read_timeout(Some(TIMEOUT)).expect("a time-out");
        let is_up = stream.write_all(head.as_bytes()).and_then(|()| stream.read(&mut [0; 16]));
        if is_up.is_err() || stream.write_all(first).is_err() {
            continue;
        }
        // Who says nothing needs no processor for it.
        if bytes.is_empty() {
            while !is_over.load(Ordering::Relaxed) {
                std::thread::park_timeout(TIMEOUT);
            }
        }
        let mut left = bytes;
        while !is_over.load(Ordering::Relaxed) {
            match stream.write(left) {
                Ok(written) => left = &left[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
            if left.is_empty() {
                left = bytes;
            }
        }
    }
}

/// Measures a server while something goes on for the time of a flood.
#[expect(clippy::print_stdout, reason = "the figures are what a person wants to see of a run")]
async fn watch(relay: &Relay, name: &str) {
    let begun = Instant::now();
    let (mut most, mut slowest) = (0, Duration::ZERO);
    while begun.elapsed() < flood_time() {
        most = most.max(resident_bytes(relay));
        let asked = Instant::now();
        assert_eq!(http::get(relay.address(), "/health").await.status, 200, "{name}");
        slowest = slowest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let log = relay.stderr().len();
    println!("{name}: {} MiB, /health {slowest:?}, log {log} bytes", most >> 20);
    assert!(most <= RESIDENT_BYTES, "{name}: {} MiB", most >> 20);
    assert!(slowest <= HEALTH, "{name}: /health took {slowest:?}");
    assert!(log <= LOG_BYTES, "{name}: {log} bytes of log");
}

async fn under_flood(relay: &Relay, path: &str, name: &str, first: &str, bytes: Vec<u8>) {
    let is_over = IsOver(Arc::default());
    let (address, over, path) = (relay.address(), Arc::clone(&is_over.0), path.to_owned());
    let first = if first.is_empty() { Vec::new() } else { frame(first) };
    let thread = std::thread::spawn(move || flood(address, &path, &first, &bytes, &over));
    watch(relay, name).await;
    drop(is_over);
    thread.join().expect("the flood ends without a panic");
}

/// An agent that takes nothing and says nothing.
const DEAF: &str = "import time\nprint('{\"type\":\"up\"}', flush=True)\ntime.sleep(600)\n";

const USER: &str = r#"{"type":"user","message":{"role":"user","content":"x"}}"#;

fn dense(mebibytes: usize) -> String {
    format!("[{}1]", "1,".repeat(mebibytes << 19))
}

/// Every kind of message of a client, small and large.
fn messages() -> Vec<(&'static str, String)> {
    let large = "x".repeat(20 << 20);
    let user = |rest: &str, content: &str| {
        format!(
            r#"{{"type":"user_message"{rest},"data":{{"type":"user","message":{{"role":"user","content":{content}}}}}}}"#
        )
    };
    let control = |request: &str| {
        format!(r#"{{"type":"control_request","requestId":"r","request":{request}}}"#)
    };
    vec![
        ("user_message", user("", "\"x\"")),
        ("user_message of 20 MiB", user("", &format!("{large:?}"))),
        ("user_message beside 40 MiB", user(&format!(",\"x\":\"{large}{large}\""), "\"x\"")),
        ("user_message of 42 MiB of elements", user("", &dense(42))),
        (
            "user_message of 42 MiB of blocks",
            user("", &format!("[{}{{}}]", "{},".repeat(14 << 20))),
        ),
        ("interrupt", r#"{"type":"interrupt"}"#.into()),
        (
            "permission_response",
            r#"{"type":"permission_response","requestId":"r","approved":true}"#.into(),
        ),
        (
            "permission_response with rules of 42 MiB",
            format!(
                r#"{{"type":"permission_response","requestId":"r","approved":true,"updatedPermissions":{}}}"#,
                dense(42)
            ),
        ),
        ("control_request", control(r#"{"subtype":"set_model","model":"m"}"#)),
        ("control_request of an unknown kind", control(r#"{"subtype":"unknown"}"#)),
        (
            "control_request of 42 MiB of elements",
            control(&format!(r#"{{"subtype":"set_model","model":{}}}"#, dense(42))),
        ),
        ("agent_response", r#"{"type":"agent_response","requestId":"r","response":{}}"#.into()),
        (
            "agent_response of 42 MiB of elements",
            format!(
                r#"{{"type":"agent_response","requestId":"r","response":{{"a":{}}}}}"#,
                dense(42)
            ),
        ),
        ("capabilities", r#"{"type":"capabilities"}"#.into()),
        ("configure", r#"{"type":"configure","config":{}}"#.into()),
        ("an unknown type", r#"{"type":"unknown"}"#.into()),
        ("no JSON", "x".into()),
        ("no JSON of 40 MiB", format!("{large}{large}")),
    ]
}

#[tokio::test]
async fn messages_of_a_client_that_reads_nothing_are_bounded() {
    for mode in ["ask", "unrestricted"] {
        let env = TestEnv::new();
        let relay = start(&env, mode, DEAF);
        for (name, message) in messages() {
            under_flood(&relay, "/ws", &format!("{mode}, {name}"), "", frame(&message)).await;
        }
        relay.stop();
    }
}

#[tokio::test]
async fn control_frames_and_fragments_of_a_client_that_reads_nothing_are_bounded() {
    let env = TestEnv::new();
    let relay = start(&env, "ask", DEAF);
    let mut fragments = vec![0x01, 0x81, 0, 0, 0, 0, b' '];
    fragments.extend([0x00, 0xfe, 0xff, 0xff, 0, 0, 0, 0]);
    fragments.extend(vec![b' '; 0xffff]);
    for (name, bytes) in [
        ("pings", [&[0x89, 0x80 | 125, 0, 0, 0, 0][..], &[b'x'; 125]].concat()),
        ("pongs", vec![0x8a, 0x80, 0, 0, 0, 0]),
        ("empty fragments", vec![0x00, 0x80, 0, 0, 0, 0]),
        ("messages in fragments", fragments),
        ("connections that end at once", vec![0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]),
    ] {
        under_flood(&relay, "/ws", name, "", bytes).await;
    }
    relay.stop();
}

#[tokio::test]
async fn messages_of_a_program_that_reads_nothing_are_bounded() {
    let env = TestEnv::new();
    let relay = start(&env, "ask", DEAF);
    let started = r#"{"type":"start","args":[],"env":{},"cwd":"/"}"#;
    let request = r#"{"type":"control_request","request_id":"r","request":{"subtype":"unknown"}}"#;
    let large = "x".repeat(20 << 20);
    let numbered = |data: &str| {
        let lines = (1..=20_000)
            .map(|seq| frame(&format!(r#"{{"type":"stdin","seq":{seq},"data":{data}}}"#)));
        lines.collect::<Vec<_>>().concat()
    };
    let ends: Vec<_> =
        (1..=20_000).map(|seq| frame(&format!(r#"{{"type":"stdin_end","seq":{seq}}}"#))).collect();
    for (name, first, bytes) in [
        ("lines", started, numbered(USER)),
        ("lines before the start", "", numbered("{}")),
        ("refused requests", started, numbered(request)),
        ("ends", started, ends.concat()),
        ("starts", "", frame(started)),
        ("acknowledgements", started, frame(r#"{"type":"ack","seq":1}"#)),
        ("signals before the start", "", frame(r#"{"type":"signal","seq":1,"signal":"SIGHUP"}"#)),
        ("no JSON", started, frame("x")),
        (
            "elements",
            started,
            frame(&format!(
                r#"{{"type":"stdin","seq":1,"data":{{"type":"user","message":{{"role":"user","content":{}}}}}}}"#,
                dense(42)
            )),
        ),
    ] {
        let path = format!("/agent?run={}&after=0", "0123456789abcdef");
        under_flood(&relay, &path, &format!("a run, {name}"), first, bytes).await;
    }
    for (name, bytes) in [
        ("lines", frame(USER)),
        ("refused requests", frame(request)),
        ("a small line beside 40 MiB", [frame(&format!("{large}{large}")), frame("{}")].concat()),
    ] {
        under_flood(&relay, "/agent", &format!("a raw run, {name}"), "", bytes).await;
    }
    relay.stop();
}

/// Every kind of line of an agent, small and large, as an expression of Python.
const LINES: [(&str, &str); 14] = [
    ("any line", r#"'{"type":"assistant","message":{"content":[]}}'"#),
    ("result", r#"'{"type":"result","subtype":"success","session_id":"s"}'"#),
    ("init", r#"'{"type":"system","subtype":"init","session_id":"s"}'"#),
    ("a line of 20 MiB", r#"'{"type":"any","a":"' + 'x' * (20 << 20) + '"}'"#),
    ("a line of 42 MiB of elements", r#"'{"type":"any","a":[' + '1,' * (21 << 20) + '1]}'"#),
    ("no JSON", r#"'x' * 100"#),
    ("no JSON of 20 MiB", r#"'x' * (20 << 20)"#),
    (
        "an unknown request",
        r#"'{"type":"control_request","request_id":"r","request":{"subtype":"unknown"}}'"#,
    ),
    (
        "a permission request",
        r#"'{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{}}}'"#,
    ),
    (
        "a permission request of 20 MiB",
        r#"'{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"a":"' + 'x' * (20 << 20) + '"}}}'"#,
    ),
    (
        "a permission request of 42 MiB of fields",
        r#"'{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{}' + ',"a":1' * (7 << 20) + '}}'"#,
    ),
    (
        "a hook",
        r#"'{"type":"control_request","request_id":"r","request":{"subtype":"hook_callback","callback_id":"c","input":{}}}'"#,
    ),
    (
        "a response",
        r#"'{"type":"control_response","response":{"subtype":"success","request_id":"r","response":{}}}'"#,
    ),
    ("a cancellation", r#"'{"type":"control_cancel_request","request_id":"r"}'"#),
];

#[tokio::test]
async fn lines_of_an_agent_that_reads_nothing_are_bounded() {
    for (name, line) in LINES {
        let env = TestEnv::new();
        // Padded, so that a build that is not optimised has fewer lines to judge.
        let script = format!(
            "line = {line}\nline = line[:-1] + ' ' * 1000 + line[-1] + '\\n'\nif len(line) < 4096: line *= 100\nwhile True: sys.stdout.write(line)\n"
        );
        let relay = start(&env, "ask", &script);
        // One client that reads nothing, then nobody.
        under_flood(
            &relay,
            "/ws?questions=true&hooks=true",
            &format!("an agent, {name}"),
            "",
            Vec::new(),
        )
        .await;
        watch(&relay, &format!("an agent alone, {name}")).await;
        relay.stop();
    }
}

/// The same for Codex, whose lines mean something else.
const CODEX_LINES: [(&str, &str); 8] = [
    ("a piece of text", r#"'{"method":"item/agentMessage/delta","params":{"delta":"x"}}'"#),
    (
        "an item of 42 MiB of elements",
        r#"'{"method":"item/completed","params":{"item":{"id":"i","a":[' + '1,' * (21 << 20) + '1]}}}'"#,
    ),
    (
        "a file change of 42 MiB of elements",
        r#"'{"method":"item/started","params":{"item":{"type":"fileChange","id":"i","changes":[' + '1,' * (21 << 20) + '1]}}}'"#,
    ),
    (
        "the end of a turn with 42 MiB of elements",
        r#"'{"method":"turn/completed","params":{"threadId":"t","turn":{"items":[' + '1,' * (21 << 20) + '1]}}}'"#,
    ),
    (
        "a permission request of 42 MiB of elements",
        r#"'{"id":7,"method":"item/commandExecution/requestApproval","params":{"command":[' + '1,' * (21 << 20) + '1]}}'"#,
    ),
    (
        "a permission request of 42 MiB of fields",
        r#"'{"id":7,"method":"item/commandExecution/requestApproval","params":{"a":1' + ',"a":1' * (7 << 20) + '}}'"#,
    ),
    (
        "an unknown request of 42 MiB of elements",
        r#"'{"id":7,"method":"unknown","params":{"a":[' + '1,' * (21 << 20) + '1]}}'"#,
    ),
    (
        "a response of 42 MiB of elements",
        r#"'{"id":7,"result":{"a":[' + '1,' * (21 << 20) + '1]}}'"#,
    ),
];

#[tokio::test]
async fn lines_of_codex_that_reads_nothing_are_bounded() {
    for (name, line) in CODEX_LINES {
        let env = TestEnv::new();
        let script = format!(
            "line = {line}\nline = line[:-1] + ' ' * 1000 + line[-1] + '\\n'\nif len(line) < 4096: line *= 100\nwhile True: sys.stdout.write(line)\n"
        );
        let relay = start(&env, "ask", &script);
        let provider = r#"{"provider":"codex"}"#;
        assert_eq!(http::post(relay.address(), "/config", provider).await.status, 200);
        under_flood(&relay, "/ws", &format!("Codex, {name}"), "", Vec::new()).await;
        watch(&relay, &format!("Codex alone, {name}")).await;
        relay.stop();
    }
}

#[tokio::test]
async fn stderr_of_an_agent_is_bounded() {
    let env = TestEnv::new();
    let relay = start(&env, "ask", "while True: sys.stderr.write('x' * 100 + '\\n')\n");
    under_flood(&relay, "/ws", "stderr", "", Vec::new()).await;
    relay.stop();
}

#[tokio::test]
async fn bodies_of_unauthenticated_peers_are_bounded() {
    let env = TestEnv::new();
    for token in [None, Some("token-of-the-owner")] {
        let mut launch = Launch::demo(&env);
        if let Some(token) = token {
            launch = launch.argument("--auth-token").argument(token);
        }
        let relay = launch.start();
        let address = relay.address();
        let mut held = Vec::new();
        for method in ["POST", "PATCH"] {
            for _ in 0..450 {
                let mut stream = TcpStream::connect(address).expect("the server listens");
                stream.set_write_timeout(Some(Duration::from_millis(2))).expect("a time-out");
                let head = format!(
                    "{method} /config HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n"
                );
                let _ = stream.write_all(head.as_bytes());
                let _ = stream.write_all(&[b' '; 1_000_000]);
                held.push(stream);
            }
        }
        watch(&relay, "half bodies").await;
        drop(held);
        relay.stop();
    }
}
