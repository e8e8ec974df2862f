//! The dialect of Claude Code: routing of its lines, and the lines for it.

use std::borrow::Cow;

use bytes::Bytes;
use claude_relay_protocol::json::{entries, fields, string};
use claude_relay_protocol::turns::Signal;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::agent::protocol::{
    AgentRequest, Permission, PermissionAnswer, PermissionOutcome, PermissionReply, Route,
    TurnEvent,
};
use crate::json::scan;

/// Id of the relay's first request.
const INITIALIZE: &str = "relay-initialize";

/// Id of the relay's interrupts.
const INTERRUPT: &str = "relay-interrupt";

/// Maximum size of each list of commands and models. The CLI sends about 10 kB.
const MAX_OFFERS_BYTES: usize = 1 << 20;

/// Builds the response to a permission request.
#[derive(Debug)]
struct Reply {
    id: String,
    tool_use_id: Option<String>,
}

/// Routes one line.
#[must_use]
pub fn classify(line: &[u8]) -> Route<'_> {
    let Some([kind]) = scan::fields(line, &["type"]) else {
        return Route::NotJson;
    };
    // A string without escapes is its own content.
    let kind = kind.and_then(|kind| match kind.strip_prefix(b"\"")?.strip_suffix(b"\"")? {
        plain if !plain.contains(&b'\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_slice(kind).ok().map(|kind: String| Cow::Owned(kind.into_bytes())),
    });
    match kind.as_deref() {
        Some(b"system") => system(text(line)),
        Some(b"result") => Route::Forward(signal("result", text(line))),
        Some(b"command_lifecycle") => Route::Forward(signal("command_lifecycle", text(line))),
        Some(b"control_response") => answer(text(line)),
        Some(b"control_request") => question(text(line)),
        Some(b"control_cancel_request") => match fields(text(line), ["request_id"]) {
            Ok([Some(id)]) => match string(id) {
                Some(id) => Route::Withdrawn { id },
                None => Route::Hidden(TurnEvent::None),
            },
            _ => Route::Hidden(TurnEvent::None),
        },
        Some(b"transcript_mirror") => mirror(text(line)),
        Some(b"keep_alive") => Route::Hidden(TurnEvent::None),
        _ => Route::Forward(TurnEvent::None),
    }
}

/// Returns a line that the scan has proven to be UTF-8.
fn text(line: &[u8]) -> &str {
    simdutf8::basic::from_utf8(line).unwrap_or_default()
}

fn signal<'a>(kind: &str, text: &'a str) -> TurnEvent<'a> {
    Signal::parse(kind, text).map_or(TurnEvent::None, TurnEvent::Signal)
}

fn mirror(text: &str) -> Route<'_> {
    match fields(text, ["filePath", "entries"]) {
        Ok([Some(file), Some(entries)]) => match string(file) {
            Some(file) => Route::Mirror { file, entries: Cow::Borrowed(entries) },
            None => Route::Hidden(TurnEvent::None),
        },
        _ => Route::Hidden(TurnEvent::None),
    }
}

fn system(text: &str) -> Route<'_> {
    let mark = signal("system", text);
    let host_only = fields(text, ["subtype", "sdk_host_only"]).is_ok_and(|[subtype, flag]| {
        flag.map(RawValue::get) == Some("true")
            && subtype.and_then(string).as_deref() == Some("session_state_changed")
    });
    if host_only { Route::Hidden(mark) } else { Route::Forward(mark) }
}

fn answer(text: &str) -> Route<'_> {
    let inner = fields(text, ["response"]).ok().and_then(|[response]| {
        let response = response?;
        let [id] = fields(response.get(), ["request_id"]).ok()?;
        Some((string(id?)?, response))
    });
    match inner {
        Some((id, response)) if id == INITIALIZE => Route::Ready { offers: offers(response) },
        Some((id, response)) => Route::Answer { id, response: Cow::Borrowed(response) },
        None => Route::Hidden(TurnEvent::None),
    }
}

