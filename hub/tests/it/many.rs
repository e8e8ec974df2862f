//! Many agents at once: figures by hand, with
//! `cargo test --release -p claude-relay-hub --test it many -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::HubDirectory;

const AGENTS: usize = 200;

/// The resident memory of a process, in KiB.
fn resident(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or_default()
}

#[tokio::test]
#[ignore = "figures by hand: 200 relays and 200 agents"]
#[allow(clippy::print_stdout, reason = "the figures of a run by hand")]
async fn two_hundred_agents_and_one_that_floods() {
    let running = (AGENTS + 1).to_string();
    let limits = ["--max-agents", &running, "--max-running", &running];
    let place = HubDirectory::with(&limits, &["--demo"], &[]);
    let hub = place.start().await;
    let workspace = hub.workspace("w").await;
    let hub_pid = place.mark.processes()[0].pid;
    println!("hub alone: {} KiB", resident(hub_pid));
    let began = Instant::now();
    let mut agents = Vec::new();
    for _ in 0..AGENTS {
        agents.push(hub.agent(&workspace, "one").await);
    }
    println!("{AGENTS} created in {:?}", began.elapsed());
    let began = Instant::now();
    for agent in &agents {
        hub.say(agent, r#"{"echo":true}"#).await;
    }
    let mut left = AGENTS;
    let mut last = (String::new(), 0);
    while left > 0 {
        let seen = hub.ok("GET", "/api/agents", Value::Null).await;
        let queued = seen.as_array().unwrap().iter().filter(|agent| agent["queued"] != 0).count();
        if last.1 != queued {
            last = (format!("{:?}", began.elapsed()), queued);
        }
        left = queued;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    println!("{AGENTS} started and answered in {}", last.0);
    let processes = place.mark.processes();
    let relays: u64 =
        processes.iter().filter(|one| one.pid != hub_pid).map(|one| resident(one.pid)).sum();
    println!(
        "hub: {} KiB, so {} KiB for each agent; {} other processes: {} KiB for each agent",
        resident(hub_pid),
        resident(hub_pid) / AGENTS as u64,
        processes.len() - 1,
        relays / AGENTS as u64
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
        latencies(&agents, 200).await
    );
    hub.say(&agents[0], r#"{"n":100000000,"size":300}"#).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    println!("beside one that floods: {:?}", latencies(&agents[1..], 100).await);
    println!("hub: {} KiB", resident(hub_pid));
    hub.stop().await;
}
