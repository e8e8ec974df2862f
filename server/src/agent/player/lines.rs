//! Lines of the CLI's protocol, as far as a player knows them.

use std::collections::VecDeque;

use bytes::Bytes;
use claude_relay_protocol::json::fields;
use serde_json::json;
use serde_json::value::RawValue;

/// The rest of a successful answer without content.
pub(super) const SUCCESS: &[u8] = br#"{"subtype":"success","response":{}}"#;

/// A line, by what a player does with it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum InputLine {
    User { uuid: Option<String> },
    Request { id: String, subtype: String },
    Answer { id: String, response: Bytes },
    Other,
}

impl InputLine {
    pub(super) fn parse(line: &[u8]) -> Self {
        let text = std::str::from_utf8(line).ok();
        text.and_then(Self::parse_text).unwrap_or(Self::Other)
    }

    fn parse_text(line: &str) -> Option<Self> {
        let [kind, uuid, id, request, response] =
            fields(line, ["type", "uuid", "request_id", "request", "response"]).ok()?;
        match string(kind?)?.as_str() {
            "user" => Some(Self::User { uuid: uuid.and_then(string) }),
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

/// Returns true for the first line of a turn.
pub(super) fn begins_turn(line: &[u8]) -> bool {
    is(line, ["type", "subtype"], [Some("system"), Some("init")])
}

/// Returns true for the last message of a turn.
pub(super) fn ends_turn(line: &[u8]) -> bool {
    is(line, ["type", "subtype"], [Some("result"), None])
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
pub(super) fn answer(id: &str, response: &[u8]) -> Bytes {
    let response: serde_json::Value = serde_json::from_slice(response).unwrap_or_default();
    let mut response = response.as_object().cloned().unwrap_or_default();
    response.insert("request_id".to_owned(), id.into());
    json!({ "type": "control_response", "response": response }).to_string().into()
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
        let parse = |line: &str| InputLine::parse(line.as_bytes());
        assert_eq!(
            parse(r#"{"uuid":"u","type":"user"}"#),
            InputLine::User { uuid: Some("u".into()) }
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
            answer("x\"", response.as_bytes()),
            r#"{"type":"control_response","response":{"subtype":"success","request_id":"x\"","response":{"a":1.0}}}"#
        );
    }

    #[test]
    fn ids_of_messages_take_each_others_places() {
        let renamed = VecDeque::from([("old".to_owned(), "n\"w".to_owned())]);
        let line = rename(Bytes::from_static(br#"{"a":["old","older"]}"#), &renamed);
        assert_eq!(line, r#"{"a":["n\"w","older"]}"#);
    }
}
