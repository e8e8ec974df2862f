//! The begin and the end of what an agent does by itself: each is told once.

use claude_relay_testing::scripted_agent;
use claude_relay_testing::test_env::TestEnv;
use serde_json::{Value, json};

use crate::support::{Hub, HubDirectory, Socket};

fn text(text: &str, parent: Option<&str>) -> String {
    let content = json!([{ "type": "text", "text": text }]);
    let message = json!({ "role": "assistant", "content": content });
    json!({ "type": "assistant", "message": message, "parent_tool_use_id": parent }).to_string()
}

fn of_subagent(said: &str) -> String {
    text(said, Some("toolu_task"))
}

fn init() -> String {
    json!({ "type": "system", "subtype": "init", "session_id": "s" }).to_string()
}

fn result() -> String {
    json!({ "type": "result", "subtype": "success", "is_error": false, "result": "r" }).to_string()
}

fn permission_request() -> String {
    let request =
        json!({ "subtype": "can_use_tool", "tool_name": "Bash", "input": { "command": "ls" } });
    json!({ "type": "control_request", "request_id": "r", "request": request }).to_string()
}

/// A client of a hub whose agent has done a turn, and says these lines after it; the
/// empty ones are pauses.
async fn after_a_turn(env: &TestEnv, lines: &[String]) -> (HubDirectory, Hub, String, Socket) {
    let turn = [init(), text("the turn", None), result(), String::new()];
    let lines = [&turn, lines].concat().join("\n") + "\n";
    let script = scripted_agent::pausing(env, &lines);
    let arguments = ["--claude-path", script.to_str().unwrap(), "--stop-grace", "1s"];
    let place = HubDirectory::with(&[], &arguments, &[]);
    let (hub, _, agent) = place.start_with_agent("a").await;
    let mut socket = hub.connect().await;
    hub.say(&agent, "go").await;
    let (before, _) = socket.until("agent_done").await;
    assert_eq!(before.iter().filter(|event| event["type"] == "agent_working").count(), 1);
    (place, hub, agent, socket)
}

/// The types of the events up to this text.
async fn kinds_until(socket: &mut Socket, text: &str) -> Vec<String> {
    let mut kinds = Vec::new();
    loop {
        let event = socket.next().await;
        if event["text"] == text {
            return kinds;
        }
        kinds.push(event["type"].as_str().unwrap().to_owned());
    }
}

#[tokio::test]
async fn who_waits_for_a_person_beside_a_turn_is_not_done() {
    let env = TestEnv::new();
    let lines = [
        of_subagent("before"),
        permission_request(),
        of_subagent("at once"),
        String::new(),
        of_subagent("later"),
    ];
    let (place, hub, agent, mut socket) = after_a_turn(&env, &lines).await;
    kinds_until(&mut socket, "before").await;
    let asked = kinds_until(&mut socket, "at once").await;
    assert_eq!(asked, ["agent_working", "permission_request"]);
    assert!(kinds_until(&mut socket, "later").await.is_empty());
    hub.until_status(&agent, "waiting").await;
    let requests = hub.ok("GET", "/api/permissions", Value::Null).await;
    let path = format!("/api/permissions/{}", requests[0]["requestId"].as_str().unwrap());
    hub.ok("POST", &path, json!({ "approved": false })).await;
    let (before, _) = socket.until("agent_done").await;
    assert!(before.is_empty(), "{before:?}");
    hub.until_status(&agent, "idle").await;
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn lines_of_a_subagent_begin_and_end_no_turn() {
    let env = TestEnv::new();
    let lines = ["one", "two", "three"].map(of_subagent);
    let (place, hub, agent, mut socket) = after_a_turn(&env, &lines).await;
    let kinds = kinds_until(&mut socket, "three").await;
    assert_eq!(kinds, ["agent_text", "agent_text"]);
    hub.until_status(&agent, "idle").await;
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn a_turn_of_the_agents_own_begins_and_ends_once() {
    let env = TestEnv::new();
    // The relay tells of a turn at most every 100 ms: of this one not at all.
    let mut lines = vec![init()];
    lines.extend(["one", "two", "three"].map(|said| text(said, None)));
    lines.extend([result(), String::new(), of_subagent("behind")]);
    let (place, hub, agent, mut socket) = after_a_turn(&env, &lines).await;
    let kinds = kinds_until(&mut socket, "behind").await;
    let expected = ["agent_working", "agent_text", "agent_text", "agent_text", "agent_done"];
    assert_eq!(kinds, expected);
    hub.until_status(&agent, "idle").await;
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn an_agent_that_says_something_without_a_turn_does_not_work_for_ever() {
    let env = TestEnv::new();
    let lines = [text("one", None), text("two", None)];
    let (place, hub, agent, mut socket) = after_a_turn(&env, &lines).await;
    let (before, _) = socket.until("agent_done").await;
    let kinds: Vec<_> = before.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["agent_working", "agent_text", "agent_text"]);
    hub.until_status(&agent, "idle").await;
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn a_task_in_the_background_that_does_not_end_keeps_no_agent_for_ever() {
    let env = TestEnv::new();
    let task = json!({ "type": "system", "subtype": "task_started", "task_id": "b1",
        "task_type": "local_bash", "description": "tail -f log" });
    let turn = [init(), task.to_string(), text("the turn", None), result()];
    let script = scripted_agent::pausing(&env, &(turn.join("\n") + "\n"));
    let arguments = ["--claude-path", script.to_str().unwrap(), "--stop-grace", "1s"];
    // The relay tells of the task some time after the end of the turn.
    let bounds = [("RELAY_HUB_BACKGROUND_TIMEOUT", "8s"), ("RELAY_HUB_IDLE_TIMEOUT", "3s")];
    let place = HubDirectory::with(&[], &arguments, &bounds);
    let (hub, _, agent) = place.start_with_agent("a").await;
    let mut socket = hub.connect().await;
    hub.say(&agent, "go").await;
    socket.until("agent_done").await;
    // Longer than the idle timeout: the task counts.
    let (_, told) = socket.until("agent_error").await;
    let told = told["error"].as_str().unwrap();
    assert!(told.contains("--background-timeout"), "{told}");
    hub.until_status(&agent, "stopped").await;
    // The next message finds it again.
    hub.say(&agent, "again").await;
    socket.until("agent_done").await;
    hub.stop().await;
    place.assert_no_orphans();
}
