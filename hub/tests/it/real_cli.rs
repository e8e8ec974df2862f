//! With the real CLI, which talks to a Messages API of the tests.
//! `scripts/test --tools` says where the CLIs are.

use std::path::Path;

use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::{Gate, Reply};
use claude_relay_testing::test_env::{TEST_KEY, TestEnv};
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};

use crate::support::HubDirectory;

struct CliHub {
    api: MessagesApi,
    env: TestEnv,
    place: HubDirectory,
}

impl CliHub {
    fn new(mode: &str) -> Self {
        let (api, env) = (MessagesApi::start(), TestEnv::new());
        let environment = env.environment_with(&api);
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = Cli::Newest.path();
        let arguments = ["--claude-path", path.to_str().unwrap(), "--mode", mode];
        let place = HubDirectory::with(&[], &arguments, &environment);
        Self { api, env, place }
    }
}

#[tokio::test]
async fn an_agent_asks_another_one_and_gets_its_answer() {
    let fixture = CliHub::new("ask");
    let question = json!({ "role": "tester", "task": "How many tests are there?" });
    fixture.api.script([
        Reply::tool("mcp__host__ask_agent", question),
        Reply::text("There are forty-two."),
        Reply::text("The tester says forty-two."),
    ]);
    let hub = fixture.place.start().await;
    let workspace = hub.workspace("w").await;
    let (lead, tester) =
        (hub.agent(&workspace, "lead").await, hub.agent(&workspace, "tester").await);
    let mut socket = hub.connect().await;
    hub.say(&lead, "Find out.").await;
    let mut seen = Vec::new();
    loop {
        let event = socket.next().await;
        assert!(event["type"] != "agent_error" && event["type"] != "permission_request", "{event}");
        let is_last = event["type"] == "agent_done" && event["agentId"] == *lead;
        seen.push(event);
        if is_last {
            break;
        }
    }
    let of = |kind: &str| seen.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
    assert_eq!(of("agent_tool")[0]["tool"], "mcp__host__ask_agent");
    let result = of("agent_tool_result")[0];
    assert_eq!(
        (&result["tool"], &result["agentId"]),
        (&json!("mcp__host__ask_agent"), &json!(lead))
    );
    assert!(result["result"].to_string().contains("forty-two"), "{result}");
    let states: Vec<_> = of("delegation_update").iter().map(|one| one["status"].clone()).collect();
    assert_eq!(states, ["pending", "working", "done"]);
    assert!(of("agent_text").iter().any(|one| one["agentId"] == *tester));
    assert!(of("agent_done").iter().all(|one| one["cost"].as_f64().unwrap() > 0.0), "{seen:?}");
    let told = format!("{seen:?}");
    assert!(!told.contains(TEST_KEY));
    hub.stop().await;
    fixture.place.assert_no_orphans();
}

#[tokio::test]
async fn a_person_approves_the_agents_that_an_agent_wants() {
    let fixture = CliHub::new("ask");
    let wanted =
        json!({ "agents": [{ "role": "reviewer" }, { "role": "tester", "name": "Tess" }] });
    fixture.api.script([
        Reply::tool("mcp__host__spawn", wanted),
        Reply::text("I wait."),
        Reply::text("Good."),
    ]);
    let hub = fixture.place.start().await;
    let workspace = hub.workspace("w").await;
    let lead = hub.agent(&workspace, "lead").await;
    let mut socket = hub.connect().await;
    hub.say(&lead, "Get help.").await;
    let asked = socket.until_type("agent_spawn_request").await;
    assert_eq!(
        (&asked["workspaceId"], &asked["request"]["status"]),
        (&json!(workspace), &json!("pending"))
    );
    let id = asked["request"]["id"].as_str().unwrap().to_owned();
    hub.ok("POST", &format!("/api/spawn-requests/{id}"), json!({ "approved": true })).await;
    let (before, update) = socket.until("spawn_request_update").await;
    assert_eq!(update["request"]["status"], "approved");
    let created: Vec<_> = before.iter().filter(|event| event["type"] == "agent_created").collect();
    assert_eq!(created.len(), 2);
    assert!(created.iter().all(|event| event["spawnedBy"] == *lead), "{created:?}");
    hub.until_done(&lead).await;
    hub.stop().await;
}

