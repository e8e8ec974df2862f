//! What a chat shows: its greeting, Markdown, and what holds now.

use claude_relay_testing::relay_process::RelayProcess;

use crate::support::program::{command, piped};
use crate::support::terminal::{CTRL_D, Terminal};

/// Without the sequences that steer the terminal.
fn plain(shown: &str) -> String {
    let mut plain = String::new();
    let mut rest = shown;
    while let Some(at) = rest.find('\x1b') {
        plain.push_str(&rest[..at]);
        rest = rest[at..].split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, r)| r);
    }
    (plain + rest).replace('\r', "")
}

#[tokio::test]
async fn a_chat_says_whom_it_talks_to_and_how_to_get_help() {
    let relay = RelayProcess::demo(&["--mode", "unrestricted"]).await;
    let mut terminal = Terminal::start(&relay.url, &["chat", "--no-history"], false);
    let greeting = terminal.shows("> ").await;
    let workspace = relay.workspace().to_str().unwrap().to_owned();
    for part in
        [&relay.url, "the built-in agent", "mode unrestricted", workspace.as_str(), "/help shows"]
    {
        assert!(greeting.contains(part), "{part}: {greeting}");
    }
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());

    // Nobody reads it where lines come from a pipe.
    let (code, stdout, stderr) = piped(command(&relay.url).args(["chat"]), b"hello\n").await;
    assert!(code == 0 && stdout.contains("hello"), "{stderr}");
    assert!(!stderr.contains("/help"), "{stderr}");
}

#[tokio::test]
async fn model_mode_cost_and_status_are_told_as_they_hold() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["chat", "--no-history"], false);
    terminal.shows("> ").await;
    terminal.types("/cost\r").await;
    terminal.shows("not known before a turn").await;
    terminal.types("/model opus\r").await;
    terminal.shows("the model is opus").await;
    terminal.types("/model\r").await;
    terminal.shows("\r\nopus\r\n").await;
    terminal.types("/mode plan\r").await;
    terminal.shows("the permission mode is plan").await;
    terminal.types("/mode\r").await;
    let shown = terminal.shows("which allows").await;
    assert!(shown.contains("\nplan\r\n"), "{shown}");
    terminal.types("hello\r").await;
    terminal.shows("You said: “hello”").await;
    terminal.types("/cost\r").await;
    terminal.shows(" so far").await;
    terminal.types("/status\r").await;
    let shown = terminal.shows("replay ").await;
    assert!(shown.contains("conversation  ") && shown.contains("turns: 1"), "{shown}");
    terminal.types("/mode nonsense\r").await;
    terminal.shows("nonsense").await;
    terminal.shows("> ").await;
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
}

#[tokio::test]
async fn markdown_is_drawn_and_wrapped_and_nothing_else_steers_the_terminal() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["chat", "--no-history"], true);
    terminal.shows("> ").await;
    terminal.types("**bold** and `code` \u{202e}x\r").await;
    terminal.shows("You said: “").await;
    let shown = terminal.shows("”").await;
    assert!(shown.contains("\x1b[1mbold\x1b[0m and \x1b[36mcode\x1b[0m"), "{shown:?}");
    assert!(!shown.contains('\u{202e}'), "{shown:?}");
    // The screen has 200 columns.
    terminal.shows("> ").await;
    terminal.types(&format!("{}\r", "word ".repeat(16))).await;
    terminal.shows("You said").await;
    let shown = plain(&terminal.shows("> ").await);
    let longest = shown.lines().map(str::len).max();
    assert!(shown.lines().count() > 1 && longest <= Some(200), "{shown}");
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
}

#[tokio::test]
async fn without_colours_the_text_is_shown_as_it_is_written() {
    let relay = RelayProcess::demo(&[]).await;
    let mut terminal = Terminal::start(&relay.url, &["chat", "--no-history"], false);
    terminal.shows("> ").await;
    terminal.types("**bold** and `code`\r").await;
    terminal.shows("You said: “**bold** and `code`”").await;
    terminal.types(CTRL_D).await;
    assert!(terminal.ends().await.success());
}
