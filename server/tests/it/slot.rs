//! Group H: the one place for a client, through real sockets. A dead holder
//! loses it, a live one never.

use crate::faults::agent::FakeAgent;
use crate::faults::checks::{Before, fresh_client};
use crate::faults::proxy::Proxy;
use crate::faults::raw::{Raw, user_message};
use crate::support::place::Place;
use crate::support::relay::{Launch, Relay};
use crate::support::wait;
use crate::support::ws::{Client, Seen, client_frame};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Short enough to wait for, long enough for a busy machine.
const PROBE: &str = "--probe-timeout=700ms";

fn demo(place: &Place) -> Relay {
    Launch::demo(place).argument(PROBE).start()
}

fn busy() -> Value {
    json!({ "type": "error", "error": "Server already has an active connection" })
}

/// A second client that is turned away as the contract says.
async fn turned_away(relay: &Relay) {
    let mut second = Client::open(relay.address(), "/ws").await;
    assert_eq!(second.frame().await, busy());
    assert_eq!(second.closed().await, Some(1013));
}

#[tokio::test]
async fn h1_a_second_client_is_told_and_the_first_sees_nothing_of_it() {
    let place = Place::new();
    let relay = demo(&place);
    let before = Before::of(&relay);
    let mut first = Client::connect(relay.address()).await;
    let answering = async {
        // Reading is what answers the probe.
        first.say(json!({"sleep_ms": 1500, "echo": true}).to_string()).await;
        first.turn().await
    };
    let ((), turn) = tokio::join!(turned_away(&relay), answering);
    let seen = turn.0.iter().find(|frame| frame["type"] != "sdk_message");
    assert_eq!(seen, None);
    first.close().await;
    before.check(&relay).await;
}

