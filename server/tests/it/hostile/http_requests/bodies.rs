//! Bodies: in chunks, cut short, too large, compressed.

use super::*;

/// The longest body.
const BODY_BYTES: usize = 1 << 20;

#[tokio::test]
async fn malformed_chunks_are_refused() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
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
        let said = answer(&harness, &good).await;
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
        assert_refused(&answer(&harness, &request).await, 400, lengths);
    }
    harness.over().await;
}

#[tokio::test]
async fn truncated_body_changes_nothing() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
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
    harness.over().await;
}

#[tokio::test]
async fn half_closed_connection_gets_its_answer() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
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
    harness.over().await;
}

#[tokio::test]
async fn body_over_the_limit_is_not_read() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
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
    let said = answer(&harness, &chunks).await;
    assert_eq!(status(&said), 413, "{said:.200}");
    // A client that sends it all and reads only then gets the answer too.
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
            &harness,
            &format!("{head}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n"),
        )
        .await;
        assert_eq!(status(&said), 413, "{said}");
        assert!(!said.contains("100 Continue"), "{said}");
    }
    let config = http::get(address, "/config").await;
    assert!(config.body.len() >= BODY_BYTES, "the configuration is the one before");
    http::post(address, "/config", "{}").await;
    harness.over().await;
}

#[tokio::test]
async fn compressed_bodies_are_refused() {
    let harness = AttackHarness::begin().await;
    for encoding in ["gzip", "br", "deflate", "zstd", "gzip, gzip", "x", ""] {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", encoding)];
        let said = http::request(harness.address(), "POST", "/config", &headers, "\x1f{}").await;
        assert_eq!(said.status, 415, "{encoding:?}: {said:?}");
    }
    let headers = [("Content-Encoding", "identity")];
    let said = http::request(harness.address(), "POST", "/config", &headers, "{}").await;
    assert_eq!(said.status, 200, "{said:?}");
    harness.over().await;
}
