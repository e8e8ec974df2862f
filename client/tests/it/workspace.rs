//! The workspace of a server: files, conversations, and reading along.

use std::time::{Duration, UNIX_EPOCH};

use claude_relay_client::{Conversation, FileChangeKind, FileError, FileType, ServerMessage};
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::tcp_service::TcpService;
use claude_relay_testing::transcript;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{client, soon};

#[tokio::test]
async fn files_are_written_read_listed_and_removed_without_a_connection() {
    let relay = RelayProcess::demo(&[]).await;
    let workspace = client(&relay.url).workspace().unwrap();
    soon(workspace.write("notes/ä b.md", "# Today\n")).await.unwrap();
    assert_eq!(soon(workspace.read("notes/ä b.md")).await.unwrap(), "# Today\n");
    let entries = soon(workspace.list("notes")).await.unwrap();
    assert_eq!((&*entries[0].name, entries[0].kind), ("ä b.md", FileType::File));
    assert_eq!(entries[0].size, 8);
    let created = soon(workspace.create("notes/ä b.md", "other")).await;
    assert!(matches!(created, Err(FileError::Exists { .. })), "{created:?}");
    let refused = soon(workspace.write(".mcp.json", "{}")).await;
    assert!(matches!(refused, Err(FileError::Refused { status: 403, .. })), "{refused:?}");
    let refused = soon(workspace.remove("notes")).await;
    assert!(matches!(refused, Err(FileError::Refused { status: 409, .. })), "{refused:?}");
    soon(workspace.remove("notes/ä b.md")).await.unwrap();
    let read = soon(workspace.read("notes/x")).await.map(|_| ());
    let listed = soon(workspace.list("x")).await.map(|_| ());
    for missing in [read, listed] {
        assert!(matches!(missing, Err(FileError::NotFound { .. })), "{missing:?}");
    }
    let large: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    soon(workspace.write("large", large.clone())).await.unwrap();
    assert!(soon(workspace.read("large")).await.unwrap() == large);
}

#[tokio::test]
async fn changes_are_told_until_what_is_watched_is_gone() {
    let relay = RelayProcess::demo(&[]).await;
    let workspace = client(&relay.url).workspace().unwrap();
    soon(workspace.write("watched/a", "1")).await.unwrap();
    let mut watch = soon(workspace.watch("watched")).await.unwrap();
    soon(workspace.write("watched/a", "2")).await.unwrap();
    soon(workspace.write("watched/b", "")).await.unwrap();
    for (kind, path) in
        [(FileChangeKind::Modified, "watched/a"), (FileChangeKind::Created, "watched/b")]
    {
        let change = soon(watch.next()).await.unwrap().unwrap();
        assert_eq!((change.kind, &*change.path), (kind, path));
    }
    for path in ["watched/a", "watched/b", "watched"] {
        soon(workspace.remove(path)).await.unwrap();
    }
    while soon(watch.next()).await.unwrap().is_some() {}
    let missing = soon(workspace.watch("watched")).await.map(|_| ());
    assert!(matches!(missing, Err(FileError::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_workspace_without_conversations_has_none() {
    let relay = RelayProcess::demo(&[]).await;
    let workspace = client(&relay.url).workspace().unwrap();
    assert_eq!(soon(workspace.conversations(10)).await.unwrap(), []);
    let id = "a3dd4a41-c5f3-4343-bd0c-8105ab57e0ba";
    let missing = soon(workspace.conversation(id)).await.map(|_| ());
    assert!(matches!(missing, Err(FileError::NotFound { .. })), "{missing:?}");
}

#[tokio::test]
async fn all_conversations_are_listed_however_many_there_are() {
    let relay = RelayProcess::demo(&[]).await;
    let state = relay.workspace().parent().unwrap().join(".claude");
    let count = 205;
    for number in 0..count {
        let id = transcript::id(number);
        let file = transcript::keep(&state, &relay.workspace(), &id, "Words");
        let time = UNIX_EPOCH + Duration::from_millis(1_700_000_000_000 - number as u64 / 2);
        std::fs::File::open(file).unwrap().set_modified(time).unwrap();
    }
    let expected: Vec<String> = (0..count).map(transcript::id).collect();
    let ids = |listed: &[Conversation]| listed.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    let workspace = client(&relay.url).workspace().unwrap();
    for limit in [1000, 205, 203, 200, 7, 1, 0] {
        let listed = soon(workspace.conversations(limit)).await.unwrap();
        assert_eq!(ids(&listed), expected[..limit.clamp(1, count)], "{limit}");
    }
    let first = soon(workspace.conversations(3)).await.unwrap();
    let rest = soon(workspace.conversations_before(&first[2], 1000)).await.unwrap();
    assert_eq!(ids(&rest), expected[3..]);
    let none = soon(workspace.conversations_before(rest.last().unwrap(), 10)).await.unwrap();
    assert_eq!(none, []);
}

/// One that does not know `before` begins anew with each request.
#[tokio::test]
async fn a_server_that_lists_the_newest_alone_is_not_asked_for_ever() {
    let listed: Vec<Value> = (0..200)
        .map(|number| json!({ "id": transcript::id(number), "modified": 1_700_000_000_000_i64 }))
        .collect();
    let list = json!({ "conversations": listed, "more": true }).to_string();
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{list}",
        list.len()
    );
    let server = TcpService::start(move |mut stream| {
        let answer = answer.clone();
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let workspace = client(&format!("http://127.0.0.1:{}", server.port)).workspace().unwrap();
    let listed = soon(workspace.conversations(1000)).await.unwrap();
    assert_eq!(listed.len(), 200);
    let none = soon(workspace.conversations_before(&listed[199], 10)).await.unwrap();
    assert_eq!(none, []);
}

#[tokio::test]
async fn a_watcher_reads_along_without_the_slot() {
    let relay = RelayProcess::demo(&[]).await;
    let driving = soon(client(&relay.url).start()).await.unwrap();
    let watching = soon(client(&relay.url).watch(true).start()).await.unwrap();
    let mut messages = watching.messages();
    let answer = soon(driving.ask("hello there")).await.unwrap();
    let mut asked = None;
    loop {
        match soon(messages.next()).await {
            Some(Ok(ServerMessage::Input(input))) => asked = Some(format!("{input:?}")),
            Some(Ok(ServerMessage::Sdk(line))) => {
                if line.json().unwrap().get().contains("\"type\":\"result\"") {
                    break;
                }
            }
            Some(Ok(ServerMessage::AgentState(_))) => {}
            other => panic!("expected a line, got {other:?}"),
        }
    }
    assert!(asked.unwrap().contains("hello there"));
    assert!(answer.text.contains("hello there"), "{}", answer.text);
    watching.stop().await;
    driving.stop().await;
}
