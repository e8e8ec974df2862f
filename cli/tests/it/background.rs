//! One question, and background tasks that its answer leaves running.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::program::{command, signal, told, wait_for_line};
use crate::support::scripted_relay::ScriptedRelay;
use crate::support::soon;

/// Reports the background tasks that run.
async fn tasks(relay: &mut ScriptedRelay, tasks: Value) {
    relay
        .line(json!({ "type": "system", "subtype": "background_tasks_changed", "tasks": tasks }))
        .await;
}

/// Answers the question and leaves a task running.
async fn answer(relay: &mut ScriptedRelay) {
    let (_, uuid) = relay.message().await;
    relay.begins().await;
    tasks(relay, json!([{ "task_id": "t", "task_type": "local_agent" }])).await;
    relay.says("Begun.").await;
    relay.ends(Some(&uuid)).await;
}

#[tokio::test]
async fn the_program_ends_after_the_task_and_prints_the_answer_alone() {
    let mut relay = ScriptedRelay::start().await;
    let mut child = command(&relay.fake.url).arg("go").spawn().unwrap();
    answer(&mut relay).await;
    // It has nothing to wait for but the task.
    wait_for_line(&mut child, "waiting for background tasks").await;
    tasks(&mut relay, json!([])).await;
    relay.begins().await;
    relay.says("THE TESTS HAVE FAILED").await;
    relay.ends(None).await;
    let (code, stdout, _) = told(soon(child.wait_with_output()).await.unwrap());
    assert_eq!((code, stdout.as_str()), (0, "Begun.\n"));
}

/// An agent that names nothing has answered two messages at once: silence says so,
/// however often the program looks at its clock meanwhile.
#[tokio::test]
async fn an_answer_to_two_messages_at_once_ends_with_silence() {
    let mut relay = ScriptedRelay::start().await;
    let waiting = json!({ "type": "agent_state", "state": "running", "turn": null,
        "background_tasks": 0, "queued": [], "unnamed": 1 });
    relay.send(waiting).await;
    let child = command(&relay.fake.url).arg("go").spawn().unwrap();
    relay.message().await;
    relay.begins().await;
    relay.ends(Some(&json!("gone"))).await;
    relay.begins().await;
    relay.says("Both.").await;
    relay
        .line(json!({ "type": "result", "subtype": "success", "is_error": false, "result": "Both.",
        "num_turns": 1, "session_id": "s" }))
        .await;
    relay
        .send(json!({ "type": "agent_state", "state": "idle", "turn": null, "background_tasks": 0,
        "queued": [] }))
        .await;
    let (code, stdout, stderr) = told(soon(child.wait_with_output()).await.unwrap());
    assert_eq!((code, stdout.as_str()), (0, "Both.\n"), "{stderr}");
}

/// The agent tells at the end of a turn alone whose it was.
#[tokio::test]
async fn a_report_between_a_question_and_its_answer_is_not_printed() {
    for pieces in [false, true] {
        let mut relay = ScriptedRelay::start().await;
        let child = command(&relay.fake.url).arg("go").spawn().unwrap();
        let (_, uuid) = relay.message().await;
        for (text, uuid) in [("A REPORT", None), ("The answer.", Some(&uuid))] {
            relay.begins().await;
            if pieces {
                relay.streams(text).await;
            }
            relay.says(text).await;
            relay.ends(uuid).await;
        }
        let (code, stdout, _) = told(soon(child.wait_with_output()).await.unwrap());
        assert_eq!((code, stdout.as_str()), (0, "The answer.\n"), "in pieces: {pieces}");
    }
}

#[tokio::test]
async fn a_limit_ends_the_wait_and_says_that_something_runs() {
    let mut relay = ScriptedRelay::start().await;
    let child = command(&relay.fake.url).args(["--timeout=2s", "go"]).spawn().unwrap();
    answer(&mut relay).await;
    let (code, stdout, stderr) = told(soon(child.wait_with_output()).await.unwrap());
    assert_eq!((code, stdout.as_str()), (6, "Begun.\n"), "{stderr}");
    assert!(stderr.contains("still running"), "{stderr}");
}

#[tokio::test]
async fn a_signal_ends_the_wait_and_stops_the_tasks() {
    let mut relay = ScriptedRelay::start().await;
    let mut child = command(&relay.fake.url).arg("go").spawn().unwrap();
    answer(&mut relay).await;
    wait_for_line(&mut child, "waiting for background tasks").await;
    signal(&child, Signal::TERM);
    relay.receives("interrupt").await;
    let (code, stdout, _) = told(soon(child.wait_with_output()).await.unwrap());
    assert_eq!((code, stdout.as_str()), (143, "Begun.\n"));
}

#[tokio::test]
async fn with_no_wait_the_program_ends_with_the_answer() {
    let mut relay = ScriptedRelay::start().await;
    let child = command(&relay.fake.url).args(["--no-wait", "go"]).spawn().unwrap();
    answer(&mut relay).await;
    let (code, stdout, _) = told(soon(child.wait_with_output()).await.unwrap());
    assert_eq!((code, stdout.as_str()), (0, "Begun.\n"));
}
