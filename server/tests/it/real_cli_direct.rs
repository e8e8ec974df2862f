//! The real CLI against the tests' own Messages API, with no relay between:
//! if these fail, the harness is wrong and not the server.

use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::{TEST_KEY, TestEnv};
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A CLI on three pipes, spoken to as the official SDK does.
struct Conversation {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Conversation {
    async fn start(cli: Cli, env: &TestEnv, api: &MessagesApi) -> Self {
        let mut child = Command::new(cli.path())
            .args(["--output-format", "stream-json", "--verbose", "--input-format", "stream-json"])
            .args(["--setting-sources=project", "--permission-mode=bypassPermissions"])
            .arg("--allow-dangerously-skip-permissions")
            .env_clear()
            .envs(env.environment_with(api))
            .current_dir(env.workspace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the CLI starts");
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut conversation = Self { child, stdin, lines: BufReader::new(stdout).lines() };
        conversation
            .write(&json!({
                "request_id": "1", "type": "control_request",
                "request": { "subtype": "initialize", "systemPrompt": [""] },
            }))
            .await;
        conversation
    }

    async fn write(&mut self, frame: &Value) {
        let line = format!("{frame}\n");
        self.stdin.write_all(line.as_bytes()).await.expect("the CLI reads its stdin");
    }

    /// One turn: the lines up to its `result`.
    async fn turn(&mut self, text: &str) -> Vec<Value> {
        self.write(&json!({
            "type": "user", "message": { "role": "user", "content": text },
            "parent_tool_use_id": null, "session_id": "",
        }))
        .await;
        let mut lines = Vec::new();
        loop {
            let line = wait::within("a line of the CLI", self.lines.next_line()).await;
            let line = line.expect("stdout is UTF-8").expect("the CLI goes on to its result");
            let line: Value = serde_json::from_str(&line).expect("every line is JSON");
            let is_result = line["type"] == "result";
            lines.push(line);
            if is_result {
                return lines;
            }
        }
    }

    async fn end(self) {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        let status = wait::within("the CLI's exit", child.wait()).await.expect("a status");
        assert!(status.success(), "a conversation without errors ends with 0, not {status}");
    }
}

fn types(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|line| line["type"].as_str()).collect()
}

async fn text_turn(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    api.script([Reply::text("Hello from the test.")]);
    let mut conversation = Conversation::start(cli, &env, &api).await;
    let lines = conversation.turn("Hi").await;
    conversation.end().await;

    assert_eq!(types(&lines), ["control_response", "system", "assistant", "result"]);
    assert_eq!(lines[3]["result"], "Hello from the test.");
    let [request] = &api.turns()[..] else {
        panic!("one request of the turn: {:?}", api.requests())
    };
    assert_eq!(request.header("x-api-key"), TEST_KEY);
    assert!(request.tools().contains(&"Bash"), "{:?}", request.tools());
    let messages = request.user_messages();
    assert!(messages.iter().any(|m| m.to_string().contains("Hi")), "{messages:?}");
}

async fn tool_turn(cli: Cli) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    api.script([
        Reply::tool("Bash", json!({ "command": "echo from-a-tool > made", "description": "x" })),
        Reply::text("Done."),
    ]);
    let mut conversation = Conversation::start(cli, &env, &api).await;
    let lines = conversation.turn("Make a file").await;
    conversation.end().await;

    assert_eq!(
        types(&lines),
        ["control_response", "system", "assistant", "user", "assistant", "result"]
    );
    assert_eq!(lines[5]["num_turns"], 2);
    let made = std::fs::read_to_string(env.workspace().join("made")).expect("the tool's file");
    assert_eq!(made, "from-a-tool\n");
    assert_eq!(api.turns().len(), 2);
}

#[tokio::test]
async fn text_turn_with_the_newest_cli() {
    text_turn(Cli::Newest).await;
}

#[tokio::test]
async fn text_turn_with_the_oldest_cli() {
    text_turn(Cli::Oldest).await;
}

#[tokio::test]
async fn tool_turn_with_the_newest_cli() {
    tool_turn(Cli::Newest).await;
}

#[tokio::test]
async fn tool_turn_with_the_oldest_cli() {
    tool_turn(Cli::Oldest).await;
}
