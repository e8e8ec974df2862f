//! Nothing is lost in between: replay, gaps, backpressure and memory through
//! real sockets (H7 to H9, H11, I30).

use crate::faults::checks::{Before, answers_at_once, heap_bytes, peak_heap_bytes};
use crate::faults::raw::Raw;
use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use serde_json::{Value, json};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::time::Duration;

/// The default replay buffer.
const REPLAY_BYTES: u64 = 16 << 20;

/// Memory that a server may need beside its replay buffer.
const BESIDE_BYTES: u64 = 8 << 20;

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        self.0 += 1;
        hasher.finish() % bound
    }
}

/// The number that stands behind `,"seq":` near the start of a frame.
fn seq(frame: &[u8]) -> u64 {
    number_behind(frame, br#","seq":"#)
}

/// The number that the built-in agent puts at the start of a line's text.
fn line_number(frame: &[u8]) -> Option<u64> {
    let head = &frame[..frame.len().min(160)];
    let at = head.windows(8).position(|bytes| bytes == br#""text":""#)? + 8;
    std::str::from_utf8(head.get(at..at + 12)?).ok()?.parse().ok()
}

fn number_behind(frame: &[u8], words: &[u8]) -> u64 {
    let at = frame.windows(words.len()).position(|bytes| bytes == words);
    let at = at.unwrap_or_else(|| panic!("no number in {:?}", String::from_utf8_lossy(frame)));
    let digits = frame[at + words.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

fn json_of(frame: &[u8]) -> Value {
    serde_json::from_slice(frame).expect("a frame is JSON")
}

/// Connects for sequenced delivery and reads `connected`.
async fn follow(address: SocketAddr, after: u64, stream: Option<&str>) -> (Raw, Value) {
    let stream = stream.map_or_else(String::new, |stream| format!("&stream={stream}"));
    wait::within("the client slot to be free", async {
        loop {
            let mut raw = Raw::upgrade(address, &format!("/ws?after={after}{stream}"), b"").await;
            let first = json_of(raw.text().await.expect("a first frame"));
            if first["type"] == "connected" {
                return (raw, first);
            }
            assert_eq!(first["error"], "Server already has an active connection");
        }
    })
    .await
}

async fn replay_state(relay: &Relay) -> (u64, u64, u64) {
    let replay = http::get(relay.address(), "/health").await.json()["replay"].take();
    let number = |name: &str| replay[name].as_u64().expect("a number");
    (number("first"), number("next"), number("bytes"))
}

async fn turns(relay: &Relay) -> u64 {
    answers_at_once(relay.address()).await["agent"]["turns"].as_u64().expect("a number")
}

async fn turn_is_over(relay: &Relay, count: u64) {
    let over = async {
        while turns(relay).await < count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), over).await.expect("the turn ends");
}

/// One stream of 200,000 messages, cut a thousand times at random points: the
/// joined pieces equal the uninterrupted stream, byte for byte.
#[tokio::test]
async fn thousand_disconnects_lose_and_repeat_nothing() {
    const MESSAGES: u64 = 200_000;
    const CUTS: u64 = 1_000;
    let env = TestEnv::new();
    // All of it is kept, to compare with in the end.
    let relay = Launch::demo(&env).argument("--replay-bytes=128000000").start();
    let before = Before::of(&relay);
    let mut dice = Dice(7);
    let (mut client, connected) = follow(relay.address(), 0, None).await;
    let stream = connected["stream"].as_str().expect("a stream").to_owned();
    client.say(&json!({"n": MESSAGES, "size": 230, "rate": 12_000}).to_string()).await;

    let (mut joined, mut last, mut cuts) = (Vec::new(), 0, 0);
    'stream: loop {
        // From nothing at all to about four times the average.
        // The first cut waits for the agent to have got its script.
        let until = (last + dice.below(dice_bound(MESSAGES, last, CUTS - cuts.min(CUTS)))).max(1);
        while cuts == CUTS || last < until {
            let frame = client.text().await.expect("the connection holds");
            last = seq(frame);
            joined.extend_from_slice(frame);
            joined.push(b'\n');
            if line_number(frame).is_none() && json_of(frame)["data"]["type"] == "result" {
                break 'stream;
            }
        }
        // Cut in the middle of whatever is on its way.
        if dice.below(2) == 0 {
            client.stream.set_zero_linger().expect("an open socket");
        }
        drop(client);
        cuts += 1;
        (client, _) = follow(relay.address(), last, Some(&stream)).await;
    }
    drop(client);
    assert!(cuts > CUTS * 9 / 10, "{cuts} cuts");

    let (mut whole, _) = follow(relay.address(), 0, Some(&stream)).await;
    let (mut uninterrupted, mut at, mut lines) = (Vec::new(), 0, 0);
    while at < last {
        let frame = whole.text().await.expect("the connection holds");
        at += 1;
        assert_eq!(seq(frame), at);
        if let Some(number) = line_number(frame) {
            lines += 1;
            assert_eq!(number, lines);
        }
        uninterrupted.extend_from_slice(frame);
        uninterrupted.push(b'\n');
    }
    assert_eq!(lines, MESSAGES);
    assert!(joined == uninterrupted, "{} bytes, {} bytes", joined.len(), uninterrupted.len());
    drop(whole);

    // And reconnects in the middle of a replay, each a clean start.
    let starts: Vec<usize> = std::iter::once(0)
        .chain(
            uninterrupted
                .iter()
                .enumerate()
                .filter(|(_, byte)| **byte == b'\n')
                .map(|(at, _)| at + 1),
        )
        .collect();
    for _ in 0..50 {
        let after = dice.below(last);
        let (mut client, _) = follow(relay.address(), after, Some(&stream)).await;
        let mut at = starts[usize::try_from(after).expect("it fits")];
        for _ in 0..dice.below(400) {
            let Some(frame) = client.text().await else { break };
            assert_eq!(uninterrupted[at..].get(..frame.len()), Some(frame));
            at += frame.len() + 1;
            if at >= uninterrupted.len() {
                break;
            }
        }
    }
    before.check_but_for_rss(&relay).await;
}

/// So that the cuts that are left fall on the messages that are left.
fn dice_bound(messages: u64, last: u64, cuts_left: u64) -> u64 {
    2 * messages.saturating_sub(last) / cuts_left.max(1) + 1
}

/// Without `after` a client gets what comes from now on: in order, never twice.
#[tokio::test]
async fn client_of_claude_agent_server_continues_in_order_after_a_reconnect() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let before = Before::of(&relay);
    let mut client = fresh_raw(relay.address()).await;
    // More than can pass by while a slow machine reconnects.
    client.say(&json!({"n": 1_000_000, "rate": 5_000}).to_string()).await;
    let mut last = 0;
    for _ in 0..5 {
        let mut count = 0;
        while count < 1_000 {
            let frame = client.text().await.expect("the connection holds");
            let Some(number) = line_number(frame) else { continue };
            assert!(number > last, "{number} after {last}");
            // Between two connections lines pass by; within one none does.
            assert!(count == 0 || number == last + 1, "{number} after {last}");
            last = number;
            count += 1;
        }
        drop(client);
        client = fresh_raw(relay.address()).await;
    }
    client.send(0x81, br#"{"type":"interrupt"}"#).await;
    turn_is_over(&relay, 1).await;
    drop(client);
    before.check(&relay).await;
}

/// A client without sequence numbers that connects as soon as the slot is free.
async fn fresh_raw(address: SocketAddr) -> Raw {
    wait::within("the client slot to be free", async {
        loop {
            let mut raw = Raw::upgrade(address, "/ws", b"").await;
            if raw.text().await == Some(&br#"{"type":"connected"}"#[..]) {
                return raw;
            }
        }
    })
    .await
}

/// More is said than is kept while nobody is there: the gap says exactly what
/// is missing, and nothing else is.
#[tokio::test]
async fn evicted_messages_are_a_gap_with_exact_numbers() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--replay-bytes=1000000").start();
    let before = Before::of(&relay);
    let (mut client, _) = follow(relay.address(), 0, None).await;
    client.say(&json!({"n": 3}).to_string()).await;
    let mut last = 0;
    while turns(&relay).await < 1 || last + 1 < replay_state(&relay).await.1 {
        last = seq(client.text().await.expect("the connection holds"));
    }
    client.say(&json!({"sleep_ms": 300, "n": 20_000, "size": 300}).to_string()).await;
    // `init` of that turn.
    last = seq(client.text().await.expect("the connection holds"));
    drop(client);
    turn_is_over(&relay, 2).await;

    let (first, next, bytes) = replay_state(&relay).await;
    assert!(first > last + 1 && bytes <= 1_000_000, "{first} {bytes}");
    let (mut client, connected) = follow(relay.address(), last, None).await;
    assert_eq!(connected["next"], next);
    let gap = json_of(client.text().await.expect("a gap"));
    assert_eq!(gap, json!({"type": "gap", "from": last + 1, "to": first - 1}));
    for expected in first..next {
        assert_eq!(seq(client.text().await.expect("the connection holds")), expected);
    }
    drop(client);
    before.check(&relay).await;
}

/// Numbers of another life of the server, numbers of the future, junk.
#[tokio::test]
async fn foreign_cursor_is_never_accepted() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let before = Before::of(&relay);
    let mut client = Client::connect(relay.address()).await;
    client.say(json!({"n": 5}).to_string()).await;
    client.turn().await;
    client.close().await;
    let next = replay_state(&relay).await.1;
    for (after, stream) in [(3, Some("of-another-life")), (next, None), (u64::MAX, None)] {
        let (mut client, connected) = follow(relay.address(), after, stream).await;
        assert_eq!(connected["next"], next);
        let gap = json_of(client.text().await.expect("a gap"));
        assert_eq!(gap, json!({"type": "gap", "from": 1, "to": 0}), "{after} {stream:?}");
        for expected in 1..next {
            assert_eq!(seq(client.text().await.expect("the connection holds")), expected);
        }
    }
    for junk in ["after=", "after=-1", "after=x", "after=1e9", "after=0x10"] {
        let path = format!("/ws?{junk}");
        let headers = [
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let answer = http::request(relay.address(), "GET", &path, &headers, "").await;
        assert_eq!(answer.status, 400, "{junk}: {answer:?}");
    }
    before.check(&relay).await;
}

/// A server that was started again is another stream, and says so.
#[tokio::test]
async fn restarted_server_announces_a_new_stream() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let (mut client, connected) = follow(relay.address(), 0, None).await;
    let stream = connected["stream"].as_str().expect("a stream").to_owned();
    client.say("Hello").await;
    let port = relay.address().port();
    turn_is_over(&relay, 1).await;
    drop(client);
    relay.stop();

    let relay = Launch::demo(&env).port(port).start();
    let before = Before::of(&relay);
    let (mut client, connected) = follow(relay.address(), 1, Some(&stream)).await;
    assert_ne!(connected["stream"], stream);
    let gap = json_of(client.text().await.expect("a gap"));
    assert_eq!(gap["from"], 1);
    drop(client);
    before.check(&relay).await;
}

