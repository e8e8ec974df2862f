//! Many agents at once, and one that floods. `HUB_AGENTS` sets how many; for the
//! figures: `HUB_AGENTS=200 cargo test --release -p claude-relay-hub --test it many -- --nocapture`.
//! `HUB_SANDBOXES` does the same for those in sandboxes, of which 500 want some 4 GiB:
//! each has a relay of its own.

use std::time::Instant;

use claude_relay_testing::wait;
use serde_json::{Value, json};

use crate::support::HubDirectory;

/// Most memory of the hub for each agent, in KiB. 12 take 408 each with what the
/// first requests cost, 200 take 149.
const KIB_FOR_EACH: u64 = 1024;

/// Most memory that a flood adds, in KiB: the events that are kept, 16 MiB, and as
/// much again.
const KIB_OF_FLOOD: u64 = 32 << 10;

/// The resident memory of a process, in KiB.
pub(crate) fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the number of agents by hand")]
#[allow(clippy::print_stdout, reason = "the figures of a run by hand")]
async fn many_agents_answer_beside_one_that_floods() {
    let count: usize = std::env::var("HUB_AGENTS").map_or(12, |count| count.parse().unwrap());
    let running = (count + 1).to_string();
    let limits = ["--max-agents", &running, "--max-running", &running];
    let place = HubDirectory::with(&limits, &["--demo"], &[]);
    let hub = place.start().await;
    let workspace = hub.workspace("w").await;
    let hub_pid = place.mark.processes()[0].pid;
    let alone = resident(hub_pid);
    println!("hub alone: {alone} KiB");
    let began = Instant::now();
    let mut agents = Vec::new();
    for _ in 0..count {
        agents.push(hub.agent(&workspace, "one").await);
    }
    println!("{count} created in {:?}", began.elapsed());
    let began = Instant::now();
    for agent in &agents {
        hub.say(agent, r#"{"echo":true}"#).await;
    }
    wait::until_async("an answer of every agent", async || {
        let seen = hub.ok("GET", "/api/agents", Value::Null).await;
        seen.as_array().unwrap().iter().all(|agent| agent["queued"] == 0)
    })
    .await;
    println!("{count} started and answered in {:?}", began.elapsed());
    let processes = place.mark.processes();
    let relays: u64 =
        processes.iter().filter(|one| one.pid != hub_pid).map(|one| resident(one.pid)).sum();
    let for_each = (resident(hub_pid) - alone) / count as u64;
    assert!(for_each <= KIB_FOR_EACH, "{for_each} KiB for each agent");
    println!(
        "hub: {} KiB, so {} KiB for each agent; {} other processes: {} KiB for each agent",
        resident(hub_pid),
        for_each,
        processes.len() - 1,
        relays / count as u64
    );
    let mut socket = hub.connect().await;
    let mut latencies = async |agents: &[String], count: usize| {
        let mut latencies = Vec::new();
        for agent in agents.iter().cycle().take(count) {
            let began = Instant::now();
            socket
                .send(
                    json!({ "type": "send_message", "agentId": agent, "text": r#"{"echo":true}"# }),
                )
                .await;
            loop {
                let event = socket.next().await;
                if event["type"] == "agent_done" && event["agentId"] == **agent {
                    break;
                }
            }
            latencies.push(began.elapsed());
        }
        latencies.sort_unstable();
        (latencies[count / 2], latencies[count * 99 / 100])
    };
    println!(
        "a turn, from the message to its end (median, 99 %): {:?}",
        latencies(&agents, count).await
    );
    let before = resident(hub_pid);
    hub.say(&agents[0], r#"{"n":100000000,"size":300}"#).await;
    wait::until_async("the flood", async || {
        hub.ok("GET", &format!("/api/agents/{}", agents[0]), Value::Null).await["status"]
            == "working"
    })
    .await;
    // Each of these waits for the end of a turn, within a bound.
    println!("beside one that floods: {:?}", latencies(&agents[1..], count).await);
    let flooded = resident(hub_pid);
    println!("hub: {flooded} KiB");
    assert!(flooded <= before + KIB_OF_FLOOD, "{before} KiB, then {flooded} KiB");
    hub.stop().await;
}

#[cfg(feature = "e2b")]
#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the number of agents by hand")]
#[allow(clippy::print_stdout, reason = "the figures of a run by hand")]
async fn many_agents_in_sandboxes_answer_and_leave_none() {
    use claude_relay_testing::e2b::{API_KEY, FakeE2b};
    use claude_relay_testing::relay_process::RelayProcess;

    let count: usize = std::env::var("HUB_SANDBOXES").map_or(6, |count| count.parse().unwrap());
    let fake = FakeE2b::start().await;
    fake.forget_requests();
    let mut relays = Vec::new();
    for _ in 0..count {
        relays.push(RelayProcess::demo(&["--no-auth"]).await);
    }
    let ports = relays.iter().map(|relay| ([127, 0, 0, 1], relay.port).into());
    fake.forward_each(3000, ports.collect());
    let url = fake.url();
    let environment = [
        ("E2B_API_KEY", API_KEY),
        ("E2B_API_URL", &url),
        ("E2B_SANDBOX_URL", &url),
        ("ANTHROPIC_API_KEY", "sk-ant-test-key"),
    ];
    let most = count.to_string();
    let flags =
        ["--e2b-template", "claude-agent-server", "--max-agents", &most, "--max-running", &most];
    let place = HubDirectory::with(&flags, &["--demo"], &environment);
    let hub = place.start().await;
    let workspace = hub.workspace("w").await;
    let pid = place.mark.processes()[0].pid;
    let alone = resident(pid);
    let mut socket = hub.connect_after(0).await;
    let began = Instant::now();
    for _ in 0..count {
        let new = json!({ "workspaceId": workspace, "role": "far", "engine": "e2b",
            "message": r#"{"echo":true}"# });
        hub.ok("POST", "/api/agents", new).await;
    }
    println!("{count} created in {:?}", began.elapsed());
    let mut done = std::collections::BTreeSet::new();
    while done.len() < count {
        let event = socket.next().await;
        assert!(event["type"] != "agent_error", "{event}");
        if event["type"] == "agent_done" {
            assert!(done.insert(event["agentId"].as_str().unwrap().to_owned()), "{event}");
        }
    }
    let for_each = resident(pid).saturating_sub(alone) / count as u64;
    println!("{count} started and answered in {:?}; {for_each} KiB for each", began.elapsed());
    assert!(for_each <= KIB_FOR_EACH, "{for_each} KiB for each agent");
    assert_eq!(fake.counts(), (count as u64, count), "a sandbox for each");
    let mut latencies = Vec::new();
    for agent in &done {
        let began = Instant::now();
        hub.say(agent, r#"{"echo":true}"#).await;
        while socket.until_type("agent_done").await["agentId"] != **agent {}
        latencies.push(began.elapsed());
    }
    latencies.sort_unstable();
    println!(
        "a turn, from the message to its end (median, 99 %): {:?}",
        (latencies[count / 2], latencies[count * 99 / 100])
    );
    hub.ok("DELETE", &format!("/api/workspaces/{workspace}"), Value::Null).await;
    wait::until("no sandbox", || fake.alive().is_empty().then_some(())).await;
    fake.finish();
    hub.stop().await;
    place.assert_no_orphans();
}
