//! The conduct that RFC 6455 asks of a server, case by case as the Autobahn
//! test suite groups them: 1 framing, 2 pings, 3 reserved bits, 4 opcodes, 5
//! fragments, 6 UTF-8, 7 closing, 9 size, 10 pieces. What Autobahn does with a
//! server that echoes is done here through the relay and an agent that echoes.
//!
//! Compression (12, 13) is not offered. UTF-8 is judged when a message is whole
//! (6.4: "non-strict" there). The single violations are in `frames`.

use serde_json::{Value, json};

use super::AttackHarness;
use crate::support::ws::{RawClient, client_frame};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// A message of exactly `bytes` that the agent answers with the same text, and
/// that text.
fn message(bytes: usize, fill: &str) -> (Vec<u8>, String) {
    let build = |pad: &str| {
        let text = json!({ "echo": true, "note": pad }).to_string();
        let message = json!({ "role": "user", "content": text });
        let whole =
            json!({ "type": "user_message", "data": { "type": "user", "message": message } });
        (whole.to_string().into_bytes(), text)
    };
    let room = bytes.saturating_sub(build("").0.len());
    let pad = fill.repeat(room / fill.len()) + &"x".repeat(room % fill.len());
    build(&pad)
}

/// Sends the frames, and reads until the agent has echoed the text.
async fn echo(client: &mut RawClient, frames: &[u8], text: &str) {
    let mut echoed = false;
    client
        .write_while_reading(frames, |first, payload| {
            if first == PONG {
                return false;
            }
            assert_eq!(first, TEXT);
            let frame: Value = serde_json::from_slice(&payload).expect("a frame is JSON");
            assert_ne!(frame["type"], "error", "{frame}");
            echoed |= frame["data"]["message"]["content"][0]["text"] == text;
            frame["data"]["type"] == "result"
        })
        .await;
    assert!(echoed, "the text came back");
}

/// A message in fragments of `piece` bytes, with `between` after each but the
/// last.
fn fragments(first: u8, message: &[u8], piece: usize, between: &[u8]) -> Vec<u8> {
    const FINAL: u8 = 0x80;
    let mut frames = Vec::new();
    let count = message.chunks(piece).count();
    for (number, chunk) in message.chunks(piece).enumerate() {
        let opcode = if number == 0 { first & !FINAL } else { 0 };
        let end = if number + 1 == count { FINAL } else { 0 };
        frames.extend(client_frame(opcode | end, chunk));
        if end == 0 {
            frames.extend(between);
        }
    }
    frames
}