#[tokio::test]
async fn h2_nothing_a_second_client_sends_reaches_the_agent() {
    let place = Place::new();
    let agent = FakeAgent::new(&place, "work()");
    let relay = agent.launch(&place).argument(PROBE).start();
    let before = Before::of(&relay);
    let mut first = Client::connect(relay.address()).await;
    first.say("mine").await;
    first.turn().await;
    let early = [
        client_frame(0x81, user_message("intruder").as_bytes()),
        client_frame(0x81, br#"{"type":"interrupt"}"#),
        client_frame(0x81, user_message("intruder").as_bytes()),
    ]
    .concat();
    let second = async {
        let mut second = Raw::upgrade(relay.address(), "/ws", &early).await;
        let told = second.text().await.expect("an error frame").to_vec();
        assert_eq!(serde_json::from_slice::<Value>(&told).expect("JSON"), busy());
        // And more while it is being turned away.
        let more = client_frame(0x81, user_message("intruder").as_bytes());
        let _ = tokio::io::AsyncWriteExt::write_all(&mut second.stream, &more).await;
        while second.text().await.is_some() {}
    };
    let answering = async {
        first.say("still mine").await;
        first.turn().await;
        // Answers the probe until the second has gone.
        tokio::time::timeout(Duration::from_millis(1500), first.see()).await.expect_err("silence");
    };
    tokio::join!(second, answering);
    first.say("the last").await;
    first.turn().await;
    assert_eq!(agent.heard(), ["mine", "still mine", "the last"]);
    first.close().await;
    before.check(&relay).await;
}

#[tokio::test]
async fn h3_of_200_clients_at_once_one_is_connected() {
    let place = Place::new();
    let relay = demo(&place);
    let before = Before::of(&relay);
    let address = relay.address();
    let clients: Vec<_> = (0..200)
        .map(|_| {
            tokio::spawn(async move {
                let mut client = Client::open(address, "/ws").await;
                let first = client.frame().await;
                if first == json!({ "type": "connected" }) {
                    // Keeps answering until everybody has been told.
                    let _ = tokio::time::timeout(Duration::from_secs(4), client.see()).await;
                    return 1;
                }
                assert_eq!(first, busy());
                assert_eq!(client.closed().await, Some(1013));
                0
            })
        })
        .collect();
    let mut connected = 0;
    for client in clients {
        connected += client.await.expect("no client fails");
    }
    assert_eq!(connected, 1);
    before.check(&relay).await;
}

#[tokio::test]
async fn h4_a_client_that_closes_or_resets_frees_the_place_at_once() {
    let place = Place::new();
    let relay = demo(&place);
    let before = Before::of(&relay);
    for reset in [false, true] {
        let mut first = Raw::upgrade(relay.address(), "/ws", b"").await;
        assert_eq!(first.text().await, Some(&br#"{"type":"connected"}"#[..]));
        if reset {
            first.stream.set_zero_linger().expect("an open socket");
        }
        drop(first);
        // The second may come before the end of the first has been seen; then
        // it waits for a probe that the end cuts short.
        let asked = Instant::now();
        Client::connect(relay.address()).await.close().await;
        assert!(asked.elapsed() < Duration::from_millis(600), "{:?}", asked.elapsed());
    }
    before.check(&relay).await;
}

#[tokio::test]
async fn h4_a_vanished_client_loses_the_place_to_the_next_one() {
    let place = Place::new();
    let relay = demo(&place);
    let before = Before::of(&relay);
    let proxy = Proxy::to(relay.address()).await;
    let _first = Client::connect(proxy.address()).await;
    proxy.go_silent();
    let asked = Instant::now();
    Client::connect(relay.address()).await.close().await;
    assert!(asked.elapsed() >= Duration::from_millis(650), "{:?}", asked.elapsed());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    before.check(&relay).await;
}

#[tokio::test]
async fn h4_a_vanished_client_is_dropped_by_the_ping_clock() {
    let place = Place::new();
    let relay = Launch::demo(&place)
        .argument("--ping-interval=500ms")
        .argument("--pong-timeout=500ms")
        .start();
    let before = Before::of(&relay);
    let proxy = Proxy::to(relay.address()).await;
    let _first = Client::connect(proxy.address()).await;
    proxy.go_silent();
    wait::until("nobody to be connected", || {
        relay.stderr().contains("does not answer pings; dropped").then_some(())
    })
    .await;
    before.check(&relay).await;
}

/// A stopped program: its kernel still takes bytes, it answers nothing.
#[tokio::test]
async fn h5_a_frozen_client_is_dead_though_its_kernel_is_not() {
    let place = Place::new();
    let relay = demo(&place);
    let before = Before::of(&relay);
    let mut frozen = Client::connect(relay.address()).await;
    // In the middle of a flood, too: the probe must not wait behind it.
    frozen.say(json!({"n": 40_000, "size": 1000}).to_string()).await;
    let asked = Instant::now();
    let mut second = Client::connect(relay.address()).await;
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    second.interrupt().await;
    second.turn().await;
    second.close().await;
    drop(frozen);
    before.check_but_for_rss(&relay).await;
}

#[tokio::test]
async fn a_live_holder_gives_way_only_to_one_that_takes_over() {
    let place = Place::new();
    let relay = demo(&place);
    let before = Before::of(&relay);
    let mut first = Client::connect(relay.address()).await;
    let mut second = Client::open(relay.address(), "/ws?takeover=true").await;
    assert_eq!(second.frame().await, json!({ "type": "connected" }));
    let told = first.frame().await;
    assert_eq!(told["type"], "error");
    assert_eq!(first.closed().await, Some(4001));
    second.say("Hello").await;
    second.turn().await;
    second.close().await;
    before.check(&relay).await;
}

/// Two clients that come back as soon as they are turned away, for two
/// seconds: the first stays.
#[tokio::test]
async fn two_clients_that_reconnect_for_ever_do_not_throw_each_other_out() {
    let place = Place::new();
    let relay = Launch::demo(&place).argument("--probe-timeout=2s").start();
    let before = Before::of(&relay);
    let address = relay.address();
    let until = Instant::now() + Duration::from_secs(2);
    let reconnecting = || async move {
        let (mut connected, mut refused) = (0, 0);
        while Instant::now() < until {
            let mut client = Client::open(address, "/ws").await;
            let first = client.frame().await;
            if Instant::now() >= until {
                // The other one may have gone home by now.
                break;
            }
            if first == busy() {
                refused += 1;
                client.closed().await;
                continue;
            }
            connected += 1;
            let left = until.saturating_duration_since(Instant::now());
            let end = tokio::time::timeout(left, client.see()).await;
            assert!(end.is_err(), "thrown out: {end:?}");
        }
        (connected, refused)
    };
    let (one, other) = tokio::join!(tokio::spawn(reconnecting()), tokio::spawn(reconnecting()));
    let (one, other) = (one.expect("no panic"), other.expect("no panic"));
    assert_eq!(one.0 + other.0, 1, "{one:?} {other:?}");
    assert!(one.1 + other.1 > 3, "{one:?} {other:?}");
    before.check(&relay).await;
}

/// A paused sandbox: the server stands still for longer than every timeout it
/// has; the client was alive all the time.
#[tokio::test]
async fn a_live_client_survives_a_stopped_server() {
    let place = Place::new();
    let relay = Launch::demo(&place)
        .argument("--ping-interval=400ms")
        .argument("--pong-timeout=400ms")
        .argument("--probe-timeout=400ms")
        .start();
    let before = Before::of(&relay);
    let mut client = Client::connect(relay.address()).await;
    for round in 0..3 {
        let paused = async {
            relay.signal(Signal::STOP);
            tokio::time::sleep(Duration::from_millis(1500)).await;
            relay.signal(Signal::CONT);
            tokio::time::sleep(Duration::from_millis(1000)).await;
        };
        let seen = tokio::select! {
            () = paused => None,
            seen = client.see() => Some(seen),
        };
        assert!(seen.is_none(), "round {round}: {seen:?}");
    }
    client.say("Still here").await;
    client.turn().await;
    client.close().await;
    before.check(&relay).await;
}

/// The same pause, and the client died in it.
#[tokio::test]
async fn a_client_that_died_while_the_server_was_stopped_does_not_hold_the_place() {
    let place = Place::new();
    let relay = demo(&place);
    let before = Before::of(&relay);
    let proxy = Proxy::to(relay.address()).await;
    let _first = Client::connect(proxy.address()).await;
    relay.signal(Signal::STOP);
    proxy.go_silent();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    relay.signal(Signal::CONT);
    let asked = Instant::now();
    Client::connect(relay.address()).await.close().await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    before.check(&relay).await;
}

/// An agent's question outlives the client it was put to.
#[tokio::test]
async fn h12_a_pending_permission_is_asked_again_once() {
    let place = Place::new();
    let relay = demo(&place);
    let before = Before::of(&relay);
    let mut first = Client::connect(relay.address()).await;
    first.say(json!({"permission": "Bash"}).to_string()).await;
    let asked = first.until(|frame| frame["type"] == "permission_request").await.pop();
    drop(first);
    let mut second = fresh_client(relay.address()).await;
    let again = second.frame().await;
    assert_eq!(Some(&again), asked.as_ref());
    second
        .send(&json!({"type": "permission_response", "requestId": again["requestId"], "approved": true}))
        .await;
    let turn = second.turn().await;
    assert!(turn.0.iter().all(|frame| frame["type"] != "permission_request"), "{turn:#?}");
    second.close().await;
    let mut third = fresh_client(relay.address()).await;
    let nothing = tokio::time::timeout(Duration::from_millis(300), third.see()).await;
    assert!(!matches!(nothing, Ok(Seen::Frame(_))), "{nothing:?}");
    third.close().await;
    before.check(&relay).await;
}
