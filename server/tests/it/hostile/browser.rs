//! Requests that a foreign page can make a visitor's browser send.

use super::{AttackHarness, exchange, status};
use crate::support::http;
use crate::support::relay::Launch;
use crate::support::ws::RawClient;
use claude_relay_testing::test_env::TestEnv;

/// Sends these headers to every endpoint and returns each status, which is 101
/// for a WebSocket that is accepted.
async fn statuses(harness: &AttackHarness, headers: &[(&str, &str)]) -> Vec<(String, u16)> {
    let json = [headers, &[("Content-Type", "application/json")]].concat();
    let mut answers = Vec::new();
    for (method, path) in [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/nothing"),
        ("GET", "/health"),
        ("GET", "/config"),
        ("POST", "/config"),
    ] {
        let body = if method == "POST" { "{}" } else { "" };
        let answer = http::request(harness.address(), method, path, &json, body).await;
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None, "{method} {path}");
        answers.push((format!("{method} {path}"), answer.status));
    }
    let (answer, _) = RawClient::upgrade(harness.address(), "/ws", headers).await;
    answers.push(("GET /ws".to_owned(), answer.status));
    answers
}

/// Asserts that every endpoint answers with this status. The page itself is
/// public where the Host is well-formed.
async fn all_say(harness: &AttackHarness, headers: &[(&str, &str)], expected: u16) {
    for (route, status) in statuses(harness, headers).await {
        let page = matches!(route.as_str(), "GET /" | "HEAD /") && expected == 403;
        assert_eq!(status, if page { 200 } else { expected }, "{route} with {headers:?}");
    }
}

async fn all_open(harness: &AttackHarness, headers: &[(&str, &str)]) {
    for (route, status) in statuses(harness, headers).await {
        let open = match route.as_str() {
            "GET /ws" => 101,
            "GET /nothing" => 404,
            _ => 200,
        };
        assert_eq!(status, open, "{route} with {headers:?}");
    }
}

#[tokio::test]
async fn foreign_page_opens_no_socket_and_starts_no_agent() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).start();
    let port = relay.address().port();
    let host = format!("localhost:{port}");
    let headers = [("Host", host.as_str()), ("Origin", "https://evil.example")];
    let (answer, _) = RawClient::upgrade(relay.address(), "/ws", &headers).await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("Upgrade"), None);
    // A connection that is accepted would have started the agent at once.
    assert_eq!(
        http::get(relay.address(), "/health").await.json()["agent"]["pid"],
        serde_json::Value::Null
    );
    assert!(relay.offspring().is_empty(), "{:?}", relay.offspring());
    relay.stop();
}

#[tokio::test]
async fn own_page_is_accepted() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
    for scheme in ["http", "https"] {
        all_open(&harness, &[("Origin", &format!("{scheme}://{address}"))]).await;
    }
    harness.over().await;
}

#[tokio::test]
async fn program_without_an_origin_is_accepted() {
    let harness = AttackHarness::begin().await;
    all_open(&harness, &[]).await;
    harness.over().await;
}

#[tokio::test]
async fn foreign_origins_are_refused_by_every_endpoint() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
    let port = address.port();
    for origin in [
        "null".to_owned(),
        "".to_owned(),
        "https://evil.example".to_owned(),
        // A6: texts that begin or end like ours.
        "http://localhost.evil.example".to_owned(),
        "http://evil.example/localhost".to_owned(),
        "http://localhost@evil.example".to_owned(),
        "http://127.0.0.1.evil.example".to_owned(),
        format!("http://127.0.0.1.evil.example:{port}"),
        format!("http://{address}@evil.example"),
        format!("http://evil.example@{address}"),
        format!("http://{address}.evil.example"),
        format!("http://{address}/"),
        format!("http://{address} http://evil.example"),
        // A7: another port, another scheme.
        "http://127.0.0.1:1".to_owned(),
        "http://127.0.0.1".to_owned(),
        format!("http://127.0.0.1:{port}0"),
        format!("ftp://{address}"),
        format!("ws://{address}"),
        format!("file://{address}"),
        // Another name of the same machine is another origin.
        format!("http://localhost:{port}"),
    ] {
        all_say(&harness, &[("Origin", &origin)], 403).await;
    }
    let own = format!("http://{address}");
    all_say(&harness, &[("Origin", &own), ("Origin", &own)], 403).await;
    harness.over().await;
}

