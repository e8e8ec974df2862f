//! C: HTTP that no good client speaks, and clients that take their time.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Siege, exchange, read_all, status};
use crate::support::http;
use crate::support::wait;

/// How long the server waits for a head or a body, and some more.
const SLOW: Duration = Duration::from_secs(10);
const SLOWEST: Duration = Duration::from_secs(15);

/// So that what follows an answer is the end.
const CLOSE: &str = "Connection: close\r\n";

/// The longest body.
const BODY_BYTES: usize = 1 << 20;

/// What one request on a connection of its own is answered.
async fn answer(siege: &Siege, request: &str) -> String {
    exchange(siege.address(), request.as_bytes()).await
}

/// Whether it is one answer, refusing with this status and a reason in JSON.
#[track_caller]
fn assert_refused(said: &str, expected: u16, request: &str) {
    let request = request.get(..300).unwrap_or(request);
    assert_eq!(status(said), expected, "{request:?}: {said}");
    assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{request:?}: {said}");
    let (head, body) = said.split_once("\r\n\r\n").expect("an empty line ends a head");
    let head = head.to_ascii_lowercase();
    for field in ["connection: close", "content-type: application/json", "nosniff"] {
        assert!(head.contains(field), "{request:?}: {said}");
    }
    let body: serde_json::Value = serde_json::from_str(body).expect("the contract says JSON");
    let text = body["error"].as_str().expect("a reason");
    assert_eq!(body, json!({ "error": text }), "{said}");
}

async fn model(address: SocketAddr) -> serde_json::Value {
    http::get(address, "/config").await.json()["config"]["model"].take()
}

#[tokio::test]
async fn c1_host_comes_once_and_says_something() {
    let siege = Siege::begin().await;
    for hosts in [
        "",
        "Host:\r\n",
        "Host: \r\n",
        "Host: localhost\r\nHost: localhost\r\n",
        "Host: localhost\r\nhost: attacker.example\r\n",
        "Host: localhost, localhost\r\n",
        "Host: user@localhost\r\n",
        "Host: local host\r\n",
    ] {
        for request in ["GET / HTTP/1.1", "GET /config HTTP/1.1", "POST /config HTTP/1.1"] {
            let said =
                answer(&siege, &format!("{request}\r\n{hosts}Connection: close\r\n\r\n")).await;
            assert_refused(&said, 400, &format!("{request} {hosts}"));
        }
    }
    siege.over().await;
}

