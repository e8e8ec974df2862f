//! Frames that RFC 6455 forbids or bounds, written byte by byte. The letters
//! in the names group the faults: E the handshake, F the frames.
//!
//! After each the server is as it was: [`still_works`].

use crate::support::http;
use crate::support::place::Place;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::{Client, RawClient, client_frame};
use serde_json::json;

/// A whole text frame.
const TEXT: u8 = 0x81;
/// The first of several text frames.
const TEXT_BEGINS: u8 = 0x01;
/// A frame in the middle of a message.
const CONTINUES: u8 = 0x00;
/// The last frame of a message.
const ENDS: u8 = 0x80;
/// A whole binary frame.
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// The longest message, however it is cut into frames.
const LONGEST_MESSAGE_BYTES: usize = 64 << 20;

/// The server answers and another client gets a turn out of it.
async fn still_works(relay: Relay) {
    assert_eq!(http::get(relay.address(), "/health").await.status, 200);
    let mut client = Client::connect(relay.address()).await;
    client.say(json!({ "echo": true }).to_string()).await;
    assert_eq!(client.turn().await.result()["subtype"], "success");
    client.close().await;
    relay.stop();
}

/// Asserts that `bytes` on an open connection end it with `code`.
async fn ends_with(code: u16, bytes: &[u8]) {
    let place = Place::new();
    let relay = Launch::demo(&place).start();
    let mut client = RawClient::connect(relay.address()).await;
    client.write(bytes).await;
    assert_eq!(client.closed().await, Some(code), "for {:02x?}", &bytes[..bytes.len().min(16)]);
    drop(client);
    still_works(relay).await;
}

/// A user message, as long as it has to be.
fn message(bytes: usize) -> Vec<u8> {
    let message = |text: &str| {
        let message = json!({ "role": "user", "content": text });
        json!({ "type": "user_message", "data": { "type": "user", "message": message } })
            .to_string()
    };
    let short = message("").len();
    let long = message(&"x".repeat(bytes.saturating_sub(short)));
    assert!(bytes < short || long.len() == bytes);
    long.into_bytes()
}

#[tokio::test]
async fn e_upgrades_that_are_none() {
    let place = Place::new();
    let relay = Launch::demo(&place).start();
    let key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let version = ("Sec-WebSocket-Version", "13");
    let with = |more: &[(&'static str, &'static str)]| [&upgrade, more].concat();
    for (headers, method, status) in [
        (vec![], "GET", 426),
        (with(&[version]), "GET", 400),
        (with(&[key, ("Sec-WebSocket-Version", "8")]), "GET", 426),
        (with(&[key]), "GET", 426),
        (with(&[key, version]), "POST", 405),
    ] {
        let answer = http::request(relay.address(), method, "/ws", &headers, "").await;
        assert_eq!(answer.status, status, "{method} with {headers:?}: {answer:?}");
        if status == 426 {
            assert_eq!(answer.header("Upgrade"), Some("websocket"));
            assert_eq!(answer.header("Sec-WebSocket-Version"), Some("13"));
        }
    }
    let (answer, _) = RawClient::upgrade(relay.address(), "/config", &[]).await;
    assert_ne!(answer.status, 101, "only /ws is a WebSocket");
    still_works(relay).await;
}

#[tokio::test]
async fn e_offers_are_not_echoed() {
    let place = Place::new();
    let relay = Launch::demo(&place).start();
    let offers =
        [("Sec-WebSocket-Protocol", "chat"), ("Sec-WebSocket-Extensions", "permessage-deflate")];
    let (answer, client) = RawClient::upgrade(relay.address(), "/ws", &offers).await;
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for (offer, _) in offers {
        assert_eq!(answer.header(offer), None);
    }
    drop(client);
    still_works(relay).await;
}

#[tokio::test]
async fn f1_a_frame_without_a_mask() {
    ends_with(1002, &[TEXT, 2, b'{', b'}']).await;
}

#[tokio::test]
async fn f2_reserved_bits_and_opcodes() {
    for first in [0xC1, 0xA1, 0x91, 0x83, 0x87, 0x8B, 0x8F] {
        ends_with(1002, &client_frame(first, b"{}")).await;
    }
}

#[tokio::test]
async fn f3_control_frames_too_long_or_cut() {
    ends_with(1002, &client_frame(PING, &[b'x'; 126])).await;
    ends_with(1002, &client_frame(PING & 0x7F, b"x")).await;
}

