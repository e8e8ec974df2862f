//! Machines that are lost at any moment of a conversation. `RELAY_STORE_KILLS`
//! sets how many with each CLI.

use super::{Machine, messages, parts, texts};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::Request;
use claude_relay_testing::reply::{Gate, Reply};
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::timeout;

for_both_clis! {
    every_finished_turn_goes_on_elsewhere_wherever_a_machine_is_lost,
    a_turn_that_is_cut_off_is_in_the_store_while_it_runs_and_told_elsewhere,
}

/// Most turns that a machine finishes before the one in which it is lost.
const TURNS: u64 = 3;

/// Words by which a client is told of a turn that was cut off.
const CUT_OFF: &str = "ends in the middle of a turn";

/// What one machine has seen.
struct Lost {
    id: String,
    /// Turns whose end the client was told.
    finished: usize,
    /// The last request to the model of those turns.
    last: Request,
    /// The model was asked in another turn.
    asked: bool,
}

/// Loses a machine at any moment of a turn, or between this one and the next.
async fn lose(cli: Cli, store: &Path) -> Lost {
    let mut machine = Machine::start(cli, store, json!({})).await;
    let (mut id, mut finished, mut requests) = (None, 0, 0);
    let turns = 1 + claude_relay_random::number() % TURNS;
    let mut life = Duration::MAX;
    // The power goes at any moment of the last turn.
    while let Ok(end) = timeout(life, turn(&mut machine, finished + 1)).await {
        let (end, took) = end;
        id = end["session_id"].as_str().map(str::to_owned);
        finished += 1;
        requests = machine.api.turns().len();
        if finished as u64 == turns {
            life = took.mul_f64(claude_relay_random::number() as f64 / u64::MAX as f64 * 1.2);
        } else if finished as u64 > turns {
            break;
        }
    }
    let (_, api) = machine.lose();
    let mut asked = api.turns();
    let is_asked = asked.len() > requests;
    asked.truncate(requests);
    let last = asked.pop().expect("a request");
    Lost { id: id.expect("a turn has ended"), finished, last, asked: is_asked }
}

/// One turn, with a tool in every other one: its end, and how long it has taken.
async fn turn(machine: &mut Machine, number: usize) -> (Value, Duration) {
    let begin = Instant::now();
    let (question, answer) = (format!("Question {number}?"), format!("Answer {number}."));
    if number.is_multiple_of(2) {
        let call = json!({ "command": format!("echo Tool {number}."), "description": "d" });
        machine.api.script([Reply::tool("Bash", call)]);
    }
    let end = machine.turn(&question, &answer).await;
    (end, begin.elapsed())
}

/// Returns true if the last message of a transcript is that of a person or of a
/// tool, or calls one.
fn ends_in_a_turn(transcript: &str) -> bool {
    let lines = transcript.lines().rev().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let mut messages = lines.filter(|line| line["type"] == "user" || line["type"] == "assistant");
    let last = messages.next().expect("a message");
    last["type"] == "user" || last["message"]["content"].to_string().contains("\"tool_use\"")
}

/// Returns true if the client was told of a turn that was cut off. The finished
/// turns are in what the model is sent, byte for byte as they were.
async fn is_told(cli: Cli, store: &Path, lost: &Lost) -> bool {
    let mut machine = Machine::resuming(cli, store, &lost.id).await;
    machine.turn("And now?", "Now.").await;
    let sent = messages(&machine.api.turn(1).await);
    let before = messages(&lost.last);
    let bytes = |messages: &[Value]| serde_json::to_string(messages).expect("JSON");
    assert!(sent.len() > before.len(), "{sent:#?}");
    assert_eq!(bytes(&sent[..before.len()]), bytes(&before));
    let answer = format!("Answer {}.", lost.finished);
    let says = |message: &Value| {
        message["role"] == "assistant" && message["content"].to_string().contains(&answer)
    };
    assert!(says(&sent[before.len()]), "{sent:#?}");
    let is_told = machine.client.frames().iter().any(|frame| frame.contains(CUT_OFF));
    machine.end().await;
    is_told
}

#[allow(clippy::disallowed_methods, reason = "the number of kills by hand")]
#[allow(clippy::print_stdout, reason = "the figures of a run by hand")]
async fn every_finished_turn_goes_on_elsewhere_wherever_a_machine_is_lost(cli: Cli) {
    let kills =
        std::env::var("RELAY_STORE_KILLS").map_or(5, |kills| kills.parse().expect("a number"));
    let begin = Instant::now();
    let (mut turns, mut asked, mut told) = (0, 0, 0);
    for number in 1..=kills {
        let store = tempfile::tempdir().expect("a directory");
        let lost = lose(cli, store.path()).await;
        let text = texts(&parts(store.path(), &lost.id));
        let is_told = is_told(cli, store.path(), &lost).await;
        assert_eq!(is_told, ends_in_a_turn(&text), "{number}: {text}");
        turns += lost.finished;
        asked += usize::from(lost.asked);
        told += usize::from(is_told);
        println!("{number}: {} turns, told: {is_told}, {:?}", lost.finished, begin.elapsed());
    }
    println!(
        "{kills} machines lost after {turns} turns, all of which went on elsewhere; {asked} were asking the model in another turn, {told} had left the beginning of it in the store and were told to be cut off; in {:?}",
        begin.elapsed()
    );
}

async fn a_turn_that_is_cut_off_is_in_the_store_while_it_runs_and_told_elsewhere(cli: Cli) {
    let store = tempfile::tempdir().expect("a directory");
    let mut machine = Machine::start(cli, store.path(), json!({})).await;
    let end = machine.turn("One?", "One.").await;
    let id = end["session_id"].as_str().expect("an id").to_owned();
    machine.api.script([Reply::gated(&Gate::closed(), ["never"])]);
    machine.client.say("Two?").await;
    // The queue of the CLI has the question in the store before the conversation has.
    let is_stored = async || {
        let texts = texts(&parts(store.path(), &id));
        let is_asked = |line: &str| line.contains("\"Two?\"") && line.contains("\"type\":\"user\"");
        texts.lines().any(is_asked)
    };
    wait::until_async("the question to be in the store", is_stored).await;
    machine.lose();

    let mut elsewhere = Machine::resuming(cli, store.path(), &id).await;
    elsewhere.turn("And now?", "Now.").await;
    elsewhere.until_told(CUT_OFF).await;
    let told = elsewhere.client.frames().iter().find(|frame| frame.contains(CUT_OFF));
    assert!(told.is_some_and(|frame| frame.contains("\"info\"")), "{told:?}");
    let sent = elsewhere.api.turn(1).await.body["messages"].to_string();
    assert!(sent.contains("Two?"), "{sent}");
    elsewhere.end().await;
}
