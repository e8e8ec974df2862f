//! The built-in agent on its standard streams, compared with recordings of
//! the CLI wherever there is one.
#![allow(clippy::unwrap_used, reason = "helpers outside of a test function fail the test as well")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A test that waits longer than this for anything has failed.
const PATIENCE: Duration = crate::support::wait::DEADLINE;

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
        match self.lines.recv_timeout(PATIENCE) {
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

fn recorded(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/fixtures/demo/{name}.ndjson", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a line is, with its keys in order, down to where they stop being the
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

// ---------------------------------------------------------------- start-up

fn keys_of(line: &Value) -> Vec<&str> {
    line.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Whether `keys` occur in `all` in this order.
fn in_order(keys: &[&str], all: &[&str]) -> bool {
    let mut all = all.iter();
    keys.iter().all(|key| all.any(|it| it == key))
}

#[test]
fn without_input_it_says_nothing() {
    let (lines, stderr, status) = start(&[]).finish();
    assert_eq!((lines.len(), stderr.as_str(), status.code()), (0, "", Some(0)));
}

#[test]
fn initialize_and_init_have_the_keys_of_the_cli_in_its_order() {
    let mut agent = start(&[]);
    agent.send(&[
        &control("r1", &json!({"subtype": "initialize", "systemPrompt": [""]})),
        &user("hi"),
    ]);
    let answer = agent.line();
    let recorded = recorded("control_requests");
    assert_eq!(keys_of(&answer["response"]), keys_of(&recorded[0]["response"]));
    let body = &answer["response"]["response"];
    let mut keys = keys_of(body);
    assert_eq!(keys.pop(), Some("demo"));
    assert!(in_order(&keys, &keys_of(&recorded[0]["response"]["response"])), "{keys:?}");
    assert_eq!(answer["response"]["request_id"], "r1");
    assert_eq!(body["pid"], agent.child.id());
    assert!(body["claude_code_version"].as_str().unwrap().starts_with("demo-"));

    let init = agent.line();
    let recorded = recorded.iter().find(|line| line["subtype"] == "init").unwrap();
    let mut keys = keys_of(&init);
    assert_eq!(keys.pop(), Some("demo"));
    assert!(in_order(&keys, &keys_of(recorded)), "{keys:?}");
    assert_eq!(init["model"], "claude-opus-5-5");
}

#[test]
fn control_requests_are_answered_in_the_words_of_the_cli() {
    let mut agent = start(&["--permission-mode=default", "--allow-dangerously-skip-permissions"]);
    let recorded = recorded("control_requests");
    let requests = [
        ("req-2", json!({"subtype": "set_model", "model": "claude-haiku-4-5"})),
        ("req-3", json!({"subtype": "set_model"})),
        ("req-4", json!({"subtype": "set_model", "model": "no-such-model-x"})),
        ("req-5", json!({"subtype": "set_permission_mode", "mode": "plan"})),
        ("req-6", json!({"subtype": "set_permission_mode", "mode": "bogus"})),
        ("req-7", json!({"subtype": "set_permission_mode", "mode": "bypassPermissions"})),
        ("req-8", json!({"subtype": "set_max_thinking_tokens", "max_thinking_tokens": 1000})),
        ("req-9", json!({"subtype": "set_max_thinking_tokens", "max_thinking_tokens": null})),
        ("req-10", json!({"subtype": "mcp_status"})),
        ("req-13", json!({"subtype": "rewind_files", "user_message_id": "x"})),
        ("req-14", json!({"subtype": "mcp_reconnect", "serverName": "nope"})),
        ("req-15", json!({"subtype": "mcp_toggle", "serverName": "nope", "enabled": false})),
        ("req-16", json!({"subtype": "mcp_set_servers", "servers": {}})),
        ("req-17", json!({"subtype": "stop_task", "task_id": "nope"})),
        ("req-18", json!({"subtype": "apply_flag_settings", "settings": {}})),
        ("req-20", json!({"subtype": "cancel_async_message", "message_uuid": "x"})),
        ("req-21", json!({"subtype": "no_such_subtype"})),
    ];
    for (id, request) in requests {
        agent.send(&[&control(id, &request)]);
        let answer = agent.until(|line| line["type"] == "control_response").pop().unwrap();
        let expected = recorded.iter().find(|line| line["response"]["request_id"] == id).unwrap();
        assert_eq!(answer.to_string(), expected.to_string(), "{request}");
    }
    agent.send(&[&control("use", &json!({"subtype": "get_context_usage"}))]);
    assert_eq!(agent.line()["response"]["response"]["maxTokens"], 1_000_000);
    agent.send(&[r#"{"type":"control_request","request":{"subtype":"mcp_status"}}"#]);
    assert_eq!(agent.line()["response"].get("request_id"), None, "no id, none back");
}

#[test]
fn bypassing_must_have_been_allowed_at_the_start() {
    let mut agent = start(&["--permission-mode=default"]);
    agent.send(&[&control(
        "r",
        &json!({"subtype": "set_permission_mode", "mode": "bypassPermissions"}),
    )]);
    let answer = agent.line();
    assert_eq!(answer["response"]["subtype"], "error");
    assert_eq!(
        answer["response"]["error"],
        "Cannot set permission mode to bypassPermissions because the session was not launched with --dangerously-skip-permissions"
    );
}

// ------------------------------------------------------------------- turns

#[test]
fn a_turn_is_as_recorded() {
    let mut agent = start_recorded(&[]);
    agent.script(json!({"echo": true}));
    assert_as_recorded("plain", &until_idle(&agent));
}

#[test]
fn a_turn_with_partial_messages_is_as_recorded() {
    let mut agent = start_recorded(&["--include-partial-messages"]);
    agent.script(json!({"echo": true}));
    assert_as_recorded("partials", &until_idle(&agent));
}

#[test]
fn a_reply_is_streamed_in_pieces_that_make_up_its_text() {
    let mut agent = start(&["--include-partial-messages"]);
    agent.say("good  morning");
    let lines = agent.until_result();
    let pieces: Vec<_> =
        lines.iter().filter_map(|line| line["event"]["delta"]["text"].as_str()).collect();
    assert!(pieces.len() > 5, "{pieces:?}");
    assert_eq!(texts(&lines), [pieces.concat()]);
    assert!(pieces.concat().contains("good  morning"));
    let at = |wanted: &str| {
        lines
            .iter()
            .position(|line| line["type"] == wanted || line["event"]["type"] == wanted)
            .unwrap()
    };
    assert!(at("assistant") < at("content_block_stop"));
    assert_eq!(lines.last().unwrap()["result"], pieces.concat());
}

#[test]
fn without_the_flag_nothing_is_streamed() {
    let mut agent = start(&[]);
    agent.say("hello");
    let lines = agent.until_result();
    let kinds: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["system", "assistant", "result"]);
}

#[test]
fn the_word_tool_shows_a_thought_a_call_and_its_result() {
    let mut agent = start(&["--include-partial-messages"]);
    agent.say("Show me a tool");
    let lines = agent.until_result();
    let blocks: Vec<_> =
        lines.iter().filter_map(|line| line["message"]["content"][0]["type"].as_str()).collect();
    assert_eq!(blocks, ["thinking", "tool_use", "tool_result", "text"]);
    assert_eq!(lines.last().unwrap()["num_turns"], 2);
}

#[test]
fn turns_share_the_session_and_their_cost_adds_up() {
    let mut agent = start(&[]);
    agent.script(json!({"echo": true}));
    let first = agent.until_result();
    agent.script(json!({"echo": true}));
    let second = agent.until_result();
    assert_eq!(first[0]["session_id"], second[0]["session_id"]);
    assert_ne!(first[0]["uuid"], second[0]["uuid"]);
    let cost = |lines: &[Value]| lines.last().unwrap()["total_cost_usd"].as_f64().unwrap();
    assert!(cost(&first) > 0.0);
    assert!((cost(&second) - 2.0 * cost(&first)).abs() < 1e-9);
    let index = |lines: &[Value]| lines.last().unwrap()["result_index"].as_u64();
    assert_eq!((index(&first), index(&second)), (Some(0), Some(1)));
}

#[test]
fn resuming_keeps_the_session_id() {
    let id = "0ac8fd93-f264-4863-a5ed-dd9de493f29a";
    for (flags, same) in [
        (vec![format!("--resume={id}")], true),
        (vec!["--resume".to_owned(), id.to_owned()], true),
        (vec![format!("--resume={id}"), "--fork-session".to_owned()], false),
        (vec!["--continue".to_owned()], false),
    ] {
        let mut agent = start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        agent.script(json!({"echo": true}));
        let init = agent.line();
        assert_eq!(init["session_id"] == id, same, "{flags:?}");
        assert_eq!(init["session_id"].as_str().unwrap().len(), 36);
    }
}

#[test]
fn messages_that_arrive_in_a_turn_make_the_next_one_together() {
    let mut agent = start_recorded(&[]);
    let messages: Vec<_> =
        (0..4).map(|note| user(&json!({"echo": true, "note": note}).to_string())).collect();
    agent.send(&messages.iter().map(String::as_str).collect::<Vec<_>>());
    let lines = until_idle(&agent);
    let results: Vec<_> = lines.iter().filter(|line| line["type"] == "result").collect();
    assert_eq!(results.len(), 2);
    let notes: Vec<_> = texts(&lines)
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).unwrap()["note"].as_u64().unwrap())
        .collect();
    assert_eq!(notes, [0, 1, 2, 3]);
    // The recorded CLI gave the model the three together and got one answer.
    let once: Vec<_> = lines
        .iter()
        .filter(|line| !(text(line).contains(r#""note":1"#) || text(line).contains(r#""note":2"#)))
        .cloned()
        .collect();
    assert_as_recorded("messages_burst", &once);
}

#[test]
fn plain_messages_that_were_queued_get_one_reply_and_their_uuids_are_named() {
    let mut agent = start_recorded(&["--permission-prompt-tool=stdio"]);
    let uuid = |digit: &str| format!("{0}-0000-4000-8000-000000000000", digit.repeat(8));
    agent.send(&[&user_with_uuid(r#"{"permission":"Bash"}"#, &uuid("1"))]);
    let asked = agent.until(|line| line["type"] == "control_request");
    agent.send(&[&user_with_uuid("two", &uuid("2")), &user_with_uuid("three", &uuid("3"))]);
    let queued = agent.until(|line| line["command_uuid"] == uuid("3"));
    agent.send(&[&answer(&asked, &json!({"behavior": "allow"}))]);
    // The recorded first turn was a plain reply: without its tool it is one.
    let mut rest = until_idle(&agent);
    let told = rest.iter().position(|line| text(line).starts_with("permission for")).unwrap();
    let begun = asked.iter().position(|line| line["type"] == "assistant").unwrap();
    let lines: Vec<_> =
        asked[..begun].iter().cloned().chain(queued).chain(rest.split_off(told)).collect();
    assert_as_recorded("message_while_running", &lines);
    let last = lines.iter().rfind(|line| line["type"] == "result").unwrap();
    assert_eq!(last["user_message_uuids"], json!([uuid("2"), uuid("3")]));
    assert!(texts(&lines)[1].contains("two\nthree"), "{lines:#?}");
}

// ----------------------------------------------------------------- scripts

#[test]
fn lines_are_exactly_as_many_and_as_long_as_asked_for() {
    for (n, size) in [(1, 300), (1000, 300), (10, 225), (2000, 1000), (3, 100_000)] {
        let mut agent = start(&[]);
        agent.script(json!({"n": n, "size": size}));
        assert_eq!(agent.line()["subtype"], "init");
        for number in 1..=n {
            let bytes = agent.bytes().unwrap();
            assert_eq!(bytes.len(), size);
            let line: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(text(&line)[..12].parse(), Ok(number));
        }
        let result = agent.line();
        assert_eq!(result["result"], format!("emitted {n} lines of {size} bytes"));
    }
}

#[test]
fn a_size_too_small_is_rounded_up() {
    let mut agent = start(&[]);
    agent.script(json!({"n": 2, "size": 1}));
    agent.line();
    assert_eq!(agent.bytes().unwrap().len(), 225);
}

#[test]
fn a_line_of_64_mib_goes_out_and_in() {
    let mut agent = start(&[]);
    agent.script(json!({"n": 1, "size": 64 << 20}));
    agent.line();
    assert_eq!(agent.bytes().unwrap().len(), 64 << 20);
    agent.until_result();
    agent.script(json!({"note": "x".repeat(64 << 20)}));
    assert_eq!(agent.until_result()[1]["is_error"], false);
}

#[test]
fn a_rate_is_kept() {
    let mut agent = start(&[]);
    let begun = Instant::now();
    agent.script(json!({"n": 21, "rate": 100}));
    agent.line();
    for number in 1..=21 {
        assert_eq!(text(&agent.line())[..12].parse(), Ok(number));
    }
    // Twenty gaps of 10 ms each.
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[test]
fn waits_have_a_bound_instead_of_an_overflow() {
    for script in [json!({"sleep_ms": u64::MAX}), json!({"n": 2, "rate": 1e-300})] {
        let mut agent = start(&[]);
        agent.script(script);
        agent.line();
        agent.send(&[INTERRUPT]);
        assert_eq!(agent.until_result().last().unwrap()["terminal_reason"], "aborted_streaming");
    }
}

#[test]
fn an_echo_gives_the_text_back() {
    let mut agent = start(&[]);
    let script = r#"{ "echo":true, "note":"ä \"q\" \u2028 😀" }"#;
    agent.say(script);
    assert_eq!(texts(&agent.until_result()), [script]);
    let block = json!([{"type": "text", "text": r#"{"echo":true}"#}]);
    agent.send(&[
        &json!({"type": "user", "message": {"role": "user", "content": block}}).to_string()
    ]);
    assert_eq!(texts(&agent.until_result()), [r#"{"echo":true}"#]);
}

#[test]
fn an_exit_comes_after_the_lines_and_without_a_result() {
    let mut agent = start(&[]);
    agent.script(json!({"n": 3, "exit": 3, "stderr": "going down"}));
    let (lines, stderr, status) = agent.finish();
    assert_eq!((lines.len(), stderr.as_str(), status.code()), (4, "going down\n", Some(3)));
}

#[test]
fn a_signal_ends_it() {
    let mut agent = start(&[]);
    agent.script(json!({"n": 1, "signal": "SIGKILL"}));
    let (lines, _, status) = agent.finish();
    assert_eq!((lines.len(), status.signal()), (2, Some(9)));
}

#[test]
fn raw_lines_go_out_as_they_are_however_they_are_cut() {
    let odd = [r#"{"a":1.0,"a":1e400}"#, "no json", "", "\u{2028}", " {} ", "\r"];
    for flush in [json!("block"), json!("line"), json!(1), json!(7)] {
        let mut agent = start(&[]);
        agent.script(
            json!({"flush": flush, "raw": odd, "hex": "ff00fe", "n": 2, "half": "{\"type\":"}),
        );
        let (lines, _, status) = agent.finish();
        let expected: Vec<_> = odd.iter().map(|line| line.as_bytes().to_vec()).collect();
        assert_eq!(lines[1..7], expected, "{flush}");
        assert_eq!(lines[7], [0xff, 0, 0xfe]);
        assert_eq!(lines[8].len(), 225);
        let glued = String::from_utf8_lossy(&lines[10]).into_owned();
        assert!(glued.starts_with(r#"{"type":{"duration_api_ms""#), "{glued}");
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn a_wrong_script_runs_nothing_and_is_an_error() {
    let mut agent = start(&[]);
    agent.script(json!({"n": 5, "sise": 300}));
    let lines = agent.until_result();
    assert_eq!(lines.len(), 3);
    assert!(text(&lines[1]).contains("sise"), "{}", text(&lines[1]));
    assert_eq!(lines[2]["is_error"], true);
    assert_eq!(agent.finish().2.code(), Some(1));
}

#[test]
fn a_spawned_command_has_a_session_of_its_own_and_survives() {
    let mut agent = start(&[]);
    agent.script(json!({"spawn": "exec sleep 1000"}));
    let lines = agent.until_result();
    let told = texts(&lines)[0];
    let pid: i32 = told.strip_prefix("spawned ").unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let deadline = Instant::now() + PATIENCE;
    // It makes its session itself, a moment after it has been started.
    while rustix::process::getsid(Some(pid)).ok() != Some(pid) {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(agent.finish().2.code(), Some(0), "stdout ends although the command lives");
    assert!(rustix::process::test_kill_process(pid).is_ok());
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn standard_streams_can_be_closed() {
    let mut agent = start(&[]);
    agent.script(json!({"close": "stdout"}));
    let (lines, _, status) = agent.finish();
    assert_eq!((lines.len(), status.code()), (1, Some(0)), "init, and no result");

    let mut agent = start(&[]);
    let mut stderr = agent.child.stderr.take().unwrap();
    agent.script(json!({"close": "stderr", "echo": true}));
    stderr.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(agent.until_result().len(), 3);

    let mut agent = start(&[]);
    agent.script(json!({"close": "stdin", "echo": true}));
    agent.until_result();
    let stdin = agent.stdin.as_mut().unwrap();
    assert_eq!(stdin.write(b"{}\n").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(agent.child.try_wait().unwrap(), None, "it lives on");
}

// ------------------------------------------------------------- permissions

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

#[test]
fn an_allowed_tool_is_as_recorded_and_tells_its_input() {
    let (mut agent, mut lines) = asking();
    let input = json!({"command": "touch other.txt"});
    agent.send(&[&answer(&lines, &json!({"behavior": "allow", "updatedInput": input}))]);
    lines.extend(until_idle(&agent));
    assert_as_recorded("permission_allow", &lines);
    assert_eq!(texts(&lines)[1], format!("permission for Bash: allow {input}"));
    assert_eq!(agent.finish().2.code(), Some(0));
}

#[test]
fn a_denied_tool_is_as_recorded_and_the_turn_goes_on() {
    let (mut agent, mut lines) = asking();
    agent.send(&[&answer(&lines, &json!({"behavior": "deny", "message": "not here"}))]);
    lines.extend(until_idle(&agent));
    assert_as_recorded("permission_deny", &lines);
    assert_eq!(texts(&lines)[1], "permission for Bash: deny not here");
    let result = lines.iter().find(|line| line["type"] == "result").unwrap();
    assert_eq!(result["permission_denials"][0]["tool_name"], "Bash");
    assert_eq!(result["is_error"], false);
}

#[test]
fn an_interrupt_withdraws_the_question_first() {
    let (mut agent, mut lines) = asking();
    agent.send(&[INTERRUPT]);
    lines.extend(until_idle(&agent));
    assert_as_recorded("permission_cancelled_by_interrupt", &lines);
    let result = lines.iter().find(|line| line["type"] == "result").unwrap();
    assert_eq!(result["terminal_reason"], "aborted_tools");
    assert_eq!(result["num_turns"], 3);
    assert_eq!(agent.finish().2.code(), Some(1), "its last result was an error");
}

#[test]
fn a_denial_can_interrupt() {
    let (mut agent, lines) = asking();
    let denial = json!({"behavior": "deny", "message": "no", "interrupt": true});
    agent.send(&[&answer(&lines, &denial)]);
    let lines = agent.until_result();
    assert_eq!(lines.last().unwrap()["terminal_reason"], "aborted_tools");
}

#[test]
fn an_answer_that_is_none_denies() {
    let (mut agent, lines) = asking();
    let id = &lines.last().unwrap()["request_id"];
    let error = json!({"subtype": "error", "request_id": id, "error": "callback failed"});
    agent.send(&[&json!({"type": "control_response", "response": error}).to_string()]);
    let lines = agent.until_result();
    let told = "permission for Bash: deny Tool permission request failed: Error: callback failed";
    assert_eq!(texts(&lines), [told]);

    let (mut agent, lines) = asking();
    // An answer to something else is no answer.
    agent.send(&[
        r#"{"type":"control_response","response":{"subtype":"success","request_id":"x","response":{"behavior":"allow"}}}"#,
        &answer(&lines, &json!({"behaviour": "yes"})),
    ]);
    let lines = agent.until_result();
    assert!(texts(&lines)[0].contains("deny Tool permission request failed: ZodError"));
}

#[test]
fn at_the_end_of_input_an_open_question_is_denied_and_the_turn_ends() {
    let (agent, _) = asking();
    let (lines, _, status) = agent.finish();
    let lines: Vec<Value> =
        lines.iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
    assert!(texts(&lines)[0].contains("Tool permission stream closed before response received"));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn with_nobody_to_ask_the_mode_decides() {
    for (mode, told) in [("default", "deny"), ("bypassPermissions", "allow")] {
        let mut agent = start(&[&format!("--permission-mode={mode}")]);
        agent.script(json!({"permission": "Write"}));
        let lines = agent.until_result();
        assert!(lines.iter().all(|line| line["type"] != "control_request"));
        assert!(texts(&lines)[1].starts_with(&format!("permission for Write: {told}")));
    }
}

// -------------------------------------------------------------- interrupts

#[test]
fn an_interrupt_of_an_idle_agent_is_only_answered() {
    let mut agent = start(&[]);
    agent.send(&[INTERRUPT]);
    assert_eq!(agent.line()["response"]["response"], json!({"still_queued": []}));
    agent.script(json!({"echo": true}));
    let lines = agent.until_result();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["subtype"], "success");
}

#[test]
fn an_interrupt_right_behind_a_message_is_as_recorded() {
    let mut agent = start_recorded(&[]);
    agent.send(&[&user("hello"), INTERRUPT]);
    let lines = until_idle(&agent);
    assert_as_recorded("interrupt_at_once", &lines);
    assert_eq!(agent.finish().2.code(), Some(1));
}

#[test]
fn an_interrupt_of_a_reply_is_as_recorded_and_the_agent_goes_on() {
    let mut agent = start_recorded(&[]);
    agent.say("something long, please");
    // Before `init` is seen, the first piece has been streamed.
    let mut lines = agent.until(|line| line["subtype"] == "init");
    agent.send(&[INTERRUPT]);
    lines.extend(until_idle(&agent));
    agent.script(json!({"echo": true}));
    lines.extend(until_idle(&agent));
    assert_as_recorded("interrupt_streaming", &lines);
    assert!(texts(&lines)[0].starts_with("Line 1"));
}

#[test]
fn an_interrupted_stream_stops_at_the_piece_it_had_reached() {
    let mut agent = start(&["--include-partial-messages"]);
    agent.say("something long, please");
    let mut lines = agent.until(|line| line["event"]["type"] == "content_block_delta");
    agent.send(&[INTERRUPT]);
    lines.extend(agent.until_result());
    let pieces: String =
        lines.iter().filter_map(|line| line["event"]["delta"]["text"].as_str()).collect();
    assert_eq!(texts(&lines)[0], pieces);
    let at = |wanted: &str| lines.iter().position(|line| line["type"] == wanted).unwrap();
    assert!(at("control_response") < at("assistant") && at("assistant") < at("user"));
    assert_eq!(lines[at("assistant")]["aborted"], true);
}

#[test]
fn an_interrupt_ends_a_sleep_and_an_emission() {
    for script in [json!({"n": 1_000_000_000_u64, "size": 300}), json!({"n": 10, "rate": 0.001})] {
        let mut agent = start(&[]);
        agent.script(script.clone());
        agent.until(|line| line["type"] == "assistant");
        agent.send(&[INTERRUPT]);
        let mut lines = agent.until_result();
        lines.retain(|line| line["type"] != "assistant");
        let rest: Vec<_> = lines.iter().map(|line| &line["type"]).collect();
        assert_eq!(rest, ["control_response", "user", "result"], "{script}");
        assert_eq!(text(&lines[1]), "[Request interrupted by user]");
        assert_eq!(lines[2]["terminal_reason"], "aborted_streaming");
    }
    let mut agent = start(&[]);
    agent.script(json!({"sleep_ms": 3_600_000}));
    assert_eq!(agent.line()["subtype"], "init");
    agent.send(&[INTERRUPT]);
    assert_eq!(agent.until_result().len(), 3);
}

#[test]
fn messages_queued_behind_an_interrupted_turn_run_next() {
    let uuid = |digit: &str| {
        format!("{0}-{1}-4{2}-8{2}-{0}{1}", digit.repeat(8), digit.repeat(4), digit.repeat(3))
    };
    for (name, cancel, dropped) in [
        ("queued_then_interrupt", false, false),
        ("queued_then_interrupt_cancel_queued", true, true),
    ] {
        let mut agent = start_recorded(&[]);
        agent.send(&[&user_with_uuid("something long", &uuid("1"))]);
        let mut lines = agent.until(|line| line["subtype"] == "init");
        agent.send(&[&user_with_uuid(r#"{"echo":true}"#, &uuid("2"))]);
        lines.extend(agent.until(|line| line["state"] == "queued"));
        let mut request = json!({"subtype": "interrupt"});
        if cancel {
            request["cancel_queued"] = json!(true);
        }
        agent.send(&[&control("stop", &request)]);
        lines.extend(until_idle(&agent));
        assert_as_recorded(name, &lines);
        let answer = lines.iter().find(|line| line["type"] == "control_response").unwrap();
        let (queued, gone) =
            if dropped { ("cancelled", "still_queued") } else { ("still_queued", "cancelled") };
        assert_eq!(answer["response"]["response"][queued], json!([uuid("2")]));
        assert_ne!(answer["response"]["response"][gone], json!([uuid("2")]));
    }
}

// ---------------------------------------------------------- end and errors

#[test]
fn at_the_end_of_input_the_turn_is_finished() {
    let mut agent = start(&[]);
    agent.script(json!({"sleep_ms": 100, "n": 5}));
    let (lines, _, status) = agent.finish();
    assert_eq!((lines.len(), status.code()), (7, Some(0)));
}

#[test]
fn input_of_which_the_cli_dies_ends_it_also_in_a_turn() {
    let cases = [
        (
            "this is not json",
            "Error parsing streaming input line (type=unknown, 16 chars): SyntaxError\n",
        ),
        ("null", "Error parsing streaming input line (type=unknown, 4 chars): TypeError\n"),
        (r#"{"type":"user"}"#, "Error: Expected message role 'user', got 'undefined'\n"),
    ];
    for (line, words) in cases {
        for busy in [false, true] {
            let mut agent = start(&[]);
            if busy {
                agent.script(json!({"sleep_ms": 3_600_000}));
                agent.line();
            }
            agent.send(&[line]);
            let (lines, stderr, status) = agent.finish();
            assert_eq!(
                (lines.len(), stderr.as_str(), status.code()),
                (0, words, Some(1)),
                "{line}"
            );
        }
    }
}

#[test]
fn input_that_the_cli_ignores_changes_nothing() {
    let mut agent = start(&[]);
    let ignored = [
        "",
        "42",
        "[]",
        r#"{"type":"keep_alive"}"#,
        r#"{"type":"user","message":{"role":"user","content":[null]}}"#,
    ];
    agent.send(&ignored);
    agent.script(json!({"echo": true}));
    assert_eq!(agent.until_result().len(), 3);
}
