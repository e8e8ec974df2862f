//! Messages from a client to the server over the WebSocket.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::{elements, fields, fields_and_others, is_array, is_object, is_string, string};
use crate::text;

/// Longest part of an unknown `type` that the error repeats.
pub const UNKNOWN_TYPE_CHARS: usize = 50;

/// Longest request id, in bytes. The server keeps an id while its request is
/// open and sends it back with the answer.
pub const REQUEST_ID_BYTES: usize = 256;

/// Fields of a user message that are words, or that only say where it belongs. An
/// agent may do more with others.
pub const MESSAGE_FIELDS: [&str; 10] = [
    "type",
    "message",
    "uuid",
    "client_composed",
    "isSynthetic",
    "parent_tool_use_id",
    "priority",
    "session_id",
    "shouldQuery",
    "timestamp",
];

/// One checked message of a client. Raw values borrow from its text.
#[derive(Debug)]
pub enum ClientMessage<'a> {
    /// A message for the agent. `data` has been checked: the agent exits at
    /// once on any other form.
    UserMessage {
        /// The SDK user message, with the bytes it came with.
        data: &'a RawValue,
        /// The `uuid` by which the agent refers to it.
        uuid: Option<Cow<'a, str>>,
        /// The name of a field that is not one of [`MESSAGE_FIELDS`].
        other: Option<Cow<'a, str>>,
    },
    /// Stops the running turn.
    Interrupt,
    /// The answer to a permission request.
    PermissionResponse(PermissionResponse<'a>),
    /// A control request of the SDK, passed on as it is.
    ControlRequest {
        /// The client's own id for the request; the answer repeats it.
        request_id: Cow<'a, str>,
        /// Its `subtype`.
        subtype: Cow<'a, str>,
        /// The whole `request` object.
        request: &'a RawValue,
    },
    /// The answer to an `agent_request`.
    AgentResponse {
        /// The id of the `agent_request` frame.
        request_id: Cow<'a, str>,
        /// The object for the agent, or a reason for having none.
        outcome: Result<&'a RawValue, Cow<'a, str>>,
    },
    /// The configuration of a client that configures as it connects.
    Configure {
        /// The configuration.
        config: &'a RawValue,
        /// True for a JSON Merge Patch.
        merge: bool,
    },
    /// Asks for a `capabilities` frame.
    Capabilities,
}

/// The answer to a permission request.
#[derive(Debug)]
pub struct PermissionResponse<'a> {
    /// The id of the `permission_request` frame.
    pub request_id: Cow<'a, str>,
    /// `true` allows the tool, `false` denies it.
    pub approved: bool,
    /// The input to run the tool with; absent means the requested input.
    pub updated_input: Option<&'a RawValue>,
    /// Permission rules to add, as the agent suggested them.
    pub updated_permissions: Option<&'a RawValue>,
    /// The reason of a denial, for the agent to read.
    pub message: Option<Cow<'a, str>>,
    /// Ends the turn too after a denial.
    pub interrupt: bool,
}

/// Reason for refusing a client's message. The connection stays open.
#[derive(Debug, thiserror::Error)]
pub enum ClientMessageError {
    /// The text is not JSON or not an object, or a field is missing or
    /// malformed.
    #[error("Invalid message format: {0}")]
    Invalid(String),
    /// A client cannot send this `type`.
    #[error("Unknown message type: {0}")]
    UnknownType(String),
}

impl ClientMessageError {
    fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }
}

impl<'a> ClientMessage<'a> {
    /// Parses one message.
    ///
    /// # Errors
    ///
    /// See [`ClientMessageError`]; the server sends its text to the client.
    pub fn parse(text: &'a str) -> Result<Self, ClientMessageError> {
        let [kind] = fields(text, ["type"])
            .map_err(|error| ClientMessageError::invalid(error.to_string()))?;
        let kind = kind.ok_or_else(|| ClientMessageError::invalid("missing field `type`"))?;
        let kind =
            string(kind).ok_or_else(|| ClientMessageError::invalid("type: expected a string"))?;
        match kind.as_ref() {
            "user_message" => Self::user_message(text),
            "interrupt" => Ok(Self::Interrupt),
            "permission_response" => Self::permission_response(text),
            "control_request" => Self::control_request(text),
            "agent_response" => Self::agent_response(text),
            "configure" => Self::configure(text),
            "capabilities" => Ok(Self::Capabilities),
            other => Err(ClientMessageError::UnknownType(
                text::head(other, UNKNOWN_TYPE_CHARS).to_owned(),
            )),
        }
    }

    fn user_message(text: &'a str) -> Result<Self, ClientMessageError> {
        let [data] = read(text, ["data"])?;
        let data = data.ok_or_else(|| ClientMessageError::invalid("missing field `data`"))?;
        let (uuid, other) = check_user_data(data).map_err(ClientMessageError::invalid)?;
        let uuid = uuid.filter(|uuid| uuid.len() <= REQUEST_ID_BYTES);
        Ok(Self::UserMessage { data, uuid, other })
    }

    fn permission_response(text: &'a str) -> Result<Self, ClientMessageError> {
        let [id, approved, input, permissions, message, interrupt] = read(
            text,
            ["requestId", "approved", "updatedInput", "updatedPermissions", "message", "interrupt"],
        )?;
        Ok(Self::PermissionResponse(PermissionResponse {
            request_id: request_id(id)?,
            approved: flag(approved, "approved")?
                .ok_or_else(|| ClientMessageError::invalid("missing field `approved`"))?,
            updated_input: optional(input, "updatedInput", "an object", is_object)?,
            updated_permissions: optional(permissions, "updatedPermissions", "an array", is_array)?,
            message: optional(message, "message", "a string", |value| string(value).is_some())?
                .and_then(string),
            interrupt: flag(interrupt, "interrupt")?.unwrap_or(false),
        }))
    }

