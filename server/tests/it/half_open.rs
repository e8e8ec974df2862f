//! Half-open clients as they are in the wild: the packets of a connection are
//! dropped, so neither end hears anything, and the system of each still takes
//! what is sent. By nftables, in a network of the test's own.
//!
//! (A proxy that goes silent, as in `slot`, still acknowledges.)

use crate::faults::checks::Before;
use crate::faults::raw::Raw;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use serde_json::json;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Says that a test runs in a network of its own.
const INSIDE: &str = "TEST_IN_OWN_NETWORK";

/// Runs the test of this name once more, in a network of its own, unless this
/// is that run. A normal user becomes the root of it.
#[expect(clippy::disallowed_methods, reason = "the child is this very test")]
fn is_inside(name: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        run("ip", &["link", "set", "lo", "up"]);
        return true;
    }
    let own = std::env::current_exe().expect("a test is a program");
    let mut command = Command::new("unshare");
    command.args(["--net", "--map-root-user"]).arg(own);
    command.args(["--exact", "--nocapture", &format!("half_open::{name}")]);
    let output = command.env(INSIDE, "1").stdin(Stdio::null()).output().expect("util-linux");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{name} needs a network of its own: root, or user namespaces\n{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

#[expect(clippy::disallowed_methods, reason = "no child of the server")]
fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; run scripts/test"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// From now on every packet of this connection is dropped, in both directions.
fn drop_packets_of(client: &Raw) {
    let port = client.stream.local_addr().expect("an open socket").port();
    run("nft", &["add", "table", "inet", "test"]);
    run("nft", &["add", "chain", "inet", "test", "in", "{ type filter hook input priority 0; }"]);
    for end in ["sport", "dport"] {
        let rule = format!("add rule inet test in tcp {end} {port} drop");
        run("nft", &rule.split(' ').collect::<Vec<_>>());
    }
}

async fn client(relay: &Relay) -> Raw {
    let mut client = Raw::upgrade(relay.address(), "/ws?after=0", b"").await;
    client.text().await.expect("connected");
    client
}

/// In the middle of a turn: the next client goes on where this one has stopped,
/// whatever lay in the buffers between.
#[tokio::test]
async fn half_open_client_loses_the_slot_to_the_next_client() {
    if !is_inside("half_open_client_loses_the_slot_to_the_next_client") {
        return;
    }
    const LINES: u64 = 6_000;
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--probe-timeout=700ms").start();
    let before = Before::of(&relay);
    let mut first = client(&relay).await;
    first.say(&json!({"n": LINES, "size": 2_000, "rate": 2_000}).to_string()).await;
    let mut seen = 0;
    while seen < LINES / 100 {
        first.text().await.expect("the connection holds");
        seen += 1;
    }
    drop_packets_of(&first);
    let asked = Instant::now();
    let mut next = Client::open(relay.address(), &format!("/ws?after={seen}")).await;
    assert_eq!(next.frame().await["type"], "connected");
    assert!(asked.elapsed() >= Duration::from_millis(700), "{:?}", asked.elapsed());
    wait::was_within(Duration::from_millis(1400), asked);
    loop {
        let frame = next.frame().await;
        seen += 1;
        assert_eq!(frame["seq"], seen, "{frame}");
        if frame["data"]["type"] == "result" {
            break;
        }
    }
    assert!(seen >= LINES, "{seen}");
    next.close().await;
    before.check(&relay).await;
}

#[tokio::test]
async fn half_open_client_is_dropped_after_a_missed_pong() {
    if !is_inside("half_open_client_is_dropped_after_a_missed_pong") {
        return;
    }
    let env = TestEnv::new();
    let clock = ["--ping-interval=1s", "--pong-timeout=1s"];
    let relay = clock.iter().fold(Launch::demo(&env), |launch, flag| launch.argument(*flag));
    let relay = relay.start();
    let before = Before::of(&relay);
    let first = client(&relay).await;
    drop_packets_of(&first);
    wait::until("nobody to be connected", || {
        relay.stderr().contains("does not answer pings; dropped").then_some(())
    })
    .await;
    before.check(&relay).await;
}
