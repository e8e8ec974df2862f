//! HTTP requests that a browser's visitor, a rebinding name or a broken client
//! sends. The letters in the names group the faults: A the browser, C the
//! parser, D the configuration.

use crate::support::http::{self, Response};
use crate::support::place::Place;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::RawClient;
use serde_json::{Value, json};

/// A secret that must never be seen again.
const CANARY: &str = "canary-7f3a9c";

/// The longest body of a request.
const LONGEST_BODY_BYTES: usize = 1 << 20;

fn demo() -> (Place, Relay) {
    let place = Place::new();
    let relay = Launch::demo(&place).start();
    (place, relay)
}

/// The answers to a header on every route; for `/ws` with an upgrade.
async fn everywhere(relay: &Relay, headers: &[(&str, &str)]) -> Vec<(String, u16)> {
    let mut answers = Vec::new();
    for (method, path) in
        [("GET", "/"), ("GET", "/config"), ("POST", "/config"), ("GET", "/health")]
    {
        let json = [headers, &[("Content-Type", "application/json")]].concat();
        let body = if method == "POST" { "{}" } else { "" };
        let answer = http::request(relay.address(), method, path, &json, body).await;
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
        answers.push((format!("{method} {path}"), answer.status));
    }
    let (answer, _) = RawClient::upgrade(relay.address(), "/ws", headers).await;
    answers.push(("GET /ws".to_owned(), answer.status));
    answers
}

#[tokio::test]
async fn a_foreign_origins_are_refused_before_anything_happens() {
    let (_place, relay) = demo();
    let port = relay.address().port();
    for origin in [
        "https://evil.example",
        "null",
        "http://localhost.evil.example",
        "http://evil.example/localhost",
        "http://localhost@evil.example",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1:1",
        "http://127.0.0.1",
        "",
    ] {
        for (route, status) in everywhere(&relay, &[("Origin", origin)]).await {
            assert_eq!(status, 403, "{route} from {origin:?}");
        }
    }
    for (route, status) in
        everywhere(&relay, &[("Origin", &format!("ftp://127.0.0.1:{port}"))]).await
    {
        assert_eq!(status, 403, "{route} from another scheme");
    }
    assert!(relay.offspring().is_empty(), "no agent was started: {:?}", relay.offspring());
    relay.stop();
}

#[tokio::test]
async fn a_own_origin_and_none_are_fine() {
    let (_place, relay) = demo();
    let address = relay.address();
    for scheme in ["http", "https"] {
        let origin = format!("{scheme}://{address}");
        for (route, status) in everywhere(&relay, &[("Origin", &origin)]).await {
            let fine = if route == "GET /ws" { 101 } else { 200 };
            assert_eq!(status, fine, "{route} from {origin}");
        }
    }
    relay.stop();
}

#[tokio::test]
async fn a9_and_a10_names_that_are_not_ours() {
    let (_place, relay) = demo();
    let port = relay.address().port();
    for host in ["attacker.example", "attacker.example:3000", "127.0.0.1.evil.example", "10.0.0.1"]
    {
        for (route, status) in everywhere(&relay, &[("Host", host)]).await {
            assert_eq!(status, 403, "{route} at {host}");
        }
    }
    for host in [
        format!("localhost:{port}"),
        "127.0.0.1".into(),
        format!("[::1]:{port}"),
        "LOCALHOST".into(),
    ] {
        for (route, status) in everywhere(&relay, &[("Host", &host)]).await {
            let fine = if route == "GET /ws" { 101 } else { 200 };
            assert_eq!(status, fine, "{route} at {host}");
        }
    }
    relay.stop();
}

#[tokio::test]
async fn a16_the_page_is_guarded() {
    let (_place, relay) = demo();
    let page = http::get(relay.address(), "/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("Content-Security-Policy").expect("a policy");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe-"), "{policy}");
    assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(page.header("Referrer-Policy"), Some("no-referrer"));
    let head = http::request(relay.address(), "HEAD", "/", &[], "").await;
    assert_eq!(head.status, 200);
    relay.stop();
}

#[tokio::test]
async fn c1_and_c2_heads_that_are_none() {
    let (_place, relay) = demo();
    for head in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        "garbage\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n",
    ] {
        let answer = http::exchange(relay.address(), head.as_bytes(), false).await;
        assert!(matches!(answer.status, 400 | 403 | 505), "{head:?}: {answer:?}");
    }
    assert_eq!(http::get(relay.address(), "/health").await.status, 200);
    relay.stop();
}

#[tokio::test]
async fn c9_a_body_that_is_too_long() {
    let (_place, relay) = demo();
    // A system prompt, because it does not have to fit into an argument.
    let around = json!({ "systemPrompt": "" }).to_string().len();
    let fill = |bytes: usize| json!({ "systemPrompt": "x".repeat(bytes - around) }).to_string();
    let longest = fill(LONGEST_BODY_BYTES);
    assert_eq!(longest.len(), LONGEST_BODY_BYTES);
    assert_eq!(http::post(relay.address(), "/config", &longest).await.status, 200);
    let answer = http::post(relay.address(), "/config", &fill(LONGEST_BODY_BYTES + 1)).await;
    assert_eq!(answer.status, 413);
    assert!(answer.json()["error"].is_string());
    // The configuration is the one before.
    let kept = configuration(&relay).await;
    assert_eq!(kept["systemPrompt"].as_str().map(str::len), Some(longest.len() - around));
    relay.stop();
}

