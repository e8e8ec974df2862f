//! Messages from the server to a client over the WebSocket.
//!
//! Both ends use this module: the server writes its own frames with
//! [`ServerMessage::to_json`], a client reads every frame with
//! [`ServerMessage::parse`]. The lines of the agent, which are most of the
//! traffic, do not pass through here on the server: see [`crate::envelope`].

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::json::{elements, fields, string};

/// The text of the error for a client whose slot another one has taken over. The
/// connection ends with it.
pub const TAKEN_OVER: &str = "Another client has taken over";

/// One frame of the server. A client can ignore unknown types and fields.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage<'a> {
    /// The first frame of every accepted connection.
    Connected {
        /// The id of this run of the server; only with sequenced delivery.
        #[serde(skip_serializing_if = "Option::is_none")]
        stream: Option<Cow<'a, str>>,
        /// The number of the next new frame; only with sequenced delivery.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    },
    /// One line of the agent.
    SdkMessage {
        /// Its number; only with sequenced delivery, here and below.
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// The line, with the bytes the agent wrote.
        data: Cow<'a, RawValue>,
    },
    /// An error; the text describes it.
    Error {
        /// See [`ServerMessage::SdkMessage`].
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// The failure, its object and the remedy.
        error: Cow<'a, str>,
    },
    /// A line of the agent's stderr, or of its stdout that is no JSON object.
    Info {
        /// See [`ServerMessage::SdkMessage`].
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// The text.
        data: Cow<'a, str>,
    },
    /// The agent's request for permission to use a tool.
    #[serde(rename_all = "camelCase")]
    PermissionRequest {
        /// See [`ServerMessage::SdkMessage`].
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// The id that the answer repeats.
        request_id: Cow<'a, str>,
        /// The tool's name.
        tool: Cow<'a, str>,
        /// The input of the tool.
        input: Cow<'a, RawValue>,
        /// The other fields of the agent's request, unchanged.
        context: Cow<'a, RawValue>,
    },
    /// The agent has withdrawn a permission request.
    #[serde(rename_all = "camelCase")]
    PermissionCancelled {
        /// See [`ServerMessage::SdkMessage`].
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// The id of the request.
        request_id: Cow<'a, str>,
    },
    /// The answer to a `control_request`.
    #[serde(rename_all = "camelCase")]
    ControlResponse {
        /// The client's own id.
        request_id: Cow<'a, str>,
        /// The agent's answer: `subtype` `success` or `error`.
        response: Cow<'a, RawValue>,
    },
    /// The agent process has exited by itself.
    Exit {
        /// See [`ServerMessage::SdkMessage`].
        #[serde(skip_serializing_if = "Option::is_none")]
        seq: Option<u64>,
        /// Its exit code, if it exited.
        code: Option<i32>,
        /// The name of the signal that ended it, such as `SIGKILL`.
        signal: Option<Cow<'a, str>>,
        /// The end of its stderr.
        stderr: Cow<'a, str>,
        /// The `uuid`s of messages that wait for its next run.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        waiting: Vec<Cow<'a, str>>,
        /// The `uuid`s of messages that it had and that have not been done.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        dropped: Vec<Cow<'a, str>>,
    },
    /// The frames from `from` to `to`, which are no longer kept.
    Gap {
        /// The first missing number.
        from: u64,
        /// The last missing number.
        to: u64,
    },
    /// Capabilities of server and agent; see the server's documentation.
    #[serde(skip_serializing)]
    Capabilities(Cow<'a, RawValue>),
    /// A frame of a later version, complete.
    #[serde(skip_serializing)]
    Unknown {
        /// Its `type`.
        kind: Cow<'a, str>,
        /// The complete frame.
        raw: Cow<'a, RawValue>,
    },
}

/// Reason for failing to parse a server's frame.
#[derive(Debug, thiserror::Error)]
pub enum ServerMessageError {
    /// The text is not a JSON object with a `type`: the peer is not a
    /// claude-relay server.
    #[error("not a frame of claude-relay: {0}")]
    NotAFrame(String),
    /// A known type with a missing or wrong field.
    #[error("malformed `{kind}` frame: {field} is missing or of the wrong type")]
    Malformed {
        /// The frame's type.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
}

impl<'a> ServerMessage<'a> {
    /// Returns an `error` frame without a number.
    pub fn error(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Error { seq: None, error: text.into() }
    }

    /// Returns an `info` frame without a number.
    pub fn info(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Info { seq: None, data: text.into() }
    }

    /// Returns the frame as JSON text, its `type` first.
    #[must_use]
    pub fn to_json(&self) -> String {
        match self {
            Self::Capabilities(raw) | Self::Unknown { raw, .. } => raw.get().to_owned(),
            // Strings, numbers and raw JSON cannot fail to serialize.
            other => serde_json::to_string(other).unwrap_or_default(),
        }
    }

    /// Returns its sequence number, if it has one.
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        match self {
            Self::SdkMessage { seq, .. }
            | Self::Error { seq, .. }
            | Self::Info { seq, .. }
            | Self::PermissionRequest { seq, .. }
            | Self::PermissionCancelled { seq, .. }
            | Self::Exit { seq, .. } => *seq,
            _ => None,
        }
    }

    /// Parses one frame. Unknown types are kept completely; unknown fields are
    /// ignored.
    ///
    /// # Errors
    ///
    /// See [`ServerMessageError`].
    pub fn parse(text: &'a str) -> Result<Self, ServerMessageError> {
        let not_a_frame =
            |error: serde_json::Error| ServerMessageError::NotAFrame(error.to_string());
        let [kind, seq] = fields(text, ["type", "seq"]).map_err(not_a_frame)?;
        let kind = kind
            .and_then(string)
            .ok_or_else(|| ServerMessageError::NotAFrame("it has no `type`".into()))?;
        let seq = seq.and_then(number);
        let raw =
            || serde_json::from_str::<&RawValue>(text).map(Cow::Borrowed).map_err(not_a_frame);
        Ok(match kind.as_ref() {
            "connected" => {
                let [stream, next] = fields(text, ["stream", "next"]).map_err(not_a_frame)?;
                Self::Connected { stream: stream.and_then(string), next: next.and_then(number) }
            }
            "sdk_message" => {
                let [data] = fields(text, ["data"]).map_err(not_a_frame)?;
                Self::SdkMessage { seq, data: raw_field(data, "sdk_message", "data")? }
            }
            "error" => {
                let [error] = fields(text, ["error"]).map_err(not_a_frame)?;
                Self::Error { seq, error: text_field(error, "error", "error")? }
            }
            "info" => {
                let [data] = fields(text, ["data"]).map_err(not_a_frame)?;
                Self::Info { seq, data: text_field(data, "info", "data")? }
            }
            "permission_request" => {
                const KIND: &str = "permission_request";
                let [id, tool, input, context] =
                    fields(text, ["requestId", "tool", "input", "context"]).map_err(not_a_frame)?;
                Self::PermissionRequest {
                    seq,
                    request_id: text_field(id, KIND, "requestId")?,
                    tool: text_field(tool, KIND, "tool")?,
                    input: raw_field(input, KIND, "input")?,
                    context: raw_field(context, KIND, "context")?,
                }
            }
            "permission_cancelled" => {
                let [id] = fields(text, ["requestId"]).map_err(not_a_frame)?;
                let request_id = text_field(id, "permission_cancelled", "requestId")?;
                Self::PermissionCancelled { seq, request_id }
            }
            "control_response" => {
                const KIND: &str = "control_response";
                let [id, response] =
                    fields(text, ["requestId", "response"]).map_err(not_a_frame)?;
                Self::ControlResponse {
                    request_id: text_field(id, KIND, "requestId")?,
                    response: raw_field(response, KIND, "response")?,
                }
            }
            "exit" => {
                let [code, signal, stderr, waiting, dropped] =
                    fields(text, ["code", "signal", "stderr", "waiting", "dropped"])
                        .map_err(not_a_frame)?;
                Self::Exit {
                    seq,
                    code: code.and_then(|code| serde_json::from_str(code.get()).ok()),
                    signal: signal.and_then(string),
                    stderr: stderr.and_then(string).unwrap_or_default(),
                    waiting: names(waiting),
                    dropped: names(dropped),
                }
            }
            "gap" => {
                let [from, to] = fields(text, ["from", "to"]).map_err(not_a_frame)?;
                let need = |value: Option<&RawValue>, field| {
                    value
                        .and_then(number)
                        .ok_or(ServerMessageError::Malformed { kind: "gap", field })
                };
                Self::Gap { from: need(from, "from")?, to: need(to, "to")? }
            }
            "capabilities" => Self::Capabilities(raw()?),
            _ => Self::Unknown { kind, raw: raw()? },
        })
    }
}

fn number(value: &RawValue) -> Option<u64> {
    serde_json::from_str(value.get()).ok()
}

fn names(list: Option<&RawValue>) -> Vec<Cow<'_, str>> {
    let list = list.and_then(|list| elements(list).ok()).unwrap_or_default();
    list.into_iter().filter_map(string).collect()
}

