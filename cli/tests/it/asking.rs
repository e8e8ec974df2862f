//! One question: denials, files, and several at once.

use std::sync::{Arc, Mutex};

use claude_relay_testing::fake_relay::FakeRelay;
use claude_relay_testing::relay_process::RelayProcess;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::program::{command, run, signal, told, wait_for_line};
use crate::support::scripted_relay::ScriptedRelay;
use crate::support::soon;

#[tokio::test]
async fn a_tool_that_was_not_allowed_is_told_and_can_be_a_failure() {
    let relay = RelayProcess::demo(&[]).await;
    let ask = r#"{"permission":"Bash"}"#;
    for (flags, code) in [(&["--json"][..], 0), (&["--json", "--fail-on-denial"], 1)] {
        let (exit, stdout, stderr) = run(command(&relay.url).arg(ask).args(flags)).await;
        let report: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(exit, code, "{stdout} {stderr}");
        assert_eq!(report["permission_denials"][0]["tool_name"], "Bash", "{report}");
        assert_eq!(report["is_error"], code == 1, "{report}");
    }
    let (code, stdout, stderr) = run(command(&relay.url).args([ask, "--fail-on-denial"])).await;
    assert_eq!(code, 1);
    assert!(stdout.contains("deny"), "the answer is printed all the same: {stdout}");
    assert!(stderr.contains("claude-relay: not allowed in this turn: Bash"), "{stderr}");
    assert!(!stderr.contains("failed:"), "the denial is told when it is made: {stderr}");
    // Nothing was denied, so nothing has failed.
    let (code, ..) = run(command(&relay.url).args(["hello", "--fail-on-denial"])).await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn a_turn_that_failed_says_why_and_is_not_called_interrupted() {
    for (subtype, more, expected) in [
        ("error_max_turns", json!({}), "the turn failed: error_max_turns"),
        ("error_during_execution", json!({ "errors": ["the disk is full"] }), "the disk is full"),
        ("error_during_execution", json!({ "errors": [] }), "the turn was interrupted"),
        ("success", json!({ "result": "API Error: 500" }), "the turn failed: API Error: 500"),
    ] {
        let mut relay = ScriptedRelay::start().await;
        let child = command(&relay.fake.url).arg("go").spawn().unwrap();
        let (_, uuid) = relay.message().await;
        relay.begins().await;
        let mut result = json!({
            "type": "result", "subtype": subtype, "is_error": true, "num_turns": 1,
            "session_id": "s", "user_message_uuids": [uuid],
        });
        result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        relay.line(result).await;
        let (code, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
        assert!(code == 1 && stderr.contains(expected), "{subtype}: {code} {stderr}");
    }
}

#[tokio::test]
async fn files_go_with_the_prompt_in_the_form_that_the_model_reads() {
    let received = Arc::<Mutex<Vec<Value>>>::default();
    let log = Arc::clone(&received);
    let relay = FakeRelay::relay(move |_, _, mut peer| {
        let log = Arc::clone(&log);
        async move {
            while let Some(message) = peer.message().await {
                let frame: Value = serde_json::from_str(&message).unwrap();
                if frame["type"] != "user_message" {
                    continue;
                }
                log.lock().unwrap().push(frame["data"]["message"]["content"].clone());
                let result = json!({
                    "type": "result", "subtype": "success", "is_error": false, "result": "ok",
                    "session_id": "s", "user_message_uuids": [frame["data"]["uuid"]],
                });
                peer.text(&format!(r#"{{"type":"sdk_message","seq":1,"data":{result}}}"#)).await;
            }
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (text, pdf) = (file("notes.md", "é".as_bytes()), file("a.pdf", b"%PDF-1.7 x"));
    let image = file("a.gif", b"GIF89a....");
    let mut command_ = command(&relay.url);
    command_.args(["-c", "look", "-f", &text, "--file", &pdf, "--file", &image]);
    let (code, stdout, stderr) = run(&mut command_).await;
    assert_eq!((code, stdout.as_str()), (0, "ok\n"), "{stderr}");
    let content = received.lock().unwrap()[0].clone();
    assert_eq!(content[0], json!({ "type": "text", "text": "The file notes.md:\n\né" }));
    assert_eq!(content[1]["title"], "a.pdf");
    assert_eq!(content[1]["source"]["media_type"], "application/pdf");
    assert_eq!(content[2]["source"]["media_type"], "image/gif");
    assert_eq!(content[3]["text"], "look");

    let missing = "/no/such/file";
    let (code, _, stderr) = run(command(&relay.url).args(["look", "--file", missing])).await;
    assert!(code == 2 && stderr.contains("cannot read"), "{code} {stderr}");
}

#[tokio::test]
async fn calls_at_the_same_time_wait_for_each_other_where_they_are_told_to() {
    let relay = RelayProcess::demo(&[]).await;
    let ask = |wait: &str, prompt: &str| {
        let mut command = command(&relay.url);
        command.args(["-v", "--wait", wait, prompt]);
        command
    };
    let mut first = ask("60s", r#"{"sleep_ms":60000}"#).spawn().unwrap();
    wait_for_line(&mut first, "connected").await;
    let (code, stdout, stderr) = run(&mut ask("3s", "too soon")).await;
    assert_eq!((code, stdout.as_str()), (3, ""), "{stderr}");
    assert!(stderr.contains("waiting for its end") && stderr.contains("--wait 5m"), "{stderr}");
    let mut second = ask("60s", "in its turn");
    let waiting = tokio::spawn(async move { run(&mut second).await });
    signal(&first, Signal::TERM);
    assert_eq!(soon(first.wait()).await.unwrap().code(), Some(143));
    let (code, stdout, stderr) = soon(waiting).await.unwrap();
    assert!(code == 0 && stdout.contains("“in its turn”"), "{stdout} {stderr}");
}

#[tokio::test]
async fn an_output_file_is_left_as_it_was_where_the_turn_never_began() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "before").unwrap();
    let (code, ..) = run(command("http://127.0.0.1:1").args(["hi", "-o"]).arg(file.path())).await;
    assert_eq!(code, 3);
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "before");
}
