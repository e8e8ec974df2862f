//! Agents in sandboxes, against a fake of E2B's API that forwards a sandbox's
//! port to a real server.

use std::time::Duration;

use claude_relay_testing::e2b::{API_KEY, FakeE2b, Fault};
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::wait;
use serde_json::{Value, json};

use crate::support::HubDirectory;

/// The cloud, the server that is in its sandboxes, and the place of a hub.
async fn cloud() -> (FakeE2b, RelayProcess, HubDirectory) {
    let relay = RelayProcess::demo(&["--no-auth"]).await;
    let fake = FakeE2b::start().await;
    fake.forward(3000, ([127, 0, 0, 1], relay.port).into());
    let url = fake.url();
    let environment = [
        ("E2B_API_KEY", API_KEY),
        ("E2B_API_URL", &url),
        ("E2B_SANDBOX_URL", &url),
        ("ANTHROPIC_API_KEY", "sk-ant-test-key"),
    ];
    let flags = ["--e2b-template", "claude-agent-server"];
    let place = HubDirectory::with(&flags, &["--demo"], &environment);
    (fake, relay, place)
}

#[tokio::test]
async fn an_agent_in_a_sandbox_outlives_the_hub_and_is_found_again() {
    let (fake, _relay, place) = cloud().await;
    let hub = place.start().await;
    let workspace = hub.workspace("w").await;
    let new = json!({ "workspaceId": workspace, "role": "far", "engine": "e2b" });
    let agent = hub.ok("POST", "/api/agents", new).await["id"].as_str().unwrap().to_owned();
    hub.say(&agent, "first").await;
    let before = hub.until_done(&agent).await;
    assert_eq!(before["engine"], "e2b");
    let alive = fake.alive();
    assert_eq!(alive.len(), 1, "{alive:?}");
    // Answered once everything before it is in the state file.
    hub.workspace("saved").await;
    hub.kill().await;
    assert_eq!(fake.alive(), alive, "the sandbox stays");
    let hub = place.start().await;
    hub.say(&agent, "second").await;
    let after = hub.until_done(&agent).await;
    assert_eq!(before["sessionId"], after["sessionId"]);
    assert_eq!(fake.alive(), alive, "it is found again");
    let log = hub.ok("GET", &format!("/api/agents/{agent}/log"), Value::Null).await.to_string();
    assert_eq!(log.matches("“first”").count(), 1, "{log}");
    assert!(log.contains("“second”"), "{log}");
    hub.ok("DELETE", &format!("/api/agents/{agent}"), Value::Null).await;
    wait::until("no sandbox", || fake.alive().is_empty().then_some(())).await;
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn a_hub_that_ends_while_a_sandbox_is_made_leaves_none() {
    for (route, fault) in [
        // The answer is late: the sandbox is made in any case.
        ("POST /sandboxes", Fault::Delay(Duration::from_millis(500))),
        ("POST /files", Fault::Hang),
        ("POST 3000/config", Fault::Hang),
    ] {
        let (fake, _relay, place) = cloud().await;
        let hub = place.start().await;
        let workspace = hub.workspace("w").await;
        let new = json!({ "workspaceId": workspace, "role": "far", "engine": "e2b" });
        let agent = hub.ok("POST", "/api/agents", new).await["id"].as_str().unwrap().to_owned();
        fake.fail(route, fault);
        hub.say(&agent, "first").await;
        let path = route.rsplit('/').next().unwrap();
        let is_asked = |path: &str| {
            let requests = fake.requests();
            requests.iter().any(|asked| asked.method == "POST" && asked.path.ends_with(path))
        };
        wait::until(route, || is_asked(path).then_some(())).await;
        hub.stop().await;
        assert!(fake.alive().is_empty(), "{route}: {:?}", fake.alive());
        fake.finish();
        place.assert_no_orphans();
    }
}
