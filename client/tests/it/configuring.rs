//! Configuration and place in one step, and the agent's requests to a person.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use claude_relay_client::{AgentAnswer, Client, ConnectError, ServerMessage};

use crate::support::{client, line, n, refused, soon};
use claude_relay_testing::fake_relay::{CONNECTED, FakeRelay};
use claude_relay_testing::relay_process::RelayProcess;

/// The health of a server that takes the configuration with a connection.
const HEALTH: &str = r#"{"status":"ok","agent_state":{},"replay":{"first":1,"next":1,"bytes":0}}"#;

#[tokio::test]
async fn a_client_that_is_refused_changes_no_configuration() {
    let relay = RelayProcess::demo(&[]).await;
    let holder = soon(client(&relay.url).model("first").start()).await.unwrap();
    let error = refused(client(&relay.url).model("second")).await;
    assert!(matches!(error, ConnectError::Busy { .. }), "{error}");
    let stored = soon(client(&relay.url).get_configuration()).await.unwrap();
    assert_eq!(stored.get(), r#"{"model":"first"}"#);
    holder.stop().await;
    let invalid = client(&relay.url).configure(|configuration| {
        configuration.max_turns = Some(0);
    });
    let error = refused(invalid).await;
    assert!(matches!(error, ConnectError::ConfigurationRefused { .. }), "{error}");
    assert!(error.to_string().contains("maxTurns"), "{error}");
}

#[tokio::test]
async fn a_restarted_server_is_told_the_configuration_again_and_another_connection_is_not() {
    let sockets = Arc::new(AtomicUsize::new(0));
    let fake = FakeRelay::start(move |_, request, mut peer| {
        let sockets = Arc::clone(&sockets);
        async move {
            if request.path == "/health" {
                return peer.json("200 OK", HEALTH).await;
            }
            assert!(request.path.contains("configure=true"), "{}", request.path);
            peer.upgrade(&request).await;
            let number = sockets.fetch_add(1, Ordering::SeqCst);
            let (connected, expected) = match number {
                0 => (CONNECTED, r#"{"type":"configure","config":{"model":"m"}}"#),
                1 => (CONNECTED, r#"{"type":"configure","config":{},"merge":true}"#),
                _ => (
                    r#"{"type":"connected","stream":"s2","next":1}"#,
                    r#"{"type":"configure","config":{"model":"m"}}"#,
                ),
            };
            peer.text(connected).await;
            assert_eq!(peer.message().await.as_deref(), Some(expected), "connection {number}");
            peer.text(r#"{"type":"configured","applies":"now","config":{"model":"m"}}"#).await;
            peer.line(if number < 2 { number as u64 + 1 } else { 1 }).await;
            if number >= 2 {
                peer.idle().await;
            }
        }
    })
    .await;
    let client = soon(client(&fake.url).model("m").start()).await.unwrap();
    let mut messages = client.messages();
    assert_eq!(n(&line(&mut messages).await), 1);
    assert_eq!(n(&line(&mut messages).await), 2);
    let restarted = soon(messages.next()).await;
    assert!(matches!(restarted, Some(Ok(ServerMessage::Restarted { .. }))), "{restarted:?}");
    match soon(messages.next()).await {
        Some(Ok(ServerMessage::Configured(configured))) => {
            assert_eq!(configured.config.get(), r#"{"model":"m"}"#);
        }
        other => panic!("expected the configuration, got {other:?}"),
    }
    assert_eq!(n(&line(&mut messages).await), 1);
}

#[tokio::test]
async fn a_long_configuration_arrives_over_connections_that_break_after_a_frame() {
    let sockets = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sockets);
    let fake = FakeRelay::start(move |_, request, mut peer| {
        let sockets = Arc::clone(&sockets);
        async move {
            if request.path == "/health" {
                return peer.json("200 OK", HEALTH).await;
            }
            peer.upgrade(&request).await;
            let is_first = sockets.fetch_add(1, Ordering::SeqCst) == 0;
            if is_first {
                peer.text(CONNECTED).await;
                peer.message().await.unwrap();
            } else {
                // Restarted, and so to be told again.
                peer.text(r#"{"type":"connected","stream":"s2","next":1}"#).await;
                if !peer.receive().await.unwrap().is_last {
                    return;
                }
            }
            peer.text(r#"{"type":"configured","applies":"now","config":{}}"#).await;
            peer.line(1).await;
            if !is_first {
                peer.idle().await;
            }
        }
    })
    .await;
    let client = soon(client(&fake.url).model("m".repeat(300 << 10)).start()).await.unwrap();
    let mut messages = client.messages();
    assert_eq!(n(&line(&mut messages).await), 1);
    let restarted = soon(messages.next()).await;
    assert!(matches!(restarted, Some(Ok(ServerMessage::Restarted { .. }))), "{restarted:?}");
    let tried = count.load(Ordering::SeqCst) - 1;
    assert!(tried <= 2, "in parts, and then whole: {tried}");
}

#[tokio::test]
async fn a_server_that_does_not_take_it_with_the_connection_is_configured_before() {
    let fake = FakeRelay::start(|_, request, mut peer| async move {
        match request.path.as_str() {
            "/health" => peer.health().await,
            "/config" => peer.json("200 OK", r#"{"success":true,"config":{}}"#).await,
            _ => {
                assert!(!request.path.contains("configure"), "{}", request.path);
                peer.upgrade(&request).await;
                peer.text(CONNECTED).await;
                peer.line(1).await;
                peer.idle().await;
            }
        }
    })
    .await;
    let client = soon(client(&fake.url).model("m").start()).await.unwrap();
    assert_eq!(n(&line(&mut client.messages()).await), 1);
}

#[tokio::test]
async fn a_form_reaches_the_program_once_and_its_answer_the_server() {
    let fake = FakeRelay::start(|_, request, mut peer| async move {
        if request.path == "/health" {
            return peer.json("200 OK", HEALTH).await;
        }
        assert!(request.path.contains("supports=agent_state,questions"), "{}", request.path);
        peer.upgrade(&request).await;
        peer.text(CONNECTED).await;
        let asked = r#""requestId":"e","request":{"subtype":"elicitation","message":"Name?","requested_schema":{"type":"object","properties":{"name":{"type":"string"}}}}"#;
        for seq in [1, 2] {
            peer.text(&format!(r#"{{"type":"agent_request","seq":{seq},{asked}}}"#)).await;
        }
        peer.text(r#"{"type":"agent_request","seq":3,"requestId":"f","request":{"subtype":"elicitation"}}"#).await;
        peer.text(r#"{"type":"agent_request_cancelled","seq":4,"requestId":"f"}"#).await;
        let answer = peer.message().await;
        assert_eq!(
            answer.as_deref(),
            Some(r#"{"type":"agent_response","requestId":"e","response":{"action":"accept","content":{"name":"Ada"}}}"#)
        );
        peer.line(5).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).questions(true).start()).await.unwrap();
    let mut messages = client.messages();
    let mut next = async || soon(messages.next()).await.unwrap().unwrap();
    let ServerMessage::AgentRequest(request) = next().await else { panic!("no request") };
    let form = request.form().expect("a form");
    assert_eq!((&*form.message, &*form.fields[0].name), ("Name?", "name"));
    let answer = AgentAnswer::accept([("name".to_owned(), "Ada".into())]);
    let ServerMessage::AgentRequest(other) = next().await else { panic!("asked twice") };
    assert_eq!(other.id, "f");
    let ServerMessage::AgentRequestCancelled(id) = next().await else { panic!("not cancelled") };
    assert_eq!(id, "f");
    let answering = client.clone();
    let sent = tokio::spawn(async move { answering.answer(&request, &answer).await });
    assert!(matches!(next().await, ServerMessage::Sdk(_)));
    sent.abort();
}

/// A client that claims the server: that is posted before the connection.
async fn claimed(url: &str) -> Client {
    let builder = client(url).configure(|configuration| {
        configuration.auth_token = Some("a token to claim it".into());
    });
    soon(builder.start()).await.unwrap()
}

#[tokio::test]
async fn a_start_needs_one_connection_where_the_server_keeps_it_open() {
    let fake = FakeRelay::start(|number, mut request, mut peer| async move {
        assert_eq!(number, 0, "another connection for {}", request.path);
        assert_eq!(request.path, "/health");
        for (path, answer) in [("/health", HEALTH), ("/config", r#"{"success":true,"config":{}}"#)]
        {
            assert_eq!(request.path, path);
            peer.json("200 OK", answer).await;
            request = peer.request().await.expect("the next request");
        }
        peer.upgrade(&request).await;
        peer.text(CONNECTED).await;
        peer.idle().await;
    })
    .await;
    drop(claimed(&fake.url).await);
    assert_eq!(fake.requests(), 1);
}

/// As one does that keeps no connection, and does not say so.
#[tokio::test]
async fn a_start_asks_again_where_the_server_closes_the_connection_under_a_request() {
    let fake = FakeRelay::start(|number, mut request, mut peer| async move {
        if number == 0 {
            peer.json("200 OK", HEALTH).await;
            assert_eq!(peer.request().await.expect("the claim").path, "/config");
            return;
        }
        if request.path == "/config" {
            peer.json("200 OK", r#"{"success":true,"config":{}}"#).await;
            request = peer.request().await.expect("the next request");
        }
        peer.upgrade(&request).await;
        peer.text(CONNECTED).await;
        peer.idle().await;
    })
    .await;
    drop(claimed(&fake.url).await);
    assert_eq!(fake.requests(), 2);
}
