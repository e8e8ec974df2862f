//! An agent that has much to say, and a program that does not read: the memory of
//! the relay and of `claude-relay-agent` is bounded, and nothing is lost.

use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::wait;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

const LINES: usize = 100_000;

/// The replay buffer and 8 MB, without the 5 MiB that the pages of an optimised
/// program take.
const BOUND: u64 = (16 << 20) + 8_000_000 - (5 << 20);

/// Times in a row at which nothing has grown.
const STILL: u32 = 50;

/// Lines of 1,000 bytes, as fast as they are taken.
const AGENT: &str = r#"#!/bin/sh
exec awk 'BEGIN {
    pad = sprintf("%970s", "")
    gsub(" ", "x", pad)
    for (n = 0; n < 100000; n++) printf "{\"n\":\"%09d\",\"pad\":\"%s\"}\n", n, pad
}'
"#;

/// Bytes of a process that are not those of its file, now and at most so far.
fn memory(process: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let bytes = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    };
    (bytes("RssAnon:"), bytes("VmHWM:") - bytes("RssFile:"))
}

#[tokio::test]
async fn what_a_program_does_not_read_stays_within_the_bound_and_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let agent = folder.path().join("agent");
    std::fs::write(&agent, AGENT).unwrap();
    std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
    let agent = agent.to_str().unwrap();
    let relay = RelayProcess::start(&["--mode", "unrestricted", "--claude-path", agent], &[]).await;
    let mut shim = Command::new(env!("CARGO_BIN_EXE_claude-relay"))
        .args(["agent", "--"])
        .env_clear()
        .env("PATH", env!("PATH"))
        .env("CLAUDE_RELAY_URL", &relay.url)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let processes = [relay.id(), shim.id().unwrap()];
    // The buffer is full when the agent waits and nothing grows any more.
    let (mut before, mut still) = ([0, 0], 0);
    wait::until("a full buffer", || {
        let now = processes.map(|process| memory(process).0);
        still = if now == before { still + 1 } else { 0 };
        before = now;
        (now[0] > 12 << 20 && still >= STILL).then_some(())
    })
    .await;
    let mut lines = BufReader::new(shim.stdout.take().unwrap()).lines();
    for n in 0..LINES {
        let line = wait::soon(lines.next_line()).await.unwrap().unwrap();
        assert!(line.starts_with(&format!("{{\"n\":\"{n:09}\",")), "{line:.40} in place of {n}");
        if n == LINES * 9 / 10 {
            let most = processes.map(|process| memory(process).1);
            assert!(most.iter().all(|bytes| *bytes < BOUND), "{most:?} of {BOUND}");
        }
    }
    assert!(wait::soon(shim.wait()).await.unwrap().success());
    relay.stop().await;
}
