//! A table of what each mode lets the real CLI do.

use crate::support::cli_fixture::CliFixture;
use crate::support::ws::Turn;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::TURN_WITHOUT_TOOLS;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::tools::Cli;
use serde_json::json;

for_both_clis! {
    safe,
    ask,
    agentic,
    unrestricted,
}

/// Outcome of a tool that the model asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It ran.
    Done,
    /// The user was asked first (and said no).
    Asked,
    /// It was refused, nobody was asked.
    Refused,
    /// There is no such tool.
    Absent,
}
use Outcome::{Absent, Asked, Done, Refused};

/// An attempt of the model.
const TRIES: [&str; 5] =
    ["write in the workspace", "write outside", "read outside", "run a command", "fetch a URL"];

/// | mode         | write in | write outside | read outside | command | fetch  |
/// |--------------|----------|---------------|--------------|---------|--------|
/// | safe         | absent   | absent        | absent       | absent  | absent |
/// | ask          | asked    | asked         | asked        | asked   | asked  |
/// | agentic      | done     | refused       | refused      | absent  | absent |
/// | unrestricted | done     | done          | done         | done    | done   |
async fn table(cli: Cli, mode: &'static str, expected: [Outcome; 5]) {
    let mut fixture = CliFixture::launched(cli, json!({}), |launch| launch.mode(mode)).await;
    let inside = fixture.env.workspace().join("made");
    let outside = fixture.env.file("outside");
    let secret = fixture.env.file("secret");
    std::fs::write(&secret, "the secret").expect("a file of the test");
    let calls = [
        ("Write", json!({ "file_path": inside, "content": "x" })),
        ("Write", json!({ "file_path": outside, "content": "x" })),
        ("Read", json!({ "file_path": secret })),
        ("Bash", json!({ "command": "touch commanded", "description": "x" })),
        ("WebFetch", json!({ "url": "https://relay.invalid/", "prompt": "x" })),
    ];
    let mut outcomes = Vec::new();
    for (try_, (tool, input)) in TRIES.into_iter().zip(calls) {
        fixture.api.script([Reply::tool(tool, input), Reply::text("Well.")]);
        let words = if mode == "safe" { TURN_WITHOUT_TOOLS } else { "" };
        fixture.client.say(format!("Now {try_} {words}")).await;
        outcomes.push(outcome(&mut fixture, tool).await);
    }
    assert_eq!(outcomes, expected, "{TRIES:?} in mode {mode}");

    // The table is about what happened, not about what was said.
    assert_eq!(inside.exists(), expected[0] == Done);
    assert_eq!(outside.exists(), expected[1] == Done);
    assert_eq!(fixture.env.workspace().join("commanded").exists(), expected[3] == Done);
    let told: String = fixture.api.requests().iter().map(|r| r.body.to_string()).collect();
    assert_eq!(told.contains("the secret"), expected[2] == Done);
    fixture.end().await;
}

/// Reads a turn with one call of `tool`, denies when asked, and says what
/// became of it.
async fn outcome(fixture: &mut CliFixture, tool: &str) -> Outcome {
    let mut frames = Vec::new();
    let mut asked = false;
    loop {
        let frame = fixture.client.frame().await;
        if frame["type"] == "permission_request" {
            assert_eq!(frame["tool"], tool);
            asked = true;
            let no = json!({ "type": "permission_response", "requestId": frame["requestId"], "approved": false });
            fixture.client.send(&no).await;
        }
        let last = frame["data"]["type"] == "result";
        frames.push(frame);
        if last {
            break;
        }
    }
    let turn = Turn(frames);
    if asked {
        return Asked;
    }
    let Some((error, words)) = tool_result(&turn) else { panic!("no tool was tried: {turn:#?}") };
    match words {
        words if words.contains("No such tool available") => Absent,
        words if words.to_lowercase().contains("permission") => Refused,
        words if words.contains("confines the file tools") => Refused,
        // There is no network in the tests: whoever gets as far as looking a
        // name up was let through.
        _ if tool == "WebFetch" => Done,
        words => {
            assert!(!error, "{tool}: {words}");
            Done
        }
    }
}

fn tool_result(turn: &Turn) -> Option<(bool, String)> {
    let mut blocks = turn
        .said()
        .into_iter()
        .filter(|said| said["type"] == "user")
        .flat_map(|said| said["message"]["content"].as_array().into_iter().flatten());
    let result = blocks.rfind(|block| block["type"] == "tool_result")?;
    Some((result["is_error"] == true, result["content"].to_string()))
}

async fn safe(cli: Cli) {
    table(cli, "safe", [Absent; 5]).await;
}

async fn ask(cli: Cli) {
    table(cli, "ask", [Asked; 5]).await;
}

async fn agentic(cli: Cli) {
    table(cli, "agentic", [Done, Refused, Refused, Absent, Absent]).await;
}

async fn unrestricted(cli: Cli) {
    table(cli, "unrestricted", [Done; 5]).await;
}
