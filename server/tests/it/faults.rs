//! Group I: an agent with faults. Each ends in the frames the contract names
//! and in a server that works.

use crate::faults_agent::{FakeAgent, executable};
use crate::faults_checks::{Before, answers_at_once, cpu_ticks, fresh_client};
use crate::support::place::Place;
use crate::support::proc;
use crate::support::relay::{Launch, Relay};
use crate::support::wait;
use crate::support::ws::Client;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn with_agent(place: &Place, story: &str) -> (Relay, FakeAgent, Before) {
    let agent = FakeAgent::new(place, story);
    let relay = Launch::new(place)
        .argument("--claude-path")
        .argument(agent.path())
        .argument("--stop-grace=500ms")
        .start();
    let before = Before::of(&relay);
    (relay, agent, before)
}

/// The two frames that tell of the agent's end: words, then facts.
async fn told_of_the_end(client: &mut Client) -> (String, Value) {
    let frames = client.until(|frame| frame["type"] == "exit").await;
    let [.., error, exit] = &frames[..] else { panic!("an error before the exit: {frames:#?}") };
    assert_eq!(error["type"], "error", "{frames:#?}");
    (error["error"].as_str().expect("a text").to_owned(), exit.clone())
}

async fn error(client: &mut Client) -> String {
    let frames = client.until(|frame| frame["type"] == "error").await;
    frames.last().expect("one")["error"].as_str().expect("a text").to_owned()
}

async fn agent_state(relay: &Relay) -> Value {
    answers_at_once(relay.address()).await["agent"].take()
}

