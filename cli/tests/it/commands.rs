//! The command line: what it prints where, and its exit codes.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::program::{command, piped, run, signal, told, wait_for_line};
use crate::support::soon;
use claude_relay_testing::fake_relay::{CONNECTED, FakeRelay};
use claude_relay_testing::relay_process::RelayProcess;

#[tokio::test]
async fn the_answer_is_on_stdout_and_everything_else_on_stderr() {
    let relay = RelayProcess::demo(&[]).await;
    for more in [&[][..], &["--partial"], &["--no-stream"]] {
        let (code, stdout, stderr) = run(command(&relay.url).arg("a tool please").args(more)).await;
        assert_eq!(code, 0, "{more:?}: {stderr}");
        assert_eq!(stdout.matches("a tool please").count(), 1, "{more:?}: {stdout}");
        assert!(stdout.ends_with('\n') && !stdout.contains("· Bash"), "{stdout}");
        assert!(stderr.contains("· Bash echo"), "{stderr}");
        assert!(!stderr.contains('\x1b') && !stdout.contains('\x1b'), "{stderr}");
    }
    let asked = run(command(&relay.url).args(["ask", "same"])).await;
    assert!(asked.0 == 0 && asked.1.contains("same"), "{asked:?}");
}

#[tokio::test]
async fn json_is_one_object_for_programs() {
    let relay = RelayProcess::demo(&[]).await;
    let (code, stdout, _) = run(command(&relay.url).args(["--json", "hi"])).await;
    assert_eq!(code, 0);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["status"], "completed");
    assert!(report["session_id"].is_string() && report["text"].as_str().unwrap().contains("hi"));
    let metrics = &report["metrics"];
    assert!(metrics["latency_ms"].is_u64() && metrics["output_tokens"].as_u64() > Some(0));
    assert!(metrics["cost_usd"].is_f64() && metrics["turns"] == 1);
    assert_eq!(metrics["cost_usd"], metrics["conversation_cost_usd"]);
    assert_eq!(report["is_error"], false);
    assert!(report["model"].is_string() && report["permission_denials"] == json!([]));
    assert!(report.get("notifications").is_none(), "{report}");

    // The cost of the turn is not known where others came before it.
    let (_, stdout, _) = run(command(&relay.url).args(["--json", "-c", "more"])).await;
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let metrics = &report["metrics"];
    assert!(metrics["cost_usd"].is_null(), "{metrics}");
    assert!(metrics["conversation_cost_usd"].is_f64(), "{metrics}");

    let (code, stdout, stderr) = run(command(&relay.url).args(["--json", r#"{"exit":3}"#])).await;
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, report["status"].as_str()), (1, Some("failed")));
    assert!(report["error"].as_str().unwrap().contains("exited with code 3"), "{stdout} {stderr}");
    assert_eq!(report["is_error"], true);

    let (code, stdout, stderr) = run(command("http://127.0.0.1:1").args(["--json", "hi"])).await;
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, report["status"].as_str()), (3, Some("failed")));
    assert_eq!(stderr, "");
}

