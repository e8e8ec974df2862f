//! Failures: each is told once, with what to do, and has its exit code.

use std::process::Stdio;

use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::scripted_agent::executable;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;

use crate::support::program::{Told, command, piped, run, told};
use crate::support::scripted_relay::ScriptedRelay;
use crate::support::soon;

/// Asserts that stderr has one failure, with all these words.
fn tells_once(stderr: &str, words: &[&str]) {
    assert_eq!(stderr.matches("claude-relay:").count(), 1, "{stderr}");
    for word in words {
        assert_eq!(stderr.matches(word).count(), 1, "{word:?}: {stderr}");
    }
}

/// Fails in each of the three ways of asking, each at a server of its own, since an
/// agent that has failed is not started again at once.
async fn fails_everywhere(server: &[&str], prompt: &str, words: &[&str]) {
    for way in ["text", "json", "chat"] {
        let relay = RelayProcess::start(server, &[]).await;
        let mut command = command(&relay.url);
        let (code, stdout, stderr) = match way {
            "text" => run(command.arg(prompt)).await,
            "json" => run(command.args(["--json", prompt])).await,
            _ => piped(command.arg("chat"), format!("{prompt}\n").as_bytes()).await,
        };
        assert_eq!(code, i32::from(way != "chat"), "{way}: {stdout} {stderr}");
        if way == "json" {
            let report: Value = serde_json::from_str(&stdout).unwrap();
            let error = report["error"].as_str().unwrap();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
            assert_eq!(stderr, "");
        } else {
            assert_eq!(stdout, "", "{way}");
            tells_once(&stderr, words);
        }
    }
}

