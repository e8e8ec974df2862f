//! Agents that end, one way or another, or ought to.

use super::checks::cpu_ticks;
use super::{SESSION, Trial, texts};
use crate::support::relay::Launch;
use crate::support::ws::Client;
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[tokio::test]
async fn exit_by_a_signal_names_the_signal() {
    for name in ["SIGSEGV", "SIGKILL", "SIGABRT"] {
        let story = format!("if RUN == 1:\n    hear()\n    init()\n    die(signal.{name})\nwork()");
        let mut trial = Trial::of(&story).await;
        trial.client.say("die").await;
        let (words, exit) = trial.told_of_the_end().await;
        assert!(words.contains(name), "{words}");
        assert_eq!((&exit["code"], &exit["signal"]), (&Value::Null, &json!(name)));
        trial.turn("live").await;
        // The conversation goes on.
        assert_eq!(trial.agent.runs(), ["(new)", SESSION]);
        assert_eq!(trial.agent.heard(), ["die", "live"]);
        trial.over().await;
    }
}

/// A signal before the first answer says nothing about the conversation.
#[tokio::test]
async fn conversation_survives_a_resumed_agent_that_is_killed_at_once() {
    let story = "if RUN == 1:\n    turn(hear())\n    hear()\n    die(signal.SIGKILL)\nif RUN == 2: die(signal.SIGKILL)\nif RUN == 3: sys.exit(1)\nwork()";
    let mut trial = Trial::of(story).await;
    trial.turn("one").await;
    trial.client.say("two").await;
    trial.told_of_the_end().await;
    trial.turn("three").await;
    assert_eq!(trial.agent.runs(), ["(new)", SESSION, SESSION, SESSION]);
    assert_eq!(trial.agent.heard(), ["one", "two", "three"]);
    trial.over().await;
}

/// The agent says that it does not know the conversation: that is told once,
/// what waits is handed back, and the next message begins a new one.
#[tokio::test]
async fn a_session_that_cannot_be_resumed_is_said_once_and_a_new_one_is_started() {
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
    let mut trial = Trial::of(story).await;
    trial.turn("one").await;
    trial.client.say("two").await;
    trial.told_of_the_end().await;
    trial.client.say("three").await;
    let (words, _) = trial.told_of_the_end().await;
    assert!(words.contains(&format!("{SESSION} could not be resumed")), "{words}");
    let turn = trial.turn("four").await;
    for frame in &turn.0 {
        assert_ne!(frame["type"], "error", "{frame}");
    }
    assert_eq!(trial.agent.runs(), ["(new)", SESSION, "(new)"]);
    assert_eq!(trial.agent.heard(), ["one", "two", "four"]);
    trial.over().await;
}

/// Ends between two messages that both lie in its pipe: what it has not read
/// is handed to the next one, once and in order, whichever way it ends.
#[tokio::test]
async fn unread_messages_reach_the_next_agent_once_and_in_order() {
    let with_its_supervisor = "os.kill(os.getppid(), signal.SIGKILL)\ntime.sleep(60)";
    for end in ["sys.exit(0)", "sys.exit(1)", "die(signal.SIGKILL)", with_its_supervisor] {
        // Every process reads seven messages of those that are there already.
        let story = format!(
            "if RUN == 1: gate('go')\nfor _ in range(7):\n    text = hear()\n    if text is None: sys.exit(0)\n    turn(text)\n    if text == 'message 199': work()\n{end}"
        );
        let mut trial = Trial::of(&story).await;
        for text in texts(0..200) {
            trial.client.say(text).await;
        }
        trial.agent.open("go");
        for _ in 0..200 {
            trial.client.turn().await;
        }
        assert_eq!(trial.agent.heard(), texts(0..200), "{end}");
        assert_eq!(trial.agent.runs().len(), 29, "{end}");
        trial.over().await;
    }
}

#[tokio::test]
async fn agent_that_closes_stdout_is_replaced() {
    let story =
        "if RUN == 1:\n    hear()\n    init()\n    os.close(1)\n    time.sleep(600)\nwork()";
    let mut trial = Trial::of(story).await;
    trial.client.say("one").await;
    let told = trial.error().await;
    assert!(told.contains("closed its standard output and still runs"), "{told}");
    trial.told_of_the_end().await;
    trial.turn("two").await;
    assert_eq!(trial.agent.heard(), ["one", "two"]);
    trial.over().await;
}