#[tokio::test]
async fn each_failure_has_its_exit_code() {
    let relay = RelayProcess::demo(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let bad_utf8 = folder.path().join("bad");
    std::fs::write(&bad_utf8, b"\xff").unwrap();
    let bad_utf8 = bad_utf8.to_str().unwrap();
    for (code, arguments, says) in [
        (1, &[r#"{"unknown":1}"#][..], "the turn failed"),
        (2, &[][..], "nothing to ask"),
        (2, &[""], "the prompt is empty"),
        (2, &["  "], "the prompt is empty"),
        (2, &["Hello", "there"], "put quotes around it"),
        (2, &["ask", "Hello", "there"], "put quotes around it"),
        (2, &["Hello", "chat"], "put quotes around it"),
        (2, &["--out", "/no/such/folder/f", "hi"], "--out: cannot write /no/such/folder/f"),
        (2, &["--no-such-flag"], "--no-such-flag"),
        (2, &["--timeout", "90", "hi"], "did you mean 90s"),
        (2, &["config", "set", "modle=opus"], "did you mean \"model\""),
        (2, &["--sandbox", "hi"], "now called --e2b"),
        (2, &["--template", "mine", "hi"], "now called --e2b-template"),
        (2, &["--template=mine", "hi"], "now called --e2b-template"),
        (2, &["sandbox"], "now called `e2b`"),
        (2, &["sandbox", "ls"], "now called `e2b`"),
        (2, &["sandbox", "kill", "--all"], "now called `e2b`"),
        (2, &["helth"], "did you mean claude-relay health?"),
        (2, &["-t", "9s", "conversation"], "claude-relay -p conversation"),
        (2, &["status"], "did you mean claude-relay health?"),
        (2, &["--url", "", "hi"], "CLAUDE_RELAY_URL"),
        (2, &["-r", "", "hi"], "it is empty"),
        (2, &["-m", " ", "hi"], "it is empty"),
        (2, &["conversations", ""], "it is empty"),
        (2, &["--header", "nonsense", "hi"], "Name: value"),
        (2, &["--timeout", "soon", "hi"], "500ms"),
        (2, &["--url", "ftp://x", "hi"], "expected http"),
        (2, &["--prompt-file", "/no/such/file"], "/no/such/file"),
        (2, &["--prompt-file", "x", "hi"], "cannot be used with"),
        (2, &["--image", bad_utf8, "hi"], "neither PNG"),
        (2, &["--ndjson-file", "/no/such/folder/f", "hi"], "cannot write"),
        (2, &["--json", "health"], "options of `ask`"),
        (2, &["--url", "http://relay.invalid", "--token", "t", "hi"], "unencrypted"),
        (2, &["config", "set", "maxTurns=0"], "maxTurns"),
        (3, &["--url", "http://127.0.0.1:1", "hi"], "cannot connect"),
        (4, &["--timeout", "200ms", r#"{"sleep_ms":60000}"#], "took longer"),
        (5, &["--prompt-file", bad_utf8], "not UTF-8"),
        (5, &["--output-schema", bad_utf8, "hi"], "not a JSON object"),
        (5, &["config", "set", "--file", bad_utf8], "not UTF-8"),
    ] {
        let (got, _, stderr) = run(command(&relay.url).args(arguments)).await;
        assert_eq!(got, code, "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
}

#[tokio::test]
async fn an_agent_that_is_missing_ends_the_call_and_runs_nothing_later() {
    let folder = tempfile::tempdir().unwrap();
    let agent = folder.path().join("claude");
    let relay = RelayProcess::start(&["--claude-path", agent.to_str().unwrap()], &[]).await;
    let (code, stdout, stderr) = run(command(&relay.url).arg("hi")).await;
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains(agent.to_str().unwrap()), "{stderr}");
    let (code, health, _) = run(command(&relay.url).args(["health", "--json"])).await;
    let health: Value = serde_json::from_str(&health).unwrap();
    assert_eq!((code, &health["agent"]["waiting_messages"]), (0, &json!(0)), "{health}");
}

#[tokio::test]
async fn a_refusal_or_a_server_that_is_no_relay_is_a_connection_error() {
    for (status, says) in [
        ("200 OK", "no claude-relay server"),
        ("301 Moved Permanently\r\nLocation: https://elsewhere.example", "elsewhere.example"),
        ("401 Unauthorized", "another token"),
        ("502 Bad Gateway", "unavailable"),
    ] {
        let fake = FakeRelay::start(move |_, _, mut peer| async move {
            peer.answer(status, "text/html", "<html>hello</html>").await;
        })
        .await;
        let (code, _, stderr) = run(command(&fake.url).arg("hi")).await;
        assert_eq!(code, 3, "{stderr}");
        assert!(stderr.contains(says), "{stderr}");
    }
    let broken = FakeRelay::relay(|_, _, mut peer| async move {
        peer.message().await;
        peer.text("this is not JSON").await;
        peer.idle().await;
    })
    .await;
    assert_eq!(run(command(&broken.url).arg("hi")).await.0, 5);
}

#[tokio::test]
async fn a_prompt_comes_from_the_line_a_file_or_a_pipe() {
    let relay = RelayProcess::demo(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("prompt");
    std::fs::write(&file, "\u{feff}from the file").unwrap();
    let (code, stdout, _) = run(command(&relay.url).arg("--prompt-file").arg(&file)).await;
    assert!(code == 0 && stdout.contains("“from the file”"), "{stdout}");
    let (code, stdout, _) =
        piped(command(&relay.url).args(["--prompt-file", "-"]), b"from the pipe").await;
    assert!(code == 0 && stdout.contains("“from the pipe”"), "{stdout}");
    for words in [&["-"][..], &["ask", "-"]] {
        let (code, stdout, _) = piped(command(&relay.url).args(words), b"from the pipe").await;
        assert!(code == 0 && stdout.contains("“from the pipe”"), "{stdout}");
    }
    let (code, _, stderr) = piped(command(&relay.url).arg("-"), b"").await;
    assert!(code == 2 && stderr.contains("nothing to ask"), "{stderr}");
    let (code, stdout, _) = piped(command(&relay.url).arg("explain"), b"some text").await;
    assert!(code == 0 && stdout.contains("“explain\n\nsome text”"), "{stdout}");
    let (code, _, stderr) = piped(&mut command(&relay.url), b" \n").await;
    assert!(code == 2 && stderr.contains("nothing to ask"), "{stderr}");
    let (code, _, _) = piped(&mut command(&relay.url), b"\xff").await;
    assert_eq!(code, 5);
}

#[tokio::test]
async fn a_pipe_that_nobody_writes_to_does_not_hold_it_up() {
    let relay = RelayProcess::demo(&[]).await;
    let mut child = command(&relay.url)
        .arg("hi")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _open = child.stdin.take().unwrap();
    let (code, stdout, stderr) = told(soon(child.wait_with_output()).await.unwrap());
    assert!(code == 0 && stdout.contains("“hi”"), "{stderr}");
    assert!(stderr.contains("nothing came from stdin"), "{stderr}");
}

#[tokio::test]
async fn files_and_facts_for_programs() {
    let relay = RelayProcess::demo(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let (out, trace) = (folder.path().join("out"), folder.path().join("trace"));
    let (code, stdout, stderr) = run(command(&relay.url)
        .args(["hi", "--summary", "--print-session-id", "--out"])
        .arg(&out)
        .arg("--ndjson-file")
        .arg(&trace))
    .await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), stdout.trim_end());
    assert!(stderr.contains("SESSION_ID=") && stderr.contains(", 1 token in, "), "{stderr}");
    let lines = trace_lines(&trace);
    let sent: Vec<_> = lines.iter().filter(|line| line["direction"] == "sent").collect();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0]["data"]["data"]["message"]["content"], "hi");
    assert!(lines.iter().any(|line| line["data"]["data"]["type"] == "result"));
    assert!(lines.iter().all(|line| line["time"].is_u64()));

    // The trace is added to.
    let (code, _, stderr) =
        run(command(&relay.url).args(["hi", "-vv", "--ndjson-file"]).arg(&trace)).await;
    assert_eq!(code, 0);
    assert!(
        stderr.contains("> {\"type\":\"user_message\"")
            && stderr.contains("< {\"type\":\"sdk_message\"")
    );
    assert!(trace_lines(&trace).len() > lines.len());
}

fn trace_lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn without_options_of_the_agent_nothing_is_configured() {
    let relay = RelayProcess::demo(&[]).await;
    let (code, stdout, _) =
        run(command(&relay.url).args(["config", "set", "model=kept", "maxTurns=5"])).await;
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["maxTurns"], 5);
    // A key in the environment is no reason to replace it.
    run(command(&relay.url).arg("hi").env("ANTHROPIC_API_KEY", "sk-canary")).await;
    let (_, stdout, _) = run(command(&relay.url).args(["config", "get"])).await;
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["model"], "kept");
}

#[tokio::test]
async fn fields_of_the_configuration_are_set_read_and_removed_one_by_one() {
    let relay = RelayProcess::demo(&[]).await;
    let config = async |arguments: &[&str]| {
        let (code, stdout, stderr) = run(command(&relay.url).arg("config").args(arguments)).await;
        (code, serde_json::from_str::<Value>(&stdout).unwrap_or_default(), stderr)
    };
    config(&["set", "anthropicApiKey=sk-1", "maxTurns=5", "model=a"]).await;
    let (code, shown, _) = config(&["set", "model=b"]).await;
    assert_eq!((code, &shown["model"], &shown["maxTurns"]), (0, &"b".into(), &5.into()));
    let answer = http_secrets(&relay.url).await;
    assert_eq!(answer["secrets"], serde_json::json!(["anthropicApiKey"]), "the key is kept");
    let (_, shown, stderr) = config(&["get"]).await;
    assert_eq!(shown, serde_json::json!({"model":"b","maxTurns":5}));
    assert!(stderr.contains("set, and not shown: anthropicApiKey"), "{stderr}");

    assert_eq!(config(&["get", "model"]).await.1, "b");
    assert_eq!(config(&["get", "cwd"]).await.1, Value::Null);
    let (code, shown, _) = config(&["unset", "maxTurns", "anthropicApiKey"]).await;
    assert_eq!((code, shown), (0, serde_json::json!({"model":"b"})));
    for arguments in [&["set", "modle=c"][..], &["unset", "modle"], &["get", "modle"]] {
        let (code, _, stderr) = config(arguments).await;
        assert_eq!(code, 2, "{arguments:?}");
        assert!(stderr.contains("did you mean \"model\"?"), "{stderr}");
    }
    let (code, _, stderr) = config(&["set", "quite=other"]).await;
    assert_eq!(code, 2, "{stderr}");
    assert_eq!(config(&["get"]).await.1, serde_json::json!({"model":"b"}), "nothing has changed");
    let (_, shown, _) = config(&["set", "--replace", "maxTurns=3"]).await;
    assert_eq!(shown, serde_json::json!({"maxTurns":3}));
}

/// The server's own answer about its configuration.
async fn http_secrets(url: &str) -> Value {
    let builder = claude_relay_client::Client::builder().connection_url(url);
    let nothing = claude_relay_client::RawJson::new("{}").unwrap();
    let configured = builder.patch_configuration(nothing).await.unwrap();
    serde_json::json!({ "secrets": configured.secrets })
}

#[tokio::test]
async fn without_somebody_to_ask_a_tool_is_denied_and_the_flag_named() {
    let relay = RelayProcess::demo(&[]).await;
    let (code, stdout, stderr) = run(command(&relay.url).arg(r#"{"permission":"Bash"}"#)).await;
    assert_eq!(code, 0);
    assert!(stdout.contains("deny") && stdout.contains("--interactive-approvals"), "{stdout}");
    assert!(stderr.contains("--interactive-approvals"), "{stderr}");
}

#[tokio::test]
async fn ctrl_c_once_stops_the_turn_and_twice_the_program() {
    let relay = RelayProcess::demo(&[]).await;
    let start = |script: &str| {
        let mut command = command(&relay.url);
        command.args(["-v", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let interrupt = |child: &tokio::process::Child| signal(child, Signal::INT);
    // What was said before is printed, and the agent answers the next one.
    let mut child = start(r#"{"echo":true,"note":"said before","sleep_ms":1}"#);
    soon(child.wait()).await.unwrap();
    let mut child = start(r#"{"sleep_ms":60000}"#);
    wait_for_line(&mut child, "connected").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    interrupt(&child);
    let (code, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
    assert_eq!(code, 130, "{stderr}");

    // A server that does not react is left by a second one.
    let deaf = FakeRelay::start(|_, request, mut peer| async move {
        if request.path == "/health" {
            return peer.health().await;
        }
        peer.upgrade(&request).await;
        peer.text(CONNECTED).await;
        peer.idle().await;
    })
    .await;
    let mut child = command(&deaf.url)
        .args(["-v", "hi"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_line(&mut child, "connected").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    interrupt(&child);
    wait_for_line(&mut child, "interrupting").await;
    interrupt(&child);
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(130));
}

#[tokio::test]
async fn sigterm_and_sighup_interrupt_the_turn_as_ctrl_c_does() {
    let relay = RelayProcess::demo(&[]).await;
    for (number, code) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        let mut child = command(&relay.url).args(["-v", r#"{"sleep_ms":60000}"#]).spawn().unwrap();
        wait_for_line(&mut child, "connected").await;
        // The turn may not have begun; it is interrupted all the same.
        signal(&child, number);
        let (got, _, stderr) = told(soon(child.wait_with_output()).await.unwrap());
        assert_eq!(got, code, "{number:?}: {stderr}");
        // Nothing of it is left in the way of the next one.
        let (got, stdout, stderr) = run(command(&relay.url).args(["-t", "20s", "next"])).await;
        assert!(got == 0 && stdout.contains("“next”"), "{number:?}: {stdout} {stderr}");
    }
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let (code, _, stderr) = run(command("http://127.0.0.1:1").arg("hi")).await;
    assert!(code == 3 && stderr.contains("CLAUDE_RELAY_URL"), "{stderr}");
    let relay = RelayProcess::demo(&["--auth-token", "0123456789"]).await;
    let (code, _, stderr) = run(command(&relay.url).arg("hi")).await;
    assert!(code == 3 && stderr.contains("set CLAUDE_RELAY_TOKEN"), "{stderr}");
    let (code, _, stderr) = run(command(&relay.url).arg("hi").env("CLAUDE_RELAY_TOKEN", "x")).await;
    assert!(code == 3 && stderr.contains("CLAUDE_RELAY_TOKEN is wrong"), "{stderr}");
}

#[tokio::test]
async fn chat_reads_lines_knows_its_commands_and_ends_with_its_input() {
    let relay = RelayProcess::demo(&[]).await;
    let history = tempfile::NamedTempFile::new().unwrap();
    let input = "\nfirst\n  \n/session\n/model other\n/model\n/mode plan\n/mode bogus\n/config\n/help\n{\"exit\":3}\nlast\n";
    let (code, stdout, stderr) = piped(
        command(&relay.url).args(["chat", "--history"]).arg(history.path()),
        input.as_bytes(),
    )
    .await;
    assert_eq!(code, 0, "{stderr}");
    // A failed turn is no reason to leave.
    assert!(stdout.contains("“first”") && stdout.contains("“last”"), "{stdout}");
    assert!(stderr.contains("exited with code 3"), "{stderr}");
    assert!(stderr.contains("\nother\n"), "{stderr}");
    assert!(stderr.contains("refuses set_permission_mode"), "{stderr}");
    assert!(stderr.contains("/interrupt"), "{stderr}");
    assert!(std::fs::read_to_string(history.path()).unwrap().contains("/model other"));
    let (code, stdout, _) =
        piped(command(&relay.url).args(["chat", "--no-history"]), b"/exit\nnever").await;
    assert_eq!(code, 0);
    assert!(!stdout.contains("never"), "{stdout}");
}

#[tokio::test]
async fn help_version_completions_and_the_manual_page() {
    let nowhere = "http://127.0.0.1:1";
    for (arguments, says) in [
        (&["--help"][..], "Exit codes"),
        (&["--version"], concat!("claude-relay ", env!("CARGO_PKG_VERSION"))),
        (&["completions", "bash"], "complete -F"),
        (&["completions", "zsh"], "#compdef claude-relay"),
        (&["completions", "fish"], "complete -c claude-relay"),
        (&["man"], ".TH claude-relay"),
        (&["man", "chat"], ".TH claude-relay-chat"),
        (&["man", "e2b kill"], ".TH claude-relay-e2b-kill"),
        (&["skill"], "name: ask-another-agent"),
    ] {
        let (code, stdout, stderr) = run(command(nowhere).args(arguments)).await;
        assert!(code == 0 && stdout.contains(says), "{arguments:?}: {stdout} {stderr}");
    }
    // A token from the environment is not shown.
    let (_, stdout, _) =
        run(command(nowhere).arg("--help").env("CLAUDE_RELAY_TOKEN", "hunter2")).await;
    assert!(!stdout.contains("hunter2"));
}

#[tokio::test]
async fn the_flags_of_similar_programs_are_taken() {
    let relay = RelayProcess::demo(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    std::fs::write(&out, "what was there before, which is longer than any answer".repeat(100))
        .unwrap();
    let (code, stdout, stderr) = run(command(&relay.url)
        .args(["-p", "hi", "-m", "some-model", "-s", "Be brief.", "-t", "1m", "-o"])
        .arg(&out))
    .await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), stdout.trim_end());
    // A word near a subcommand is a prompt where it is said to be one.
    for arguments in [["-p", "helth"], ["--", "helth"]] {
        let (code, stdout, stderr) = run(command(&relay.url).args(arguments)).await;
        assert!(code == 0 && stdout.contains("“helth”"), "{stdout} {stderr}");
    }
    // A word that is near one by chance is a prompt, and an empty variable none of an
    // address that is given.
    let (code, stdout, stderr) = run(command("").args(["--url", &relay.url, "what"])).await;
    assert!(code == 0 && stdout.contains("“what”"), "{stdout} {stderr}");
}

#[tokio::test]
async fn health_is_told_to_people_in_words_and_to_programs_in_json() {
    let relay = RelayProcess::demo(&["--auth-token", "correct-horse"]).await;
    let with_token = |arguments: &[&str]| {
        let mut command = command(&relay.url);
        command.args(arguments).env("CLAUDE_RELAY_TOKEN", "correct-horse");
        command
    };
    let (code, stdout, stderr) = run(&mut with_token(&["health"])).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    for part in ["agent         the built-in agent", "mode          ask", "not trusted", &relay.url]
    {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    let (code, stdout, _) = run(&mut with_token(&["health", "--json"])).await;
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["mode"], "ask");
    // Without the token a server tells little, and that is told.
    let (code, stdout, _) = run(command(&relay.url).arg("health")).await;
    assert!(code == 0 && stdout.contains("CLAUDE_RELAY_TOKEN"), "{stdout}");
}
