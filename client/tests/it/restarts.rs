//! Servers that are restarted behind a client.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use claude_relay_client::{Position, ServerMessage, TurnError};
use tokio::net::TcpStream;

use crate::support::{client, line, n, soon};
use claude_relay_testing::fake_relay::{CONNECTED, FakeRelay, PONG, Peer};

#[tokio::test]
async fn a_restarted_server_is_an_event_and_its_numbers_begin_anew() {
    let fake = FakeRelay::start(|number, request, mut peer| async move {
        if request.path == "/health" {
            return peer.health().await;
        }
        peer.upgrade(&request).await;
        if number < 2 {
            peer.text(CONNECTED).await;
            peer.line(1).await;
        } else {
            peer.text(r#"{"type":"connected","stream":"s2","next":1}"#).await;
            peer.line(1).await;
            peer.idle().await;
        }
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut messages = client.messages();
    assert_eq!(n(&line(&mut messages).await), 1);
    restarted(&mut messages).await;
    assert_eq!(n(&line(&mut messages).await), 1);
    assert_eq!(client.position(), Some(Position { stream: "s2".into(), seq: 1 }));
}

/// The next message has to say that the server was restarted as `s2`.
async fn restarted(messages: &mut claude_relay_client::Messages) {
    match soon(messages.next()).await {
        Some(Ok(ServerMessage::Restarted { stream })) => assert_eq!(stream.as_deref(), Some("s2")),
        other => panic!("expected the restart, got {other:?}"),
    }
}

/// A server that has numbered 300 frames when the client comes. It dies when
/// it has read a message, and its successor numbers from 1 again: `script` has
/// the connection to that one.
async fn restarting<D>(
    script: impl Fn(Peer<TcpStream>) -> D + Send + Sync + Clone + 'static,
) -> FakeRelay
where
    D: Future<Output = ()> + Send + 'static,
{
    let sockets = Arc::new(AtomicUsize::new(0));
    FakeRelay::start(move |_, request, mut peer| {
        let (sockets, script) = (Arc::clone(&sockets), script.clone());
        async move {
            if request.path == "/health" {
                let replay = r#"{"status":"ok","replay":{"first":1,"next":301,"bytes":0}}"#;
                return peer.json("200 OK", replay).await;
            }
            peer.upgrade(&request).await;
            if sockets.fetch_add(1, Ordering::SeqCst) == 0 {
                assert_eq!(request.path, "/ws?after=300&supports=agent_state");
                peer.text(r#"{"type":"connected","stream":"s1","next":301}"#).await;
                peer.message().await.expect("a message");
                // The ping behind it: the message is confirmed.
                let ping = peer.receive().await.expect("a ping");
                peer.frame(0x80 | PONG, &ping.payload).await;
                return;
            }
            peer.text(r#"{"type":"connected","stream":"s2","next":1}"#).await;
            peer.text(r#"{"type":"gap","from":1,"to":0}"#).await;
            script(peer).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_turn_ends_with_an_error_when_its_server_is_restarted() {
    let fake = restarting(|mut peer| async move {
        peer.line(1).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut messages = client.messages();
    let error = soon(client.ask("hi")).await.unwrap_err();
    assert!(matches!(error, TurnError::ServerRestarted), "{error:?}");
    restarted(&mut messages).await;
    assert_eq!(n(&line(&mut messages).await), 1);
}

#[tokio::test]
async fn a_turn_after_the_restart_is_measured_by_the_new_numbers_alone() {
    let fake = restarting(|mut peer| async move {
        peer.message().await.expect("another message");
        let result = r#"{"type":"sdk_message","seq":1,"data":{"type":"result","subtype":"success","is_error":false,"result":"anew"}}"#;
        peer.text(result).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    soon(client.send("hi")).await.unwrap();
    assert_eq!(soon(client.ask("again")).await.unwrap().text, "anew");
}

#[tokio::test]
async fn a_server_that_is_restarted_between_health_and_connection_hides_nothing() {
    let fake = FakeRelay::start(|_, request, mut peer| async move {
        if request.path == "/health" {
            let replay = r#"{"status":"ok","replay":{"first":1,"next":301,"bytes":0}}"#;
            return peer.json("200 OK", replay).await;
        }
        peer.upgrade(&request).await;
        peer.text(r#"{"type":"connected","stream":"s2","next":1}"#).await;
        peer.line(1).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    assert_eq!(n(&line(&mut client.messages()).await), 1);
}

#[tokio::test]
async fn a_permission_request_of_the_former_server_is_void_after_a_restart() {
    let asked = r#"{"type":"permission_request","seq":1,"requestId":"1","tool":"Bash","input":{},"context":{}}"#;
    let fake = FakeRelay::start(move |number, request, mut peer| async move {
        if request.path == "/health" {
            return peer.health().await;
        }
        peer.upgrade(&request).await;
        let stream = if number < 2 { "s1" } else { "s2" };
        peer.text(&format!(r#"{{"type":"connected","stream":"{stream}","next":1}}"#)).await;
        // Another request, which happens to have the same id.
        peer.text(asked).await;
        if number >= 2 {
            peer.idle().await;
        }
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    let mut messages = client.messages();
    for restart in [true, false] {
        match soon(messages.next()).await {
            Some(Ok(ServerMessage::PermissionRequest(request))) => assert_eq!(request.id, "1"),
            other => panic!("expected the request, got {other:?}"),
        }
        if restart {
            restarted(&mut messages).await;
        }
    }
}
