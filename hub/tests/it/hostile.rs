//! Attacks from the network, after each of which the hub serves its owner.

use std::time::{Duration, Instant};

use claude_relay_testing::scripted_agent::executable;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait::{self, soon};
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::many::resident;
use crate::support::{Hub, HubDirectory, TOKEN};

/// Number of connections that do nothing.
const IDLE: usize = 1000;

/// Most memory that an attack may add, in KiB.
const KIB_OF_ATTACK: u64 = 64 << 10;

/// Time for which a client sends commands whose answers it does not read.
const FLOOD_TIME: Duration = Duration::from_secs(3);

/// The owner's request is answered at once, and a turn runs to its end.
async fn assert_alive(hub: &Hub, agent: &str) {
    let asked = Instant::now();
    hub.ok("GET", "/api/agents", Value::Null).await;
    wait::was_within(Duration::from_secs(1), asked);
    hub.say(agent, "still there").await;
    hub.until_done(agent).await;
}

async fn raw(hub: &Hub, bytes: &[u8]) -> TcpStream {
    let mut stream = soon(TcpStream::connect(&hub.address)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

fn upgrade(hub: &Hub, query: &str) -> String {
    format!(
        "GET /?{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        hub.address
    )
}

/// The end of what a connection answers to these bytes: the code of the close
/// frame.
async fn close_code(hub: &Hub, frames: &[u8]) -> u16 {
    let head = upgrade(hub, &format!("token={TOKEN}"));
    let mut stream = raw(hub, &[head.as_bytes(), frames].concat()).await;
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let close = answer[end..].iter().position(|byte| *byte == 0x88).expect("a close frame");
    let code = &answer[end + close + 2..][..2];
    u16::from_be_bytes([code[0], code[1]])
}

#[tokio::test]
async fn idle_connections_and_half_requests_keep_nobody_out() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("a").await;
    let mut held = Vec::new();
    for number in 0..IDLE {
        let bytes = match number % 5 {
            0 => String::new(),
            1 => format!("GET /api/agents HTTP/1.1\r\nHost: {}\r\n", hub.address),
            2 => format!("HEAD /health HTTP/1.1\r\nHost: {}\r\n\r\n", hub.address),
            3 => upgrade(&hub, "token=wrong"),
            // The body does not come.
            _ => format!(
                "POST /api/auth/login HTTP/1.1\r\nHost: {}\r\nContent-Length: 100\r\n\r\n{{",
                hub.address
            ),
        };
        held.push(raw(&hub, bytes.as_bytes()).await);
        if number % 250 == 0 {
            assert_alive(&hub, &agent).await;
        }
    }
    assert_alive(&hub, &agent).await;
    let mut socket = hub.connect().await;
    hub.say(&agent, "for the socket").await;
    socket.until_type("agent_done").await;
    drop(held);
    hub.stop().await;
    place.assert_no_orphans();
}

#[tokio::test]
async fn violations_of_the_protocol_close_the_connection() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("a").await;
    let cases: [(&[u8], u16); 6] = [
        // Without a mask, a reserved bit, a reserved opcode.
        (b"\x81\x02{}", 1002),
        (b"\xc1\x82\0\0\0\0{}", 1002),
        (b"\x83\x82\0\0\0\0{}", 1002),
        // A continuation of nothing, and text that is not UTF-8.
        (b"\x80\x82\0\0\0\0{}", 1002),
        (b"\x81\x82\0\0\0\0\xff\xff", 1007),
        // A message of an exabyte.
        (b"\x81\xff\x10\0\0\0\0\0\0\0\0\0\0\0", 1009),
    ];
    for (frame, code) in cases {
        assert_eq!(close_code(&hub, frame).await, code, "{frame:?}");
    }
    let mut socket = hub.connect().await;
    for deep in ["[".repeat(500_000), format!("{}1", r#"{"a":"#.repeat(100_000))] {
        socket.send_text(&deep).await;
        assert_eq!(socket.next().await["type"], "error");
    }
    assert_alive(&hub, &agent).await;
    hub.stop().await;
}

#[tokio::test]
async fn bodies_that_are_too_large_or_do_not_end_are_refused() {
    let place = HubDirectory::demo();
    let (hub, _, agent) = place.start_with_agent("a").await;
    assert_alive(&hub, &agent).await;
    let pid = place.mark.processes()[0].pid;
    let alone = resident(pid);
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let file = format!("/api/agents/{agent}/files/large");
    let cases = [
        ("PUT", file.as_str(), bearer.as_str(), 413),
        ("PUT", file.as_str(), "", 401),
        ("POST", "/api/workspaces", &bearer, 413),
        ("POST", "/api/workspaces", "", 401),
        ("POST", "/api/workspaces/x/reset", &bearer, 413),
        ("POST", "/api/auth/login", "", 404),
    ];
    for (method, path, authorization, status) in cases {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{authorization}", hub.address);
        for (length, piece) in [
            ("Content-Length: 1073741824\r\n\r\n", "x".repeat(1 << 16)),
            ("Transfer-Encoding: chunked\r\n\r\n", format!("10000\r\n{}\r\n", "x".repeat(1 << 16))),
        ] {
            let stream = raw(&hub, format!("{head}{length}").as_bytes()).await;
            let (mut reader, mut writer) = stream.into_split();
            // Sent until the hub does not take it any more, at most 1 GiB.
            let sending = tokio::spawn(async move {
                for _ in 0..1 << 14 {
                    if writer.write_all(piece.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
            let mut answer = [0; 12];
            soon(reader.read_exact(&mut answer)).await.unwrap();
            let wanted = format!("HTTP/1.1 {status}");
            assert_eq!(String::from_utf8_lossy(&answer), wanted, "{method} {path} {length}");
            sending.abort();
        }
    }
    // A file of 64 MiB is within the bound while it comes.
    let grown = resident(pid).saturating_sub(alone);
    assert!(grown < (64 << 10) + KIB_OF_ATTACK, "{grown} KiB");
    assert_alive(&hub, &agent).await;
    hub.stop().await;
}

#[tokio::test]
async fn names_lead_nowhere_else() {
    let place = HubDirectory::demo();
    let (hub, workspace, agent) = place.start_with_agent("a").await;
    let long = "x".repeat(8000);
    let names = ["..", "..%2f..%2fx", "%2e%2e", ".", "%00", "%ff", "a%2fb", "", "%", &long];
    for name in names {
        for (method, path) in [
            ("GET", format!("/api/agents/{name}")),
            ("DELETE", format!("/api/agents/{name}")),
            ("GET", format!("/api/agents/{name}/log")),
            ("GET", format!("/api/agents/{name}/files/x")),
            ("DELETE", format!("/api/workspaces/{name}")),
            ("POST", format!("/api/workspaces/{name}/reset")),
            ("POST", format!("/api/permissions/{name}")),
        ] {
            let (status, _) = hub.call(method, &path, json!({ "approved": true })).await;
            assert!(status.is_client_error(), "{method} {path:.60}: {status}");
        }
        let new = json!({ "workspaceId": name, "role": "b" });
        assert!(hub.call("POST", "/api/agents", new).await.0.is_client_error(), "{name:.60}");
    }
    for name in ["../x", "/etc", "a\nb", "\u{0}"] {
        let new = json!({ "workspaceId": workspace, "role": "b", "directory": name });
        let (status, _) = hub.call("POST", "/api/agents", new).await;
        assert!(status == StatusCode::BAD_REQUEST || name == "a\nb", "{name:?}");
    }
    assert!(place.directory().join("workspaces").join(&workspace).is_dir());
    assert_alive(&hub, &agent).await;
    hub.stop().await;
}

/// Adds agents, of which a list is some 5 MiB long.
async fn add_large_agents(hub: &Hub, workspace: &str) {
    let config = json!({ "systemPrompt": "p".repeat(250 << 10) });
    for _ in 0..20 {
        let new = json!({ "workspaceId": workspace, "config": config });
        hub.ok("POST", "/api/agents", new).await;
    }
    hub.ok("GET", "/api/agents", Value::Null).await;
}

#[tokio::test]
async fn answers_that_a_client_does_not_read_are_bounded() {
    let place = HubDirectory::demo();
    let (hub, workspace, agent) = place.start_with_agent("a").await;
    add_large_agents(&hub, &workspace).await;
    let pid = place.mark.processes()[0].pid;
    let alone = resident(pid);
    let mut silent = hub.connect().await;
    let frame = json!({ "type": "list_agents", "id": 1 }).to_string();
    let mut peak = 0;
    let flooding = async {
        loop {
            silent.send_text(&frame).await;
        }
    };
    let watching = async {
        let mut probes = wait::Probes::new();
        loop {
            peak = peak.max(resident(pid));
            probes.pause().await;
        }
    };
    // It blocks once the hub takes no more of it, or fails once it is dropped.
    let flooding = tokio::time::timeout(FLOOD_TIME, flooding);
    tokio::select! {
        _ = flooding => {}
        () = watching => {}
    }
    let grown = peak.saturating_sub(alone);
    assert!(grown < KIB_OF_ATTACK, "{grown} KiB");
    let asked = Instant::now();
    hub.ok("GET", &format!("/api/agents/{agent}"), Value::Null).await;
    wait::was_within(Duration::from_secs(1), asked);
    hub.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_every_answer() {
    let place = HubDirectory::demo();
    let (hub, workspace, _) = place.start_with_agent("a").await;
    add_large_agents(&hub, &workspace).await;
    let mut socket = hub.connect().await;
    let mut wanted: std::collections::BTreeSet<_> = (0..30).collect();
    for id in &wanted {
        socket.send(json!({ "type": "list_agents", "id": id })).await;
    }
    while !wanted.is_empty() {
        let answer = socket.until_type("command_result").await;
        assert!(wanted.remove(&answer["id"].as_i64().unwrap()), "{}", answer["id"]);
        assert_eq!(answer["result"].as_array().unwrap().len(), 21);
    }
    hub.stop().await;
}

#[tokio::test]
async fn no_token_is_in_the_log_or_with_an_agent() {
    const KEY: &str = "sk-ant-very-secret-key";
    let env = TestEnv::new();
    let (script, seen) = (env.file("looking-agent"), env.file("seen"));
    // It keeps all that it was given: its variables, its command line, its files.
    let text = format!(
        "#!/bin/sh\n{{ env; tr '\\0' '\\n' < /proc/$$/cmdline; cat $(tr '\\0' '\\n' < /proc/$$/cmdline \
         | grep ^/ | grep -v ^/bin) 2>/dev/null; }} > '{0}.part'\nmv '{0}.part' '{0}'\nexec cat > /dev/null\n",
        seen.display()
    );
    executable(&script, text);
    let mut place = HubDirectory::with(
        &[],
        &["--claude-path", script.to_str().unwrap(), "--stop-grace", "1s"],
        &[("ANTHROPIC_API_KEY", KEY)],
    );
    let log = place.keep_log();
    let (hub, _, agent) = place.start_with_agent("a").await;
    let _socket = hub.connect().await;
    let mut refused = hub.connect_with("token=wrong-but-secret").await;
    assert_eq!(refused.close_code().await.0, 4001);
    hub.request("GET", "/api/agents?token=wrong-but-secret", &[], Value::Null).await;
    hub.say(&agent, "look around").await;
    let read = || std::fs::read(&seen).ok();
    let seen = wait::until("what the agent was given", read).await;
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert!(!seen.contains(TOKEN) && !seen.contains("RELAY_"), "{seen}");
    // Nothing of it opens the hub or a relay, the agent's own or another one.
    let is_sign = |sign: char| sign.is_ascii_alphanumeric() || "-_".contains(sign);
    let words = seen.split(|sign: char| !is_sign(sign)).filter(|word| word.len() >= 16);
    for word in words {
        let bearer = format!("Bearer {word}");
        let headers = [("authorization", bearer.as_str())];
        let (status, ..) = hub.request("GET", "/api/agents", &headers, Value::Null).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{word}");
    }
    hub.ok("POST", &format!("/api/agents/{agent}/stop"), Value::Null).await;
    hub.stop().await;
    let mut logs = vec![log];
    for folder in ["relays", "logs"] {
        let entries = std::fs::read_dir(place.directory().join(folder)).unwrap();
        logs.extend(entries.map(|entry| entry.unwrap().path()));
    }
    for path in logs {
        let text = std::fs::read_to_string(&path).unwrap();
        for secret in [TOKEN, KEY, "wrong-but-secret"] {
            assert!(!text.contains(secret), "{path:?}");
        }
    }
}
