//! The server's start and stop, and proof that no process it has started
//! outlives either.

use crate::faults::agent::FakeAgent;
use crate::faults::checks::{
    Before, answers_at_once, descriptors, fresh_client, private_bytes, rss_bytes,
};
use crate::faults::raw::Raw;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::process::{self, Process};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Time after which no process of an ended agent may be left.
const AFTER_AGENT: Duration = Duration::from_secs(2);

/// Leaves a process in a session of its own, whose parent has gone, and one in
/// the background of the agent.
const LEAVES_ORPHANS: &str = r#"
subprocess.Popen(["sh", "-c", "setsid sleep 86401 & exit 0"])
subprocess.Popen(["sleep", "86402"])
note("orphans", "left")
work()
"#;

fn sleepers(relay: &Relay) -> Vec<Process> {
    let mut found = relay.offspring();
    found.retain(|process| process.command.starts_with("sleep 8640"));
    found
}

/// A relay whose agent has left two orphans, and a client of it.
async fn with_orphans(env: &TestEnv) -> (Relay, Client, FakeAgent) {
    let agent = FakeAgent::new(env, LEAVES_ORPHANS);
    let relay = agent.launch(env).argument("--stop-grace=1s").start();
    let client = Client::connect(relay.address()).await;
    agent.notes("orphans", "left").await;
    wait::until("two orphans", || (sleepers(&relay).len() == 2).then_some(())).await;
    (relay, client, agent)
}

/// The supervisor of a relay: its child.
fn supervisor(relay: &Relay) -> i32 {
    let children = process::descendants(relay.pid());
    children.iter().find(|process| process.parent == relay.pid()).expect("a supervisor").pid
}

async fn agent_pid(relay: &Relay) -> i32 {
    wait::within("a running agent", async {
        loop {
            let health = answers_at_once(relay.address()).await;
            if let Some(pid) = health["agent"]["pid"].as_i64() {
                return i32::try_from(pid).expect("a process id fits");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Everything below the server is gone within two seconds, zombies included.
async fn gone(relay: &Relay, old: &[Process]) {
    let asked = Instant::now();
    wait::until("the orphans to be gone", || {
        let left = relay.offspring();
        (!left.iter().any(|left| old.iter().any(|old| old.pid == left.pid))).then_some(())
    })
    .await;
    wait::was_within(AFTER_AGENT, asked);
    wait::until("no zombie", || process::zombies_of(relay.pid()).is_empty().then_some(())).await;
}

async fn told_of_the_end(client: &mut Client) -> Value {
    client.until(|frame| frame["type"] == "exit").await.pop().expect("an exit frame")
}

#[tokio::test]
async fn crashed_agent_leaves_no_orphan_in_any_session() {
    let env = TestEnv::new();
    let (relay, mut client, _agent) = with_orphans(&env).await;
    let old = relay.offspring();
    assert_eq!(old.len(), 4, "{old:#?}");
    process::signal(agent_pid(&relay).await, Signal::KILL);
    gone(&relay, &old).await;
    assert_eq!(told_of_the_end(&mut client).await["signal"], "SIGKILL");
    client.say("Hello").await;
    client.turn().await;
    relay.stop();
}

#[tokio::test]
async fn killed_supervisor_leaves_no_process() {
    let env = TestEnv::new();
    let (relay, mut client, _agent) = with_orphans(&env).await;
    let old = relay.offspring();
    process::signal(supervisor(&relay), Signal::KILL);
    gone(&relay, &old).await;
    assert_eq!(told_of_the_end(&mut client).await["signal"], "SIGKILL");
    client.say("Hello").await;
    client.turn().await;
    relay.stop();
}

#[tokio::test]
async fn stopped_server_leaves_no_orphan() {
    for signal in [Signal::TERM, Signal::INT] {
        let env = TestEnv::new();
        let (relay, mut client, _agent) = with_orphans(&env).await;
        relay.signal(signal);
        let told = client.until(|frame| frame["type"] == "error").await.pop().expect("an error");
        assert_eq!(told["error"], "Server is shutting down");
        assert_eq!(client.closed().await, Some(1001));
        let asked = Instant::now();
        assert_eq!(relay.end().code(), Some(0));
        wait::was_within(AFTER_AGENT, asked);
    }
}

#[tokio::test]
async fn killed_server_leaves_no_process_after_8_s() {
    let env = TestEnv::new();
    let (relay, client, _agent) = with_orphans(&env).await;
    relay.signal(Signal::KILL);
    // It waits for no more than 8 s and fails with what is left.
    relay.end();
    drop(client);
}

/// The agent ignores the end of its input and SIGTERM, and has orphans in
/// sessions of their own.
#[tokio::test]
async fn killed_server_ends_an_agent_that_ignores_signals() {
    let env = TestEnv::new();
    let story = r#"
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["setsid", "sleep", "86401"])
note("ready", "yes")
while True: time.sleep(1)
"#;
    let agent = FakeAgent::new(&env, story);
    let relay = agent.launch(&env).start();
    let client = Client::connect(relay.address()).await;
    agent.notes("ready", "yes").await;
    relay.signal(Signal::KILL);
    relay.end();
    drop(client);
}

/// The supervisor reaps the processes that the agent's tools leave behind.
#[tokio::test]
async fn an_orphan_that_ends_does_not_stay_a_zombie() {
    let env = TestEnv::new();
    let story = r#"
for _ in range(20):
    subprocess.run(["sh", "-c", "setsid sh -c 'sleep 0.1' & exit 0"])
note("ready", "yes")
work()
"#;
    let agent = FakeAgent::new(&env, story);
    let relay = agent.launch(&env).start();
    let mut client = Client::connect(relay.address()).await;
    agent.notes("ready", "yes").await;
    client.say("Hello").await;
    client.turn().await;
    wait::until("a supervisor and an agent and no zombie", || {
        (process::descendants(relay.pid()).len() == 2).then_some(())
    })
    .await;
    relay.stop();
}

#[tokio::test]
async fn supervisor_uses_little_memory() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let mut client = Client::connect(relay.address()).await;
    client.say("Hello").await;
    client.turn().await;
    let private = private_bytes(supervisor(&relay));
    assert!(private > 0 && private < 2_000_000, "{private} bytes");
    relay.stop();
}

#[tokio::test]
async fn sigterm_while_idle_ends_within_a_second() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let asked = Instant::now();
    relay.stop();
    wait::was_within(Duration::from_secs(1), asked);
}

#[tokio::test]
async fn sigterm_interrupts_the_turn_and_the_client_gets_its_result() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let mut client = Client::connect(relay.address()).await;
    client.say(json!({"n": 1_000_000, "rate": 50}).to_string()).await;
    client.until(|frame| frame["data"]["type"] == "assistant").await;
    relay.signal(Signal::TERM);
    let frames = client.turn().await;
    let error = frames.0.iter().find(|frame| frame["type"] == "error").expect("an error frame");
    assert_eq!(error["error"], "Server is shutting down");
    assert_eq!(client.closed().await, Some(1001));
    wait::until("the deadline in the log", || {
        relay.stderr().contains("the agent has 5s to end").then_some(())
    })
    .await;
    assert_eq!(relay.end().code(), Some(0));
}

/// A client in the middle of a replay that it does not read.
#[tokio::test]
async fn sigterm_during_a_replay_ends_in_order() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let mut client = Raw::upgrade(relay.address(), "/ws", b"").await;
    client.say(&json!({"n": 1_000, "size": 10_000}).to_string()).await;
    wait::within("the turn to end", async {
        while answers_at_once(relay.address()).await["agent"]["turns"] != 1 {
            client.frame().await.expect("the connection holds");
        }
    })
    .await;
    drop(client);
    let stuck = loop {
        let mut raw = Raw::upgrade(relay.address(), "/ws?after=0", b"").await;
        let first = raw.text().await.expect("a first frame");
        if first.starts_with(br#"{"type":"connected""#) {
            break raw;
        }
    };
    let asked = Instant::now();
    relay.signal(Signal::TERM);
    assert_eq!(relay.end().code(), Some(0));
    // A client that reads nothing is not waited for for long.
    wait::was_within(Duration::from_secs(2), asked);
    drop(stuck);
}

