//! `claude-relay --provider codex`: what a client for Codex alone promises its
//! users, line by line, with the real Codex. The tests name the
//! differences in spelling.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::codex::CodexFixture;
use crate::support::program::{told, wait_for_line};
use crate::support::soon;
use crate::support::terminal::{CTRL_C, CTRL_D, Terminal};
use claude_relay_testing::reply::Gate;
use claude_relay_testing::responses_api::Reply;

fn json(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// "Default mode streams deltas to stdout."
#[tokio::test]
async fn the_answer_streams_to_stdout() {
    let fixture = CodexFixture::start("unrestricted").await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["one ", "two"])]);
    let mut child = fixture.command(&["hi"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    gate.let_through(1);
    let mut first = [0; 4];
    soon(stdout.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"one ");
    gate.open();
    let mut rest = String::new();
    soon(stdout.read_to_string(&mut rest)).await.unwrap();
    assert_eq!((rest.as_str(), soon(child.wait()).await.unwrap().code()), ("two\n", Some(0)));
    fixture.relay.stop().await;
}

/// "`--no-stream` prints the final assistant text once at end of turn."
#[tokio::test]
async fn without_streaming_the_answer_comes_once_at_the_end() {
    let fixture = CodexFixture::start("unrestricted").await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["one ", "two"])]);
    let mut child = fixture.command(&["--no-stream", "-vv", "hi"]).spawn().unwrap();
    gate.let_through(1);
    // `-vv` shows that the first piece has come.
    let mut stderr = child.stderr.take().unwrap();
    let mut traffic = String::new();
    soon(async {
        let mut buffer = [0; 4096];
        while !traffic.contains("item/agentMessage/delta") {
            let count = stderr.read(&mut buffer).await.unwrap();
            assert!(count > 0, "it ended early: {traffic}");
            traffic += &String::from_utf8_lossy(&buffer[..count]);
        }
    })
    .await;
    let mut stdout = child.stdout.take().unwrap();
    let mut early = [0; 1];
    let nothing = tokio::time::timeout(Duration::from_millis(300), stdout.read(&mut early)).await;
    assert!(nothing.is_err(), "{early:?}");
    gate.open();
    tokio::spawn(async move {
        // Read on, or it could not go on writing.
        let _ = tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await;
    });
    let mut answer = String::new();
    soon(stdout.read_to_string(&mut answer)).await.unwrap();
    assert_eq!(answer, "one two\n");
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(0));
    fixture.relay.stop().await;
}

