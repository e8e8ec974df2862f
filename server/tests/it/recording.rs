//! Recordings of a conversation (`--record`), and their replay (`--replay`).

use std::path::PathBuf;

use crate::support::http;
use crate::support::relay::{self, Launch, Relay};
use crate::support::replayed::{self, entries};
use crate::support::ws::Client;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::wait;
use serde_json::{Value, json};

fn recorded(env: &TestEnv) -> (PathBuf, Launch) {
    let path = env.home().join("recording.jsonl");
    let launch = Launch::demo(env).argument("--record").argument(&path);
    (path, launch)
}

async fn health(relay: &Relay) -> Value {
    http::get(relay.address(), "/health").await.json()
}

#[tokio::test]
async fn every_frame_in_both_directions_is_recorded() {
    let env = TestEnv::new();
    let (path, launch) = recorded(&env);
    let relay = launch.start();
    let mut client = Client::open(relay.address(), "/ws?after=0&supports=agent_state,input").await;
    client.say("permission").await;
    let asked = client.until(|frame| frame["type"] == "permission_request").await;
    let id = asked.last().unwrap()["requestId"].clone();
    client.send(&json!({ "type": "permission_response", "requestId": id, "approved": true })).await;
    client.turn().await;
    client
        .send(&json!({ "type": "control_request", "requestId": "m", "request": { "subtype": "set_model", "model": "other" } }))
        .await;
    client.until(|frame| frame["type"] == "control_response").await;
    client.send_text("no { message").await;
    client.until(|frame| frame["type"] == "error").await;
    let seen = client.frames().to_vec();
    assert!(health(&relay).await["recording"]["entries"].as_u64().unwrap() > 0);
    client.close().await;
    relay.stop();

    let entries = entries(&path);
    let told: Vec<Value> = entries
        .iter()
        .filter_map(|entry| {
            let sent = |mut frame: Value| {
                if let Some(seq) = entry.get("seq") {
                    frame["seq"] = seq.clone();
                }
                frame
            };
            match entry["dir"].as_str() {
                Some("to_client") => Some(sent(entry["frame"].clone())),
                Some("agent") if entry.get("seq").is_some() => {
                    Some(sent(json!({ "type": "sdk_message", "data": entry["line"] })))
                }
                _ => None,
            }
        })
        .collect();
    for frame in &seen {
        let frame: Value = serde_json::from_str(frame).unwrap();
        assert!(told.contains(&frame), "{frame} is not recorded");
    }
    let of = |direction: &str| -> Vec<&Value> {
        entries.iter().filter(|entry| entry["dir"] == direction).collect()
    };
    let said: Vec<_> = of("client").iter().map(|entry| entry["frame"]["type"].clone()).collect();
    let closed = json!(null);
    assert_eq!(
        said,
        [
            json!("user_message"),
            json!("permission_response"),
            json!("control_request"),
            closed.clone(),
            closed
        ]
    );
    let written: Vec<_> =
        of("to_agent").iter().map(|entry| entry["line"]["type"].clone()).collect();
    assert_eq!(written[..3], ["control_request", "user", "control_response"]);
    let ended = entries.iter().find(|entry| entry.get("exit").is_some()).unwrap();
    assert_eq!(ended["exit"], json!({ "code": 0, "stopped": true }));
    let times: Vec<_> = entries.iter().map(|entry| entry["t"].as_f64().unwrap()).collect();
    assert!(times.is_sorted());
}

