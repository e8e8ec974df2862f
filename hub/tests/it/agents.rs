//! Agents, their messages and their events.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::HubDirectory;

#[tokio::test]
async fn agents_of_several_workspaces_work_behind_one_socket() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let mut socket = hub.connect().await;
    let mut agents = Vec::new();
    for name in ["one", "two", "three"] {
        let workspace = hub.workspace(name).await;
        let agent = hub.agent(&workspace, "builder").await;
        let created = socket.until_type("agent_created").await;
        assert_eq!(created["agent"]["id"], *agent);
        assert_eq!(
            (&created["workspaceId"], &created["spawnedBy"]),
            (&json!(workspace), &Value::Null)
        );
        agents.push((workspace, agent));
    }
    for (_, agent) in &agents {
        hub.say(agent, "Hello there").await;
    }
    let mut texts = std::collections::BTreeMap::new();
    let mut done = Vec::new();
    while done.len() < 3 {
        let event = socket.next().await;
        let agent = event["agentId"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str().unwrap() {
            "agent_text" => {
                let text = event["text"].as_str().unwrap();
                texts.entry(agent).or_insert_with(String::new).push_str(text);
            }
            "agent_done" => {
                assert_eq!(event["role"], "builder");
                assert!(event["cost"].is_number(), "{event}");
                let workspace = &agents.iter().find(|(_, id)| *id == agent).unwrap().0;
                assert_eq!(event["workspaceId"], **workspace);
                done.push(agent);
            }
            "agent_error" => panic!("{event}"),
            _ => {}
        }
    }
    for (_, agent) in &agents {
        assert!(texts[agent].contains("Hello there"), "{texts:?}");
    }
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn a_turn_is_told_in_the_order_in_which_it_happens() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("builder").await;
    let mut socket = hub.connect().await;
    hub.say(&agent, "use a tool").await;
    let (before, done) = socket.until("agent_done").await;
    assert_eq!(done["agentId"], *agent);
    let kinds: Vec<_> = before.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let place_of = |kind: &str| {
        kinds.iter().position(|seen| *seen == kind).unwrap_or_else(|| panic!("{kind}: {kinds:?}"))
    };
    let order =
        ["agent_user_message", "agent_working", "agent_session", "agent_tool", "agent_tool_result"];
    let places: Vec<_> = order.iter().map(|kind| place_of(kind)).collect();
    assert!(places.is_sorted(), "{kinds:?}");
    let (call, result) = (&before[place_of("agent_tool")], &before[place_of("agent_tool_result")]);
    assert_eq!(call["tool"], result["tool"]);
    assert!(call["input"].is_object(), "{call}");
    hub.stop().await;
}

#[tokio::test]
async fn messages_are_worked_off_in_order_and_the_log_holds_them() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("builder").await;
    for number in 0..5 {
        hub.say(&agent, &format!("message {number}")).await;
    }
    hub.until_done(&agent).await;
    let path = format!("/api/agents/{agent}/log");
    let log = hub.ok("GET", &path, Value::Null).await;
    let entries = log.as_array().unwrap();
    let texts: Vec<_> = entries
        .iter()
        .filter(|entry| entry["kind"] == "text")
        .map(|entry| entry["content"].as_str().unwrap())
        .collect();
    for number in 0..5 {
        let wanted = format!("message {number}");
        assert!(texts[number].contains(&wanted), "{number}: {texts:?}");
    }
    let mut socket = hub.connect().await;
    let hidden = entries[0]["id"].as_u64().unwrap();
    hub.ok("POST", &format!("{path}/{hidden}/hide"), Value::Null).await;
    let updated = socket.until_type("agent_log_updated").await;
    let left = updated["log"].as_array().unwrap();
    assert_eq!(left.len(), entries.len() - 1);
    assert!(left.iter().all(|entry| entry["id"] != hidden));
    let (status, _) = hub.call("POST", &format!("{path}/99999/hide"), Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    hub.stop().await;
}