#[tokio::test]
async fn agent_that_closes_stdin_is_replaced() {
    let story = "if RUN == 1:\n    turn(hear())\n    os.close(0)\n    note('closed', 'stdin')\n    time.sleep(600)\nwork()";
    let mut trial = Trial::of(story).await;
    trial.turn("one").await;
    trial.agent.notes("closed", "stdin").await;
    for text in ["two", "three", "four"] {
        trial.client.say(text).await;
    }
    let told = trial.error().await;
    assert!(told.contains("closed its standard input and still runs"), "{told}");
    for _ in 0..3 {
        trial.client.turn().await;
    }
    assert_eq!(trial.agent.heard(), ["one", "two", "three", "four"]);
    trial.over().await;
}

#[tokio::test]
async fn agent_that_ignores_eof_and_sigterm_is_killed_after_the_grace_period() {
    let story = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwork()\nwhile True: time.sleep(1)";
    let mut trial = Trial::of(story).await;
    trial.turn("one").await;
    let asked = Instant::now();
    trial.relay.signal(Signal::TERM);
    assert_eq!(trial.relay.end().code(), Some(0));
    // Two graces of half a second, and no more than the machine adds.
    assert!(asked.elapsed() >= Duration::from_secs(1), "{:?}", asked.elapsed());
    wait::was_within(Duration::from_secs(2), asked);
}

/// A shell between the supervisor and the agent that ignores SIGTERM.
#[tokio::test]
async fn wrapper_that_ignores_sigterm_does_not_delay_the_stop() {
    let env = TestEnv::new();
    let wrapper = env.file("wrapper");
    let server = env!("CARGO_BIN_EXE_claude-relay-server");
    executable(&wrapper, format!("#!/bin/sh\ntrap '' TERM\n'{server}' demo-agent \"$@\"\n"));
    let relay = Launch::new(&env).argument("--claude-path").argument(&wrapper).start();
    let mut client = Client::connect(relay.address()).await;
    client.say("one").await;
    client.turn().await;
    relay.stop();
}

#[tokio::test]
async fn last_line_without_newline_is_relayed_before_the_exit() {
    let story = r#"
if RUN == 1:
    hear()
    err("why\n" * 10)
    out('{"type":"assistant","text":"last"}')
    os._exit(3)
work()
"#;
    let mut trial = Trial::of(story).await;
    trial.client.say("go").await;
    let frames = trial.client.until(|frame| frame["type"] == "exit").await;
    let [before_end @ .., error, exit] = &frames[..] else { panic!("{frames:#?}") };
    let last = before_end.iter().find(|frame| frame["type"] == "sdk_message").expect("the line");
    assert_eq!(last["data"], json!({"type": "assistant", "text": "last"}));
    // All of stderr has come before the end, too.
    assert_eq!(before_end.iter().filter(|frame| frame["data"] == "why").count(), 10, "{frames:#?}");
    assert_eq!((&error["type"], &exit["code"]), (&json!("error"), &json!(3)));
    trial.over().await;
}

/// An agent that ends whenever it is spoken to, and a client that never gives
/// up speaking.
#[tokio::test]
async fn crash_loop_backs_off_and_leaks_nothing() {
    let mut trial = Trial::of("hear()\nsys.exit(7)").await;
    let started = Instant::now();
    for text in texts(0..100) {
        trial.client.say(text).await;
    }
    // The second message may or may not have come when the first run ends: it
    // is followed by the next at once.
    let (told, _) = trial.told_of_the_end().await;
    assert!(told.contains("start") && !told.contains("before"), "{told}");
    for words in ["before 1 s", "before 2 s"] {
        let (told, exit) = trial.told_of_the_end().await;
        assert!(told.contains(words), "{told}");
        assert_eq!(exit["code"], 7);
    }
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
    // Nothing is kept for an agent that does not come up.
    let state = trial.health().await;
    assert_eq!((&state["restarts"], &state["waiting_messages"]), (&json!(2), &json!(0)));
    assert_eq!(state["last_exit"]["code"], 7);
    // A server that waits in a loop burns a hundred ticks in this second.
    let before = cpu_ticks(trial.relay.pid());
    tokio::time::sleep(Duration::from_millis(1000)).await;
    let burnt = cpu_ticks(trial.relay.pid()) - before;
    assert!(burnt <= 10, "{burnt} ticks");
    assert_eq!(trial.agent.runs().len(), 3);
    assert_eq!(trial.agent.heard(), texts(0..3));
    trial.client.close().await;
}
