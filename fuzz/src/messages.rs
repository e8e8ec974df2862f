//! Messages of a client, lines of an agent.

use claude_relay_protocol::ClientMessage;
use claude_relay_server::agent::claude;
use claude_relay_server::agent::protocol::Route;
use serde_json::Value;
use serde_json::value::RawValue;

/// Depth to which `serde_json::Value` reads. Deeper messages are not compared.
const COMPARED_DEPTH: usize = 100;

/// A message of a client: what is passed on to an agent is what it takes.
pub fn client_message(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let parsed = ClientMessage::parse(text);
    let Some(value) = value(text) else {
        // There is JSON that a `Value` cannot hold: half a surrogate pair, a
        // number too large, nesting too deep. Other text is no message.
        let is_json = serde_json::from_str::<&RawValue>(text).is_ok();
        assert!(is_json || parsed.is_err(), "taken, and no JSON");
        return;
    };
    match parsed {
        Ok(ClientMessage::UserMessage { data, .. }) => {
            let inner: Value = serde_json::from_str(data.get()).expect("data is JSON");
            assert_eq!(value["type"], "user_message");
            assert_eq!(inner, value["data"]);
            assert_eq!(inner["type"], "user");
            assert_eq!(inner["message"]["role"], "user");
            match &inner["message"]["content"] {
                Value::String(_) => {}
                Value::Array(blocks) => {
                    assert!(blocks.iter().all(Value::is_object));
                    let texts = blocks.iter().filter(|block| block["type"] == "text");
                    assert!(texts.into_iter().all(|block| block["text"].is_string()));
                }
                other => panic!("content: {other}"),
            }
        }
        Ok(ClientMessage::Interrupt) => assert_eq!(value["type"], "interrupt"),
        Ok(ClientMessage::Capabilities) => assert_eq!(value["type"], "capabilities"),
        Ok(ClientMessage::PermissionResponse(response)) => {
            assert_eq!(value["type"], "permission_response");
            assert_eq!(value["requestId"], *response.request_id);
            assert_eq!(value["approved"], response.approved);
            if let Some(input) = response.updated_input {
                assert!(input.get().starts_with('{'));
            }
        }
        Ok(ClientMessage::ControlRequest { request_id, subtype, request }) => {
            assert_eq!(value["type"], "control_request");
            assert_eq!(value["requestId"], *request_id);
            assert_eq!(value["request"]["subtype"], *subtype);
            assert!(request.get().starts_with('{'));
        }
        Ok(ClientMessage::AgentResponse { request_id, outcome }) => {
            assert_eq!(value["type"], "agent_response");
            assert_eq!(value["requestId"], *request_id);
            match outcome {
                Ok(response) => assert!(response.get().starts_with('{')),
                Err(error) => assert_eq!(value["error"], *error),
            }
        }
        Ok(ClientMessage::Configure { config, merge }) => {
            assert_eq!(value["type"], "configure");
            assert_eq!(value["merge"] == true, merge);
            assert!(config.get().starts_with('{'));
        }
        Err(error) => assert!(error.to_string().len() < 2000, "a long error"),
    }
}

/// A line of an agent goes where the SDK would put it.
pub fn route(data: &[u8]) {
    // A line holds no newline; the splitter sees to that.
    let line = data.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let route = claude::classify(line);
    let Some(value) = std::str::from_utf8(line).ok().and_then(value) else {
        if std::str::from_utf8(line).is_err() {
            assert!(matches!(route, Route::NotJson), "{route:?}");
        }
        return;
    };
    if !value.is_object() {
        assert!(matches!(route, Route::NotJson), "{route:?}");
        return;
    }
    let forwarded = matches!(route, Route::Forward(_));
    let hidden = match value["type"].as_str() {
        Some(
            "control_response"
            | "control_request"
            | "control_cancel_request"
            | "keep_alive"
            | "transcript_mirror",
        ) => true,
        Some("system") => {
            value["subtype"] == "session_state_changed" && value["sdk_host_only"] == true
        }
        _ => false,
    };
    assert_eq!(forwarded, !hidden, "{route:?}");
    assert!(!matches!(route, Route::NotJson), "an object is no noise");
    if let Route::Permission(permission) = &route {
        let context: Value = serde_json::from_str(permission.context.get()).expect("JSON");
        assert!(context.is_object());
        assert_eq!(value["request"]["tool_name"], *permission.tool);
    }
}

fn value(text: &str) -> Option<Value> {
    if is_deep(text) {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn is_deep(text: &str) -> bool {
    text.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count() > COMPARED_DEPTH
}
