//! Lines of an agent's protocol, as far as a player knows them: Claude Code's, and
//! the JSON-RPC of Codex's app-server.

use std::collections::VecDeque;

use bytes::Bytes;
use claude_relay_protocol::json::fields;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The method of Codex by which a message begins a turn.
const TURN_START: &str = "turn/start";

/// The rest of a successful answer of Claude Code without content.
const SUCCESS: &[u8] = br#"{"subtype":"success","response":{}}"#;

/// The protocol of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Claude Code's.
    Claude,
    /// That of Codex.
    Codex,
}

/// A line, by what a player does with it. Ids of Codex's requests are their JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputLine {
    User { uuid: Option<String>, request: Option<String> },
    Request { id: String, subtype: String },
    Answer { id: String, response: Bytes },
    Other,
}

impl InputLine {
    pub(super) fn parse(protocol: Protocol, line: &[u8]) -> Self {
        let text = std::str::from_utf8(line).ok();
        let parsed = text.and_then(|text| match protocol {
            Protocol::Claude => Self::parse_claude(text),
            Protocol::Codex => Self::parse_codex(text),
        });
        parsed.unwrap_or(Self::Other)
    }

    fn parse_claude(line: &str) -> Option<Self> {
        let [kind, uuid, id, request, response] =
            fields(line, ["type", "uuid", "request_id", "request", "response"]).ok()?;
        match string(kind?)?.as_str() {
            "user" => Some(Self::User { uuid: uuid.and_then(string), request: None }),
            "control_request" => {
                let [subtype] = fields(request?.get(), ["subtype"]).ok()?;
                Some(Self::Request { id: string(id?)?, subtype: string(subtype?)? })
            }
            "control_response" => {
                let response = response?.get();
                let [id] = fields(response, ["request_id"]).ok()?;
                let response = response.to_owned().into();
                Some(Self::Answer { id: string(id?)?, response })
            }
            _ => None,
        }
    }

