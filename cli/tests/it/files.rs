//! Files and a configuration that go along with a call.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::program::{Told, command, run};
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::wait::until_async;

/// The program in a directory of its own.
async fn call(relay: &RelayProcess, folder: &Path, arguments: &[&str]) -> Told {
    run(command(&relay.url).args(arguments).current_dir(folder)).await
}

async fn configuration(relay: &RelayProcess) -> Value {
    let (code, stdout, stderr) = run(command(&relay.url).args(["config", "get"])).await;
    assert_eq!(code, 0, "{stderr}");
    serde_json::from_str(&stdout).unwrap()
}

#[tokio::test]
async fn files_go_into_the_workspace_before_a_call_and_come_out_after_it() {
    let relay = RelayProcess::demo(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::create_dir_all(here.join("project/src")).unwrap();
    fs::write(here.join("project/src/a.txt"), "one\n").unwrap();
    fs::write(here.join("project/.env"), "KEY=1\n").unwrap();
    fs::create_dir_all(here.join("project/.git/hooks")).unwrap();
    for name in ["config", "HEAD", "hooks/pre-commit"] {
        fs::write(here.join("project/.git").join(name), "x").unwrap();
    }
    fs::write(here.join("notes.bin"), [0, 255]).unwrap();
    let up = ["--upload", "project", "--upload", "notes.bin"];
    let down = ["--download", "src", "--download", "notes.bin"];
    fs::create_dir(here.join("back")).unwrap();
    let arguments = [&up[..], &["Hello"]].concat();
    let (code, stdout, stderr) = call(&relay, here, &arguments).await;
    assert!(code == 0 && stdout.contains("Hello"), "{code}: {stderr}");
    assert!(stderr.contains("left out: project/.env ("), "{stderr}");
    // A directory of many files is named once.
    assert!(stderr.contains("left out: 2 more below project/.git\n"), "{stderr}");
    assert_eq!(stderr.matches("left out: ").count(), 3, "{stderr}");
    assert_eq!(fs::read(relay.workspace().join("src/a.txt")).unwrap(), b"one\n");
    assert!(!relay.workspace().join(".env").exists());
    let arguments = [&["ask"], &down[..], &["Hello"]].concat();
    let (code, _, stderr) = call(&relay, &here.join("back"), &arguments).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(fs::read(here.join("back/src/a.txt")).unwrap(), b"one\n");
    assert_eq!(fs::read(here.join("back/notes.bin")).unwrap(), [0, 255]);
    // What is missing fails the call after its answer, and keeps nothing else back.
    fs::remove_file(here.join("back/notes.bin")).unwrap();
    let arguments =
        [&["--download", "missing", "--download", ".."], &down[..], &["Hello"]].concat();
    let (code, stdout, stderr) = call(&relay, &here.join("back"), &arguments).await;
    assert!(code == 1 && stdout.contains("Hello"), "{code}: {stderr}");
    assert!(stderr.contains("--download missing: there is no \"missing\""), "{stderr}");
    assert!(stderr.contains("--download ..: name a file"), "{stderr}");
    assert!(here.join("back/notes.bin").exists());
    let (code, stdout, stderr) = call(&relay, here, &["--upload", "nowhere", "Hello"]).await;
    assert!(code == 2 && stdout.is_empty() && stderr.contains("nowhere"), "{code}: {stderr}");
}

#[tokio::test]
async fn a_workspace_that_takes_no_file_fails_the_call_before_the_message() {
    let relay = RelayProcess::demo(&["--mode", "safe"]).await;
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("project")).unwrap();
    fs::write(folder.path().join("project/a"), "one").unwrap();
    let arguments = ["--upload", "project", "Hello"];
    let (code, stdout, stderr) = call(&relay, folder.path(), &arguments).await;
    assert!(code == 1 && stdout.is_empty() && stderr.contains("safe"), "{code}: {stderr}");
}

#[tokio::test]
async fn a_file_that_no_message_can_hold_lies_in_the_workspace() {
    let relay = RelayProcess::demo(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data.tar.gz"), [0x1f, 0x8b, 0xff]).unwrap();
    fs::write(folder.path().join("a.txt"), "text").unwrap();
    let trace = folder.path().join("trace");
    for number in ["", "-2"] {
        let path = format!("attachments/data.tar{number}.gz");
        let arguments = ["-f", "data.tar.gz", "-f", "a.txt", "Hello"];
        let traced = ["--ndjson-file", trace.to_str().unwrap()];
        let (code, _, stderr) =
            call(&relay, folder.path(), &[&arguments[..], &traced].concat()).await;
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(fs::read(relay.workspace().join(&path)).unwrap(), [0x1f, 0x8b, 0xff]);
        let sent = fs::read_to_string(&trace).unwrap();
        assert!(sent.contains(&format!("is in the workspace as {path}.")), "{sent}");
        fs::remove_file(&trace).unwrap();
    }
    let many = ["-f", "a.txt"].repeat(101);
    let (code, _, stderr) = call(&relay, folder.path(), &[&many[..], &["Hello"]].concat()).await;
    assert!(code == 2 && stderr.contains("over 100 files"), "{code}: {stderr}");
}

#[tokio::test]
async fn a_configuration_file_holds_for_one_call_and_options_win_over_it() {
    let relay = RelayProcess::demo(&[]).await;
    let set = ["config", "set", "model=kept", r#"env={"KEPT":"secret"}"#];
    assert_eq!(run(command(&relay.url).args(set)).await.0, 0);
    let before = configuration(&relay).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.json");
    let trace = folder.path().join("trace");
    let write = |value: Value| fs::write(&file, format!("\u{feff}{value}")).unwrap();
    write(json!({
        "model": "of-the-file",
        "maxTurns": 3,
        "env": { "ADDED": "also secret" },
        "agents": { "reviewer": { "description": "Reviews", "prompt": "Review." } },
    }));
    let called = ["--config", "agent.json", "-m", "of-the-call", r#"{"rate":5,"n":5,"size":200}"#];
    let called = [&called[..], &["--ndjson-file", trace.to_str().unwrap()]].concat();
    let call_it = call(&relay, folder.path(), &called);
    let look = async {
        let mut now = Value::Null;
        until_async("the call is configured", async || {
            now = configuration(&relay).await;
            now["maxTurns"] == 3
        })
        .await;
        now
    };
    let ((code, _, stderr), during) = tokio::join!(call_it, look);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(during["model"], "of-the-call");
    assert!(during["env"]["ADDED"].is_string() && during["env"]["KEPT"].is_string(), "{during}");
    assert_eq!(configuration(&relay).await, before);

    for (value, code, told) in [
        (json!({"env": {"KEPT": "other"}}), 2, "env.KEPT of the server is secret"),
        (json!({"authToken": "t"}), 2, "--token"),
        (json!(["model"]), 5, "not an object of JSON"),
        (json!({"maxTurns": "three"}), 2, "maxTurns"),
    ] {
        write(value);
        let (ended, stdout, stderr) =
            call(&relay, folder.path(), &["--config", "agent.json", "Hello"]).await;
        assert!(ended == code && stdout.is_empty() && stderr.contains(told), "{ended}: {stderr}");
        assert_eq!(configuration(&relay).await, before);
    }
    fs::write(&file, "{\"anthropicApiKey\": \"sk-secret\" oops").unwrap();
    let (code, _, stderr) = call(&relay, folder.path(), &["--config", "agent.json", "Hello"]).await;
    assert!(code == 5 && stderr.contains("line 1") && !stderr.contains("sk-secret"), "{stderr}");
}
