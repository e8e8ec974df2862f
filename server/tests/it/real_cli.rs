//! Turns of the real CLI as a client of the server sees them.
//!
//! Every scenario ends in [`CliFixture::end`]: what the client got is what the CLI
//! printed, byte for byte, and nothing is left running.

use crate::support::cli_fixture::CliFixture;
use crate::support::ws::Turn;
use claude_relay_testing::for_both_clis;
use claude_relay_testing::messages_api::Request;
use claude_relay_testing::reply::{Gate, Message, Reply};
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};

for_both_clis! {
    one_turn,
    two_turns_in_one_process,
    tool_writes_into_the_workspace,
    partial_messages_arrive_as_they_are_made,
    thinking,
    interrupt_in_mid_stream_and_the_next_turn,
    image_reaches_the_model,
    five_megabytes_reach_the_model,
    long_reply,
    unusual_characters,
    frames_while_busy_are_all_answered,
}

/// Messages of a turn of plain text.
const TEXT_TURN: [&str; 3] = ["system/init", "assistant", "result/success"];

async fn one_turn(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::text("Hello from the test.")]);
    fixture.client.say("Hi").await;
    let turn = fixture.client.turn().await;

    assert_eq!(turn.kinds(), TEXT_TURN);
    assert_eq!(turn.result()["result"], "Hello from the test.");
    assert_eq!(turn.0.len(), turn.said().len(), "nothing but messages of the agent: {turn:#?}");
    fixture.end().await;
}

async fn two_turns_in_one_process(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::text("One."), Reply::text("Two.")]);
    fixture.client.say("First").await;
    let first = fixture.client.turn().await;
    let pid = fixture.agent_pid().await;
    fixture.client.say("Second").await;
    let second = fixture.client.turn().await;

    assert_eq!(fixture.agent_pid().await, pid);
    assert_eq!(second.kinds(), TEXT_TURN);
    assert_eq!(second.result()["result"], "Two.");
    assert_eq!(first.result()["session_id"], second.result()["session_id"]);
    assert_eq!(fixture.agent().await["session_id"], second.result()["session_id"]);
    assert_said(&fixture.api.turn(2).await.user_messages(), &["First", "Second"]);
    fixture.end().await;
}

async fn tool_writes_into_the_workspace(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    let file = fixture.env.workspace().join("made.txt");
    fixture.api.script([
        Reply::tool("Write", json!({ "file_path": file, "content": "made by a tool\n" })),
        Reply::text("Written."),
    ]);
    fixture.client.say("Make a file").await;
    let turn = fixture.client.turn().await;

    assert_eq!(turn.kinds(), ["system/init", "assistant", "user", "assistant", "result/success"]);
    assert_eq!(std::fs::read_to_string(file).expect("the tool's file"), "made by a tool\n");
    fixture.end().await;
}

async fn partial_messages_arrive_as_they_are_made(cli: Cli) {
    let config = json!({ "includePartialMessages": true });
    let mut fixture = CliFixture::configured(cli, config).await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["one ", "two ", "three"])]);
    fixture.client.say("Count").await;
    for piece in ["one ", "two ", "three"] {
        // Only this piece is on its way: if the client sees it, nobody on the
        // way has waited for the rest.
        gate.let_through(1);
        fixture.client.until(|frame| delta(frame) == Some(piece)).await;
    }
    let turn = fixture.client.turn().await;

    assert_eq!(turn.result()["result"], "one two three");
    fixture.end().await;
}

async fn thinking(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Message::default().thinking("Hm, let me see.").text("Seen.")]);
    fixture.client.say("Think").await;
    let turn = fixture.client.turn().await;

    let blocks: Vec<_> = turn
        .said()
        .into_iter()
        .filter(|said| said["type"] == "assistant")
        .map(|said| said["message"]["content"][0]["type"].clone())
        .collect();
    assert_eq!(blocks, ["thinking", "text"]);
    assert_eq!(turn.result()["result"], "Seen.");
    fixture.end().await;
}

async fn interrupt_in_mid_stream_and_the_next_turn(cli: Cli) {
    let config = json!({ "includePartialMessages": true });
    let mut fixture = CliFixture::configured(cli, config).await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["some ", "never"]), Reply::text("Next.")]);
    fixture.client.say("Go").await;
    gate.let_through(1);
    fixture.client.until(|frame| delta(frame) == Some("some ")).await;
    fixture.client.interrupt().await;
    let aborted = fixture.client.turn().await;

    let end: Vec<_> = aborted.kinds().into_iter().filter(|k| k != "stream_event").collect();
    assert_eq!(end, ["assistant", "user", "result/error_during_execution"]);
    assert!(said_text(&aborted).contains("[Request interrupted by user]"), "{aborted:#?}");
    let pid = fixture.agent_pid().await;

    fixture.client.say("And now").await;
    let next = fixture.client.turn().await;
    assert_eq!(next.result()["result"], "Next.");
    assert_eq!(next.result()["subtype"], "success");
    assert_eq!(fixture.agent_pid().await, pid, "an interrupt is no restart");
    fixture.end().await;
}

