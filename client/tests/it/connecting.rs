//! From the address to `connected`, and every way it can fail.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use claude_relay_client::{
    Applies, Client, Configuration, ConnectError, ConnectionError, RequestError, SendError,
    SystemPrompt,
};
use tokio::net::TcpListener;

use crate::support::{client, line, n, refused, soon};
use claude_relay_testing::fake_relay::{CONNECTED, FakeRelay};

#[tokio::test]
async fn it_configures_then_connects_with_the_token_under_the_base_path() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let fake = FakeRelay::start(move |_, request, mut peer| {
        log.lock().unwrap().push(request.clone());
        async move {
            match (request.method.as_str(), request.path.split('?').next().unwrap()) {
                ("POST", "/base/config") => {
                    peer.json("200 OK", r#"{"success":true,"config":{},"applies":"next_start","ignored":["debug"]}"#).await;
                }
                ("GET", "/base/health") => peer.health().await,
                ("GET", "/base/ws") => {
                    peer.upgrade(&request).await;
                    peer.text(CONNECTED).await;
                    peer.line(1).await;
                    peer.idle().await;
                }
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    let client = client(&format!("{}/base/", fake.url))
        .token("t0ken")
        .header("E2B-Traffic-Access-Token", "traffic")
        .configuration(Configuration {
            system_prompt: Some(SystemPrompt::from("Be brief.")),
            anthropic_api_key: Some("sk-1".into()),
            ..Configuration::default()
        })
        .model("opus")
        .allowed_tools(["Read"]);
    let client = soon(client.start()).await.unwrap();
    assert_eq!(n(&line(&mut client.messages()).await), 1);
    let configured = client.configure(&Configuration::default()).await.unwrap();
    assert_eq!(configured.applies, Applies::NextStart);
    assert_eq!(configured.ignored, ["debug"]);
    soon(client.stop()).await;
    soon(client.stop()).await;
    assert!(matches!(
        soon(client.send("x")).await,
        Err(SendError::NotDelivered { source: ConnectionError::Stopped })
    ));

    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].path, "/base/health");
    assert_eq!(
        seen[1].body,
        r#"{"allowedTools":["Read"],"systemPrompt":"Be brief.","model":"opus","anthropicApiKey":"sk-1"}"#
    );
    assert_eq!(seen[1].header("content-type"), Some("application/json"));
    assert_eq!(seen[2].path, "/base/ws?after=0&supports=agent_state");
    for request in &seen[..3] {
        assert_eq!(request.header("authorization"), Some("Bearer t0ken"));
        assert_eq!(request.header("e2b-traffic-access-token"), Some("traffic"));
        assert_eq!(request.header("host"), Some(format!("127.0.0.1:{}", fake.port).as_str()));
        assert_eq!(request.header("origin"), None);
    }
}

#[tokio::test]
async fn the_original_server_is_used_without_numbers() {
    let fake = FakeRelay::start(|_, request, mut peer| async move {
        if request.path == "/health" {
            return peer.answer("404 Not Found", "text/plain", "Not Found").await;
        }
        assert_eq!(request.path, "/ws");
        peer.upgrade(&request).await;
        peer.text(r#"{"type":"connected"}"#).await;
        peer.text(r#"{"type":"sdk_message","data":{"n":7}}"#).await;
        peer.idle().await;
    })
    .await;
    let client = soon(client(&fake.url).start()).await.unwrap();
    assert_eq!(n(&line(&mut client.messages()).await), 7);
    assert_eq!(client.position(), None);
    soon(client.stop()).await;
}

#[tokio::test]
async fn a_busy_server_is_busy_however_it_says_so() {
    for close in [Some(1013), Some(1000), None] {
        let fake = FakeRelay::start(move |_, request, mut peer| async move {
            if request.path == "/health" {
                return peer.health().await;
            }
            peer.upgrade(&request).await;
            peer.text(r#"{"type":"error","error":"Server already has an active connection"}"#)
                .await;
            if let Some(code) = close {
                peer.close(code, "").await;
            }
        })
        .await;
        let error = refused(client(&fake.url)).await;
        assert!(
            matches!(&error, ConnectError::Busy { message } if message == "Server already has an active connection"),
            "{error:?}"
        );
        assert!(!error.is_transient());
    }
}

/// One answer to everything but a look at the server's health.
async fn always(status: &'static str, kind: &'static str, body: &'static str) -> ConnectError {
    let fake = FakeRelay::start(move |_, request, mut peer| async move {
        if request.path == "/health" {
            return peer.health().await;
        }
        peer.answer(status, kind, body).await;
    })
    .await;
    refused(client(&fake.url).model("opus")).await
}

#[tokio::test]
async fn each_refusal_is_its_own_error_with_the_servers_words() {
    let html = "<html><body><h1>Hello</h1></body></html>";
    let json = "application/json";
    assert!(matches!(
        always("401 Unauthorized", json, r#"{"error":"Unauthorized"}"#).await,
        ConnectError::Request(RequestError::Unauthorized { message }) if message == "Unauthorized"
    ));
    assert!(matches!(
        always("403 Forbidden", json, r#"{"error":"Host not allowed"}"#).await,
        ConnectError::Request(RequestError::Forbidden { message }) if message == "Host not allowed"
    ));
    assert!(matches!(
        always("400 Bad Request", json, r#"{"error":"allowedTools[1]: expected a string"}"#).await,
        ConnectError::ConfigurationRefused { status: 400, message } if message == "allowedTools[1]: expected a string"
    ));
    assert!(matches!(
        always("413 Payload Too Large", "text/plain", "too big").await,
        ConnectError::ConfigurationRefused { status: 413, message } if message == "too big"
    ));
    assert!(matches!(
        always("502 Bad Gateway", "text/html", html).await,
        ConnectError::Request(RequestError::Unavailable { status: 502, message }) if message == html
    ));
    for (status, kind, body) in [
        ("200 OK", "text/html", html),
        ("200 OK", json, "5"),
        ("200 OK", json, r#"{"success":true}"#),
        ("404 Not Found", "text/html", html),
        ("301 Moved Permanently\r\nLocation: https://elsewhere.example/", "text/html", ""),
        ("418 I'm a teapot", "text/plain", "short and stout"),
    ] {
        let error = always(status, kind, body).await;
        assert!(
            matches!(error, ConnectError::Request(RequestError::NotARelay { .. })),
            "{status}: {error:?}"
        );
    }
    let moved =
        always("301 Moved Permanently\r\nLocation: https://elsewhere.example/", "text/html", "")
            .await;
    assert!(moved.to_string().contains("https://elsewhere.example/"), "{moved}");
}

#[tokio::test]
async fn a_refused_upgrade_is_its_own_error_too() {
    for (status, body) in [
        ("401 Unauthorized", r#"{"error":"Unauthorized"}"#),
        ("403 Forbidden", r#"{"error":"no"}"#),
        ("503 Service Unavailable", "starting"),
        ("200 OK", "<html>"),
        ("426 Upgrade Required", "{}"),
        ("302 Found", ""),
    ] {
        let fake = FakeRelay::start(move |_, request, mut peer| async move {
            if request.path == "/health" {
                return peer.health().await;
            }
            peer.answer(status, "application/json", body).await;
        })
        .await;
        let error = refused(client(&fake.url)).await;
        let right = match &status[..3] {
            "401" => matches!(error, ConnectError::Request(RequestError::Unauthorized { .. })),
            "403" => matches!(error, ConnectError::Request(RequestError::Forbidden { .. })),
            "503" => matches!(
                error,
                ConnectError::Request(RequestError::Unavailable { status: 503, .. })
            ),
            _ => matches!(error, ConnectError::Request(RequestError::NotARelay { .. })),
        };
        assert!(right, "{status}: {error:?}");
    }
}

#[tokio::test]
async fn a_peer_without_http_is_no_relay() {
    for greeting in
        ["SSH-2.0-OpenSSH_9.9\r\n", "\0\0\0\0\0\0\0\0\0\0", "HTTP/1.1 200\x01 OK\r\n\r\n"]
    {
        let fake =
            FakeRelay::start(move |_, _, mut peer| async move { peer.raw(greeting).await }).await;
        let error = refused(client(&fake.url)).await;
        assert!(
            matches!(error, ConnectError::Request(RequestError::NotARelay { .. })),
            "{greeting:?}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_wrong_handshake_or_greeting_is_no_relay() {
    let wrong_accept = FakeRelay::start(|_, request, mut peer| async move {
        if request.path == "/health" {
            return peer.health().await;
        }
        peer.raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n").await;
        peer.idle().await;
    })
    .await;
    assert!(matches!(
        refused(client(&wrong_accept.url)).await,
        ConnectError::Request(RequestError::NotARelay { .. })
    ));

    for greeting in ["{}", "hello", r#"{"type":"welcome"}"#, r#"{"type":"info","data":"x"}"#] {
        let fake = FakeRelay::start(move |_, request, mut peer| async move {
            if request.path == "/health" {
                return peer.health().await;
            }
            peer.upgrade(&request).await;
            peer.text(greeting).await;
            peer.idle().await;
        })
        .await;
        let error = refused(client(&fake.url)).await;
        assert!(
            matches!(error, ConnectError::Request(RequestError::NotARelay { .. })),
            "{greeting}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_closes_at_any_point_is_an_error_at_once() {
    // 0: after the request, 1: in the middle of a head, 2: in the middle of a
    // body, 3: after the upgrade, 4: in the middle of the greeting.
    for point in 0..5 {
        let fake = FakeRelay::start(move |_, request, mut peer| async move {
            if request.path == "/health" && point >= 3 {
                return peer.health().await;
            }
            match point {
                0 => {}
                1 => peer.raw("HTTP/1.1 200 O").await,
                2 => peer.raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{").await,
                _ => {
                    peer.upgrade(&request).await;
                    if point == 4 {
                        peer.raw([0x81, 20, b'{']).await;
                    }
                }
            }
        })
        .await;
        let error = refused(client(&fake.url)).await;
        assert!(
            matches!(
                error,
                ConnectError::Connection(ConnectionError::Lost { .. })
                    | ConnectError::Request(
                        RequestError::Interrupted { .. } | RequestError::NotARelay { .. }
                    )
            ),
            "{point}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout() {
    let limit = Duration::from_millis(200);
    // 0: to the request, 1: to the upgrade, 2: after the upgrade.
    for point in 0..3 {
        let fake = FakeRelay::start(move |_, request, mut peer| async move {
            if request.path == "/health" && point >= 1 {
                return peer.health().await;
            }
            if point == 2 {
                peer.upgrade(&request).await;
            }
            peer.idle().await;
        })
        .await;
        let began = Instant::now();
        let error = refused(client(&fake.url).connect_timeout(limit)).await;
        assert!(
            matches!(error, ConnectError::Request(RequestError::Timeout { .. })),
            "{point}: {error:?}"
        );
        assert!(began.elapsed() < limit * 10, "{point}");
    }
}

#[tokio::test]
async fn an_endless_answer_is_bounded() {
    let fake = FakeRelay::start(|_, _, mut peer| async move {
        peer.raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        for _ in 0..1000 {
            peer.raw(format!("10000\r\n{}\r\n", "x".repeat(0x10000))).await;
        }
    })
    .await;
    assert!(matches!(
        refused(client(&fake.url)).await,
        ConnectError::Request(RequestError::NotARelay { .. })
    ));
}

#[tokio::test]
async fn nobody_there_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let error = refused(client(&format!("127.0.0.1:{port}"))).await;
    assert!(matches!(error, ConnectError::Request(RequestError::Connect { .. })), "{error:?}");
    assert!(error.to_string().contains(&port.to_string()));
    let error = refused(client("http://no-such-host.invalid")).await;
    assert!(matches!(error, ConnectError::Request(RequestError::Connect { .. })), "{error:?}");
}

#[tokio::test]
async fn a_secret_does_not_leave_this_machine_unencrypted() {
    let far = "http://relay.invalid:3000";
    assert!(matches!(
        refused(client(far).token("t")).await,
        ConnectError::Request(RequestError::InsecureTransport { .. })
    ));
    assert!(matches!(
        refused(client(far).anthropic_api_key("k")).await,
        ConnectError::Request(RequestError::InsecureTransport { .. })
    ));
    // Nothing secret, or expressly allowed: it is tried.
    assert!(matches!(
        refused(client(far)).await,
        ConnectError::Request(RequestError::Connect { .. })
    ));
    assert!(matches!(
        refused(client(far).token("t").allow_plaintext(true)).await,
        ConnectError::Request(RequestError::Connect { .. })
    ));
}

#[tokio::test]
async fn bad_settings_are_named_before_anything_is_sent() {
    assert!(matches!(
        refused(Client::builder()).await,
        ConnectError::Request(RequestError::InvalidOption { option: "connection_url", .. })
    ));
    assert!(matches!(
        refused(client("localhost").token("a\nb")).await,
        ConnectError::Request(RequestError::InvalidOption { option: "token", .. })
    ));
    assert!(matches!(
        refused(client("localhost").header("a b", "c")).await,
        ConnectError::Request(RequestError::InvalidOption { option: "header", .. })
    ));
    let shown = format!("{:?}", client("localhost").token("hunter2").header("k", "hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
}
