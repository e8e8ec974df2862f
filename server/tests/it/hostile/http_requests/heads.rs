//! Heads: too large, malformed, or of something else than HTTP.

use super::*;

#[tokio::test]
async fn host_header_is_required_once_and_not_empty() {
    let harness = AttackHarness::begin().await;
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
                answer(&harness, &format!("{request}\r\n{hosts}Connection: close\r\n\r\n")).await;
            assert_refused(&said, 400, &format!("{request} {hosts}"));
        }
    }
    harness.over().await;
}

#[tokio::test]
async fn other_protocols_are_refused() {
    let harness = AttackHarness::begin().await;
    let before = model(harness.address()).await;
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
        let said = exchange(harness.address(), bytes).await;
        wait::was_within(SLOW / 2, asked);
        assert_refused(&said, 400, &String::from_utf8_lossy(bytes));
    }
    // HTTP/1.0 is spoken, with a Host: an old proxy may ask so. Not upgraded.
    let said = answer(&harness, "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
    assert!(said.contains(" 200 OK"), "{said}");
    let said = answer(&harness, "GET /health HTTP/1.0\r\n\r\n").await;
    assert!(said.contains(" 400 "), "{said}");
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let said = answer(&harness, &format!("GET /ws HTTP/1.0\r\nHost: localhost\r\n{upgrade}")).await;
    assert!(said.contains(" 426 "), "{said}");
    assert_eq!(model(harness.address()).await, before);
    harness.over().await;
}

#[tokio::test]
async fn oversized_heads_are_refused() {
    let harness = AttackHarness::begin().await;
    let host = format!("Host: {}\r\n", harness.address());
    let large = format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(256 << 10));
    let many = format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: x\r\n".repeat(1000));
    let name = format!("GET / HTTP/1.1\r\n{host}{}: x\r\n\r\n", "x".repeat(256 << 10));
    let block = format!("GET / HTTP/1.1\r\n{host}{CLOSE}X: {}\r\n\r\n", "x".repeat(64 << 10));
    let fields = format!("GET / HTTP/1.1\r\n{host}{CLOSE}{}\r\n", "X: y\r\n".repeat(99));
    let just = format!("GET / HTTP/1.1\r\n{host}{CLOSE}X: {}\r\n\r\n", "x".repeat(32 << 10));
    for request in [large, many, name, block, fields, just] {
        let said = answer(&harness, &request).await;
        assert_refused(&said, 431, &request);
    }
    for length in [17_000, 65_536, 70_000, 1 << 20] {
        let long = format!("GET /?{} HTTP/1.1\r\n{host}{CLOSE}\r\n", "x".repeat(length));
        assert_refused(&answer(&harness, &long).await, 414, &long);
    }
    // Nobody waits for the end of what is too large already.
    let endless = "x".repeat(100_000);
    for (start, expected) in [("GET /", 414), ("GET / HTTP/1.1\r\nX: ", 431)] {
        let request = format!("{start}{endless}");
        assert_refused(&answer(&harness, &request).await, expected, &request);
    }
    // A large head within the bounds is served.
    let fine = format!(
        "GET /health?{} HTTP/1.1\r\n{host}X: {}\r\n{}Connection: close\r\n\r\n",
        "x".repeat(15_000),
        "x".repeat(20_000),
        "Y: y\r\n".repeat(90)
    );
    assert_eq!(status(&answer(&harness, &fine).await), 200);
    harness.over().await;
}

/// Requests inside of others: what one server takes for a body, another takes
/// for the next request.
#[tokio::test]
async fn ambiguous_lengths_are_refused() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
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
        let said = answer(&harness, &format!("{post}{head}\r\n{body}{hidden}")).await;
        assert_refused(&said, 400, &head);
    }
    // Bytes after a body, or after an offer of another protocol, are no request.
    for (first, expected) in [
        (format!("{post}Content-Length: 2\r\n\r\n{{}}"), 200),
        (format!("{post}{chunked}\r\n2\r\n{{}}\r\n0\r\n\r\n"), 200),
        (format!("POST /health HTTP/1.1\r\nHost: {address}\r\n{length}\r\nhello"), 405),
        (format!("GET /health HTTP/1.1\r\nHost: {address}\r\nUpgrade: h2c\r\n\r\n"), 200),
    ] {
        let said = answer(&harness, &format!("{first}{hidden}")).await;
        assert_eq!(status(&said), expected, "{first}: {said}");
        assert_eq!(said.matches("HTTP/1.1").count(), 1, "{first}: {said}");
        assert!(said.to_ascii_lowercase().contains("connection: close"), "{said}");
    }
    // Without a body a connection is used again.
    let get = format!("GET /health HTTP/1.1\r\nHost: {address}\r\n");
    let said = answer(&harness, &format!("{get}\r\n{get}{CLOSE}\r\n")).await;
    assert_eq!(said.matches("HTTP/1.1 200").count(), 2, "{said}");
    harness.over().await;
}

#[tokio::test]
async fn unknown_methods_and_paths_are_refused() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
    for path in ["/", "/health", "/config"] {
        let get = http::get(address, path).await;
        let head = http::request(address, "HEAD", path, &[], "").await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("Content-Type"), get.header("Content-Type"), "{path}");
        assert!(head.header("Content-Length").is_some(), "{path}");
    }
    for method in ["PUT", "DELETE", "OPTIONS", "TRACE", "BREW", "get", "X"] {
        for (path, allowed) in [
            ("/config", &["GET", "POST", "PATCH"][..]),
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
    let said = answer(&harness, &connect).await;
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
        let said = answer(&harness, &request).await;
        assert!(matches!(status(&said), 404 | 400), "{path}: {said}");
    }
    harness.over().await;
}

#[tokio::test]
async fn ambiguous_heads_are_refused() {
    let harness = AttackHarness::begin().await;
    let host = format!("Host: {}\r\n{CLOSE}", harness.address());
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
        assert_refused(&answer(&harness, &request).await, 400, &request);
    }
    // Behind a good request it has its turn, and nothing behind it counts.
    let good = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", harness.address());
    let said = answer(&harness, &format!("{good}{good}GET / HTTP/1.1\n\r\n{good}")).await;
    let (before, last) = said.split_at(said.rfind("HTTP/1.1 ").expect("an answer"));
    assert_eq!(before.matches("HTTP/1.1 200").count(), 2, "{said}");
    assert_refused(last, 400, "a bad one behind two good ones");
    // The word for a refused head, from outside, is a method like any other.
    let said = answer(&harness, &format!("REFUSED / HTTP/1.1\r\n{host}\r\n")).await;
    assert_refused(&said, 405, "REFUSED");
    harness.over().await;
}
