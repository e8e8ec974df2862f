//! Bounds in bytes on what waits, in either direction, for somebody who does
//! not read: measured as memory of the server and size of its log.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;

/// Memory that a server may take, with a replay buffer of 16 MiB.
pub(super) const RESIDENT_BYTES: u64 = 256 << 20;

/// Size that its log may have.
pub(super) const LOG_BYTES: usize = 1 << 20;

/// Time for which somebody sends at full speed.
const ATTACK: Duration = Duration::from_secs(5);

/// A server whose agent, of either kind, is this script in Python.
pub(super) fn start(env: &TestEnv, mode: &'static str, script: &str) -> Relay {
    let program = env.file("agent");
    let version = "import sys\nif '--version' in sys.argv:\n    print('2.1.332 (Claude Code)')\n    sys.exit()\n";
    std::fs::write(&program, format!("#!/usr/bin/env python3\n{version}{script}"))
        .expect("a script");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    Launch::new(env)
        .mode(mode)
        .argument("--claude-path")
        .argument(&program)
        .argument("--codex-path")
        .argument(program)
        .argument("--stop-grace=300ms")
        .start()
}

/// An agent that takes nothing.
const DEAF: &str = "import time\nprint('{\"type\":\"up\"}', flush=True)\ntime.sleep(600)\n";

pub(super) fn resident_bytes(relay: &Relay) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{}/statm", relay.pid()));
    let statm = statm.expect("the server runs");
    let pages: u64 = statm.split(' ').nth(1).expect("a second field").parse().expect("pages");
    pages * 4096
}

/// The largest of the measurements while `attack` goes on, and what it says at
/// the end.
async fn peak<T>(relay: &Relay, attack: impl Future<Output = T>) -> (u64, T) {
    let mut most = 0;
    tokio::pin!(attack);
    loop {
        tokio::select! {
            said = &mut attack => return (most.max(resident_bytes(relay)), said),
            () = tokio::time::sleep(Duration::from_millis(20)) => {
                most = most.max(resident_bytes(relay));
            }
        }
    }
}

async fn assert_bounded(relay: &Relay, most: u64) {
    assert!(most <= RESIDENT_BYTES, "{} MiB", most >> 20);
    let log = relay.stderr();
    assert!(log.len() <= LOG_BYTES, "{} bytes of log", log.len());
    let asked = Instant::now();
    assert_eq!(http::get(relay.address(), "/health").await.status, 200);
    wait::was_within(Duration::from_secs(1), asked);
}

#[tokio::test]
async fn an_agent_that_does_not_read_the_answers_to_its_requests_is_stopped() {
    let env = TestEnv::new();
    let flood = "line = '{\"type\":\"control_request\",\"request_id\":\"%s\",\"request\":{\"subtype\":\"unknown_kind\"}}\\n' % ('x' * 2000)\n\
                 while True:\n    sys.stdout.write(line * 500)\n";
    let relay = start(&env, "ask", flood);
    let mut client = Client::connect(relay.address()).await;
    let stopped = async {
        let is_stopped = |frame: &serde_json::Value| {
            frame["error"].as_str().is_some_and(|error| error.contains("does not read the answers"))
        };
        client.until(is_stopped).await;
        client.until(|frame| frame["type"] == "exit").await;
    };
    let (most, ()) = peak(&relay, stopped).await;
    assert_bounded(&relay, most).await;
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn permission_requests_of_an_agent_are_bounded_in_bytes() {
    let env = TestEnv::new();
    let flood = "import time\nfor n in range(12):\n    sys.stdout.write('{\"type\":\"control_request\",\"request_id\":\"%d\",\"request\":{\"subtype\":\"can_use_tool\",\"tool_name\":\"Bash\",\"input\":{\"a\":\"%s\"}}}\\n' % (n, 'x' * (8 << 20)))\n    sys.stdout.flush()\n\
                 print('{\"type\":\"done\"}', flush=True)\ntime.sleep(600)\n";
    let relay = start(&env, "ask", flood);
    let mut client = Client::connect(relay.address()).await;
    let done = client.until(|frame| frame["data"]["type"] == "done");
    let (most, frames) = peak(&relay, done).await;
    let asked = frames.iter().filter(|frame| frame["type"] == "permission_request").count();
    assert!((3..=6).contains(&asked), "{asked}");
    drop(frames);
    assert_bounded(&relay, most).await;
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn refused_answers_of_a_client_that_does_not_read_are_bounded() {
    let env = TestEnv::new();
    let relay = start(&env, "ask", DEAF);
    for id in ["x".to_owned(), "x".repeat(100_000)] {
        let mut client = Client::connect(relay.address()).await;
        let rule = json!([{ "type": "addRules", "rules": [{ "toolName": "Bash" }],
            "behavior": "allow", "destination": "userSettings" }]);
        let answer = json!({
            "type": "permission_response", "requestId": id, "approved": true,
            "updatedPermissions": rule,
        });
        let attack = async {
            let until = Instant::now() + ATTACK;
            while Instant::now() < until {
                // It ends when the server drops the connection, or no longer
                // reads.
                let sent = tokio::time::timeout(Duration::from_secs(1), client.try_send(&answer));
                if !matches!(sent.await, Ok(true)) {
                    break;
                }
            }
        };
        let (most, ()) = peak(&relay, attack).await;
        drop(client);
        assert_bounded(&relay, most).await;
    }
    relay.stop();
}
