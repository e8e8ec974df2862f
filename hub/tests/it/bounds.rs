//! Bounds on what agents and their messages cost the hub, and on where they get.

use std::path::Path;

use claude_relay_testing::scripted_agent;
use claude_relay_testing::test_env::TestEnv;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::HubDirectory;

/// A hub whose agents answer their first message with these lines.
fn printing(env: &TestEnv, lines: &[Value]) -> HubDirectory {
    let output: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let script = scripted_agent::printing(env, output.as_bytes(), 1 << 16);
    let arguments = ["--claude-path", script.to_str().unwrap(), "--stop-grace", "1s"];
    HubDirectory::with(&[], &arguments, &[])
}

fn permission_request(number: usize, tool: &str, size: usize) -> Value {
    let input = json!({ "command": "x".repeat(size) });
    let request = json!({ "subtype": "can_use_tool", "tool_name": tool, "input": input });
    json!({ "type": "control_request", "request_id": format!("r{number}"), "request": request })
}

#[tokio::test]
async fn permission_requests_of_an_agent_are_bounded_in_number_and_bytes() {
    for (count, size, shown) in [(100, 10, 64), (20, 200 << 10, 5), (1, 2 << 20, 0)] {
        let env = TestEnv::new();
        let mut lines: Vec<_> =
            (0..count).map(|number| permission_request(number, "Bash", size)).collect();
        // What comes behind them shows that the hub has read them.
        lines.push(permission_request(count, &"T".repeat(1000), 1));
        lines.push(json!({ "type": "assistant", "message": { "role": "assistant", "content": [
            { "type": "text", "text": "all asked" },
        ] } }));
        let place = printing(&env, &lines);
        let (hub, _, agent) = place.start_with_agent("a").await;
        let mut socket = hub.connect().await;
        hub.say(&agent, "ask").await;
        let (before, _) = socket.until("agent_text").await;
        let asked = before.iter().filter(|event| event["type"] == "permission_request");
        assert_eq!(asked.count(), shown, "{count} of {size} bytes");
        let waiting = hub.ok("GET", "/api/permissions", Value::Null).await;
        assert_eq!(waiting.as_array().unwrap().len(), shown, "{count} of {size} bytes");
        hub.ok("POST", &format!("/api/agents/{agent}/stop"), Value::Null).await;
        hub.stop().await;
    }
}

#[tokio::test]
async fn names_and_lists_of_an_agent_are_cut() {
    let long = "n".repeat(100_000);
    let todos: Vec<_> =
        (0..1000).map(|_| json!({ "content": "c".repeat(3000), "status": "pending" })).collect();
    let content = json!([
        { "type": "tool_use", "id": long, "name": long, "input": { "list": vec![0; 400_000] } },
        { "type": "tool_use", "id": "t", "name": "TodoWrite", "input": { "todos": todos } },
        { "type": "text", "text": "all said" },
    ]);
    let env = TestEnv::new();
    let place = printing(
        &env,
        &[
            json!({ "type": "system", "subtype": "init", "session_id": long }),
            json!({ "type": "assistant", "message": { "role": "assistant", "content": content } }),
        ],
    );
    let (hub, _, agent) = place.start_with_agent("a").await;
    let mut socket = hub.connect().await;
    hub.say(&agent, "say").await;
    let (before, _) = socket.until("agent_text").await;
    let of = |kind: &str| before.iter().find(|event| event["type"] == kind);
    let tool = of("agent_tool").unwrap();
    assert!(tool["tool"].as_str().unwrap().len() < 400, "a name");
    let input = tool["input"].as_str().unwrap();
    assert!(input.len() < 300 << 10 && input.contains("cut by the hub"), "an input");
    let todos = of("agent_todos").unwrap()["todos"].as_array().unwrap();
    assert_eq!(todos.len(), 256);
    assert!(todos.iter().all(|todo| todo["content"].as_str().unwrap().len() < 1200));
    assert!(of("agent_session").is_none(), "a conversation with such a name");
    hub.stop().await;
}

#[tokio::test]
async fn messages_that_wait_are_bounded_in_number_and_bytes() {
    let place = HubDirectory::demo();
    let (hub, workspace, agent) = place.start_with_agent("target").await;
    hub.say(&agent, r#"{"sleep_ms":600000}"#).await;
    let path = format!("/api/agents/{agent}/messages");
    let long = json!({ "text": "x".repeat(500 << 10) });
    for _ in 0..8 {
        hub.ok("POST", &path, long.clone()).await;
    }
    let (status, answer) = hub.call("POST", &path, long.clone()).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer}");
    // Nor do agents fill it up with tasks.
    let giver = hub.agent(&workspace, "giver").await;
    let path = format!("/api/agents/{giver}/delegations");
    let task = json!({ "role": "target", "task": "x".repeat(500 << 10) });
    let (status, answer) = hub.call("POST", &path, task).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer}");
    let mut given = 0;
    for number in 0..5 {
        let giver = hub.agent(&workspace, &format!("giver-{number}")).await;
        let path = format!("/api/agents/{giver}/delegations");
        for _ in 0..16 {
            let task = json!({ "role": "target", "task": "short" });
            let (status, _) = hub.call("POST", &path, task).await;
            given += usize::from(status == StatusCode::OK);
        }
    }
    assert_eq!(given, 64 - 9);
    hub.stop().await;
}

