//! Who gets in.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::support::{Hub, HubDirectory, TOKEN};

const GUARDED: [(&str, &str); 6] = [
    ("GET", "/api/agents"),
    ("POST", "/api/workspaces"),
    ("GET", "/api/openapi.json"),
    ("GET", "/api/agents/x/files/y"),
    ("DELETE", "/api/agents/x"),
    ("GET", "/api/nothing"),
];

#[tokio::test]
async fn nothing_is_told_without_the_token() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    for (method, path) in GUARDED {
        for headers in [&[][..], &[("authorization", "Bearer wrong-token")]] {
            let (status, _, body) = hub.request(method, path, headers, Value::Null).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path}");
            let told = body["error"].as_str().unwrap();
            assert!(told.contains("`Authorization: Bearer TOKEN` or `?token=TOKEN`"), "{told}");
        }
    }
    let (status, _, health) = hub.request("GET", "/health", &[], Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(health.as_object().unwrap().keys().collect::<Vec<_>>(), ["status", "version"]);
    assert_eq!(hub.ok("GET", "/health", Value::Null).await["hub"]["agents"], 0);
    let (status, head, _) = hub.request("GET", "/", &[], Value::Null).await;
    assert_eq!(status, StatusCode::OK);
    assert!(head["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    hub.stop().await;
}

#[tokio::test]
async fn a_socket_without_the_token_is_closed_with_4001() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    for query in ["", "token=", "token=wrong-token", &format!("token={TOKEN}&token={TOKEN}")] {
        let mut socket = hub.connect_with(query).await;
        assert_eq!(socket.close_code().await, (4001, "Unauthorized".to_owned()), "{query}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_page_of_another_site_and_a_rebound_name_get_nothing() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let bearer = format!("Bearer {TOKEN}");
    for (name, value) in
        [("origin", "https://evil.example"), ("origin", "null"), ("host", "evil.example")]
    {
        for (method, path) in GUARDED.iter().chain(&[("GET", "/health"), ("GET", "/ws")]) {
            let headers = [("authorization", bearer.as_str()), (name, value)];
            let (status, _, _) = hub.request(method, path, &headers, Value::Null).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{name} {value} {method} {path}");
        }
    }
    hub.stop().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let large = json!({ "name": "x".repeat(2 << 20) });
    assert_eq!(hub.call("POST", "/api/workspaces", large).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let long = json!({ "name": "x".repeat(1000) });
    assert_eq!(hub.call("POST", "/api/workspaces", long).await.0, StatusCode::BAD_REQUEST);
    let mut socket = hub.connect().await;
    socket
        .send_text(&format!(r#"{{"type":"create_workspace","name":"{}"}}"#, "x".repeat(2 << 20)))
        .await;
    assert_eq!(socket.close_code().await.0, 1009);
    hub.stop().await;
}

#[tokio::test]
async fn a_number_of_agents_is_the_limit() {
    let place = HubDirectory::with(&["--max-agents", "2"], &["--demo"], &[]);
    let hub = place.start().await;
    let workspace = hub.workspace("w").await;
    hub.agent(&workspace, "a").await;
    hub.agent(&workspace, "b").await;
    let new = json!({ "workspaceId": workspace });
    assert_eq!(hub.call("POST", "/api/agents", new).await.0, StatusCode::TOO_MANY_REQUESTS);
    let outside = json!({ "workspaceId": workspace, "directory": "../.." });
    assert_eq!(hub.call("POST", "/api/agents", outside).await.0, StatusCode::TOO_MANY_REQUESTS);
    hub.stop().await;
}

#[tokio::test]
async fn secrets_are_neither_told_nor_kept() {
    const KEY: &str = "sk-ant-very-secret-key";
    let place = HubDirectory::with(&[], &["--demo"], &[("ANTHROPIC_API_KEY", KEY)]);
    let (hub, _, agent) = place.start_with_agent("a").await;
    let mut socket = hub.connect_after(0).await;
    hub.say(&agent, "hello").await;
    let (seen, _) = socket.until("agent_done").await;
    let told = format!("{seen:?}");
    assert!(!told.contains(KEY) && !told.contains(TOKEN));
    // The agent's processes know neither the hub's token nor its variables.
    for process in place.mark.processes() {
        let environment = std::fs::read(format!("/proc/{}/environ", process.pid));
        let environment = String::from_utf8_lossy(&environment.unwrap_or_default()).into_owned();
        let is_hub = process.command.contains("claude-relay-hub");
        assert!(is_hub || !environment.contains(TOKEN), "{process:?}");
    }
    hub.stop().await;
    let mut open = vec![place.directory()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            assert!(!text.contains(KEY) && !text.contains(TOKEN), "{path:?}");
        }
    }
}

#[tokio::test]
async fn a_pin_gives_its_hash_as_the_token_and_is_not_guessed() {
    let place = HubDirectory::with(&["--pin", "482913"], &["--demo"], &[]).without_token();
    let hub = place.start().await;
    let login = |pin: &str| json!({ "pin": pin });
    let (status, _, answer) = hub.request("POST", "/api/auth/login", &[], login("482913")).await;
    assert_eq!(status, StatusCode::OK);
    let token = answer["token"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 64);
    let mut socket = hub.connect_with(&format!("token={token}")).await;
    socket.send(json!({ "type": "list_agents", "id": 1 })).await;
    socket.until_type("command_result").await;
    let mut refused = Vec::new();
    for pin in 0..20 {
        let pin = format!("{pin:06}");
        refused.push(hub.request("POST", "/api/auth/login", &[], login(&pin)).await.0);
    }
    assert_eq!(refused[0], StatusCode::UNAUTHORIZED);
    assert_eq!(refused[19], StatusCode::TOO_MANY_REQUESTS);
    hub.stop().await;
}

/// The token of a PIN that is given without the login.
fn guess(pin: u32) -> String {
    claude_relay_hub::settings::pin_token(&format!("{pin:06}"))
}

/// The answer to an upgrade that is not made.
async fn upgrade(hub: &Hub, query: &str) -> (StatusCode, hyper::HeaderMap, Value) {
    let headers = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    hub.request("GET", &format!("/ws?{query}"), &headers, Value::Null).await
}

#[tokio::test]
async fn a_page_of_another_site_keeps_the_owner_of_a_pin_not_out() {
    let place = HubDirectory::with(&["--pin", "482913"], &["--demo"], &[]).without_token();
    let hub = place.start().await;
    for site in ["cross-site", "same-site", "of-a-kind-to-come"] {
        for path in ["/api/agents", "/api/agents/x/files/y", "/health", "/ws"] {
            for token in [guess(1), guess(482_913)] {
                // As a picture: no Origin comes with it.
                let headers = [("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")];
                for _ in 0..6 {
                    let path = format!("{path}?token={token}");
                    let (status, _, answer) =
                        hub.request("GET", &path, &headers, Value::Null).await;
                    assert_eq!(status, StatusCode::FORBIDDEN, "{site} {path}");
                    let told = answer["error"].as_str().unwrap();
                    assert!(told.contains("a page of another site"), "{told}");
                }
            }
        }
        // Links of other pages lead to the hub's own.
        let headers = [("sec-fetch-site", site), ("sec-fetch-mode", "navigate")];
        let (status, ..) = hub.request("GET", "/", &headers, Value::Null).await;
        assert_eq!(status, StatusCode::OK);
    }
    let bearer = format!("Bearer {}", guess(482_913));
    for site in ["same-origin", "none"] {
        let headers = [("authorization", bearer.as_str()), ("sec-fetch-site", site)];
        let (status, ..) = hub.request("GET", "/api/agents", &headers, Value::Null).await;
        assert_eq!(status, StatusCode::OK, "{site}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn the_hash_of_a_pin_is_not_guessed_in_the_place_of_the_pin() {
    let place = HubDirectory::with(&["--pin", "482913"], &["--demo"], &[]).without_token();
    let right = format!("Bearer {}", guess(482_913));
    for path in ["/api/agents", "/api/agents/x/files/y", "/health", "/ws"] {
        let hub = place.start().await;
        let ask = async |from: &str, bearer: &str| {
            let headers = [("authorization", bearer)];
            hub.request_from(from, "GET", path, &headers, Value::Null).await
        };
        let is_told = |(status, _, body): &(StatusCode, hyper::HeaderMap, Value)| {
            !matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS)
                && (path != "/health" || body.get("hub").is_some())
        };
        if path == "/ws" {
            for pin in 0..10 {
                let mut socket = hub.connect_with(&format!("token={}", guess(pin))).await;
                assert_eq!(socket.close_code().await.0, 4001);
            }
            // No close code, after which a page does not try again.
            for query in [format!("token={}", guess(482_913)), format!("token={}", guess(11))] {
                let (status, _, answer) = upgrade(&hub, &query).await;
                assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "the eleventh guess");
                assert_eq!(answer["error"], "too many attempts; wait a minute");
            }
            // Without a token nothing is guessed.
            let mut socket = hub.connect_with("").await;
            assert_eq!(socket.close_code().await.0, 4001);
            hub.stop().await;
            continue;
        }
        assert!(is_told(&ask("127.0.0.3", &right).await), "{path}");
        for pin in 0..10 {
            let bearer = format!("Bearer {}", guess(pin));
            assert!(!is_told(&ask("127.0.0.2", &bearer).await), "{path}");
        }
        assert!(!is_told(&ask("127.0.0.2", &right).await), "{path}: the eleventh guess");
        assert!(!is_told(&ask("127.0.0.1", &right).await), "{path}: from elsewhere");
        let login = json!({ "pin": "482913" });
        let (status, ..) = hub.request("POST", "/api/auth/login", &[], login).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        // Who has had the token before is not kept out, and may not guess either.
        assert!(is_told(&ask("127.0.0.3", &right).await), "{path}");
        for pin in 0..10 {
            let bearer = format!("Bearer {}", guess(pin));
            assert!(!is_told(&ask("127.0.0.3", &bearer).await), "{path}");
        }
        assert!(!is_told(&ask("127.0.0.3", &right).await), "{path}");
        hub.stop().await;
    }
}

#[tokio::test]
async fn a_wrong_token_keeps_nobody_out_where_there_is_no_pin() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    for _ in 0..30 {
        let headers = [("authorization", "Bearer wrong-token")];
        let (status, ..) = hub.request("GET", "/api/agents", &headers, Value::Null).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    hub.ok("GET", "/api/agents", Value::Null).await;
    hub.stop().await;
}