/// Returns the commands and models of the response to the first request.
fn offers(answer: &RawValue) -> Value {
    let inner = fields(answer.get(), ["response"]).ok().and_then(|[body]| body);
    let lists = inner.and_then(|body| fields(body.get(), ["commands", "models"]).ok());
    let [commands, models] = lists.unwrap_or_default().map(|raw| {
        let text = raw.map(RawValue::get).filter(|text| text.len() <= MAX_OFFERS_BYTES)?;
        serde_json::from_str::<Value>(text).ok().filter(Value::is_array)
    });
    json!({ "commands": commands, "models": models })
}

fn question(text: &str) -> Route<'_> {
    let Ok([id, request]) = fields(text, ["request_id", "request"]) else {
        return Route::Hidden(TurnEvent::None);
    };
    // Without an id, no response is possible.
    let Some(id) = id.and_then(string) else {
        return Route::Hidden(TurnEvent::None);
    };
    let asked = request
        .and_then(|request| fields(request.get(), ["subtype", "tool_name", "input"]).ok())
        .unwrap_or_default();
    let subtype = asked[0].and_then(string).unwrap_or_default();
    let Some(request) = request else {
        return Route::Refuse(unsupported(&id, &subtype));
    };
    if subtype == "can_use_tool"
        && let (Some(tool), Some(input)) = (asked[1].and_then(string), asked[2])
    {
        let tool_use_id = fields(request.get(), ["tool_use_id"])
            .ok()
            .and_then(|[id]| string(id?))
            .map(Cow::into_owned);
        let Some(context) = context(request) else {
            return Route::Refuse(refusal(&id, "the request has too many fields"));
        };
        let reply = Reply { id: id.clone().into_owned(), tool_use_id };
        return Route::Permission(Permission {
            id,
            tool,
            input: Cow::Borrowed(input),
            context,
            reply: Box::new(reply),
        });
    }
    let unsupported = unsupported(&id, &subtype);
    let request = Cow::Borrowed(request);
    Route::Request(AgentRequest { id, subtype, request, unsupported, response: answered })
}

fn unsupported(id: &str, subtype: &str) -> Bytes {
    refusal(id, &format!("Unsupported control request subtype: {subtype}"))
}

/// Returns the fields of a request that the frame has no fields for, or `None`
/// if there are too many.
fn context(request: &RawValue) -> Option<Box<RawValue>> {
    let fields = entries(request.get()).ok()?;
    let mut text = String::from("{");
    for (name, value) in fields {
        if ["subtype", "tool_name", "input"].contains(&name.as_ref()) {
            continue;
        }
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&format!("{}:{}", json!(name), value.get()));
    }
    text.push('}');
    RawValue::from_string(text).ok()
}

/// Builds the first line for the agent. `request` is the object of the
/// `initialize` request, as JSON on one line.
#[must_use]
pub fn initialize(request: &str) -> Bytes {
    control_request(INITIALIZE, request)
}

/// Builds a control request. `request` is its object, as JSON on one line.
#[must_use]
pub fn control_request(id: &str, request: &str) -> Bytes {
    let id = json!(id);
    format!("{{\"request_id\":{id},\"type\":\"control_request\",\"request\":{request}}}\n").into()
}