/// The key of the store is the relay's own: no agent has it, but for one that looks
/// into the relay's environment.
#[cfg(feature = "s3")]
#[tokio::test]
async fn no_credential_of_the_store_is_in_a_recording() {
    let env = TestEnv::new();
    let (path, launch) = recorded(&env);
    let relay = launch
        .argument("--store=s3://bucket")
        .variable("RELAY_STORE_ENDPOINT", "http://127.0.0.1:1")
        .variable("RELAY_STORE_ACCESS_KEY_ID", "id-of-the-key")
        .variable("RELAY_STORE_SECRET_ACCESS_KEY", "secret-of-the/store+key")
        .variable("RELAY_STORE_SESSION_TOKEN", "token-of-the-store")
        .start();
    let mut client = Client::connect(relay.address()).await;
    let note = "secret-of-the/store+key token-of-the-store id-of-the-key";
    client.say(json!({ "echo": true, "note": note, "stderr": note }).to_string()).await;
    client.turn().await;
    client.close().await;
    relay.stop();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("store+key") && !text.contains("of-the-store"), "{text}");
    assert!(text.contains("*** *** id-of-the-key"), "the rest is there");
}

/// Long lines of stderr come in pieces of 8 KiB, and an end tells the last 4 KiB.
#[tokio::test]
async fn no_credential_that_was_cut_is_told_or_recorded() {
    const SECRET: &str = "begin-of-it/end-of-it";
    let env = TestEnv::new();
    let (path, launch) = recorded(&env);
    let relay = launch.variable("ANTHROPIC_AUTH_TOKEN", SECRET).start();
    let mut client = Client::connect(relay.address()).await;
    let cut = format!("{}{SECRET}", "x".repeat((8 << 10) - 12));
    client.say(json!({ "stderr": cut }).to_string()).await;
    client.turn().await;
    let tail = format!("{SECRET}{}", "y".repeat((4 << 10) - 10));
    client.say(json!({ "stderr": tail, "exit": 3 }).to_string()).await;
    client.until(|frame| frame["type"] == "exit").await;
    let told = client.frames().concat();
    client.close().await;
    relay.stop();
    let recorded = std::fs::read_to_string(&path).unwrap();
    for text in [told, recorded] {
        assert!(text.contains("x***") && text.contains("***yy"), "{text}");
        assert!(!text.contains("begin-of-") && !text.contains("end-of-it"), "{text}");
    }
}

