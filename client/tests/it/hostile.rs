//! A server that breaks the rules: clean errors, bounded memory and time.

use claude_relay_client::{Client, ConnectionError, Messages, SendError, ServerMessage};
use tokio::net::TcpStream;

use crate::support::{client, line, n, soon};
use claude_relay_testing::fake_relay::{CLOSE, FakeRelay, PING, PONG, Peer, TEXT, frame};

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const FIN: u8 = 0x80;

/// A client of a relay that sends `bytes` after its greeting.
async fn fed(bytes: Vec<u8>) -> (FakeRelay, Client, Messages) {
    let fake = FakeRelay::relay(move |_, _, mut peer: Peer<TcpStream>| {
        let bytes = bytes.clone();
        async move {
            peer.raw(bytes).await;
            peer.idle().await;
        }
    })
    .await;
    let limits =
        client(&fake.url).max_message_bytes(1 << 20).reconnect_for(std::time::Duration::ZERO);
    let client = soon(limits.start()).await.unwrap();
    let messages = client.messages();
    (fake, client, messages)
}

/// Error that ends the stream of a client that receives `bytes`.
async fn end_after(bytes: Vec<u8>) -> ConnectionError {
    let (_fake, client, mut messages) = fed(bytes).await;
    let error = loop {
        match soon(messages.next()).await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("it ended without a reason"),
        }
    };
    assert!(soon(messages.next()).await.is_none(), "the error is the last");
    // The end is the same for everybody, and at once.
    assert!(matches!(soon(client.send("x")).await, Err(SendError::NotDelivered { .. })));
    assert!(matches!(soon(client.messages().next()).await, Some(Err(_))));
    error
}

