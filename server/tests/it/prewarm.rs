//! An agent that is started before it is needed: when it is used, when it is
//! not, and that the conversation is the same.

use std::time::Duration;

use claude_relay_testing::messages_api::MessagesApi;
use claude_relay_testing::reply::Reply;
use claude_relay_testing::test_env::TestEnv;
use claude_relay_testing::tools::Cli;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;

/// Time for a spare to be ready on a busy machine.
const READY: Duration = Duration::from_secs(60);

/// Waits until `/health` is as asked for, and gives it.
async fn health(relay: &Relay, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let address = relay.address();
    let wait = async {
        loop {
            let health = http::get(address, "/health").await.json();
            if is_so(&health) {
                return health;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(READY, wait).await;
    found.unwrap_or_else(|_| panic!("{what}: not in time"))
}

/// Waits for a spare that is ready, and gives its pid.
async fn spare(relay: &Relay) -> i64 {
    let health = health(relay, "a spare", |health| health["prewarm"]["state"] == "ready").await;
    assert!(health["prewarm"]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    health["prewarm"]["pid"].as_i64().expect("its pid")
}

async fn configure(relay: &Relay, config: &Value) {
    let answer = http::post(relay.address(), "/config", &config.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_spare_serves_the_first_client_and_the_next_conversation() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--prewarm").start();
    let pid = spare(&relay).await;
    let mut client = Client::connect(relay.address()).await;
    client.say("hello").await;
    client.turn().await;
    let now = http::get(relay.address(), "/health").await.json();
    assert_eq!((&now["agent"]["pid"], &now["prewarm"]["used"]), (&json!(pid), &json!(1)));
    let first = now["agent"]["session_id"].clone();

    let next = spare(&relay).await;
    assert_ne!(next, pid);
    let request = json!({ "subtype": "new_conversation" });
    let request = json!({ "type": "control_request", "requestId": "n", "request": request });
    client.send(&request).await;
    client.until(|frame| frame["type"] == "control_response").await;
    client.say("again").await;
    client.turn().await;
    let now = http::get(relay.address(), "/health").await.json();
    assert_eq!((&now["agent"]["pid"], &now["prewarm"]["used"]), (&json!(next), &json!(2)));
    assert_ne!(now["agent"]["session_id"], first);
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn a_start_that_the_spare_cannot_serve_is_cold_and_says_why() {
    for (config, why) in [
        (json!({ "model": "m" }), "flags differ"),
        (json!({ "systemPrompt": "s" }), "the first request differs"),
        (json!({ "resume": "00000000-0000-4000-8000-000000000000" }), "flags differ"),
        (json!({ "env": { "A": "1" } }), "variables differ that cannot be said late"),
    ] {
        let env = TestEnv::new();
        let relay = Launch::demo(&env).mode("unrestricted").argument("--prewarm").start();
        let pid = spare(&relay).await;
        configure(&relay, &config).await;
        // It came before its client: the work has begun.
        let now = health(&relay, "the agent", |health| health["agent"]["pid"].is_i64()).await;
        assert_ne!(now["agent"]["pid"], pid, "{config}");
        assert_eq!((&now["prewarm"]["cold"], &now["prewarm"]["used"]), (&json!(why), &json!(0)));
        let mut client = Client::connect(relay.address()).await;
        client.say("hello").await;
        client.turn().await;
        client.close().await;
        relay.stop();
    }
}

#[tokio::test]
async fn what_the_agent_reads_at_its_start_makes_a_spare_stale() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--prewarm").start();
    let pid = spare(&relay).await;
    std::fs::write(env.workspace().join("CLAUDE.md"), "Be brief.").expect("a file");
    let client = Client::connect(relay.address()).await;
    let now = health(&relay, "the agent", |health| health["agent"]["pid"].is_i64()).await;
    assert_ne!(now["agent"]["pid"], pid);
    assert!(now["prewarm"]["cold"].as_str().expect("a text").contains("have changed"), "{now}");
    assert_ne!(spare(&relay).await, pid, "another one takes its place");
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn a_spare_that_dies_is_replaced_and_nobody_is_told() {
    let env = TestEnv::new();
    let relay = Launch::demo(&env).argument("--prewarm").start();
    let pid = spare(&relay).await;
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id");
    kill_process(process, Signal::KILL).expect("our process");
    health(&relay, "another spare", |health| {
        health["prewarm"]["state"] == "ready" && health["prewarm"]["pid"] != pid
    })
    .await;
    let mut client = Client::open(relay.address(), "/ws?after=0").await;
    client.frame().await;
    client.say("hello").await;
    let turn = client.turn().await;
    assert_eq!(turn.result()["is_error"], false);
    assert!(
        !client.frames().iter().any(|frame| frame.contains("\"error\"")),
        "{:?}",
        client.frames()
    );
    client.close().await;
    relay.stop();
}

#[tokio::test]
async fn a_configuration_starts_the_work_before_its_client_comes() {
    let env = TestEnv::new();
    for (argument, starts) in [("--prewarm=configured", true), ("--prewarm=off", false)] {
        let relay = Launch::demo(&env).argument(argument).start();
        configure(&relay, &json!({ "model": "m" })).await;
        let now = http::get(relay.address(), "/health").await.json();
        let state = now["agent"]["state"].as_str().expect("a text").to_owned();
        assert_eq!(state != "stopped", starts, "{argument}: {now}");
        assert_eq!(now.get("prewarm").is_some(), starts);
        relay.stop();
    }
}

/// What a conversation is, without what is drawn for each: `init`, the answer,
/// and what arrived at the API.
#[derive(Debug, PartialEq)]
struct Conversation {
    init: Value,
    answer: Value,
    requests: Vec<(Value, Vec<(String, String)>)>,
}

/// Removes what is drawn anew or measured.
fn without_drawn(value: &mut Value, session: &str) {
    match value {
        Value::Object(map) => {
            for name in ["uuid", "session_id", "user_id", "messaging_socket_path"] {
                map.remove(name);
            }
            map.values_mut().for_each(|value| without_drawn(value, session));
        }
        Value::Array(all) => all.iter_mut().for_each(|value| without_drawn(value, session)),
        Value::String(text) => *text = text.replace(session, "SESSION"),
        _ => {}
    }
}

async fn conversation(prewarm: &str, config: Value, with_key: bool) -> (Conversation, Value) {
    let (env, api) = (TestEnv::new(), MessagesApi::start());
    let cli = Cli::Newest.path();
    let launch = match with_key {
        true => Launch::unrestricted(&env, &cli, &api),
        false => Launch::new(&env).mode("unrestricted").argument("--claude-path").argument(&cli),
    };
    let relay = launch.variable("IS_SANDBOX", "1").argument(prewarm).start();
    if prewarm == "--prewarm" {
        spare(&relay).await;
    }
    let mut config = config;
    if !with_key {
        config["anthropicApiKey"] = "sk-ant-late".into();
        config["anthropicBaseUrl"] = api.url().into();
    }
    api.script([Reply::text("Yes.")]);
    configure(&relay, &config).await;
    let mut client = Client::connect(relay.address()).await;
    client.say("Hi").await;
    let turn = client.turn().await;
    let now = http::get(relay.address(), "/health").await.json();
    let find = |kind: &str, subtype: Option<&str>| {
        let fits = |line: &&&Value| {
            line["type"] == kind && subtype.is_none_or(|subtype| line["subtype"] == subtype)
        };
        (*turn.said().iter().find(fits).unwrap_or_else(|| panic!("no {kind}"))).clone()
    };
    let mut init = find("system", Some("init"));
    let session = init["session_id"].as_str().expect("a text").to_owned();
    // Each has a home and a workspace of its own.
    let root = env.home().parent().expect("a parent").display().to_string();
    let places = [root];
    let clean = |value: &mut Value| {
        without_drawn(value, &session);
        let mut text = value.to_string();
        for place in &places {
            text = text.replace(place, "PLACE").replace(&place.replace('/', "-"), "PLACE");
        }
        *value = serde_json::from_str(&text).expect("JSON");
    };
    clean(&mut init);
    let answer = json!(turn.result()["result"]);
    let requests = api.turns().into_iter().map(|request| {
        let mut body = request.body.clone();
        clean(&mut body);
        let headers = ["x-api-key", "authorization", "anthropic-beta", "user-agent"];
        let headers = headers.map(|name| (name.to_owned(), request.header(name).to_owned()));
        (body, headers.to_vec())
    });
    let found = Conversation { init, answer, requests: requests.collect() };
    client.close().await;
    relay.stop();
    (found, now["prewarm"].clone())
}

#[tokio::test]
async fn a_warm_and_a_cold_start_give_the_same_conversation() {
    for (config, with_key, is_warm) in [
        (json!({}), true, true),
        (json!({}), false, true),
        (json!({ "includePartialMessages": true }), true, false),
        (json!({ "model": "claude-opus-4-1", "systemPrompt": "Rhyme." }), false, false),
    ] {
        let (cold, _) = conversation("--prewarm=off", config.clone(), with_key).await;
        let (warm, prewarm) = conversation("--prewarm", config.clone(), with_key).await;
        assert_eq!(prewarm["used"], u64::from(is_warm), "{config} {with_key}: {prewarm}");
        let (warm, cold) = (json!(format!("{warm:#?}")), json!(format!("{cold:#?}")));
        let lines = |text: &Value| -> Vec<String> {
            text.as_str().expect("a text").lines().map(str::to_owned).collect()
        };
        let differ: Vec<_> = lines(&warm)
            .into_iter()
            .zip(lines(&cold))
            .filter(|(warm, cold)| warm != cold)
            .take(3)
            .collect();
        assert!(warm == cold, "{config} {with_key}: {differ:#?}");
    }
}
