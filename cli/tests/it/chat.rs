//! `chat` on a terminal, with an agent that speaks when it wants to.

use std::time::Duration;

use claude_relay_testing::relay_process::RelayProcess;
use rustix::process::Signal;
use serde_json::json;

use crate::support::scripted_relay::ScriptedRelay;
use crate::support::terminal::{CTRL_C, CTRL_D, Terminal};

async fn leaves(mut terminal: Terminal) {
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
}

#[tokio::test]
async fn lines_that_come_in_one_write_are_all_sent_in_order() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["chat", "--no-history"], false);
    terminal.shows("> ").await;
    terminal.types("one\rtwo\rthree\r").await;
    for text in ["one", "two", "three"] {
        terminal.shows(&format!("You said: “{text}”")).await;
    }
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn lines_that_are_typed_while_the_agent_works_are_sent_afterwards() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("first\r").await;
    let (_, uuid) = relay.message().await;
    terminal.types("second\rthird\rhalf").await;
    relay.begins().await;
    relay.ends(Some(&uuid)).await;
    assert_eq!(relay.echo(&mut terminal).await, "second");
    assert_eq!(relay.echo(&mut terminal).await, "third");
    terminal.shows("> half").await;
    terminal.types(" done\r").await;
    assert_eq!(relay.echo(&mut terminal).await, "half done");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn a_turn_that_the_agent_begins_is_shown_and_the_line_being_typed_is_kept() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("half a li").await;
    terminal.shows("half a li").await;
    relay.begins().await;
    relay.says("THE TESTS HAVE FAILED").await;
    relay.ends(None).await;
    terminal.shows("by itself").await;
    terminal.shows("THE TESTS HAVE FAILED").await;
    terminal.shows("> half a li").await;
    terminal.types("ne\r").await;
    assert_eq!(relay.echo(&mut terminal).await, "half a line");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn a_question_between_two_lines_is_asked_at_once_and_answered_by_what_is_typed_then() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("y").await;
    terminal.shows("y").await;
    relay.asks("p1", "Bash", json!({ "command": "touch x" })).await;
    let shown = terminal.shows("Allow Bash?").await;
    assert!(shown.contains("touch x"), "{shown}");
    terminal.types("n\r").await;
    terminal.shows("Why").await;
    terminal.types("later\r").await;
    let answer = relay.receives("permission_response").await;
    assert_eq!((&answer["approved"], &answer["message"]), (&json!(false), &json!("later")));
    terminal.shows("> y").await;
    terminal.types("es?\r").await;
    assert_eq!(relay.echo(&mut terminal).await, "yes?");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn input_typed_before_a_question_does_not_answer_it() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("go\r").await;
    let (_, uuid) = relay.message().await;
    relay.begins().await;
    relay.says("I look.").await;
    terminal.shows("I look.").await;
    terminal.types("y\r").await;
    // The terminal hands it over in a moment; only then comes the question.
    tokio::time::sleep(Duration::from_millis(200)).await;
    relay.asks("p1", "Bash", json!({ "command": "touch x" })).await;
    relay.asks("p2", "Bash", json!({ "command": "touch y" })).await;
    terminal.shows("Allow Bash?").await;
    relay.has_received_no("permission_response");
    terminal.types("n\r").await;
    terminal.shows("Why").await;
    terminal.types("\r").await;
    assert_eq!(relay.receives("permission_response").await["requestId"], "p1");
    terminal.shows("Allow Bash?").await;
    terminal.types("y\r").await;
    let answer = relay.receives("permission_response").await;
    assert_eq!((&answer["requestId"], &answer["approved"]), (&json!("p2"), &json!(true)));
    // It is the next message, as it was meant.
    relay.ends(Some(&uuid)).await;
    assert_eq!(relay.echo(&mut terminal).await, "y");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

/// Outside of a chat the terminal itself keeps, and echoes, what is typed.
#[tokio::test]
async fn input_typed_before_the_question_of_a_single_turn_does_not_answer_it() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.single_turn(&["--interactive-approvals", "go"]);
    let (_, uuid) = relay.message().await;
    relay.begins().await;
    relay.says("I look.").await;
    terminal.shows("I look.").await;
    terminal.types("y\r").await;
    terminal.shows("y").await;
    relay.asks("p1", "Bash", json!({ "command": "touch x" })).await;
    terminal.shows("Allow Bash?").await;
    terminal.types("n\r").await;
    terminal.shows("Why").await;
    terminal.types("\r").await;
    let answer = relay.receives("permission_response").await;
    assert_eq!((&answer["requestId"], &answer["approved"]), (&json!("p1"), &json!(false)));
    relay.ends(Some(&uuid)).await;
    terminal.ends().await;
}