    fn parse_codex(line: &str) -> Option<Self> {
        let [id, method, params] = fields(line, ["id", "method", "params"]).ok()?;
        let id = id?.get().to_owned();
        let Some(method) = method else {
            return Some(Self::Answer { id, response: line.to_owned().into() });
        };
        let subtype = string(method)?;
        if subtype != TURN_START {
            return Some(Self::Request { id, subtype });
        }
        let uuid = params.and_then(|params| {
            let [uuid] = fields(params.get(), ["clientUserMessageId"]).ok()?;
            string(uuid?)
        });
        Some(Self::User { uuid, request: Some(id) })
    }
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn is(line: &[u8], names: [&str; 2], values: [Option<&str>; 2]) -> bool {
    let found = std::str::from_utf8(line).ok().and_then(|line| fields(line, names).ok());
    found.is_some_and(|found| {
        found
            .iter()
            .zip(values)
            .all(|(found, value)| value.is_none() || found.and_then(string).as_deref() == value)
    })
}

/// Returns true for a request that interrupts the turn.
pub(super) fn is_interrupt(subtype: &str) -> bool {
    ["interrupt", "turn/interrupt"].contains(&subtype)
}

/// Returns true for the first line of a turn that takes what has waited. Codex
/// has no such turn.
pub(super) fn begins_turn(protocol: Protocol, line: &[u8]) -> bool {
    protocol == Protocol::Claude && is(line, ["type", "subtype"], [Some("system"), Some("init")])
}

/// Returns true for the last message of a turn.
pub(super) fn ends_turn(protocol: Protocol, line: &[u8]) -> bool {
    match protocol {
        Protocol::Claude => is(line, ["type", "subtype"], [Some("result"), None]),
        Protocol::Codex => is(line, ["method", "id"], [Some("turn/completed"), None]),
    }
}

/// Returns the id of the thread that a line of Codex concerns.
pub(super) fn thread(line: &[u8]) -> Option<String> {
    let [params] = fields(std::str::from_utf8(line).ok()?, ["params"]).ok()?;
    let [thread] = fields(params?.get(), ["threadId"]).ok()?;
    string(thread?)
}

/// Returns `line` with other ids in the place of the recorded ones.
pub(super) fn rename(line: Bytes, renamed: &VecDeque<(String, String)>) -> Bytes {
    let Ok(text) = std::str::from_utf8(&line) else { return line };
    let quoted = |id: &str| json!(id).to_string();
    let mut changed: Option<String> = None;
    for (recorded, other) in renamed {
        let now = changed.as_deref().unwrap_or(text);
        let recorded = quoted(recorded);
        if now.contains(&recorded) {
            changed = Some(now.replace(&recorded, &quoted(other)));
        }
    }
    changed.map_or(line, Bytes::from)
}

/// Returns the answer to the request `id`, with the rest of a recorded one.
pub(super) fn answer(protocol: Protocol, id: &str, response: &[u8]) -> Bytes {
    let response: Value = serde_json::from_slice(response).unwrap_or_default();
    let mut response = response.as_object().cloned().unwrap_or_default();
    match protocol {
        Protocol::Claude => {
            response.insert("request_id".to_owned(), id.into());
            json!({ "type": "control_response", "response": response }).to_string().into()
        }
        Protocol::Codex => {
            response.insert("id".to_owned(), serde_json::from_str(id).unwrap_or_default());
            Value::from(response).to_string().into()
        }
    }
}

/// Returns the rest of an answer to a request of this kind that the recording
/// does not answer.
pub(super) fn unknown_answer(protocol: Protocol) -> Bytes {
    match protocol {
        Protocol::Claude => Bytes::from_static(SUCCESS),
        Protocol::Codex => Bytes::from_static(br#"{"result":{}}"#),
    }
}

/// Returns the answer to a request of Codex that is refused.
pub(super) fn refused_request(reason: &str, id: &str) -> Bytes {
    let error = json!({ "error": { "code": -32000, "message": reason } }).to_string();
    answer(Protocol::Codex, id, error.as_bytes())
}

/// Returns the end of a turn that is not played.
pub(super) fn refused(reason: &str, uuid: Option<&str>) -> Bytes {
    let mut line = json!({
        "type": "result",
        "subtype": "error_during_execution",
        "is_error": true,
        "duration_ms": 0,
        "duration_api_ms": 0,
        "num_turns": 0,
        "total_cost_usd": 0,
        "usage": {},
        "permission_denials": [],
        "errors": [reason],
        "session_id": "",
        "uuid": claude_relay_random::uuid(),
    });
    if let Some(uuid) = uuid {
        line["user_message_uuids"] = json!([uuid]);
    }
    line.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let parse = |line: &str| InputLine::parse(Protocol::Claude, line.as_bytes());
        assert_eq!(
            parse(r#"{"uuid":"u","type":"user"}"#),
            InputLine::User { uuid: Some("u".into()), request: None }
        );
        assert_eq!(
            parse(r#"{"type":"control_request","request_id":"r","request":{"subtype":"s"}}"#),
            InputLine::Request { id: "r".into(), subtype: "s".into() }
        );
        let response = r#"{"subtype":"success","request_id":"r","response":{"a":1.0}}"#;
        assert_eq!(
            parse(&format!(r#"{{"type":"control_response","response":{response}}}"#)),
            InputLine::Answer { id: "r".into(), response: response.into() }
        );
        for other in ["", "[]", "{}", r#"{"type":7}"#, r#"{"type":"control_request"}"#, "\u{0}"] {
            assert_eq!(parse(other), InputLine::Other, "{other}");
        }
        assert_eq!(
            answer(Protocol::Claude, "x\"", response.as_bytes()),
            r#"{"type":"control_response","response":{"subtype":"success","request_id":"x\"","response":{"a":1.0}}}"#
        );
    }

    #[test]
    fn lines_of_codex_are_told_apart() {
        let parse = |line: &str| InputLine::parse(Protocol::Codex, line.as_bytes());
        assert_eq!(
            parse(r#"{"id":7,"method":"turn/start","params":{"clientUserMessageId":"u"}}"#),
            InputLine::User { uuid: Some("u".into()), request: Some("7".into()) }
        );
        assert_eq!(
            parse(r#"{"id":"a","method":"thread/start","params":{}}"#),
            InputLine::Request { id: r#""a""#.into(), subtype: "thread/start".into() }
        );
        let response = r#"{"id":7,"result":{"a":1.0}}"#;
        assert_eq!(
            parse(response),
            InputLine::Answer { id: "7".into(), response: response.into() }
        );
        for other in ["", "[]", "{}", r#"{"method":"initialized"}"#, r#"{"id":7,"method":7}"#] {
            assert_eq!(parse(other), InputLine::Other, "{other}");
        }
        let answered = answer(Protocol::Codex, r#""b""#, response.as_bytes());
        assert_eq!(answered, r#"{"id":"b","result":{"a":1.0}}"#);
        let line = br#"{"method":"turn/completed","params":{"threadId":"t"}}"#;
        assert!(ends_turn(Protocol::Codex, line) && !ends_turn(Protocol::Claude, line));
        assert_eq!(thread(line).as_deref(), Some("t"));
    }

    #[test]
    fn ids_of_messages_take_each_others_places() {
        let renamed = VecDeque::from([("old".to_owned(), "n\"w".to_owned())]);
        let line = rename(Bytes::from_static(br#"{"a":["old","older"]}"#), &renamed);
        assert_eq!(line, r#"{"a":["n\"w","older"]}"#);
    }
}
