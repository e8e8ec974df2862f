//! Configuration of a client reaches the model: read off the requests that
//! arrive at the Messages API.

use crate::support::cli_fixture::CliFixture;
use crate::support::http;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::Request;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};

for_both_clis! {
    no_system_prompt_is_an_empty_one,
    system_prompt_as_a_string,
    system_prompt_preset,
    system_prompt_preset_with_more,
    model,
    agents,
    tools_and_disallowed_tools,
    allowed_tools_run_without_asking,
    configured_key_beats_the_environment,
    configured_environment_reaches_the_tools,
    a_change_applies_at_the_next_start,
    what_is_changed_counts_in_the_conversation_that_goes_on,
}

/// A system prompt shorter than this is not Claude Code's own, which has
/// several thousand bytes; the CLI's line on who it is has about a hundred.
const OWN_PROMPT_BYTES: usize = 2000;

/// The request of one turn under `config`.
async fn request_under(cli: Cli, config: Value) -> Request {
    let mut fixture = CliFixture::configured(cli, config).await;
    fixture.api.script([Reply::text("Yes.")]);
    fixture.client.say("Hi").await;
    let turn = fixture.client.turn().await;
    assert_eq!(turn.result()["result"], "Yes.");
    let request = fixture.api.turn(1).await;
    fixture.end().await;
    request
}

fn system_bytes(request: &Request) -> usize {
    request.system().iter().map(|text| text.len()).sum()
}

async fn no_system_prompt_is_an_empty_one(cli: Cli) {
    let request = request_under(cli, json!({})).await;
    assert!(system_bytes(&request) < OWN_PROMPT_BYTES, "{:?}", request.system());
}

async fn system_prompt_as_a_string(cli: Cli) {
    let prompt = "You are a parrot.\nRepeat \"everything\".";
    let request = request_under(cli, json!({ "systemPrompt": prompt })).await;
    assert!(request.system().contains(&prompt), "{:?}", request.system());
    assert!(system_bytes(&request) < OWN_PROMPT_BYTES, "{:?}", request.system());
}

async fn system_prompt_preset(cli: Cli) {
    let prompt = json!({ "type": "preset", "preset": "claude_code" });
    let request = request_under(cli, json!({ "systemPrompt": prompt })).await;
    assert!(system_bytes(&request) > OWN_PROMPT_BYTES, "{:?}", request.system());
}

async fn system_prompt_preset_with_more(cli: Cli) {
    let prompt = json!({ "type": "preset", "preset": "claude_code", "append": "Rhyme always." });
    let request = request_under(cli, json!({ "systemPrompt": prompt })).await;
    assert!(system_bytes(&request) > OWN_PROMPT_BYTES, "{:?}", request.system());
    let last = request.system().pop().expect("a system prompt");
    assert!(last.trim_end().ends_with("Rhyme always."), "{last}");
}

async fn model(cli: Cli) {
    let request = request_under(cli, json!({ "model": "claude-test-model-1" })).await;
    assert_eq!(request.body["model"], "claude-test-model-1");
}

async fn agents(cli: Cli) {
    let reviewer = json!({ "description": "Looks for dangling teapots", "prompt": "Look." });
    let request = request_under(cli, json!({ "agents": { "teapot-reviewer": reviewer } })).await;
    let body = request.body.to_string();
    assert!(body.contains("teapot-reviewer"), "{body}");
    assert!(body.contains("Looks for dangling teapots"), "{body}");
}

async fn tools_and_disallowed_tools(cli: Cli) {
    let config = json!({ "tools": ["Bash", "Read", "Write"], "disallowedTools": ["Write"] });
    let request = request_under(cli, config).await;
    // A CLI of late adds a placeholder of its own to any list.
    let mut tools = request.tools();
    tools.retain(|tool| *tool != "DeferredToolPlaceholder");
    tools.sort_unstable();
    assert_eq!(tools, ["Bash", "Read"]);
}

/// In the mode that asks, a tool runs unasked if it is allowed and not
/// otherwise.
async fn allowed_tools_run_without_asking(cli: Cli) {
    for (config, runs) in [(json!({ "allowedTools": ["Bash"] }), true), (json!({}), false)] {
        let mut fixture = CliFixture::launched(cli, config, |launch| launch.mode("ask")).await;
        fixture.api.script([
            Reply::tool("Bash", json!({ "command": "touch made", "description": "x" })),
            Reply::text("Done."),
        ]);
        fixture.client.say("Make a file").await;
        // Whether a refusal comes from the CLI itself or the client is asked:
        // nothing may have run at that point.
        let frames = fixture
            .client
            .until(|f| f["type"] == "permission_request" || f["data"]["type"] == "result")
            .await;
        let asked = frames.last().filter(|frame| frame["type"] == "permission_request").cloned();
        assert_eq!(fixture.env.workspace().join("made").exists(), runs);
        if let Some(asked) = asked {
            assert!(!runs, "an allowed tool needs no permission: {asked}");
            let denial = json!({
                "type": "permission_response", "requestId": asked["requestId"],
                "approved": false, "message": "No.",
            });
            fixture.client.send(&denial).await;
            fixture.client.turn().await;
        }
        fixture.end().await;
    }
}