#[tokio::test]
async fn c2_other_protocols_are_turned_away() {
    let siege = Siege::begin().await;
    let before = model(siege.address()).await;
    for bytes in [
        &b"GET /\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"GET / HTP/1.1\r\nHost: localhost\r\n\r\n",
        b"garbage\r\n\r\n",
        b"\r\n\r\n\r\n\r\ngarbage\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        // The preface of HTTP/2, and the hello of TLS.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n",
        // Nobody waits for the end of what is no request.
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        b"SSH-2.0-x\r\n",
    ] {
        let asked = Instant::now();
        let said = exchange(siege.address(), bytes).await;
        wait::was_within(SLOW / 2, asked);
        assert_refused(&said, 400, &String::from_utf8_lossy(bytes));
    }
    // HTTP/1.0 is spoken, with a Host: an old proxy may ask so. Not upgraded.
    let said = answer(&siege, "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    assert!(said.contains(" 200 OK"), "{said}");
    let said = answer(&siege, "GET /health HTTP/1.0\r\n\r\n").await;
    assert!(said.contains(" 400 "), "{said}");
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let said = answer(&siege, &format!("GET /ws HTTP/1.0\r\nHost: localhost\r\n{upgrade}")).await;
    assert!(said.contains(" 426 "), "{said}");
    assert_eq!(model(siege.address()).await, before);
    siege.over().await;
}

/// Opens a connection, sends `first`, and then `drip` twice a second: how long
/// it lives, and what it was told.
async fn drip(address: SocketAddr, first: String, drip: &'static [u8]) -> (Duration, String) {
    let begun = Instant::now();
    let stream = TcpStream::connect(address).await.expect("the server listens");
    let (mut from, mut to) = stream.into_split();
    to.write_all(first.as_bytes()).await.expect("the server reads");
    let dripping = tokio::spawn(async move {
        while !drip.is_empty() && to.write_all(drip).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        to
    });
    let mut all = Vec::new();
    let _ = wait::within("the server to lose its patience", from.read_to_end(&mut all)).await;
    let lived = begun.elapsed();
    dripping.abort();
    (lived, String::from_utf8_lossy(&all).into_owned())
}

#[tokio::test]
async fn c3_c4_e9_whoever_takes_for_ever_is_not_waited_for() {
    let siege = Siege::begin().await;
    let address = siege.address();
    let host = format!("Host: {address}\r\n");
    let nothing = drip(address, String::new(), b"");
    let head = drip(address, format!("GET / HTTP/1.1\r\n{host}X: "), b"x");
    let upgrade = drip(
        address,
        format!("GET /ws HTTP/1.1\r\n{host}Upgrade: websocket\r\nSec-WebSocket-Key: "),
        b"x",
    );
    let body =
        drip(address, format!("POST /config HTTP/1.1\r\n{host}Content-Length: 1000\r\n\r\n"), b" ");
    let chunks = drip(
        address,
        format!("POST /config HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n"),
        b"1\r\n \r\n",
    );
    // After an answer the connection may be used again, for a while.
    let idle = drip(address, format!("GET /health HTTP/1.1\r\n{host}\r\n"), b"");
    let (nothing, head, upgrade, body, chunks, idle) =
        tokio::join!(nothing, head, upgrade, body, chunks, idle);
    for (what, (lived, said), expected) in [
        ("no byte at all", nothing, 0),
        ("a head", head, 0),
        ("a handshake", upgrade, 0),
        ("a body", body, 408),
        ("a body of chunks", chunks, 408),
        ("a connection kept alive", idle, 200),
    ] {
        assert!(
            (SLOW..SLOWEST).contains(&(lived + Duration::from_millis(50))),
            "{what}: {lived:?}"
        );
        // A head that never came may be told 408, or nothing.
        let told = status(&said);
        assert!(told == expected || (expected == 0 && told == 408), "{what}: {said}");
    }
    siege.over().await;
}

/// hyper would hold 16 KiB for each: 8 MiB, of which the allocator of the C
/// library gives nothing back.
#[tokio::test]
async fn c3_a_slow_head_costs_its_bytes() {
    const SLOW_ONES: usize = 500;
    const MOST_BYTES: u64 = SLOW_ONES as u64 * (6 << 10);
    let siege = Siege::begin().await.may_grow_by(MOST_BYTES);
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\nX: ", siege.address());
    let mut held = Vec::new();
    for _ in 0..SLOW_ONES {
        let mut stream = TcpStream::connect(siege.address()).await.expect("the server listens");
        stream.write_all(head.as_bytes()).await.expect("the server reads");
        held.push(stream);
    }
    // All heads before this one have been read when it is answered.
    assert_eq!(http::get(siege.address(), "/health").await.status, 200);
    let grown = siege.grown_bytes();
    assert!(grown <= MOST_BYTES, "{grown} bytes for {SLOW_ONES} heads");
    drop(held);
    siege.over().await;
}

#[tokio::test]
async fn c5_heads_that_are_too_large() {
    let siege = Siege::begin().await;
    let host = format!("Host: {}\r\n", siege.address());
    let large = format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(256 << 10));
    let many = format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: x\r\n".repeat(1000));
    let name = format!("GET / HTTP/1.1\r\n{host}{}: x\r\n\r\n", "x".repeat(256 << 10));
    let block = format!("GET / HTTP/1.1\r\n{host}{CLOSE}X: {}\r\n\r\n", "x".repeat(64 << 10));
    let fields = format!("GET / HTTP/1.1\r\n{host}{CLOSE}{}\r\n", "X: y\r\n".repeat(99));
    let just = format!("GET / HTTP/1.1\r\n{host}{CLOSE}X: {}\r\n\r\n", "x".repeat(32 << 10));
    for request in [large, many, name, block, fields, just] {
        let said = answer(&siege, &request).await;
        assert_refused(&said, 431, &request);
    }
    for length in [17_000, 65_536, 70_000, 1 << 20] {
        let long = format!("GET /?{} HTTP/1.1\r\n{host}{CLOSE}\r\n", "x".repeat(length));
        assert_refused(&answer(&siege, &long).await, 414, &long);
    }
    // Nobody waits for the end of what is too large already.
    let endless = "x".repeat(100_000);
    for (start, expected) in [("GET /", 414), ("GET / HTTP/1.1\r\nX: ", 431)] {
        let request = format!("{start}{endless}");
        assert_refused(&answer(&siege, &request).await, expected, &request);
    }
    // What is large and still within bounds is served.
    let fine = format!(
        "GET /health?{} HTTP/1.1\r\n{host}X: {}\r\n{}Connection: close\r\n\r\n",
        "x".repeat(15_000),
        "x".repeat(20_000),
        "Y: y\r\n".repeat(90)
    );
    assert_eq!(status(&answer(&siege, &fine).await), 200);
    siege.over().await;
}

