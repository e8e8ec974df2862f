//! The client slot, through real sockets. A dead client
//! loses it, a live one never.

use crate::faults::agent::FakeAgent;
use crate::faults::checks::{Before, fresh_client};
use crate::faults::proxy::Proxy;
use crate::faults::raw::{Raw, user_message};
use crate::support::relay::{Launch, Relay};
use crate::support::ws::{Client, Seen, client_frame};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;

/// For a holder that is dead: soon over.
const SHORT: Duration = Duration::from_millis(700);
const SHORT_PROBE: &str = "--probe-timeout=700ms";

/// For a holder that lives: it answers at once, and a busy machine must not
/// make it look dead.
const LONG_PROBE: &str = "--probe-timeout=30s";

fn demo(env: &TestEnv, probe: &str) -> Relay {
    Launch::demo(env).argument(probe).start()
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
async fn second_client_is_refused_and_the_first_is_undisturbed() {
    let env = TestEnv::new();
    let relay = demo(&env, LONG_PROBE);
    let before = Before::of(&relay);
    let mut first = Client::connect(relay.address()).await;
    let second = turned_away(&relay);
    unless_seen(&mut first, second).await.expect("the holder sees nothing");
    first.say("Hello").await;
    let turn = first.turn().await;
    assert!(turn.0.iter().all(|frame| frame["type"] == "sdk_message"), "{turn:#?}");
    first.close().await;
    before.check(&relay).await;
}

/// Runs `work` while `client` does nothing but to answer pings. What it sees
/// meanwhile is an error.
async fn unless_seen<T>(client: &mut Client, work: impl Future<Output = T>) -> Result<T, Seen> {
    tokio::select! {
        done = work => Ok(done),
        seen = client.see() => Err(seen),
    }
}

#[tokio::test]
async fn messages_of_a_refused_client_never_reach_the_agent() {
    let env = TestEnv::new();
    let agent = FakeAgent::new(&env, "work()");
    let relay = agent.launch(&env).argument(LONG_PROBE).start();
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
    unless_seen(&mut first, second).await.expect("the holder sees nothing");
    first.say("the last").await;
    first.turn().await;
    assert_eq!(agent.heard(), ["mine", "the last"]);
    first.close().await;
    before.check(&relay).await;
}

#[tokio::test]
async fn one_of_200_simultaneous_clients_is_connected() {
    let env = TestEnv::new();
    let relay = demo(&env, LONG_PROBE);
    let before = Before::of(&relay);
    let address = relay.address();
    let (refusal, refusals) = watch::channel(0);
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let (refusal, mut refusals) = (refusal.clone(), refusals.clone());
            tokio::spawn(async move {
                let mut client = Client::open(address, "/ws").await;
                let first = client.frame().await;
                if first == json!({ "type": "connected" }) {
                    // Keeps answering until everybody else has been told.
                    let all_told = refusals.wait_for(|told| *told == 199);
                    let told = unless_seen(&mut client, all_told).await;
                    told.expect("the holder sees nothing").expect("the others are there");
                    return;
                }
                assert_eq!(first, busy());
                assert_eq!(client.closed().await, Some(1013));
                refusal.send_modify(|told| *told += 1);
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no client fails");
    }
    // So one was connected.
    assert_eq!(*refusals.borrow(), 199);
    before.check(&relay).await;
}

#[tokio::test]
async fn close_or_reset_frees_the_slot_at_once() {
    let env = TestEnv::new();
    let relay = demo(&env, LONG_PROBE);
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
        wait::was_within(Duration::from_secs(1), asked);
    }
    before.check(&relay).await;
}

#[tokio::test]
async fn vanished_client_loses_the_slot_to_the_next_client() {
    let env = TestEnv::new();
    let relay = demo(&env, SHORT_PROBE);
    let before = Before::of(&relay);
    let proxy = Proxy::to(relay.address()).await;
    let _first = Client::connect(proxy.address()).await;
    proxy.go_silent();
    let asked = Instant::now();
    Client::connect(relay.address()).await.close().await;
    assert!(asked.elapsed() >= SHORT, "{:?}", asked.elapsed());
    wait::was_within(2 * SHORT, asked);
    before.check(&relay).await;
}

#[tokio::test]
async fn vanished_client_is_dropped_after_a_missed_pong() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env)
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
async fn frozen_client_is_dropped_although_its_kernel_acknowledges() {
    let env = TestEnv::new();
    let relay = demo(&env, SHORT_PROBE);
    let before = Before::of(&relay);
    let mut frozen = Client::connect(relay.address()).await;
    // In the middle of a flood, too: the probe must not wait behind it.
    frozen.say(json!({"n": 40_000, "size": 1000}).to_string()).await;
    let asked = Instant::now();
    let mut second = Client::connect(relay.address()).await;
    wait::was_within(2 * SHORT, asked);
    second.interrupt().await;
    second.turn().await;
    second.close().await;
    drop(frozen);
    before.check_but_for_rss(&relay).await;
}

