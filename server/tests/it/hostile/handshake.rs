//! E: upgrades that are none, and some that look odd and are.

use std::time::{Duration, Instant};

use serde_json::json;

use super::AttackHarness;
use crate::support::http;
use crate::support::ws::{Client, RawClient, client_frame};

const KEY: (&str, &str) = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
const VERSION: (&str, &str) = ("Sec-WebSocket-Version", "13");
const UPGRADE: (&str, &str) = ("Upgrade", "websocket");
const CONNECTION: (&str, &str) = ("Connection", "Upgrade");

/// The answer to an upgrade with exactly these headers, beside `Host`.
async fn upgrade(
    harness: &AttackHarness,
    request: &str,
    headers: &[(&str, &str)],
) -> http::Response {
    let mut head = format!("{request} HTTP/1.1\r\nHost: {}\r\n", harness.address());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    // Of the answer the head alone: after 101 there is no end.
    http::exchange(harness.address(), head.as_bytes(), true).await
}

#[tokio::test]
async fn key_must_be_sixteen_bytes_and_unique() {
    let harness = AttackHarness::begin().await;
    for keys in [
        &[][..],
        &[""],
        &["x"],
        &["dGhlIHNhbXBsZSBub25jZQ"],
        &["dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=="],
        &["dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="],
        &["AAAAdGhlIHNhbXBsZSBub25jZQ=="],
        &["****************AAAAAA=="],
    ] {
        let mut headers = vec![CONNECTION, UPGRADE, VERSION];
        headers.extend(keys.iter().map(|key| (KEY.0, *key)));
        let said = upgrade(&harness, "GET /ws", &headers).await;
        assert_eq!(said.status, 400, "{keys:?}: {said:?}");
    }
    harness.over().await;
}

#[tokio::test]
async fn only_version_13_is_accepted() {
    let harness = AttackHarness::begin().await;
    for versions in [&[][..], &["8"], &["12"], &["013"], &["13, 8"], &["13", "13"], &["x"], &[""]] {
        let mut headers = vec![CONNECTION, UPGRADE, KEY];
        headers.extend(versions.iter().map(|version| (VERSION.0, *version)));
        let said = upgrade(&harness, "GET /ws", &headers).await;
        assert_eq!(said.status, 426, "{versions:?}: {said:?}");
        assert_eq!(said.header("Sec-WebSocket-Version"), Some("13"));
        assert_eq!(said.header("Upgrade"), Some("websocket"));
    }
    harness.over().await;
}

#[tokio::test]
async fn only_a_get_of_ws_is_upgraded() {
    let harness = AttackHarness::begin().await;
    let all = [CONNECTION, UPGRADE, VERSION, KEY];
    for (request, expected) in [
        ("POST /ws", 405),
        ("PUT /ws", 405),
        ("HEAD /ws", 405),
        ("GET /config", 200),
        ("GET /", 200),
        ("GET /health", 200),
        ("GET /ws/", 404),
        ("GET /WS", 404),
    ] {
        let said = upgrade(&harness, request, &all).await;
        assert_eq!(said.status, expected, "{request}: {said:?}");
    }
    for (headers, expected) in [
        (&[][..], 426),
        (&[UPGRADE, VERSION, KEY], 426),
        (&[CONNECTION, VERSION, KEY], 426),
        (&[CONNECTION, ("Upgrade", "h2c"), VERSION, KEY], 426),
        (&[("Connection", "close"), UPGRADE, VERSION, KEY], 426),
    ] {
        let said = upgrade(&harness, "GET /ws", headers).await;
        assert_eq!(said.status, expected, "{headers:?}: {said:?}");
    }
    harness.over().await;
}

#[tokio::test]
async fn handshake_with_a_body_is_refused() {
    let harness = AttackHarness::begin().await;
    for body in [("Content-Length", "5"), ("Transfer-Encoding", "chunked")] {
        let said = upgrade(&harness, "GET /ws", &[CONNECTION, UPGRADE, VERSION, KEY, body]).await;
        assert_eq!(said.status, 400, "{body:?}: {said:?}");
    }
    let none = ("Content-Length", "0");
    let said = upgrade(&harness, "GET /ws", &[CONNECTION, UPGRADE, VERSION, KEY, none]).await;
    assert_eq!(said.status, 101, "{said:?}");
    harness.over().await;
}