#[tokio::test]
async fn c7_chunks_of_every_kind() {
    let siege = Siege::begin().await;
    let address = siege.address();
    let post = format!(
        "POST /config HTTP/1.1\r\nHost: {address}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    );
    let body = r#"{"model":"whole"}"#;
    let bytes: String = body.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    for good in [
        format!("{post}{bytes}0\r\n\r\n"),
        format!("{post}11;name=value\r\n{body}\r\n0\r\n\r\n"),
        format!("{post}0011\r\n{body}\r\n0\r\nTrailer: x\r\n\r\n"),
    ] {
        http::post(address, "/config", "{}").await;
        let said = answer(&siege, &good).await;
        assert_eq!(status(&said), 200, "{good:?}: {said}");
        assert_eq!(model(address).await, "whole");
    }
    http::post(address, "/config", r#"{"model":"before"}"#).await;
    for bad in [
        format!("{post}x\r\n{body}\r\n0\r\n\r\n"),
        format!("{post}-11\r\n{body}\r\n0\r\n\r\n"),
        format!("{post}ffffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
        format!("{post}fffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
        format!("{post}12\r\n{body}\r\n0\r\n\r\n"),
        format!("{post}10\r\n{body}\r\n0\r\n\r\n"),
        format!("{post}11\r\n{body}0\r\n\r\n"),
        format!("{post}11{}\r\n{body}\r\n0\r\n\r\n", ";x".repeat(100_000)),
        format!("{post}11\r\n{body}\r\n0\r\n{}\r\n", "T: x\r\n".repeat(10_000)),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        let _ = stream.write_all(bad.as_bytes()).await;
        let _ = stream.shutdown().await;
        let said = read_all(&mut stream).await;
        assert_eq!(status(&said), 400, "{bad:.300?}: {said}");
        assert_eq!(model(address).await, "before", "{bad:.300?}");
    }
    for lengths in [
        "Content-Length: 17\r\nContent-Length: 2",
        "Content-Length: +17",
        "Content-Length: 0x11",
        "Content-Length: 17, 2",
    ] {
        let request = format!(
            "POST /config HTTP/1.1\r\nHost: {address}\r\n{lengths}\r\nConnection: close\r\n\r\n{body}"
        );
        assert_refused(&answer(&siege, &request).await, 400, lengths);
    }
    siege.over().await;
}

/// Requests inside of others: what one server takes for a body, another takes
/// for the next request.
#[tokio::test]
async fn c7_nothing_is_smuggled() {
    let siege = Siege::begin().await;
    let address = siege.address();
    let hidden = format!("GET /hidden HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let post = format!("POST /config HTTP/1.1\r\nHost: {address}\r\n");
    for (head, body) in [
        (format!("{length}{chunked}"), "2\r\n{}\r\n0\r\n\r\n"),
        (format!("{chunked}{length}"), "2\r\n{}\r\n0\r\n\r\n"),
        ("Content-Length: 2\r\nTransfer-Encoding: identity\r\n".to_owned(), "{}"),
        ("Content-Length: 2\r\nTransfer-Encoding: xchunked\r\n".to_owned(), "{}"),
        ("X: y\nContent-Length: 2\r\n".to_owned(), "{}"),
    ] {
        let said = answer(&siege, &format!("{post}{head}\r\n{body}{hidden}")).await;
        assert_refused(&said, 400, &head);
    }
    // What follows a body, or the offer of another protocol, is no request.
    for (first, expected) in [
        (format!("{post}Content-Length: 2\r\n\r\n{{}}"), 200),
        (format!("{post}{chunked}\r\n2\r\n{{}}\r\n0\r\n\r\n"), 200),
        (format!("POST /health HTTP/1.1\r\nHost: {address}\r\n{length}\r\nhello"), 405),
        (format!("GET /health HTTP/1.1\r\nHost: {address}\r\nUpgrade: h2c\r\n\r\n"), 200),
    ] {
        let said = answer(&siege, &format!("{first}{hidden}")).await;
        assert_eq!(status(&said), expected, "{first}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{first}: {said}");
        assert!(said.to_ascii_lowercase().contains("connection: close"), "{said}");
    }
    // Without a body a connection is used again.
    let get = format!("GET /health HTTP/1.1\r\nHost: {address}\r\n");
    let said = answer(&siege, &format!("{get}\r\n{get}{CLOSE}\r\n")).await;
    assert_eq!(said.matches("HTTP/1.1 200").count(), 2, "{said}");
    siege.over().await;
}

#[tokio::test]
async fn c8_a_body_that_stops_early_changes_nothing() {
    let siege = Siege::begin().await;
    let address = siege.address();
    http::post(address, "/config", r#"{"model":"before"}"#).await;
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    let request = format!(
        "POST /config HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000\r\n\r\n{{\"model\":\"evil\"}}"
    );
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    stream.shutdown().await.expect("half of it closes");
    let said = read_all(&mut stream).await;
    assert!(matches!(status(&said), 0 | 400), "{said}");
    assert_eq!(model(address).await, "before");
    siege.over().await;
}

#[tokio::test]
async fn c8_who_says_no_more_than_a_request_gets_its_answer() {
    let siege = Siege::begin().await;
    let address = siege.address();
    let host = format!("Host: {address}\r\n");
    let body = r#"{"model":"said"}"#;
    for (request, expected) in [
        (format!("GET / HTTP/1.1\r\n{host}\r\n"), 200),
        (format!("GET /health HTTP/1.1\r\n{host}\r\n"), 200),
        (format!("GET /nothing HTTP/1.1\r\n{host}\r\n"), 404),
        (format!("GET / HTTP/1.1\n{host}\r\n"), 400),
        (format!("POST /config HTTP/1.1\r\n{host}Content-Length: 16\r\n\r\n{body}"), 200),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        stream.shutdown().await.expect("half of it closes");
        let asked = Instant::now();
        let said = read_all(&mut stream).await;
        assert_eq!(status(&said), expected, "{request}: {said}");
        wait::was_within(Duration::from_secs(1), asked);
    }
    assert_eq!(model(address).await, "said");
    siege.over().await;
}

#[tokio::test]
async fn c9_a_body_over_the_limit_is_not_read() {
    let siege = Siege::begin().await;
    let address = siege.address();
    let fill = |bytes: usize| {
        json!({ "systemPrompt": "x".repeat(bytes - r#"{"systemPrompt":""}"#.len()) }).to_string()
    };
    let longest = fill(BODY_BYTES);
    assert_eq!(longest.len(), BODY_BYTES);
    assert_eq!(http::post(address, "/config", &longest).await.status, 200);
    let over = fill(BODY_BYTES + 1);
    let answered = http::post(address, "/config", &over).await;
    assert_eq!(answered.status, 413);
    assert!(answered.json()["error"].is_string());
    // In chunks nobody knows beforehand.
    let head = format!("POST /config HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    let chunks =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{over}\r\n0\r\n\r\n", over.len());
    let said = answer(&siege, &chunks).await;
    assert_eq!(status(&said), 413, "{said:.200}");
    // Who sends it all the same, and reads only then, is told too.
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream
        .write_all(format!("{head}Content-Length: {}\r\n\r\n", 20 << 20).as_bytes())
        .await
        .expect("the server reads");
    for _ in 0..20 {
        let piece = vec![b'x'; 1 << 20];
        wait::within("the server to read", stream.write_all(&piece)).await.expect("it reads on");
    }
    let said = read_all(&mut stream).await;
    assert_eq!(status(&said), 413, "{said:.200}");
    // Whoever asks before sending is told not to.
    for length in ["1048577", "99999999999"] {
        let said = answer(
            &siege,
            &format!("{head}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"),
        )
        .await;
        assert_eq!(status(&said), 413, "{said}");
        assert!(!said.contains("100 Continue"), "{said}");
    }
    let config = http::get(address, "/config").await;
    assert!(config.body.len() >= BODY_BYTES, "the configuration is the one before");
    http::post(address, "/config", "{}").await;
    siege.over().await;
}

#[tokio::test]
async fn c10_compressed_bodies_are_not_unpacked() {
    let siege = Siege::begin().await;
    for encoding in ["gzip", "br", "deflate", "zstd", "gzip, gzip", "x", ""] {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", encoding)];
        let said = http::request(siege.address(), "POST", "/config", &headers, "\x1f{}").await;
        assert_eq!(said.status, 415, "{encoding:?}: {said:?}");
    }
    let headers = [("Content-Encoding", "identity")];
    let said = http::request(siege.address(), "POST", "/config", &headers, "{}").await;
    assert_eq!(said.status, 200, "{said:?}");
    siege.over().await;
}

#[tokio::test]
async fn c12_methods_and_paths() {
    let siege = Siege::begin().await;
    let address = siege.address();
    for path in ["/", "/health", "/config"] {
        let get = http::get(address, path).await;
        let head = http::request(address, "HEAD", path, &[], "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("Content-Type"), get.header("Content-Type"), "{path}");
        assert!(head.header("Content-Length").is_some(), "{path}");
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "get", "X"] {
        for (path, allowed) in [
            ("/config", &["GET", "POST"][..]),
            ("/", &["GET", "HEAD"]),
            ("/ws", &["GET"]),
            ("/health", &["GET"]),
        ] {
            let said = http::request(address, method, path, &[], "").await;
            assert_eq!(said.status, 405, "{method} {path}");
            let allow = said.header("Allow").expect("what is allowed");
            assert!(
                allowed.iter().all(|method| allow.contains(method)),
                "{method} {path}: {allow}"
            );
            assert_eq!(said.header("Access-Control-Allow-Origin"), None);
        }
    }
    let connect =
        format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let said = answer(&siege, &connect).await;
    assert!(matches!(status(&said), 400 | 404 | 405), "{said}");
    for path in [
        "/nothing",
        "/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/config/",
        "/page.js/../config",
        "//",
        "//config",
        "/%2e%2e/",
        "/%63onfig",
        "/CONFIG",
        "/config;x",
        "/\u{7f}",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let said = answer(&siege, &request).await;
        assert!(matches!(status(&said), 404 | 400), "{path}: {said}");
    }
    siege.over().await;
}

#[tokio::test]
async fn c14_heads_that_others_would_read_otherwise() {
    let siege = Siege::begin().await;
    let host = format!("Host: {}\r\n{CLOSE}", siege.address());
    for request in [
        format!("GET /health HTTP/1.1\r\n{host}X: a\r\n b\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n{host}X : a\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n{host}X: a\rb\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n{host}: a\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n{host}X\r\n\r\n"),
        format!("GET /hea\0lth HTTP/1.1\r\n{host}\r\n"),
        format!("GET  /health HTTP/1.1\r\n{host}\r\n"),
        format!("GET /health  HTTP/1.1\r\n{host}\r\n"),
        format!("GET\t/health HTTP/1.1\r\n{host}\r\n"),
        format!(" GET /health HTTP/1.1\r\n{host}\r\n"),
        format!("GET /health HTTP/1.1 \r\n{host}\r\n"),
        format!("GET health HTTP/1.1\r\n{host}\r\n"),
        format!("GET http:///health HTTP/1.1\r\n{host}\r\n"),
        format!("GET /health HTTP/1.1\n{host}\r\n"),
        format!("GET /health HTTP/1.1\r\n{host}X: a\nY: b\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n{host}\n"),
        "GET /health HTTP/1.1\nHost: localhost\n\n".to_owned(),
        format!("\nGET /health HTTP/1.1\r\n{host}\r\n"),
    ] {
        assert_refused(&answer(&siege, &request).await, 400, &request);
    }
    // Behind a good request it has its turn, and nothing behind it counts.
    let good = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", siege.address());
    let said = answer(&siege, &format!("{good}{good}GET / HTTP/1.1\n\r\n{good}")).await;
    let (before, last) = said.split_at(said.rfind("HTTP/1.1 ").expect("an answer"));
    assert_eq!(before.matches("HTTP/1.1 200").count(), 2, "{said}");
    assert_refused(last, 400, "a bad one behind two good ones");
    // The word for a refused head, from outside, is a method like any other.
    let said = answer(&siege, &format!("REFUSED / HTTP/1.1\r\n{host}\r\n")).await;
    assert_refused(&said, 405, "REFUSED");
    siege.over().await;
}

#[tokio::test]
async fn c17_clients_that_reset_before_the_answer() {
    let siege = Siege::begin().await;
    let address = siege.address();
    let lines = siege.relay.stderr().lines().count();
    for path in ["/", "/config", "/health", "/nothing"] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(address).await.expect("the server listens");
            let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("the server reads");
            // Closing with lingering of zero sends a reset.
            reset(stream);
        }
    }
    let more = siege.relay.stderr().lines().count() - lines;
    assert!(more < 10, "{more} lines of log");
    siege.over().await;
}

#[tokio::test]
async fn c17_a_client_that_asks_and_never_reads_holds_little() {
    let siege = Siege::begin().await;
    let address = siege.address();
    let ask = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(100);
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(address).await.expect("the server listens");
        // Until the server stops reading, because nobody reads its answers.
        while let Ok(Ok(())) =
            tokio::time::timeout(Duration::from_millis(100), stream.write_all(ask.as_bytes())).await
        {
        }
        deaf.push(stream);
    }
    assert_eq!(http::get(address, "/health").await.status, 200);
    let asked = Instant::now();
    let mut client = siege.client().await;
    client.say(json!({ "echo": true }).to_string()).await;
    assert_eq!(client.turn().await.result()["subtype"], "success");
    wait::was_within(Duration::from_secs(1), asked);
    client.close().await;
    drop(deaf);
    siege.over().await;
}

/// Ends a connection by a reset.
pub(super) fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("an option of TCP");
}
