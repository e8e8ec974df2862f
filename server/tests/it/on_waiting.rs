//! Telling a person that the agent waits (`--on-waiting`).

use std::path::Path;

use crate::support::http;
use crate::support::relay::{self, Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// A server that signs its notices to `target`.
fn telling(env: &TestEnv, target: impl Into<std::ffi::OsString>) -> Relay {
    Launch::demo(env)
        .variable("RELAY_ON_WAITING_SECRET", "a-secret-of-the-webhook")
        .argument("--on-waiting")
        .argument(target)
        .start()
}

async fn state(relay: &Relay) -> Value {
    http::get(relay.address(), "/health").await.json()["on_waiting"].take()
}

/// Has the agent ask for a permission, and answers it.
async fn ask(client: &mut Client) {
    client.say("permission").await;
    let asked = client.until(|frame| frame["type"] == "permission_request").await;
    let id = asked.last().expect("a request")["requestId"].clone();
    client.send(&json!({ "type": "permission_response", "requestId": id, "approved": true })).await;
    client.turn().await;
}

/// Leaves before a turn ends.
async fn ask_and_leave(relay: &Relay) {
    let mut client = Client::connect(relay.address()).await;
    ask(&mut client).await;
    client.say(r#"{"sleep_ms":500}"#).await;
    client.close().await;
}

fn script(path: &Path, text: &str) {
    executable(path, format!("#!/bin/sh\n{text}\n"));
}

#[tokio::test]
async fn a_command_is_told_of_a_permission_and_of_a_turn_that_nobody_saw() {
    let env = TestEnv::new();
    let (told, program) = (env.home().join("told"), env.home().join("tell"));
    script(&program, &format!("cat >> {0}; echo \"$@\" >> {0}; env >> {0}", told.display()));
    let relay = Launch::demo(&env)
        .variable("ANTHROPIC_API_KEY", "sk-never-in-a-command")
        .variable("RELAY_ON_WAITING_SECRET", "never-in-a-command-either")
        .argument("--on-waiting")
        .argument(format!("{} --for me;", program.display()))
        .start();
    ask_and_leave(&relay).await;
    wait::until_async("two notices", async || {
        state(&relay).await == json!({ "delivered": 2, "failed": 0, "waiting": 0 })
    })
    .await;
    let metrics = http::get(relay.address(), "/metrics").await.body;
    assert!(metrics.contains("claude_relay_notices_delivered_total 2"), "{metrics}");
    relay.stop();
    let text = std::fs::read_to_string(&told).unwrap();
    let notices: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let reasons: Vec<_> = notices.iter().map(|notice| notice["reason"].clone()).collect();
    assert_eq!(reasons, ["permission", "finished"]);
    assert_eq!(notices[0]["conversation"], notices[1]["conversation"]);
    assert!(text.contains("--for me;\n"), "there is no shell: {text}");
    assert!(!text.contains("never-in-a-command"), "{text}");
}

/// Reads a request whole and answers it. What is left unread would break the
/// connection off before the answer is seen.
async fn answer(listener: &TcpListener, answer: &str) -> String {
    let (mut stream, _) = wait::soon(listener.accept()).await.expect("a connection");
    let mut request = Vec::new();
    while !request.ends_with(b"}") {
        assert!(wait::soon(stream.read_buf(&mut request)).await.expect("a request") > 0);
    }
    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.expect("it reads the answer");
    String::from_utf8(request).expect("text")
}

#[tokio::test]
async fn a_webhook_is_signed_and_tried_again() {
    let env = TestEnv::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = telling(&env, format!("http://{address}/hook?x=1"));
    let mut client = Client::connect(relay.address()).await;
    client.say("permission").await;
    client.until(|frame| frame["type"] == "permission_request").await;
    let mut requests = Vec::new();
    for status in ["503 Unavailable", "204 No Content"] {
        requests.push(answer(&listener, status).await);
    }
    wait::until_async("one notice", async || {
        state(&relay).await == json!({ "delivered": 1, "failed": 0, "waiting": 0 })
    })
    .await;
    for request in &requests {
        assert!(request.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
        assert!(request.contains("claude-relay-timestamp: "), "{request}");
        let signature = request.split_once("claude-relay-signature: sha256=").unwrap().1;
        assert_eq!(signature.split_once('\r').unwrap().0.len(), 64);
        assert!(!request.contains("a-secret-of-the-webhook"));
    }
    let body = |request: &str| request.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert_eq!(body(&requests[0]), body(&requests[1]), "the same notice");
    client.close().await;
    relay.stop();
}

/// Notices that wait: those of the queue, and the one on its way.
const WAITING: usize = 64 + 1;

#[tokio::test]
async fn notices_beyond_a_full_queue_are_counted_and_told_and_the_others_arrive() {
    const TOO_MANY: usize = 3;
    let env = TestEnv::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = telling(&env, format!("http://{}/", listener.local_addr().unwrap()));
    let mut client = Client::connect(relay.address()).await;
    for _ in 0..WAITING + TOO_MANY {
        ask(&mut client).await;
    }
    let told = state(&relay).await;
    assert_eq!(told, json!({ "delivered": 0, "failed": TOO_MANY, "waiting": WAITING }));
    let metrics = http::get(relay.address(), "/metrics").await.body;
    assert!(
        metrics.contains(&format!("claude_relay_notices_failed_total {TOO_MANY}")),
        "{metrics}"
    );
    let warned = relay.stderr().matches("too many notices wait").count();
    assert_eq!(warned, TOO_MANY, "{}", relay.stderr());
    let answering = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"}") && matches!(stream.read_buf(&mut request).await, Ok(1..))
            {
            }
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
        }
    });
    wait::until_async("the other notices", async || {
        state(&relay).await == json!({ "delivered": WAITING, "failed": TOO_MANY, "waiting": 0 })
    })
    .await;
    answering.abort();
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn notices_that_still_wait_at_the_end_are_told() {
    let env = TestEnv::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = telling(&env, format!("http://{}/", listener.local_addr().unwrap()));
    let mut client = Client::connect(relay.address()).await;
    ask(&mut client).await;
    ask(&mut client).await;
    client.close().await;
    relay.signal(Signal::TERM);
    let line = "2 notices were not delivered before the end";
    wait::until("a warning", || relay.stderr().contains(line).then_some(())).await;
    relay.end();
}

#[tokio::test]
async fn a_redirection_and_a_name_of_a_private_address_are_not_followed() {
    let env = TestEnv::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    for target in [format!("http://{address}/"), format!("http://localhost:{}/", address.port())] {
        let relay = telling(&env, &target);
        let mut client = Client::connect(relay.address()).await;
        client.say("permission").await;
        if target.contains("127.0.0.1") {
            let elsewhere = format!("307 Elsewhere\r\nlocation: http://{address}/other");
            answer(&listener, &elsewhere).await;
        }
        wait::until_async("a failure", async || {
            state(&relay).await == json!({ "delivered": 0, "failed": 1, "waiting": 0 })
        })
        .await;
        client.close().await;
        relay.stop();
    }
}

#[tokio::test]
async fn a_webhook_without_a_secret_is_refused_at_the_start() {
    let env = TestEnv::new();
    let arguments = ["--demo", "--on-waiting", "http://127.0.0.1:9/"];
    let (code, stderr) = relay::refused(&env, &arguments, &[]);
    assert!(code == Some(2) && stderr.contains("RELAY_ON_WAITING_SECRET"), "{stderr}");
    let (code, stderr) = relay::refused(&env, &["--on-waiting", "ftp://host/"], &[]);
    assert!(code == Some(2) && stderr.contains("--on-waiting"), "{stderr}");
}
