//! Questions of the real CLI to a client: dialogs with a person, hooks and
//! tools that the client runs.

use crate::support::cli_fixture::CliFixture;
use crate::support::ws::{Client, Turn};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};

for_both_clis! {
    a_question_is_answered_where_everything_runs_unasked,
    a_question_that_nobody_answers_is_denied_in_time,
    a_plan_is_approved,
    a_form_of_an_mcp_server_is_filled_in,
    a_form_is_cancelled_without_a_client_that_knows_forms,
    a_hook_of_the_client_denies_a_tool,
    a_hook_that_no_client_runs_does_not_hold_the_turn,
    a_tool_of_the_client_is_called,
}

/// An MCP server whose tool asks for a name.
const FORM_SERVER: &str = r#"
import json, sys
def out(**fields): print(json.dumps(dict(jsonrpc="2.0", **fields)), flush=True)
call = None
for line in sys.stdin:
    m = json.loads(line); method = m.get("method"); id = m.get("id")
    if method == "initialize":
        out(id=id, result=dict(protocolVersion=m["params"]["protocolVersion"], capabilities=dict(tools={}), serverInfo=dict(name="form", version="1")))
    elif method == "tools/list":
        out(id=id, result=dict(tools=[dict(name="ask_name", description="asks", inputSchema=dict(type="object", properties={}))]))
    elif method == "tools/call":
        call = id
        schema = dict(type="object", properties=dict(name=dict(type="string")), required=["name"])
        out(id="form", method="elicitation/create", params=dict(message="Your name?", requestedSchema=schema))
    elif method is None and id == "form":
        out(id=call, result=dict(content=[dict(type="text", text="told " + json.dumps(m.get("result")))]))
    elif id is not None:
        out(id=id, error=dict(code=-32601, message="no"))
"#;

fn question() -> Value {
    json!({ "questions": [{
        "question": "Which colour?", "header": "Colour", "multiSelect": false,
        "options": [{ "label": "Teal", "description": "t" }, { "label": "Amber", "description": "a" }],
    }] })
}

async fn fixture(cli: Cli, config: Value, supports: &str) -> CliFixture {
    let path = format!("/ws?supports={supports}");
    CliFixture::opened(cli, config, |launch| launch, &path).await
}

async fn frame(client: &mut Client, kind: &str) -> Value {
    client.until(|frame| frame["type"] == kind).await.pop().expect("the frame itself")
}

async fn respond(client: &mut Client, request: &Value, response: Value) {
    let id = &request["requestId"];
    client.send(&json!({ "type": "agent_response", "requestId": id, "response": response })).await;
}

/// The texts of the tool results of a turn.
fn results(turn: &Turn) -> String {
    let blocks = turn.said().into_iter().filter(|said| said["type"] == "user");
    blocks.map(|said| said["message"]["content"].to_string()).collect()
}

async fn a_question_is_answered_where_everything_runs_unasked(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    let touch = json!({ "command": "touch made", "description": "x" });
    fixture.api.script([
        Reply::tool("Bash", touch),
        Reply::tool("AskUserQuestion", question()),
        Reply::text("Amber it is."),
    ]);
    fixture.client.say("Ask me").await;
    let request = frame(&mut fixture.client, "permission_request").await;
    assert_eq!(request["tool"], "AskUserQuestion");
    assert!(fixture.env.workspace().join("made").exists(), "the tool before ran unasked");
    let mut input = request["input"].clone();
    input["answers"] = json!({ "Which colour?": "Amber" });
    let id = &request["requestId"];
    let answer = json!({
        "type": "permission_response", "requestId": id, "approved": true, "updatedInput": input,
    });
    fixture.client.send(&answer).await;
    let turn = fixture.client.turn().await;
    assert_eq!(turn.result()["result"], "Amber it is.");
    assert!(results(&turn).contains("Amber"), "{turn:#?}");
    fixture.end().await;
}

async fn a_question_that_nobody_answers_is_denied_in_time(cli: Cli) {
    let brief = |launch: crate::support::relay::Launch| launch.argument("--permission-timeout=1s");
    let mut fixture = CliFixture::launched(cli, json!({}), brief).await;
    fixture.api.script([Reply::tool("AskUserQuestion", question()), Reply::text("Then not.")]);
    fixture.client.say("Ask me").await;
    let turn = fixture.client.turn().await;
    assert_eq!(turn.result()["result"], "Then not.");
    assert!(results(&turn).contains("Nobody answered"), "{turn:#?}");
    fixture.end().await;
}

async fn a_plan_is_approved(cli: Cli) {
    let mut fixture = CliFixture::configured(cli, json!({ "permissionMode": "plan" })).await;
    fixture.api.script([
        Reply::tool("ExitPlanMode", json!({ "plan": "1. Make tea." })),
        Reply::text("Made."),
    ]);
    fixture.client.say("Plan it").await;
    let request = frame(&mut fixture.client, "permission_request").await;
    assert_eq!(request["tool"], "ExitPlanMode");
    let answer = json!({
        "type": "permission_response", "requestId": request["requestId"], "approved": true,
    });
    fixture.client.send(&answer).await;
    let turn = fixture.client.turn().await;
    assert_eq!(turn.result()["result"], "Made.", "{turn:#?}");
    fixture.end().await;
}