#[tokio::test]
async fn second_signal_ends_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let env = TestEnv::new();
        let story = r#"
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["setsid", "sleep", "86401"])
note("ready", "yes")
while True: time.sleep(1)
"#;
        let agent = FakeAgent::new(&env, story);
        let relay = agent.launch(&env).argument("--stop-grace=1m").start();
        let mut client = Client::connect(relay.address()).await;
        agent.notes("ready", "yes").await;
        relay.signal(Signal::TERM);
        client.until(|frame| frame["type"] == "error").await;
        let asked = Instant::now();
        relay.signal(signal);
        assert_eq!(relay.end().code(), Some(0));
        wait::was_within(Duration::from_secs(1), asked);
    }
}

#[tokio::test]
async fn signals_that_do_not_end_it() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let before = Before::of(&relay);
    for signal in [Signal::HUP, Signal::USR1, Signal::PIPE, Signal::USR1, Signal::HUP] {
        relay.signal(signal);
        answers_at_once(relay.address()).await;
    }
    before.check(&relay).await;
    relay.stop();
}

#[tokio::test]
async fn many_connections_and_turns_leak_nothing() {
    const WARM_UP: usize = 1_300;
    const ROUNDS: usize = 1_000;
    let env = TestEnv::new();
    // A replay buffer that is full from the start does not grow.
    let relay = Launch::demo(&env).argument("--log=warn").argument("--replay-bytes=50000").start();
    let round = || async {
        let mut client = fresh_client(relay.address()).await;
        client.say(r#"{"n":1}"#).await;
        client.turn().await;
        client.close().await;
    };
    // What is taken once is taken now: the allocator needs a while to have met
    // every order in which buffers come and go.
    for _ in 0..WARM_UP {
        round().await;
    }
    let before = (descriptors(relay.pid()), relay.offspring().len(), rss_bytes(relay.pid()));
    for _ in 0..ROUNDS {
        round().await;
    }
    wait::until("as many descriptors and processes as before", || {
        let now = (descriptors(relay.pid()), relay.offspring().len());
        (now.0 <= before.0 + 2 && now.1 == before.1).then_some(())
    })
    .await;
    let grown = rss_bytes(relay.pid()).saturating_sub(before.2);
    assert!(grown < 1 << 20, "{grown} bytes more after {ROUNDS} rounds");
    let health = answers_at_once(relay.address()).await;
    assert_eq!(
        (&health["agent"]["turns"], &health["agent"]["restarts"]),
        (&json!(WARM_UP + ROUNDS), &json!(0))
    );
    relay.stop();
}