#[tokio::test]
async fn an_agent_that_ends_in_the_turn_is_told_once() {
    let words = ["exited with code 3", "The next message starts it again"];
    fails_everywhere(&["--demo"], r#"{"exit":3}"#, &words).await;
    let words = ["exited with code 4", "it broke"];
    fails_everywhere(&["--demo"], r#"{"stderr":"it broke","exit":4}"#, &words).await;
}

#[tokio::test]
async fn an_agent_that_cannot_be_started_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let server = ["--claude-path", missing.to_str().unwrap()];
    let words = ["was not found", "npm install -g", "Your message was not taken"];
    fails_everywhere(&server, "hi", &words).await;

    // It is started three times for the message.
    let stub = folder.path().join("stub");
    executable(&stub, "#!/bin/sh\necho 'native binary not installed' >&2\nexit 1\n");
    let server = ["--claude-path", stub.to_str().unwrap()];
    let words = ["native binary not installed", "3 times in a row", "was not run"];
    fails_everywhere(&server, "hi", &words).await;
}

/// Starts a long turn, and waits until the agent answers.
async fn long_turn(relay: &RelayProcess) -> Child {
    let mut child =
        command(&relay.url).arg(r#"{"n":1000000,"size":100,"rate":20}"#).spawn().unwrap();
    soon(child.stdout.as_mut().unwrap().read_u8()).await.unwrap();
    child
}

#[tokio::test]
async fn a_turn_that_another_client_takes_over_is_told_once() {
    let relay = RelayProcess::demo(&[]).await;
    let child = long_turn(&relay).await;
    let mut other = command(&relay.url).args(["--takeover", "-c", "hi"]).spawn().unwrap();
    let (code, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
    assert_eq!(code, 3, "{stderr}");
    tells_once(&stderr, &["nother client has taken over", "--takeover", "-c goes on"]);
    other.kill().await.unwrap();
}

#[tokio::test]
async fn a_turn_that_the_end_of_the_server_stops_is_told_once() {
    let relay = RelayProcess::demo(&[]).await;
    let child = long_turn(&relay).await;
    relay.signal(Signal::TERM);
    let (code, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
    assert_eq!(code, 1, "{stderr}");
    tells_once(&stderr, &["the turn was interrupted", "Server is shutting down"]);
}

/// Lets Claude Code say why there is no answer.
async fn refused_by_the_model(arguments: &[&str], why: &str) -> Told {
    let mut relay = ScriptedRelay::start().await;
    let child = command(&relay.fake.url).arg("go").args(arguments).spawn().unwrap();
    let (_, uuid) = relay.message().await;
    relay.begins().await;
    relay
        .line(json!({
            "type": "assistant", "parent_tool_use_id": null, "session_id": "s",
            "error": "authentication_failed",
            "message": {
                "role": "assistant", "model": "<synthetic>",
                "content": [{ "type": "text", "text": why }],
            },
        }))
        .await;
    relay
        .line(json!({
            "type": "result", "subtype": "success", "is_error": true, "num_turns": 1,
            "session_id": "s", "result": why, "user_message_uuids": [uuid],
        }))
        .await;
    told(soon(child.wait_with_output()).await.unwrap())
}

#[tokio::test]
async fn the_reason_for_no_answer_is_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out");
    std::fs::write(&file, "before").unwrap();
    let key = ["ANTHROPIC_API_KEY", "config set"];
    for (why, shown, advice) in [
        ("Not logged in · Please run /login", "Not logged in", &key[..]),
        ("Invalid API key · Fix external API key", "Invalid API key", &key[..]),
        ("There's an issue with the selected model (x).", "selected model (x)", &["-m NAME"]),
        ("API Error: 500 Internal server error", "API Error: 500 Internal server error", &[]),
    ] {
        for more in [&[][..], &["--no-stream"], &["--out", file.to_str().unwrap()]] {
            let (code, stdout, stderr) = refused_by_the_model(more, why).await;
            assert_eq!((code, stdout.as_str()), (1, ""), "{more:?}: {stderr}");
            tells_once(&stderr, &[&[shown], advice].concat());
            assert!(!stderr.contains("/login"), "{stderr}");
        }
        let (code, stdout, stderr) = refused_by_the_model(&["--json"], why).await;
        let report: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, stderr.as_str(), &report["text"]), (1, "", &json!(why)));
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "before");
}

#[tokio::test]
async fn a_chat_goes_on_after_a_turn_that_failed() {
    let relay = RelayProcess::demo(&[]).await;
    let lines = "{\"unknown\":1}\nhello\n";
    let (code, stdout, stderr) = piped(command(&relay.url).arg("chat"), lines.as_bytes()).await;
    assert!(code == 0 && stdout.contains("“hello”"), "{stdout} {stderr}");
    tells_once(&stderr, &["the turn failed"]);
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_is_a_failure() {
    let relay = RelayProcess::demo(&[]).await;
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let answers: [&[&str]; 12] = [
        &["hi"],
        &["hi", "--json"],
        &["hi", "--no-stream"],
        &["--help"],
        &["--version"],
        &["health"],
        &["health", "--json"],
        &["config", "get"],
        &["completions", "bash"],
        &["man"],
        &["skill"],
        &["chat"],
    ];
    for arguments in answers {
        let mut command = command(&relay.url);
        command.args(arguments).stdin(Stdio::piped()).stdout(full());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // Most do not read it, and may have ended by now.
        let _ = stdin.write_all(b"hi\n").await;
        drop(stdin);
        let (code, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
        assert_eq!(code, 1, "{arguments:?}: {stderr}");
        assert!(
            stderr.contains("cannot write to stdout: No space left"),
            "{arguments:?}: {stderr}"
        );
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    let (code, stdout, stderr) = run(command(&relay.url).args(["hi", "--out", "/dev/full"])).await;
    assert!(code == 1 && stdout.contains("“hi”") && stderr.contains("--out: cannot write"));
    let (code, _, stderr) =
        run(command(&relay.url).args(["hi", "--ndjson-file", "/dev/full"])).await;
    assert_eq!(code, 0, "the answer is whole");
    tells_once(&stderr, &["--ndjson-file: cannot write"]);
    // Nothing can be said, and the exit code says it.
    let (code, ..) = run(command("http://127.0.0.1:1").arg("hi").stderr(full())).await;
    assert_eq!(code, 3);
}
