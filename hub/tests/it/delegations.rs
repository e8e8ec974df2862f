//! Delegations: a task of one agent for another, whose result comes back.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::HubDirectory;

#[tokio::test]
async fn a_result_reaches_the_agent_that_asked() {
    let place = HubDirectory::trusting();
    let hub = place.start().await;
    let workspace = hub.workspace("w").await;
    let (asker, helper) =
        (hub.agent(&workspace, "lead").await, hub.agent(&workspace, "tester").await);
    let mut socket = hub.connect().await;
    let path = format!("/api/agents/{asker}/delegations");
    let given = json!({ "role": "tester", "task": "count the words" });
    let delegation = hub.ok("POST", &path, given).await;
    assert_eq!(
        (&delegation["toAgentId"], &delegation["status"]),
        (&json!(helper), &json!("pending"))
    );
    for status in ["pending", "working", "done"] {
        let update = socket.until_type("delegation_update").await;
        assert_eq!(update["delegationId"], delegation["id"]);
        assert_eq!((&update["status"], &update["toRole"]), (&json!(status), &json!("tester")));
        assert_eq!(
            (&update["agentId"], &update["workspaceId"]),
            (&json!(asker), &json!(workspace))
        );
    }
    let message = socket.until_type("agent_user_message").await;
    assert_eq!(message["agentId"], *asker);
    let text = message["text"].as_str().unwrap();
    assert!(text.contains("Result of") && text.contains("count the words"), "{text}");
    let kept = hub.ok("GET", "/api/delegations", Value::Null).await;
    assert_eq!(kept[0]["status"], "done");
    hub.stop().await;
}

#[tokio::test]
async fn a_task_goes_to_an_agent_of_the_same_workspace_alone() {
    let place = HubDirectory::trusting();
    let hub = place.start().await;
    let (mine, other) = (hub.workspace("mine").await, hub.workspace("other").await);
    let asker = hub.agent(&mine, "lead").await;
    let outside = hub.agent(&other, "tester").await;
    let path = format!("/api/agents/{asker}/delegations");
    for role in ["tester", "lead", outside.as_str(), asker.as_str()] {
        let (status, _) = hub.call("POST", &path, json!({ "role": role, "task": "x" })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{role}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_removed_agent_fails_its_task_and_the_asker_is_told() {
    let place = HubDirectory::trusting();
    let hub = place.start().await;
    let workspace = hub.workspace("w").await;
    let (asker, helper) =
        (hub.agent(&workspace, "lead").await, hub.agent(&workspace, "tester").await);
    hub.say(&helper, r#"{"sleep_ms":60000}"#).await;
    let path = format!("/api/agents/{asker}/delegations");
    hub.ok("POST", &path, json!({ "role": "tester", "task": "x" })).await;
    let mut socket = hub.connect().await;
    hub.ok("DELETE", &format!("/api/agents/{helper}"), Value::Null).await;
    assert_eq!(socket.until_type("delegation_update").await["status"], "failed");
    let message = socket.until_type("agent_user_message").await;
    assert!(message["text"].as_str().unwrap().contains("was removed"), "{message}");
    hub.stop().await;
    place.assert_no_orphans();
}