/// "`--json` prints a structured JSON object": `thread_id` is `session_id`.
#[tokio::test]
async fn json_for_programs() {
    let fixture = CodexFixture::start("unrestricted").await;
    fixture.api.script([Reply::reasoned("I think.", "An answer."), Reply::text("{\"a\":1}")]);
    let (code, stdout, stderr) = fixture.run(&["--json", "hi"]).await;
    let report = json(&stdout);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!((&report["status"], &report["text"]), (&"completed".into(), &"An answer.".into()));
    assert!(report["session_id"].is_string() && report["turn_id"].is_string(), "{report}");
    assert_eq!(report.get("error"), None);
    let metrics = &report["metrics"];
    // What was read from a cache is counted by itself.
    assert_eq!(
        (&metrics["input_tokens"], &metrics["cache_read_input_tokens"]),
        (&60.into(), &40.into())
    );
    assert_eq!(metrics["output_tokens"], 10);
    assert!(metrics["latency_ms"].is_u64());

    let schema =
        fixture.file("schema", r#"{"type":"object","properties":{"a":{"type":"integer"}}}"#);
    let (code, stdout, _) = fixture.run(&["--output-schema", &schema, "hi"]).await;
    assert_eq!((code, stdout.as_str()), (0, "{\"a\":1}\n"));
    let format = &fixture.api.request(2).await.body["text"]["format"];
    assert_eq!(
        (&format["type"], &format["schema"]["type"]),
        (&"json_schema".into(), &"object".into())
    );
    fixture.relay.stop().await;
}

/// "`--out FILE`", "`--ndjson-file FILE` appends", "`--summary`", and
/// `--print-thread-id`, which is `--print-session-id`.
#[tokio::test]
async fn files_and_facts_beside_the_answer() {
    let fixture = CodexFixture::start("unrestricted").await;
    fixture.api.script([Reply::text("An answer."), Reply::text("Another.")]);
    let (out, trace) = (fixture.file("out", ""), fixture.file("trace", ""));
    let files = ["--out", &out, "--ndjson-file", &trace];
    let facts = ["--summary", "--print-session-id", "hi"];
    let (code, stdout, stderr) = fixture.run(&[&files[..], &facts].concat()).await;
    assert_eq!((code, stdout.as_str()), (0, "An answer.\n"), "{stderr}");
    assert!(stderr.contains("100 tokens in, 10 out") && stderr.contains("SESSION_ID="), "{stderr}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "An answer.");

    let lines =
        || -> Vec<Value> { std::fs::read_to_string(&trace).unwrap().lines().map(json).collect() };
    let first = lines();
    assert!(first.iter().any(|line| {
        line["direction"] == "sent" && line["data"]["data"]["message"]["content"] == "hi"
    }));
    assert!(first.iter().any(|line| {
        line["direction"] == "received" && line["data"]["data"]["method"] == "turn/completed"
    }));
    assert_eq!(fixture.run(&[&files[..], &["more"]].concat()).await.0, 0);
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "Another.");
    let second = lines();
    assert!(second.len() > first.len() && second[..first.len()] == first[..]);
    fixture.relay.stop().await;
}

/// "`--prompt-file`"; "`-v` prints lifecycle, `-vv` raw traffic".
#[tokio::test]
async fn prompts_from_files_and_what_happens_meanwhile() {
    let fixture = CodexFixture::start("unrestricted").await;
    fixture.api.script([
        Reply::text("One."),
        Reply::text("Two."),
        Reply::reasoned("I think.", "Three."),
    ]);
    let file = fixture.file("prompt", "from a file");
    assert_eq!(fixture.run(&["--prompt-file", &file]).await.0, 0);
    let mut command = fixture.command(&["-c", "--prompt-file", "-"]);
    let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from a pipe").await.unwrap();
    assert_eq!(told(soon(child.wait_with_output()).await.unwrap()).1, "Two.\n");
    let (_, stdout, stderr) = fixture.run(&["-c", "-v", "hi"]).await;
    assert_eq!(stdout, "Three.\n");
    assert!(stderr.contains("connected") && stderr.contains("I think."), "{stderr}");
    let request = fixture.api.request(3).await;
    assert_eq!(request.user_texts(), ["from a file", "from a pipe", "hi"]);
    fixture.relay.stop().await;
}

/// "Reuse a persisted thread", `--thread-id`, which is `--resume`; "if a
/// resumed thread cannot be loaded, one-shot mode fails fast": exit code 1.
#[tokio::test]
async fn a_conversation_is_gone_on_with_or_not_at_all() {
    let fixture = CodexFixture::start("unrestricted").await;
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    let first = json(&fixture.run(&["--json", "First"]).await.1);
    let session = first["session_id"].as_str().unwrap();
    let (code, stdout, stderr) = fixture.run(&["--json", "--resume", session, "Second"]).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(json(&stdout)["session_id"], first["session_id"]);
    assert_eq!(fixture.api.request(2).await.user_texts(), ["First", "Second"]);

    for unknown in ["01a1faa1-6d0a-7902-91f3-6135ebca7a8f", "garbage"] {
        let (code, stdout, stderr) = fixture.run(&["--resume", unknown, "Third"]).await;
        assert_eq!((code, stdout.trim()), (1, ""), "{stderr}");
        assert!(stderr.contains("could not be resumed"), "{stderr}");
        assert!(stderr.contains(unknown), "the agent's own words: {stderr}");
    }
    fixture.relay.stop().await;
}

/// The client that has begun the running turn is gone, and the turn is of another
/// conversation.
#[tokio::test]
async fn a_conversation_is_gone_on_with_behind_a_turn_of_another() {
    let fixture = CodexFixture::start("unrestricted").await;
    let gate = Gate::closed();
    fixture.api.script([Reply::text("One."), Reply::gated(&gate, ["half of it", "the rest"])]);
    fixture.api.script([Reply::text("Three.")]);
    let first = json(&fixture.run(&["--json", "First"]).await.1);
    let mut gone = fixture.command(&["Second"]).spawn().unwrap();
    gate.let_through(1);
    assert_eq!(fixture.api.request(2).await.user_texts(), ["Second"]);
    gone.kill().await.unwrap();
    let resumed = ["--resume", first["session_id"].as_str().unwrap(), "-vv", "Third"];
    let mut child = fixture.command(&resumed).spawn().unwrap();
    // The server has it, behind the turn that runs.
    wait_for_line(&mut child, "> {\"type\":\"user_message\"").await;
    gate.open();
    let (code, stdout, stderr) = told(soon(child.wait_with_output()).await.unwrap());
    assert_eq!((code, stdout.as_str()), (0, "Three.\n"), "{stderr}");
    assert_eq!(fixture.api.request(3).await.user_texts(), ["First", "Third"]);
    fixture.relay.stop().await;
}

/// The exit codes; and without the faults of that client: error texts are not
/// empty, a timeout does not leave its turn running, Ctrl-C ends with 130.
#[tokio::test]
async fn exit_codes_and_what_they_say() {
    let fixture = CodexFixture::start("unrestricted").await;
    // Nothing scripted is an error of the model's API.
    let (code, stdout, stderr) = fixture.run(&["fail"]).await;
    assert_eq!((code, stdout.trim()), (1, ""));
    assert!(stderr.contains("the turn failed") && stderr.contains("scripted 400"), "{stderr}");
    let (code, stdout, stderr) = fixture.run(&["--json", "fail"]).await;
    let report = json(&stdout);
    assert_eq!((code, &report["status"], stderr.as_str()), (1, &"failed".into(), ""));
    assert_eq!(report["text"], "");
    assert!(report["error"].as_str().unwrap().contains("scripted 400"), "{report}");

    let not_json = fixture.file("not-json", "{");
    for (code, arguments, says) in [
        (2, &[][..], "nothing to ask"),
        (2, &["--no-such-flag", "hi"], "--no-such-flag"),
        (2, &["--prompt-file", "/no/such/file"], "/no/such/file"),
        (3, &["--url", "http://127.0.0.1:1", "hi"], "cannot connect"),
        (5, &["--output-schema", &not_json, "hi"], "not a JSON object"),
    ] {
        let (got, _, stderr) = fixture.run(arguments).await;
        assert_eq!(got, code, "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
    let mut other = fixture.plain(&["--provider", "other", "hi"]);
    let (code, _, stderr) = told(soon(other.output()).await.unwrap());
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("provider: expected one of"), "{stderr}");

    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["never"])]);
    let (code, _, stderr) = fixture.run(&["--timeout", "500ms", "hi"]).await;
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains("took longer"), "{stderr}");
    fixture.api.forget_replies();
    fixture.api.script([Reply::text("Free again.")]);
    assert_eq!(fixture.run(&["hi"]).await.1, "Free again.\n");

    fixture.api.script([Reply::gated(&gate, ["said ", "never"])]);
    let before = fixture.api.requests().len();
    let mut child = fixture.command(&["hi"]).spawn().unwrap();
    gate.let_through(1);
    fixture.api.request(before + 1).await;
    let mut said = [0; 5];
    let mut stdout = child.stdout.take().unwrap();
    soon(stdout.read_exact(&mut said)).await.unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(130));
    fixture.relay.stop().await;
}