#[tokio::test]
async fn a_turn_can_be_interrupted_and_the_next_message_goes_on() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("builder").await;
    let mut socket = hub.connect().await;
    hub.say(&agent, r#"{"n":1000000,"size":300,"rate":20}"#).await;
    socket.until_type("agent_text").await;
    hub.ok("POST", &format!("/api/agents/{agent}/interrupt"), Value::Null).await;
    socket.until_type("agent_done").await;
    hub.say(&agent, "after").await;
    let (before, _) = socket.until("agent_done").await;
    assert!(
        before
            .iter()
            .any(|event| event["text"].as_str().is_some_and(|text| text.contains("after")))
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_stopped_agent_has_no_process_and_goes_on_in_its_conversation() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("builder").await;
    hub.say(&agent, "first").await;
    let before = hub.until_done(&agent).await;
    hub.ok("POST", &format!("/api/agents/{agent}/stop"), Value::Null).await;
    claude_relay_testing::wait::until("the relay ends", || {
        (place.mark.processes().len() == 1).then_some(())
    })
    .await;
    hub.say(&agent, "second").await;
    let after = hub.until_done(&agent).await;
    assert!(before["sessionId"].is_string());
    assert_eq!(before["sessionId"], after["sessionId"]);
    hub.stop().await;
}

#[tokio::test]
async fn an_agent_is_configured_and_removed() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("builder").await;
    let path = format!("/api/agents/{agent}");
    hub.say(&agent, "first").await;
    hub.until_done(&agent).await;
    let mut socket = hub.connect().await;
    hub.ok("PATCH", &path, json!({ "name": "Bob", "config": { "model": "opus" } })).await;
    let updated = socket.until_type("agent_updated").await;
    assert_eq!(
        (&updated["agent"]["name"], &updated["agent"]["config"]["model"]),
        (&json!("Bob"), &json!("opus"))
    );
    hub.say(&agent, "second").await;
    hub.until_done(&agent).await;
    for secret in ["anthropicApiKey", "env", "mcpServers", "authToken"] {
        let (status, answer) = hub.call("PATCH", &path, json!({ "config": { secret: "x" } })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
    }
    hub.ok("DELETE", &path, Value::Null).await;
    assert_eq!(socket.until_type("agent_removed").await["agentId"], *agent);
    assert_eq!(hub.call("GET", &path, Value::Null).await.0, StatusCode::NOT_FOUND);
    claude_relay_testing::wait::until("its files go", || {
        (!place.log(&agent).exists()).then_some(())
    })
    .await;
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn a_workspace_is_reset_and_removed() {
    let place = HubDirectory::demo();
    let (hub, workspace, agent) = place.start_with_agent("builder").await;
    hub.say(&agent, "first").await;
    let before = hub.until_done(&agent).await;
    let mut socket = hub.connect_after(0).await;
    hub.ok("POST", &format!("/api/workspaces/{workspace}/reset"), Value::Null).await;
    assert_eq!(socket.until_type("workspace_reset").await["workspaceId"], *workspace);
    let path = format!("/api/agents/{agent}/log");
    assert_eq!(hub.ok("GET", &path, Value::Null).await, json!([]));
    hub.say(&agent, "second").await;
    let after = hub.until_done(&agent).await;
    assert!(after["sessionId"].is_string());
    assert_ne!(before["sessionId"], after["sessionId"]);
    hub.ok("DELETE", &format!("/api/workspaces/{workspace}"), Value::Null).await;
    socket.until_type("workspace_removed").await;
    assert_eq!(hub.ok("GET", "/api/agents", Value::Null).await, json!([]));
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn files_of_a_workspace_are_reached_through_its_agents() {
    let place = HubDirectory::with(&[], &["--demo", "--mode", "unrestricted"], &[]);
    let (hub, workspace, agent) = place.start_with_agent("builder").await;
    let bearer = format!("Bearer {}", crate::support::TOKEN);
    let headers = [("authorization", bearer.as_str())];
    let path = format!("/api/agents/{agent}/files/notes/a%20b.txt");
    let (status, _, _) = hub.bytes("PUT", &path, &headers, b"hello".to_vec()).await;
    assert_eq!(status, StatusCode::OK);
    let file = place.directory().join("workspaces").join(&workspace).join("notes/a b.txt");
    assert_eq!(std::fs::read(file).unwrap(), b"hello");
    let (status, head, content) = hub.bytes("GET", &path, &headers, Vec::new()).await;
    assert_eq!((status, content.as_slice()), (StatusCode::OK, b"hello".as_slice()));
    assert_eq!(head["content-disposition"], "attachment");
    let listed = hub.ok("GET", &format!("/api/agents/{agent}/files/notes/"), Value::Null).await;
    assert_eq!(listed["entries"][0]["name"], "a b.txt");
    // Another workspace's files are outside.
    let other = hub.workspace("other").await;
    let outside = format!("/api/agents/{agent}/files/..%2F{other}%2Fx");
    let (status, _, _) = hub.bytes("PUT", &outside, &headers, b"x".to_vec()).await;
    assert!(status.is_client_error(), "{status}");
    assert_eq!(hub.call("DELETE", &path, Value::Null).await.0, StatusCode::OK);
    assert_eq!(hub.call("GET", &path, Value::Null).await.0, StatusCode::NOT_FOUND);
    hub.stop().await;
}
