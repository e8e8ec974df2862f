//! Background tasks of the real CLI: each question gets its own answer, whatever
//! the CLI does on its own about them.

use claude_relay_client::{Client, TurnOrigin};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::process;
use claude_relay_testing::real_cli::CliFixture;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::tools::Cli;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{client, soon};

for_both_clis! {
    a_question_is_answered_before_its_task_and_ends_after_it,
    a_question_beside_a_running_task_gets_its_own_answer,
    a_crash_with_a_running_task_leaves_the_next_answers_alone,
}

/// A task in the background that ends when the file of this name is there.
fn task(fixture: &CliFixture, file: &str) -> Reply {
    let file = fixture.env.file(file).display().to_string();
    let command = format!("until [ -e '{file}' ]; do sleep 0.1; done");
    let input = json!({ "command": command, "description": "wait", "run_in_background": true });
    Reply::tool("Bash", input)
}

/// The reply of the API to the last request that holds `said` and nothing of `later`.
fn reply_to<'a>(fixture: &CliFixture, replies: &[&'a str], said: &str, later: &str) -> &'a str {
    let requests = fixture.api.turns();
    let holds = |text: &str, word: &str| !word.is_empty() && text.contains(word);
    let is_its = |request: &claude_relay_testing::messages_api::Request| {
        let text = request.body["messages"].to_string();
        holds(&text, said) && !holds(&text, later)
    };
    let at = requests.iter().rposition(is_its).expect("a request with the question");
    // The first reply is the call of the tool.
    replies[at - 1]
}

/// The id of the agent's process.
async fn agent(client: &Client) -> Option<i64> {
    let details = soon(client.health()).await.unwrap().details;
    let health: serde_json::Value = serde_json::from_str(details.get()).unwrap();
    health["agent"]["pid"].as_i64()
}

async fn connected(fixture: &CliFixture, waits: bool) -> Client {
    soon(client(&fixture.relay.url).wait_for_background_tasks(waits).start()).await.unwrap()
}

async fn a_question_is_answered_before_its_task_and_ends_after_it(cli: Cli) {
    let fixture = CliFixture::start(cli, "unrestricted").await;
    fixture.api.script([task(&fixture, "go"), Reply::text("Begun."), Reply::text("It is over.")]);
    let client = connected(&fixture, true).await;
    let mut turns = client.turns();
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.ask("Begin").await }
    });
    let ours = soon(turns.next()).await.unwrap().unwrap();
    assert_eq!((ours.origin, ours.answer.text.as_str()), (TurnOrigin::Client, "Begun."));
    assert!(!asking.is_finished());
    std::fs::write(fixture.env.file("go"), "").unwrap();
    let own = soon(turns.next()).await.unwrap().unwrap();
    assert_eq!((own.origin, own.answer.text.as_str()), (TurnOrigin::Agent, "It is over."));
    assert_eq!(soon(asking).await.unwrap().unwrap().text, "Begun.");
    fixture.relay.stop().await;
}

async fn a_question_beside_a_running_task_gets_its_own_answer(cli: Cli) {
    let fixture = CliFixture::start(cli, "unrestricted").await;
    fixture.api.script([task(&fixture, "go")]);
    fixture.api.script(["Begun.", "Beside it.", "It is over.", "After it."].map(Reply::text));
    let client = connected(&fixture, false).await;
    let mut turns = client.turns();
    assert_eq!(soon(client.ask("Begin")).await.unwrap().text, "Begun.");
    assert_eq!(soon(client.ask("And now")).await.unwrap().text, "Beside it.");
    std::fs::write(fixture.env.file("go"), "").unwrap();
    let own = loop {
        let turn = soon(turns.next()).await.unwrap().unwrap();
        if turn.origin == TurnOrigin::Agent {
            break turn;
        }
    };
    assert_eq!(own.answer.text, "It is over.");
    assert_eq!(soon(client.ask("And then")).await.unwrap().text, "After it.");
    fixture.relay.stop().await;
}

async fn a_crash_with_a_running_task_leaves_the_next_answers_alone(cli: Cli) {
    let fixture = CliFixture::start(cli, "unrestricted").await;
    let replies = ["Begun.", "ONE", "TWO", "THREE", "FOUR"];
    fixture.api.script([task(&fixture, "never")]);
    fixture.api.script(replies.map(Reply::text));
    let client = connected(&fixture, false).await;
    assert_eq!(soon(client.ask("Begin")).await.unwrap().text, "Begun.");
    // Without it there is nothing to resume.
    fixture.env.session_holds("Begun.").await;
    let pid = agent(&client).await.expect("an agent");
    process::signal(i32::try_from(pid).unwrap(), Signal::KILL);
    wait::until_async("the end of the agent", async || agent(&client).await != Some(pid)).await;
    let first = soon(client.ask("FIRST-QUESTION")).await.unwrap();
    let second = soon(client.ask("SECOND-QUESTION")).await.unwrap();
    let expected = reply_to(&fixture, &replies, "FIRST-QUESTION", "SECOND-QUESTION");
    assert_eq!(first.text, expected);
    assert_eq!(second.text, reply_to(&fixture, &replies, "SECOND-QUESTION", ""));
    assert_ne!(first.text, second.text);
    fixture.relay.stop().await;
}
