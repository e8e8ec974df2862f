//! `docs/protocol.md` against a real server: its requests are sent, its
//! messages are sent or seen.
//!
//! Fenced blocks are marked `json client`, `json server` or `http`; `http token`
//! and `http claim` are for servers of their own, `http raw` holds all of a head.
//! In them `"…"` stands for any value.

use crate::support::http;
use crate::support::relay::{Launch, Relay};
use crate::support::ws::Client;
use claude_relay_protocol::ServerMessage;
use claude_relay_testing::test_env::TestEnv;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

/// The token of the `http token` examples.
const TOKEN: &str = "correct-horse-battery";

/// Stands for any value, or for any text inside of one.
const ANYTHING: &str = "…";

/// The contents of the blocks with this mark.
fn blocks(mark: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in DOCUMENT.lines() {
        match &mut open {
            Some(_) if line == "```" => blocks.extend(open.take().map(|lines| lines.join("\n"))),
            Some(lines) => lines.push(line),
            None if line.strip_prefix("```") == Some(mark) => open = Some(Vec::new()),
            None => {}
        }
    }
    assert!(!blocks.is_empty(), "no block is marked {mark:?}");
    blocks
}

/// The messages of the blocks with this mark, one a line.
pub(crate) fn messages(mark: &str) -> Vec<String> {
    blocks(mark).iter().flat_map(|block| block.lines()).map(str::to_owned).collect()
}

pub(crate) fn demo(env: &TestEnv) -> Relay {
    Launch::demo(env).start()
}

#[tokio::test]
async fn every_request_of_the_document_gets_its_answer() {
    let env = TestEnv::new();
    let open = demo(&env);
    for block in blocks("http") {
        check_request(&open, &block).await;
    }
    let guarded = Launch::demo(&env).argument(format!("--auth-token={TOKEN}")).start();
    for block in blocks("http token") {
        check_request(&guarded, &block).await;
    }
    let claimed = demo(&env);
    for block in blocks("http claim") {
        check_request(&claimed, &block).await;
    }
}

#[tokio::test]
async fn every_raw_request_of_the_document_gets_its_answer() {
    let env = TestEnv::new();
    let relay = demo(&env);
    for block in blocks("http raw") {
        let (head, answer) = block.split_once("\n\n").expect("a head and an answer");
        let (head_of_answer, body) = answer.split_once("\n\n").unwrap_or((answer, ""));
        let mut lines = head_of_answer.lines();
        let request = format!("{}\r\n\r\n", head.replace('\n', "\r\n"));
        let response = http::exchange(relay.address(), request.as_bytes(), body.is_empty()).await;
        assert_eq!(Some(&*response.status.to_string()), lines.next(), "{block}");
        for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
            assert_eq!(response.header(name), Some(value), "{block}");
        }
        if !body.is_empty() {
            let expected = serde_json::from_str(body).expect("an answer is JSON");
            assert_like(&response.json(), &expected, &block);
        }
    }
}

/// A head, a body perhaps, and the answer: with empty lines between them.
async fn check_request(relay: &Relay, block: &str) {
    let parts: Vec<&str> = block.split("\n\n").collect();
    let (head, body, answer) = match parts[..] {
        [head, answer] => (head, "", answer),
        [head, body, answer] => (head, body, answer),
        _ => panic!("a head, a body and an answer: {block}"),
    };
    let mut lines = head.lines();
    let (method, path) = lines.next().and_then(|line| line.split_once(' ')).expect("METHOD PATH");
    let headers: Vec<_> = lines.map(|line| line.split_once(": ").expect("a header")).collect();
    let (status, expected) = answer.split_once('\n').expect("a status and JSON");
    let response = http::request(relay.address(), method, path, &headers, body).await;
    assert_eq!(response.status.to_string(), status, "{block}");
    let expected = serde_json::from_str(expected).expect("an answer is JSON");
    assert_like(&response.json(), &expected, block);
}

/// Compares with what is documented, [`ANYTHING`] included.
fn assert_like(actual: &Value, documented: &Value, context: &str) {
    match (actual, documented) {
        (_, Value::String(text)) if text == ANYTHING => {}
        (Value::String(actual), Value::String(text)) if text.contains(ANYTHING) => {
            let (start, end) = text.split_once(ANYTHING).expect("it is there");
            assert!(actual.starts_with(start) && actual.ends_with(end), "{actual:?}: {context}");
        }
        (Value::Object(actual), Value::Object(documented)) => {
            assert_eq!(names(actual), names(documented), "{context}");
            for (name, documented) in documented {
                assert_like(&actual[name], documented, context);
            }
        }
        _ => assert_eq!(actual, documented, "{context}"),
    }
}

fn names(object: &Map<String, Value>) -> BTreeSet<&str> {
    object.keys().map(String::as_str).filter(|name| *name != "seq").collect()
}