#[tokio::test]
async fn text_that_is_not_json_or_no_frame_is_a_protocol_error() {
    for text in
        ["", "hello", "<html></html>", "{", "5", "null", "[]", "{}", r#"{"type":5}"#, "\u{feff}{}"]
    {
        let error = end_after(frame(FIN | TEXT, text.as_bytes())).await;
        assert!(matches!(error, ConnectionError::Protocol { .. }), "{text:?}: {error:?}");
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn broken_websocket_is_a_protocol_error() {
    let masked = {
        let mut bytes = vec![FIN | TEXT, 0x80 | 4, 0xde, 0xad, 0xbe, 0xef];
        bytes.extend(b"{}{}".iter().zip([0xde, 0xad, 0xbe, 0xef]).map(|(a, b)| a ^ b));
        bytes
    };
    for (what, bytes) in [
        ("bad UTF-8", frame(FIN | TEXT, b"{\"type\":\"\xff\"}")),
        ("half a character", frame(FIN | TEXT, b"{\"type\":\"info\",\"data\":\"\xc3\"}")),
        ("a reserved bit", frame(FIN | 0x40 | TEXT, b"{}")),
        ("a reserved opcode", frame(FIN | 3, b"{}")),
        ("a masked frame", masked),
        ("a fragment of nothing", frame(FIN | CONTINUATION, b"{}")),
        ("a message inside another", [frame(TEXT, b"{"), frame(FIN | TEXT, b"{}")].concat()),
        ("a fragmented ping", frame(PING, b"")),
        ("a big ping", frame(FIN | PING, &[0; 126])),
        ("a big pong", frame(FIN | PONG, &[0; 126])),
        ("a close of one byte", frame(FIN | CLOSE, b"x")),
        ("a close of bad UTF-8", frame(FIN | CLOSE, b"\x03\xe8\xff")),
        (
            "bad UTF-8 in fragments",
            [frame(TEXT, b"{\"type\":\"\xc3"), frame(FIN | CONTINUATION, b"\"}")].concat(),
        ),
    ] {
        let error = end_after(bytes).await;
        assert!(matches!(error, ConnectionError::Protocol { .. }), "{what}: {error:?}");
    }
}

#[tokio::test]
async fn a_message_over_the_limit_is_too_big_however_it_is_cut() {
    let announced = [&[FIN | TEXT, 127][..], &(1_u64 << 40).to_be_bytes()].concat();
    let impossible = [&[FIN | TEXT, 127][..], &u64::MAX.to_be_bytes()].concat();
    let whole = frame(FIN | TEXT, &vec![b' '; (1 << 20) + 1]);
    let mut fragments = frame(TEXT, &[b' '; 1000]);
    for _ in 0..1100 {
        fragments.extend(frame(CONTINUATION, &[b' '; 1000]));
    }
    for (what, bytes) in [
        ("announced", announced),
        ("impossible", impossible),
        ("whole", whole),
        ("in fragments", fragments),
    ] {
        let error = end_after(bytes).await;
        assert!(
            matches!(error, ConnectionError::TooBig { limit_bytes: 1_048_576 }),
            "{what}: {error:?}"
        );
    }
}

#[tokio::test]
async fn unusual_valid_frames_are_accepted() {
    let big = format!(
        r#"{{"type":"sdk_message","seq":4,"data":{{"n":4,"x":"{}"}}}}"#,
        "é".repeat(500_000)
    );
    let odd = r#"{"type":"sdk_message","seq":2,"data":{"n":2}}"#.as_bytes();
    let bytes = [
        frame(FIN | BINARY, br#"{"type":"sdk_message","seq":1,"data":{"n":1}}"#),
        frame(TEXT, &odd[..10]),
        // Control frames may come between fragments.
        frame(FIN | PING, b"p"),
        frame(CONTINUATION, b""),
        frame(FIN | PONG, b"unasked"),
        frame(FIN | CONTINUATION, &odd[10..]),
        frame(FIN | TEXT, br#"{"type":"later","x":1.50}"#),
        frame(FIN | TEXT, br#"{"later":{},"data":{"n":3},"seq":3,"type":"sdk_message"}"#),
        frame(FIN | TEXT, big.as_bytes()),
    ]
    .concat();
    let (_fake, client, mut messages) = fed(bytes).await;
    assert_eq!(n(&line(&mut messages).await), 1);
    assert_eq!(n(&line(&mut messages).await), 2);
    let Some(Ok(ServerMessage::Unknown { kind, frame })) = soon(messages.next()).await else {
        panic!("the unknown frame is missing");
    };
    assert_eq!((kind.as_str(), frame.get()), ("later", r#"{"type":"later","x":1.50}"#));
    assert_eq!(n(&line(&mut messages).await), 3);
    assert_eq!(line(&mut messages).await.frame().len(), big.len());
    soon(client.stop()).await;
}

#[tokio::test]
async fn a_line_that_is_not_json_is_an_error_of_that_line_alone() {
    let bytes = [
        frame(FIN | TEXT, br#"{"type":"sdk_message","seq":1,"data":{broken}}"#),
        frame(FIN | TEXT, br#"{"type":"sdk_message","seq":2,"data":{"n":2}}"#),
    ]
    .concat();
    let (_fake, _client, mut messages) = fed(bytes).await;
    let broken = line(&mut messages).await;
    assert!(broken.json().is_err());
    assert!(broken.views().is_empty());
    assert_eq!(n(&line(&mut messages).await), 2);
}

#[tokio::test]
async fn each_close_code_means_what_it_says() {
    for (code, check) in [
        (
            1000,
            (|e| matches!(e, ConnectionError::Closed { code: 1000, .. }))
                as fn(&ConnectionError) -> bool,
        ),
        (1001, |e| matches!(e, ConnectionError::Closed { code: 1001, .. })),
        (1002, |e| matches!(e, ConnectionError::Closed { code: 1002, .. })),
        (1009, |e| matches!(e, ConnectionError::TooBig { .. })),
        (1013, |e| matches!(e, ConnectionError::Busy { .. })),
        (4001, |e| matches!(e, ConnectionError::Replaced { .. })),
    ] {
        let payload = [&u16::to_be_bytes(code)[..], b"because"].concat();
        let error = end_after(frame(FIN | CLOSE, &payload)).await;
        assert!(check(&error), "{code}: {error:?}");
    }
    let error = end_after(frame(FIN | CLOSE, b"")).await;
    assert!(matches!(error, ConnectionError::Closed { code: 1005, .. }), "{error:?}");
}

#[tokio::test]
async fn it_answers_pings_and_closes_politely() {
    let (seen, mut shown) = tokio::sync::mpsc::channel(8);
    let fake = FakeRelay::relay(move |_, _, mut peer: Peer<TcpStream>| {
        let seen = seen.clone();
        async move {
            peer.frame(FIN | PING, b"abc").await;
            seen.send(peer.receive().await.unwrap()).await.unwrap();
            seen.send(peer.receive().await.unwrap()).await.unwrap();
            peer.close(1000, "").await;
        }
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let pong = soon(shown.recv()).await.unwrap();
    assert_eq!((pong.opcode, pong.payload.as_slice()), (PONG, &b"abc"[..]));
    soon(client.stop()).await;
    let close = soon(shown.recv()).await.unwrap();
    assert_eq!((close.opcode, close.payload.as_slice()), (CLOSE, &1000_u16.to_be_bytes()[..]));
}