    fn control_request(text: &'a str) -> Result<Self, ClientMessageError> {
        let [id, request] = read(text, ["requestId", "request"])?;
        let request_id = request_id(id)?;
        let request = optional(request, "request", "an object", is_object)?
            .ok_or_else(|| ClientMessageError::invalid("missing field `request`"))?;
        let [subtype] = read(request.get(), ["subtype"])?;
        let subtype = subtype
            .and_then(string)
            .ok_or_else(|| ClientMessageError::invalid("request.subtype: expected a string"))?;
        Ok(Self::ControlRequest { request_id, subtype, request })
    }

    fn agent_response(text: &'a str) -> Result<Self, ClientMessageError> {
        let [id, response, error] = read(text, ["requestId", "response", "error"])?;
        let request_id = request_id(id)?;
        let response = optional(response, "response", "an object", is_object)?;
        let error = optional(error, "error", "a string", |value| string(value).is_some())?;
        let outcome = match (response, error.and_then(string)) {
            (Some(response), None) => Ok(response),
            (None, Some(error)) => Err(error),
            _ => return Err(ClientMessageError::invalid("expected one of `response` and `error`")),
        };
        Ok(Self::AgentResponse { request_id, outcome })
    }

    fn configure(text: &'a str) -> Result<Self, ClientMessageError> {
        let [config, merge] = read(text, ["config", "merge"])?;
        let config = optional(config, "config", "an object", is_object)?
            .ok_or_else(|| ClientMessageError::invalid("missing field `config`"))?;
        Ok(Self::Configure { config, merge: flag(merge, "merge")?.unwrap_or(false) })
    }
}

/// Checks that the agent accepts the user message `data`, and returns its
/// `uuid` and the name of a field beyond [`MESSAGE_FIELDS`]. The real CLI exits at once on a wrong role, on a content that is
/// neither a string nor an array of objects, and on a text block without a
/// text.
fn check_user_data(data: &RawValue) -> Result<(Text<'_>, Text<'_>), String> {
    if !is_object(data) {
        return Err("data: expected an object".into());
    }
    let ([kind, message, uuid, ..], other) =
        fields_and_others(data.get(), MESSAGE_FIELDS).map_err(|error| format!("data: {error}"))?;
    if kind.and_then(string).as_deref() != Some("user") {
        return Err("data.type: expected \"user\"".into());
    }
    let message = message
        .filter(|message| is_object(message))
        .ok_or("data.message: expected an object with `role` and `content`")?;
    let [role, content] = fields(message.get(), ["role", "content"])
        .map_err(|error| format!("data.message: {error}"))?;
    if role.and_then(string).as_deref() != Some("user") {
        return Err("data.message.role: expected \"user\"".into());
    }
    let content = content
        .filter(|content| is_string(content) || is_array(content))
        .ok_or("data.message.content: expected a string or an array of blocks")?;
    if is_array(content) {
        check_blocks(content)?;
    }
    Ok((uuid.and_then(string), other))
}

/// A text of a message that may be missing.
type Text<'a> = Option<Cow<'a, str>>;

/// Returns the `uuid` of the user message `data`, a JSON object.
#[must_use]
pub fn message_uuid(data: &str) -> Option<String> {
    let [uuid] = fields(data, ["uuid"]).ok()?;
    uuid.and_then(string).filter(|uuid| uuid.len() <= REQUEST_ID_BYTES).map(Cow::into_owned)
}

fn check_blocks(content: &RawValue) -> Result<(), String> {
    let blocks = elements(content).map_err(|error| format!("data.message.content: {error}"))?;
    for (index, block) in blocks.into_iter().enumerate() {
        if !is_object(block) {
            return Err(format!("data.message.content[{index}]: expected an object"));
        }
        let [kind, text] = fields(block.get(), ["type", "text"])
            .map_err(|error| format!("data.message.content[{index}]: {error}"))?;
        if kind.and_then(string).as_deref() == Some("text") && !text.is_some_and(is_string) {
            return Err(format!("data.message.content[{index}].text: expected a string"));
        }
    }
    Ok(())
}

fn read<'a, const N: usize>(
    text: &'a str,
    names: [&str; N],
) -> Result<[Option<&'a RawValue>; N], ClientMessageError> {
    fields(text, names).map_err(|error| ClientMessageError::invalid(error.to_string()))
}

fn request_id(value: Option<&RawValue>) -> Result<Cow<'_, str>, ClientMessageError> {
    let id = value
        .ok_or_else(|| ClientMessageError::invalid("missing field `requestId`"))
        .and_then(|value| {
            string(value).ok_or_else(|| ClientMessageError::invalid("requestId: expected a string"))
        })?;
    if id.len() > REQUEST_ID_BYTES {
        return Err(ClientMessageError::invalid(format!(
            "requestId: longer than {REQUEST_ID_BYTES} bytes"
        )));
    }
    Ok(id)
}

/// A field that may be absent or `null`, but not of another kind.
fn optional<'a>(
    value: Option<&'a RawValue>,
    name: &str,
    expected: &str,
    is: impl Fn(&RawValue) -> bool,
) -> Result<Option<&'a RawValue>, ClientMessageError> {
    match value {
        None => Ok(None),
        Some(value) if value.get() == "null" => Ok(None),
        Some(value) if is(value) => Ok(Some(value)),
        Some(_) => Err(ClientMessageError::invalid(format!("{name}: expected {expected}"))),
    }
}

fn flag(value: Option<&RawValue>, name: &str) -> Result<Option<bool>, ClientMessageError> {
    match value.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err(ClientMessageError::invalid(format!("{name}: expected true or false"))),
    }
}

#[cfg(test)]
mod tests;
