//! The key proxy, seen from an agent of a few lines of shell that tells what
//! it was given.

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::{TEST_KEY, TestEnv};
use claude_relay_testing::{process, wait};
use rustix::process::Signal;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Prints what the agent was given and waits.
const TELL: &str = r#"#!/bin/bash
printf '{"type":"given","url":"%s","key":"%s","token":"%s"}\n' "$ANTHROPIC_BASE_URL" "$ANTHROPIC_API_KEY" "$CLAUDE_CODE_OAUTH_TOKEN"
exec cat 3>&1 > /dev/null
"#;

fn launch(env: &TestEnv, base: &str) -> Launch {
    let script = env.file("agent-that-tells");
    executable(&script, TELL);
    Launch::new(env)
        .argument("--claude-path")
        .argument(script)
        .argument("--key-proxy")
        .argument("--no-auth")
        .variable("ANTHROPIC_BASE_URL", base)
        .variable("ANTHROPIC_API_KEY", TEST_KEY)
}

/// The proxy's address and the placeholder key.
struct Given {
    address: SocketAddr,
    key: String,
}

async fn given(relay: &Relay) -> (Client, Given) {
    let mut client = Client::connect(relay.address()).await;
    let given = next_given(&mut client).await;
    (client, given)
}

async fn next_given(client: &mut Client) -> Given {
    let frames = client.until(|frame| frame["data"]["type"] == "given").await;
    let given = frames.last().expect("the line")["data"].clone();
    let text = |name: &str| given[name].as_str().expect("a text").to_owned();
    let address = text("url").strip_prefix("http://").expect("an http address").parse();
    Given { address: address.expect("an address"), key: text("key") }
}