#[tokio::test]
async fn unusual_but_valid_headers_are_accepted() {
    let harness = AttackHarness::begin().await;
    for (connection, upgrade_to) in [
        ("keep-alive, Upgrade", "websocket"),
        ("Upgrade, keep-alive", "websocket"),
        ("keep-alive,Upgrade", "WebSocket"),
        ("UPGRADE", "WEBSOCKET"),
        ("  upgrade  ", " websocket "),
    ] {
        let headers = [("connection", connection), ("UPGRADE", upgrade_to), VERSION, KEY];
        let said = upgrade(&harness, "GET /ws", &headers).await;
        assert_eq!(said.status, 101, "{connection:?} {upgrade_to:?}: {said:?}");
    }
    harness.over().await;
}

#[tokio::test]
async fn extensions_and_subprotocols_are_ignored() {
    let harness = AttackHarness::begin().await;
    for (name, value) in [
        ("Sec-WebSocket-Protocol", "chat, superchat"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=99; x=\"y\""),
        ("Sec-WebSocket-Extensions", "x-unknown, ,;;="),
    ] {
        let (answer, mut client) =
            RawClient::upgrade(harness.address(), "/ws", &[(name, value)]).await;
        assert_eq!(answer.status, 101, "{value}");
        assert_eq!(answer.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(answer.header(name), None);
        let (first, payload) = client.read().await.expect("a first frame");
        assert_eq!((first, &payload[..]), (0x81, &br#"{"type":"connected"}"#[..]));
    }
    harness.over().await;
}

#[tokio::test]
async fn client_that_never_reads_loses_the_slot_to_the_next() {
    let harness = AttackHarness::with(&["--probe-timeout=300ms"], "/ws").await;
    // It is on, and neither reads nor answers.
    let (answer, deaf) = RawClient::upgrade(harness.address(), "/ws", &[]).await;
    assert_eq!(answer.status, 101);
    let asked = Instant::now();
    let client = Client::connect(harness.address()).await;
    claude_relay_testing::wait::was_within(Duration::from_secs(1), asked);
    client.close().await;
    drop(deaf);
    harness.over().await;
}

#[tokio::test]
async fn client_that_never_answers_a_ping_is_dropped() {
    let harness = AttackHarness::with(&["--ping-interval=300ms", "--pong-timeout=3s"], "/ws").await;
    let (answer, mut deaf) = RawClient::upgrade(harness.address(), "/ws", &[]).await;
    assert_eq!(answer.status, 101);
    // It reads, but a ping is all it gets, and it answers none.
    let mut pings = 0;
    while let Some((first, _)) = deaf.read().await {
        pings += usize::from(first == 0x89);
    }
    assert!(pings >= 1);
    let health = http::get(harness.address(), "/health").await.json();
    assert_eq!(health["client"], "none", "{health}");
    harness.over().await;
}

#[tokio::test]
async fn e_frames_behind_the_handshake_are_not_lost() {
    let harness = AttackHarness::begin().await;
    // More than is read at once with the head.
    let early = |number| json!({ "type": format!("bird {number}"), "x": "x".repeat(1000) });
    let frames: Vec<u8> = (0..100)
        .flat_map(|number| client_frame(0x81, early(number).to_string().as_bytes()))
        .collect();
    let (answer, mut client) =
        RawClient::upgrade_with(harness.address(), "/ws", &[], &frames).await;
    assert_eq!(answer.status, 101);
    client.read().await.expect("connected");
    for number in 0..100 {
        let (_, payload) = client.read().await.expect("an answer");
        let told = String::from_utf8_lossy(&payload);
        assert!(told.contains(&format!("bird {number}")), "{told}");
    }
    drop(client);
    harness.over().await;
}
