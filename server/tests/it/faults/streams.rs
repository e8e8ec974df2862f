//! Agents that say or hear too much, too little, or the wrong things.

use super::agent::FakeAgent;
use super::checks::{Before, answers_at_once};
use super::raw::Raw;
use super::{Trial, texts};
use crate::support::relay::Relay;
use crate::support::ws::{Client, client_frame};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::{process, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// More than a pipe holds for an agent that never reads: the inbox fills up to
/// its bound, and then the client is told; everything else still works, and
/// what was taken is not lost.
#[tokio::test]
async fn full_inbox_is_reported_to_the_client() {
    const SENT: usize = 140;
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
    let probe = "--probe-timeout=30s";
    let mut trial = Trial::launched(story, |launch, _| launch.argument(probe)).await;
    let filler = "x".repeat(1 << 20);
    for number in 0..SENT {
        trial.client.say(format!("message {number:<4}{filler}")).await;
    }
    trial.client.send(&json!({"type": "capabilities"})).await;
    trial.client.interrupt().await;
    trial.client.send(&json!({"type": "nonsense"})).await;
    // The answer comes on a lane of its own; the errors keep their order.
    let frames = trial.client.until(|frame| frame["error"].to_string().contains("nonsense")).await;
    let refused = frames
        .iter()
        .filter(|frame| frame["error"].to_string().contains("The message was not taken"))
        .count();
    if !frames.iter().any(|frame| frame["type"] == "capabilities") {
        trial.client.until(|frame| frame["type"] == "capabilities").await;
    }
    // 128 MiB wait, one is being written and one is next.
    let accepted = SENT - refused;
    assert!((126..=130).contains(&accepted), "{accepted}");
    // Behind the messages it would wait for ever: the agent never reads. That
    // goes for the answer to a probe as well.
    let mut second = Client::open(trial.relay.address(), "/ws").await;
    let told = tokio::select! {
        told = second.frame() => told,
        seen = trial.client.see() => panic!("nothing but a ping: {seen:?}"),
    };
    assert_eq!(told["error"], "Server already has an active connection");
    trial.client.close().await;

    // The agent is killed; the next one gets all that was taken.
    let health = answers_at_once(trial.relay.address()).await;
    let pid = health["agent"]["pid"].as_i64().expect("a pid");
    process::signal(i32::try_from(pid).expect("a pid"), Signal::KILL);
    let heard = || trial.agent.heard();
    wait::until("all messages to be read", || (heard().len() >= accepted).then_some(())).await;
    assert_eq!(heard(), texts(0..accepted));
    trial.before.check_but_for_rss(&trial.relay).await;
}

/// stderr full before a word on stdout, both full before stdin is read.
#[tokio::test]
async fn full_pipes_in_all_directions_do_not_deadlock() {
    let story = r#"
if RUN == 1:
    err(b"noise\n" * 200_000)
    line = json.dumps({"type": "assistant", "text": "x" * 1000}) + "\n"
    out(line * 2000)
work()
"#;
    let mut trial = Trial::of(story).await;
    let large = "y".repeat(4 << 20);
    let turn = trial.turn(large.as_str()).await;
    assert_eq!(turn.kinds().iter().filter(|kind| *kind == "assistant").count(), 2000);
    let told = turn.0.iter().filter(|frame| frame["type"] == "info").count();
    assert!(told > 10 && told < 10_000, "{told} lines of 200,000");
    assert_eq!(trial.agent.heard(), [large]);
    trial.over().await;
}

/// Noise without end: passed on at a bounded rate, and what is left out is
/// counted.
#[tokio::test]
async fn endless_stderr_is_bounded_and_omitted_lines_are_counted() {
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
    let mut trial = Trial::of(story).await;
    let left_out = |frame: &Value| frame["data"].to_string().contains("stderr were left out");
    let frames = trial.client.until(left_out).await;
    assert!(frames.len() < 20_000, "{}", frames.len());
    trial.turn("Hello").await;
    trial.client.close().await;
    let first = replay_next(&trial.relay).await;
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let frames = replay_next(&trial.relay).await - first;
    // 64 KiB a second, each line of 17 bytes counted with 64 more: 810 lines a
    // second, and a reserve of a few seconds. A slow machine takes longer.
    let took = begun.elapsed();
    assert!(frames as f64 <= 3_000.0 * took.as_secs_f64(), "{frames} in {took:?}");
    trial.agent.open("quiet");
    trial.before.check(&trial.relay).await;
}

async fn replay_next(relay: &Relay) -> u64 {
    answers_at_once(relay.address()).await["replay"]["next"].as_u64().expect("a number")
}

#[tokio::test]
async fn invalid_bytes_on_stderr_arrive_as_valid_json() {
    let story = r#"
if RUN == 1:
    err(b"\xff\xfe broken\n")
    err(b"nul \x00 bell \x07 \x1b[31mred\x1b[0m \"quoted\\\"\n")
    err("half a cr\r\n")
    err("no newline")
work()
"#;
    let mut trial = Trial::of(story).await;
    let frames = trial.client.until(|frame| frame["data"] == "no newline").await;
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
    trial.over().await;
}

/// The longest line there may be, one byte more, and the line behind it.
#[tokio::test]
async fn line_at_the_limit_passes_and_a_longer_one_is_reported() {
    const LIMIT: usize = 64 << 20;
    let env = TestEnv::new();
    let story = r#"
if RUN == 1:
    hear()
    head, tail = '{"type":"assistant","text":"', '"}'
    for size in (64 << 20, (64 << 20) + 1):
        out(head + "x" * (size - len(head) - len(tail)) + tail + "\n")
    turn("after")
work()
"#;
    let relay = FakeAgent::new(&env, story).launch(&env).start();
    let before = Before::of(&relay);
    let mut client = Raw::upgrade(relay.address(), "/ws", b"").await;
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
async fn line_that_is_no_json_object_becomes_info() {
    let story = r#"
if RUN == 1:
    hear()
    out('[1]\n5\nnull\n"text"\ntrue\n{"type":\nplain words\n\n   \n')
    out(b"\xff\xfe\n")
    turn("done")
work()
"#;
    let mut trial = Trial::of(story).await;
    let turn = trial.turn("go").await;
    let told: Vec<_> = turn.0.iter().filter(|frame| frame["type"] == "info").collect();
    let told: Vec<_> = told.iter().map(|frame| frame["data"].as_str().expect("text")).collect();
    assert_eq!(
        told,
        ["[1]", "5", "null", "\"text\"", "true", "{\"type\":", "plain words", "\u{fffd}\u{fffd}"]
    );
    assert_eq!(turn.kinds(), ["system/init", "result/success"]);
    trial.over().await;
}

#[tokio::test]
async fn half_a_line_is_completed_by_its_other_half_and_by_nothing_else() {
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
    let mut trial = Trial::of(story).await;
    trial.client.say("go").await;
    let frames = trial.client.until(|frame| frame["type"] == "exit").await;
    let kinds: Vec<_> = frames.iter().map(|frame| frame["type"].as_str().expect("text")).collect();
    assert_eq!(kinds, ["sdk_message", "sdk_message", "info", "error", "exit"]);
    assert_eq!(frames[2]["data"], "{\"type\":\"half");
    trial.over().await;
}

#[tokio::test]
async fn agent_that_never_answers_initialize_gets_messages_anyway() {
    let story = r#"
def answer(request): pass
work()
"#;
    let mut trial = Trial::of(story).await;
    trial.turn("one").await;
    assert_eq!(trial.agent.heard(), ["one"]);
    trial.over().await;
}

#[tokio::test]
async fn endless_turn_is_shown_in_health_and_can_be_interrupted() {
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
    let mut trial = Trial::of(story).await;
    trial.client.say("one").await;
    trial.client.frame().await;
    wait::within("idle_ms to grow", async {
        while trial.health().await["idle_ms"].as_u64().expect("a number") < 300 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let state = trial.health().await;
    assert_eq!((&state["state"], &state["turns"]), (&json!("running"), &json!(0)));
    assert!(state["pid"].is_u64() && state["session_id"].is_string(), "{state}");
    trial.client.interrupt().await;
    assert_eq!(trial.client.turn().await.result()["result"], "interrupted");
    trial.over().await;
}

/// A question that nobody here can answer is answered with an error.
#[tokio::test]
async fn unknown_request_of_the_agent_is_answered_with_an_error() {
    let story = r#"
if RUN == 1:
    hear()
    out(json.dumps({"type": "control_request", "request_id": "q", "request": {"subtype": "zzz"}}) + "\n")
    note("answer", line().decode())
    turn("done")
work()
"#;
    let mut trial = Trial::of(story).await;
    let turn = trial.turn("one").await;
    assert!(turn.0.iter().all(|frame| frame["type"] == "sdk_message"), "{turn:#?}");
    let answer: Value = serde_json::from_str(&trial.agent.noted("answer")[0]).expect("JSON");
    assert_eq!(answer["response"]["request_id"], "q");
    assert_eq!(answer["response"]["subtype"], "error");
    trial.over().await;
}

/// Error messages for a client that never reads would fill memory without a
/// bound, so the server drops the client.
#[tokio::test]
async fn client_that_never_reads_error_messages_is_dropped() {
    let env = TestEnv::new();
    let relay = FakeAgent::new(&env, "work()").launch(&env).start();
    let before = Before::of(&relay);
    let mut client = Raw::upgrade(relay.address(), "/ws", b"").await;
    let many = client_frame(0x81, b"nonsense").repeat(20_000);
    let flood = async {
        while tokio::io::AsyncWriteExt::write_all(&mut client.stream, &many).await.is_ok() {}
    };
    wait::within("the flood to be ended", flood).await;
    drop(client);
    before.check(&relay).await;
}
