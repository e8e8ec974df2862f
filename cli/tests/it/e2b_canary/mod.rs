//! A key that must never be in a sandbox, and an agent that looks for it there in more
//! than thirty ways. The sandbox is a machine as far as namespaces make one: processes,
//! `/proc`, `/tmp` and a home of its own.

use claude_relay_testing::e2b::FakeE2b;
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::scripted_agent::executable;
use serde_json::{Map, Value};

use crate::support::cloud::CloudFixture;
use crate::support::program::run;

/// The ways that an agent has.
const THIRTY_WAYS: &str = include_str!("thirty_ways.py");

/// Ways by which a key that is sent inside is found: what shows that looking finds.
const FINDS: [&str; 4] = [
    "own_environment",
    "own_first_environment",
    "environment_of_a_new_shell",
    "own_credential_as_it_would_be_sent",
];

/// Further ones, where a process may read the memory of another one of its user.
const FINDS_IN_MEMORY: [&str; 3] =
    ["environment_of_processes", "memory_of_the_relay", "memory_by_a_system_call"];

/// Returns true if this machine lets a process read the memory of its parents.
fn memory_is_open() -> bool {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope");
    rustix::process::geteuid().is_root() || scope.is_ok_and(|scope| scope.trim() == "0")
}

/// Asks an agent in a fresh sandbox what it finds of the key. Gives the hits by way.
async fn found(arguments: &[&str]) -> Map<String, Value> {
    let folder = tempfile::tempdir().unwrap();
    // A name that no other test has.
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let key = format!("sk-ant-api03-canary-{name}");
    let agent = folder.path().join("thirty-ways");
    let reversed: String = key.chars().rev().collect();
    executable(&agent, THIRTY_WAYS.replace("REVERSED", &reversed));
    let path = agent.to_str().unwrap();
    let server = ["--no-auth", "--mode", "unrestricted", "--claude-path", path];
    let relay = RelayProcess::start_as_machine(&[&agent], &server).await;
    let fixture = CloudFixture::around(relay, FakeE2b::start().await);
    let mut command = fixture.command(&[arguments, &["Look for it."]].concat());
    let (code, stdout, stderr) = run(command.env("ANTHROPIC_API_KEY", &key)).await;
    assert_eq!(code, 0, "{stderr}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    if memory_is_open() {
        assert_eq!(report["token"], true, "the relay's memory was read: {stdout}");
        let looked_at = |way: &str| report[way]["bytes"].as_u64().unwrap();
        assert!(looked_at("memory_of_the_relay") > 1 << 20, "{stdout}");
        assert!(looked_at("configuration_of_the_relay_as_its_owner") > 100, "{stdout}");
    }
    fixture.finish();
    let mut report = report.as_object().unwrap().clone();
    report.remove("token");
    report
}

fn with_hits(report: &Map<String, Value>) -> Vec<&str> {
    report.iter().filter(|(_, way)| way["hits"] != 0).map(|(name, _)| name.as_str()).collect()
}

#[tokio::test]
async fn the_key_is_found_in_none_of_thirty_ways() {
    let report = found(&["--e2b"]).await;
    assert!(report.len() >= 30, "{} ways", report.len());
    assert!(with_hits(&report).is_empty(), "{:?}", with_hits(&report));
}

#[tokio::test]
async fn a_key_that_is_sent_inside_is_found_by_the_same_ways() {
    let report = found(&["--e2b", "--e2b-key-inside"]).await;
    let hits = with_hits(&report);
    let in_memory = FINDS_IN_MEMORY.into_iter().filter(|_| memory_is_open());
    for way in FINDS.into_iter().chain(in_memory) {
        assert!(hits.contains(&way), "{way}: {hits:?}");
    }
    // What the relay says hides it even then.
    let said = ["public_answers", "configuration_of", "answers_of", "conversation_as"];
    assert!(!hits.iter().any(|way| said.iter().any(|says| way.starts_with(says))), "{hits:?}");
}
