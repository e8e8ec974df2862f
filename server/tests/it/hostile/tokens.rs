//! B: with a token set, what opens and what does not; how one comes to be set.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{AttackHarness, exchange, status};
use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::{Client, RawClient};
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;

const TOKEN: &str = "canary-b-correct-horse";

async fn guarded() -> AttackHarness {
    AttackHarness::with(&["--auth-token", TOKEN], &format!("/ws?token={TOKEN}")).await
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

#[tokio::test]
async fn wrong_tokens_are_all_refused_alike() {
    let harness = guarded().await;
    let mut bodies = Vec::new();
    let cut = &TOKEN[..TOKEN.len() - 1];
    for token in [
        None,
        Some(String::new()),
        Some("wrong".to_owned()),
        Some(cut.to_owned()),
        Some(format!("{TOKEN}x")),
        Some(TOKEN[1..].to_owned()),
        Some(TOKEN.to_uppercase()),
        Some(format!("{TOKEN} {TOKEN}")),
    ] {
        let value = token.as_deref().map(bearer);
        let headers: Vec<_> = value.iter().map(|v| ("Authorization", v.as_str())).collect();
        for method in ["GET", "POST"] {
            let answer = http::request(harness.address(), method, "/config", &headers, "").await;
            assert_eq!(answer.status, 401, "{method} with {token:?}");
            bodies.push(answer.body);
        }
        let (answer, _) = RawClient::upgrade(harness.address(), "/ws", &headers).await;
        assert_eq!(answer.status, 401, "an upgrade with {token:?}");
        if let Some(token) = token.filter(|token| !token.contains(' ')) {
            let path = format!("/config?token={token}");
            let answer = http::get(harness.address(), &path).await;
            assert_eq!(answer.status, 401, "{path}");
            bodies.push(answer.body);
        }
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert!(bodies[0].contains("`Authorization: Bearer TOKEN` or `?token=TOKEN`"), "{bodies:?}");
    harness.over().await;
}

#[tokio::test]
async fn token_is_accepted_in_header_and_query() {
    let harness = guarded().await;
    let value = bearer(TOKEN);
    let header = [("Authorization", value.as_str())];
    let query = format!("?token={TOKEN}");
    let encoded = format!("?token={}", TOKEN.replace('-', "%2D"));
    assert_eq!(http::request(harness.address(), "GET", "/config", &header, "").await.status, 200);
    assert_eq!(http::get(harness.address(), &format!("/config{query}")).await.status, 200);
    assert_eq!(http::get(harness.address(), &format!("/config{encoded}")).await.status, 200);
    for (path, headers) in [("/ws".to_owned(), &header[..]), (format!("/ws{query}"), &[])] {
        let (answer, _) = RawClient::upgrade(harness.address(), &path, headers).await;
        assert_eq!(answer.status, 101, "{path}");
    }
    harness.over().await;
}

#[tokio::test]
async fn conflicting_tokens_are_refused() {
    let harness = guarded().await;
    let address = harness.address();
    let right = bearer(TOKEN);
    let (right, wrong) = (("Authorization", right.as_str()), ("Authorization", "Bearer wrong"));
    for (path, headers) in [
        ("/config".to_owned(), vec![right, wrong]),
        ("/config".to_owned(), vec![wrong, right]),
        ("/config".to_owned(), vec![right, right]),
        (format!("/config?token={TOKEN}"), vec![wrong]),
        ("/config?token=wrong".to_owned(), vec![right]),
        (format!("/config?token=wrong&token={TOKEN}"), vec![]),
        (format!("/config?token={TOKEN}&token=wrong"), vec![]),
    ] {
        let answer = http::request(address, "GET", &path, &headers, "").await;
        assert_eq!(answer.status, 401, "{path} {headers:?}");
    }
    harness.over().await;
}

#[tokio::test]
async fn token_of_a_mebibyte_is_refused_quickly() {
    let harness = guarded().await;
    let address = harness.address();
    let long = "x".repeat(1 << 20);
    let asked = Instant::now();
    let head =
        format!("GET /config HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {long}\r\n\r\n");
    let answer = exchange(address, head.as_bytes()).await;
    // A server that stops reading may cut the connection before its answer is read.
    assert!(matches!(status(&answer), 0 | 401 | 431), "{answer:.200}");
    let head = format!("GET /config?token={long} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let answer = exchange(address, head.as_bytes()).await;
    assert!(matches!(status(&answer), 0 | 401 | 414 | 431), "{answer:.200}");
    wait::was_within(Duration::from_secs(1), asked);
    harness.over().await;
}

#[tokio::test]
async fn ten_thousand_guesses_produce_few_log_lines() {
    // There is no rate limit: it would let anybody lock the owner out, and a
    // token of eight characters is not guessed over HTTP.
    const GUESSES: usize = 10_000;
    let harness = guarded().await;
    let address = harness.address();
    let stream = TcpStream::connect(address).await.expect("the server listens");
    let (mut from, mut to) = stream.into_split();
    let asking = tokio::spawn(async move {
        for guess in 0..GUESSES {
            let head =
                format!("GET /config?token=guess-{guess} HTTP/1.1\r\nHost: {address}\r\n\r\n");
            to.write_all(head.as_bytes()).await.expect("the server reads");
        }
        to
    });
    let mut refused = 0;
    let mut seen = Vec::new();
    while refused < GUESSES {
        let mut chunk = [0; 65_536];
        let read = wait::within("answers", from.read(&mut chunk)).await.expect("answers");
        assert_ne!(read, 0, "after {refused} answers");
        seen.extend_from_slice(&chunk[..read]);
        let whole = seen.windows(12).filter(|w| w.starts_with(b"HTTP/1.1 401")).count();
        refused += whole;
        // Keep what may be the beginning of the next status line.
        seen.drain(..seen.len().saturating_sub(11));
    }
    drop(asking.await.expect("no panic"));
    let log = harness.relay.stderr();
    assert!(log.contains("refused"), "the operator is told: {log}");
    let lines = log.lines().count();
    assert!(lines < 30, "{lines} lines of log");
    assert!(!log.contains("guess-"), "guessed tokens are not in the log");
    harness.over().await;
}

#[tokio::test]
async fn claim_requires_the_token_and_keeps_the_connected_client() {
    let harness = AttackHarness::with(&[], &format!("/ws?token={TOKEN}")).await;
    let address = harness.address();
    let mut early = Client::connect(address).await;
    let claim = json!({ "authToken": TOKEN, "model": "m" }).to_string();
    let answer = http::post(address, "/config", &claim).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(!answer.body.contains(TOKEN), "{answer:?}");
    assert_eq!(http::get(address, "/config").await.status, 401);
    assert_eq!(http::post(address, "/config", "{}").await.status, 401);
    // Claimed is claimed.
    let other = json!({ "authToken": "somebody-elses" }).to_string();
    assert_eq!(http::post(address, "/config", &other).await.status, 401);
    let (answer, _) = RawClient::upgrade(address, "/ws?token=somebody-elses", &[]).await;
    assert_eq!(answer.status, 401);
    // Decided: who was on stays on.
    early.say(json!({ "echo": true }).to_string()).await;
    assert_eq!(early.turn().await.result()["subtype"], "success");
    early.close().await;
    // The owner may post the same once more, and is told that another token is
    // not taken.
    let path = format!("/config?token={TOKEN}");
    let again = http::post(address, &path, &claim).await.json();
    assert_eq!((again["success"].as_bool(), &again["ignored"]), (Some(true), &json!(null)));
    let another = http::post(address, &path, &other).await.json();
    assert_eq!(another["ignored"], json!(["authToken"]));
    harness.over().await;
}

#[tokio::test]
async fn body_sent_before_the_claim_is_refused() {
    let harness = AttackHarness::with(&[], &format!("/ws?token={TOKEN}")).await;
    let address = harness.address();
    let body = r#"{"model":"evil"}"#;
    let mut slow = TcpStream::connect(address).await.expect("the server listens");
    let head = format!(
        "POST /config HTTP/1.1\r\nHost: {address}\r\nContent-Length: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.expect("the server reads");
    // That it asks for the body shows that it has let the head in.
    let mut go_on = [0; 25];
    wait::within("100 Continue", slow.read_exact(&mut go_on)).await.expect("an answer");
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let claim = json!({ "authToken": TOKEN, "model": "m" }).to_string();
    assert_eq!(http::post(address, "/config", &claim).await.status, 200);
    slow.write_all(body.as_bytes()).await.expect("the server reads");
    let answer = super::read_all(&mut slow).await;
    assert_eq!(status(&answer), 401, "{answer}");
    let config = http::get(address, &format!("/config?token={TOKEN}")).await.json();
    assert_eq!(config["config"]["model"], "m");
    harness.over().await;
}

#[tokio::test]
async fn one_of_two_simultaneous_claims_wins_as_a_whole() {
    for _ in 0..5 {
        let harness = AttackHarness::begin().await;
        let address = harness.address();
        let claims: Vec<_> = (0..8)
            .map(|n| {
                let body =
                    json!({ "authToken": format!("token-{n}-xxxx"), "model": format!("m{n}") });
                tokio::spawn(async move { http::post(address, "/config", &body.to_string()).await })
            })
            .collect();
        let mut won = Vec::new();
        for (n, claim) in claims.into_iter().enumerate() {
            match claim.await.expect("no panic").status {
                200 => won.push(n),
                other => assert_eq!(other, 401),
            }
        }
        let [n] = won[..] else { panic!("one winner, not {won:?}") };
        let config = http::get(address, &format!("/config?token=token-{n}-xxxx")).await.json();
        assert_eq!(config["config"]["model"], format!("m{n}"));
        harness.relay.stop();
    }
}

/// Runs the server with arguments it is to refuse: exit code and stderr.
#[expect(
    clippy::disallowed_methods,
    reason = "the rule is about the server's own children; here the server is the child"
)]
fn refused_start(arguments: &[&str]) -> (Option<i32>, String) {
    let env = TestEnv::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_claude-relay-server"))
        .args(["--port=0", "--demo", "--workspace"])
        .arg(env.workspace())
        .args(arguments)
        .env_clear()
        .envs(env.environment())
        .current_dir(env.home())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server starts");
    if wait::until_blocking(wait::DEADLINE, || child.try_wait().expect("our child")).is_none() {
        child.kill().expect("our child");
    }
    let output = child.wait_with_output().expect("it has ended");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn weak_token_is_refused_at_the_start() {
    for token in ["", "short", "with a space in it", "t\u{f6}ken-of-length", "line\nbreak-token"] {
        let (code, stderr) = refused_start(&[&format!("--auth-token={token}")]);
        assert_eq!(code, Some(2), "{token:?}: {stderr}");
        assert!(stderr.contains("--auth-token"), "{stderr}");
        assert!(token.is_empty() || !stderr.contains(token), "{stderr}");
    }
}

#[test]
fn public_address_requires_a_token_or_no_auth() {
    for host in ["0.0.0.0", "::"] {
        let (code, stderr) = refused_start(&["--host", host]);
        assert_eq!(code, Some(2), "{stderr}");
        for word in ["--auth-token", "--no-auth", "other machines"] {
            assert!(stderr.contains(word), "{word} in {stderr}");
        }
    }
}

#[tokio::test]
async fn missing_authentication_is_logged() {
    let harness = AttackHarness::with(&["--host=0.0.0.0", "--no-auth"], "/ws").await;
    let log = harness.relay.stderr();
    assert!(log.contains("WARN") && log.contains("requires no token"), "{log}");
    harness.over().await;
}

#[tokio::test]
async fn health_without_the_token_is_short() {
    let harness = guarded().await;
    let health = http::get(harness.address(), "/health").await;
    assert_eq!(health.status, 200);
    let keys: Vec<_> = health.json().as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["status", "version"]);
    // Decided: a wrong one counts as none, so that a probe never fails by it.
    let wrong = http::get(harness.address(), "/health?token=wrong").await;
    assert_eq!((wrong.status, wrong.body), (200, health.body));
    let whole = http::get(harness.address(), &format!("/health?token={TOKEN}")).await.json();
    assert!(whole["agent"]["state"].is_string(), "{whole}");
    harness.over().await;
}

#[test]
fn loopback_requires_neither_token_nor_no_auth() {
    let env = TestEnv::new();
    Launch::demo(&env).start().stop();
}

#[tokio::test]
async fn a_claim_survives_a_restart_and_goes_with_its_file() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    for short in ["a", "1234567"] {
        let body = json!({ "authToken": short }).to_string();
        assert_eq!(http::post(relay.address(), "/config", &body).await.status, 400);
    }
    let claim = json!({ "authToken": TOKEN }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &claim).await.status, 200);
    relay.stop();

    let relay = Launch::demo(&env).start();
    assert_eq!(http::get(relay.address(), "/config").await.status, 401);
    assert_eq!(http::get(relay.address(), &format!("/config?token={TOKEN}")).await.status, 200);
    let other = json!({ "authToken": "somebody-elses" }).to_string();
    assert_eq!(http::post(relay.address(), "/config", &other).await.status, 401);
    relay.stop();

    std::fs::remove_dir_all(env.home().join(".local/state/claude-relay")).expect("it is there");
    let relay = Launch::demo(&env).start();
    assert_eq!(http::get(relay.address(), "/config").await.status, 200);
    relay.stop();
}
