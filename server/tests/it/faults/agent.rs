//! Agents with faults that no CLI of today has: Python scripts that speak just
//! enough of the CLI's dialect and note what has reached them.

use crate::support::relay::Launch;
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use std::path::PathBuf;

/// Functions of every agent; its own story follows them.
///
/// `line` takes one byte at a time, so that what lies behind it is still in
/// the pipe when the agent ends.
const PRELUDE: &str = r#"#!/usr/bin/env python3
import json, os, signal, subprocess, sys, time
if "--version" in sys.argv:
    print("2.1.0 (Fake)")
    sys.exit()
HERE = os.path.dirname(os.path.realpath(__file__))
def note(name, text):
    with open(os.path.join(HERE, name), "a") as file:
        file.write(text + "\n")
def gate(name):
    while not os.path.exists(os.path.join(HERE, name)):
        time.sleep(0.01)
def write(fd, data):
    data = data if isinstance(data, bytes) else data.encode()
    while data:
        data = data[os.write(fd, data):]
def out(data): write(1, data)
def err(data): write(2, data)
def line():
    taken = bytearray()
    while byte := os.read(0, 1):
        if byte == b"\n":
            return bytes(taken)
        taken += byte
def answer(request):
    out(json.dumps({"type": "control_response", "response": {
        "subtype": "success", "request_id": request["request_id"], "response": {}}}) + "\n")
def hear():
    while (taken := line()) is not None:
        message = json.loads(taken)
        if message["type"] == "control_request":
            if message["request"]["subtype"] == "interrupt":
                note("heard", "(interrupt)")
            answer(message)
        elif message["type"] == "user":
            text = message["message"]["content"]
            note("heard", text)
            return text
RESUMED = next((arg.split("=")[1] for arg in sys.argv if arg.startswith("--resume=")), None)
note("runs", RESUMED or "(new)")
RUN = sum(1 for _ in open(os.path.join(HERE, "runs")))
SESSION = RESUMED or "00000000-0000-4000-8000-%012d" % RUN
def init(): out(json.dumps({"type": "system", "subtype": "init", "session_id": SESSION}) + "\n")
def result(text): out(json.dumps({"type": "result", "subtype": "success", "result": text}) + "\n")
def turn(text):
    init()
    result(text)
def work():
    while (text := hear()) is not None:
        turn(text)
def die(number):
    signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
    os.kill(os.getpid(), number)
    time.sleep(60)
"#;

/// An agent that works well unless its story says otherwise.
pub(crate) struct FakeAgent {
    directory: PathBuf,
}

impl FakeAgent {
    /// An agent that does what `story` says, in Python, with the words of
    /// [`PRELUDE`]. `RUN` is 1 in its first process, 2 in its second, …
    pub(crate) fn new(env: &TestEnv, story: &str) -> Self {
        let directory = env.file("fake-agent");
        std::fs::create_dir(&directory).expect("one agent per environment");
        let agent = Self { directory };
        executable(&agent.path(), format!("{PRELUDE}{story}\n"));
        agent
    }

    /// A server that starts it.
    pub(crate) fn launch(&self, env: &TestEnv) -> Launch {
        Launch::new(env).argument("--claude-path").argument(self.path())
    }

    /// For `--claude-path`.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join("agent")
    }

    /// Lets it go through `gate(name)`.
    pub(crate) fn open(&self, name: &str) {
        std::fs::write(self.directory.join(name), "").expect("a file beside the agent");
    }

    /// The user messages and interrupts it has read, in order, of all its runs.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.noted("heard")
    }

    /// The conversation that each of its runs was to resume.
    pub(crate) fn runs(&self) -> Vec<String> {
        self.noted("runs")
    }

    /// The lines of `note(name, …)`.
    pub(crate) fn noted(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until it has noted a line that is `wanted`.
    pub(crate) async fn notes(&self, name: &str, wanted: &str) {
        wait::until(&format!("`{wanted}` in the agent's {name}"), || {
            self.noted(name).iter().any(|line| line == wanted).then_some(())
        })
        .await;
    }
}