#[tokio::test]
async fn every_client_message_of_the_document_is_taken() {
    let env = TestEnv::new();
    let relay = demo(&env);
    let mut client = Client::connect(relay.address()).await;
    // An agent runs: control requests need one.
    client.say("Hello").await;
    client.turn().await;
    for message in messages("json client") {
        let mut text = message.clone();
        if text.contains("$permission") {
            client.say(json!({ "permission": "Bash" }).to_string()).await;
            let asked = client.until(|seen| seen["type"] == "permission_request").await;
            let id =
                asked.last().expect("a request")["requestId"].as_str().expect("an id").to_owned();
            text = text.replace("$permission", &id);
        }
        client.send_text(text).await;
        let parsed: Value = serde_json::from_str(&message).expect("a message is JSON");
        let seen = match parsed["type"].as_str().expect("a type") {
            "user_message" | "permission_response" => client.turn().await.0,
            "interrupt" => {
                client.say("Hello").await;
                client.turn().await.0
            }
            "control_request" => {
                let seen = client.until(|seen| seen["type"] == "control_response").await;
                let response = seen.last().expect("a response");
                assert_eq!(response["requestId"], parsed["requestId"], "{message}");
                assert_eq!(response["response"]["subtype"], "success", "{message}");
                seen
            }
            "capabilities" => client.until(|seen| seen["type"] == "capabilities").await,
            other => panic!("no known answer to {other}"),
        };
        assert!(seen.iter().all(|seen| seen["type"] != "error"), "{message}: {seen:#?}");
    }
}

#[tokio::test]
async fn every_server_message_of_the_document_is_seen_with_these_fields() {
    let env = TestEnv::new();
    let relay = demo(&env);
    let seen = one_of_each(&relay).await;
    let mut documented = BTreeSet::new();
    for text in messages("json server") {
        ServerMessage::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let message: Value = serde_json::from_str(&text).expect("it has been parsed");
        let kind = message["type"].as_str().expect("a type").to_owned();
        let actual = seen.get(&kind).unwrap_or_else(|| panic!("no {kind} was seen"));
        for (inner, actual) in [
            (&message, actual),
            (&message["agent"], &actual["agent"]),
            (&message["sandbox"], &actual["sandbox"]),
            (&message["replay"], &actual["replay"]),
        ] {
            let (Value::Object(inner), Value::Object(actual)) = (inner, actual) else { continue };
            assert_eq!(names(inner), names(actual), "{text}");
        }
        assert_eq!(message["limits"], actual["limits"], "{text}");
        documented.insert(kind);
    }
    assert_eq!(documented, seen.into_keys().collect(), "seen, and not in the document");
}

/// One message of each type, out of a conversation that has them all.
pub(crate) async fn one_of_each(relay: &Relay) -> BTreeMap<String, Value> {
    let mut seen = Vec::new();
    let mut client = Client::open(relay.address(), "/ws?after=0&supports=agent_state").await;
    // With an id: `agent_state` counts those without one while they wait.
    let content = json!({ "permission": "Bash" }).to_string();
    let message = json!({ "role": "user", "content": content });
    let data = json!({ "type": "user", "uuid": "u-1", "message": message });
    client.send(&json!({ "type": "user_message", "data": data })).await;
    seen.extend(client.until(|seen| seen["type"] == "permission_request").await);
    client.interrupt().await;
    seen.extend(client.until(|seen| seen["type"] == "permission_cancelled").await);
    seen.extend(client.turn().await.0);
    client.send(&json!({ "type": "capabilities" })).await;
    seen.extend(client.until(|seen| seen["type"] == "capabilities").await);
    let set_model = json!({ "subtype": "set_model", "model": "opus" });
    client
        .send(&json!({ "type": "control_request", "requestId": "1", "request": set_model }))
        .await;
    seen.extend(client.until(|seen| seen["type"] == "control_response").await);
    // Without one: `exit` names those that are lost.
    client.say(json!({ "stderr": "a warning", "exit": 3 }).to_string()).await;
    let mut end = client.until(|seen| seen["type"] == "exit").await;
    end.retain(|seen| seen["type"] != "agent_state");
    seen.extend(end);
    client.close().await;
    let mut client = Client::open(relay.address(), "/ws?after=3&stream=another").await;
    seen.extend(client.until(|seen| seen["type"] == "gap").await);
    client.close().await;
    let mut client = Client::open(relay.address(), "/ws?configure=true&after=0").await;
    client.send(&json!({ "type": "configure", "config": { "model": "opus" } })).await;
    seen.extend(client.until(|seen| seen["type"] == "configured").await);
    seen.into_iter()
        .map(|message| (message["type"].as_str().expect("a type").to_owned(), message))
        .collect()
}

#[test]
fn every_close_code_of_the_server_is_in_the_document() {
    let source = include_str!("../../../listen/src/ws/channels.rs");
    let codes: Vec<&str> = source
        .split("Self::new(")
        .skip(1)
        .filter_map(|rest| rest.split_once(',').map(|(code, _)| code))
        .filter(|code| code.parse::<u16>().is_ok())
        .collect();
    assert!(codes.len() >= 7, "{codes:?}");
    for code in codes {
        assert!(DOCUMENT.contains(&format!("\n| {code} | ")), "{code} is not in the table");
    }
}
