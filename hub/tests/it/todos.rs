//! The list of what an agent has to do, as clients get it.

use claude_relay_testing::scripted_agent;
use claude_relay_testing::test_env::TestEnv;
use serde_json::{Value, json};

use crate::support::HubDirectory;

/// A call of a tool, and its result with what the tool tells beside it.
fn call(id: &str, tool: &str, input: &Value, outcome: &Value) -> [String; 2] {
    let content = json!([{ "type": "tool_use", "id": id, "name": tool, "input": input }]);
    let message = json!({ "role": "assistant", "content": content });
    let call = json!({ "type": "assistant", "message": message });
    let content = json!([{ "type": "tool_result", "tool_use_id": id, "content": "ok" }]);
    let message = json!({ "role": "user", "content": content });
    let result = json!({ "type": "user", "message": message, "tool_use_result": outcome });
    [call.to_string(), result.to_string()]
}

#[tokio::test]
async fn a_list_that_is_told_by_entries_comes_whole_with_the_words_for_what_is_under_way() {
    let created = |id: &str, subject: &str| json!({ "task": { "id": id, "subject": subject } });
    let changed = |id: &str, fields: Value, to: Option<&str>| {
        let mut outcome = json!({ "success": true, "taskId": id, "updatedFields": fields });
        if let Some(to) = to {
            outcome["statusChange"] = json!({ "from": "pending", "to": to });
        }
        outcome
    };
    let plan = json!({ "subject": "Plan", "description": "d", "activeForm": "Planning" });
    let build = json!({ "subject": "Build", "description": "d" });
    let start = json!({ "taskId": "1", "status": "in_progress" });
    let rename = json!({ "taskId": "2", "subject": "Build it", "activeForm": "Building" });
    let list = json!({ "tasks": [{ "id": "2", "subject": "Build it", "status": "pending" }] });
    let written = json!({ "todos": [
        { "content": "Test", "status": "pending", "activeForm": "Testing" },
    ] });
    let calls = [
        call("a", "TaskCreate", &plan, &created("1", "Plan")),
        call("b", "TaskCreate", &build, &created("2", "Build")),
        call("c", "TaskUpdate", &start, &changed("1", json!(["status"]), Some("in_progress"))),
        call("d", "TaskUpdate", &rename, &changed("2", json!(["subject", "activeForm"]), None)),
        call("e", "TaskUpdate", &json!({}), &changed("1", json!(["status"]), Some("deleted"))),
        call("f", "TaskList", &json!({}), &list),
        call("g", "TodoWrite", &written, &json!({})),
    ];
    let todo = |content: &str, status: &str, active_form: Option<&str>| {
        let mut todo = json!({ "content": content, "status": status });
        if let Some(active_form) = active_form {
            todo["activeForm"] = active_form.into();
        }
        todo
    };
    let planning = todo("Plan", "in_progress", Some("Planning"));
    let building = todo("Build it", "pending", Some("Building"));
    let expected = [
        json!([todo("Plan", "pending", Some("Planning"))]),
        json!([todo("Plan", "pending", Some("Planning")), todo("Build", "pending", None)]),
        json!([planning, todo("Build", "pending", None)]),
        json!([planning, building]),
        json!([building]),
        json!([building]),
        json!([todo("Test", "pending", Some("Testing"))]),
    ];
    let init = json!({ "type": "system", "subtype": "init", "session_id": "s" }).to_string();
    let end = json!({ "type": "result", "subtype": "success", "is_error": false, "result": "r" });
    let lines: Vec<_> =
        [init].into_iter().chain(calls.into_iter().flatten()).chain([end.to_string()]).collect();
    let env = TestEnv::new();
    let script = scripted_agent::pausing(&env, &(lines.join("\n") + "\n"));
    let arguments = ["--claude-path", script.to_str().unwrap(), "--stop-grace", "1s"];
    let place = HubDirectory::with(&[], &arguments, &[]);
    let (hub, _, agent) = place.start_with_agent("a").await;
    let mut socket = hub.connect().await;
    hub.say(&agent, "go").await;
    let (events, _) = socket.until("agent_done").await;
    let lists: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "agent_todos")
        .map(|event| event["todos"].clone())
        .collect();
    assert_eq!(lists, expected);
    hub.stop().await;
    place.assert_no_orphans();
}
