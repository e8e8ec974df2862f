//! Against the real server with its built-in agent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use claude_relay_client::{
    ConnectError, ConnectionError, ControlError, Decision, PermissionRequest, RequestError,
    SendError, ServerMessage, Turn, TurnError, View,
};

use crate::support::proxy::Proxy;
use crate::support::{client, line, soon};
use claude_relay_testing::relay_process::RelayProcess;

#[tokio::test]
async fn a_turn_from_end_to_end() {
    let relay = RelayProcess::demo(&[]).await;
    let client =
        soon(client(&relay.url).configure(|c| c.include_partial_messages = Some(true)).start())
            .await
            .unwrap();
    let mut turn = soon(client.turn("hello there")).await.unwrap();
    let (mut deltas, mut text, mut sessions) = (String::new(), String::new(), 0);
    while let Some(message) = soon(turn.next()).await {
        let ServerMessage::Sdk(message) = message.unwrap() else { continue };
        assert!(message.seq().is_some());
        for view in message.views() {
            match view {
                View::TextDelta { text, .. } => deltas += &text,
                View::Text { text: whole, .. } => text = whole.into_owned(),
                View::SessionStarted(_) => sessions += 1,
                _ => {}
            }
        }
    }
    let answer = turn.answer().clone();
    assert!(answer.text.contains("hello there"), "{}", answer.text);
    assert_eq!(deltas, text);
    assert_eq!(answer.text, text);
    assert_eq!(sessions, 1);
    assert!(answer.session_id.is_some() && !answer.is_error);

    // Several turns, one process; each answer belongs to its question.
    for word in ["one", "two", "three"] {
        let script = format!(r#"{{"echo":true,"note":"{word}"}}"#);
        let answer = soon(client.ask(script)).await.unwrap();
        assert!(answer.text.contains(word), "{}", answer.text);
    }
    soon(client.stop()).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_message_that_needs_longer_than_an_answer_may_is_delivered_over_one_connection() {
    let relay = RelayProcess::demo(&[]).await;
    let proxy = Proxy::slow(relay.port, 112 << 10).await;
    // A machine with much to do needs some seconds to read such a message.
    let limit = Duration::from_secs(8);
    let client = client(&proxy.url).keep_alive(limit, limit).reconnect_for(Duration::ZERO);
    let client = soon(client.start()).await.unwrap();
    // Thirteen seconds long, and more than the system takes at once.
    let long = format!(r#"{{"n":1,"size":10,"note":"{}"}}"#, "x".repeat(15 << 20));
    soon(client.ask(long)).await.unwrap();
    soon(client.stop()).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_long_message_arrives_once_over_connections_that_break_after_a_few_frames() {
    // One that the system takes whole at once, and one that it does not.
    for (frames, bytes) in [(3, 1 << 20), (5, 1 << 20), (3, 15 << 20), (12, 15 << 20)] {
        let relay = RelayProcess::demo(&[]).await;
        let proxy = Proxy::resetting(relay.port, frames).await;
        let client = soon(client(&proxy.url).start()).await.unwrap();
        let long = format!(r#"{{"size":10,"note":"{}"}}"#, "x".repeat(bytes));
        soon(client.ask(long)).await.unwrap();
        assert_eq!(proxy.cuts.load(Ordering::SeqCst), 1, "{frames} frames");
        let health = soon(client.health()).await.unwrap().details;
        let health: serde_json::Value = serde_json::from_str(health.get()).unwrap();
        assert_eq!(health["agent"]["turns"], 1, "{frames} frames");
        soon(client.stop()).await;
        relay.stop().await;
    }
}

#[tokio::test]
async fn interrupts_control_and_permissions() {
    let relay = RelayProcess::demo(&[]).await;
    let builder = client(&relay.url).on_permission(|request| async move {
        assert_eq!(request.tool, "Bash");
        Decision::deny("not today")
    });
    let client = soon(builder.start()).await.unwrap();
    let answer = soon(client.ask(r#"{"permission":"Bash"}"#)).await.unwrap();
    assert!(answer.text.contains("deny") && answer.text.contains("not today"), "{}", answer.text);

    let turn = soon(client.turn(r#"{"sleep_ms":60000}"#)).await.unwrap();
    soon(client.interrupt()).await.unwrap();
    let answer = soon(turn.finish()).await.unwrap();
    assert!(answer.interrupted && answer.is_error);

    soon(client.set_model(Some("another"))).await.unwrap();
    let refused = soon(client.set_permission_mode("bogus")).await.unwrap_err();
    assert!(matches!(refused, ControlError::Refused { .. }), "{refused:?}");
    soon(client.set_permission_mode("plan")).await.unwrap();

    let mut messages = client.messages();
    soon(client.request_capabilities()).await.unwrap();
    loop {
        if let ServerMessage::Capabilities(capabilities) =
            soon(messages.next()).await.unwrap().unwrap()
        {
            assert!(capabilities.get().contains("\"version\""), "{capabilities:?}");
            break;
        }
    }
}

#[tokio::test]
async fn a_dying_agent_is_an_error_and_the_next_message_starts_another() {
    let relay = RelayProcess::demo(&[]).await;
    let client = soon(client(&relay.url).start()).await.unwrap();
    let error = soon(client.ask(r#"{"stderr":"boom","exit":3}"#)).await.unwrap_err();
    assert!(
        matches!(&error, TurnError::AgentExited { code: Some(3), stderr, .. } if stderr.contains("boom")),
        "{error:?}"
    );
    assert!(!soon(client.ask("still there?")).await.unwrap().is_error);
}

#[tokio::test]
async fn every_turn_ends_when_the_server_is_killed_and_started_again() {
    let mut relay = RelayProcess::demo(&[]).await;
    let client = soon(client(&relay.url).start()).await.unwrap();
    for turn in 0..3 {
        assert!(!soon(client.ask("before")).await.unwrap().is_error);
        let running = soon(client.turn(r#"{"sleep_ms":60000}"#)).await.unwrap();
        let port = relay.port;
        relay.kill().await;
        relay = RelayProcess::start_on(port, &["--demo"], &[]).await;
        let error = soon(running.finish()).await.unwrap_err();
        assert!(matches!(error, TurnError::ServerRestarted), "turn {turn}: {error:?}");
    }
    assert!(!soon(client.ask("after")).await.unwrap().is_error);
}

#[tokio::test]
async fn a_second_client_is_told_that_it_is_busy_and_can_take_over() {
    let relay = RelayProcess::demo(&[]).await;
    let first = soon(client(&relay.url).start()).await.unwrap();
    let busy = soon(client(&relay.url).start()).await.unwrap_err();
    assert!(matches!(busy, ConnectError::Busy { .. }), "{busy:?}");
    let second = soon(client(&relay.url).takeover(true).start()).await.unwrap();
    let mut messages = first.messages();
    let error = loop {
        match soon(messages.next()).await.unwrap() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ConnectionError::Replaced { .. }), "{error:?}");
    assert!(!soon(second.ask("hi")).await.unwrap().is_error);
}

#[tokio::test]
async fn tokens_and_configurations_are_refused_by_name() {
    let relay = RelayProcess::demo(&["--auth-token", "right-token"]).await;
    let with = |token: &str| client(&relay.url).token(token);
    assert!(matches!(
        soon(client(&relay.url).start()).await,
        Err(ConnectError::Request(RequestError::Unauthorized { .. }))
    ));
    assert!(matches!(
        soon(with("wrong-token").start()).await,
        Err(ConnectError::Request(RequestError::Unauthorized { .. }))
    ));
    let error =
        soon(with("right-token").configure(|c| c.max_turns = Some(0)).start()).await.unwrap_err();
    assert!(
        matches!(&error, ConnectError::ConfigurationRefused { status: 400, message } if message.contains("maxTurns")),
        "{error:?}"
    );
    let client =
        soon(with("right-token").model("m").anthropic_api_key("sk-canary").start()).await.unwrap();
    let shown = soon(client.configuration()).await.unwrap();
    assert_eq!(shown.get(), r#"{"model":"m"}"#);
    assert!(soon(client.health()).await.unwrap().details.get().contains("\"replay\""));
}

#[tokio::test]
async fn another_process_goes_on_where_one_left_off_and_a_new_one_begins_now() {
    let relay = RelayProcess::demo(&[]).await;
    let first = soon(client(&relay.url).start()).await.unwrap();
    soon(first.ask("one")).await.unwrap();
    let position = first.position().unwrap();
    soon(first.ask("two")).await.unwrap();
    let end = first.position().unwrap();
    soon(first.stop()).await;

    let second = soon(client(&relay.url).resume_at(position.clone()).start()).await.unwrap();
    let mut messages = second.messages();
    for seq in position.seq + 1..=end.seq {
        assert_eq!(line(&mut messages).await.seq(), Some(seq));
    }
    soon(second.stop()).await;

    let third = soon(client(&relay.url).from_beginning().start()).await.unwrap();
    assert_eq!(line(&mut third.messages()).await.seq(), Some(1));
    soon(third.stop()).await;

    let fourth = soon(client(&relay.url).start()).await.unwrap();
    assert_eq!(fourth.position().unwrap(), end);
}

/// A program that reads everything from the beginning comes across questions
/// that were answered long ago: only what is open is put to it, and once.
#[tokio::test]
async fn of_a_replay_only_what_is_open_is_asked() {
    const ASK: &str = r#"{"permission":"Bash"}"#;
    let relay = RelayProcess::demo(&[]).await;
    let first = soon(client(&relay.url).start()).await.unwrap();
    let mut turn = soon(first.turn(ASK)).await.unwrap();
    let answered = asked(&mut turn).await;
    soon(first.respond(&answered, &Decision::allow())).await.unwrap();
    assert!(soon(turn.finish()).await.unwrap().text.contains("allow"));
    let mut turn = soon(first.turn(ASK)).await.unwrap();
    let open = asked(&mut turn).await;
    drop(turn);
    soon(first.stop()).await;

    let second = soon(client(&relay.url).from_beginning().start()).await.unwrap();
    let mut messages = second.messages();
    let mut requests = Vec::new();
    loop {
        match soon(messages.next()).await.unwrap().unwrap() {
            ServerMessage::PermissionRequest(request) => {
                soon(second.respond(&request, &Decision::deny("not twice"))).await.unwrap();
                requests.push(request.id);
            }
            ServerMessage::PermissionCancelled(id) => panic!("{id} was never asked here"),
            ServerMessage::Error { text, .. } => panic!("{text}"),
            ServerMessage::Sdk(message) => {
                let text = message.json().unwrap().get().to_owned();
                if text.contains(r#""type":"result""#) && text.contains("not twice") {
                    break;
                }
            }
            _ => {}
        }
    }
    assert_eq!(requests, [open.id]);
    // An answer all the same is one to nothing, and nothing breaks.
    soon(second.respond(&answered, &Decision::allow())).await.unwrap();
    let error = loop {
        if let ServerMessage::Error { text, .. } = soon(messages.next()).await.unwrap().unwrap() {
            break text;
        }
    };
    assert!(error.contains("No permission request"), "{error}");
    drop(messages);
    assert!(!soon(second.ask("still there?")).await.unwrap().is_error);
    relay.stop().await;
}

async fn asked(turn: &mut Turn) -> PermissionRequest {
    loop {
        if let ServerMessage::PermissionRequest(request) = soon(turn.next()).await.unwrap().unwrap()
        {
            return *request;
        }
    }
}

/// 200 cuts at random places in 100,000 messages: each is seen once, in order.
#[tokio::test]
async fn nothing_is_lost_or_doubled_by_200_cuts() {
    const MESSAGES: u64 = 100_000;
    const CUTS: usize = 200;
    const SIZE: usize = 300;
    // Every failure names it, so that it can be seen again.
    let seed: u64 = rand::random();
    let mut random = seed;
    let mut random = move || {
        // Splitmix64.
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    // A little over the bytes there are, divided by the cuts there shall be:
    // on average a cut after that many, so that they suffice for all of them.
    let total = usize::try_from(MESSAGES).unwrap() * (SIZE + 45);
    let mean = total / (CUTS + 20);
    let relay = RelayProcess::demo(&["--replay-bytes", "67108864"]).await;
    let armed = Arc::new(AtomicBool::new(true));
    let mut left = CUTS;
    let proxy = Proxy::start(relay.port, Arc::clone(&armed), move || {
        // A health check or a greeting alone is no place to count.
        let bytes = 400 + usize::try_from(random()).unwrap() % (2 * mean);
        left = left.checked_sub(1)?;
        Some(bytes)
    })
    .await;
    let client = soon(client(&proxy.url).start()).await.unwrap();
    let mut messages = client.messages();
    let (mut next, mut seq) = (1, None);
    let read = async {
        while next <= MESSAGES {
            match messages.next().await.unwrap().unwrap() {
                ServerMessage::Sdk(message) => {
                    if let (Some(before), Some(now)) = (seq, message.seq()) {
                        assert_eq!(now, before + 1, "seed {seed}");
                    }
                    seq = message.seq();
                    if let Some(View::Text { text, .. }) = message.views().first()
                        && let Ok(number) = text[..12.min(text.len())].parse::<u64>()
                    {
                        assert_eq!(number, next, "seed {seed}");
                        next += 1;
                    }
                }
                ServerMessage::AgentState(_) => {}
                other => panic!("seed {seed}: {other:?}"),
            }
        }
    };
    let ((), sent) = tokio::time::timeout(Duration::from_secs(120), async {
        tokio::join!(read, async {
            // It may itself be cut; then the agent got it or it did not.
            client.send(format!(r#"{{"n":{MESSAGES},"size":{SIZE}}}"#)).await
        })
    })
    .await
    .unwrap_or_else(|_| panic!("seed {seed}: it took too long"));
    assert!(matches!(sent, Ok(()) | Err(SendError::DeliveryUnknown { .. })), "{sent:?}");
    let cuts = proxy.cuts.load(Ordering::SeqCst);
    assert!(cuts >= CUTS * 9 / 10, "only {cuts} cuts");
    soon(client.stop()).await;
}
