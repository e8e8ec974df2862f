//! Through the real server with the real Codex, which talks to a Responses
//! API of the tests. `scripts/test --tools` says where Codex is.

use claude_relay_client::{Decision, ServerMessage, View};

use crate::support::codex::CodexFixture;
use crate::support::{client, soon};
use claude_relay_testing::reply::Gate;
use claude_relay_testing::responses_api::Reply;

#[tokio::test]
async fn views_and_answers_are_as_for_claude() {
    let fixture = CodexFixture::start("ask").await;
    fixture.api.script([
        Reply::new_file("made.txt", "by a patch"),
        Reply::reasoned("I have thought.", "Made it."),
        Reply::text("And again."),
    ]);
    let builder = client(&fixture.relay.url).on_permission(|request| async move {
        assert_eq!(request.tool, "fileChange");
        assert!(request.input.get().contains("by a patch"), "{:?}", request.input);
        Decision::allow()
    });
    let client = builder.configure(|c| c.provider = Some("codex".into())).start();
    let client = soon(client).await.unwrap();
    let mut turn = soon(client.turn("Make it")).await.unwrap();
    let (mut deltas, mut thinking, mut files, mut tools) =
        (String::new(), String::new(), Vec::new(), Vec::new());
    while let Some(message) = soon(turn.next()).await {
        let ServerMessage::Sdk(message) = message.unwrap() else { continue };
        for view in message.views() {
            match view {
                View::TextDelta { text, .. } => deltas += &text,
                View::Thinking { text, .. } => thinking += &text,
                View::FileChange { path, created, content } => {
                    files.push((path.into_owned(), created, content.map(Into::into)));
                }
                View::ToolUse { name, .. } => tools.push(name.into_owned()),
                _ => {}
            }
        }
    }
    let answer = turn.answer().clone();
    assert_eq!((deltas.as_str(), answer.text.as_str()), ("Made it.", "Made it."));
    assert_eq!((thinking.as_str(), tools), ("I have thought.", vec!["fileChange".to_owned()]));
    assert!(files[0].0.ends_with("made.txt") && files[0].1, "{files:?}");
    assert_eq!(files[0].2, Some("by a patch\n".to_owned()));
    assert_eq!((answer.usage.output_tokens, answer.usage.cache_read_input_tokens), (20, 80));
    assert_eq!(answer.num_turns, Some(2));

    let second = soon(client.ask("More")).await.unwrap();
    assert_eq!(second.text, "And again.");
    assert_eq!(answer.session_id, second.session_id);
    soon(client.stop()).await;
    fixture.relay.stop().await;
}

#[tokio::test]
async fn two_questions_at_once_get_their_own_answers() {
    let fixture = CodexFixture::start("ask").await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["One."]), Reply::text("Two.")]);
    let client =
        client(&fixture.relay.url).configure(|c| c.provider = Some("codex".into())).start();
    let client = soon(client).await.unwrap();
    let first = soon(client.turn("First")).await.unwrap();
    let second = soon(client.turn("Second")).await.unwrap();
    fixture.api.request(1).await;
    gate.open();
    let (first, second) = soon(async { tokio::join!(first.finish(), second.finish()) }).await;
    assert_eq!((first.unwrap().text.as_str(), second.unwrap().text.as_str()), ("One.", "Two."));
    soon(client.stop()).await;
    fixture.relay.stop().await;
}

#[tokio::test]
async fn an_interrupted_turn_gives_what_has_been_said() {
    let fixture = CodexFixture::start("ask").await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["Half of it", "never said"])]);
    let client =
        client(&fixture.relay.url).configure(|c| c.provider = Some("codex".into())).start();
    let client = soon(client).await.unwrap();
    let mut turn = soon(client.turn("First")).await.unwrap();
    fixture.api.request(1).await;
    gate.let_through(1);
    loop {
        let ServerMessage::Sdk(message) = soon(turn.next()).await.unwrap().unwrap() else {
            continue;
        };
        if message.views().iter().any(|view| matches!(view, View::TextDelta { .. })) {
            break;
        }
    }
    soon(client.interrupt()).await.unwrap();
    let answer = soon(turn.finish()).await.unwrap();
    assert_eq!((answer.interrupted, answer.text.as_str()), (true, "Half of it"));
    soon(client.stop()).await;
    fixture.relay.stop().await;
}
