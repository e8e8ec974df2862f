//! Permission requests, answered from one place.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::{Hub, HubDirectory};

async fn asking(hub: &Hub) -> String {
    let workspace = hub.workspace("w").await;
    let agent = hub.agent(&workspace, "builder").await;
    hub.say(&agent, r#"{"permission":"Bash"}"#).await;
    agent
}

#[tokio::test]
async fn a_tool_runs_with_the_input_that_a_client_has_changed() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let mut socket = hub.connect().await;
    let agent = asking(&hub).await;
    let request = socket.until_type("permission_request").await;
    assert_eq!((&request["agentId"], &request["tool"]), (&json!(agent), &json!("Bash")));
    assert!(request["input"]["command"].is_string() && request["workspaceId"].is_string());
    assert_eq!(
        hub.ok("GET", &format!("/api/agents/{agent}"), Value::Null).await["status"],
        "waiting"
    );
    socket
        .send(json!({
            "type": "permission_response",
            "requestId": request["requestId"],
            "approved": true,
            "updatedInput": { "command": "true", "changed": "by-the-client" },
        }))
        .await;
    let (before, _) = socket.until("agent_done").await;
    let said = before.iter().filter_map(|event| event["text"].as_str()).collect::<String>();
    assert!(said.contains("allow") && said.contains("by-the-client"), "{said}");
    hub.stop().await;
}

#[tokio::test]
async fn a_refused_tool_does_not_run_and_the_first_answer_counts() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let (mut first, mut second) = (hub.connect().await, hub.connect_after(0).await);
    asking(&hub).await;
    let request = first.until_type("permission_request").await;
    let same = second.until_type("permission_request").await;
    assert_eq!(request["requestId"], same["requestId"]);
    let answer = |approved: bool| json!({ "type": "permission_response", "requestId": request["requestId"], "approved": approved });
    first.send(answer(false)).await;
    let resolved = second.until_type("permission_resolved").await;
    assert_eq!(resolved["approved"], false);
    second.send(answer(true)).await;
    let refused = second.until_type("error").await;
    assert!(refused["error"].as_str().unwrap().contains("no permission request"), "{refused}");
    let (before, _) = first.until("agent_done").await;
    let said = before.iter().filter_map(|event| event["text"].as_str()).collect::<String>();
    assert!(said.contains("deny"), "{said}");
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_later_is_asked_too() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let mut early = hub.connect().await;
    asking(&hub).await;
    let request = early.until_type("permission_request").await;
    drop(early);
    let mut late = hub.connect().await;
    assert_eq!(late.next().await, request);
    let pending = hub.ok("GET", "/api/permissions", Value::Null).await;
    assert_eq!(pending[0]["requestId"], request["requestId"]);
    let path = format!("/api/permissions/{}", request["requestId"].as_str().unwrap());
    hub.ok("POST", &path, json!({ "approved": true })).await;
    late.until_type("agent_done").await;
    let (status, _) = hub.call("POST", &path, json!({ "approved": true })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(hub.ok("GET", "/api/permissions", Value::Null).await, json!([]));
    hub.stop().await;
}

#[tokio::test]
async fn nothing_is_asked_any_more_for_an_agent_that_was_stopped() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let mut socket = hub.connect_after(0).await;
    let agent = asking(&hub).await;
    let request = socket.until_type("permission_request").await;
    hub.ok("POST", &format!("/api/agents/{agent}/stop"), Value::Null).await;
    let resolved = socket.until_type("permission_resolved").await;
    assert_eq!(
        (&resolved["requestId"], &resolved["approved"]),
        (&request["requestId"], &Value::Null)
    );
    hub.stop().await;
    place.assert_no_orphans();
}
