//! `docs/schema/` against the code: the types it is generated from, the parser,
//! a real server, and the examples of `docs/protocol.md`.

use std::path::Path;

use claude_relay_protocol::config::fields::{FIELDS, Kind};
use claude_relay_protocol::run::{self, RunRequest};
use claude_relay_protocol::schema;
use claude_relay_protocol::{ClientMessage, QueryConfig, ServerMessage};
use claude_relay_testing::test_env::TestEnv;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::protocol_document::{demo, messages, one_of_each};

fn schema_of(name: &str) -> Value {
    let schema = schema::all().into_iter().find(|(file, _)| *file == name).expect("a schema").1;
    schema.to_value()
}

fn validator(name: &str) -> Validator {
    jsonschema::validator_for(&schema_of(name)).expect("a schema")
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("an example is JSON")
}

#[test]
fn the_schemas_in_the_documents_are_those_of_the_types() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
    let mut files: Vec<_> = std::fs::read_dir(&directory)
        .expect("docs/schema")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    for (name, generated) in schema::all() {
        let kept = std::fs::read_to_string(directory.join(name)).unwrap_or_default();
        assert!(
            kept == schema::text(&generated).expect("JSON"),
            "docs/schema/{name} is old: cargo run -p claude-relay-protocol --features schema --example schemas"
        );
        files.retain(|file| file != name);
    }
    // The hub generates its own.
    files.retain(|file| file != "hub-openapi.json");
    assert!(files.is_empty(), "no type generates {files:?}");
}

#[test]
fn every_message_of_the_document_is_valid() {
    let client = validator("client-message.json");
    let server = validator("server-message.json");
    for text in messages("json client") {
        assert!(client.is_valid(&parsed(&text)), "{text}");
    }
    for text in messages("json server") {
        assert!(server.is_valid(&parsed(&text)), "{text}");
    }
    // Others are lines of a body of HTTP.
    let others = messages("json");
    let frames = others.iter().filter_map(|text| serde_json::from_str::<Value>(text).ok());
    let frames: Vec<_> = frames.filter(|message| message["type"].is_string()).collect();
    assert!(frames.len() >= 8, "{frames:?}");
    for message in frames {
        assert!(client.is_valid(&message) || server.is_valid(&message), "{message}");
    }
}

/// Values of each kind that JSON has.
fn values() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(7),
        json!(""),
        json!("x"),
        json!([]),
        json!(["x"]),
        json!([1]),
        json!({}),
        json!({ "x": 1 }),
        json!({ "x": "y" }),
    ]
}

/// The message without one property, or with another value for it, `depth`
/// levels deep.
fn changed(message: &Value, depth: usize) -> Vec<Value> {
    let Value::Object(fields) = message else { return Vec::new() };
    let mut all = Vec::new();
    for (name, inner) in fields {
        let mut with = |value: Option<Value>| {
            let mut fields = fields.clone();
            match value {
                Some(value) => drop(fields.insert(name.clone(), value)),
                None => drop(fields.remove(name)),
            }
            all.push(Value::Object(fields));
        };
        with(None);
        values().into_iter().for_each(|value| with(Some(value)));
        if depth > 1 {
            changed(inner, depth - 1).into_iter().for_each(|value| with(Some(value)));
        }
    }
    all
}

#[test]
fn the_schema_of_client_messages_accepts_what_the_server_accepts() {
    let client = validator("client-message.json");
    let mut examples = messages("json client");
    let of_clients = |text: &String| {
        ServerMessage::parse(text).is_ok_and(|message| {
            matches!(message, ServerMessage::Unknown { .. }) && ClientMessage::parse(text).is_ok()
        })
    };
    examples.extend(messages("json").into_iter().filter(of_clients));
    let (mut accepted, mut refused) = (0, 0);
    for example in &examples {
        for message in changed(&parsed(example), 3) {
            let text = message.to_string();
            let taken = ClientMessage::parse(&text);
            assert_eq!(client.is_valid(&message), taken.is_ok(), "{text}: {taken:?}");
            *(if taken.is_ok() { &mut accepted } else { &mut refused }) += 1;
        }
    }
    assert!(accepted > 100 && refused > 100, "{accepted} accepted, {refused} refused");
}

#[test]
fn the_schema_of_run_messages_accepts_what_the_server_accepts() {
    let client = validator("run-client-message.json");
    let server = validator("run-server-message.json");
    for example in [
        json!({ "type": "start", "args": ["--verbose"], "env": { "A": "b" }, "cwd": "/x" }),
        json!({ "type": "stdin", "seq": 1, "data": { "type": "user" } }),
        json!({ "type": "stdin_end", "seq": 2 }),
        json!({ "type": "signal", "seq": 3, "signal": "SIGINT" }),
        json!({ "type": "ack", "seq": 4 }),
    ] {
        for message in std::iter::once(example.clone()).chain(changed(&example, 2)) {
            let text = message.to_string();
            let taken = RunRequest::parse(&text);
            assert!(client.is_valid(&message) || taken.is_err(), "{text} is accepted");
        }
        assert!(client.is_valid(&example) && RunRequest::parse(&example.to_string()).is_ok());
    }
    for text in [
        run::connected("s", 1, 0, false),
        run::connected("s", 1, 0, true),
        format!("{}{{}}}}", run::line_prefix(1)),
        run::info(2, "x"),
        run::exit(3, None, Some("SIGTERM")),
        run::ack(4),
    ] {
        assert!(server.is_valid(&parsed(&text)), "{text}");
    }
}

#[tokio::test]
async fn every_message_of_a_server_is_valid_and_has_no_field_without_a_schema() {
    let env = TestEnv::new();
    let relay = demo(&env);
    let schema = schema_of("server-message.json");
    let server = validator("server-message.json");
    let variants = schema["oneOf"].as_array().expect("a schema for each type");
    for (kind, message) in one_of_each(&relay).await {
        assert!(server.is_valid(&message), "{message}");
        let variant = variants
            .iter()
            .find(|variant| variant["properties"]["type"]["const"] == *kind)
            .unwrap_or_else(|| panic!("no schema for {kind}"));
        // Its fields are those of `/health`, which the document has.
        if kind == "capabilities" {
            continue;
        }
        for field in message.as_object().expect("an object").keys() {
            assert!(variant["properties"].get(field).is_some(), "{kind}.{field}");
        }
    }
}

#[test]
fn the_schema_of_a_configuration_refuses_nothing_that_the_server_accepts() {
    let config = validator("config.json");
    let properties = &schema_of("config.json")["properties"];
    for field in FIELDS {
        assert_ne!(properties[field.name]["anyOf"][0], json!({}), "{}: no form", field.name);
        let mut values = values();
        values.push(parsed(field.example));
        values.extend(changed(&parsed(field.example), 3));
        for value in values {
            let body = json!({ field.name: value });
            let parsed = QueryConfig::parse(body.to_string().as_bytes(), &QueryConfig::default());
            let exact = matches!(
                field.kind,
                Kind::Boolean | Kind::Whole(_) | Kind::Positive | Kind::OneOf(_)
            );
            let valid = config.is_valid(&body);
            assert!(valid || parsed.is_err(), "{body} is accepted");
            assert!(!exact || valid == parsed.is_ok(), "{body}: {parsed:?}");
        }
        assert!(config.is_valid(&json!({ field.name: parsed(field.example) })), "{}", field.name);
    }
}
