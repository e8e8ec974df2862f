//! A server that is killed and started again, over and over, at any point of a
//! turn. `RELAY_KILLS` sets how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use claude_relay_client::{Client, ConnectionState, TurnError};
use claude_relay_testing::relay_process::RelayProcess;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::support::{client, soon};

/// Messages that pass in a turn with the beginning of its connection, roughly.
const MESSAGES: u64 = 16;

/// Kills that belong to one turn on average.
const KILLS_PER_TURN: usize = 4;

/// The time that a question has: its server is away for parts of it.
const LIMIT: Duration = Duration::from_secs(60);

/// The messages of all kinds that have passed so far.
fn counting(url: &str) -> (claude_relay_client::ClientBuilder, watch::Receiver<u64>) {
    let (count, passed) = watch::channel(0);
    let builder = client(url).on_traffic(move |_, _| count.send_modify(|count| *count += 1));
    (builder, passed)
}

/// Asks until `over`. Returns the numbers of answers and of errors.
async fn ask(client: Client, at_least: usize, over: Arc<AtomicBool>) -> (usize, usize) {
    let (mut answers, mut errors) = (0, 0);
    let mut number = 0;
    while !over.load(Ordering::SeqCst) || number < at_least {
        number += 1;
        let question = format!("question {number}");
        let asked = timeout(LIMIT, client.ask(&*question)).await;
        match asked.expect("a question ends") {
            Ok(answer) => {
                assert!(answer.text.contains(&format!("“{question}”")), "{}", answer.text);
                answers += 1;
            }
            Err(TurnError::Send(_) | TurnError::ServerRestarted) => errors += 1,
            Err(other) => panic!("{question}: {other:?}"),
        }
    }
    (answers, errors)
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the number of kills by hand")]
#[allow(clippy::print_stdout, reason = "the figures of a run by hand")]
async fn every_question_gets_its_own_answer_or_an_error_wherever_the_server_is_killed() {
    let kills = std::env::var("RELAY_KILLS").map_or(20, |kills| kills.parse().unwrap());
    let mut relay = RelayProcess::demo(&[]).await;
    let (builder, mut passed) = counting(&relay.url);
    let client = soon(builder.reconnect_for(LIMIT).start()).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let asking = tokio::spawn(ask(client.clone(), kills / KILLS_PER_TURN, Arc::clone(&over)));
    for _ in 0..kills {
        let point = *passed.borrow() + claude_relay_random::number() % MESSAGES;
        soon(passed.wait_for(|count| *count >= point)).await.unwrap();
        let port = relay.port;
        relay.kill().await;
        relay = RelayProcess::start_on(port, &["--demo"], &[]).await;
    }
    over.store(true, Ordering::SeqCst);
    let (answers, errors) = timeout(LIMIT * 2, asking).await.expect("the last ends").unwrap();
    println!("{kills} kills: {answers} answers, {errors} errors");
    assert!(answers + errors >= kills / KILLS_PER_TURN);
    assert!(matches!(*client.connection().borrow(), ConnectionState::Connected));
    assert!(!soon(client.ask("after")).await.unwrap().is_error);
}