#[tokio::test]
async fn delegations_that_have_ended_are_bounded_in_bytes() {
    let place = HubDirectory::demo();
    let (hub, workspace, giver) = place.start_with_agent("giver").await;
    let target = hub.agent(&workspace, "target").await;
    // Removing the one that works ends them at once.
    hub.say(&target, r#"{"sleep_ms":600000}"#).await;
    let path = format!("/api/agents/{giver}/delegations");
    for _ in 0..3 {
        let target = hub.agent(&workspace, "worker").await;
        hub.say(&target, r#"{"sleep_ms":600000}"#).await;
        for _ in 0..7 {
            let task = json!({ "role": target, "task": "x".repeat(500 << 10) });
            hub.ok("POST", &path, task).await;
        }
        hub.ok("DELETE", &format!("/api/agents/{target}"), Value::Null).await;
    }
    let task = json!({ "role": "target", "task": "the last one" });
    hub.ok("POST", &path, task).await;
    let kept = hub.ok("GET", "/api/delegations", Value::Null).await.to_string();
    assert!(kept.len() < 9 << 20, "{} bytes", kept.len());
    assert!(kept.contains("the last one"));
    hub.stop().await;
}

#[tokio::test]
async fn an_agent_that_does_not_start_holds_up_no_files_of_others() {
    let place = HubDirectory::with(&["--max-running", "1"], &["--demo"], &[]);
    let (hub, workspace, agent) = place.start_with_agent("runs").await;
    hub.say(&agent, r#"{"sleep_ms":600000}"#).await;
    hub.until_status(&agent, "working").await;
    let waits = hub.agent(&workspace, "waits").await;
    let path = format!("/api/agents/{waits}/files/");
    let waiting: Vec<_> = (0..8).map(|_| hub.call("GET", &path, Value::Null)).collect();
    let waiting = futures_util::future::join_all(waiting);
    let path = format!("/api/agents/{agent}/files/");
    let reading = async {
        // The others have been sent before.
        hub.until_status(&waits, "starting").await;
        hub.ok("GET", &path, Value::Null).await
    };
    tokio::select! {
        biased;
        _ = waiting => panic!("an agent has started beyond the limit"),
        entries = reading => assert!(entries["entries"].is_array()),
    }
    hub.stop().await;
}

#[tokio::test]
async fn links_of_a_workspace_lead_neither_agents_nor_files_out_of_it() {
    let place = HubDirectory::demo();
    let (hub, workspace, agent) = place.start_with_agent("a").await;
    let outside = place.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let root = place.directory().join("workspaces").join(&workspace);
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, root.join(name)).unwrap();
    link(&outside, "out");
    link(Path::new(".."), "up");
    std::fs::create_dir(root.join("within")).unwrap();
    link(Path::new("within"), "in");
    for directory in ["out", "out/deeper", "up", "within/../../x", "/", "..", "a/../.."] {
        let new = json!({ "workspaceId": workspace, "directory": directory, "message": "go" });
        let mut socket = hub.connect().await;
        let (status, made) = hub.call("POST", "/api/agents", new).await;
        if status == StatusCode::OK {
            let error = socket.until_type("agent_error").await;
            assert!(error["error"].as_str().unwrap().contains("out of its workspace"), "{error}");
            let id = made["id"].as_str().unwrap();
            hub.ok("DELETE", &format!("/api/agents/{id}"), Value::Null).await;
        } else {
            assert_eq!(status, StatusCode::BAD_REQUEST, "{directory}");
        }
    }
    assert!(!outside.join("deeper").exists());
    let new = json!({ "workspaceId": workspace, "directory": "in/deeper", "message": "go" });
    let inside = hub.ok("POST", "/api/agents", new).await;
    hub.until_done(inside["id"].as_str().unwrap()).await;
    assert!(root.join("within/deeper").is_dir());
    for path in ["out/secret", "up/secret", "../secret", "..%2f..%2fstate.json", "%2e%2e/token"] {
        for method in ["GET", "PUT", "DELETE"] {
            let path = format!("/api/agents/{agent}/files/{path}");
            let (status, _) = hub.call(method, &path, json!("x")).await;
            assert!(status.is_client_error(), "{method} {path}: {status}");
        }
    }
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    hub.stop().await;
}
