//! Questions of the real Codex: of each kind, with each answer.

use crate::support::codex::{CodexScene, Home, Turn};
use crate::support::responses_api::Reply;
use serde_json::{Value, json};

async fn asking(config: Value) -> CodexScene {
    CodexScene::launched("ask", config, |launch, _| launch).await
}

async fn answer(scene: &mut CodexScene, question: &Value, mut answer: Value) {
    answer["type"] = json!("permission_response");
    answer["requestId"] = question["requestId"].clone();
    scene.client.send(&answer).await;
}

/// One command, its question and the rest of the turn.
async fn command(scene: &mut CodexScene, file: &str, reply: Value) -> (Value, Turn) {
    scene.api.script([Reply::command(&format!("touch {file}")), Reply::text("Done.")]);
    scene.client.say("Go").await;
    let question = scene.question().await;
    answer(scene, &question, reply).await;
    (question, scene.rest().await)
}

#[tokio::test]
async fn a_command_is_asked_about_and_each_answer_counts() {
    let mut scene = asking(json!({})).await;
    let there = |scene: &CodexScene, file| scene.place.workspace().join(file).exists();

    let (question, turn) = command(&mut scene, "a", json!({ "approved": true })).await;
    assert_eq!(question["tool"], "commandExecution");
    let asked = question["input"]["command"].as_str().unwrap_or_default();
    assert!(asked.contains("touch a"), "{question}");
    assert_eq!(question["context"]["method"], "item/commandExecution/requestApproval");
    assert_eq!((turn.status(), there(&scene, "a")), (&json!("completed"), true));

    let (_, turn) = command(&mut scene, "b", json!({ "approved": false })).await;
    assert_eq!((turn.status(), there(&scene, "b")), (&json!("completed"), false));
    assert_eq!(turn.items("commandExecution")[0]["status"], "declined");

    // The next reply is never asked for; it is left for the turn after.
    let no = json!({ "approved": false, "interrupt": true });
    let (_, turn) = command(&mut scene, "c", no).await;
    assert_eq!((turn.status(), there(&scene, "c")), (&json!("interrupted"), false));
    assert_eq!(scene.turn("What was left").await.texts(), ["Done."]);

    // A changed command must not turn into the one that was asked about.
    let other = json!({ "approved": true, "updatedInput": { "command": "true" } });
    let (_, turn) = command(&mut scene, "d", other).await;
    assert!(!there(&scene, "d"));
    assert!(turn.errors().iter().any(|error| error.contains("changed input")), "{turn:?}");

    let always = json!({ "approved": true, "updatedPermissions": [{ "always": true }] });
    command(&mut scene, "e", always).await;
    assert!(there(&scene, "e"));
    scene.api.script([Reply::command("touch e"), Reply::text("Again.")]);
    let turn = scene.turn("The same").await;
    assert_eq!(turn.texts(), ["Again."]);
    assert!(turn.0.iter().all(|frame| frame["type"] != "permission_request"));
    scene.end().await;
}

#[tokio::test]
async fn a_file_change_is_asked_about_with_its_diff() {
    let mut scene = asking(json!({})).await;
    let file = scene.place.workspace().join("made.txt");
    for (approved, made) in [(false, false), (true, true)] {
        scene.api.script([Reply::new_file("made.txt", "by a patch"), Reply::text("Done.")]);
        scene.client.say("Make it").await;
        let question = scene.question().await;
        assert_eq!(question["tool"], "fileChange", "{question}");
        let change = &question["input"]["changes"][0];
        assert_eq!(change["path"], json!(file), "{question}");
        assert_eq!(change["diff"], "by a patch\n");
        answer(&mut scene, &question, json!({ "approved": approved })).await;
        assert_eq!(scene.rest().await.status(), "completed");
        assert_eq!(file.exists(), made);
    }
    scene.end().await;
}

/// A Codex that may ask for more than its sandbox gives, and ask the user.
async fn curious() -> CodexScene {
    let features = "request_permissions_tool = true\ndefault_mode_request_user_input = true";
    let home = Home { features, ..Home::default() };
    // Where every command is asked about there is nothing to ask for beforehand.
    let config = json!({ "permissionMode": "acceptEdits" });
    CodexScene::at_home(home, "ask", config, |launch, _| launch).await
}

/// One call, the question it leads to, its answer, and what the model is told.
async fn told(scene: &mut CodexScene, call: &Reply, tool: &str, reply: Value) -> String {
    scene.api.script([call.clone(), Reply::text("Done.")]);
    scene.client.say("Go").await;
    let question = scene.question().await;
    assert_eq!(question["tool"], tool, "{question}");
    answer(scene, &question, reply).await;
    assert_eq!(scene.rest().await.texts(), ["Done."]);
    scene.api.requests().pop().expect("requests").tool_output()
}

