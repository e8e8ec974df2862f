//! Tools that the real Codex gives its model, mode by mode: those in the
//! requests that reach the model, and what becomes of a call.

use crate::support::codex::{CodexFixture, configure, launch, prepare_home};
use crate::support::ws::Client;
use claude_relay_testing::responses_api::{Reply, ResponsesApi};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::{process, tools, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::io::Write as _;

/// A model that Codex does not know, and one of its own catalogue, which has
/// its tools in another place and brings more of them.
const UNKNOWN: &str = "gpt-5";
const OF_THE_CATALOGUE: &str = "gpt-6.1-sol";

/// The program of the small MCP server.
const MCP_SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/mcp_server.py");

/// Name of a tool in this mode, with `exec>` within a script.
const SHELL: [&str; 2] = ["exec_command", "exec>exec_command"];
const SUB_AGENTS: [&str; 2] = ["multi_agent_v1.spawn_agent", "collaboration.spawn_agent"];

fn offers(offered: &[String], any: &[&str]) -> bool {
    offered.iter().any(|tool| any.contains(&tool.as_str()))
}

/// The tools of a first turn; those of a process that has taken the
/// conversation up again are the same.
async fn offered(mode: &str, model: &str) -> Vec<String> {
    let config = json!({ "model": model });
    let mut fixture = CodexFixture::launched(mode, config, |launch, _| launch).await;
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    fixture.turn("First").await;
    configure(&fixture.relay, json!({ "model": model, "effort": "low" })).await;
    fixture.client.close().await;
    fixture.client = Client::connect(fixture.relay.address()).await;
    fixture.turn("Second").await;
    let request = fixture.api.request(2).await;
    assert_eq!(request.user_texts(), ["First", "Second"]);
    let first = fixture.api.request(1).await.tools();
    assert_eq!(request.tools(), first, "{mode}, {model}");
    fixture.end_unchecked().await;
    first
}

#[tokio::test]
async fn in_mode_safe_there_are_no_tools() {
    assert!(offered("safe", UNKNOWN).await.is_empty());
    // JavaScript in an isolate without files, programs or a network, and what
    // it can call: see the next test.
    assert_eq!(
        offered("safe", OF_THE_CATALOGUE).await,
        [
            "exec",
            "exec>apply_patch",
            "exec>list_mcp_resource_templates",
            "exec>list_mcp_resources",
            "exec>read_mcp_resource",
            "exec>clock__curr_time",
            "wait",
        ]
    );
}

/// Codex looks a called tool up without regard to what it has offered.
#[tokio::test]
async fn in_mode_safe_a_call_comes_to_nothing() {
    let patch = "*** Begin Patch\\n*** Add File: made\\n+x\\n*** End Patch\\n";
    let calls = [
        (Reply::script(&format!("text(await tools.apply_patch('{patch}'))")), "No usable"),
        (Reply::script("text(await tools.exec_command({cmd: 'touch made'}))"), "not a function"),
        (
            Reply::script("text(typeof process + typeof require + typeof fetch)"),
            "undefinedundefinedundefined",
        ),
        (Reply::command("touch made"), "unsupported call"),
        (Reply::tool("view_image", json!({ "path": "/etc/hostname" })), "unsupported call"),
        (
            Reply::tool_of("collaboration", "spawn_agent", json!({ "message": "x" })),
            "unsupported call",
        ),
        (
            Reply::tool_of("multi_agent_v1", "spawn_agent", json!({ "message": "x" })),
            "unsupported call",
        ),
    ];
    let config = json!({ "model": OF_THE_CATALOGUE });
    let mut fixture = CodexFixture::launched("safe", config, |launch, _| launch).await;
    let mut requests = 0;
    for (call, told) in calls {
        fixture.api.script([call.clone(), Reply::text("Nothing.")]);
        let turn = fixture.turn("Go").await;
        assert_eq!(turn.texts(), ["Nothing."]);
        assert!(turn.0.iter().all(|frame| frame["type"] != "permission_request"), "{call:?}");
        requests += 2;
        let output = fixture.api.request(requests).await.tool_output();
        assert!(output.contains(told), "{call:?}: {output}");
    }
    assert!(!fixture.env.workspace().join("made").exists());
    fixture.end().await;
}

#[tokio::test]
async fn in_mode_agentic_there_are_tools_for_files_alone() {
    for model in [UNKNOWN, OF_THE_CATALOGUE] {
        let offered = offered("agentic", model).await;
        // Codex works on files by commands, in its sandbox.
        assert!(offers(&offered, &SHELL), "{offered:?}");
        assert!(
            !offers(&offered, &SUB_AGENTS) && !offers(&offered, &["web_search"]),
            "{offered:?}"
        );
    }
}

#[tokio::test]
async fn in_the_wide_modes_there_is_everything() {
    for mode in ["ask", "unrestricted"] {
        for model in [UNKNOWN, OF_THE_CATALOGUE] {
            let offered = offered(mode, model).await;
            assert!(offers(&offered, &SHELL) && offers(&offered, &SUB_AGENTS), "{offered:?}");
        }
    }
}

/// The user's own configuration names an MCP server. Without approvals
/// it could run any program, so it is off there.
#[tokio::test]
async fn the_users_own_mcp_servers_run_in_the_wide_modes_only() {
    for (mode, runs) in [("safe", false), ("agentic", false), ("ask", true)] {
        let (env, api) = (TestEnv::new(), ResponsesApi::start());
        prepare_home(&env, &api.url());
        let home = env.file("codex-home");
        let mut file = std::fs::File::options()
            .append(true)
            .open(home.join("config.toml"))
            .expect("the home has been prepared");
        writeln!(
            file,
            "[mcp_servers.\"the.users\"]\ncommand = \"python3\"\nargs = [\"{MCP_SERVER}\"]"
        )
        .expect("a file in the temp directory");
        let relay = launch(&env, mode).argument("--codex-path").argument(tools::codex()).start();
        configure(&relay, json!({})).await;
        let client = Client::connect(relay.address()).await;
        let mut fixture = CodexFixture { env, api, relay, client };
        fixture.api.script([Reply::text("Done.")]);
        let turn = fixture.turn("Go").await;
        let offered = fixture.api.request(1).await.tools();
        assert_eq!(offered.iter().any(|tool| tool.ends_with(".shout")), runs, "{offered:?}");
        assert_eq!(turn.of("mcpServer/startupStatus/updated").count() > 0, runs, "{turn:?}");
        fixture.end_unchecked().await;
    }
}

fn mcp_server() -> Value {
    json!({
        "command": "python3",
        "args": [MCP_SERVER, "argument"],
        "env": { "MCP_VALUE": "value" },
    })
}

#[tokio::test]
async fn an_mcp_server_of_the_configuration_is_started_and_called() {
    let servers = json!({ "mcpServers": { "small": mcp_server() } });
    let mut fixture = CodexFixture::start(servers).await;
    let call = || Reply::tool_of("mcp__small", "shout", json!({ "text": "hello" }));
    fixture.api.script([call(), Reply::text("Done.")]);
    let turn = fixture.turn("Go").await;
    assert_eq!(turn.texts(), ["Done."]);
    let item = turn.items("mcpToolCall")[0];
    assert_eq!((&item["server"], &item["tool"]), (&json!("small"), &json!("shout")));
    assert!(fixture.api.request(2).await.tool_output().contains("HELLO value argument"));
    fixture.end().await;
}

/// Codex gives its servers an environment of their own, so they do not bear
/// the mark by which other tests find what is left.
#[tokio::test]
async fn an_mcp_server_goes_with_its_agent() {
    let mut fixture = CodexFixture::start(json!({ "mcpServers": { "small": mcp_server() } })).await;
    fixture.api.script([Reply::text("Done.")]);
    fixture.turn("Go").await;
    let server = wait::until("the MCP server", || {
        let all = process::descendants(fixture.relay.pid());
        all.into_iter().find(|process| process.command.contains(MCP_SERVER))
    })
    .await;
    process::signal(fixture.pid().await, Signal::KILL);
    wait::until("its end", || process::Process::read(server.pid).is_none().then_some(())).await;
    fixture.end_unchecked().await;
}

#[tokio::test]
async fn a_tool_of_an_mcp_server_is_asked_about() {
    let servers = json!({ "mcpServers": { "small": mcp_server() } });
    let mut fixture = CodexFixture::launched("ask", servers, |launch, _| launch).await;
    let call = || Reply::tool_of("mcp__small", "shout", json!({ "text": "hello" }));
    let always = json!([{ "always": true }]);
    for (requests, answer, told) in [
        (2, json!({ "approved": false }), "rejected"),
        (4, json!({ "approved": true }), "HELLO value argument"),
        (6, json!({ "approved": true, "updatedPermissions": always }), "HELLO value argument"),
    ] {
        fixture.api.script([call(), Reply::text("Done.")]);
        fixture.client.say("Go").await;
        let question = fixture.question().await;
        assert_eq!(question["tool"], "mcpElicitation", "{question}");
        assert_eq!(question["input"]["serverName"], "small", "{question}");
        assert_eq!(question["context"]["_meta"]["tool_params"], json!({ "text": "hello" }));
        let mut answer = answer;
        answer["type"] = json!("permission_response");
        answer["requestId"] = question["requestId"].clone();
        fixture.client.send(&answer).await;
        assert_eq!(fixture.rest().await.texts(), ["Done."]);
        let output = fixture.api.request(requests).await.tool_output();
        assert!(output.contains(told), "{output}");
    }
    fixture.api.script([call(), Reply::text("Again.")]);
    let turn = fixture.turn("The same").await;
    assert_eq!(turn.texts(), ["Again."]);
    assert!(turn.0.iter().all(|frame| frame["type"] != "permission_request"), "{turn:?}");
    fixture.end().await;
}
