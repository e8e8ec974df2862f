//! A client that knows the published description of ClaudeControl's WebSocket and
//! nothing else drives five agents in three workspaces, three of them here and
//! two in sandboxes, with the real CLI.

use std::collections::BTreeMap;

use claude_relay_testing::e2b::{API_KEY, FakeE2b};
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::reply::{Message, Reply};
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use serde_json::{Value, json};

use crate::support::{Hub, HubDirectory, Socket};

/// The events of the description, with their key fields.
const EVENTS: [(&str, &[&str]); 18] = [
    ("agent_created", &["agent", "workspaceId", "spawnedBy"]),
    ("agent_updated", &["agentId", "agent", "workspaceId"]),
    ("agent_removed", &["agentId", "workspaceId"]),
    ("agent_done", &["agentId", "workspaceId", "role", "cost"]),
    ("agent_error", &["agentId", "workspaceId", "error"]),
    ("agent_session", &["agentId", "sessionId"]),
    ("agent_text", &["agentId", "workspaceId", "text"]),
    ("agent_tool", &["agentId", "workspaceId", "tool", "input"]),
    ("agent_tool_result", &["agentId", "workspaceId", "tool", "result"]),
    ("agent_working", &["agentId", "workspaceId"]),
    ("agent_user_message", &["agentId", "workspaceId"]),
    ("agent_log_updated", &["agentId", "workspaceId", "log"]),
    ("agent_todos", &["agentId", "workspaceId", "todos"]),
    ("delegation_update", &["agentId", "workspaceId", "delegationId", "status", "toRole"]),
    ("agent_spawn_request", &["workspaceId", "request"]),
    ("spawn_request_update", &["workspaceId", "request"]),
    ("permission_request", &["requestId", "agentId", "workspaceId", "tool", "input"]),
    ("workspace_reset", &["workspaceId"]),
];

/// Fields that stand beside the described ones.
const ADDITIONAL: [(&str, &str); 1] = [("agent_user_message", "text")];

/// The CLI, which asks the tests' API wherever it runs: an address of this
/// machine cannot be named to a sandbox.
fn cli(env: &TestEnv, api: &MessagesApi) -> String {
    let path = env.file("cli-of-the-test");
    let program = Cli::Newest.path();
    let text = format!(
        "#!/bin/sh\nexport ANTHROPIC_BASE_URL='{}'\nexec '{}' \"$@\"\n",
        api.url(),
        program.display()
    );
    executable(&path, text);
    path.to_str().unwrap().to_owned()
}

/// The variables of a relay or a hub, without the address of the API.
fn variables(env: &TestEnv, api: &MessagesApi) -> Vec<(String, String)> {
    let mut variables: Vec<_> = env.environment_with(api).into_iter().collect();
    variables.retain(|(name, _)| name != "ANTHROPIC_BASE_URL");
    variables
}

