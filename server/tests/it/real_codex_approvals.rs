//! Questions of the real Codex: of each kind, with each answer.

use crate::support::codex::{CodexFixture, Home, Turn};
use claude_relay_testing::responses_api::Reply;
use serde_json::{Value, json};

async fn asking(config: Value) -> CodexFixture {
    CodexFixture::launched("ask", config, |launch, _| launch).await
}

async fn answer(fixture: &mut CodexFixture, question: &Value, mut answer: Value) {
    answer["type"] = json!("permission_response");
    answer["requestId"] = question["requestId"].clone();
    fixture.client.send(&answer).await;
}

/// One command, its question and the rest of the turn.
async fn command(fixture: &mut CodexFixture, file: &str, reply: Value) -> (Value, Turn) {
    fixture.api.script([Reply::command(&format!("touch {file}")), Reply::text("Done.")]);
    fixture.client.say("Go").await;
    let question = fixture.question().await;
    answer(fixture, &question, reply).await;
    (question, fixture.rest().await)
}

#[tokio::test]
async fn a_command_is_asked_about_and_each_answer_counts() {
    let mut fixture = asking(json!({})).await;
    let there = |fixture: &CodexFixture, file| fixture.env.workspace().join(file).exists();

    let (question, turn) = command(&mut fixture, "a", json!({ "approved": true })).await;
    assert_eq!(question["tool"], "commandExecution");
    let asked = question["input"]["command"].as_str().unwrap_or_default();
    assert!(asked.contains("touch a"), "{question}");
    assert_eq!(question["context"]["method"], "item/commandExecution/requestApproval");
    assert_eq!((turn.status(), there(&fixture, "a")), (&json!("completed"), true));

    let (_, turn) = command(&mut fixture, "b", json!({ "approved": false })).await;
    assert_eq!((turn.status(), there(&fixture, "b")), (&json!("completed"), false));
    assert_eq!(turn.items("commandExecution")[0]["status"], "declined");

    // The next reply is never asked for; it is left for the turn after.
    let no = json!({ "approved": false, "interrupt": true });
    let (_, turn) = command(&mut fixture, "c", no).await;
    assert_eq!((turn.status(), there(&fixture, "c")), (&json!("interrupted"), false));
    assert_eq!(fixture.turn("What was left").await.texts(), ["Done."]);

    // A changed command must not turn into the one that was asked about.
    let other = json!({ "approved": true, "updatedInput": { "command": "true" } });
    let (_, turn) = command(&mut fixture, "d", other).await;
    assert!(!there(&fixture, "d"));
    assert!(turn.errors().iter().any(|error| error.contains("changed input")), "{turn:?}");

    let always = json!({ "approved": true, "updatedPermissions": [{ "always": true }] });
    command(&mut fixture, "e", always).await;
    assert!(there(&fixture, "e"));
    fixture.api.script([Reply::command("touch e"), Reply::text("Again.")]);
    let turn = fixture.turn("The same").await;
    assert_eq!(turn.texts(), ["Again."]);
    assert!(turn.0.iter().all(|frame| frame["type"] != "permission_request"));
    fixture.end().await;
}

#[tokio::test]
async fn a_file_change_is_asked_about_with_its_diff() {
    let mut fixture = asking(json!({})).await;
    let file = fixture.env.workspace().join("made.txt");
    for (approved, made) in [(false, false), (true, true)] {
        fixture.api.script([Reply::new_file("made.txt", "by a patch"), Reply::text("Done.")]);
        fixture.client.say("Make it").await;
        let question = fixture.question().await;
        assert_eq!(question["tool"], "fileChange", "{question}");
        let change = &question["input"]["changes"][0];
        assert_eq!(change["path"], json!(file), "{question}");
        assert_eq!(change["diff"], "by a patch\n");
        answer(&mut fixture, &question, json!({ "approved": approved })).await;
        assert_eq!(fixture.rest().await.status(), "completed");
        assert_eq!(file.exists(), made);
    }
    fixture.end().await;
}

/// A Codex that may ask for more than its sandbox gives, and ask the user.
async fn permission_fixture() -> CodexFixture {
    let features = "request_permissions_tool = true\ndefault_mode_request_user_input = true";
    let home = Home { features, ..Home::default() };
    // If every command needs an approval, no permission can be asked for.
    let config = json!({ "permissionMode": "acceptEdits" });
    CodexFixture::at_home(home, "ask", config, |launch, _| launch).await
}