#[tokio::test]
async fn wrong_placeholder_key_is_refused() {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let relay = launch(&env, &api.url()).start();
    let (mut client, given) = given(&relay).await;
    assert!(given.key.starts_with("sk-ant-relay-") && given.key.len() > 64, "{}", given.key);
    assert!(given.address.ip().is_loopback());

    let path = "/v1/messages?beta=true";
    let wrong = format!("{}0", given.key);
    let bearer = format!("Bearer {TEST_KEY}");
    for headers in [
        &[][..],
        &[("x-api-key", "x")],
        &[("x-api-key", &*wrong)],
        // The real one is no better: who has it needs no proxy.
        &[("x-api-key", TEST_KEY)],
        &[("x-api-key", &*given.key), ("authorization", &*bearer)],
    ] {
        let answer = http::request(given.address, "POST", path, headers, "{}").await;
        assert_eq!(answer.status, 401, "{headers:?} {answer:?}");
        assert_eq!(answer.json()["error"]["type"], "authentication_error");
        assert!(!answer.body.contains(TEST_KEY), "{answer:?}");
    }
    assert_eq!(api.requests().len(), 0, "nothing of it has come through");

    let right = [("x-api-key", &*given.key)];
    for path in ["/v1/files", "/v1/messages/../files", "/v1/organizations", "/", "//v1/messages"] {
        let answer = http::request(given.address, "GET", path, &right, "").await;
        assert_eq!(answer.status, 404, "{path} {answer:?}");
    }
    assert_eq!(api.requests().len(), 0);

    api.script([Reply::text("Hello.")]);
    let body = json!({ "model": "m", "tools": [{}], "messages": [] }).to_string();
    let answer = http::request(given.address, "POST", path, &right, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let request = api.turn(1).await;
    assert_eq!((request.header("x-api-key"), &*request.path), (TEST_KEY, path));
    assert_eq!(request.header("host"), api.url().trim_start_matches("http://"));

    // The next agent gets another, and the first one's is worth nothing.
    let health = http::get(relay.address(), "/health").await.json();
    let pid = i32::try_from(health["agent"]["pid"].as_i64().expect("a pid")).expect("a pid fits");
    process::signal(pid, Signal::KILL);
    client.until(|frame| frame["type"] == "exit").await;
    client.say("Again").await;
    let next = next_given(&mut client).await;
    assert_ne!(next.key, given.key);
    let answer = http::request(next.address, "POST", path, &right, &body).await;
    assert_eq!(answer.status, 401, "{answer:?}");
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn client_is_told_what_the_proxy_cannot_protect() {
    for (without, with, words) in [
        (Some("ANTHROPIC_API_KEY"), None, "no credential to keep"),
        (None, Some(("HTTPS_PROXY", "http://127.0.0.1:1")), "HTTPS_PROXY"),
        (None, Some(("CLAUDE_CODE_USE_BEDROCK", "1")), "CLAUDE_CODE_USE_BEDROCK"),
    ] {
        let env = TestEnv::new();
        let mut launch = launch(&env, "http://127.0.0.1:1");
        if let Some(name) = without {
            launch = launch.without_variable(name);
        }
        if let Some((name, value)) = with {
            launch = launch.variable(name, value);
        }
        let relay = launch.start();
        let mut client = Client::connect(relay.address()).await;
        let frame = client.until(|frame| frame["type"] == "error").await.pop().expect("it");
        let said = frame["error"].as_str().unwrap_or_default();
        assert!(said.contains("--key-proxy") && said.contains(words), "{said}");
        client.close().await;
        relay.stop();
    }
}

#[tokio::test]
async fn an_api_that_is_not_there_is_an_error_worth_another_try() {
    let env = TestEnv::new();
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let base = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let relay = launch(&env, &base).start();
    let (client, given) = given(&relay).await;
    let headers = [("x-api-key", &*given.key)];
    let answer = http::request(given.address, "POST", "/v1/messages", &headers, "{}").await;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert_eq!(answer.json()["error"]["type"], "api_error");
    client.close().await;
    relay.stop();
}

/// One event at a time, each sent when the one before has been seen: nothing
/// is held back, and the way through the proxy costs less than a millisecond.
#[tokio::test]
async fn a_thousand_events_pass_at_once() {
    const EVENTS: usize = 1000;
    const ROUNDS: usize = 5;
    let env = TestEnv::new();
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = upstream.local_addr().expect("an address");
    let relay = launch(&env, &format!("http://{address}")).start();
    let (client, given) = given(&relay).await;

    // The least of a few rounds: what other programs take is not the proxy's.
    let mut least = Duration::MAX;
    for _ in 0..ROUNDS {
        let direct = latencies(&upstream, address, TEST_KEY, EVENTS).await;
        let proxied = latencies(&upstream, given.address, &given.key, EVENTS).await;
        least = least.min(median(proxied).saturating_sub(median(direct)));
        if least < Duration::from_millis(1) {
            break;
        }
    }
    assert!(least < Duration::from_millis(1), "{least:?} added at the median");
    client.close().await;
    relay.stop();
}

/// Time that each of `count` events takes from `upstream` to a client that has
/// asked at `address`.
async fn latencies(
    upstream: &TcpListener,
    address: SocketAddr,
    key: &str,
    count: usize,
) -> Vec<Duration> {
    wait::within("all events", async {
        let mut asking = TcpStream::connect(address).await.expect("somebody listens");
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\nHost: {address}\r\nx-api-key: {key}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        asking.write_all(request.as_bytes()).await.expect("it is read");
        let (mut answering, _) = upstream.accept().await.expect("the request");
        answering.set_nodelay(true).expect("a socket");
        let mut seen = String::new();
        while !seen.ends_with("{}") {
            read_more(&mut answering, &mut seen).await;
        }
        assert!(seen.contains(&format!("x-api-key: {TEST_KEY}\r\n")), "{seen}");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        answering.write_all(head.as_bytes()).await.expect("it is read");
        let mut latencies = Vec::new();
        let mut seen = String::new();
        for number in 0..count {
            let event = format!("event: e\ndata: {{\"number\":{number:06}}}\n\n");
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            let start = Instant::now();
            answering.write_all(chunk.as_bytes()).await.expect("it is read");
            while !seen.contains(&event) {
                read_more(&mut asking, &mut seen).await;
            }
            latencies.push(start.elapsed());
            seen.clear();
        }
        latencies
    })
    .await
}

async fn read_more(stream: &mut TcpStream, seen: &mut String) {
    let mut chunk = [0; 4096];
    let read = stream.read(&mut chunk).await.expect("an open connection");
    assert_ne!(read, 0, "the connection ended after {seen}");
    seen.push_str(std::str::from_utf8(&chunk[..read]).expect("ASCII"));
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

#[tokio::test]
async fn half_requests_do_not_keep_the_agent_out() {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let relay = launch(&env, &api.url()).start();
    let (client, given) = given(&relay).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(given.address).await.expect("the proxy listens");
        // It may have had to make room already.
        let _ = stream.write_all(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\n").await;
        held.push(stream);
    }
    api.script([Reply::text("Yes.")]);
    let asked = Instant::now();
    let headers = [("x-api-key", &*given.key), ("content-type", "application/json")];
    let body = r#"{"model":"m","messages":[],"stream":true}"#;
    let answer = http::request(given.address, "POST", "/v1/messages", &headers, body).await;
    assert_ne!(answer.status, 401, "{answer:?}");
    wait::was_within(Duration::from_secs(1), asked);
    client.close().await;
    relay.stop();
}

/// Answers every request with these bytes, and keeps what was asked.
async fn answering(answer: String) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut seen = String::new();
            while !seen.contains("\r\n\r\n") {
                read_more(&mut stream, &mut seen).await;
            }
            kept.lock().expect("no panic").push(seen);
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, asked)
}

#[tokio::test]
async fn the_key_follows_no_redirect_and_is_not_sent_back() {
    let (elsewhere, asked_elsewhere) =
        answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}".into())
            .await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let (api, asked) = answering(format!(
            "HTTP/1.1 {status}\r\nLocation: http://{elsewhere}/v1/messages\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ))
        .await;
        let env = TestEnv::new();
        let relay = launch(&env, &format!("http://{api}")).start();
        let (client, given) = given(&relay).await;
        let headers = [("x-api-key", given.key.as_str())];
        let answer = http::request(given.address, "POST", "/v1/messages", &headers, "{}").await;
        assert_eq!(answer.status.to_string(), status[..3], "{answer:?}");
        assert!(asked.lock().expect("no panic")[0].contains(TEST_KEY));
        for method in ["TRACE", "OPTIONS", "DELETE", "PUT", "PATCH", "CONNECT", "INVENTED"] {
            let answer = http::request(given.address, method, "/v1/messages", &headers, "").await;
            assert!(matches!(answer.status, 404 | 405), "{method}: {answer:?}");
        }
        assert_eq!(asked.lock().expect("no panic").len(), 1);
        client.close().await;
        relay.stop();
    }
    assert!(asked_elsewhere.lock().expect("no panic").is_empty());
}