async fn agent_is(relay: &Relay, field: &str, wanted: impl Into<Value>) {
    let wanted = wanted.into();
    wait::within(&format!("{field} to be {wanted}"), async {
        while agent_state(relay).await[field] != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

fn texts(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("message {number}")).collect()
}

/// Each way in which there may be no program where one should be, told with
/// its path and the system's words; the next message finds it mended.
#[tokio::test]
async fn i1_a_program_that_cannot_be_started_is_named_and_tried_again() {
    let elf_of_another_machine = {
        let mut head = [0_u8; 64];
        head[..7].copy_from_slice(b"\x7fELF\x01\x02\x01");
        head[16..20].copy_from_slice(&[0, 2, 0, 8]);
        head
    };
    for fault in ["missing", "not executable", "directory", "wrong machine", "bad shebang"] {
        let place = Place::new();
        let path = place.file("broken-agent");
        let reason = match fault {
            "missing" => "not found",
            "not executable" => {
                std::fs::write(&path, "#!/bin/sh\n").expect("a file");
                "ermission denied"
            }
            "directory" => {
                std::fs::create_dir(&path).expect("a directory");
                "ermission denied"
            }
            "wrong machine" => {
                executable(&path, elf_of_another_machine);
                "Exec format error"
            }
            _ => {
                executable(&path, "#!/no/such/interpreter\n");
                "No such file or directory"
            }
        };
        let relay = Launch::new(&place).argument("--claude-path").argument(&path).start();
        let before = Before::of(&relay);
        let mut client = Client::connect(relay.address()).await;
        let told = error(&mut client).await;
        assert!(told.contains(path.to_str().expect("UTF-8")), "{fault}: {told}");
        assert!(
            told.contains(reason) || fault == "not executable" || fault == "directory",
            "{fault}: {told}"
        );
        client.say("kept").await;
        let told = error(&mut client).await;
        assert!(told.contains("kept and handed over"), "{fault}: {told}");
        // Mended: the message that waits is not lost.
        if path.is_dir() {
            std::fs::remove_dir(&path).expect("an empty directory");
        }
        let agent = FakeAgent::new(&place, "work()");
        let _ = std::fs::remove_file(&path);
        std::os::unix::fs::symlink(agent.path(), &path).expect("a link");
        client.say("again").await;
        client.turn().await;
        client.turn().await;
        assert_eq!(agent.heard(), ["kept", "again"], "{fault}");
        client.close().await;
        before.check(&relay).await;
    }
}

/// Ends before it has read anything: what waited for it goes to the next one.
#[tokio::test]
async fn i2_an_agent_that_exits_before_reading_is_told_with_code_and_stderr() {
    for code in [0, 1] {
        let place = Place::new();
        let story = format!(
            "if RUN == 1:\n    gate('go')\n    err('line one\\nlast words\\n')\n    sys.exit({code})\nwork()"
        );
        let (relay, agent, before) = with_agent(&place, &story);
        let mut client = Client::connect(relay.address()).await;
        client.say("first").await;
        agent.open("go");
        let (words, exit) = told_of_the_end(&mut client).await;
        assert!(words.contains(&format!("exited with code {code}")), "{words}");
        assert!(words.contains("last words"), "{words}");
        assert_eq!(
            exit,
            json!({"type": "exit", "code": code, "signal": null, "stderr": "line one\nlast words\n"})
        );
        client.turn().await;
        assert_eq!(agent.heard(), ["first"]);
        client.close().await;
        before.check(&relay).await;
    }
}

#[tokio::test]
async fn i2_bin_false_backs_off_and_its_messages_wait() {
    let place = Place::new();
    let relay = Launch::new(&place).argument("--claude-path").argument("/bin/false").start();
    let mut client = Client::connect(relay.address()).await;
    for _ in 0..20 {
        client.say("anybody?").await;
    }
    let (words, _) = told_of_the_end(&mut client).await;
    assert!(words.contains("exited with code 1"), "{words}");
    let (words, _) = told_of_the_end(&mut client).await;
    assert!(words.contains("not started again before 1 s"), "{words}");
    agent_is(&relay, "waiting_messages", 20).await;
    agent_is(&relay, "state", "backing_off").await;
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn i3_a_signal_is_named() {
    for (number, name) in [("SIGSEGV", "SIGSEGV"), ("SIGKILL", "SIGKILL"), ("SIGABRT", "SIGABRT")] {
        let place = Place::new();
        let story =
            format!("if RUN == 1:\n    hear()\n    init()\n    die(signal.{number})\nwork()");
        let (relay, agent, before) = with_agent(&place, &story);
        let mut client = Client::connect(relay.address()).await;
        client.say("die").await;
        let (words, exit) = told_of_the_end(&mut client).await;
        assert!(words.contains(name), "{words}");
        assert_eq!((&exit["code"], &exit["signal"]), (&Value::Null, &json!(name)));
        client.say("live").await;
        client.turn().await;
        // The conversation goes on.
        assert_eq!(agent.runs(), ["(new)", "00000000-0000-4000-8000-000000000001"]);
        assert_eq!(agent.heard(), ["die", "live"]);
        client.close().await;
        before.check(&relay).await;
    }
}

/// A signal before the first answer says nothing about the conversation.
#[tokio::test]
async fn i3_a_resumed_agent_that_is_killed_at_once_does_not_lose_the_conversation() {
    let place = Place::new();
    let story = "if RUN == 1:\n    turn(hear())\n    hear()\n    die(signal.SIGKILL)\nif RUN == 2: die(signal.SIGKILL)\nif RUN == 3: sys.exit(1)\nwork()";
    let (relay, agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("one").await;
    client.turn().await;
    client.say("two").await;
    told_of_the_end(&mut client).await;
    client.say("three").await;
    client.turn().await;
    let session = "00000000-0000-4000-8000-000000000001";
    assert_eq!(agent.runs(), ["(new)", session, session, session]);
    assert_eq!(agent.heard(), ["one", "two", "three"]);
    client.close().await;
    before.check(&relay).await;
}

/// The agent says that it does not know the conversation: that is told once,
/// and a new one is started with what waits.
#[tokio::test]
async fn a_session_that_cannot_be_resumed_is_said_once_and_a_new_one_is_started() {
    let place = Place::new();
    let story = r#"
if RUN == 1:
    turn(hear())
    hear()
    die(signal.SIGKILL)
if RESUMED:
    text = "No conversation found with session ID: " + RESUMED
    out(json.dumps({"type": "result", "subtype": "error_during_execution", "is_error": True, "errors": [text]}) + "\n")
    err(text + "\n")
    sys.exit(1)
work()
"#;
    let (relay, agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("one").await;
    client.turn().await;
    client.say("two").await;
    told_of_the_end(&mut client).await;
    client.say("three").await;
    let (words, _) = told_of_the_end(&mut client).await;
    assert!(words.contains("00000000-0000-4000-8000-000000000001 could not be resumed"), "{words}");
    let turn = client.turn().await;
    assert_eq!(turn.result()["result"], "three");
    client.say("four").await;
    let more = client.turn().await;
    for frame in turn.0.iter().chain(&more.0) {
        assert_ne!(frame["type"], "error", "{frame}");
    }
    assert_eq!(agent.runs(), ["(new)", "00000000-0000-4000-8000-000000000001", "(new)"]);
    assert_eq!(agent.heard(), ["one", "two", "three", "four"]);
    client.close().await;
    before.check(&relay).await;
}

/// Ends between two messages that both lie in its pipe: what it has not read
/// is handed to the next one, once and in order, whichever way it ends.
#[tokio::test]
async fn i5_what_was_not_read_is_handed_over_once_and_in_order() {
    for end in ["sys.exit(0)", "sys.exit(1)", "die(signal.SIGKILL)"] {
        let place = Place::new();
        // Every process reads seven messages of those that are there already.
        let story = format!(
            "if RUN == 1: gate('go')\nfor _ in range(7):\n    text = hear()\n    if text is None: sys.exit(0)\n    turn(text)\n    if text == 'message 199': work()\n{end}"
        );
        let (relay, agent, before) = with_agent(&place, &story);
        let mut client = Client::connect(relay.address()).await;
        for text in texts(0..200) {
            client.say(text).await;
        }
        agent.open("go");
        for _ in 0..200 {
            client.turn().await;
        }
        assert_eq!(agent.heard(), texts(0..200), "{end}");
        assert_eq!(agent.runs().len(), 29, "{end}");
        client.close().await;
        before.check(&relay).await;
    }
}

/// More than a pipe holds for an agent that never reads: the inbox fills up to
/// its bound, and then the client is told; everything else still works, and
/// what was taken is not lost.
#[tokio::test]
async fn i6_a_client_that_writes_faster_than_the_agent_reads_is_told_so() {
    const SENT: usize = 140;
    let place = Place::new();
    let story = r#"
if RUN == 1:
    while True: time.sleep(1)
import io
for taken in io.BufferedReader(io.FileIO(0, closefd=False), 1 << 20):
    message = json.loads(taken)
    if message["type"] == "user":
        note("heard", message["message"]["content"][:12].strip())
        turn("taken")
"#;
    let (relay, agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    let filler = "x".repeat(1 << 20);
    for number in 0..SENT {
        client.say(format!("message {number:<4}{filler}")).await;
    }
    client.send(&json!({"type": "capabilities"})).await;
    client.interrupt().await;
    client.send(&json!({"type": "nonsense"})).await;
    // The answer comes on a lane of its own; the errors keep their order.
    let frames = client.until(|frame| frame["error"].to_string().contains("nonsense")).await;
    let refused = frames
        .iter()
        .filter(|frame| frame["error"].to_string().contains("The message was not taken"))
        .count();
    if !frames.iter().any(|frame| frame["type"] == "capabilities") {
        client.until(|frame| frame["type"] == "capabilities").await;
    }
    // 128 MiB wait, one is being written and one is next.
    let accepted = SENT - refused;
    assert!((126..=130).contains(&accepted), "{accepted}");
    let asked = Instant::now();
    client.close().await;
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());

    // The agent is killed; the next one gets all that was taken.
    let pid = agent_state(&relay).await["pid"].as_i64().expect("a pid");
    proc::signal(i32::try_from(pid).expect("a pid"), Signal::KILL);
    wait::until("all messages to be read", || (agent.heard().len() >= accepted).then_some(()))
        .await;
    assert_eq!(agent.heard(), texts(0..accepted));
    before.check_but_for_rss(&relay).await;
}

#[tokio::test]
async fn i7_an_agent_that_closes_its_stdout_and_lives_on_is_replaced() {
    let place = Place::new();
    let story =
        "if RUN == 1:\n    hear()\n    init()\n    os.close(1)\n    time.sleep(600)\nwork()";
    let (relay, agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("one").await;
    let told = error(&mut client).await;
    assert!(told.contains("closed its standard output and lives on"), "{told}");
    told_of_the_end(&mut client).await;
    client.say("two").await;
    client.turn().await;
    assert_eq!(agent.heard(), ["one", "two"]);
    client.close().await;
    before.check(&relay).await;
}

#[tokio::test]
async fn i8_an_agent_that_closes_its_stdin_and_lives_on_is_replaced() {
    let place = Place::new();
    let story = "if RUN == 1:\n    turn(hear())\n    os.close(0)\n    note('closed', 'stdin')\n    time.sleep(600)\nwork()";
    let (relay, agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("one").await;
    client.turn().await;
    agent.notes("closed", "stdin").await;
    for text in ["two", "three", "four"] {
        client.say(text).await;
    }
    let told = error(&mut client).await;
    assert!(told.contains("closed its standard input and lives on"), "{told}");
    for _ in 0..3 {
        client.turn().await;
    }
    assert_eq!(agent.heard(), ["one", "two", "three", "four"]);
    client.close().await;
    before.check(&relay).await;
}

#[tokio::test]
async fn i9_an_agent_that_ignores_eof_and_sigterm_is_killed_after_the_grace() {
    let place = Place::new();
    let story = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwork()\nwhile True: time.sleep(1)";
    let (relay, _agent, _) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("one").await;
    client.turn().await;
    let asked = Instant::now();
    relay.signal(Signal::TERM);
    assert_eq!(relay.end().code(), Some(0));
    // Two graces of half a second, and no more than the machine adds.
    let took = asked.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
}

/// A shell between the keeper and the agent that shields it from SIGTERM.
#[tokio::test]
async fn i9_a_wrapper_that_ignores_sigterm_changes_nothing() {
    let place = Place::new();
    let wrapper = place.file("wrapper");
    let server = env!("CARGO_BIN_EXE_claude-relay-server");
    executable(&wrapper, format!("#!/bin/sh\ntrap '' TERM\n'{server}' demo-agent \"$@\"\n"));
    let relay = Launch::new(&place).argument("--claude-path").argument(&wrapper).start();
    let mut client = Client::connect(relay.address()).await;
    client.say("one").await;
    client.turn().await;
    relay.stop();
}

/// stderr full before a word on stdout, both full before stdin is read.
#[tokio::test]
async fn i12_full_pipes_in_all_directions_are_no_deadlock() {
    let place = Place::new();
    let story = r#"
if RUN == 1:
    err(b"noise\n" * 200_000)
    line = json.dumps({"type": "assistant", "text": "x" * 1000}) + "\n"
    out(line * 2000)
work()
"#;
    let (relay, agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    let large = "y".repeat(4 << 20);
    client.say(large.as_str()).await;
    let turn = client.turn().await;
    assert_eq!(turn.kinds().iter().filter(|kind| *kind == "assistant").count(), 2000);
    let told = turn.0.iter().filter(|frame| frame["type"] == "info").count();
    assert!(told > 10 && told < 10_000, "{told} lines of 200,000");
    assert_eq!(agent.heard(), [large]);
    client.close().await;
    before.check(&relay).await;
}

/// Noise without end: passed on at a bounded rate, and what is left out is
/// counted.
#[tokio::test]
async fn i12_endless_stderr_is_bounded_and_what_is_left_out_is_counted() {
    let place = Place::new();
    let story = r#"
if RUN == 1:
    import threading
    def noise():
        while not os.path.exists(os.path.join(HERE, "quiet")):
            err(b"noise noise noise\n" * 500)
            time.sleep(0.001)
    threading.Thread(target=noise).start()
work()
"#;
    let (relay, agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    let frames = client
        .until(|frame| {
            frame["data"].to_string().contains("lines of the agent's stderr were left out")
        })
        .await;
    assert!(frames.len() < 20_000, "{}", frames.len());
    client.say("Hello").await;
    client.turn().await;
    let (_, first) = (client.close().await, replay_next(&relay).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let frames = replay_next(&relay).await - first;
    // 64 KiB a second, each line of 17 bytes counted with 64 more.
    assert!(frames < 6_000, "{frames} in 2 s");
    agent.open("quiet");
    before.check(&relay).await;
}

async fn replay_next(relay: &Relay) -> u64 {
    answers_at_once(relay.address()).await["replay"]["next"].as_u64().expect("a number")
}

#[tokio::test]
async fn i13_odd_bytes_on_stderr_arrive_as_valid_json() {
    let place = Place::new();
    let story = r#"
if RUN == 1:
    err(b"\xff\xfe broken\n")
    err(b"nul \x00 bell \x07 \x1b[31mred\x1b[0m \"quoted\\\"\n")
    err("half a cr\r\n")
    err("no newline")
work()
"#;
    let (relay, _agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    let frames = client.until(|frame| frame["data"] == "no newline").await;
    let told: Vec<_> = frames.iter().map(|frame| frame["data"].as_str().expect("a text")).collect();
    assert_eq!(
        told,
        [
            "\u{fffd}\u{fffd} broken",
            "nul \0 bell \u{7} \u{1b}[31mred\u{1b}[0m \"quoted\\\"",
            "half a cr",
            "no newline"
        ]
    );
    client.close().await;
    before.check(&relay).await;
}

/// The longest line there may be, one byte more, and the line behind it.
#[tokio::test]
async fn i15_a_line_at_the_limit_passes_and_one_over_it_is_told() {
    const LIMIT: usize = 64 << 20;
    let place = Place::new();
    let story = r#"
if RUN == 1:
    hear()
    head, tail = '{"type":"assistant","text":"', '"}'
    for size in (64 << 20, (64 << 20) + 1):
        out(head + "x" * (size - len(head) - len(tail)) + tail + "\n")
    turn("after")
work()
"#;
    let (relay, _agent, before) = with_agent(&place, story);
    let mut client = crate::faults_raw::Raw::upgrade(relay.address(), "/ws", b"").await;
    client.text().await.expect("connected");
    client.say("go").await;
    let long = client.text().await.expect("a frame").len();
    assert_eq!(long, LIMIT + r#"{"type":"sdk_message","data":}"#.len());
    let told = client.text().await.expect("a frame").to_vec();
    let told: Value = serde_json::from_slice(&told).expect("JSON");
    assert!(told["error"].to_string().contains(&(LIMIT + 1).to_string()), "{told}");
    for kind in ["system", "result"] {
        let frame: Value =
            serde_json::from_slice(client.text().await.expect("a frame")).expect("JSON");
        assert_eq!(frame["data"]["type"], kind);
    }
    drop(client);
    before.check_but_for_rss(&relay).await;
}

#[tokio::test]
async fn i17_json_that_is_no_object_is_info() {
    let place = Place::new();
    let story = r#"
if RUN == 1:
    hear()
    out('[1]\n5\nnull\n"text"\ntrue\n{"type":\nplain words\n\n   \n')
    out(b"\xff\xfe\n")
    turn("done")
work()
"#;
    let (relay, _agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("go").await;
    let turn = client.turn().await;
    let told: Vec<_> = turn.0.iter().filter(|frame| frame["type"] == "info").collect();
    let told: Vec<_> = told.iter().map(|frame| frame["data"].as_str().expect("text")).collect();
    assert_eq!(
        told,
        ["[1]", "5", "null", "\"text\"", "true", "{\"type\":", "plain words", "\u{fffd}\u{fffd}"]
    );
    assert_eq!(turn.kinds(), ["system/init", "result/success"]);
    client.close().await;
    before.check(&relay).await;
}

#[tokio::test]
async fn i18_a_last_line_without_newline_comes_before_the_end() {
    let place = Place::new();
    let story = r#"
if RUN == 1:
    hear()
    err("why\n" * 10)
    out('{"type":"assistant","text":"last"}')
    os._exit(3)
work()
"#;
    let (relay, _agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("go").await;
    let frames = client.until(|frame| frame["type"] == "exit").await;
    let [before_end @ .., error, exit] = &frames[..] else { panic!("{frames:#?}") };
    let last = before_end.iter().find(|frame| frame["type"] == "sdk_message").expect("the line");
    assert_eq!(last["data"], json!({"type": "assistant", "text": "last"}));
    // All of stderr has come before the end, too.
    assert_eq!(before_end.iter().filter(|frame| frame["data"] == "why").count(), 10, "{frames:#?}");
    assert_eq!((&error["type"], &exit["code"]), (&json!("error"), &json!(3)));
    client.close().await;
    before.check(&relay).await;
}

#[tokio::test]
async fn half_a_line_is_completed_by_its_other_half_and_by_nothing_else() {
    let place = Place::new();
    let story = r#"
if RUN == 1:
    hear()
    for piece in ('{"type":', '"assis', 'tant"', '}', '\n{"type":"as', 'sistant"}\n'):
        out(piece)
        time.sleep(0.05)
    out('{"type":"half')
    os._exit(0)
work()
"#;
    let (relay, _agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("go").await;
    let frames = client.until(|frame| frame["type"] == "exit").await;
    let kinds: Vec<_> = frames.iter().map(|frame| frame["type"].as_str().expect("text")).collect();
    assert_eq!(kinds, ["sdk_message", "sdk_message", "info", "error", "exit"]);
    assert_eq!(frames[2]["data"], "{\"type\":\"half");
    client.close().await;
    before.check(&relay).await;
}

/// An agent that ends whenever it is spoken to, and a client that never gives
/// up speaking.
#[tokio::test]
async fn i20_a_crash_loop_backs_off_and_costs_nothing() {
    let place = Place::new();
    let (relay, agent, _) = with_agent(&place, "hear()\nsys.exit(7)");
    let mut client = Client::connect(relay.address()).await;
    for text in texts(0..100) {
        client.say(text).await;
    }
    let started = Instant::now();
    for words in ["It is started again", "before 1 s", "before 2 s", "before 4 s", "before 8 s"] {
        let (told, exit) = told_of_the_end(&mut client).await;
        assert!(told.contains(words), "{told}");
        assert_eq!(exit["code"], 7);
    }
    // None, none, one, two and four seconds: and now eight more to wait, long
    // enough for a slow machine to look at them at leisure.
    assert!(started.elapsed() >= Duration::from_millis(6900), "{:?}", started.elapsed());
    agent_is(&relay, "state", "backing_off").await;
    let state = agent_state(&relay).await;
    assert_eq!((&state["restarts"], &state["waiting_messages"]), (&json!(4), &json!(95)));
    assert_eq!(state["last_exit"]["code"], 7);
    // A server that waits in a loop burns a hundred ticks in this second.
    let before = cpu_ticks(relay.pid());
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let burnt = cpu_ticks(relay.pid()) - before;
    assert!(burnt <= 10, "{burnt} ticks");
    assert_eq!(agent.runs().len(), 5);
    assert_eq!(agent.heard(), texts(0..5));
    // A client that comes and goes does not shorten the wait.
    client.close().await;
    fresh_client(relay.address()).await.close().await;
    agent_is(&relay, "state", "backing_off").await;
    relay.stop();
}

#[tokio::test]
async fn i21_an_agent_that_never_answers_the_first_request_is_spoken_to_anyway() {
    let place = Place::new();
    let story = r#"
def answer(request): pass
work()
"#;
    let (relay, agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("one").await;
    client.turn().await;
    assert_eq!(agent.heard(), ["one"]);
    client.close().await;
    before.check(&relay).await;
}

#[tokio::test]
async fn i22_a_turn_that_never_ends_is_seen_in_health_and_can_be_interrupted() {
    let place = Place::new();
    let story = r#"
if RUN == 1:
    hear()
    init()
    while True:
        message = json.loads(line())
        answer(message)
        if message["request"]["subtype"] == "interrupt":
            result("interrupted")
            break
work()
"#;
    let (relay, _agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("one").await;
    client.frame().await;
    wait::within("idle_ms to grow", async {
        while agent_state(&relay).await["idle_ms"].as_u64().expect("a number") < 300 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let state = agent_state(&relay).await;
    assert_eq!((&state["state"], &state["turns"]), (&json!("running"), &json!(0)));
    assert!(state["pid"].is_u64() && state["session_id"].is_string(), "{state}");
    client.interrupt().await;
    assert_eq!(client.turn().await.result()["result"], "interrupted");
    client.close().await;
    before.check(&relay).await;
}

/// No descriptor for the agent's pipes; a later message finds some.
#[tokio::test]
async fn i23_a_system_that_refuses_a_process_is_told_and_asked_again() {
    let place = Place::new();
    let (relay, agent, before) = with_agent(&place, "work()");
    let pid = Pid::from_raw(relay.pid());
    let open = crate::faults_checks::descriptors(relay.pid()) as u64;
    let limit = |current| Rlimit { current: Some(current), maximum: Some(4096) };
    prlimit(pid, Resource::Nofile, limit(open + 4)).expect("a lower limit");
    let mut client = Client::connect(relay.address()).await;
    let told = error(&mut client).await;
    assert!(
        told.contains("could not be started") && told.contains("Too many open files"),
        "{told}"
    );
    prlimit(pid, Resource::Nofile, Rlimit { maximum: Some(4096), ..limit(1024) }).expect("a limit");
    client.say("now").await;
    client.turn().await;
    assert_eq!(agent.heard(), ["now"]);
    client.close().await;
    before.check(&relay).await;
}

#[tokio::test]
async fn i28_a_workspace_that_vanishes_is_named() {
    let place = Place::new();
    let (relay, agent, before) =
        with_agent(&place, "if RUN == 1:\n    hear()\n    sys.exit(1)\nwork()");
    let mut client = Client::connect(relay.address()).await;
    agent.notes("runs", "(new)").await;
    std::fs::remove_dir(place.workspace()).expect("an empty workspace");
    client.say("one").await;
    told_of_the_end(&mut client).await;
    client.say("two").await;
    let told = error(&mut client).await;
    assert!(told.contains(place.workspace().to_str().expect("UTF-8")), "{told}");
    std::fs::create_dir(place.workspace()).expect("a workspace");
    client.say("three").await;
    client.turn().await;
    client.turn().await;
    assert_eq!(agent.heard(), ["one", "two", "three"]);
    client.close().await;
    before.check(&relay).await;
}

/// A question that nobody here can answer is answered with an error.
#[tokio::test]
async fn i29_an_unknown_request_of_the_agent_is_not_left_open() {
    let place = Place::new();
    let story = r#"
if RUN == 1:
    hear()
    out(json.dumps({"type": "control_request", "request_id": "q", "request": {"subtype": "zzz"}}) + "\n")
    note("answer", line().decode())
    turn("done")
work()
"#;
    let (relay, agent, before) = with_agent(&place, story);
    let mut client = Client::connect(relay.address()).await;
    client.say("one").await;
    let turn = client.turn().await;
    assert!(turn.0.iter().all(|frame| frame["type"] == "sdk_message"), "{turn:#?}");
    let answer: Value = serde_json::from_str(&agent.noted("answer")[0]).expect("JSON");
    assert_eq!(answer["response"]["request_id"], "q");
    assert_eq!(answer["response"]["subtype"], "error");
    client.close().await;
    before.check(&relay).await;
}

/// A client that sends nonsense and never reads what is said to it is let go:
/// what it is owed would grow without end.
#[tokio::test]
async fn a_client_that_complains_are_made_of_and_that_never_reads_is_dropped() {
    let place = Place::new();
    let (relay, _agent, before) = with_agent(&place, "work()");
    let mut client = crate::faults_raw::Raw::upgrade(relay.address(), "/ws", b"").await;
    let frame = crate::support::ws::client_frame(0x81, b"nonsense");
    let many = frame.repeat(20_000);
    let flood = async {
        while tokio::io::AsyncWriteExt::write_all(&mut client.stream, &many).await.is_ok() {}
    };
    wait::within("the flood to be ended", flood).await;
    drop(client);
    before.check(&relay).await;
}