fn form_server() -> Value {
    json!({ "mcpServers": { "form": { "command": "python3", "args": ["-c", FORM_SERVER] } } })
}

async fn a_form_of_an_mcp_server_is_filled_in(cli: Cli) {
    let mut fixture = fixture(cli, form_server(), "questions").await;
    fixture.api.script([Reply::tool("mcp__form__ask_name", json!({})), Reply::text("Hello.")]);
    fixture.client.say("Ask me").await;
    let request = frame(&mut fixture.client, "agent_request").await;
    assert_eq!(request["request"]["subtype"], "elicitation");
    assert_eq!(request["request"]["message"], "Your name?");
    let response = json!({ "action": "accept", "content": { "name": "Ada" } });
    respond(&mut fixture.client, &request, response).await;
    let turn = fixture.client.turn().await;
    assert!(results(&turn).contains("Ada"), "{turn:#?}");
    fixture.end().await;
}

async fn a_form_is_cancelled_without_a_client_that_knows_forms(cli: Cli) {
    let mut fixture = CliFixture::configured(cli, form_server()).await;
    fixture.api.script([Reply::tool("mcp__form__ask_name", json!({})), Reply::text("Hello.")]);
    fixture.client.say("Ask me").await;
    let turn = fixture.client.turn().await;
    assert!(results(&turn).contains("cancel"), "{turn:#?}");
    fixture.end().await;
}

fn hooks() -> Value {
    json!({ "hooks": { "PreToolUse": [{ "matcher": "Bash", "hookCallbackIds": ["hook_0"] }] } })
}

fn touch() -> [Reply; 2] {
    let touch = json!({ "command": "touch made", "description": "x" });
    [Reply::tool("Bash", touch), Reply::text("Done.")]
}

async fn a_hook_of_the_client_denies_a_tool(cli: Cli) {
    let mut fixture = fixture(cli, hooks(), "hooks").await;
    fixture.api.script(touch());
    fixture.client.say("Touch it").await;
    let request = frame(&mut fixture.client, "agent_request").await;
    let asked = &request["request"];
    assert_eq!(
        (&asked["subtype"], &asked["callback_id"]),
        (&json!("hook_callback"), &json!("hook_0"))
    );
    assert_eq!(asked["input"]["tool_input"]["command"], "touch made", "{asked}");
    let denial = json!({ "hookSpecificOutput": {
        "hookEventName": "PreToolUse", "permissionDecision": "deny",
        "permissionDecisionReason": "Not before tea.",
    } });
    respond(&mut fixture.client, &request, denial).await;
    let turn = fixture.client.turn().await;
    assert!(results(&turn).contains("Not before tea."), "{turn:#?}");
    assert!(!fixture.env.workspace().join("made").exists());
    fixture.end().await;
}

async fn a_hook_that_no_client_runs_does_not_hold_the_turn(cli: Cli) {
    let mut fixture = CliFixture::configured(cli, hooks()).await;
    fixture.api.script(touch());
    fixture.client.say("Touch it").await;
    let turn = fixture.client.turn().await;
    assert_eq!(turn.result()["result"], "Done.", "{turn:#?}");
    fixture.end().await;
}

async fn a_tool_of_the_client_is_called(cli: Cli) {
    let config = json!({ "sdkMcpServers": ["calc"] });
    let mut fixture = fixture(cli, config, "host_tools").await;
    fixture
        .api
        .script([Reply::tool("mcp__calc__add", json!({ "a": 2, "b": 40 })), Reply::text("42.")]);
    fixture.client.say("Add them").await;
    let mut methods = Vec::new();
    let turn = loop {
        let frames = fixture
            .client
            .until(|frame| frame["type"] == "agent_request" || frame["data"]["type"] == "result")
            .await;
        let last = frames.last().expect("a frame").clone();
        if last["type"] != "agent_request" {
            break Turn(frames);
        }
        let asked = &last["request"];
        assert_eq!(
            (&asked["subtype"], &asked["server_name"]),
            (&json!("mcp_message"), &json!("calc"))
        );
        let message = &asked["message"];
        let method = message["method"].as_str().expect("a method").to_owned();
        let result = match method.as_str() {
            "initialize" => json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": { "tools": {} }, "serverInfo": { "name": "calc", "version": "1" },
            }),
            "tools/list" => json!({ "tools": [{
                "name": "add", "description": "adds",
                "inputSchema": { "type": "object", "properties": {
                    "a": { "type": "number" }, "b": { "type": "number" },
                } },
            }] }),
            "tools/call" => {
                let sum = message["params"]["arguments"]["a"].as_i64().expect("a number")
                    + message["params"]["arguments"]["b"].as_i64().expect("a number");
                json!({ "content": [{ "type": "text", "text": format!("sum {sum}") }] })
            }
            _ => json!({}),
        };
        let answer = json!({ "jsonrpc": "2.0", "id": message["id"].clone(), "result": result });
        respond(&mut fixture.client, &last, json!({ "mcp_response": answer })).await;
        methods.push(method);
    };
    assert!(results(&turn).contains("sum 42"), "{methods:?} {turn:#?}");
    fixture.end().await;
}
