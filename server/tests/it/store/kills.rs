//! Machines that are lost at any moment of a conversation. `RELAY_STORE_KILLS`
//! sets how many.

use super::{Machine, messages};
use claude_relay_testing::messages_api::Request;
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Longest life of a machine after the beginning of its first turn, in ms.
const LIFE_MS: u64 = 4000;

/// What one machine has seen.
struct Lost {
    id: Option<String>,
    /// Turns whose end the client was told.
    finished: usize,
    /// The requests to the model.
    requests: Vec<Request>,
}

async fn lose(cli: Cli, store: &std::path::Path, life: Duration) -> Lost {
    let mut machine = Machine::start(cli, store, json!({})).await;
    let (mut id, mut finished) = (None, 0);
    let talk = async {
        loop {
            let number = finished + 1;
            let end =
                machine.turn(&format!("Question {number}?"), &format!("Answer {number}.")).await;
            id = end["session_id"].as_str().map(str::to_owned);
            finished = number;
        }
    };
    // The power goes at any moment.
    let _: Result<(), _> = tokio::time::timeout(life, talk).await;
    let (_, api) = machine.lose();
    Lost { id, finished, requests: api.turns() }
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

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the number of kills by hand")]
#[allow(clippy::print_stdout, reason = "the figures of a run by hand")]
async fn every_finished_turn_goes_on_elsewhere_wherever_a_machine_is_lost() {
    let kills = std::env::var("RELAY_STORE_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let begin = Instant::now();
    let (mut machines, mut turns, mut cut_off, mut told) = (0, 0, 0, 0);
    for number in 0..kills {
        let store = tempfile::tempdir().unwrap();
        let life = Duration::from_millis(claude_relay_random::number() % LIFE_MS);
        let (cli, other) = match number % 2 {
            0 => (Cli::Newest, Cli::Newest),
            _ => (Cli::Oldest, Cli::Oldest),
        };
        let lost = lose(cli, store.path(), life).await;
        cut_off += usize::from(lost.requests.len() > lost.finished);
        if lost.finished == 0 {
            continue;
        }
        let (is_whole, is_told) = is_whole(other, store.path(), &lost).await;
        assert!(is_whole, "{number}: {} turns, lost after {life:?}", lost.finished);
        machines += 1;
        turns += lost.finished;
        told += usize::from(is_told);
    }
    println!(
        "{kills} machines lost; {machines} with a finished turn went on elsewhere, {turns} turns of them whole; {cut_off} were in a turn, {told} of them told, in {:?}",
        begin.elapsed()
    );
}
