//! The command line on a terminal.

use std::time::Duration;

use crate::support::program::{bare, command, run};
use crate::support::terminal::{CTRL_C, CTRL_D, Terminal};
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::wait::{soon, until_async};

#[tokio::test]
async fn a_conversation_with_editing_interrupts_and_an_end() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["chat", "--no-history"], true);
    terminal.shows("> ").await;
    // Backspace and the arrow keys edit the line.
    terminal.types("hexx\x7f\x7fllo wrld\x1b[D\x1b[D\x1b[Do\r").await;
    terminal.shows("You said: “hello world”").await;
    terminal.shows("> ").await;
    // Up brings the last line back.
    terminal.types("\x1b[A\r").await;
    terminal.shows("You said: “hello world”").await;
    terminal.shows("> ").await;

    // A turn that takes long: a spinner, then Ctrl-C, then the next prompt.
    terminal.types("{\"sleep_ms\":60000}\r").await;
    let spinner = terminal.shows("1s").await;
    assert!(spinner.contains("\x1b[2m"), "{spinner:?}");
    terminal.types(CTRL_C).await;
    terminal.shows("interrupting").await;
    terminal.shows("> ").await;
    // With nothing to stop, Ctrl-C drops the line.
    terminal.types("never sent").await;
    // The editor has drawn it: from here on Ctrl-C is a key.
    terminal.shows("never sent").await;
    terminal.types(CTRL_C).await;
    terminal.shows("> ").await;
    terminal.types("after\r").await;
    let shown = terminal.shows("You said: “after”").await;
    assert!(!shown.contains("You said: “never sent"));
    terminal.shows("> ").await;
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
}

#[tokio::test]
async fn ctrl_c_twice_at_an_empty_prompt_leaves_and_any_other_key_stays() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["chat", "--no-history"], true);
    terminal.shows("> ").await;
    for typed in ["x\x7f", "dropped"] {
        terminal.types(CTRL_C).await;
        terminal.shows("Ctrl-C again leaves").await;
        terminal.shows("> ").await;
        terminal.types(typed).await;
        terminal.shows(typed.trim_end_matches('\x7f')).await;
    }
    // This one drops the line that is typed.
    terminal.types(CTRL_C).await;
    terminal.shows("> ").await;
    terminal.types(CTRL_C).await;
    terminal.shows("Ctrl-C again leaves").await;
    terminal.shows("> ").await;
    terminal.types(CTRL_C).await;
    assert_eq!(terminal.ends().await.code(), Some(130));
}

#[tokio::test]
async fn a_long_line_is_drawn_once_while_it_is_typed() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["chat", "--no-history"], true);
    terminal.shows("> ").await;
    let line = "word ".repeat(4_000);
    let mut drawn = 0;
    for (number, part) in line.as_bytes().chunks(1_000).enumerate() {
        let mark = format!("<{number}>");
        terminal.types(std::str::from_utf8(part).unwrap()).await;
        terminal.types(&mark).await;
        drawn += terminal.shows(&mark).await.len();
    }
    assert!(drawn < 2 * line.len(), "{drawn} bytes for {}", line.len());
    terminal.types("\r").await;
    terminal.shows("You said: “word word").await;
    terminal.shows("> ").await;
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
}

#[tokio::test]
async fn a_question_that_waits_is_drawn_once() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["chat", "--no-history"], false);
    terminal.shows("> ").await;
    terminal.types("permission\r").await;
    terminal.shows("[s]top the turn: ").await;
    until_async("the question has waited", async || {
        let (_, health, _) = run(command(&relay.url).args(["health", "--json"])).await;
        let health: serde_json::Value = serde_json::from_str(&health).unwrap();
        health["agent"]["idle_ms"].as_u64() > Some(1500)
    })
    .await;
    terminal.types("y\r").await;
    let shown = terminal.shows("permission for Bash: allow").await;
    // Once more for what the server says of the agent, and for the key.
    assert!(shown.matches("Allow Bash?").count() < 8, "{shown:?}");
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_failure_to_tell() {
    for arguments in [["man"].as_slice(), &["completions", "bash"], &["skill"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut program = bare();
        program.args(arguments).stdout(writer);
        let output = soon(program.output()).await.unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.is_empty(), "{arguments:?}: {told}");
    }
}

#[tokio::test]
async fn ctrl_c_in_a_question_leaves_with_130() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["{\"sleep_ms\":60000}"], true);
    terminal.shows("1s").await;
    terminal.types(CTRL_C).await;
    assert_eq!(terminal.ends().await.code(), Some(130));
}

#[tokio::test]
async fn no_color_means_no_escapes() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["{\"sleep_ms\":700,\"echo\":true}"], false);
    let shown = terminal.shows("\"echo\":true}").await;
    assert!(!shown.contains('\x1b'), "{shown:?}");
    assert!(terminal.ends().await.success());
}

#[tokio::test]
async fn text_of_the_agent_does_not_control_the_terminal() {
    let relay = RelayProcess::demo(&[]).await;
    let script = "{\"echo\":true,\"note\":\"\u{1b}[31mred\u{9b}31m\"}";
    let mut terminal = Terminal::start(&relay.url, &[&script.replace('\u{1b}', "\\u001b")], false);
    terminal.shows("31m").await;
    assert!(!terminal.shown.contains('\u{9b}'));
    assert!(terminal.ends().await.success());
}

#[tokio::test]
async fn tools_are_allowed_edited_and_denied_by_hand() {
    let relay = RelayProcess::demo(&[]).await;
    let arguments = &["chat", "--no-history"];
    let mut terminal = Terminal::start(&relay.url, arguments, true);
    let ask = "{\"permission\":\"Bash\"}\r";
    terminal.shows("> ").await;
    terminal.types(ask).await;
    terminal.shows("Allow Bash?").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    terminal.types("y\r").await;
    terminal.shows("permission for Bash: allow").await;
    terminal.shows("> ").await;

    terminal.types(ask).await;
    terminal.shows("Allow Bash?").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    terminal.types("what\r").await;
    terminal.shows("Allow Bash?").await;
    terminal.types("n\r").await;
    terminal.shows("Why").await;
    terminal.types("too risky\r").await;
    let shown = terminal.shows("permission for Bash: deny").await;
    assert!(!shown.contains("allow {"), "{shown}");
    terminal.shows("too risky").await;
    terminal.shows("> ").await;

    terminal.types(ask).await;
    terminal.shows("Allow Bash?").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    terminal.types("e\r").await;
    terminal.shows("Input: ").await;
    // Ctrl-U empties the line.
    terminal.types("\x15{\"command\":\"edited\"}\r").await;
    terminal.shows("permission for Bash: allow").await;
    terminal.shows("edited").await;
    terminal.shows("> ").await;
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
}
