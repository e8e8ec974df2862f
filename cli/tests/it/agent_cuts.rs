//! Calls of hooks, questions and tools over connections that are cut all the time: none is
//! lost, none is made twice.

use claude_relay_testing::tools;
use tokio::process::Command;

use crate::agent_sdk::{Fixture, Helper, file, outcomes};

/// Cuts of a run of the tests.
const CUTS: u64 = 40;

/// Another number of them.
const CUTS_VARIABLE: &str = "RELAY_TEST_CUTS";

#[allow(clippy::disallowed_methods, reason = "the number of cuts is told to the tests")]
fn cuts() -> u64 {
    let told = std::env::var(CUTS_VARIABLE).ok();
    told.map_or(CUTS, |told| told.parse().expect("a number of cuts"))
}

/// `counted` and `limit` are those of the proxy: where a connection is cut.
async fn every_call_is_made_once(counted: &str, limit: u32) {
    let fixture = Fixture::new().await;
    let arguments = [&fixture.relay.port.to_string(), &limit.to_string(), "0", counted, "0"];
    let proxy = Helper::start("cutting_proxy.mjs", &arguments.map(str::to_owned)).await;
    let mut command = Command::new("node");
    command.arg(file("calls.mjs")).arg(tools::agent_sdk()).arg(fixture.agent());
    command.arg(cuts().to_string());
    let log = &outcomes(fixture.finish(command, &proxy.address)).await["calls"];
    assert_eq!(log["end"], "an end", "{log}");
    assert!(log["cuts"].as_u64() >= Some(cuts()), "{log}");
    assert!(log["turns"].as_u64() >= Some(1), "{log}");
    assert_eq!(log["wrong"], serde_json::json!([]), "{log}");
}

#[tokio::test]
async fn cuts_between_messages_lose_no_call_and_double_none() {
    every_call_is_made_once("random", 12).await;
}

#[tokio::test]
async fn cuts_within_messages_lose_no_call_and_double_none() {
    every_call_is_made_once("bytes", 60_000).await;
}
