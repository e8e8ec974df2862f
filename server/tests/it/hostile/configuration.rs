//! D: configurations that are none, or that want more than they may.

use super::recording::RecordingHarness;
use super::{AttackHarness, exchange, status};
use crate::support::http::{self, Response};
use crate::support::ws::RawClient;
use claude_relay_testing::wait;
use serde_json::{Value, json};

/// A secret that must never be seen again.
const CANARY: &str = "canary-7f3a9c";

async fn configuration(harness: &AttackHarness) -> Value {
    http::get(harness.address(), "/config").await.json()["config"].take()
}

fn assert_error(answer: &Response, status: u16, names: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    let error = answer.json();
    let error = error["error"].as_str().expect("an error in words");
    assert!(error.contains(names), "{error:?} names {names:?}");
}

#[tokio::test]
async fn invalid_configurations_are_refused() {
    let harness = AttackHarness::begin().await;
    http::post(harness.address(), "/config", r#"{"model":"before"}"#).await;
    for body in [
        " ",
        "{",
        r#"{"model":"x",}"#,
        r#"{"maxTurns":NaN}"#,
        "{'model':'x'}",
        "\u{feff}{}",
        "{}{}",
        "{\"model\":\"x\"} x",
        "{\"model\":\"\u{1}\"}",
        "",
    ] {
        let answer = http::post(harness.address(), "/config", body).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (400, r#"{"error":"Invalid JSON"}"#),
            "{body:?}"
        );
    }
    for body in ["null", "[]", "5", "\"x\""] {
        assert_eq!(http::post(harness.address(), "/config", body).await.status, 400, "{body}");
    }
    assert_eq!(configuration(&harness).await, json!({ "model": "before" }));
    harness.over().await;
}

#[tokio::test]
async fn field_of_the_wrong_type_is_named() {
    let harness = AttackHarness::begin().await;
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
        let answer = http::post(harness.address(), "/config", &body.to_string()).await;
        assert_error(&answer, 400, path);
    }
    assert_eq!(configuration(&harness).await, json!({}));
    harness.over().await;
}

#[tokio::test]
async fn unknown_fields_are_reported() {
    let harness = AttackHarness::begin().await;
    let body = json!({ "model": "m", "debug": true, "template": "t", "e2bApiKey": CANARY });
    let answer = http::post(harness.address(), "/config", &body.to_string()).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.body.contains(CANARY), "{}", answer.body);
    let answer = answer.json();
    assert_eq!(answer["success"], true);
    assert_eq!(answer["config"], json!({ "model": "m" }));
    let mut ignored: Vec<_> = answer["ignored"].as_array().expect("what was ignored").clone();
    ignored.sort_by_key(ToString::to_string);
    assert_eq!(ignored, ["debug", "e2bApiKey", "template"]);
    harness.over().await;
}

#[tokio::test]
async fn one_of_two_simultaneous_posts_wins_as_a_whole() {
    let harness = AttackHarness::begin().await;
    let address = harness.address();
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
        let config = configuration(&harness).await;
        let number = config["maxTurns"].as_u64().expect("a number") - 1;
        assert_eq!(config["model"], format!("m{number}"));
    }
    harness.over().await;
}

