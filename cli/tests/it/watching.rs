//! `claude-relay watch`: what people and the agent say, as a chat shows it, or as
//! lines of JSON.

use rustix::process::Signal;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use claude_relay_testing::fake_relay::{CONNECTED, FakeRelay};

use crate::support::program::{command, signal};
use crate::support::soon;
use crate::support::terminal::Terminal;

/// A server on which somebody else has asked something.
async fn relay() -> FakeRelay {
    FakeRelay::start(move |_, request, mut peer| async move {
        if !request.path.starts_with("/ws") {
            return peer.health().await;
        }
        let is_watcher = request.path.contains("watch=true") && request.path.contains("input");
        assert!(is_watcher, "{}", request.path);
        peer.upgrade(&request).await;
        peer.text(CONNECTED).await;
        let tool = json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "ls" } });
        let text = json!({ "type": "text", "text": "It is **bold**." });
        let said = [
            json!({ "type": "user", "message": { "role": "user", "content": "What\nis it?\u{1b}[2J" } }),
            json!({ "type": "assistant", "message": { "content": [tool] }, "parent_tool_use_id": null }),
            json!({ "type": "assistant", "message": { "content": [text] }, "parent_tool_use_id": null }),
            json!({ "type": "result", "subtype": "success", "is_error": false, "result": "It is **bold**." }),
        ];
        for (seq, data) in said.into_iter().enumerate() {
            let kind = if seq == 0 { "input" } else { "sdk_message" };
            let frame = json!({ "type": kind, "seq": seq + 1, "data": data });
            peer.text(&frame.to_string()).await;
        }
        peer.idle().await;
    })
    .await
}

#[tokio::test]
async fn a_watcher_sees_questions_tools_and_markdown() {
    let fake = relay().await;
    let mut terminal = Terminal::start(&fake.url, &["watch"], true);
    let shown = terminal.shows("\x1b[1mbold\x1b[0m.").await;
    assert!(shown.contains("> What") && shown.contains("  is it?"), "{shown:?}");
    assert!(shown.contains("· Bash ls"), "{shown:?}");
    assert!(!shown.contains("\x1b[2J"), "{shown:?}");
    terminal.signal(Signal::INT);
    assert_eq!(terminal.ends().await.code(), Some(130));
}

#[tokio::test]
async fn with_json_the_lines_of_the_agent_are_printed() {
    let fake = relay().await;
    let mut child = command(&fake.url).args(["watch", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for kind in ["assistant", "assistant", "result"] {
        let line = soon(lines.next_line()).await.unwrap().unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["type"], kind);
    }
    signal(&child, Signal::TERM);
    assert_eq!(soon(child.wait()).await.unwrap().code(), Some(143));
}