fn borrowed(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// A client that keeps all that it has seen.
struct Client {
    socket: Socket,
    seen: Vec<Value>,
}

impl Client {
    async fn until(&mut self, kind: &str, agent: &str) -> Value {
        let what = format!("{kind} of {agent:?}");
        wait::within(&what, self.next_of(kind, agent)).await
    }

    async fn next_of(&mut self, kind: &str, agent: &str) -> Value {
        loop {
            let event = self.socket.next().await;
            self.seen.push(event.clone());
            let is_of_agent = agent.is_empty() || event["agentId"] == *agent;
            if event["type"] == kind && is_of_agent {
                return event;
            }
        }
    }

    async fn approve(&mut self, request: &Value, input: Value) {
        let answer = json!({
            "type": "permission_response", "requestId": request["requestId"],
            "approved": true, "updatedInput": input,
        });
        self.socket.send(answer).await;
    }
}

async fn agent(hub: &Hub, workspace: &str, role: &str, engine: &str) -> String {
    let new = json!({
        "workspaceId": workspace, "role": role, "engine": engine,
        "config": { "permissionMode": "default" },
    });
    hub.ok("POST", "/api/agents", new).await["id"].as_str().unwrap().to_owned()
}

/// Checks that what was seen is described, with exactly its fields, that nothing of
/// the description is missing, and that an agent is said to work once for each
/// message, and to stop.
fn assert_described(seen: &[Value]) {
    let mut working: BTreeMap<&str, bool> = BTreeMap::new();
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    for event in seen {
        let kind = event["type"].as_str().unwrap();
        let (_, fields) = EVENTS.iter().find(|(name, _)| *name == kind).expect(kind);
        let additional = ADDITIONAL.iter().filter(|(name, _)| *name == kind);
        let mut wanted: Vec<&str> =
            fields.iter().copied().chain(additional.map(|(_, field)| *field)).collect();
        wanted.push("type");
        wanted.sort_unstable();
        let mut given: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
        given.sort_unstable();
        assert_eq!(given, wanted, "{event}");
        let agent = event["agentId"].as_str().unwrap_or_default();
        match kind {
            "agent_user_message" => *asked.entry(agent).or_default() += 1,
            "agent_working" => {
                let asked = asked.entry(agent).or_default();
                assert!(*asked > 0, "works on nothing: {event}");
                *asked -= 1;
                working.insert(agent, true);
            }
            "agent_done" | "agent_error" | "agent_removed" => {
                working.insert(agent, false);
            }
            "workspace_reset" => working.clear(),
            _ => {}
        }
    }
    for (kind, _) in EVENTS {
        assert!(seen.iter().any(|event| event["type"] == kind), "no {kind}");
    }
    working.retain(|_, works| *works);
    assert!(working.is_empty(), "said to work for ever: {working:?}");
}

#[tokio::test]
async fn five_agents_in_three_workspaces_are_driven_as_the_description_says() {
    let (api, env) = (MessagesApi::start(), TestEnv::new());
    let path = cli(&env, &api);
    let (first, second) = (TestEnv::new(), TestEnv::new());
    let mut relays = Vec::new();
    for env in [&first, &second] {
        let variables = [variables(env, &api), vec![("IS_SANDBOX".into(), "1".into())]].concat();
        let flags = ["--no-auth", "--mode", "unrestricted", "--claude-path", &path];
        relays.push(RelayProcess::start(&flags, &borrowed(&variables)).await);
    }
    let fake = FakeE2b::start().await;
    let ports = relays.iter().map(|relay| ([127, 0, 0, 1], relay.port).into());
    fake.forward_each(3000, ports.collect());
    let account =
        [("E2B_API_KEY", API_KEY), ("E2B_API_URL", &fake.url()), ("E2B_SANDBOX_URL", &fake.url())]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let variables = [variables(&env, &api), account.to_vec()].concat();
    let place = HubDirectory::with(
        &["--e2b-template", "claude-agent-server"],
        &["--claude-path", &path, "--mode", "ask"],
        &borrowed(&variables),
    );
    let hub = place.start().await;
    let mut client = Client { socket: hub.connect().await, seen: Vec::new() };
    let (one, two, three) =
        (hub.workspace("one").await, hub.workspace("two").await, hub.workspace("three").await);
    let lead = agent(&hub, &one, "lead", "local").await;
    let helper = agent(&hub, &one, "helper", "local").await;
    let builder = agent(&hub, &two, "builder", "local").await;
    let far = agent(&hub, &two, "far", "e2b").await;
    let alone = agent(&hub, &three, "alone", "e2b").await;

    // All five work, and each asks for a tool, which runs with another input.
    for agent in [&lead, &helper, &builder, &far, &alone] {
        let command = json!({ "command": "touch asked", "description": "make a file" });
        api.script([
            Reply::from(Message::default().text("I begin.").tool("Bash", command)),
            Reply::text("Made."),
        ]);
        hub.say(agent, "Make a file.").await;
        let request = client.until("permission_request", agent).await;
        assert_eq!(
            (&request["tool"], &request["input"]["command"]),
            (&json!("Bash"), &json!("touch asked"))
        );
        let name = format!("changed-{agent}");
        client
            .approve(&request, json!({ "command": format!("touch {name}"), "description": "d" }))
            .await;
        let done = client.until("agent_done", agent).await;
        assert!(done["cost"].as_f64().unwrap() > 0.0, "{done}");
        let path = format!("/api/agents/{agent}/files/");
        let files = hub.ok("GET", &path, Value::Null).await.to_string();
        assert!(files.contains(&name) && !files.contains("asked"), "{files}");
    }

    // A filter: another client sees one workspace.
    let mut filtered = hub.connect().await;
    filtered.send(json!({ "type": "subscribe", "workspaceId": three, "id": 1 })).await;
    filtered.until_type("command_result").await;

    // Delegation, and agents that an agent asks for.
    api.script([
        Reply::tool("mcp__host__ask_agent", json!({ "role": "helper", "task": "How many?" })),
        Reply::text("Seven."),
        Reply::tool("mcp__host__spawn", json!({ "agents": [{ "role": "worker" }] })),
        Reply::text("I wait."),
        Reply::text("Good."),
    ]);
    hub.say(&lead, "Find out, and get help.").await;
    let asked = client.until("agent_spawn_request", "").await;
    client.until("agent_done", &lead).await;
    let path = format!("/api/spawn-requests/{}", asked["request"]["id"].as_str().unwrap());
    hub.ok("POST", &path, json!({ "approved": true })).await;
    let spawned = client.until("agent_created", "").await;
    assert_eq!((&spawned["spawnedBy"], &spawned["workspaceId"]), (&json!(lead), &json!(one)));
    client.until("agent_done", &lead).await;

    // A list of what is to do, a failure of the API, a turn that is stopped.
    let todos =
        json!({ "todos": [{ "content": "one", "status": "pending", "activeForm": "one" }] });
    api.script([Reply::tool("TodoWrite", todos), Reply::text("Listed."), Reply::Error(400)]);
    hub.say(&builder, "Make a list.").await;
    client.until("agent_done", &builder).await;
    hub.say(&builder, "Fail.").await;
    client.until("agent_error", &builder).await;
    let command = json!({ "command": "touch never", "description": "make a file" });
    api.script([Reply::tool("Bash", command)]);
    hub.say(&alone, "Make another file.").await;
    client.until("permission_request", &alone).await;
    hub.ok("POST", &format!("/api/agents/{alone}/stop"), Value::Null).await;
    let stopped = client.until("agent_done", &alone).await;
    assert_eq!(stopped["cost"], 0.0);
    loop {
        let event = filtered.next().await;
        let workspace = event.get("workspaceId");
        assert!(workspace.is_none_or(|workspace| *workspace == three), "{event}");
        if event["type"] == "agent_done" {
            break;
        }
    }

    // Changes of agents, of the log, of workspaces.
    hub.ok("PATCH", &format!("/api/agents/{far}"), json!({ "name": "Far" })).await;
    client.until("agent_updated", &far).await;
    hub.ok("POST", &format!("/api/agents/{far}/log/0/hide"), Value::Null).await;
    client.until("agent_log_updated", &far).await;
    hub.ok("POST", &format!("/api/workspaces/{one}/reset"), Value::Null).await;
    client.until("workspace_reset", "").await;
    for workspace in [&two, &three] {
        hub.ok("DELETE", &format!("/api/workspaces/{workspace}"), Value::Null).await;
    }
    client.until("agent_removed", &alone).await;
    assert_described(&client.seen);
    wait::until("no sandbox", || fake.alive().is_empty().then_some(())).await;
    hub.stop().await;
    place.assert_no_orphans();
}
