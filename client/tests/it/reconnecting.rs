//! Connections that break.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claude_relay_client::{
    ConnectError, ConnectionError, ConnectionState, Gap, Position, RequestError, SendError,
    ServerMessage,
};
use tokio::sync::Notify;

use crate::support::{client, line, n, soon};
use claude_relay_testing::fake_relay::{CONNECTED, FakeRelay, PING, PONG, TEXT};

#[tokio::test]
async fn it_comes_back_where_it_was_and_says_so() {
    let paths = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&paths);
    let fake = FakeRelay::relay(move |number, request, mut peer| {
        log.lock().unwrap().push(request.path);
        async move {
            match number {
                0 => {
                    peer.line(1).await;
                    peer.line(2).await;
                    // Cut in the middle of a frame.
                    peer.raw([0x81, 100, b'{']).await;
                }
                1 => {
                    // One that came already, and one that is new.
                    peer.line(2).await;
                    peer.line(3).await;
                    peer.close(1001, "going away").await;
                }
                _ => {
                    peer.text(r#"{"type":"gap","from":4,"to":6}"#).await;
                    peer.line(7).await;
                    peer.idle().await;
                }
            }
        }
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut state = client.connection();
    let mut messages = client.messages();
    for expected in 1..=3 {
        assert_eq!(n(&line(&mut messages).await), expected);
    }
    let Some(Ok(ServerMessage::Gap(gap))) = soon(messages.next()).await else { panic!("no gap") };
    assert_eq!(gap, Gap { from: Some(4), to: Some(6) });
    assert_eq!(n(&line(&mut messages).await), 7);
    assert!(matches!(*state.borrow_and_update(), ConnectionState::Connected));
    assert_eq!(
        *paths.lock().unwrap(),
        [
            "/ws?after=0&supports=agent_state",
            "/ws?after=2&stream=s1&supports=agent_state",
            "/ws?after=3&stream=s1&supports=agent_state"
        ]
    );
    soon(client.stop()).await;
    assert!(matches!(*state.borrow(), ConnectionState::Ended(ConnectionError::Stopped)));
}

#[tokio::test]
async fn another_process_goes_on_where_one_left_off() {
    let fake = FakeRelay::start(|_, request, mut peer| async move {
        assert_eq!(request.path, "/ws?after=41&stream=a%26b&supports=agent_state");
        peer.upgrade(&request).await;
        peer.text(r#"{"type":"connected","stream":"a&b","next":43}"#).await;
        peer.line(42).await;
        peer.idle().await;
    })
    .await;
    let position = Position { stream: "a&b".into(), seq: 41 };
    let client = soon(client(&fake.url).resume_at(position).start()).await.unwrap();
    assert_eq!(n(&line(&mut client.messages()).await), 42);
}

#[tokio::test]
async fn without_numbers_a_break_is_a_gap_of_unknown_size() {
    let fake = FakeRelay::start(|number, request, mut peer| async move {
        if request.path == "/health" {
            return peer.answer("404 Not Found", "text/plain", "Not Found").await;
        }
        peer.upgrade(&request).await;
        peer.text(r#"{"type":"connected"}"#).await;
        peer.text(r#"{"type":"sdk_message","data":{"n":1}}"#).await;
        if number > 1 {
            peer.idle().await;
        }
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut messages = client.messages();
    line(&mut messages).await;
    let Some(Ok(ServerMessage::Gap(gap))) = soon(messages.next()).await else { panic!("no gap") };
    assert_eq!(gap, Gap { from: None, to: None });
    line(&mut messages).await;
}

#[tokio::test]
async fn a_message_sent_while_away_is_sent_once_after_coming_back() {
    let away = Arc::new(Notify::new());
    let back = Arc::new(Notify::new());
    let (cut, open) = (Arc::clone(&away), Arc::clone(&back));
    let got = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&got);
    let fake = FakeRelay::start(move |number, request, mut peer| {
        let (cut, open, log) = (Arc::clone(&cut), Arc::clone(&open), Arc::clone(&log));
        async move {
            if request.path == "/health" {
                return peer.health().await;
            }
            if number > 1 {
                open.notified().await;
            }
            peer.upgrade(&request).await;
            peer.text(CONNECTED).await;
            if number == 1 {
                return cut.notified().await;
            }
            while let Some(message) = peer.message().await {
                log.lock().unwrap().push(message);
            }
        }
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut state = client.connection();
    away.notify_one();
    soon(state.wait_for(|state| matches!(state, ConnectionState::Reconnecting { .. })))
        .await
        .unwrap();
    let withdrawn = client.interrupt();
    assert!(tokio::time::timeout(Duration::from_millis(20), withdrawn).await.is_err());
    let sent = tokio::spawn({
        let client = client.clone();
        async move { client.send("hello").await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!sent.is_finished());
    back.notify_one();
    soon(sent).await.unwrap().unwrap();
    let got = got.lock().unwrap();
    assert_eq!(got.len(), 1, "{got:?}");
    assert!(got[0].contains("hello"));
}

#[tokio::test]
async fn a_message_cut_half_way_is_sent_again_because_nobody_can_have_read_it() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&got);
    let fake = FakeRelay::relay(move |number, _, mut peer| {
        let log = Arc::clone(&log);
        async move {
            if number == 0 {
                // The head of a frame that is too big for the system's buffers.
                use tokio::io::AsyncReadExt as _;
                let _ = peer.stream.read_exact(&mut [0; 100]).await;
                return;
            }
            while let Some(message) = peer.message().await {
                log.lock().unwrap().push(message.len());
            }
        }
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    soon(client.send("x".repeat(32 << 20))).await.unwrap();
    assert_eq!(got.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_message_that_was_not_confirmed_is_reported_as_such_and_not_sent_twice() {
    let texts = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&texts);
    let fake = FakeRelay::relay(move |number, _, mut peer| {
        let count = Arc::clone(&count);
        async move {
            while let Some(frame) = peer.receive().await {
                if frame.opcode == TEXT {
                    count.fetch_add(1, Ordering::SeqCst);
                }
                // The first connection breaks before the ping is answered.
                if frame.opcode == PING && number == 0 {
                    return;
                }
                if frame.opcode == PING {
                    peer.frame(0x80 | PONG, &frame.payload).await;
                }
            }
        }
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let error = soon(client.send("hello")).await.unwrap_err();
    assert!(matches!(error, SendError::DeliveryUnknown { .. }), "{error:?}");
    soon(client.interrupt()).await.unwrap();
    assert_eq!(texts.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_is_gone_without_a_word_is_noticed() {
    let fake = FakeRelay::relay(|number, _, mut peer| async move {
        if number == 0 {
            // Neither reads nor writes, like a machine that lost its network.
            std::future::pending::<()>().await;
        }
        peer.line(1).await;
        peer.idle().await;
    })
    .await;
    let builder =
        client(&fake.url).keep_alive(Duration::from_millis(100), Duration::from_millis(100));
    let client = soon(builder.start()).await.unwrap();
    let mut messages = client.messages();
    assert_eq!(n(&line(&mut messages).await), 1);
}

#[tokio::test]
async fn a_quiet_server_that_answers_pings_is_alive() {
    let fake = FakeRelay::relay(|number, _, mut peer| async move {
        assert_eq!(number, 0, "it was taken for dead");
        let mut pings = 0;
        while let Some(frame) = peer.receive().await {
            if frame.opcode == PING {
                peer.frame(0x80 | PONG, &frame.payload).await;
                pings += 1;
                if pings == 3 {
                    peer.line(1).await;
                }
            }
        }
    })
    .await;
    let builder = client(&fake.url).keep_alive(Duration::from_millis(30), Duration::from_secs(5));
    let client = soon(builder.start()).await.unwrap();
    assert_eq!(n(&line(&mut client.messages()).await), 1);
}

#[tokio::test]
async fn permanent_errors_are_not_retried() {
    for status in ["401 Unauthorized", "403 Forbidden", "200 OK"] {
        let fake = FakeRelay::start(move |number, request, mut peer| async move {
            if request.path == "/health" {
                return peer.health().await;
            }
            if number > 1 {
                return peer.json(status, "{}").await;
            }
            peer.upgrade(&request).await;
            peer.text(CONNECTED).await;
        })
        .await;
        let client = soon(client(&fake.url).start()).await.unwrap();
        let error = soon(client.messages().next()).await.unwrap().unwrap_err();
        let ConnectionError::ReconnectRefused { source } = error else { panic!("{error:?}") };
        assert!(
            matches!(
                *source,
                ConnectError::Request(
                    RequestError::Unauthorized { .. }
                        | RequestError::Forbidden { .. }
                        | RequestError::NotARelay { .. }
                )
            ),
            "{source:?}"
        );
        assert_eq!(fake.requests(), 3, "{status}");
    }
    // Taken by another client meanwhile, replaced, or told to be too big.
    for (code, requests) in [(1013, 2), (4001, 2), (1009, 2), (1002, 2), (1008, 2)] {
        let fake = FakeRelay::relay(move |_, _, mut peer| async move {
            peer.close(code, "").await;
            peer.idle().await;
        })
        .await;
        let client = soon(client(&fake.url).start()).await.unwrap();
        assert!(soon(client.messages().next()).await.unwrap().is_err());
        assert_eq!(fake.requests(), requests, "{code}");
    }
}

#[tokio::test]
async fn it_gives_up_after_its_time_and_everybody_learns_why() {
    let fake = FakeRelay::relay(|_, _, _| async {}).await;
    let client =
        soon(client(&fake.url).reconnect_for(Duration::from_millis(400)).start()).await.unwrap();
    let mut state = client.connection();
    soon(state.wait_for(|state| matches!(state, ConnectionState::Reconnecting { .. })))
        .await
        .unwrap();
    drop(fake);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.send("x").await }
    });
    let error = soon(client.messages().next()).await.unwrap().unwrap_err();
    let ConnectionError::ReconnectFailed { attempts, elapsed, source } = error else {
        panic!("{error:?}")
    };
    assert!(attempts >= 1);
    assert!(elapsed >= Duration::from_millis(400));
    assert!(
        matches!(
            *source,
            ConnectError::Request(RequestError::Connect { .. } | RequestError::Interrupted { .. })
                | ConnectError::Connection(ConnectionError::Lost { .. })
        ),
        "{source:?}"
    );
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert!(matches!(&error, SendError::NotDelivered { .. }), "{error:?}");
}

#[tokio::test]
async fn it_can_be_stopped_while_it_is_away() {
    let fake = FakeRelay::relay(|_, _, _| async {}).await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    drop(fake);
    let mut state = client.connection();
    soon(
        state.wait_for(|state| matches!(state, ConnectionState::Reconnecting { attempt: 3.., .. })),
    )
    .await
    .unwrap();
    let mut messages = client.messages();
    soon(client.stop()).await;
    assert!(soon(messages.next()).await.is_none());
}