#[tokio::test]
async fn no_credential_is_in_a_recording() {
    let env = TestEnv::new();
    let (path, launch) = recorded(&env);
    let relay = launch
        .variable("ANTHROPIC_AUTH_TOKEN", "inherited-secret")
        .variable("RELAY_AUTH_TOKEN", "relay-token-secret")
        .start();
    let mut client =
        Client::open(relay.address(), "/ws?configure=true&token=relay-token-secret&supports=input")
            .await;
    let config = json!({ "type": "configure", "config": {
        "anthropicApiKey": "sk-configured-secret",
        "env": { "A": "laid-over-secret" },
        "mcpServers": { "s": { "type": "http", "url": "http://127.0.0.1:1/", "headers": { "X": "header-secret" } } },
    }});
    client.send(&config).await;
    client.until(|frame| frame["type"] == "configured").await;
    let servers = json!({ "s": { "type": "http", "url": "http://127.0.0.1:1/", "headers": { "X": "later-secret" } } });
    client.send(&json!({ "type": "control_request", "requestId": "m", "request": { "subtype": "mcp_set_servers", "servers": servers } })).await;
    client.until(|frame| frame["type"] == "control_response").await;
    let all = "inherited-secret relay-token-secret sk-configured-secret laid-over-secret header-secret later-secret";
    client.say(json!({ "echo": true, "note": all, "stderr": all }).to_string()).await;
    client.turn().await;
    client.close().await;
    relay.stop();
    let text = std::fs::read_to_string(&path).unwrap();
    for secret in all.split(' ') {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(text.contains("*** *** *** *** *** ***"), "the rest is there");
    for entry in entries(&path) {
        assert!(entry["t"].is_f64(), "{entry}");
    }
}

#[tokio::test]
async fn a_recording_goes_on_while_nobody_is_connected() {
    let env = TestEnv::new();
    let (path, launch) = recorded(&env);
    let relay = launch.start();
    let mut client = Client::connect(relay.address()).await;
    client.say(r#"{"sleep_ms":300,"n":3,"size":300}"#).await;
    client.close().await;
    wait::until_async("the turn's end", async || health(&relay).await["agent"]["turns"] == 1).await;
    relay.stop();
    let entries = entries(&path);
    let closed = entries.iter().position(|entry| entry["closed"] == true).unwrap();
    assert!(entries[closed..].iter().any(|entry| entry["line"]["type"] == "result"));
}

#[tokio::test]
async fn a_file_that_is_no_recording_is_refused_at_the_start() {
    let env = TestEnv::new();
    let path = env.home().join("notes");
    std::fs::write(&path, "mine").unwrap();
    let (code, stderr) = relay::refused(&env, &["--demo", "--record", "notes"], &[]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("is no recording"), "{stderr}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

/// A recording of what `scenario` does with the built-in agent.
async fn record(env: &TestEnv, path: &str, scenario: impl AsyncFnOnce(&mut Client)) -> PathBuf {
    let (recording, launch) = recorded(env);
    let relay = launch.start();
    let mut client = Client::open(relay.address(), path).await;
    scenario(&mut client).await;
    client.close().await;
    relay.stop();
    recording
}

fn user(text: &str, uuid: &str) -> Value {
    let message = json!({ "role": "user", "content": text });
    json!({ "type": "user_message", "data": { "type": "user", "uuid": uuid, "message": message } })
}

#[tokio::test]
async fn a_recording_plays_to_the_same_frames() {
    let env = TestEnv::new();
    let path = "/ws?after=0&supports=agent_state,input";
    let recording = record(&env, path, async |client| {
        client.send(&user("Hello", "u-1")).await;
        client.turn().await;
        client.send(&user("permission", "u-2")).await;
        let asked = client.until(|frame| frame["type"] == "permission_request").await;
        let id = asked.last().unwrap()["requestId"].clone();
        client
            .send(&json!({ "type": "permission_response", "requestId": id, "approved": false }))
            .await;
        client.turn().await;
        let model = json!({ "subtype": "set_model", "model": "other" });
        client
            .send(&json!({ "type": "control_request", "requestId": "m", "request": model }))
            .await;
        client.until(|frame| frame["type"] == "control_response").await;
        client.send(&user(r#"{"sleep_ms":100,"n":3,"size":300}"#, "u-3")).await;
        client.send(&user("tool", "u-4")).await;
        client.turn().await;
        client.turn().await;
        client.send(&user("long", "u-5")).await;
        client.until(|frame| frame["data"]["subtype"] == "init").await;
        client.interrupt().await;
        client.turn().await;
        client.send(&user(r#"{"stderr":"said before the end","exit":3}"#, "u-6")).await;
        client.until(|frame| frame["type"] == "exit").await;
        client.send(&user("Again", "u-7")).await;
        client.turn().await;
    })
    .await;
    let launch = Launch::new(&env).mode("unrestricted");
    replayed::assert_same(launch, &recording, &[path.to_owned()]).await;
}

/// The list is exact: each test in it exists, and plays otherwise.
#[test]
#[expect(clippy::disallowed_methods, reason = "the rule is about the server's own children")]
fn the_tests_that_play_otherwise_exist() {
    let own = std::env::current_exe().expect("this program");
    let listed = std::process::Command::new(own).args(["--list", "--format=terse"]).output();
    let listed = String::from_utf8(listed.expect("the list").stdout).expect("UTF-8");
    for (test, _) in replayed::OTHERWISE {
        assert!(listed.lines().any(|line| line == format!("{test}: test")), "{test}");
    }
}

#[tokio::test]
async fn other_words_and_ids_advance_a_recording_turn_by_turn() {
    let env = TestEnv::new();
    let recording = record(&env, "/ws", async |client| {
        for number in 1..=2 {
            client.send(&user(&format!("Turn {number}"), &format!("recorded-{number}"))).await;
            client.turn().await;
        }
    })
    .await;
    let relay = Launch::new(&env).argument("--replay").argument(&recording).start();
    let mut client = Client::open(relay.address(), "/ws?supports=agent_state").await;
    for number in 1..=2 {
        client.send(&user("Something else", &format!("live-{number}"))).await;
        let turn = client.turn().await;
        let uuids = turn.result()["user_message_uuids"].clone();
        assert_eq!(uuids, json!([format!("live-{number}")]));
    }
    client.send(&user("More", "live-3")).await;
    let turn = client.turn().await;
    assert_eq!(turn.result()["errors"], json!(["The recording has ended"]));
    client.until(|frame| frame["state"] == "idle").await;
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn a_recording_is_played_at_its_own_speed_or_a_factor() {
    let env = TestEnv::new();
    let recording = record(&env, "/ws", async |client| {
        client.say(r#"{"sleep_ms":1500,"n":1,"size":300}"#).await;
        client.turn().await;
    })
    .await;
    let took = async |speed: &str| {
        let relay = Launch::new(&env)
            .argument("--replay")
            .argument(&recording)
            .argument(format!("--replay-speed={speed}"))
            .start();
        let mut client = Client::connect(relay.address()).await;
        let start = std::time::Instant::now();
        client.say("x").await;
        client.turn().await;
        let took = start.elapsed();
        client.close().await;
        relay.stop();
        took.as_secs_f64()
    };
    assert!(took("1").await >= 1.5);
    assert!(took("2").await >= 0.75);
    assert!(took("max").await < 0.75);
}

#[tokio::test]
async fn a_hostile_recording_harms_nothing() {
    let env = TestEnv::new();
    let path = env.home().join("hostile.jsonl");
    let deep = format!(r#"{{"t":0,"dir":"agent","line":{}"#, "[".repeat(100_000));
    let entries = [
        r#"{"t":0,"dir":"agent","start":{"provider":"claude"}}"#,
        &deep,
        r#"{"t":0,"dir":"agent","line":[1]}"#,
        r#"{"t":0,"dir":"agent","line":{"type":"control_request","request_id":"a","request":{"subtype":"can_use_tool"}}}"#,
        r#"{"t":0,"dir":"agent","line":{"type":"control_request","request_id":"b","request":{"subtype":"no such"}}}"#,
        r#"{"t":0,"dir":"agent","text":"a\nb\u0000"}"#,
        r#"{"t":0,"dir":"agent","line":{"type":"control_response","response":{"request_id":{}}}}"#,
        r#"{"t":-1,"dir":"to_agent","line":{"type":"user","uuid":[]}}"#,
        r#"{"t":1e308,"dir":"agent","line":{"type":"result","user_message_uuids":[[]]}}"#,
        r#"{"t":0,"dir":"agent","exit":{"code":99999999999}}"#,
        r#"{"t":0,"dir":"agent","exit":{"signal":-7}}"#,
        "\u{0}\u{1}",
    ];
    std::fs::write(&path, format!("{{\"recording\":1,}}\n{}\n", entries.join("\n"))).unwrap();
    let relay = Launch::new(&env)
        .argument("--replay")
        .argument(&path)
        .argument("--replay-speed=max")
        .start();
    let mut client = Client::connect(relay.address()).await;
    for _ in 0..4 {
        client.say("x").await;
    }
    client.until(|frame| frame["data"]["errors"][0] == "The recording has ended").await;
    client.close().await;
    assert_eq!(health(&relay).await["agent"]["state"], "running");
    relay.stop();
    for bad in ["/dev/zero", "nowhere", "."] {
        let (code, stderr) = relay::refused(&env, &["--replay", bad], &[]);
        assert!(code == Some(1) && stderr.contains("--replay"), "{bad}: {stderr}");
    }
}