/// Builds an interrupt of the running turn.
#[must_use]
pub fn interrupt() -> Bytes {
    control_request(INTERRUPT, r#"{"subtype":"interrupt"}"#)
}

/// Stops the running turn, and what waits behind it does not begin.
#[must_use]
pub fn interrupt_for_good() -> Bytes {
    control_request(INTERRUPT, r#"{"subtype":"interrupt","cancel_queued":true}"#)
}

impl PermissionReply for Reply {
    fn answer(&self, answer: &PermissionAnswer, asked: &str) -> PermissionOutcome {
        let mut response = String::from("{");
        match answer {
            PermissionAnswer::Allow { input, permissions } => {
                // 2.1.197 refuses an approval without the input.
                let input = input.as_deref().unwrap_or(asked);
                response.push_str(&format!("\"behavior\":\"allow\",\"updatedInput\":{input}"));
                if let Some(permissions) = permissions {
                    response.push_str(&format!(",\"updatedPermissions\":{permissions}"));
                }
            }
            PermissionAnswer::Deny { message, interrupt } => {
                let message = json!(message.as_deref().unwrap_or("The user denied this."));
                response.push_str(&format!("\"behavior\":\"deny\",\"message\":{message}"));
                if *interrupt {
                    response.push_str(",\"interrupt\":true");
                }
            }
        }
        if let Some(id) = &self.tool_use_id {
            response.push_str(&format!(",\"toolUseID\":{}", json!(id)));
        }
        response.push('}');
        PermissionOutcome { line: self::response(&self.id, &response), notice: None }
    }

    fn refuse(&self, reason: &str) -> Bytes {
        refusal(&self.id, reason)
    }
}

/// Builds a response to a request of the agent; `response` is JSON on one line.
#[must_use]
pub(super) fn response(id: &str, response: &str) -> Bytes {
    let id = json!(id);
    format!(
        "{{\"type\":\"control_response\",\"response\":{{\"subtype\":\"success\",\"request_id\":{id},\"response\":{response}}}}}\n"
    )
    .into()
}

/// Builds the response to a request that a client has answered.
fn answered(id: &str, outcome: Result<&str, &str>) -> Bytes {
    let error = match outcome {
        Ok(body) => return response(id, body),
        Err(error) => error,
    };
    let response = json!({ "subtype": "error", "request_id": id, "error": error });
    format!("{{\"type\":\"control_response\",\"response\":{response}}}\n").into()
}

/// Builds a response that refuses a request.
#[must_use]
pub(super) fn refusal(id: &str, reason: &str) -> Bytes {
    let (id, reason) = (json!(id), json!(reason));
    format!(
        "{{\"type\":\"control_response\",\"response\":{{\"subtype\":\"error\",\"request_id\":{id},\"error\":{reason},\"error_code\":\"unsupported_request\"}}}}\n"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(line: &str) -> String {
        match classify(line.as_bytes()) {
            Route::Forward(TurnEvent::Signal(Signal::Init(init))) => {
                format!("forward, start {:?}", init.session_id)
            }
            Route::Forward(TurnEvent::Signal(Signal::Result { .. })) => "forward, end".into(),
            Route::Forward(_) => "forward".into(),
            Route::Hidden(_) => "hidden".into(),
            Route::Ready { .. } => "ready".into(),
            Route::Answer { id, response } => format!("answer {id} {response}"),
            Route::Permission(ask) => format!("ask {} {} {}", ask.id, ask.tool, ask.input),
            Route::Request(asked) => {
                format!("{} {}", asked.subtype, String::from_utf8_lossy(&asked.unsupported))
            }
            Route::Withdrawn { id } => format!("withdrawn {id}"),
            Route::Mirror { file, entries } => format!("mirror {file} {entries}"),
            Route::Refuse(line) => format!("refuse {}", String::from_utf8_lossy(&line)),
            Route::NotJson => "not json".into(),
        }
    }

    #[test]
    fn only_lines_for_the_host_are_hidden() {
        for (line, expected) in [
            (r#"{"type":"assistant","message":{}}"#, "forward"),
            (r#"{"a":1}"#, "forward"),
            ("{}", "forward"),
            (r#"{"type":7}"#, "forward"),
            (r#"{"type":"brand_new"}"#, "forward"),
            (r#" {"type":"x"} "#, "forward"),
            (r#"{"type":"keep_alive"}"#, "hidden"),
            (r#"{"type":"transcript_mirror"}"#, "hidden"),
            (
                r#"{"type":"transcript_mirror","filePath":"/x","entries":[{"a":1}]}"#,
                "mirror /x [{\"a\":1}]",
            ),
            (r#"{"x":[{"type":"user"}],"type":"keep_alive"}"#, "hidden"),
            (r#"{"type":"keep_alive","type":"assistant"}"#, "forward"),
            (r#"{"type":"assistant","type":"keep_alive"}"#, "hidden"),
            (r#"{"\u0074ype":"keep_alive"}"#, "hidden"),
            (
                r#"{"type":"system","subtype":"session_state_changed","sdk_host_only":true}"#,
                "hidden",
            ),
            (
                r#"{"type":"system","subtype":"session_state_changed","sdk_host_only":false}"#,
                "forward",
            ),
            (r#"{"type":"system","subtype":"session_state_changed"}"#, "forward"),
            (r#"{"type":"system","subtype":"status","sdk_host_only":true}"#, "forward"),
            (r#"{"sdk_host_only":true,"type":"assistant"}"#, "forward"),
        ] {
            assert_eq!(route(line), expected, "{line}");
        }
    }

    #[test]
    fn the_answer_to_the_first_request_is_for_the_relay() {
        let line = r#"{"type":"control_response","response":{"request_id":"relay-initialize"}}"#;
        assert_eq!(route(line), "ready");
    }

    #[test]
    fn commands_and_models_are_bounded() {
        let offers = |response: &str| {
            let line = format!(
                r#"{{"type":"control_response","response":{{"request_id":"relay-initialize","response":{response}}}}}"#
            );
            match classify(line.as_bytes()) {
                Route::Ready { offers } => offers,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            offers(r#"{"commands":[{"name":"a"}],"models":[],"pid":1}"#),
            json!({ "commands": [{ "name": "a" }], "models": [] })
        );
        let long = format!(r#"{{"models":["{}"],"commands":7}}"#, "x".repeat(MAX_OFFERS_BYTES));
        for nothing in ["null", "{}", &long] {
            assert_eq!(offers(nothing), json!({ "commands": null, "models": null }));
        }
    }

    #[test]
    fn turns_are_recognized() {
        assert_eq!(
            route(r#"{"type":"system","subtype":"init","session_id":"s"}"#),
            r#"forward, start Some("s")"#
        );
        assert_eq!(
            route(r#"{"duration_ms":1,"type":"result","subtype":"success"}"#),
            "forward, end"
        );
    }

    #[test]
    fn a_line_that_is_not_a_json_object_is_recognized() {
        for line in ["x", "[]", "5", "null", "\"a\"", "{", "{}x", "{\"a\":01}", "\u{feff}{}"] {
            assert_eq!(route(line), "not json", "{line}");
        }
        assert!(matches!(classify(b"{\"a\":\"\xff\"}"), Route::NotJson));
    }

    #[test]
    fn control_lines_are_routed() {
        assert_eq!(
            route(
                r#"{"type":"control_response","response":{"subtype":"success","request_id":"r"}}"#
            ),
            r#"answer r {"subtype":"success","request_id":"r"}"#
        );
        assert_eq!(route(r#"{"type":"control_response"}"#), "hidden");
        assert_eq!(route(r#"{"type":"control_cancel_request","request_id":"r"}"#), "withdrawn r");
        assert_eq!(
            route(
                r#"{"type":"control_request","request_id":"r","request":{"subtype":"can_use_tool","tool_name":"Bash","input":{"a":1}}}"#
            ),
            r#"ask r Bash {"a":1}"#
        );
        assert_eq!(
            route(r#"{"type":"control_request","request_id":"r\"","request":{"subtype":"new"}}"#),
            "new {\"type\":\"control_response\",\"response\":{\"subtype\":\"error\",\"request_id\":\"r\\\"\",\"error\":\"Unsupported control request subtype: new\",\"error_code\":\"unsupported_request\"}}\n"
        );
        assert!(route(r#"{"type":"control_request","request_id":"r"}"#).starts_with("refuse"));
    }
}