#[tokio::test]
async fn a_live_holder_gives_way_only_to_one_that_takes_over() {
    let env = TestEnv::new();
    let relay = demo(&env, LONG_PROBE);
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

/// Two clients that come back as soon as they are turned away: the first stays.
#[tokio::test]
async fn two_clients_that_reconnect_for_ever_do_not_throw_each_other_out() {
    let env = TestEnv::new();
    let relay = demo(&env, LONG_PROBE);
    let before = Before::of(&relay);
    let mut first = Client::connect(relay.address()).await;
    let reconnecting = async {
        for _ in 0..50 {
            turned_away(&relay).await;
        }
    };
    // It would come back too, if it were thrown out; so that must not be.
    unless_seen(&mut first, reconnecting).await.expect("the holder sees nothing");
    first.close().await;
    before.check(&relay).await;
}

/// A paused sandbox: the server stands still for longer than every timeout it
/// has; the client was alive all the time.
#[tokio::test]
async fn a_live_client_survives_a_stopped_server() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env)
        .argument("--ping-interval=500ms")
        .argument("--pong-timeout=3s")
        .argument("--probe-timeout=3s")
        .start();
    let before = Before::of(&relay);
    let mut client = Client::connect(relay.address()).await;
    for _ in 0..2 {
        let paused = async {
            relay.signal(Signal::STOP);
            tokio::time::sleep(Duration::from_secs(5)).await;
            relay.signal(Signal::CONT);
            tokio::time::sleep(Duration::from_secs(2)).await;
        };
        unless_seen(&mut client, paused).await.expect("the holder sees nothing");
    }
    client.say("Still here").await;
    client.turn().await;
    client.close().await;
    before.check(&relay).await;
}

/// The same pause, and the client died in it.
#[tokio::test]
async fn client_that_died_while_the_server_was_stopped_loses_the_slot() {
    let env = TestEnv::new();
    let relay = demo(&env, SHORT_PROBE);
    let before = Before::of(&relay);
    let proxy = Proxy::to(relay.address()).await;
    let _first = Client::connect(proxy.address()).await;
    relay.signal(Signal::STOP);
    proxy.go_silent();
    tokio::time::sleep(Duration::from_millis(1000)).await;
    relay.signal(Signal::CONT);
    let asked = Instant::now();
    Client::connect(relay.address()).await.close().await;
    wait::was_within(2 * SHORT, asked);
    before.check(&relay).await;
}

/// An agent's question outlives the client it was put to.
#[tokio::test]
async fn pending_permission_request_is_replayed_once() {
    let env = TestEnv::new();
    let relay = demo(&env, LONG_PROBE);
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

/// A client can neither answer a ping nor send one within a frame.
#[tokio::test]
async fn a_message_that_arrives_slowly_keeps_its_client_alive() {
    let env = TestEnv::new();
    let clock = ["--ping-interval=1s", "--pong-timeout=1s"];
    let relay = clock.iter().fold(Launch::demo(&env), |launch, flag| launch.argument(*flag));
    let relay = relay.start();
    let mut client = Raw::upgrade(relay.address(), "/ws", b"").await;
    client.text().await.expect("connected");
    let frame = client_frame(0x81, user_message(&"slow".repeat(1000)).as_bytes());
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    for part in frame.chunks(frame.len() / 40) {
        pace.tick().await;
        client.stream.write_all(part).await.expect("the server reads");
    }
    loop {
        let frame = client.text().await.expect("the client is still connected");
        if String::from_utf8_lossy(frame).contains(r#""type":"result""#) {
            break;
        }
    }
    drop(client);
    relay.stop();
}