/// Codex tries for ever; the relay does not, and says why the turn has ended.
#[tokio::test]
async fn a_model_out_of_reach_is_an_error_with_words() {
    let fixture = CodexFixture::out_of_reach().await;
    let (code, stdout, stderr) = fixture.run(&["--json", "hi"]).await;
    let report = json(&stdout);
    assert_eq!((code, &report["status"]), (1, &"interrupted".into()), "{stderr}");
    let error = report["error"].as_str().unwrap();
    assert!(error.contains("has not been reached for 1s"), "{report}");
    fixture.relay.stop().await;
}

/// "Command approvals are auto-declined, file-change approvals are
/// auto-declined, permission requests are denied."
#[tokio::test]
async fn without_somebody_to_ask_everything_is_declined() {
    let fixture = CodexFixture::start("ask").await;
    for call in [Reply::command("touch made"), Reply::new_file("made", "by a patch")] {
        fixture.api.script([call, Reply::text("Then not.")]);
        let (code, stdout, stderr) = fixture.run(&["make it"]).await;
        assert_eq!((code, stdout.as_str()), (0, "Then not.\n"), "{stderr}");
        assert!(stderr.contains("--interactive-approvals"), "{stderr}");
        let output = fixture.api.requests().pop().unwrap().tool_output();
        assert!(output.contains("rejected"), "{output}");
        assert!(!fixture.has_made("made"));
    }
    fixture.relay.stop().await;
}