#[tokio::test]
async fn group_1_payloads_of_every_length() {
    let harness = AttackHarness::begin().await.may_grow_by(128 << 20);
    let mut client = RawClient::connect(harness.address()).await;
    // Too short for a message: each is answered all the same.
    for length in [0, 1, 2, 124, 125] {
        for first in [TEXT, BINARY] {
            client.write(&client_frame(first, &vec![b'*'; length])).await;
            let (_, payload) = client.read().await.expect("an answer");
            assert!(payload.starts_with(br#"{"type":"error""#), "{length}");
        }
    }
    for length in [126, 127, 128, 200, 65_534, 65_535, 65_536, 65_537, 100_000] {
        for first in [TEXT, BINARY] {
            let (message, text) = message(length, "*");
            assert!(message.len() == length || length < 200);
            echo(&mut client, &client_frame(first, &message), &text).await;
        }
    }
    drop(client);
    harness.over().await;
}

#[tokio::test]
async fn group_2_pings_and_pongs() {
    let harness = AttackHarness::begin().await;
    let mut client = RawClient::connect(harness.address()).await;
    for payload in [&b""[..], b"Hello", b"\0\xff\xfe\xfd\xfc\xfb\0\xff", &[0xfe; 125]] {
        client.write(&client_frame(PING, payload)).await;
        assert_eq!(client.read().await, Some((PONG, payload.to_vec())));
        // One byte after the other.
        for byte in client_frame(PING, payload) {
            client.write(&[byte]).await;
        }
        assert_eq!(client.read().await, Some((PONG, payload.to_vec())));
    }
    // Pongs that nobody asked for, before and between.
    client.write(&client_frame(PONG, b"")).await;
    client.write(&client_frame(PONG, b"unasked")).await;
    client.write(&client_frame(PING, b"asked")).await;
    assert_eq!(client.read().await, Some((PONG, b"asked".to_vec())));
    let ten: Vec<u8> = (0..10).flat_map(|n| client_frame(PING, &[n])).collect();
    client.write(&ten).await;
    for n in 0..10 {
        assert_eq!(client.read().await, Some((PONG, vec![n])));
    }
    drop(client);
    harness.over().await;
}

#[tokio::test]
async fn groups_3_and_4_nothing_behind_a_violation_counts() {
    let harness = AttackHarness::begin().await;
    for bad in [0xC1, 0x91, 0xF1, 0x83, 0x87, 0x8B, 0x8F] {
        let mut client = RawClient::connect(harness.address()).await;
        let frames =
            [client_frame(PING, b"before"), client_frame(bad, b"*"), client_frame(PING, b"behind")];
        client.write(&frames.concat()).await;
        assert_eq!(client.read().await, Some((PONG, b"before".to_vec())), "{bad:#x}");
        let (first, payload) = client.read().await.expect("a close frame");
        assert_eq!((first, &payload[..2]), (CLOSE, &1002_u16.to_be_bytes()[..]), "{bad:#x}");
        assert_eq!(client.read().await, None, "a close is the last frame");
    }
    harness.over().await;
}

#[tokio::test]
async fn group_5_fragments_with_pings_between() {
    let harness = AttackHarness::begin().await;
    let mut client = RawClient::connect(harness.address()).await;
    let (message, text) = message(400, "fragment \u{1F600} ");
    for first in [TEXT, BINARY] {
        for piece in [1, 2, 7, 100, 399, 400] {
            for between in [&[][..], &client_frame(PING, b"ping"), &client_frame(PONG, b"pong")] {
                echo(&mut client, &fragments(first, &message, piece, between), &text).await;
            }
        }
    }
    // Empty fragments first, last and in the middle.
    let (head, tail) = message.split_at(200);
    let frames = [
        client_frame(0x01, b""),
        client_frame(0x00, head),
        client_frame(0x00, b""),
        client_frame(0x00, tail),
        client_frame(0x80, b""),
    ];
    echo(&mut client, &frames.concat(), &text).await;
    // A ping in the middle is answered at once, not after the message.
    client.write(&client_frame(0x01, head)).await;
    client.write(&client_frame(PING, b"now")).await;
    assert_eq!(client.read().await, Some((PONG, b"now".to_vec())));
    echo(&mut client, &client_frame(0x80, tail), &text).await;
    drop(client);
    harness.over().await;
}

#[tokio::test]
async fn group_6_every_kind_of_character() {
    let harness = AttackHarness::begin().await;
    let mut client = RawClient::connect(harness.address()).await;
    // The first and last of each length, the edges of the surrogates, what is
    // assigned to nothing.
    let characters = "\u{7f}\u{80}\u{7ff}\u{800}\u{fff}\u{d7ff}\u{e000}\u{fdd0}\u{fffd}\u{fffe}\
                      \u{ffff}\u{10000}\u{1fffe}\u{10fffd}\u{10ffff}κόσμε";
    let (whole, text) = message(1000, characters);
    for piece in [1, 3, 1000] {
        echo(&mut client, &fragments(TEXT, &whole, piece, &[]), &text).await;
    }
    drop(client);
    harness.over().await;
}

#[tokio::test]
async fn group_7_nothing_is_said_after_a_close() {
    let harness = AttackHarness::begin().await;
    let (message, _) = message(300, "x");
    for close in
        [&b""[..], b"\x03\xe8", b"\x03\xe8a reason", &[b"\x03\xe8", &[b'x'; 123][..]].concat()]
    {
        let mut client = RawClient::connect(harness.address()).await;
        let after = [client_frame(TEXT, &message), client_frame(PING, b"")].concat();
        client.write(&[client_frame(CLOSE, close), after].concat()).await;
        let (first, payload) = client.read().await.expect("an answer");
        assert_eq!((first, payload.get(..2)), (CLOSE, close.get(..2)));
        assert_eq!(client.read().await, None, "a close is the last frame");
    }
    harness.over().await;
}

#[tokio::test]
async fn group_9_large_messages_in_pieces_of_every_size() {
    let harness = AttackHarness::begin().await.may_grow_by(192 << 20);
    let mut client = RawClient::connect(harness.address()).await;
    for (length, pieces) in [
        (64 << 10, &[64, 256, 1024, 64 << 10][..]),
        (256 << 10, &[4096, 256 << 10]),
        (1 << 20, &[4096, 1 << 20]),
        (4 << 20, &[64 << 10, 4 << 20]),
        (16 << 20, &[1 << 20]),
    ] {
        let (message, text) = message(length, "*");
        for piece in pieces {
            echo(&mut client, &fragments(TEXT, &message, *piece, &[]), &text).await;
        }
    }
    drop(client);
    harness.over().await;
}

#[tokio::test]
async fn group_10_a_message_in_segments_of_every_size() {
    let harness = AttackHarness::begin().await;
    let mut client = RawClient::connect(harness.address()).await;
    let (message, text) = message(65_536, "*");
    let frame = client_frame(TEXT, &message);
    for segment in [997, 1300, 8192, 65_536] {
        let (last, first) = frame
            .chunks(segment)
            .collect::<Vec<_>>()
            .split_last()
            .map(|(l, f)| (*l, f.to_vec()))
            .expect("segments");
        for part in first {
            client.write(part).await;
            tokio::task::yield_now().await;
        }
        echo(&mut client, last, &text).await;
    }
    drop(client);
    harness.over().await;
}
