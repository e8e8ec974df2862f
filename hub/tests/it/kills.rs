//! A hub that is killed at any moment, over and over. `HUB_KILLS` sets how
//! often.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Hub, HubDirectory};

/// Agents and delegations that every life of the hub adds.
const DELEGATIONS: usize = 2;

async fn delegate(hub: &Hub, lead: &str, number: usize) -> Option<String> {
    let path = format!("/api/agents/{lead}/delegations");
    let task = json!({ "role": "tester", "task": format!("task {number}") });
    let (status, answer) = hub.call("POST", &path, task).await;
    // Too many may be open, since each life is short.
    status.is_success().then(|| answer["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the number of kills by hand")]
#[allow(clippy::print_stdout, reason = "the figures of a run by hand")]
async fn nothing_is_lost_wherever_the_hub_is_killed() {
    let kills: usize = std::env::var("HUB_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let place = HubDirectory::trusting();
    let mut hub = place.start().await;
    let workspace = hub.workspace("w").await;
    let lead = hub.agent(&workspace, "lead").await;
    let tester = hub.agent(&workspace, "tester").await;
    let mut agents = vec![lead.clone(), tester.clone()];
    let mut delegations = Vec::new();
    for life in 0..kills {
        for number in 0..DELEGATIONS {
            delegations.extend(delegate(&hub, &lead, life * DELEGATIONS + number).await);
        }
        if agents.len() < 6 {
            agents.push(hub.agent(&workspace, "extra").await);
        }
        // A moment that nobody has chosen.
        tokio::time::sleep(Duration::from_millis(claude_relay_random::number() % 700)).await;
        hub.kill().await;
        hub = place.start().await;
        let found = hub.ok("GET", "/api/agents", Value::Null).await;
        let found: Vec<_> =
            found.as_array().unwrap().iter().map(|agent| agent["id"].as_str().unwrap()).collect();
        for agent in &agents {
            assert!(found.contains(&agent.as_str()), "life {life}: {agent} is lost");
        }
    }
    let finished = async {
        loop {
            let seen = hub.ok("GET", "/api/delegations", Value::Null).await;
            let seen = seen.as_array().unwrap();
            let is_done = |id: &String| {
                let found = seen.iter().find(|one| one["id"] == **id);
                found.unwrap_or_else(|| panic!("{id} is lost"))["status"] == "done"
            };
            if delegations.iter().all(is_done) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(300), finished).await.expect("all delegations end");
    // Every result has reached the one who asked, once.
    let log = hub.ok("GET", &format!("/api/agents/{lead}/log"), Value::Null).await;
    let log = log.as_array().unwrap();
    for id in &delegations {
        let start = format!("Result of {id} ");
        let results = log.iter().filter(|entry| {
            entry["kind"] == "user" && entry["content"].as_str().unwrap().starts_with(&start)
        });
        assert_eq!(results.count(), 1, "{id}");
    }
    println!("{kills} kills: {} delegations, {} agents", delegations.len(), agents.len());
    hub.stop().await;
    place.assert_no_orphans();
}
