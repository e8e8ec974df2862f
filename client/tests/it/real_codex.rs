//! Through the real server with the real Codex, which talks to a Responses
//! API of the tests. `scripts/test --tools` says where Codex is.

use std::process::Stdio;

use claude_relay_client::{Decision, ServerMessage, View};
use serde_json::Value;
use tokio::process::Command;

use crate::support::cli_kit::codex_home::{prepare_home, variables};
use crate::support::cli_kit::place::Place;
use crate::support::cli_kit::reply::Gate;
use crate::support::cli_kit::responses_api::{Reply, ResponsesApi};
use crate::support::cli_kit::tools;
use crate::support::real::Relay;
use crate::support::{client, soon};

/// A server with Codex behind it.
struct Scene {
    relay: Relay,
    api: ResponsesApi,
    _place: Place,
}

impl Scene {
    async fn start(mode: &str) -> Self {
        let (api, place) = (ResponsesApi::start(), Place::new());
        prepare_home(&place, &api.url());
        let mut environment = place.environment();
        environment.extend(variables(&place).map(|(name, value)| (name.to_owned(), value)));
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let path = tools::codex();
        let arguments = ["--codex-path", path.to_str().unwrap(), "--mode", mode];
        let relay = Relay::start(&arguments, &environment).await;
        Self { relay, api, _place: place }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claude-relay"));
        command
            .env_clear()
            .env("CLAUDE_RELAY_URL", &self.relay.url)
            .args(["--provider", "codex"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Exit code, stdout and stderr of the command line.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        told(soon(self.command(arguments).output()).await.unwrap())
    }
}

fn told(output: std::process::Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn views_and_answers_are_as_for_claude() {
    let scene = Scene::start("ask").await;
    scene.api.script([
        Reply::new_file("made.txt", "by a patch"),
        Reply::reasoned("I have thought.", "Made it."),
        Reply::text("And again."),
    ]);
    let builder = client(&scene.relay.url).on_permission(|request| async move {
        assert_eq!(request.tool, "fileChange");
        assert!(request.input.get().contains("by a patch"), "{:?}", request.input);
        Decision::allow()
    });
    let client = builder.configure(|c| c.provider = Some("codex".into())).start();
    let client = soon(client).await.unwrap();
    let mut turn = soon(client.turn("Make it")).await.unwrap();
    let (mut deltas, mut thinking, mut files, mut tools) =
        (String::new(), String::new(), Vec::new(), Vec::new());
    while let Some(message) = soon(turn.next()).await {
        let ServerMessage::Sdk(message) = message.unwrap() else { continue };
        for view in message.views() {
            match view {
                View::TextDelta { text, .. } => deltas += &text,
                View::Thinking { text, .. } => thinking += &text,
                View::FileChange { path, created, content } => {
                    files.push((path.into_owned(), created, content.map(Into::into)));
                }
                View::ToolUse { name, .. } => tools.push(name.into_owned()),
                _ => {}
            }
        }
    }
    let answer = turn.answer().clone();
    assert_eq!((deltas.as_str(), answer.text.as_str()), ("Made it.", "Made it."));
    assert_eq!((thinking.as_str(), tools), ("I have thought.", vec!["fileChange".to_owned()]));
    assert!(files[0].0.ends_with("made.txt") && files[0].1, "{files:?}");
    assert_eq!(files[0].2, Some("by a patch\n".to_owned()));
    assert_eq!((answer.usage.output_tokens, answer.usage.cache_read_input_tokens), (20, 80));
    assert_eq!(answer.num_turns, Some(2));

    let second = soon(client.ask("More")).await.unwrap();
    assert_eq!(second.text, "And again.");
    assert_eq!(answer.session_id, second.session_id);
    soon(client.stop()).await;
    scene.relay.stop().await;
}

#[tokio::test]
async fn two_questions_at_once_get_their_own_answers() {
    let scene = Scene::start("ask").await;
    let gate = Gate::closed();
    scene.api.script([Reply::gated(&gate, ["One."]), Reply::text("Two.")]);
    let client = client(&scene.relay.url).configure(|c| c.provider = Some("codex".into())).start();
    let client = soon(client).await.unwrap();
    let first = soon(client.turn("First")).await.unwrap();
    let second = soon(client.turn("Second")).await.unwrap();
    scene.api.request(1).await;
    gate.open();
    let (first, second) = soon(async { tokio::join!(first.finish(), second.finish()) }).await;
    assert_eq!((first.unwrap().text.as_str(), second.unwrap().text.as_str()), ("One.", "Two."));
    soon(client.stop()).await;
    scene.relay.stop().await;
}

/// What the client for Codex alone promises, line by line.
#[tokio::test]
async fn the_command_line_and_its_exit_codes() {
    let scene = Scene::start("unrestricted").await;
    scene.api.script([Reply::text("Plain."), Reply::text("As JSON."), Reply::text("Resumed.")]);
    let (code, stdout, stderr) = scene.run(&["--summary", "--print-session-id", "hi"]).await;
    assert_eq!((code, stdout.as_str()), (0, "Plain.\n"), "{stderr}");
    assert!(stderr.contains("100 tokens in, 10 out") && stderr.contains("SESSION_ID="), "{stderr}");

    let (code, stdout, _) = scene.run(&["--json", "hi"]).await;
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &report["status"], &report["text"]),
        (0, &"completed".into(), &"As JSON.".into())
    );
    assert_eq!(report["metrics"]["output_tokens"], 10);

    let session = report["session_id"].as_str().unwrap();
    let (code, stdout, stderr) = scene.run(&["--resume", session, "on"]).await;
    assert_eq!((code, stdout.as_str()), (0, "Resumed.\n"), "{stderr}");
    let request = scene.api.requests().pop().unwrap();
    assert!(request.user_texts().contains(&"on") && request.user_texts().len() > 1);

    // A turn that fails says why.
    let (code, stdout, _) = scene.run(&["--json", "fail"]).await;
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["status"]), (1, &"failed".into()));
    assert!(report["error"].as_str().unwrap().contains("scripted 400"), "{report}");

    assert_eq!(scene.run(&[]).await.0, 2);
    assert_eq!(scene.run(&["--provider", "other", "hi"]).await.0, 2);
    assert_eq!(scene.run(&["--url", "http://127.0.0.1:1", "hi"]).await.0, 3);
    assert_eq!(scene.run(&["--output-schema", "/proc/self/maps", "hi"]).await.0, 5);

    let gate = Gate::closed();
    scene.api.script([Reply::gated(&gate, ["never"])]);
    let (code, _, stderr) = scene.run(&["--timeout", "500ms", "hi"]).await;
    assert_eq!(code, 4, "{stderr}");

    scene.api.forget_replies();
    let before = scene.api.requests().len();
    scene.api.script([Reply::gated(&gate, ["never"])]);
    let child = scene.command(&["hi"]).spawn().unwrap();
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    scene.api.request(before + 1).await;
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(told(soon(child.wait_with_output()).await.unwrap()).0, 130);
    scene.relay.stop().await;
}

#[tokio::test]
async fn a_question_is_denied_where_nobody_can_be_asked() {
    let scene = Scene::start("ask").await;
    scene.api.script([Reply::command("touch made"), Reply::text("Then not.")]);
    let (code, stdout, stderr) = scene.run(&["make it"]).await;
    assert_eq!((code, stdout.as_str()), (0, "Then not.\n"), "{stderr}");
    assert!(stderr.contains("--interactive-approvals"), "{stderr}");
    let output = scene.api.request(2).await.tool_output();
    assert!(output.contains("rejected"), "{output}");
    scene.relay.stop().await;
}
