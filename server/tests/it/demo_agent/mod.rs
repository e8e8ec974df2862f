//! The built-in agent on its standard streams, compared with recordings of
//! the CLI wherever there is one.
#![allow(clippy::unwrap_used, reason = "helpers outside of a test function fail the test as well")]

mod ends;
mod questions;
mod scripts;
mod turns;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};

/// Recorded lines of CLI 2.1.329, by scenario.
const RECORDED: &str = include_str!("../../fixtures/demo.ndjson");

/// A test that waits longer than this for anything has failed.
const DEADLINE: Duration = claude_relay_testing::wait::DEADLINE;

const INTERRUPT: &str =
    r#"{"request_id":"stop","type":"control_request","request":{"subtype":"interrupt"}}"#;

/// The flags that the recordings were made with, by and large.
const FLAGS: [&str; 6] = [
    "--output-format",
    "stream-json",
    "--verbose",
    "--input-format",
    "stream-json",
    "--model=claude-opus-5-5",
];

/// A running agent whose stdout is read line by line.
struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
}

fn command(flags: &[&str]) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the test is the host")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_claude-relay-server"));
    command.arg("demo-agent").args(FLAGS).args(flags);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("CLAUDE_CODE_SDK_READS_SESSION_STATE");
    command
}

fn start(flags: &[&str]) -> Agent {
    Agent::new(command(flags))
}

impl Agent {
    fn new(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = read_lines(child.stdout.take().unwrap());
        Self { stdin: child.stdin.take(), child, lines }
    }

    /// Writes lines in one write, as a host does that has them at hand.
    fn send(&mut self, lines: &[&str]) {
        let mut bytes = lines.join("\n");
        bytes.push('\n');
        self.stdin.as_mut().unwrap().write_all(bytes.as_bytes()).unwrap();
    }

    fn say(&mut self, text: &str) {
        self.send(&[&user(text)]);
    }

    fn script(&mut self, script: Value) {
        self.say(&script.to_string());
    }

    fn bytes(&self) -> Option<Vec<u8>> {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the agent says nothing"),
        }
    }

    fn line(&self) -> Value {
        let line = self.bytes().expect("a line, not the end");
        serde_json::from_slice(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Lines up to and with the first that `last` picks.
    fn until(&self, last: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut lines = Vec::new();
        loop {
            let line = self.line();
            let done = last(&line);
            lines.push(line);
            if done {
                return lines;
            }
        }
    }

    fn until_result(&self) -> Vec<Value> {
        self.until(|line| line["type"] == "result")
    }

    /// Ends the input and waits; the lines still printed, stderr and status.
    fn finish(mut self) -> (Vec<Vec<u8>>, String, ExitStatus) {
        drop(self.stdin.take());
        let mut lines = Vec::new();
        while let Some(line) = self.bytes() {
            lines.push(line);
        }
        let mut stderr = String::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_string(&mut stderr).unwrap();
        }
        (lines, stderr, self.child.wait().unwrap())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stdout: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, lines) = sync_channel(10_000);
    std::thread::spawn(move || {
        let mut stdout = BufReader::with_capacity(1 << 20, stdout);
        loop {
            let mut line = Vec::new();
            match stdout.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line.last() == Some(&b'\n') => drop(line.pop()),
                Ok(_) => {}
            }
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn user(text: &str) -> String {
    json!({"type": "user", "message": {"role": "user", "content": text}}).to_string()
}

fn user_with_uuid(text: &str, uuid: &str) -> String {
    json!({"type": "user", "message": {"role": "user", "content": text}, "uuid": uuid}).to_string()
}

fn control(id: &str, request: &Value) -> String {
    json!({"request_id": id, "type": "control_request", "request": request}).to_string()
}

fn text(line: &Value) -> &str {
    line["message"]["content"][0]["text"].as_str().unwrap_or_default()
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .filter(|line| line["type"] == "assistant")
        .map(text)
        .filter(|it| !it.is_empty())
        .collect()
}

/// The lines of one recorded scenario: those below its heading.
fn recorded(name: &str) -> Vec<Value> {
    let heading = format!("# {name}");
    let below = RECORDED.lines().skip_while(|line| *line != heading).skip(1);
    let lines: Vec<Value> = below
        .take_while(|line| !line.starts_with('#'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!lines.is_empty(), "no scenario is called {name}");
    lines
}

/// Shape of a line, with its keys in order, down to where they stop being the
/// protocol's: compared by this, two lines differ in values alone.
fn shape(line: &Value) -> String {
    let word = |at: &str| line.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let keys = |at: &str| {
        let object = line.pointer(at).and_then(Value::as_object);
        object.map_or_else(String::new, |it| {
            it.keys().map(String::as_str).collect::<Vec<_>>().join(",")
        })
    };
    let is_init = line["subtype"] == "init";
    let what = [
        "/type",
        "/subtype",
        "/state",
        "/status",
        "/event/type",
        "/event/delta/type",
        "/terminal_reason",
    ];
    let blocks = [
        "/message/content/0/type",
        "/event/content_block/type",
        "/response/subtype",
        "/request/subtype",
    ];
    let nested = [
        "/message",
        "/message/content/0",
        "/event",
        "/event/delta",
        "/event/message",
        "/request",
        "/response",
    ];
    let words: Vec<_> =
        what.iter().chain(&blocks).map(|at| word(at)).filter(|it| !it.is_empty()).collect();
    // `initialize` and `init` tell of many things that a demo has not: their
    // keys are compared in a test of their own.
    let nested: Vec<_> = if is_init { vec![] } else { nested.iter().map(|at| keys(at)).collect() };
    let top = if is_init { String::new() } else { keys("") };
    format!("{} {{{top}}} {{{}}}", words.join("/"), nested.join("|"))
}

/// Shapes of a recording without the fields that depend on whether a real
/// API was asked.
fn shapes(lines: &[Value]) -> Vec<String> {
    lines
        .iter()
        .filter(|line| line["response"]["response"]["commands"].is_null())
        .map(|line| {
            let mut line = line.clone();
            if let Some(line) = line.as_object_mut() {
                let api =
                    |key: &str| key.starts_with("first_request_") || key == "request_sent_wall_ms";
                line.retain(|key, _| !api(key));
            }
            shape(&line)
        })
        .collect()
}

#[track_caller]
fn assert_as_recorded(name: &str, lines: &[Value]) {
    let (expected, found) = (shapes(&recorded(name)), shapes(lines));
    for (at, (expected, found)) in expected.iter().zip(&found).enumerate() {
        assert_eq!(found, expected, "{name}: line {at}");
    }
    assert_eq!(found.len(), expected.len(), "{name}: {found:#?}");
}

/// An agent that tells its state like the one that was recorded.
fn start_recorded(flags: &[&str]) -> Agent {
    let mut command = command(flags);
    command.env("CLAUDE_CODE_SDK_READS_SESSION_STATE", "1");
    Agent::new(command)
}

fn until_idle(agent: &Agent) -> Vec<Value> {
    agent.until(|line| line["state"] == "idle")
}

/// An agent whose question is open, and the lines up to it.
fn asking() -> (Agent, Vec<Value>) {
    let mut agent =
        start_recorded(&["--permission-mode=default", "--permission-prompt-tool=stdio"]);
    agent.script(json!({"permission": "Bash"}));
    let lines = agent.until(|line| line["type"] == "control_request");
    (agent, lines)
}

fn answer(asked: &[Value], response: &Value) -> String {
    let id = &asked.last().unwrap()["request_id"];
    let response = json!({"subtype": "success", "request_id": id, "response": response});
    json!({"type": "control_response", "response": response}).to_string()
}