#[tokio::test]
async fn foreign_host_names_are_refused() {
    let harness = AttackHarness::begin().await;
    let port = harness.address().port();
    for host in [
        "attacker.example".to_owned(),
        format!("attacker.example:{port}"),
        "127.0.0.1.evil.example".to_owned(),
        "localhost.evil.example".to_owned(),
        "10.0.0.1".to_owned(),
        "0.0.0.0".to_owned(),
        "app.localhost".to_owned(),
    ] {
        all_say(&harness, &[("Host", &host)], 403).await;
        // The rebound page's own origin agrees with its Host.
        all_say(&harness, &[("Host", &host), ("Origin", &format!("http://{host}"))], 403).await;
    }
    harness.over().await;
}

#[tokio::test]
async fn every_name_of_this_machine_is_accepted() {
    let harness = AttackHarness::begin().await;
    let port = harness.address().port();
    for host in [
        format!("localhost:{port}"),
        "127.0.0.1".to_owned(),
        format!("[::1]:{port}"),
        "LOCALHOST".to_owned(),
        // Decided: the dot of a complete name changes nothing.
        "localhost.".to_owned(),
        // Any port: the way to the server may lead through another.
        "localhost:1".to_owned(),
    ] {
        all_open(&harness, &[("Host", &host)]).await;
    }
    harness.over().await;
}

#[tokio::test]
async fn host_can_be_allowed_by_name() {
    let harness = AttackHarness::with(&["--allow-host=relay.example"], "/ws").await;
    all_open(&harness, &[("Host", "relay.example:8443")]).await;
    let own = ("Origin", "https://relay.example");
    all_open(&harness, &[("Host", "relay.example"), own]).await;
    all_say(&harness, &[("Host", "other.example")], 403).await;
    harness.over().await;
}

#[tokio::test]
async fn host_name_of_a_reverse_proxy_is_accepted_on_a_public_address() {
    let harness = AttackHarness::with(&["--host=0.0.0.0", "--no-auth"], "/ws").await;
    let host = ("Host", "3000-isbx0f3k1.e2b.app");
    all_open(&harness, &[host]).await;
    all_open(&harness, &[host, ("Origin", "https://3000-isbx0f3k1.e2b.app")]).await;
    all_say(&harness, &[host, ("Origin", "https://evil.example")], 403).await;
    harness.over().await;
}

#[tokio::test]
async fn preflight_of_a_foreign_page_gets_no_cors_headers() {
    let harness = AttackHarness::with(&["--allow-origin=https://app.example"], "/ws").await;
    let ask = async |origin| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ];
        http::request(harness.address(), "OPTIONS", "/config", &headers, "").await
    };
    for foreign in ["https://evil.example", "null", "https://app.example.evil.example"] {
        let answer = ask(foreign).await;
        assert_eq!(answer.status, 403, "{foreign}");
        assert_eq!(answer.header("Access-Control-Allow-Origin"), None);
        assert_eq!(answer.header("Access-Control-Allow-Methods"), None);
    }
    let answer = ask("https://app.example").await;
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("https://app.example"));
    assert_eq!(answer.header("Access-Control-Allow-Credentials"), None);
    assert!(answer.header("Access-Control-Allow-Methods").is_some_and(|m| m.contains("POST")));
    let allowed = answer.header("Access-Control-Allow-Headers");
    assert!(allowed.is_some_and(|headers| headers.contains("content-type")));
    assert!(answer.header("Vary").is_some_and(|vary| vary.contains("Origin")));
    harness.over().await;
}

