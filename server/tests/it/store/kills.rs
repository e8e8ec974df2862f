//! Machines that are lost at any moment of a conversation. `RELAY_STORE_KILLS`
//! sets how many with each CLI.

use super::{Machine, messages};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::Request;
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::timeout;

for_both_clis! {
    every_finished_turn_goes_on_elsewhere_wherever_a_machine_is_lost,
}

/// Most turns that a machine finishes before the one in which it is lost.
const TURNS: u64 = 3;

/// What one machine has seen.
struct Lost {
    id: Option<String>,
    /// Turns whose end the client was told.
    finished: usize,
    /// The requests to the model.
    requests: Vec<Request>,
}

/// Loses a machine at any moment of a turn, or between this one and the next.
async fn lose(cli: Cli, store: &std::path::Path) -> Lost {
    let mut machine = Machine::start(cli, store, json!({})).await;
    let (mut id, mut finished) = (None, 0);
    let turns = 1 + claude_relay_random::number() % TURNS;
    let mut life = Duration::MAX;
    // The power goes at any moment of the last turn.
    while let Ok(end) = timeout(life, turn(&mut machine, finished + 1)).await {
        let (end, took) = end;
        id = end["session_id"].as_str().map(str::to_owned);
        finished += 1;
        if finished as u64 == turns {
            life = took.mul_f64(claude_relay_random::number() as f64 / u64::MAX as f64 * 1.2);
        } else if finished as u64 > turns {
            break;
        }
    }
    let (_, api) = machine.lose();
    Lost { id, finished, requests: api.turns() }
}

/// One turn: its end, and how long it has taken.
async fn turn(machine: &mut Machine, number: usize) -> (Value, Duration) {
    let begin = Instant::now();
    let end = machine.turn(&format!("Question {number}?"), &format!("Answer {number}.")).await;
    (end, begin.elapsed())
}

/// Returns true if the finished turns are in what the model is sent elsewhere,
/// as they were in what it was sent before; and if the client was told of one
/// that was cut off.
async fn is_whole(cli: Cli, store: &std::path::Path, lost: &Lost) -> (bool, bool) {
    let id = lost.id.as_deref().expect("a turn has ended");
    let mut machine = Machine::resuming(cli, store, id).await;
    machine.turn("And now?", "Now.").await;
    let sent = messages(&machine.api.turn(1).await);
    let before = messages(&lost.requests[lost.finished - 1]);
    let last = format!("Answer {}.", lost.finished);
    let is_prefix = sent.get(..before.len()) == Some(&before[..]);
    let has_last = sent[before.len()..].iter().any(|message| says(message, &last));
    let is_told =
        machine.client.frames().iter().any(|frame| frame.contains("in the middle of a turn"));
    machine.end().await;
    (is_prefix && has_last, is_told)
}

fn says(message: &Value, text: &str) -> bool {
    message["role"] == "assistant" && message["content"].to_string().contains(text)
}

#[allow(clippy::disallowed_methods, reason = "the number of kills by hand")]
#[allow(clippy::print_stdout, reason = "the figures of a run by hand")]
async fn every_finished_turn_goes_on_elsewhere_wherever_a_machine_is_lost(cli: Cli) {
    let kills =
        std::env::var("RELAY_STORE_KILLS").map_or(5, |kills| kills.parse().expect("a number"));
    let begin = Instant::now();
    let (mut turns, mut cut_off, mut told) = (0, 0, 0);
    for number in 0..kills {
        let store = tempfile::tempdir().expect("a directory");
        let lost = lose(cli, store.path()).await;
        cut_off += usize::from(lost.requests.len() > lost.finished);
        let (is_whole, is_told) = is_whole(cli, store.path(), &lost).await;
        assert!(is_whole, "{number}: {} turns", lost.finished);
        turns += lost.finished;
        told += usize::from(is_told);
    }
    println!(
        "{kills} machines lost after {turns} turns, all of which went on elsewhere; {cut_off} were asking the model in another turn, {told} were told to be cut off; in {:?}",
        begin.elapsed()
    );
}
