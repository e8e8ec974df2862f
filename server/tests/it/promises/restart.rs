//! State set at run time, after the agent has died.

use crate::support::cli_fixture::CliFixture;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::tools::Cli;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A mode that was set at run time holds in the next process, too.
async fn plan_survives_the_death_of_the_agent(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::text("One.")]);
    fixture.client.say("First").await;
    fixture.client.turn().await;
    let request = json!({ "subtype": "set_permission_mode", "mode": "plan" });
    let frame = json!({ "type": "control_request", "requestId": "m", "request": request });
    fixture.client.send(&frame).await;
    fixture.client.until(|frame| frame["type"] == "control_response").await;
    fixture.env.session_holds("One.").await;
    let pid = Pid::from_raw(fixture.agent_pid().await).expect("a pid");
    kill_process(pid, Signal::KILL).expect("the agent is there");
    fixture.client.until(|frame| frame["type"] == "exit").await;

    let file = fixture.env.workspace().join("made");
    fixture.api.script([
        Reply::tool("Write", json!({ "file_path": file, "content": "x" })),
        Reply::text("Two."),
    ]);
    fixture.client.say("Second").await;
    // The newest CLI asks first; the oldest leaves it to the model.
    let ends =
        |frame: &Value| frame["data"]["type"] == "result" || frame["type"] == "permission_request";
    let frames = fixture.client.until(ends).await;
    let init = frames.iter().find(|frame| frame["data"]["subtype"] == "init").expect("a start");
    assert_eq!(init["data"]["permissionMode"], "plan", "{init}");
    if let Some(asked) = frames.last().filter(|frame| frame["type"] == "permission_request") {
        let id = asked["requestId"].clone();
        let denial = json!({ "type": "permission_response", "requestId": id, "approved": false });
        fixture.client.send(&denial).await;
        fixture.client.turn().await;
    }
    fixture.end().await;
}

#[tokio::test]
async fn plan_survives_with_the_newest_cli() {
    plan_survives_the_death_of_the_agent(Cli::Newest).await;
}

#[tokio::test]
async fn plan_survives_with_the_oldest_cli() {
    plan_survives_the_death_of_the_agent(Cli::Oldest).await;
}