#[tokio::test]
async fn a_turn_that_the_hubs_death_has_cut_short_goes_on_in_its_conversation() {
    let fixture = CliHub::new("unrestricted");
    let gate = Gate::closed();
    fixture.api.script([
        Reply::text("Hello."),
        Reply::gated(&gate, ["one ", "two "]),
        Reply::text("Done after all."),
    ]);
    let hub = fixture.place.start().await;
    let workspace = hub.workspace("w").await;
    let agent = hub.agent(&workspace, "builder").await;
    hub.say(&agent, "Greet me.").await;
    let before = hub.until_done(&agent).await;
    hub.say(&agent, "Count to a million.").await;
    fixture.env.session_holds("Count to a million.").await;
    fixture.api.turn(2).await;
    hub.kill().await;
    let hub = fixture.place.start().await;
    let after = hub.until_done(&agent).await;
    assert_eq!(before["sessionId"], after["sessionId"]);
    let log = hub.ok("GET", &format!("/api/agents/{agent}/log"), Value::Null).await.to_string();
    assert!(log.contains("Done after all."), "{log}");
    let turns = fixture.api.turns();
    let last = turns.last().unwrap().user_messages();
    let told = serde_json::to_string(&last).unwrap();
    assert_eq!(told.matches("Count to a million.").count(), 1, "{told}");
    assert!(told.contains("You were interrupted"), "{told}");
    gate.open();
    hub.stop().await;
    fixture.place.assert_no_orphans();
}

#[tokio::test]
async fn a_command_runs_with_the_input_that_a_person_has_changed() {
    let fixture = CliHub::new("ask");
    let command = json!({ "command": "touch asked.txt", "description": "make a file" });
    fixture.api.script([Reply::tool("Bash", command), Reply::text("Made.")]);
    let hub = fixture.place.start().await;
    let workspace = hub.workspace("w").await;
    let agent = hub.agent(&workspace, "builder").await;
    let mut socket = hub.connect().await;
    hub.say(&agent, "Make a file.").await;
    let request = socket.until_type("permission_request").await;
    assert_eq!(request["input"]["command"], "touch asked.txt");
    socket
        .send(json!({
            "type": "permission_response",
            "requestId": request["requestId"],
            "approved": true,
            "updatedInput": { "command": "touch changed.txt", "description": "make a file" },
        }))
        .await;
    socket.until_type("agent_done").await;
    let directory = fixture.place.directory().join("workspaces").join(&workspace);
    assert!(directory.join("changed.txt").exists() && !directory.join("asked.txt").exists());
    assert!(Path::new(&directory).is_dir());
    hub.stop().await;
}

#[tokio::test]
async fn an_agent_with_a_task_in_the_background_is_not_idle() {
    let mut fixture = CliHub::new("unrestricted");
    fixture.place.add_flags(&["--idle-timeout", "2s"]);
    let end = fixture.env.file("end-of-the-task");
    let command = format!("until [ -e {} ]; do sleep 0.1; done", end.display());
    let command = json!({ "command": command, "description": "d", "run_in_background": true });
    fixture.api.script([
        Reply::tool("Bash", command),
        Reply::text("It runs."),
        Reply::text("Hello."),
        Reply::text("The task has ended."),
    ]);
    let hub = fixture.place.start().await;
    let workspace = hub.workspace("w").await;
    let (busy, idle) = (hub.agent(&workspace, "busy").await, hub.agent(&workspace, "idle").await);
    let mut socket = hub.connect().await;
    hub.say(&busy, "Start it.").await;
    socket.until_type("agent_done").await;
    hub.say(&idle, "Greet me.").await;
    socket.until_type("agent_done").await;
    hub.until_status(&idle, "stopped").await;
    assert_eq!(hub.ok("GET", &format!("/api/agents/{busy}"), Value::Null).await["status"], "idle");
    std::fs::write(end, "").unwrap();
    // The agent tells of the end in a turn of its own, which begins and ends.
    let (before, done) = socket.until("agent_done").await;
    assert_eq!(done["agentId"], *busy);
    assert!(before.iter().any(|event| event["type"] == "agent_working"), "{before:?}");
    hub.until_status(&busy, "stopped").await;
    hub.stop().await;
    fixture.place.assert_no_orphans();
}

#[tokio::test]
async fn agents_that_could_not_all_be_created_are_not_asked_for() {
    let fixture = CliHub::new("ask");
    let prompt = "p".repeat(300 << 10);
    let wanted = json!({ "agents": [{ "role": "a" }, { "role": "b", "systemPrompt": prompt }] });
    fixture.api.script([Reply::tool("mcp__host__spawn", wanted), Reply::text("A pity.")]);
    let hub = fixture.place.start().await;
    let workspace = hub.workspace("w").await;
    let lead = hub.agent(&workspace, "lead").await;
    let mut socket = hub.connect().await;
    hub.say(&lead, "Get help.").await;
    let (before, _) = socket.until("agent_done").await;
    let result = before.iter().find(|event| event["type"] == "agent_tool_result").unwrap();
    assert!(result["result"].to_string().contains("config: at most"), "{result}");
    assert!(before.iter().all(|event| event["type"] != "agent_spawn_request"));
    hub.stop().await;
}