async fn image_reaches_the_model(cli: Cli) {
    /// One pixel.
    const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::text("A pixel.")]);
    fixture
        .client
        .say(json!([
            { "type": "text", "text": "What is this?" },
            { "type": "image",
              "source": { "type": "base64", "media_type": "image/png", "data": PNG } },
        ]))
        .await;
    let turn = fixture.client.turn().await;

    assert_eq!(turn.kinds(), TEXT_TURN);
    let request = fixture.api.turn(1).await;
    let image = block(&request, "image");
    assert_eq!(image["source"]["media_type"], "image/png");
    fixture.end().await;
}

/// As a document, because the later CLI answers a text that is longer than the
/// model's context by itself and sends nothing.
async fn five_megabytes_reach_the_model(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::text("Long.")]);
    // Digits are letters of base64, so this is valid and tells its order.
    let document: String = (0..625_000).map(|number| format!("{number:08}")).collect();
    assert_eq!(document.len(), 5_000_000);
    fixture
        .client
        .say(json!([
            { "type": "text", "text": "Read this" },
            { "type": "document",
              "source": { "type": "base64", "media_type": "application/pdf", "data": document } },
        ]))
        .await;
    let turn = fixture.client.turn().await;

    assert_eq!(turn.result()["result"], "Long.");
    let request = fixture.api.turn(1).await;
    assert!(block(&request, "document")["source"]["data"] == document.as_str());
    fixture.end().await;
}

async fn long_reply(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    let text: String = (0..150_000).map(|number| format!("{number:09} ")).collect();
    fixture.api.script([Reply::text(text.as_str())]);
    fixture.client.say("Tell me everything").await;
    let turn = fixture.client.turn().await;

    assert_eq!(turn.result()["result"].as_str().map(str::trim_end), Some(text.trim_end()));
    fixture.end().await;
}

/// Line separators of Unicode that are no line ends of JSON, escapes, what
/// looks like an end of a line, and characters outside the first plane.
async fn unusual_characters(cli: Cli) {
    const TEXT: &str = "a\u{2028}b\u{2029}c\u{85}d\r\ne\\n\"f\" \u{1F600} \u{0}\u{7f} </script>";
    let mut fixture = CliFixture::start(cli).await;
    fixture.api.script([Reply::text(TEXT)]);
    fixture.client.say(TEXT.replace('\0', "")).await;
    let turn = fixture.client.turn().await;

    assert_eq!(turn.result()["result"], TEXT);
    fixture.end().await;
}

/// The CLI merges what arrives while it is busy; nothing may be lost in it.
async fn frames_while_busy_are_all_answered(cli: Cli) {
    let mut fixture = CliFixture::start(cli).await;
    let gate = Gate::closed();
    // The number of later ones that share a turn varies.
    fixture.api.script([Reply::gated(&gate, ["First."])]);
    fixture.api.script(["two", "three", "four"].map(Reply::text));
    fixture.client.say("one").await;
    fixture.api.turn(1).await;
    for text in ["two", "three", "four"] {
        fixture.client.say(text).await;
    }
    gate.open();
    loop {
        let turn = fixture.client.turn().await;
        assert_eq!(turn.result()["is_error"], false, "{turn:#?}");
        let last = fixture.api.turns().pop().expect("a turn has a request");
        if format!("{:?}", last.user_messages()).contains("four") {
            assert_said(&last.user_messages(), &["one", "two", "three", "four"]);
            break;
        }
    }
    fixture.end().await;
}

/// The user's block of one type.
fn block(request: &Request, kind: &str) -> Value {
    let messages = request.user_messages();
    let blocks = messages.iter().flat_map(|message| message["content"].as_array());
    let found = blocks.flatten().find(|block| block["type"] == kind);
    found.unwrap_or_else(|| panic!("no block `{kind}` in the request")).clone()
}

/// The text of a streamed piece.
fn delta(frame: &Value) -> Option<&str> {
    frame["data"]["event"]["delta"]["text"].as_str()
}

/// All that was said in a turn, as one string to search in.
fn said_text(turn: &Turn) -> String {
    turn.said().into_iter().map(ToString::to_string).collect()
}

/// Asserts that the user's `texts` stand in the messages in this order.
fn assert_said(messages: &[&Value], texts: &[&str]) {
    let mut all: String = messages.iter().map(|message| message["content"].to_string()).collect();
    for text in texts {
        let Some(at) = all.find(text) else { panic!("{text:.80} is missing in {all:.2000}") };
        all.drain(..at + text.len());
    }
}
