//! Messages of a program: in order, complete, bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use claude_relay_client::{ConnectionState, Gap, SendError, ServerMessage, TurnError, View};
use tokio::sync::Notify;

use crate::support::{client, line, n, soon};
use claude_relay_testing::fake_relay::{FakeRelay, frame, numbered};

#[tokio::test]
async fn every_subscriber_gets_everything_and_the_first_what_came_before_it() {
    let go = Arc::new(Notify::new());
    let gate = Arc::clone(&go);
    let fake = FakeRelay::relay(move |_, _, mut peer| {
        let gate = Arc::clone(&gate);
        async move {
            peer.line(1).await;
            peer.line(2).await;
            peer.message().await;
            gate.notified().await;
            peer.line(3).await;
            peer.idle().await;
        }
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    // The server has written both when it reads this.
    let sent = tokio::spawn({
        let client = client.clone();
        async move { client.send("x").await }
    });
    let mut first = client.messages();
    assert_eq!(n(&line(&mut first).await), 1);
    assert_eq!(n(&line(&mut first).await), 2);
    let mut second = client.messages();
    go.notify_one();
    assert_eq!(n(&line(&mut first).await), 3);
    assert_eq!(n(&line(&mut second).await), 3);
    soon(sent).await.unwrap().unwrap();
    assert_eq!(client.position().unwrap().seq, 3);
    assert_eq!(client.position().unwrap().stream, "s1");
}

#[tokio::test]
async fn a_program_that_does_not_read_slows_the_server_down() {
    let written = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&written);
    let total = 2_000;
    let fake = FakeRelay::relay(move |_, _, mut peer| {
        let count = Arc::clone(&count);
        async move {
            let fill = "x".repeat(64 << 10);
            for seq in 1..=total {
                peer.text(&format!(
                    r#"{{"type":"sdk_message","seq":{seq},"data":{{"n":{seq},"x":"{fill}"}}}}"#
                ))
                .await;
                count.fetch_add(1, Ordering::SeqCst);
            }
            peer.idle().await;
        }
    })
    .await;
    let builder = client(&fake.url).buffer_bytes(1 << 20);
    // With so little time it would be taken for dead if silence counted.
    let builder = builder.keep_alive(Duration::from_millis(50), Duration::from_millis(50));
    let client = soon(builder.start()).await.unwrap();
    let mut messages = client.messages();
    // It stands still once the buffers of both systems are full: far from the
    // 128 MiB that there are.
    let mut before = u64::MAX;
    soon(async {
        while written.load(Ordering::SeqCst) != before {
            before = written.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    assert!(before < total / 2, "{before} of {total} were taken with nobody reading");
    for seq in 1..=total {
        assert_eq!(n(&line(&mut messages).await), seq);
    }
}

/// A relay that sends `megabytes` and then answers. A cut connection goes on
/// where the client says.
async fn flood(megabytes: u64, cut: bool) -> FakeRelay {
    FakeRelay::relay(move |number, request, mut peer| async move {
        let query = request.path.split_once("after=").unwrap().1;
        let after: u64 = query.split('&').next().unwrap().parse().unwrap();
        let fill = "x".repeat(1 << 20);
        let (mut reader, mut writer) = peer.stream.split();
        let write = async {
            use tokio::io::AsyncWriteExt as _;
            for seq in after + 1..=megabytes {
                let text = format!(
                    r#"{{"type":"sdk_message","seq":{seq},"data":{{"n":{seq},"x":"{fill}"}}}}"#
                );
                if writer.write_all(&frame(0x81, text.as_bytes())).await.is_err() {
                    return;
                }
            }
            if !cut || number > 0 {
                std::future::pending().await
            }
        };
        let mut pings = Vec::new();
        let read = async {
            // The client's frames are small; what matters is that they are read.
            use tokio::io::AsyncReadExt as _;
            let mut buffer = [0; 4096];
            let count = reader.read(&mut buffer).await.unwrap_or(0);
            pings.extend_from_slice(&buffer[..count]);
        };
        if cut && number == 0 {
            // Reads one message, then goes.
            tokio::select! { () = write => {}, () = read => {} }
            return;
        }
        tokio::join!(write, async {
            read.await;
            std::future::pending::<()>().await;
        });
    })
    .await
}

#[tokio::test]
async fn a_program_that_sends_and_reads_in_one_task_does_not_wait_for_itself() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        let fill = "x".repeat(1 << 20);
        for seq in 1..=8 {
            let line = format!(r#"{{"n":{seq},"x":"{fill}"}}"#);
            peer.text(&format!(r#"{{"type":"sdk_message","seq":{seq},"data":{line}}}"#)).await;
        }
        peer.idle().await;
    })
    .await;
    for message in ["x".to_owned(), in_parts()] {
        let client = soon(client(&fake.url).buffer_bytes(1 << 20).start()).await.unwrap();
        let mut messages = client.messages();
        assert_eq!(n(&line(&mut messages).await), 1);
        // The confirmation is behind 7 MiB that only this task can read.
        soon(client.send(message)).await.unwrap();
        for seq in 2..=8 {
            assert_eq!(n(&line(&mut messages).await), seq);
        }
    }
}

/// A message that goes in parts, whose answers are waited for.
fn in_parts() -> String {
    "x".repeat(600 << 10)
}

#[tokio::test]
async fn an_answer_behind_too_much_that_nobody_reads_is_given_up() {
    for message in ["x".to_owned(), in_parts()] {
        let fake = flood(64, false).await;
        let client = soon(client(&fake.url).buffer_bytes(1 << 20).start()).await.unwrap();
        let mut messages = client.messages();
        let error = soon(client.send(message)).await.unwrap_err();
        assert!(matches!(error, SendError::SlowConsumer), "{error:?}");
        for seq in 1..=64 {
            assert_eq!(n(&line(&mut messages).await), seq);
        }
    }
}

#[tokio::test]
async fn a_cut_while_nobody_reads_loses_nothing() {
    let fake = flood(64, true).await;
    let client = soon(client(&fake.url).buffer_bytes(1 << 20).start()).await.unwrap();
    let mut messages = client.messages();
    // The reading is held up; it is the writing that notices the cut.
    let mut connection = client.connection();
    let cut = async {
        while !matches!(*connection.borrow_and_update(), ConnectionState::Reconnecting { .. }) {
            tokio::select! {
                changed = connection.changed() => changed.unwrap(),
                _ = client.send("x") => {}
            }
        }
    };
    soon(cut).await;
    for seq in 1..=64 {
        assert_eq!(n(&line(&mut messages).await), seq);
    }
}

#[tokio::test]
async fn a_subscriber_that_goes_frees_the_others() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        for seq in 1..=1_000 {
            peer.line(seq).await;
        }
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).buffer_bytes(1_000).start()).await.unwrap();
    let idle = client.messages();
    let mut busy = client.messages();
    tokio::task::yield_now().await;
    drop(idle);
    let mut last = 0;
    while last < 1_000 {
        last = n(&line(&mut busy).await);
    }
}

#[tokio::test]
async fn messages_without_a_subscriber_in_time_are_a_gap() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        let fill = "x".repeat(300_000);
        for seq in 1..=10 {
            peer.text(&format!(
                r#"{{"type":"sdk_message","seq":{seq},"data":{{"n":{seq},"x":"{fill}"}}}}"#
            ))
            .await;
        }
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    soon(async {
        while client.position().unwrap().seq < 10 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let mut messages = client.messages();
    let Some(Ok(ServerMessage::Gap(gap))) = soon(messages.next()).await else {
        panic!("no gap");
    };
    assert_eq!(gap, Gap { from: Some(1), to: Some(7) });
    for seq in 8..=10 {
        assert_eq!(n(&line(&mut messages).await), seq);
    }
}

#[tokio::test]
async fn a_hole_in_the_numbers_is_a_gap_and_a_repetition_is_dropped() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        for seq in [1, 1, 2, 5, 4, 6] {
            peer.line(seq).await;
        }
        peer.text(r#"{"type":"gap","from":7,"to":9}"#).await;
        peer.line(10).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut messages = client.messages();
    let mut seen = Vec::new();
    while seen.last() != Some(&"10".to_owned()) {
        seen.push(match soon(messages.next()).await.unwrap().unwrap() {
            ServerMessage::Sdk(message) => n(&message).to_string(),
            ServerMessage::Gap(Gap { from, to, .. }) => {
                format!("{}-{}", from.unwrap(), to.unwrap())
            }
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["1", "2", "3-4", "5", "6", "7-9", "10"]);
}

#[tokio::test]
async fn numbers_of_frames_for_other_clients_are_no_gap_where_the_server_tells_the_state() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        peer.text(
            r#"{"type":"agent_state","state":"idle","turn":null,"background_tasks":0,"conversation":null,"model":null,"permission_mode":null,"queued":[],"watchers":0}"#,
        )
        .await;
        for seq in [1, 4] {
            peer.line(seq).await;
        }
        peer.text(r#"{"type":"gap","from":5,"to":9}"#).await;
        peer.line(10).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut messages = client.messages();
    let mut seen = Vec::new();
    while seen.last() != Some(&"10".to_owned()) {
        seen.push(match soon(messages.next()).await.unwrap().unwrap() {
            ServerMessage::Sdk(message) => n(&message).to_string(),
            ServerMessage::Gap(gap) => format!("{}-{}", gap.from.unwrap(), gap.to.unwrap()),
            ServerMessage::AgentState(_) => continue,
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(seen, ["1", "4", "5-9", "10"]);
}

#[tokio::test]
async fn the_connection_lives_as_long_as_anything_of_it() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        peer.line(1).await;
        peer.message().await;
    })
    .await;
    let mut messages = soon(client(&fake.url).start()).await.unwrap().messages();
    assert_eq!(n(&line(&mut messages).await), 1);
    drop(messages);
}

#[tokio::test]
async fn dropping_the_client_closes_the_connection() {
    let closed = Arc::new(Notify::new());
    let notify = Arc::clone(&closed);
    let fake = FakeRelay::relay(move |_, _, mut peer| {
        let notify = Arc::clone(&notify);
        async move {
            assert_eq!(peer.receive().await, None);
            notify.notify_one();
        }
    })
    .await;
    drop(soon(client(&fake.url).start()).await.unwrap());
    soon(closed.notified()).await;
}

#[tokio::test]
async fn traffic_can_be_watched_both_ways() {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        peer.message().await;
        peer.line(1).await;
        peer.idle().await;
    })
    .await;
    let builder = client(&fake.url).on_traffic(move |direction, text| {
        log.lock().unwrap().push((format!("{direction:?}"), text.to_owned()));
    });
    let client = soon(builder.start()).await.unwrap();
    let mut messages = client.messages();
    soon(client.interrupt()).await.unwrap();
    line(&mut messages).await;
    assert_eq!(
        *seen.lock().unwrap(),
        [
            ("Sent".to_owned(), r#"{"type":"interrupt"}"#.to_owned()),
            ("Received".to_owned(), numbered(1)),
        ]
    );
}

const INIT: &str =
    r#"{"type":"system","subtype":"init","session_id":"s-1","model":"m","tools":["Bash"]}"#;

fn result(ids: &str, text: &str) -> String {
    format!(
        r#"{{"duration_ms":5,"type":"result","subtype":"success","is_error":false,"result":"{text}","session_id":"s-1","total_cost_usd":0.5,"usage":{{"input_tokens":3,"output_tokens":4}},"num_turns":1{ids}}}"#
    )
}

fn sdk(line: &str) -> String {
    format!(r#"{{"type":"sdk_message","data":{line}}}"#)
}

#[tokio::test]
async fn ask_collects_the_turn_that_answers_it() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        let message = peer.message().await.unwrap();
        let message: serde_json::Value = serde_json::from_str(&message).unwrap();
        assert_eq!(message["data"]["message"]["content"], "hi");
        let id = message["data"]["uuid"].as_str().unwrap();
        // The end of another turn comes first.
        peer.text(&sdk(&result(r#","user_message_uuids":["other"]"#, "not ours"))).await;
        peer.text(&sdk(INIT)).await;
        peer.text(&sdk(r#"{"type":"assistant","message":{"content":[{"type":"text","text":"Hello"}]},"parent_tool_use_id":null}"#)).await;
        peer.text(&sdk(&result(&format!(r#","user_message_uuids":["{id}"]"#), "Hello"))).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let answer = soon(client.ask("hi")).await.unwrap();
    assert_eq!(answer.text, "Hello");
    assert_eq!(answer.session_id.as_deref(), Some("s-1"));
    assert_eq!((answer.usage.input_tokens, answer.usage.output_tokens), (3, 4));
    assert_eq!(answer.total_cost_usd, Some(0.5));
    assert!(!answer.is_error && !answer.interrupted);
}

#[tokio::test]
async fn ask_fails_when_no_result_can_come() {
    let exit = r#"{"type":"exit","code":3,"signal":null,"stderr":"boom"}"#;
    for (frame, check) in [
        (
            exit,
            (|e| matches!(e, TurnError::AgentExited { code: Some(3), .. }))
                as fn(&TurnError) -> bool,
        ),
        (r#"{"type":"gap","from":1,"to":5}"#, |e| matches!(e, TurnError::MessagesLost)),
        (
            r#"{"type":"error","error":"the queue is full"}"#,
            |e| matches!(e, TurnError::Refused { message } if message == "the queue is full"),
        ),
    ] {
        let fake = FakeRelay::relay(move |_, _, mut peer| async move {
            peer.message().await;
            peer.text(frame).await;
            peer.idle().await;
        })
        .await;
        let client = soon(client(&fake.url).start()).await.unwrap();
        let error = soon(client.ask("hi")).await.unwrap_err();
        assert!(check(&error), "{frame}: {error:?}");
    }
}

#[tokio::test]
async fn an_error_of_the_server_about_the_agent_does_not_end_a_turn_by_itself() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        peer.message().await;
        // Numbered: it is about the agent, and no answer to the client's message.
        peer.text(r#"{"type":"error","seq":1,"error":"the agent is slow"}"#).await;
        peer.text(&sdk(&result("", "done"))).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    assert_eq!(soon(client.ask("hi")).await.unwrap().text, "done");
}

#[tokio::test]
async fn a_turn_gives_its_messages_as_they_come() {
    let fake = FakeRelay::relay(|_, _, mut peer| async move {
        peer.message().await;
        peer.text(&sdk(INIT)).await;
        peer.text(&sdk(&result("", "done"))).await;
        peer.text(&sdk(INIT)).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut turn = soon(client.turn("hi")).await.unwrap();
    let mut seen = Vec::new();
    while let Some(message) = soon(turn.next()).await {
        let ServerMessage::Sdk(message) = message.unwrap() else { panic!() };
        seen.extend(message.views().iter().map(|view| match view {
            View::SessionStarted(session) => session.session_id.to_string(),
            View::TurnFinished(finished) => finished.result.as_deref().unwrap().to_owned(),
            other => panic!("{other:?}"),
        }));
    }
    assert_eq!(seen, ["s-1", "done"]);
    assert_eq!(turn.answer().text, "done");
}
