//! Several clients at once: filters, numbers, slow ones, the heartbeat.

use std::time::{Duration, Instant};

use claude_relay_testing::wait::soon;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::paced::Pace;
use crate::support::{HubDirectory, TOKEN};

#[tokio::test]
async fn a_client_sees_only_the_workspaces_that_it_subscribes_to() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let (mine, other) = (hub.workspace("mine").await, hub.workspace("other").await);
    let (of_mine, of_other) = (hub.agent(&mine, "a").await, hub.agent(&other, "b").await);
    let mut socket = hub.connect().await;
    socket.send(json!({ "type": "subscribe", "workspaceId": mine, "id": 1 })).await;
    socket.until_type("command_result").await;
    hub.say(&of_other, "not for you").await;
    hub.until_done(&of_other).await;
    hub.say(&of_mine, "for you").await;
    let (before, done) = socket.until("agent_done").await;
    assert_eq!(done["agentId"], *of_mine);
    for event in before {
        assert_eq!(event["agentId"], *of_mine, "{event}");
    }
    socket.send(json!({ "type": "unsubscribe", "workspaceId": mine, "id": 2 })).await;
    socket.until_type("command_result").await;
    hub.say(&of_other, "now for you").await;
    assert_eq!(socket.until_type("agent_done").await["agentId"], *of_other);
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("a").await;
    let mut socket = hub.connect_after(0).await;
    let connected = socket.next().await;
    assert_eq!(connected["type"], "connected");
    let stream = connected["stream"].as_str().unwrap().to_owned();
    hub.say(&agent, "one").await;
    let (seen, done) = socket.until("agent_done").await;
    let numbers: Vec<_> = seen.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    let last = done["seq"].as_u64().unwrap();
    assert_eq!(numbers, (1..last).collect::<Vec<_>>());
    drop(socket);
    hub.say(&agent, "two").await;
    hub.until_done(&agent).await;
    let query = format!("token={TOKEN}&after={last}&stream={stream}");
    let mut socket = hub.connect_with(&query).await;
    assert_eq!(socket.next().await["type"], "connected");
    let (seen, done) = socket.until("agent_done").await;
    let numbers: Vec<_> = seen.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (last + 1..done["seq"].as_u64().unwrap()).collect::<Vec<_>>());
    // A number of another life of the hub says nothing.
    let mut socket = hub.connect_with(&format!("token={TOKEN}&after=3&stream=another")).await;
    assert_eq!(socket.next().await["type"], "connected");
    assert_eq!(socket.next().await["type"], "gap");
    assert_eq!(socket.next().await["seq"], 1);
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody() {
    let place = HubDirectory::with(&["--replay-bytes", "300000"], &["--demo"], &[]);
    let (hub, _, agent) = place.start_with_agent("a").await;
    // It never reads what it is sent.
    let mut silent = TcpStream::connect(&hub.address).await.unwrap();
    let request = format!(
        "GET /?token={TOKEN}&after=0 HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        hub.address
    );
    silent.write_all(request.as_bytes()).await.unwrap();
    let mut reader = hub.connect().await;
    let wanted = 20_000;
    hub.say(&agent, &format!(r#"{{"n":{wanted},"size":1000}}"#)).await;
    let mut seen = 0;
    let reading = async {
        loop {
            let event = reader.next().await;
            match event["type"].as_str().unwrap() {
                "agent_text" => seen += 1,
                "agent_done" => break,
                "gap" => {
                    let missed = event["to"].as_u64().unwrap() - event["from"].as_u64().unwrap();
                    seen += missed + 1;
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), reading).await.expect("nobody is held up");
    assert!(seen >= wanted, "{seen}");
    drop(silent);
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_pings_is_dropped_and_others_stay() {
    let place = HubDirectory::with(
        &["--ping-interval", "300ms", "--pong-timeout", "300ms"],
        &["--demo"],
        &[],
    );
    let hub = place.start().await;
    let mut answering = hub.connect().await;
    let mut dead = TcpStream::connect(&hub.address).await.unwrap();
    let request = format!(
        "GET /?token={TOKEN} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        hub.address
    );
    dead.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    // The other one reads meanwhile, which answers its pings.
    let other = tokio::spawn(async move { answering.until_type("agent_created").await });
    soon(tokio::io::AsyncReadExt::read_to_end(&mut dead, &mut read)).await.unwrap();
    assert!(read.starts_with(b"HTTP/1.1 101"));
    let workspace = hub.workspace("w").await;
    hub.agent(&workspace, "a").await;
    soon(other).await.unwrap();
    hub.stop().await;
}

#[tokio::test]
async fn malformed_frames_are_answered_and_the_connection_stays() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let mut socket = hub.connect().await;
    for bad in [
        "",
        "[]",
        "{",
        "{}",
        r#"{"type":"nothing"}"#,
        r#"{"type":"subscribe"}"#,
        r#"{"type":"permission_response","requestId":1}"#,
    ] {
        socket.send_text(bad).await;
        assert_eq!(socket.next().await["type"], "error", "{bad}");
    }
    socket.send(json!({ "type": "get_agent", "agentId": "none", "id": "x" })).await;
    let error = socket.next().await;
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!("x")));
    socket.send(json!({ "type": "create_workspace", "name": "w", "id": 1 })).await;
    let made = socket.until_type("command_result").await;
    let workspace = &made["result"]["id"];
    let new = json!({ "type": "create_agent", "workspaceId": workspace, "message": "hi", "id": 2 });
    socket.send(new).await;
    socket.until_type("agent_done").await;
    hub.stop().await;
}

#[tokio::test]
async fn a_subscription_to_a_workspace_that_does_not_exist_is_an_error() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("a").await;
    let mut socket = hub.connect().await;
    socket.send(json!({ "type": "subscribe", "workspaceId": "ws_none" })).await;
    let error = socket.next().await;
    assert_eq!(error["type"], "error", "{error}");
    assert!(error["error"].as_str().unwrap().contains("ws_none"), "{error}");
    socket.send(json!({ "type": "subscribe", "workspaceId": "ws_none", "id": 5 })).await;
    let error = socket.next().await;
    assert_eq!((&error["type"], &error["id"]), (&json!("error"), &json!(5)));
    // It changes nothing.
    hub.say(&agent, "hi").await;
    assert_eq!(socket.until_type("agent_done").await["agentId"], *agent);
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_outlives_the_time_for_a_pong() {
    const PONG_TIMEOUT: Duration = Duration::from_secs(3);
    let place = HubDirectory::with(
        &["--ping-interval", "200ms", "--pong-timeout", "3s", "--replay-bytes", "100000000"],
        &["--demo"],
        &[],
    );
    let (hub, _, agent) = place.start_with_agent("a").await;
    let pace = Pace::of(16 << 10, Duration::from_millis(100));
    let mut slow = hub.connect_paced(&pace).await;
    hub.say(&agent, r#"{"n":20000,"size":1000}"#).await;
    let began = Instant::now();
    let mut events = Vec::new();
    while began.elapsed() < PONG_TIMEOUT * 2 {
        events.push(slow.next().await);
    }
    pace.end();
    let (rest, done) = slow.until("agent_done").await;
    let (texts, others): (Vec<_>, Vec<_>) =
        events.iter().chain(&rest).partition(|event| event["type"] == "agent_text");
    assert_eq!(texts.len(), 20_000, "{others:?} {done}");
    hub.stop().await;
}
