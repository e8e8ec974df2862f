//! Clients that are slow, do not read, or disconnect.

use super::*;

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
    let _ = wait::within("the server to close the connection", from.read_to_end(&mut all)).await;
    let lived = begun.elapsed();
    dripping.abort();
    (lived, String::from_utf8_lossy(&all).into_owned())
}

#[tokio::test]
async fn slow_requests_time_out() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
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
    harness.over().await;
}

/// hyper would hold 16 KiB for each: 8 MiB, of which the allocator of the C
/// library gives nothing back.
#[tokio::test]
async fn slow_head_costs_no_more_than_its_bytes() {
    const SLOW_ONES: usize = 500;
    const MOST_BYTES: u64 = SLOW_ONES as u64 * (6 << 10);
    let harness = AttackHarness::begin().await.may_grow_by(MOST_BYTES);
    let head = format!("GET / HTTP/1.1\r\nHost: {}\r\nX: ", harness.address());
    let mut held = Vec::new();
    for _ in 0..SLOW_ONES {
        let mut stream = TcpStream::connect(harness.address()).await.expect("the server listens");
        stream.write_all(head.as_bytes()).await.expect("the server reads");
        held.push(stream);
    }
    // All heads before this one have been read when it is answered.
    assert_eq!(http::get(harness.address(), "/health").await.status, 200);
    let grown = harness.grown_bytes();
    assert!(grown <= MOST_BYTES, "{grown} bytes for {SLOW_ONES} heads");
    drop(held);
    harness.over().await;
}

#[tokio::test]
async fn resets_before_the_answer_leak_nothing() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
    let lines = harness.relay.stderr().lines().count();
    for path in ["/", "/config", "/health", "/nothing"] {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(address).await.expect("the server listens");
            let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("the server reads");
            // Closing with lingering of zero sends a reset.
            reset(stream);
        }
    }
    let more = harness.relay.stderr().lines().count() - lines;
    assert!(more < 10, "{more} lines of log");
    harness.over().await;
}

#[tokio::test]
async fn client_that_never_reads_holds_little_memory() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
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
    let mut client = harness.client().await;
    client.say(json!({ "echo": true }).to_string()).await;
    assert_eq!(client.turn().await.result()["subtype"], "success");
    wait::was_within(Duration::from_secs(1), asked);
    client.close().await;
    drop(deaf);
    harness.over().await;
}

/// Ends a connection by a reset.
pub(in crate::hostile) fn reset(stream: TcpStream) {
    stream.set_zero_linger().expect("an option of TCP");
}