#[tokio::test]
async fn c12_other_methods_and_paths() {
    let (_place, relay) = demo();
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        for (path, allowed) in [("/config", ["GET", "POST"]), ("/", ["GET", "HEAD"])] {
            let answer = http::request(relay.address(), method, path, &[], "").await;
            assert_eq!(answer.status, 405, "{method} {path}");
            let allow = answer.header("Allow").expect("what is allowed");
            assert!(
                allowed.iter().all(|method| allow.contains(method)),
                "{method} {path}: {allow}"
            );
            assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
        }
    }
    for path in
        ["/nothing", "/../../etc/passwd", "/config/", "/page.js/../config", "//", "/%2e%2e/"]
    {
        assert_eq!(http::get(relay.address(), path).await.status, 404, "{path}");
    }
    relay.stop();
}

async fn configuration(relay: &Relay) -> Value {
    http::get(relay.address(), "/config").await.json()["config"].take()
}

fn assert_error(answer: &Response, status: u16, names: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let error = answer.json();
    let error = error["error"].as_str().expect("an error in words");
    assert!(error.contains(names), "{error:?} names {names:?}");
}

#[tokio::test]
async fn d1_and_d2_bodies_that_are_no_configuration() {
    let (_place, relay) = demo();
    http::post(relay.address(), "/config", r#"{"model":"before"}"#).await;
    for body in [
        " ",
        "{",
        r#"{"model":"x",}"#,
        r#"{"maxTurns":NaN}"#,
        "{'model':'x'}",
        "\u{feff}{}",
        "{}{}",
    ] {
        let answer = http::post(relay.address(), "/config", body).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (400, r#"{"error":"Invalid JSON"}"#),
            "{body:?}"
        );
    }
    for body in ["null", "[]", "5", "\"x\""] {
        assert_eq!(http::post(relay.address(), "/config", body).await.status, 400, "{body}");
    }
    assert_eq!(configuration(&relay).await, json!({ "model": "before" }));
    relay.stop();
}

#[tokio::test]
async fn d5_a_field_of_the_wrong_type_is_named() {
    let (_place, relay) = demo();
    for (body, path) in [
        (json!({ "model": 5 }), "model"),
        (json!({ "allowedTools": "x" }), "allowedTools"),
        (json!({ "allowedTools": ["Bash", 5] }), "allowedTools[1]: expected a string"),
        (json!({ "agents": [] }), "agents"),
        (json!({ "systemPrompt": { "type": "bad" } }), "systemPrompt"),
        (json!({ "maxTurns": 0 }), "maxTurns"),
        (json!({ "maxTurns": 1.5 }), "maxTurns"),
        (json!({ "maxBudgetUsd": -1 }), "maxBudgetUsd"),
        (json!({ "env": { "A": 5 } }), "env.A"),
        (json!({ "model": "a\0b" }), "model"),
    ] {
        let answer = http::post(relay.address(), "/config", &body.to_string()).await;
        assert_error(&answer, 400, path);
    }
    assert_eq!(configuration(&relay).await, json!({}));
    relay.stop();
}

#[tokio::test]
async fn d6_unknown_fields_are_told() {
    let (_place, relay) = demo();
    let body = json!({ "model": "m", "debug": true, "template": "t", "e2bApiKey": CANARY });
    let answer = http::post(relay.address(), "/config", &body.to_string()).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.body.contains(CANARY), "{}", answer.body);
    let answer = answer.json();
    assert_eq!(answer["success"], true);
    assert_eq!(answer["config"], json!({ "model": "m" }));
    let mut ignored: Vec<_> = answer["ignored"].as_array().expect("what was ignored").clone();
    ignored.sort_by_key(ToString::to_string);
    assert_eq!(ignored, ["debug", "e2bApiKey", "template"]);
    relay.stop();
}

#[tokio::test]
async fn d12_of_two_posts_one_whole_configuration_wins() {
    let (_place, relay) = demo();
    let address = relay.address();
    let body = |number: usize| {
        json!({ "model": format!("m{number}"), "maxTurns": number + 1 }).to_string()
    };
    for _ in 0..10 {
        let posts: Vec<_> = (0..8)
            .map(|number| {
                tokio::spawn(async move { http::post(address, "/config", &body(number)).await })
            })
            .collect();
        for post in posts {
            assert_eq!(post.await.expect("no panic").status, 200);
        }
        let config = configuration(&relay).await;
        let number = config["maxTurns"].as_u64().expect("a number") - 1;
        assert_eq!(config["model"], format!("m{number}"));
    }
    relay.stop();
}

#[tokio::test]
async fn d14_secrets_are_not_seen_again() {
    let (_place, relay) = demo();
    let body = json!({
        "anthropicApiKey": format!("{CANARY}-1"),
        "claudeCodeOauthToken": format!("{CANARY}-2"),
        "anthropicAuthToken": format!("{CANARY}-3"),
        "env": { "SECRET": format!("{CANARY}-4") },
        "mcpServers": { "m": {
            "type": "http", "url": "http://127.0.0.1:1/", "headers": { "X": format!("{CANARY}-5") },
        } },
    });
    let answer = http::post(relay.address(), "/config", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (_, client) = RawClient::upgrade(relay.address(), "/ws", &[]).await;
    let seen = [
        answer.body,
        http::get(relay.address(), "/config").await.body,
        http::get(relay.address(), "/health").await.body,
        // The command lines of all that has been started.
        format!("{:?}", relay.offspring()),
    ];
    for seen in &seen {
        assert!(!seen.contains(CANARY), "{seen}");
    }
    drop(client);
    assert!(!relay.stderr().contains(CANARY), "{}", relay.stderr());
    relay.stop();
}
