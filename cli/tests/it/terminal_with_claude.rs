//! The command line, with the real CLI at the other end: a person decides about
//! its tools, changes its model and mode, and begins anew.

use serde_json::json;

use crate::support::program::{command, run};
use crate::support::terminal::{CTRL_D, Terminal};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::real_cli::CliFixture;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::tools::Cli;

for_both_clis! {
    tools_are_decided_about_by_hand,
    without_the_flag_the_answer_is_no_and_names_it,
    model_and_mode_are_changed,
    another_conversation_begins,
}

fn touch(file: &str) -> Reply {
    Reply::tool("Bash", json!({ "command": format!("touch {file}"), "description": "x" }))
}

fn last_request(fixture: &CliFixture) -> String {
    fixture.api.turns().last().expect("a request").body.to_string()
}

async fn chat(fixture: &CliFixture, more: &[&str]) -> Terminal {
    let arguments = [&["chat", "--no-history"], more].concat();
    let mut terminal = Terminal::start(&fixture.relay.url, &arguments, true);
    terminal.shows("> ").await;
    terminal
}

/// Says `text` and waits until `answer` is shown, and the next prompt.
async fn say(terminal: &mut Terminal, text: &str, answer: &str) -> String {
    terminal.types(&format!("{text}\r")).await;
    let shown = terminal.shows(answer).await;
    terminal.shows("> ").await;
    shown
}

async fn tools_are_decided_about_by_hand(cli: Cli) {
    let fixture = CliFixture::start(cli, "ask").await;
    let made = |file: &str| fixture.relay.workspace().join(file);
    let mut terminal = chat(&fixture, &["--interactive-approvals"]).await;

    fixture.api.script([touch("one"), Reply::text("One is done.")]);
    terminal.types("Make one\r").await;
    terminal.shows("always: allow Bash(touch one *)").await;
    terminal.shows("Allow Bash?").await;
    assert!(!made("one").exists(), "nothing happens before the answer");
    say(&mut terminal, "y", "One is done.").await;
    assert!(made("one").exists());

    // Always is from now on, and about this command alone.
    fixture.api.script([touch("two"), Reply::text("Two is done.")]);
    terminal.types("Make two\r").await;
    terminal.shows("Allow Bash?").await;
    say(&mut terminal, "a", "Two is done.").await;
    std::fs::remove_file(made("two")).unwrap();
    fixture.api.script([touch("two"), Reply::text("Two again.")]);
    let shown = say(&mut terminal, "And again", "Two again.").await;
    assert!(!shown.contains("Allow Bash?") && made("two").exists(), "{shown}");

    fixture.api.script([touch("three"), Reply::text("Three is done.")]);
    terminal.types("Make three\r").await;
    terminal.shows("Allow Bash?").await;
    terminal.types("e\r").await;
    terminal.shows("Input: ").await;
    // Ctrl-U empties the line.
    let edited = "\x15{\"command\":\"touch edited\",\"description\":\"x\"}";
    say(&mut terminal, edited, "Three is done.").await;
    assert!(made("edited").exists() && !made("three").exists());

    fixture.api.script([touch("four"), Reply::text("Then not.")]);
    terminal.types("Make four\r").await;
    terminal.shows("Allow Bash?").await;
    terminal.types("n\r").await;
    terminal.shows("Why").await;
    say(&mut terminal, "too risky", "Then not.").await;
    assert!(last_request(&fixture).contains("too risky") && !made("four").exists());

    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
    fixture.relay.stop().await;
}

async fn without_the_flag_the_answer_is_no_and_names_it(cli: Cli) {
    let fixture = CliFixture::start(cli, "ask").await;
    fixture.api.script([touch("made"), Reply::text("Then not.")]);
    let (code, stdout, stderr) = run(command(&fixture.relay.url).arg("Make it")).await;
    assert_eq!((code, stdout.as_str()), (0, "Then not.\n"), "{stderr}");
    let told = last_request(&fixture);
    assert!(told.contains("without --interactive-approvals"), "{told}");
    assert!(!fixture.relay.workspace().join("made").exists());
    fixture.relay.stop().await;
}

async fn model_and_mode_are_changed(cli: Cli) {
    let fixture = CliFixture::start(cli, "ask").await;
    let mut terminal = chat(&fixture, &[]).await;
    fixture.api.script([Reply::text("As you see.")]);
    terminal.types("/model claude-test-model-7\r").await;
    terminal.shows("> ").await;
    say(&mut terminal, "Who are you?", "As you see.").await;
    assert_eq!(fixture.api.turns().last().unwrap().body["model"], "claude-test-model-7");
    say(&mut terminal, "/model", "claude-test-model-7\r\n").await;

    let file = fixture.relay.workspace().join("made");
    let write = Reply::tool("Write", json!({ "file_path": file, "content": "x" }));
    fixture.api.script([write, Reply::text("Written.")]);
    terminal.types("/mode acceptEdits\r").await;
    terminal.shows("> ").await;
    say(&mut terminal, "Write it", "Written.").await;
    assert!(file.exists(), "{}", last_request(&fixture));
    // The ceiling is the operator's.
    say(&mut terminal, "/mode bypassPermissions", "mode ask of the server does not allow").await;
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
    fixture.relay.stop().await;
}

async fn another_conversation_begins(cli: Cli) {
    let fixture = CliFixture::start(cli, "ask").await;
    let mut terminal = chat(&fixture, &["--print-session-id"]).await;
    fixture.api.script([Reply::text("Noted."), Reply::text("Which teapot?")]);
    terminal.types("Remember the teapot\r").await;
    terminal.shows("Noted.").await;
    terminal.shows("SESSION_ID=").await;
    let before = terminal.shows("\r").await;
    terminal.shows("> ").await;

    terminal.types("/new\r").await;
    terminal.shows("next message").await;
    terminal.types("What was it?\r").await;
    terminal.shows("Which teapot?").await;
    terminal.shows("SESSION_ID=").await;
    let after = terminal.shows("\r").await;
    terminal.shows("> ").await;
    assert_ne!(before, after);

    let request = last_request(&fixture);
    assert!(request.contains("What was it?") && !request.contains("Remember"), "{request}");
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
    fixture.relay.stop().await;
}