fn text_field<'a>(
    value: Option<&'a RawValue>,
    kind: &'static str,
    field: &'static str,
) -> Result<Cow<'a, str>, ServerMessageError> {
    value.and_then(string).ok_or(ServerMessageError::Malformed { kind, field })
}

fn raw_field<'a>(
    value: Option<&'a RawValue>,
    kind: &'static str,
    field: &'static str,
) -> Result<Cow<'a, RawValue>, ServerMessageError> {
    value.map(Cow::Borrowed).ok_or(ServerMessageError::Malformed { kind, field })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame that is written and read back stays the same.
    fn check(text: &str) {
        assert_eq!(ServerMessage::parse(text).unwrap().to_json(), text);
    }

    #[test]
    fn frames_are_written_exactly() {
        check(r#"{"type":"connected"}"#);
        check(r#"{"type":"connected","stream":"s","next":1}"#);
        check(r#"{"type":"sdk_message","data":{"b":1.0,"a":1e400,"a":2}}"#);
        check(r#"{"type":"sdk_message","seq":3,"data":{}}"#);
        check(r#"{"type":"error","error":"e"}"#);
        check(r#"{"type":"info","seq":1,"data":"d\n"}"#);
        check(
            r#"{"type":"permission_request","requestId":"r","tool":"Bash","input":{"a":1},"context":{}}"#,
        );
        check(r#"{"type":"permission_cancelled","requestId":"r"}"#);
        check(r#"{"type":"control_response","requestId":"r","response":{"subtype":"success"}}"#);
        check(r#"{"type":"exit","code":1,"signal":null,"stderr":"boom"}"#);
        check(r#"{"type":"exit","seq":2,"code":null,"signal":"SIGKILL","stderr":""}"#);
        check(r#"{"type":"gap","from":1,"to":5}"#);
        check(r#"{"type":"capabilities","anything":[1]}"#);
        check(r#"{"type":"from_the_future","x":1.50}"#);
    }

    #[test]
    fn text_that_is_no_frame_is_an_error() {
        for text in ["", "x", "[]", "{}", r#"{"type":1}"#, "<html>"] {
            assert!(
                matches!(ServerMessage::parse(text), Err(ServerMessageError::NotAFrame(_))),
                "{text}"
            );
        }
        assert!(matches!(
            ServerMessage::parse(r#"{"type":"gap","from":1}"#),
            Err(ServerMessageError::Malformed { kind: "gap", field: "to" })
        ));
    }

    #[test]
    fn the_constructors_write_the_seeds_frames() {
        assert_eq!(
            ServerMessage::error("Server already has an active connection").to_json(),
            r#"{"type":"error","error":"Server already has an active connection"}"#
        );
    }
}