/// Nobody is connected and the agent talks on: it is not held up, and the
/// server does not grow.
#[tokio::test]
async fn output_without_a_client_is_read_and_evicted() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let before = Before::of(&relay);
    let mut client = Client::connect(relay.address()).await;
    client.say(json!({"sleep_ms": 200, "n": 20_000, "size": 10_000}).to_string()).await;
    client.close().await;
    turn_is_over(&relay, 1).await;
    let (first, next, bytes) = replay_state(&relay).await;
    assert!(next > 20_000 && first > 1 && bytes <= REPLAY_BYTES, "{first} {next} {bytes}");
    let peak = peak_heap_bytes(relay.pid());
    assert!(peak <= REPLAY_BYTES + BESIDE_BYTES, "{peak}");
    before.check(&relay).await;
}

/// `total` bytes in lines of `size` for a client that reads nothing for ten
/// seconds, and then everything.
async fn said_to_one_that_does_not_read(path: &str, total: u64, size: u64) {
    let messages = total / size;
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let before = Before::of(&relay);
    let mut client = Raw::upgrade(relay.address(), path, b"").await;
    client.text().await.expect("connected");
    client.say(&json!({"n": messages, "size": size}).to_string()).await;
    let mut said = 0;
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (_, next, bytes) = replay_state(&relay).await;
        assert!(bytes <= REPLAY_BYTES, "{bytes}");
        said = next;
    }
    assert!(said > 10 && said < messages, "the agent waits: {said} of {messages}");
    let heap = heap_bytes(relay.pid());
    assert!(heap <= REPLAY_BYTES + BESIDE_BYTES, "{heap} bytes");

    let mut number = 0;
    while number < messages {
        let frame = client.text().await.expect("the connection holds");
        if let Some(found) = line_number(frame) {
            number += 1;
            assert_eq!(found, number);
        }
    }
    let end = client.text().await.expect("the turn ends").to_vec();
    assert_eq!(json_of(&end)["data"]["type"], "result");
    let peak = peak_heap_bytes(relay.pid());
    assert!(peak <= REPLAY_BYTES + BESIDE_BYTES, "{peak} bytes at most");
    drop(client);
    before.check(&relay).await;
}

#[tokio::test]
async fn client_that_reads_nothing_for_ten_seconds_gets_500_mb() {
    said_to_one_that_does_not_read("/ws", 500_000_000, 10_000).await;
}

#[tokio::test]
async fn slow_client_gets_500_mb_in_lines_of_awkward_size() {
    said_to_one_that_does_not_read("/ws?after=0", 100_000_000, 140_000).await;
}