/// One call, the question it leads to, its answer, and what the model is told.
async fn told(fixture: &mut CodexFixture, call: &Reply, tool: &str, reply: Value) -> String {
    fixture.api.script([call.clone(), Reply::text("Done.")]);
    fixture.client.say("Go").await;
    let question = fixture.question().await;
    assert_eq!(question["tool"], tool, "{question}");
    answer(fixture, &question, reply).await;
    assert_eq!(fixture.rest().await.texts(), ["Done."]);
    fixture.api.requests().pop().expect("requests").tool_output()
}

#[tokio::test]
async fn more_permissions_are_asked_for_and_given_or_not() {
    let mut fixture = permission_fixture().await;
    let wanted = json!({ "network": { "enabled": true } });
    let call =
        Reply::tool("request_permissions", json!({ "reason": "updates", "permissions": wanted }));
    let no = told(&mut fixture, &call, "permissions", json!({ "approved": false })).await;
    assert!(!no.contains("true"), "{no}");
    let yes = told(&mut fixture, &call, "permissions", json!({ "approved": true })).await;
    assert!(yes.contains("enabled") && yes.contains("true") && yes.contains("turn"), "{yes}");
    let always = json!({ "approved": true, "updatedPermissions": [{ "always": true }] });
    let always = told(&mut fixture, &call, "permissions", always).await;
    assert!(always.contains("true") && always.contains("session"), "{always}");
    fixture.end().await;
}

#[tokio::test]
async fn a_question_of_the_model_is_answered() {
    let mut fixture = permission_fixture().await;
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
    let said = told(&mut fixture, &call, "requestUserInput", answered).await;
    assert!(said.contains("which") && said.contains("Second"), "{said}");
    let said = told(&mut fixture, &call, "requestUserInput", json!({ "approved": false })).await;
    assert!(!said.contains("Second"), "{said}");
    fixture.end().await;
}

#[tokio::test]
async fn an_interrupt_withdraws_the_question() {
    let mut fixture = asking(json!({})).await;
    fixture.api.script([Reply::command("touch a"), Reply::text("Next.")]);
    fixture.client.say("Go").await;
    let question = fixture.question().await;
    fixture.client.interrupt().await;
    let turn = fixture.rest().await;
    assert_eq!(turn.status(), "interrupted");
    let is_withdrawn = |frame: &Value| {
        frame["type"] == "permission_cancelled" && frame["requestId"] == question["requestId"]
    };
    if !turn.0.iter().any(is_withdrawn) {
        fixture.client.until(is_withdrawn).await;
    }
    // Too late: it decides nothing and is said to.
    answer(&mut fixture, &question, json!({ "approved": true })).await;
    fixture.client.until(|frame| frame["type"] == "error").await;
    assert_eq!(fixture.turn("On").await.texts(), ["Next."]);
    fixture.end().await;
}

#[tokio::test]
async fn a_question_nobody_answers_is_denied() {
    let quick = |launch: crate::support::relay::Launch, _: &_| {
        launch.argument("--permission-timeout").argument("300ms")
    };
    let mut fixture = CodexFixture::launched("ask", json!({}), quick).await;
    fixture.api.script([Reply::command("touch a"), Reply::text("Then not.")]);
    let turn = fixture.turn("Go").await;
    assert_eq!(turn.texts(), ["Then not."]);
    assert!(turn.0.iter().any(|frame| frame["type"] == "permission_cancelled"));
    assert!(!fixture.env.workspace().join("a").exists());
    fixture.end().await;
}

#[tokio::test]
async fn in_mode_agentic_the_sandbox_keeps_to_the_workspace() {
    let mut fixture = CodexFixture::launched("agentic", json!({}), |launch, _| launch).await;
    // Not in /tmp, where the sandbox lets commands write, and where the tests
    // themselves may have been built.
    let elsewhere = tempfile::tempdir_in("/var/tmp").expect("a directory of ours");
    let outside = elsewhere.path().join("outside");
    fixture.api.script([
        Reply::command("touch inside"),
        Reply::command(&format!("touch {}", outside.display())),
        Reply::text("Done."),
    ]);
    let turn = fixture.turn("Go").await;
    assert_eq!(turn.texts(), ["Done."]);
    assert!(turn.0.iter().all(|frame| frame["type"] != "permission_request"));
    let said = fixture.api.request(2).await.tool_output();
    assert!(fixture.env.workspace().join("inside").exists(), "{said}");
    assert!(!outside.exists());
    fixture.end().await;
}

#[tokio::test]
async fn permission_modes_beyond_the_servers_are_refused() {
    let fixture = asking(json!({})).await;
    let config = r#"{"provider":"codex","permissionMode":"bypassPermissions"}"#;
    let answer = crate::support::http::post(fixture.relay.address(), "/config", config).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    fixture.end_unchecked().await;
}