#[tokio::test]
async fn f4_fragments_out_of_order() {
    ends_with(1002, &client_frame(ENDS, b"{}")).await;
    let twice = [client_frame(TEXT_BEGINS, b"{"), client_frame(TEXT, b"{}")].concat();
    ends_with(1002, &twice).await;
}

#[tokio::test]
async fn f6_a_message_of_the_longest_size_is_taken() {
    let place = Place::new();
    let relay = Launch::demo(&place).start();
    let mut client = RawClient::connect(relay.address()).await;
    // Cut in two, so that it is the message that is counted.
    let message = message(LONGEST_MESSAGE_BYTES);
    let (head, tail) = message.split_at(message.len() / 2);
    client.write(&client_frame(TEXT_BEGINS, head)).await;
    client.write(&client_frame(ENDS, tail)).await;
    // The next one shows that the connection is as before.
    client.write(&client_frame(TEXT, b"nonsense")).await;
    loop {
        let (first, payload) = client.read().await.expect("the connection stays");
        assert_eq!(first, TEXT);
        if String::from_utf8_lossy(&payload).contains("Invalid message format") {
            break;
        }
    }
    drop(client);
    still_works(relay).await;
}

#[tokio::test]
async fn f6_a_message_that_is_too_long() {
    ends_with(1009, &client_frame(TEXT, &message(LONGEST_MESSAGE_BYTES + 1))).await;
}

#[tokio::test]
async fn f6_fragments_that_are_too_long_together() {
    let piece = vec![b'x'; 1 << 20];
    let mut frames = client_frame(TEXT_BEGINS, &piece);
    for _ in 0..LONGEST_MESSAGE_BYTES / piece.len() {
        frames.extend(client_frame(CONTINUES, &piece));
    }
    ends_with(1009, &frames).await;
}

#[tokio::test]
async fn f8_text_that_is_not_utf_8() {
    for bytes in [&b"\xff"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf0\x9f\x98"] {
        ends_with(1007, &client_frame(TEXT, bytes)).await;
    }
}

#[tokio::test]
async fn f8_a_character_cut_between_fragments_is_whole() {
    let place = Place::new();
    let relay = Launch::demo(&place).start();
    let mut client = RawClient::connect(relay.address()).await;
    let text = r#"{"type":"😀"}"#.as_bytes();
    for (number, byte) in text.iter().enumerate() {
        let first = if number == 0 { TEXT_BEGINS } else { CONTINUES };
        client.write(&client_frame(first, &[*byte])).await;
        // A ping between fragments is allowed, and answered.
        client.write(&client_frame(PING, &[*byte])).await;
        assert_eq!(client.read().await, Some((PONG, vec![*byte])));
    }
    client.write(&client_frame(ENDS, b"")).await;
    let (first, payload) = client.read().await.expect("an answer");
    let payload = String::from_utf8(payload).expect("text");
    assert_eq!(first, TEXT);
    assert!(payload.contains("😀"), "an error that names the type: {payload}");
    drop(client);
    still_works(relay).await;
}

#[tokio::test]
async fn f9_and_f10_pings_and_pongs() {
    let place = Place::new();
    let relay = Launch::demo(&place).start();
    let mut client = RawClient::connect(relay.address()).await;
    client.write(&client_frame(PONG, b"nobody asked")).await;
    client.write(&client_frame(PING, &[b'x'; 125])).await;
    assert_eq!(client.read().await, Some((PONG, vec![b'x'; 125])));
    drop(client);
    still_works(relay).await;
}

#[tokio::test]
async fn f12_a_close_is_answered_and_what_follows_is_not_read() {
    let place = Place::new();
    let relay = Launch::demo(&place).start();
    let mut client = RawClient::connect(relay.address()).await;
    client.write(&client_frame(CLOSE, &1000_u16.to_be_bytes())).await;
    client.write(&client_frame(TEXT, b"nonsense")).await;
    assert_eq!(client.closed().await, Some(1000));
    still_works(relay).await;
}

#[tokio::test]
async fn f13_a_binary_frame_of_json_counts_as_text() {
    let place = Place::new();
    let relay = Launch::demo(&place).start();
    let mut client = RawClient::connect(relay.address()).await;
    client.write(&client_frame(BINARY, br#"{"type":"of tomorrow"}"#)).await;
    let (_, payload) = client.read().await.expect("an answer");
    assert!(String::from_utf8_lossy(&payload).contains("of tomorrow"));
    client.write(&client_frame(BINARY, b"\xff\x00")).await;
    let (_, payload) = client.read().await.expect("an answer");
    assert!(String::from_utf8_lossy(&payload).contains("Invalid message format"));
    drop(client);
    still_works(relay).await;
}