async fn configured_key_beats_the_environment(cli: Cli) {
    let request = request_under(cli, json!({ "anthropicApiKey": "sk-ant-configured" })).await;
    assert_eq!(request.header("x-api-key"), "sk-ant-configured");
}

async fn configured_environment_reaches_the_tools(cli: Cli) {
    let mut fixture =
        CliFixture::configured(cli, json!({ "env": { "TEAPOT": "brown betty" } })).await;
    fixture.api.script([
        Reply::tool("Bash", json!({ "command": "echo \"$TEAPOT\" > pot", "description": "x" })),
        Reply::text("Done."),
    ]);
    fixture.client.say("Which pot?").await;
    fixture.client.turn().await;
    let pot =
        std::fs::read_to_string(fixture.env.workspace().join("pot")).expect("the tool's file");
    assert_eq!(pot, "brown betty\n");
    fixture.end().await;
}

/// A new configuration under a running agent says so, leaves the agent alone,
/// and comes with the next client, in the same conversation.
async fn a_change_applies_at_the_next_start(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::text("Old."), Reply::text("Still."), Reply::text("New.")]);
    fixture.client.say("Before").await;
    let before = fixture.client.turn().await;
    let pid = fixture.agent_pid().await;

    let config = json!({ "model": "claude-test-model-2" }).to_string();
    let answer = http::post(fixture.relay.address(), "/config", &config).await.json();
    assert_eq!(answer["applies"], "next_start");
    fixture.client.say("Meanwhile").await;
    fixture.client.turn().await;
    assert_eq!(fixture.agent_pid().await, pid);
    assert_ne!(fixture.api.turn(2).await.body["model"], "claude-test-model-2");

    let mut fixture = fixture.reconnect().await;
    fixture.client.say("After").await;
    let after = fixture.client.turn().await;
    assert_ne!(fixture.agent_pid().await, pid);
    assert_eq!(after.result()["session_id"], before.result()["session_id"]);
    let request = fixture.api.turn(3).await;
    assert_eq!(request.body["model"], "claude-test-model-2");
    let conversation = format!("{:?}", request.user_messages());
    for text in ["Before", "Meanwhile", "After"] {
        assert!(conversation.contains(text), "{text} is missing in {conversation}");
    }
    fixture.end().await;
}

/// Later CLIs keep the system prompt with which a conversation has begun, unless
/// they are told not to.
async fn what_is_changed_counts_in_the_conversation_that_goes_on(cli: Cli) {
    let config = |word: &str| {
        let is_first = word == "ONE";
        json!({
            "systemPrompt": format!("PROMPT-{word}"),
            "effort": if is_first { "low" } else { "high" },
            "disallowedTools": [if is_first { "Write" } else { "Read" }],
        })
    };
    let mut fixture = CliFixture::configured(cli, config("ONE")).await;
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    fixture.client.say("First").await;
    let before = fixture.client.turn().await;
    let changed = config("TWO").to_string();
    assert_eq!(http::post(fixture.relay.address(), "/config", &changed).await.status, 200);
    let mut fixture = fixture.reconnect().await;
    fixture.client.say("Second").await;
    let after = fixture.client.turn().await;
    assert_eq!(after.result()["session_id"], before.result()["session_id"]);
    let (first, second) = (fixture.api.turn(1).await, fixture.api.turn(2).await);
    for (request, word, other, tools) in
        [(&first, "ONE", "TWO", ["Write", "Read"]), (&second, "TWO", "ONE", ["Read", "Write"])]
    {
        let system = request.system().concat();
        assert!(system.contains(&format!("PROMPT-{word}")), "{system}");
        assert!(!system.contains(&format!("PROMPT-{other}")), "{system}");
        assert!(!request.tools().contains(&tools[0]), "{:?}", request.tools());
        assert!(request.tools().contains(&tools[1]), "{:?}", request.tools());
    }
    let effort = |request: &Request| request.body["output_config"]["effort"].clone();
    assert_eq!((effort(&first), effort(&second)), (json!("low"), json!("high")));
    assert!(second.body["messages"].to_string().contains("First"), "{second:?}");
    fixture.end().await;
}
