//! F: frames that RFC 6455 forbids or bounds, written byte by byte.

use std::time::{Duration, Instant};

use serde_json::json;

use super::AttackHarness;
use crate::support::http;
use crate::support::ws::{RawClient, client_frame};
use claude_relay_testing::wait;

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

/// Asserts that each of these on an open connection ends it with `code`.
async fn end_with(code: u16, attacks: &[Vec<u8>]) {
    let harness = AttackHarness::begin().await.may_grow_by(128 << 20);
    for bytes in attacks {
        let mut client = RawClient::connect(harness.address()).await;
        client.write(bytes).await;
        let head = &bytes[..bytes.len().min(16)];
        assert_eq!(client.closed().await, Some(code), "for {head:02x?}");
    }
    harness.over().await;
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
async fn unmasked_frame_is_a_protocol_error() {
    end_with(1002, &[vec![TEXT, 2, b'{', b'}'], vec![PING, 0], vec![CLOSE, 0]]).await;
}

#[tokio::test]
async fn reserved_bits_and_opcodes_are_protocol_errors() {
    // The first bit would say that a frame is compressed, which is not offered.
    let bits = [0xC1, 0xA1, 0x91, 0xF1, 0xC9, 0xC8];
    let opcodes = [0x83, 0x84, 0x85, 0x86, 0x87, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F];
    let frames = bits.iter().chain(&opcodes).map(|first| client_frame(*first, b"{}"));
    end_with(1002, &frames.collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn long_or_fragmented_control_frames_are_protocol_errors() {
    let long = [PING, PONG, CLOSE].map(|first| client_frame(first, &[b'x'; 126]));
    let cut = [PING, PONG, CLOSE].map(|first| client_frame(first & 0x7F, b"x"));
    end_with(1002, &[long, cut].concat()).await;
}

#[tokio::test]
async fn fragments_out_of_order_are_protocol_errors() {
    let twice = [client_frame(TEXT_BEGINS, b"{"), client_frame(TEXT, b"{}")].concat();
    let again = [client_frame(TEXT_BEGINS, b"{"), client_frame(TEXT_BEGINS, b"{}")].concat();
    let after = [client_frame(TEXT, b"{}"), client_frame(ENDS, b"{}")].concat();
    let first = [client_frame(ENDS, b"{}"), client_frame(CONTINUES, b"{}")];
    end_with(1002, &[&first[..], &[twice, again, after]].concat()).await;
}

#[tokio::test]
async fn message_of_the_maximum_size_is_accepted() {
    let harness = AttackHarness::begin().await.may_grow_by(128 << 20);
    // Cut in two, so that it is the message that is counted.
    let message = message(LONGEST_MESSAGE_BYTES);
    let (head, tail) = message.split_at(message.len() / 2);
    // Made before the client is there, which would be silent for too long.
    let frames = [client_frame(TEXT_BEGINS, head), client_frame(ENDS, tail)];
    let mut client = RawClient::connect(harness.address()).await;
    for frame in &frames {
        client.write(frame).await;
    }
    // The next one shows that the connection is as before.
    client.write(&client_frame(TEXT, b"nonsense")).await;
    loop {
        let (first, payload) = client.read().await.expect("the connection stays");
        if first == PING {
            // A slow machine may take longer over it than the server is silent.
            client.write(&client_frame(PONG, &payload)).await;
            continue;
        }
        assert_eq!(first, TEXT);
        if String::from_utf8_lossy(&payload).contains("Invalid message format") {
            break;
        }
    }
    drop(client);
    harness.over().await;
}

#[tokio::test]
async fn message_over_the_maximum_size_is_refused() {
    // The frame that announces it is enough: its bytes need not come.
    let announced = [&[TEXT, 0xff][..], &(LONGEST_MESSAGE_BYTES as u64 + 1).to_be_bytes()].concat();
    let absurd = [&[TEXT, 0xff][..], &(u64::MAX >> 1).to_be_bytes(), &[0; 4]].concat();
    let announced = [&announced[..], &[0; 4]].concat();
    let whole = client_frame(TEXT, &message(LONGEST_MESSAGE_BYTES + 1));
    end_with(1009, &[announced, absurd, whole]).await;
}

#[tokio::test]
async fn fragments_over_the_maximum_size_are_refused() {
    let piece = vec![b'x'; 1 << 20];
    let mut frames = client_frame(TEXT_BEGINS, &piece);
    for _ in 0..LONGEST_MESSAGE_BYTES / piece.len() {
        frames.extend(client_frame(CONTINUES, &piece));
    }
    end_with(1009, &[frames]).await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_is_refused() {
    let bad = [
        &b"\xff"[..],
        b"{\"type\":\"\x80\"}",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x98",
    ];
    let whole = bad.map(|bytes| client_frame(TEXT, bytes));
    // The same in two fragments, cut in the middle.
    let cut = bad.map(|bytes| {
        let (head, tail) = bytes.split_at(bytes.len() / 2);
        [client_frame(TEXT_BEGINS, head), client_frame(ENDS, tail)].concat()
    });
    end_with(1007, &[whole, cut].concat()).await;
}

#[tokio::test]
async fn character_split_between_fragments_is_accepted() {
    let harness = AttackHarness::begin().await.may_grow_by(128 << 20);
    let mut client = RawClient::connect(harness.address()).await;
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
    harness.over().await;
}

#[tokio::test]
async fn pings_are_answered_and_pongs_are_ignored() {
    let harness = AttackHarness::begin().await.may_grow_by(128 << 20);
    let mut client = RawClient::connect(harness.address()).await;
    client.write(&client_frame(PONG, b"nobody asked")).await;
    client.write(&client_frame(PING, &[b'x'; 125])).await;
    assert_eq!(client.read().await, Some((PONG, vec![b'x'; 125])));
    drop(client);
    harness.over().await;
}

#[tokio::test]
async fn close_is_answered_and_later_frames_are_ignored() {
    let harness = AttackHarness::begin().await.may_grow_by(128 << 20);
    let mut client = RawClient::connect(harness.address()).await;
    client.write(&client_frame(CLOSE, &1000_u16.to_be_bytes())).await;
    client.write(&client_frame(TEXT, b"nonsense")).await;
    assert_eq!(client.closed().await, Some(1000));
    harness.over().await;
}

#[tokio::test]
async fn binary_frame_of_json_counts_as_text() {
    let harness = AttackHarness::begin().await.may_grow_by(128 << 20);
    let mut client = RawClient::connect(harness.address()).await;
    client.write(&client_frame(BINARY, br#"{"type":"of tomorrow"}"#)).await;
    let (_, payload) = client.read().await.expect("an answer");
    assert!(String::from_utf8_lossy(&payload).contains("of tomorrow"));
    client.write(&client_frame(BINARY, b"\xff\x00")).await;
    let (_, payload) = client.read().await.expect("an answer");
    assert!(String::from_utf8_lossy(&payload).contains("Invalid message format"));
    drop(client);
    harness.over().await;
}

#[tokio::test]
async fn endless_empty_fragments_are_refused() {
    let mut frames = client_frame(TEXT_BEGINS, b"");
    for _ in 0..100_000 {
        frames.extend(client_frame(CONTINUES, b""));
    }
    end_with(1002, &[frames]).await;
}

#[tokio::test]
async fn fragments_of_one_byte_make_a_message() {
    let harness = AttackHarness::begin().await;
    let mut client = RawClient::connect(harness.address()).await;
    let text = format!(r#"{{"type":"{}"}}"#, "x".repeat(100_000));
    let mut frames = client_frame(TEXT_BEGINS, b"");
    for byte in text.as_bytes() {
        frames.extend(client_frame(CONTINUES, &[*byte]));
    }
    frames.extend(client_frame(ENDS, b""));
    client.write(&frames).await;
    let (first, payload) = client.read().await.expect("an answer");
    assert_eq!(first, TEXT);
    assert!(String::from_utf8_lossy(&payload).contains("xxxxx"));
    drop(client);
    harness.over().await;
}

#[tokio::test]
async fn flood_of_pings_is_answered_without_delay() {
    const PINGS: usize = 100_000;
    let harness = AttackHarness::begin().await;
    let mut client = RawClient::connect(harness.address()).await;
    let flood = client_frame(PING, &[b'x'; 125]).repeat(PINGS);
    // A message before the flood: a relay that pings can stop would answer it
    // behind the last pong.
    let message = json!({ "role": "user", "content": json!({ "echo": true }).to_string() });
    let say = json!({ "type": "user_message", "data": { "type": "user", "message": message } });
    let say = client_frame(TEXT, say.to_string().as_bytes());
    let (mut pongs, mut pongs_before_the_result) = (0, None);
    client
        .write_while_reading(
            &[&say[..], &flood, &client_frame(PING, b"last")].concat(),
            |first, payload| {
                if first == PONG {
                    pongs += 1;
                } else if String::from_utf8_lossy(&payload).contains(r#""type":"result""#) {
                    pongs_before_the_result = Some(pongs);
                }
                payload == b"last"
            },
        )
        .await;
    // Every one, or fewer: RFC 6455 lets the newest stand for those before.
    assert!((1..=PINGS + 1).contains(&pongs));
    let delay = pongs_before_the_result.expect("the message was answered before the last pong");
    assert!(delay < PINGS, "only after {delay} pongs");
    drop(client);
    harness.over().await;
}

#[tokio::test]
async fn flood_of_pings_with_unread_pongs_uses_no_memory() {
    // A slow machine must not take it for dead before the flood is over.
    let timeouts = ["--probe-timeout=300ms", "--ping-interval=10m"];
    let harness = AttackHarness::with(&timeouts, "/ws").await;
    let mut client = RawClient::connect(harness.address()).await;
    let flood = client_frame(PING, &[b'x'; 125]).repeat(1000);
    // Until the server reads no more, because its pongs are not read: then it
    // neither takes anything nor does anything.
    let mut ticks = 0;
    let is_idle = || std::mem::replace(&mut ticks, harness.ticks()) == harness.ticks();
    let taken = client.write_until_refused(&flood, is_idle).await;
    // No more than the buffers of two sockets hold.
    assert!(taken < 32 << 20, "{taken} bytes of pings were taken and their pongs kept");
    // The next client gets the place, and this one is gone for the checks.
    harness.over().await;
    drop(client);
}

#[tokio::test]
async fn connection_ends_after_a_close_and_silence() {
    let harness = AttackHarness::begin().await;
    let mut client = RawClient::connect(harness.address()).await;
    let begun = Instant::now();
    client.write(&client_frame(CLOSE, &1000_u16.to_be_bytes())).await;
    assert_eq!(client.closed().await, Some(1000));
    // `closed` has read to the end of the connection: the server's doing.
    wait::was_within(Duration::from_secs(3), begun);
    let mut client = RawClient::connect(harness.address()).await;
    let close = client_frame(CLOSE, b"");
    client.write(&[&close[..], &close, &client_frame(TEXT, b"{}"), &[0xff; 100]].concat()).await;
    assert_eq!(client.closed().await, None);
    harness.over().await;
}

#[tokio::test]
async fn connection_ends_after_an_unanswered_close() {
    let harness = AttackHarness::begin().await;
    let mut held = Vec::new();
    // Frames against the rules, and answers that are not read.
    for number in 0..4 {
        let mut client = RawClient::connect(harness.address()).await;
        client.write(&client_frame(0x83, b"x")).await;
        if number % 2 == 0 {
            assert_eq!(client.closed().await, Some(1002));
        }
        held.push(client);
    }
    // One client too many, which is told so and stays all the same.
    let mut holder = harness.client().await;
    for _ in 0..8 {
        let (_, mut refused) = RawClient::upgrade(harness.address(), "/ws", &[]).await;
        // The holder answers the ping by which the server looks after it.
        let code = tokio::select! {
            code = refused.closed() => code,
            seen = holder.see() => panic!("the holder sees nothing of it, but saw {seen:?}"),
        };
        assert_eq!(code, Some(1013));
        held.push(refused);
    }
    holder.close().await;
    // They are all still there when nothing of them may be left.
    harness.over().await;
    assert_eq!(held.len(), 12);
}

#[tokio::test]
async fn close_codes_are_answered() {
    let harness = AttackHarness::begin().await;
    for (code, answer) in [
        (1000, 1000),
        (1001, 1001),
        (1003, 1003),
        (1007, 1007),
        (1011, 1011),
        (3000, 3000),
        (4999, 4999),
        (0, 1002),
        (999, 1002),
        (1004, 1002),
        (1005, 1002),
        (1006, 1002),
        (1015, 1002),
        (1100, 1002),
        (2999, 1002),
        (5000, 1002),
        (65_535, 1002),
    ] {
        let mut client = RawClient::connect(harness.address()).await;
        client.write(&client_frame(CLOSE, &u16::to_be_bytes(code))).await;
        assert_eq!(client.closed().await, Some(answer), "{code}");
    }
    for (payload, answer) in
        [(&b"\x03"[..], 1002), (b"\x03\xe8\xff", 1007), (b"\x03\xe8fine", 1000)]
    {
        let mut client = RawClient::connect(harness.address()).await;
        client.write(&client_frame(CLOSE, payload)).await;
        assert_eq!(client.closed().await, Some(answer), "{payload:?}");
    }
    harness.over().await;
}

#[tokio::test]
async fn message_before_a_half_close_counts() {
    let harness = AttackHarness::begin().await;
    let turns = async || {
        let health = http::get(harness.address(), "/health").await.json();
        health["agent"]["turns"].as_u64().expect("a count")
    };
    let before = turns().await;
    let mut client = RawClient::connect(harness.address()).await;
    client.write(&client_frame(TEXT, &message(300))).await;
    client.finish().await;
    // Nobody waits for the answer, and the place is free.
    assert_eq!(client.closed().await, None);
    wait::within("the turn", async {
        while turns().await == before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    harness.over().await;
}

#[tokio::test]
async fn frames_split_at_any_byte_are_read() {
    let harness = AttackHarness::begin().await;
    // One at a time.
    let mut client = RawClient::connect(harness.address()).await;
    for byte in client_frame(TEXT, br#"{"type":"drop by drop"}"#) {
        client.write(&[byte]).await;
        tokio::task::yield_now().await;
    }
    let (_, payload) = client.read().await.expect("an answer");
    assert!(String::from_utf8_lossy(&payload).contains("drop by drop"));
    // Ten thousand at once.
    let mut frames = Vec::new();
    for number in 0..10_000 {
        frames.extend(client_frame(TEXT, format!(r#"{{"type":"n{number}"}}"#).as_bytes()));
    }
    let mut next = 0;
    client
        .write_while_reading(&frames, |_, payload| {
            let said = String::from_utf8_lossy(&payload).into_owned();
            assert!(said.contains(&format!("n{next}")), "{next}: {said}");
            next += 1;
            next == 10_000
        })
        .await;
    drop(client);
    harness.over().await;
}
