//! Load of unauthenticated peers while a client is connected.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::AttackHarness;
use super::http_requests::reset;
use crate::support::ws::Client;

const IDLE: usize = 5000;
const DRIPS: usize = 500;
const RESETS: usize = 10_000;

/// Time for which all idle connections stay open.
const IDLE_FOR: Duration = Duration::from_secs(3);

/// Longest time of the 99th of a hundred answers on loopback. A build that is not
/// optimised has only to answer at all. In the burst of connections, a quarter of a
/// second in which five programs share the processors, an optimised one on two
/// of them is at the edge: 3.5 to 7.2 ms, and 1.3 to 6.5 ms when the burst goes
/// to another program's port.
const P99: Duration = Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 5 });

/// Runs an attack in a thread and a runtime of its own, so that it does not
/// share one with the client that is being measured.
fn attack<F: Future<Output = ()>>(what: impl FnOnce() -> F + Send + 'static) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(what());
    })
}

/// Turns of an echo, one after the other, at least so many and as long as the
/// attack goes on: the 99th of a hundred.
async fn p99(client: &mut Client, least: usize, attack: Option<JoinHandle<()>>) -> Duration {
    let mut times = Vec::new();
    let going_on = |attack: &Option<JoinHandle<()>>| {
        attack.as_ref().is_some_and(|attack| !attack.is_finished())
    };
    while times.len() < least || going_on(&attack) {
        let asked = Instant::now();
        client.say(json!({ "echo": true }).to_string()).await;
        client.turn().await;
        times.push(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    if let Some(attack) = attack {
        attack.join().expect("the attack ends without a panic");
    }
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[tokio::test]
async fn unauthenticated_load_does_not_slow_the_client() {
    raise_descriptor_limit(IDLE);
    let harness = AttackHarness::begin().await;
    let address = harness.address();
    let mut client = harness.client().await;
    p99(&mut client, 20, None).await;
    // A machine that is busy with other things answers later by itself: what
    // the attack adds is what counts then.
    let calm = p99(&mut client, 200, None).await;
    let bound = P99.max(calm * 4);

    for (what, under_attack) in [
        (
            "a burst",
            p99(&mut client, 200, Some(attack(move || idle(address, Duration::ZERO)))).await,
        ),
        ("idle ones", p99(&mut client, 200, Some(attack(move || idle(address, IDLE_FOR)))).await),
        ("slow heads", p99(&mut client, 200, Some(attack(move || drips(address)))).await),
        ("resets", p99(&mut client, 200, Some(attack(move || resets(address)))).await),
    ] {
        assert!(under_attack <= bound, "{what}: p99 is {under_attack:?}, and {calm:?} in calm");
    }
    client.close().await;
    harness.over().await;
}

/// Opens thousands of connections, says nothing, and lets go of them after a
/// while.
async fn idle(address: SocketAddr, stay: Duration) {
    let mut held = Vec::new();
    for _ in 0..IDLE {
        held.push(TcpStream::connect(address).await.expect("the server has room"));
    }
    // With all of them open it still answers a request.
    let asked = Instant::now();
    let health = crate::support::http::get(address, "/health").await;
    assert_eq!(health.status, 200);
    claude_relay_testing::wait::was_within(Duration::from_secs(1), asked);
    tokio::time::sleep(stay).await;
}

/// Hundreds of heads, a byte of each a second, until all have been closed.
async fn drips(address: SocketAddr) {
    let begun = Instant::now();
    let mut held = Vec::new();
    for _ in 0..DRIPS {
        let mut stream = TcpStream::connect(address).await.expect("the server has room");
        let head = format!("GET / HTTP/1.1\r\nHost: {address}\r\nX: ");
        stream.write_all(head.as_bytes()).await.expect("the server reads");
        held.push(stream);
    }
    while !held.is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut left = Vec::new();
        for mut stream in held {
            let mut end = [0; 1];
            // Closed by the server: an end or a reset can be read.
            let closed = !matches!(stream.try_read(&mut end), Err(ref error) if error.kind() == std::io::ErrorKind::WouldBlock);
            if !closed && stream.write_all(b"x").await.is_ok() {
                left.push(stream);
            }
        }
        held = left;
        // The timeout of a head is ten seconds, and each here has its own.
        claude_relay_testing::wait::was_within(Duration::from_secs(12), begun);
    }
}

/// Connects and resets at once, with and without a word.
async fn resets(address: SocketAddr) {
    for number in 0..RESETS {
        let mut stream = TcpStream::connect(address).await.expect("the server has room");
        if number % 2 == 0 {
            let head = format!("GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.expect("the server reads");
        }
        reset(stream);
    }
}

fn raise_descriptor_limit(connections: usize) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the maximum");
    assert!(
        maximum.is_none_or(|maximum| maximum > connections as u64 + 1000),
        "this test opens {connections} connections: raise the limit of descriptors (ulimit -Hn)"
    );
}

/// A connection that is kept alive and shows no token.
async fn keep_alive(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let head = format!("HEAD /health HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    Some(stream)
}

#[tokio::test]
async fn the_owner_comes_in_while_all_places_are_taken_by_others() {
    raise_descriptor_limit(IDLE);
    const TOKEN: &str = "token-of-the-owner";
    let harness =
        AttackHarness::with(&["--auth-token", TOKEN], &format!("/ws?token={TOKEN}")).await;
    let address = harness.address();
    let owner = async || {
        let asked = Instant::now();
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("Authorization", &*bearer)];
        let answer = crate::support::http::request(address, "GET", "/config", &headers, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        claude_relay_testing::wait::was_within(Duration::from_secs(1), asked);
    };
    let mut client = harness.client().await;
    let mut held = Vec::new();
    for number in 0..IDLE {
        match number % 3 {
            0 => held.extend(keep_alive(address).await),
            1 => held.extend(TcpStream::connect(address).await.ok()),
            _ => {
                // A head that does not end.
                let mut stream = TcpStream::connect(address).await.expect("the server has room");
                let head = format!("GET /config HTTP/1.1\r\nHost: {address}\r\n");
                if stream.write_all(head.as_bytes()).await.is_ok() {
                    held.push(stream);
                }
            }
        }
        if number % 250 == 0 {
            owner().await;
        }
    }
    for _ in 0..20 {
        owner().await;
    }
    // Whoever is connected stays.
    client.say(json!({ "echo": true }).to_string()).await;
    client.turn().await;
    drop(held);
    client.close().await;
    harness.over().await;
}

/// Number of hostile connections, as many as the server keeps open at most, or as
/// the limit of descriptors leaves.
const HOSTILE: usize = 8192;

/// Longest time that the server works before it answers the owner beside them, so that
/// what else the machine does is not counted: 0.5 s in a build that is not optimised,
/// and 5 s where connections are accepted one by one.
const ENTRY: Duration = Duration::from_secs(1);

/// Number of them that say more for each that is closed.
const REPEATS: usize = 8;

/// Requests of the owner beside them.
const REQUESTS: usize = 100;

/// Ends an attack, also where the test fails: its server's port is another one's then.
pub(super) struct IsOver(pub(super) Arc<AtomicBool>);

impl Drop for IsOver {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps so many connections open, each with one of these beginnings. Until it is
/// told to stop it says more on some of them, and closes one for a new one.
async fn hostile(
    address: SocketAddr,
    count: usize,
    all_are_open: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
) {
    let beginnings = [
        String::new(),
        "G".to_owned(),
        format!("HEAD /health HTTP/1.1\r\nHost: {address}\r\n\r\n"),
        format!("GET /config HTTP/1.1\r\nHost: {address}\r\nX: "),
        format!("GET /health HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(50),
        format!("POST /config HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1000000\r\n\r\n{{"),
        format!(
            "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
        "\u{16}\u{3}\u{1} no HTTP at all".to_owned(),
    ];
    let mut held: VecDeque<TcpStream> = VecDeque::new();
    for beginning in beginnings.iter().cycle() {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        if held.len() == count {
            all_are_open.store(true, Ordering::Relaxed);
            held.pop_front();
            for stream in held.iter().take(REPEATS) {
                let _ = stream.try_write(beginning.as_bytes());
            }
            held.rotate_left(REPEATS);
            // A thousand a second, so that it is not the machine that is tested.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // One that is refused or reset is followed by the next.
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let _ = stream.write_all(beginning.as_bytes()).await;
            held.push_back(stream);
        }
    }
}

#[tokio::test]
async fn the_owner_comes_in_beside_8192_hostile_connections() {
    raise_descriptor_limit(IDLE);
    let Rlimit { current, .. } = getrlimit(Resource::Nofile);
    let spare =
        current.map_or(HOSTILE, |limit| usize::try_from(limit).unwrap_or(usize::MAX) - 1000);
    let count = HOSTILE.min(spare);
    const TOKEN: &str = "token-of-the-owner";
    let harness =
        AttackHarness::with(&["--auth-token", TOKEN], &format!("/ws?token={TOKEN}")).await;
    let address = harness.address();
    let (all_are_open, is_over) = (Arc::default(), IsOver(Arc::default()));
    let told = (Arc::clone(&all_are_open), Arc::clone(&is_over.0));
    let attack = attack(move || hostile(address, count, told.0, told.1));
    let open = || all_are_open.load(Ordering::Relaxed).then_some(());
    claude_relay_testing::wait::until("all hostile connections", open).await;
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", &*bearer)];
    for _ in 0..REQUESTS {
        let before = harness.worked();
        let answer = crate::support::http::request(address, "GET", "/config", &headers, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let worked = harness.worked() - before;
        assert!(worked <= ENTRY, "{worked:?}");
    }
    let mut client = harness.client().await;
    client.say(json!({ "echo": true }).to_string()).await;
    client.turn().await;
    client.close().await;
    drop(is_over);
    attack.join().expect("the attack ends without a panic");
    harness.over().await;
}