#[tokio::test]
async fn foreign_page_cannot_read_the_configuration() {
    let harness = AttackHarness::with(&["--allow-origin=https://app.example"], "/ws").await;
    let get = async |headers: &[(&str, &str)]| {
        http::request(harness.address(), "GET", "/config", headers, "").await
    };
    let foreign = get(&[("Origin", "https://evil.example")]).await;
    assert_eq!(foreign.status, 403);
    assert_eq!(foreign.header("Access-Control-Allow-Origin"), None);
    assert!(!foreign.body.contains("config"), "{foreign:?}");
    // As a picture or a script no Origin comes with it: then the browser is
    // told to keep it from the page.
    let loaded = get(&[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")]).await;
    assert_eq!(loaded.header("Access-Control-Allow-Origin"), None);
    assert_eq!(loaded.header("Cross-Origin-Resource-Policy"), Some("same-origin"));
    assert_eq!(loaded.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(loaded.header("Cache-Control"), Some("no-store"));
    let allowed = get(&[("Origin", "https://app.example")]).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("Access-Control-Allow-Origin"), Some("https://app.example"));
    harness.over().await;
}

#[tokio::test]
async fn simple_post_of_a_foreign_page_configures_nothing() {
    let harness = AttackHarness::begin().await;
    let before = http::get(harness.address(), "/config").await.body;
    let own = format!("http://{}", harness.address());
    for (origin, media_type, expected) in [
        ("https://evil.example", "text/plain", 403),
        ("https://evil.example", "application/json", 403),
        ("null", "application/x-www-form-urlencoded", 403),
        // Not even the own page: a form needs no leave to post these.
        (own.as_str(), "text/plain", 415),
        (own.as_str(), "application/x-www-form-urlencoded", 415),
        (own.as_str(), "multipart/form-data; boundary=x", 415),
    ] {
        let headers = [("Origin", origin), ("Content-Type", media_type)];
        let body = r#"{"model":"evil"}"#;
        let answer = http::request(harness.address(), "POST", "/config", &headers, body).await;
        assert_eq!(answer.status, expected, "{origin} {media_type}");
    }
    assert_eq!(http::get(harness.address(), "/config").await.body, before);
    harness.over().await;
}

#[tokio::test]
async fn page_cannot_be_framed_and_runs_no_foreign_script() {
    let harness = AttackHarness::begin().await;
    let page = http::get(harness.address(), "/").await;
    assert_eq!(page.status, 200);
    let policy = page.header("Content-Security-Policy").expect("a policy");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    for open in ["unsafe-inline", "unsafe-eval", "*", "http:", "https:", "data: script"] {
        let scripts = policy.split(';').find(|part| part.trim().starts_with("script-src"));
        let scripts = scripts.or(policy.split(';').find(|p| p.trim().starts_with("default-src")));
        assert!(!scripts.expect("a rule for scripts").contains(open), "{open} in {policy}");
    }
    assert_eq!(page.header("X-Frame-Options"), Some("DENY"));
    assert_eq!(page.header("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(page.header("Referrer-Policy"), Some("no-referrer"));
    harness.over().await;
}

#[tokio::test]
async fn request_content_is_not_reflected() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
    let long = "x".repeat(10_000);
    for path in [
        "/?token=<svg/onload=alert(1)>",
        "/<script>alert(1)</script>",
        "/config?x=<svg/onload=alert(1)>",
        "/health?<svg/onload=alert(1)>",
        "/ws?after=<svg/onload=alert(1)>",
        "/%3Csvg%20onload=alert(1)%3E",
        &format!("/{long}<svg"),
        "/\"><svg",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let answer = exchange(address, request.as_bytes()).await;
        assert!(
            matches!(status(&answer), 200 | 400 | 404 | 414 | 426),
            "{path:.80}: {answer:.300}"
        );
        assert!(
            !answer.contains("<svg") && !answer.contains("alert(1)"),
            "{path:.80}: {answer:.300}"
        );
    }
    harness.over().await;
}

#[tokio::test]
async fn page_holds_no_token() {
    const TOKEN: &str = "canary-page-token";
    let harness =
        AttackHarness::with(&["--auth-token", TOKEN], &format!("/ws?token={TOKEN}")).await;
    for path in ["/", &format!("/?token={TOKEN}")] {
        let headers = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Dest", "document")];
        let page = http::request(harness.address(), "GET", path, &headers, "").await;
        assert_eq!(page.status, 200, "{path}");
        assert!(!page.body.contains(TOKEN), "{path}");
    }
    harness.over().await;
}