/// "`--repl --interactive-approvals` enables prompt-based handling": `chat`.
/// That client's own questions never came.
#[tokio::test]
async fn approvals_are_asked_for_on_the_terminal() {
    let fixture = CodexFixture::start("ask").await;
    let arguments = ["chat", "--no-history", "--interactive-approvals", "--provider", "codex"];
    let mut terminal = Terminal::start(&fixture.relay.url, &arguments, false);
    let script = |call: Reply| fixture.api.script([call, Reply::text("Done.")]);

    script(Reply::command("touch yes"));
    terminal.shows("> ").await;
    terminal.types("Make it\r").await;
    let question = terminal.shows("Allow commandExecution? [y]es, [a]lways,").await;
    assert!(question.contains("touch yes"), "{question}");
    terminal.shows("turn: ").await;
    terminal.types("y\r").await;
    terminal.shows("Done.").await;
    assert!(fixture.has_made("yes"));

    script(Reply::new_file("no", "by a patch"));
    terminal.shows("> ").await;
    terminal.types("Make another\r").await;
    let question = terminal.shows("Allow fileChange?").await;
    assert!(question.contains("by a patch"), "{question}");
    terminal.shows("turn: ").await;
    terminal.types("n\r").await;
    terminal.shows("empty): ").await;
    terminal.types("\r").await;
    terminal.shows("Done.").await;
    assert!(!fixture.has_made("no"));

    // Once for all, in this session.
    script(Reply::command("touch always"));
    terminal.shows("> ").await;
    terminal.types("Make a third\r").await;
    terminal.shows("Allow commandExecution?").await;
    terminal.shows("turn: ").await;
    terminal.types("a\r").await;
    terminal.shows("Done.").await;
    script(Reply::command("touch always"));
    terminal.shows("> ").await;
    terminal.types("The same\r").await;
    let shown = terminal.shows("Done.").await;
    assert!(!shown.contains("Allow"), "{shown}");

    // Stopping the turn is an answer, too.
    fixture.api.script([Reply::command("touch stopped")]);
    terminal.shows("> ").await;
    terminal.types("Make a fourth\r").await;
    terminal.shows("Allow commandExecution?").await;
    terminal.shows("turn: ").await;
    terminal.types("s\r").await;
    terminal.shows("interrupted").await;
    assert!(!fixture.has_made("stopped"));
    terminal.shows("> ").await;
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
    fixture.relay.stop().await;
}

/// "REPL mode for repeated prompts on one connection": `/thread`, which is
/// `/session`, `/new`, `/exit` and `/quit`; a failed turn does not end it.
#[tokio::test]
async fn the_repl_and_its_commands() {
    let fixture = CodexFixture::start("unrestricted").await;
    fixture.api.script([
        Reply::text("One."),
        Reply::text("Two."),
        Reply::Error(400),
        Reply::text("Three."),
    ]);
    let chat = async |input: &str| {
        let mut command = fixture.command(&["chat", "--no-history", "--print-session-id"]);
        let mut child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        told(soon(child.wait_with_output()).await.unwrap())
    };
    let (code, stdout, stderr) =
        chat("first\nsecond\n/session\nfail\n/new\n/session\nthird\n/exit\nnever\n").await;
    assert_eq!(code, 0, "{stderr}");
    for answer in ["One.", "Two.", "Three."] {
        assert!(stdout.contains(answer), "{stdout}");
    }
    assert!(stderr.contains("scripted 400"), "{stderr}");
    let sessions: Vec<_> =
        stderr.lines().filter_map(|line| line.strip_prefix("SESSION_ID=")).collect();
    let [first, second, failed, third] = sessions[..] else { panic!("{stderr}") };
    assert_eq!((first, first), (second, failed));
    assert_ne!(first, third);
    // What `/session` prints: the id, and none after `/new`.
    assert_eq!(stderr.lines().filter(|line| *line == first).count(), 1, "{stderr}");
    assert!(stderr.contains("no conversation yet"), "{stderr}");
    assert_eq!(fixture.api.request(2).await.user_texts(), ["first", "second"]);
    assert_eq!(fixture.api.request(4).await.user_texts(), ["third"]);

    let (code, stdout, _) = chat("/quit\nnever\n").await;
    assert_eq!((code, stdout.contains("never")), (0, false));
    assert_eq!(fixture.api.requests().len(), 4);
    fixture.relay.stop().await;
}

/// Ctrl-C stops the turn and keeps the conversation.
#[tokio::test]
async fn ctrl_c_in_the_repl_stops_the_turn_alone() {
    let fixture = CodexFixture::start("unrestricted").await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["one ", "never"]), Reply::text("Next.")]);
    let arguments = ["chat", "--no-history", "--provider", "codex"];
    let mut terminal = Terminal::start(&fixture.relay.url, &arguments, false);
    terminal.shows("> ").await;
    terminal.types("First\r").await;
    gate.let_through(1);
    terminal.shows("one ").await;
    terminal.types(CTRL_C).await;
    terminal.shows("interrupting").await;
    terminal.shows("> ").await;
    terminal.types("Second\r").await;
    terminal.shows("Next.").await;
    assert_eq!(fixture.api.request(2).await.user_texts(), ["First", "Second"]);
    terminal.shows("> ").await;
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
    fixture.relay.stop().await;
}