#[tokio::test]
async fn more_permissions_are_asked_for_and_given_or_not() {
    let mut scene = curious().await;
    let wanted = json!({ "network": { "enabled": true } });
    let call =
        Reply::tool("request_permissions", json!({ "reason": "news", "permissions": wanted }));
    let no = told(&mut scene, &call, "permissions", json!({ "approved": false })).await;
    assert!(!no.contains("true"), "{no}");
    let yes = told(&mut scene, &call, "permissions", json!({ "approved": true })).await;
    assert!(yes.contains("enabled") && yes.contains("true") && yes.contains("turn"), "{yes}");
    let always = json!({ "approved": true, "updatedPermissions": [{ "always": true }] });
    let always = told(&mut scene, &call, "permissions", always).await;
    assert!(always.contains("true") && always.contains("session"), "{always}");
    scene.end().await;
}

#[tokio::test]
async fn a_question_of_the_model_is_answered() {
    let mut scene = curious().await;
    let option = |label: &str| json!({ "label": label, "description": "One of them." });
    let call = Reply::tool(
        "request_user_input",
        json!({ "questions": [{
            "id": "which", "header": "Which", "question": "Which one?",
            "options": [option("First"), option("Second")],
        }] }),
    );
    let answers = json!({ "answers": { "which": "Second" } });
    let answered = json!({ "approved": true, "updatedInput": answers });
    let said = told(&mut scene, &call, "requestUserInput", answered).await;
    assert!(said.contains("which") && said.contains("Second"), "{said}");
    let said = told(&mut scene, &call, "requestUserInput", json!({ "approved": false })).await;
    assert!(!said.contains("Second"), "{said}");
    scene.end().await;
}

#[tokio::test]
async fn an_interrupt_withdraws_the_question() {
    let mut scene = asking(json!({})).await;
    scene.api.script([Reply::command("touch a"), Reply::text("Next.")]);
    scene.client.say("Go").await;
    let question = scene.question().await;
    scene.client.interrupt().await;
    let turn = scene.rest().await;
    assert_eq!(turn.status(), "interrupted");
    let is_withdrawn = |frame: &Value| {
        frame["type"] == "permission_cancelled" && frame["requestId"] == question["requestId"]
    };
    if !turn.0.iter().any(is_withdrawn) {
        scene.client.until(is_withdrawn).await;
    }
    // Too late: it decides nothing and is said to.
    answer(&mut scene, &question, json!({ "approved": true })).await;
    scene.client.until(|frame| frame["type"] == "error").await;
    assert_eq!(scene.turn("On").await.texts(), ["Next."]);
    scene.end().await;
}

#[tokio::test]
async fn a_question_nobody_answers_is_denied() {
    let quick = |launch: crate::support::relay::Launch, _: &_| {
        launch.argument("--permission-timeout").argument("300ms")
    };
    let mut scene = CodexScene::launched("ask", json!({}), quick).await;
    scene.api.script([Reply::command("touch a"), Reply::text("Then not.")]);
    let turn = scene.turn("Go").await;
    assert_eq!(turn.texts(), ["Then not."]);
    assert!(turn.0.iter().any(|frame| frame["type"] == "permission_cancelled"));
    assert!(!scene.place.workspace().join("a").exists());
    scene.end().await;
}

#[tokio::test]
async fn in_mode_agentic_the_sandbox_keeps_to_the_workspace() {
    let mut scene = CodexScene::launched("agentic", json!({}), |launch, _| launch).await;
    // Not in /tmp, where the sandbox lets commands write, and where the tests
    // themselves may have been built.
    let elsewhere = tempfile::tempdir_in("/var/tmp").expect("a directory of ours");
    let outside = elsewhere.path().join("outside");
    scene.api.script([
        Reply::command("touch inside"),
        Reply::command(&format!("touch {}", outside.display())),
        Reply::text("Done."),
    ]);
    let turn = scene.turn("Go").await;
    assert_eq!(turn.texts(), ["Done."]);
    assert!(turn.0.iter().all(|frame| frame["type"] != "permission_request"));
    let said = scene.api.request(2).await.tool_output();
    assert!(scene.place.workspace().join("inside").exists(), "{said}");
    assert!(!outside.exists());
    scene.end().await;
}

#[tokio::test]
async fn permission_modes_beyond_the_servers_are_refused() {
    let scene = asking(json!({})).await;
    let config = r#"{"provider":"codex","permissionMode":"bypassPermissions"}"#;
    let answer = crate::support::http::post(scene.relay.address(), "/config", config).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    scene.end_unchecked().await;
}