#[tokio::test]
async fn secrets_are_masked() {
    let harness = AttackHarness::begin().await;
    let body = json!({
        "anthropicApiKey": format!("{CANARY}-1"),
        "claudeCodeOauthToken": format!("{CANARY}-2"),
        "anthropicAuthToken": format!("{CANARY}-3"),
        "env": { "SECRET": format!("{CANARY}-4") },
        "mcpServers": { "m": {
            "type": "http", "url": "http://127.0.0.1:1/", "headers": { "X": format!("{CANARY}-5") },
        } },
    });
    let answer = http::post(harness.address(), "/config", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (_, client) = RawClient::upgrade(harness.address(), "/ws", &[]).await;
    let seen = [
        answer.body,
        http::get(harness.address(), "/config").await.body,
        http::get(harness.address(), "/health").await.body,
        // The command lines of all that has been started.
        format!("{:?}", harness.relay.offspring()),
    ];
    for seen in &seen {
        assert!(!seen.contains(CANARY), "{seen}");
    }
    drop(client);
    assert!(!harness.relay.stderr().contains(CANARY), "{}", harness.relay.stderr());
    http::post(harness.address(), "/config", "{}").await;
    harness.over().await;
}

#[tokio::test]
async fn posting_a_mask_back_keeps_the_secret() {
    let harness = AttackHarness::begin().await;
    let post = async |body: &Value| {
        let answer = http::post(harness.address(), "/config", &body.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let headers = json!({ "X": format!("{CANARY}-1") });
    let body = json!({
        "env": { "SECRET": format!("{CANARY}-2") },
        "mcpServers": { "m": { "type": "http", "url": "http://127.0.0.1:1/", "headers": headers } },
    });
    assert_eq!(post(&body).await["applies"], "next_start");
    // The next client gets an agent with it. One that goes before the old
    // agent has ended would leave that to the client after it.
    harness.turn().await;
    let shown = configuration(&harness).await;
    assert_eq!(shown["env"]["SECRET"], "***", "{shown}");
    assert_eq!(post(&shown).await["applies"], "now", "nothing has changed: {shown}");
    assert_eq!(post(&body).await["applies"], "now", "the secrets are still there");
    assert_eq!(post(&json!({})).await["applies"], "next_start");
    harness.over().await;
}

#[tokio::test]
async fn bodies_that_are_not_utf_8_are_refused() {
    let harness = AttackHarness::begin().await;
    let utf_16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for body in
        [&utf_16[..], b"\xff\xfe{\0}\0", b"{\"model\":\"\xff\"}", b"{\"model\":\"\xed\xa0\x80\"}"]
    {
        let head = format!(
            "POST /config HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        let said = exchange(harness.address(), &[head.as_bytes(), body].concat()).await;
        assert_eq!(status(&said), 400, "{body:?}: {said}");
        assert!(said.ends_with(r#"{"error":"Invalid JSON"}"#), "{body:?}: {said}");
    }
    harness.over().await;
}

#[tokio::test]
async fn ambiguous_json_is_refused() {
    let harness = AttackHarness::begin().await;
    let post = async |body: &str| http::post(harness.address(), "/config", body).await;
    // Decided: of duplicate keys the last counts, and only it is looked at.
    let twice = post(r#"{"model":5,"model":"last"}"#).await;
    assert_eq!((twice.status, &twice.json()["config"]), (200, &json!({ "model": "last" })));
    let proto = post(r#"{"__proto__":{"model":"x"},"constructor":1}"#).await;
    assert_eq!((proto.status, &proto.json()["config"]), (200, &json!({})));
    for huge in ["1e400", "-1", "99999999999999999999999", "1e-400", "0"] {
        let said = post(&format!(r#"{{"maxTurns":{huge}}}"#)).await;
        assert_error(&said, 400, "maxTurns");
    }
    // Deep, and wide.
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!(r#"{{"mcpServers":{}1{}}}"#, open.repeat(50_000), close.repeat(50_000));
        assert_eq!(post(&deep).await.status, 400);
        let unknown = format!(r#"{{"later":{}1{}}}"#, open.repeat(50_000), close.repeat(50_000));
        assert!(matches!(post(&unknown).await.status, 200 | 400));
    }
    let wide: Vec<_> = (0..50_000).map(|n| format!(r#""f{n}":1"#)).collect();
    let said = post(&format!("{{{}}}", wide.join(","))).await;
    assert_eq!(said.status, 200);
    assert!(said.body.len() < 10_000, "{} bytes of ignored names", said.body.len());
    harness.over().await;
}

#[tokio::test]
async fn values_reach_neither_a_shell_nor_the_flags() {
    let recorder = RecordingHarness::begin().await;
    let harness = &recorder.harness;
    let proof = harness.env.file("proof");
    let evil =
        format!("$(touch {0})`touch {0}`;touch {0} & | > {0} \\'\"* ~ \u{1F600}", proof.display());
    let body = json!({
        "model": evil,
        "allowedTools": ["Bash(git log:*)", evil, "--dangerously-skip-permissions"],
        "systemPrompt": format!("{evil}\n{evil}"),
        "env": { "EVIL": evil },
    });
    let answer = http::post(harness.address(), "/config", &body.to_string()).await;
    if answer.status == 400 {
        // Refusing a value that could be taken for a flag is as good.
        assert_error(&answer, 400, "allowedTools[2]");
        let mut body = body.clone();
        body["allowedTools"].as_array_mut().expect("an array").pop();
        assert_eq!(http::post(harness.address(), "/config", &body.to_string()).await.status, 200);
    }
    let client = harness.client().await;
    let arguments = recorder.arguments().await;
    assert!(arguments.iter().any(|argument| argument.contains(&evil)), "{arguments:?}");
    assert!(!arguments.iter().any(|a| a == "--dangerously-skip-permissions"), "{arguments:?}");
    let prompt = evil.replace('\\', "\\\\").replace('"', "\\\"");
    assert!(recorder.initialize().await.contains(&prompt));
    assert!(!proof.exists(), "a shell has run it");
    client.close().await;
    for field in ["model", "systemPrompt", "fallbackModel", "resume", "cwd"] {
        let nul =
            http::post(harness.address(), "/config", &json!({ field: "a\0b" }).to_string()).await;
        assert_error(&nul, 400, field);
    }
    recorder.over().await;
}

#[tokio::test]
async fn configuration_of_two_mebibytes_is_too_large() {
    let harness = AttackHarness::begin().await;
    let long = "x".repeat(2 << 20);
    for body in [
        json!({ "systemPrompt": long }),
        json!({ "agents": { "a": { "description": "d", "prompt": long } } }),
        json!({ "mcpServers": { "m": { "command": long } } }),
    ] {
        let said = http::post(harness.address(), "/config", &body.to_string()).await;
        assert_eq!(said.status, 413);
    }
    // What fits the body and not one argument of a program is refused by name,
    // or reaches the agent by another way: a prompt goes by stdin.
    let large = "x".repeat(500_000);
    let said =
        http::post(harness.address(), "/config", &json!({ "model": large }).to_string()).await;
    assert_error(&said, 400, "model");
    let prompt = json!({ "systemPrompt": large }).to_string();
    assert_eq!(http::post(harness.address(), "/config", &prompt).await.status, 200);
    harness.over().await;
}

#[tokio::test]
async fn variables_that_would_hijack_the_agent_are_refused() {
    let harness = AttackHarness::begin().await;
    for name in [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "DYLD_INSERT_LIBRARIES",
        "NODE_OPTIONS",
        "BUN_OPTIONS",
        "PATH",
        "RELAY_AUTH_TOKEN",
        "RELAY_MODE",
        "IS_SANDBOX",
        "CLAUDECODE",
        "A=B",
        "",
        "A B",
        "A\0",
        "A\n",
    ] {
        let said =
            http::post(harness.address(), "/config", &json!({ "env": { name: "x" } }).to_string())
                .await;
        assert_error(&said, 400, "env");
    }
    assert_eq!(configuration(&harness).await, json!({}));
    harness.over().await;
}

#[tokio::test]
async fn directory_outside_the_workspace_is_refused() {
    let harness = AttackHarness::begin().await;
    let workspace = harness.env.workspace();
    let make = |name: &str| std::fs::create_dir(workspace.join(name)).expect("a directory of ours");
    make("inside");
    std::fs::write(workspace.join("file"), "").expect("a file of ours");
    std::os::unix::fs::symlink("/etc", workspace.join("link")).expect("a link of ours");
    for cwd in [
        "/etc",
        "/none",
        "..",
        "../home",
        "inside/../../home",
        "missing/../../home",
        "link",
        "link/ssl",
        "/",
        "/proc/self/cwd",
    ] {
        let body = json!({ "cwd": cwd }).to_string();
        let headers = [("Content-Type", "application/json")];
        for method in ["POST", "PATCH"] {
            let said = http::request(harness.address(), method, "/config", &headers, &body).await;
            assert_error(&said, 400, "outside the workspace");
        }
    }
    // A path that is no directory yet may be one when the agent starts.
    for cwd in ["file", "missing"] {
        let said =
            http::post(harness.address(), "/config", &json!({ "cwd": cwd }).to_string()).await;
        assert_eq!(said.status, 200, "{said:?}");
        let mut client = harness.client().await;
        let told = client.frame().await;
        assert_eq!(told["type"], "error", "{cwd}: {told}");
        client.close().await;
        let gone = || harness.relay.offspring().is_empty().then_some(());
        wait::until(&format!("no agent in {cwd}"), gone).await;
    }
    // A directory that is replaced by a link meanwhile is refused at the start.
    let replaced = workspace.join("replaced");
    std::fs::create_dir(&replaced).unwrap();
    let said = http::post(harness.address(), "/config", r#"{"cwd":"replaced"}"#).await;
    assert_eq!(said.status, 200, "{said:?}");
    std::fs::remove_dir(&replaced).unwrap();
    std::os::unix::fs::symlink("/etc", &replaced).unwrap();
    let mut client = harness.client().await;
    let told = client.frame().await;
    assert_eq!(told["type"], "error", "{told}");
    client.close().await;
    let post = async || http::post(harness.address(), "/config", r#"{"cwd":"inside"}"#).await;
    assert_eq!(post().await.status, 200);
    let mut client = harness.client().await;
    client.say("x").await;
    assert_eq!(client.turn().await.result()["subtype"], "success");
    client.close().await;
    http::post(harness.address(), "/config", "{}").await;
    harness.over().await;
}

#[tokio::test]
async fn configuration_during_a_turn_reports_when_it_applies() {
    let harness = AttackHarness::begin().await;
    let client = harness.client().await;
    let post = async || http::post(harness.address(), "/config", r#"{"model":"new"}"#).await.json();
    assert_eq!(post().await["applies"], "next_start");
    client.close().await;
    http::post(harness.address(), "/config", "{}").await;
    harness.over().await;
}