#[tokio::test]
async fn a_question_that_the_agent_withdraws_is_taken_away_and_the_next_one_asked() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    relay.asks("p1", "Bash", json!({ "command": "one" })).await;
    terminal.shows("Allow Bash?").await;
    relay.asks("p2", "Write", json!({ "file_path": "two" })).await;
    relay.send(json!({ "type": "permission_cancelled", "requestId": "p1" })).await;
    terminal.shows("withdrew").await;
    terminal.shows("Allow Write?").await;
    terminal.types("y\r").await;
    assert_eq!(relay.receives("permission_response").await["requestId"], "p2");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn a_question_with_choices_is_answered_by_numbers_and_in_own_words() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    let options = json!([
        { "label": "SQLite", "description": "a file" },
        { "label": "Postgres", "description": "a server" },
    ]);
    relay
        .asks("q", "AskUserQuestion", json!({ "questions": [
            { "question": "Which database?", "header": "DB", "multiSelect": false, "options": options },
            { "question": "Which ones to try?", "header": "Try", "multiSelect": true, "options": options },
            { "question": "And the name?", "header": "Name", "multiSelect": false, "options": options },
        ] }))
        .await;
    let shown = terminal.shows("own words: ").await;
    assert!(shown.contains("2. Postgres: a server") && !shown.contains("Allow"), "{shown}");
    terminal.types("2\r").await;
    terminal.shows("such as 1,2").await;
    terminal.types("1,2\r").await;
    terminal.shows("And the name?").await;
    terminal.shows("own words: ").await;
    terminal.types("DuckDB, of course\r").await;
    let answer = relay.receives("permission_response").await;
    assert_eq!(answer["approved"], true);
    assert_eq!(answer["updatedInput"]["questions"][0]["header"], "DB");
    assert_eq!(
        answer["updatedInput"]["answers"],
        json!({
            "Which database?": "Postgres",
            "Which ones to try?": "SQLite, Postgres",
            "And the name?": "DuckDB, of course",
        })
    );
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn a_plan_is_shown_as_text_and_sent_back_with_what_is_to_change() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    let write = json!({ "file_path": "/home/u/.claude/plans/a.md", "content": "# Plan\n1. Dig" });
    let content = json!([{ "type": "tool_use", "id": "t", "name": "Write", "input": write }]);
    relay
        .line(json!({ "type": "assistant", "parent_tool_use_id": null, "session_id": "s",
            "message": { "role": "assistant", "content": content } }))
        .await;
    relay.asks("p", "ExitPlanMode", json!({})).await;
    let shown = terminal.shows("Carry it out?").await;
    assert!(shown.contains("1. Dig"), "{shown}");
    terminal.types("n\r").await;
    terminal.shows("changed").await;
    terminal.types("a smaller hole\r").await;
    let answer = relay.receives("permission_response").await;
    assert_eq!(
        (&answer["approved"], &answer["message"]),
        (&json!(false), &json!("a smaller hole"))
    );
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn ctrl_c_in_a_question_stops_the_turn_and_the_chat_goes_on() {
    let mut relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    terminal.types("go\r").await;
    let (_, uuid) = relay.message().await;
    relay.begins().await;
    relay.asks("p", "Bash", json!({ "command": "x" })).await;
    terminal.shows("Allow Bash?").await;
    terminal.types(CTRL_C).await;
    let answer = relay.receives("permission_response").await;
    assert_eq!((&answer["approved"], &answer["interrupt"]), (&json!(false), &json!(true)));
    relay.ends(Some(&uuid)).await;
    terminal.shows("> ").await;
    terminal.types("next\r").await;
    assert_eq!(relay.echo(&mut terminal).await, "next");
    terminal.shows("> ").await;
    leaves(terminal).await;
}

#[tokio::test]
async fn sigterm_and_sighup_interrupt_the_turn_and_leave() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut relay = ScriptedRelay::start().await;
        let mut terminal = relay.chat(&[]).await;
        terminal.types("go\r").await;
        let (_, uuid) = relay.message().await;
        relay.begins().await;
        terminal.signal(signal);
        relay.receives("interrupt").await;
        relay.ends(Some(&uuid)).await;
        assert_eq!(terminal.ends().await.code(), Some(code), "{signal:?}");

        // At the prompt there is nothing to interrupt.
        let relay = ScriptedRelay::start().await;
        let terminal = relay.chat(&[]).await;
        terminal.signal(signal);
        assert_eq!(terminal.ends().await.code(), Some(code), "{signal:?}");
    }
}

#[tokio::test]
async fn the_terminal_is_left_as_it_was() {
    let relay = ScriptedRelay::start().await;
    let mut terminal = relay.chat(&[]).await;
    let before = terminal.modes();
    assert!(!before.contains("ICANON"), "{before}");
    terminal.types(CTRL_D).await;
    terminal.waits_for_its_end().await;
    let after = terminal.modes();
    assert!(after.contains("ICANON") && after.contains("ECHO"), "{after}");
}
