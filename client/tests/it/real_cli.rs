//! Through the real server with the real CLI, which talks to a Messages API of
//! the tests. `scripts/test --tools` says where the CLIs are.

use claude_relay_client::{Client, Decision, ServerMessage, View};
use serde_json::json;

use crate::support::{client, soon};
use claude_relay_testing::for_both_clis;
use claude_relay_testing::real_cli::CliFixture;
use claude_relay_testing::reply::{Gate, Reply};
use claude_relay_testing::tools::Cli;

/// A client that allows `made.txt` and nothing else.
async fn connected(fixture: &CliFixture) -> Client {
    let builder = client(&fixture.relay.url).on_permission(|request| async move {
        if request.input.get().contains("made.txt") {
            Decision::allow()
        } else {
            Decision::deny("not this one")
        }
    });
    let builder = builder.configure(|c| c.include_partial_messages = Some(true));
    soon(builder.start()).await.unwrap()
}

async fn asks_streams_and_goes_on(cli: Cli) {
    let fixture = CliFixture::start(cli, "unrestricted").await;
    fixture.api.script([Reply::text("Hello from the test."), Reply::text("And again.")]);
    let client = connected(&fixture).await;
    let mut turn = soon(client.turn("Hi")).await.unwrap();
    let (mut deltas, mut sessions) = (String::new(), 0);
    while let Some(message) = soon(turn.next()).await {
        let ServerMessage::Sdk(message) = message.unwrap() else { continue };
        for view in message.views() {
            match view {
                View::TextDelta { text, .. } => deltas += &text,
                View::SessionStarted(_) => sessions += 1,
                _ => {}
            }
        }
    }
    let first = turn.answer().clone();
    assert_eq!(
        (deltas.as_str(), first.text.as_str()),
        ("Hello from the test.", "Hello from the test.")
    );
    assert_eq!(sessions, 1);
    assert!(first.usage.output_tokens > 0 && first.total_cost_usd.is_some());
    let second = soon(client.ask("More")).await.unwrap();
    assert_eq!(second.text, "And again.");
    assert_eq!(first.session_id, second.session_id);
    soon(client.stop()).await;
    fixture.relay.stop().await;
}

async fn interrupts_in_mid_stream(cli: Cli) {
    let fixture = CliFixture::start(cli, "unrestricted").await;
    let gate = Gate::closed();
    fixture.api.script([Reply::gated(&gate, ["one ", "two "]), Reply::text("After.")]);
    let client = connected(&fixture).await;
    let mut turn = soon(client.turn("Hi")).await.unwrap();
    gate.let_through(1);
    loop {
        let Some(Ok(message)) = soon(turn.next()).await else { panic!("no text came") };
        if let ServerMessage::Sdk(message) = message
            && message.views().iter().any(|view| matches!(view, View::TextDelta { .. }))
        {
            break;
        }
    }
    soon(client.interrupt()).await.unwrap();
    let answer = soon(turn.finish()).await.unwrap();
    assert!(answer.interrupted && answer.is_error, "{answer:?}");
    gate.open();
    let answer = soon(client.ask("Again")).await.unwrap();
    assert!(!answer.is_error && answer.text == "After.", "{answer:?}");
    fixture.relay.stop().await;
}

async fn the_handler_decides_about_tools(cli: Cli) {
    let fixture = CliFixture::start(cli, "ask").await;
    let touch = |file: &str| {
        Reply::tool("Bash", json!({ "command": format!("touch {file}"), "description": "make" }))
    };
    fixture.api.script([touch("made.txt"), touch("other.txt"), Reply::text("Done.")]);
    let client = connected(&fixture).await;
    let mut results = Vec::new();
    let mut turn = soon(client.turn("Make files")).await.unwrap();
    while let Some(message) = soon(turn.next()).await {
        let ServerMessage::Sdk(message) = message.unwrap() else { continue };
        for view in message.views() {
            if let View::ToolResult { is_error, content, .. } = view {
                results.push((is_error, content.map_or("", |content| content.get()).to_owned()));
            }
        }
    }
    assert_eq!(results.len(), 2, "{results:?}");
    assert!(!results[0].0, "{results:?}");
    assert!(results[1].0 && results[1].1.contains("not this one"), "{results:?}");
    assert_eq!(turn.answer().text, "Done.");
    let commands = soon(client.supported_commands()).await.unwrap();
    assert!(commands.iter().any(|command| command.name == "compact"), "{commands:?}");
    let models = soon(client.supported_models()).await.unwrap();
    assert!(models.iter().any(|model| model.value.contains("haiku")), "{models:?}");
    soon(client.set_model(Some("claude-haiku-4-5"))).await.unwrap();
    soon(client.set_permission_mode("plan")).await.unwrap();
    fixture.relay.stop().await;
}

/// As the tools of today's CLI tell them.
async fn changed_files_and_to_dos_have_their_views(cli: Cli) {
    let fixture = CliFixture::start(cli, "unrestricted").await;
    let file = fixture.env.file("made.txt");
    let path = file.display().to_string();
    fixture.api.script([
        Reply::tool("Write", json!({ "file_path": path, "content": "one two one\n" })),
        Reply::tool(
            "Edit",
            json!({ "file_path": path, "old_string": "one", "new_string": "1", "replace_all": true }),
        ),
        Reply::tool("TaskCreate", json!({ "subject": "Write it", "description": "d" })),
        Reply::tool("TaskUpdate", json!({ "taskId": "1", "status": "in_progress" })),
        Reply::tool("TaskList", json!({})),
        Reply::text("Done."),
    ]);
    let client = connected(&fixture).await;
    // The newest CLI offers the tools for to-dos to smaller models unasked; larger
    // ones have to look for them first.
    soon(client.set_model(Some("claude-haiku-4-5"))).await.unwrap();
    let mut turn = soon(client.turn("Go")).await.unwrap();
    let mut seen = Vec::new();
    while let Some(message) = soon(turn.next()).await {
        let ServerMessage::Sdk(message) = message.unwrap() else { continue };
        seen.extend(message.views().iter().filter_map(|view| match view {
            View::FileChange { created, content, .. } => {
                Some(format!("{created} {}", content.as_deref().unwrap_or_default()))
            }
            View::TodoAdded(todo) => Some(format!("{} {}", todo.content, todo.status)),
            View::TodoChanged { id, status } => Some(format!("{id} {status:?}")),
            View::Todos(todos) => Some(format!("{} {}", todos[0].content, todos[0].status)),
            _ => None,
        }));
    }
    let expected = [
        "true one two one\n",
        "false 1 two 1\n",
        "Write it pending",
        r#"1 Some("in_progress")"#,
        "Write it in_progress",
    ];
    assert_eq!(seen, expected);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "1 two 1\n");
    fixture.relay.stop().await;
}

for_both_clis! {
    changed_files_and_to_dos_have_their_views,
    asks_streams_and_goes_on,
    interrupts_in_mid_stream,
    the_handler_decides_about_tools,
}
