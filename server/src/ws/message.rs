//! Messages of a client, parsed for the session.

use std::borrow::Cow;

use bytes::BytesMut;
use claude_relay_protocol::ClientMessage;
use claude_relay_protocol::client_message::PermissionResponse;
use serde_json::value::RawValue;

use crate::agent::protocol::PermissionAnswer;
use crate::json::line::{into_line, place_in};
use crate::session::Change;
use crate::session::channels::Request;

/// Parses a message for the session. The line for the agent is a slice of it,
/// without a copy.
pub(super) fn parse(mut message: BytesMut) -> Result<Request, String> {
    let Ok(text) = simdutf8::basic::from_utf8(&message) else {
        return Err("Invalid message format: not UTF-8".into());
    };
    let parsed = ClientMessage::parse(text).map_err(|error| error.to_string())?;
    Ok(match parsed {
        ClientMessage::UserMessage { data, uuid, other } => {
            let (uuid, other) = (uuid.map(Cow::into_owned), other.map(Cow::into_owned));
            let place = place_in(text, data.get());
            Request::UserMessage { line: into_line(&mut message, place), uuid, other }
        }
        ClientMessage::Interrupt => Request::Interrupt,
        ClientMessage::PermissionResponse(response) => permission(response),
        ClientMessage::ControlRequest { request_id, subtype, request } => Request::Control {
            request_id: request_id.into_owned(),
            subtype: subtype.into_owned(),
            request: on_one_line(request),
        },
        ClientMessage::AgentResponse { request_id, outcome } => Request::AgentResponse {
            request_id: request_id.into_owned(),
            outcome: outcome.map(on_one_line).map_err(Cow::into_owned),
        },
        ClientMessage::Configure { config, merge } => Request::Configure {
            config: config.get().to_owned().into(),
            change: if merge { Change::Merge } else { Change::Replace },
        },
        ClientMessage::Capabilities => Request::Capabilities,
    })
}

fn on_one_line(raw: &RawValue) -> String {
    raw.get().replace(['\n', '\r'], " ")
}

/// Returns rules as an array on one line.
fn rules(raw: &RawValue) -> Option<Box<RawValue>> {
    RawValue::from_string(on_one_line(raw)).ok()
}

fn permission(response: PermissionResponse<'_>) -> Request {
    let answer = if response.approved {
        PermissionAnswer::Allow {
            input: response.updated_input.map(on_one_line),
            permissions: response.updated_permissions.and_then(rules),
        }
    } else {
        PermissionAnswer::Deny {
            message: response.message.map(Into::into),
            interrupt: response.interrupt,
        }
    };
    Request::Permission { request_id: response.request_id.into_owned(), answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        match parse(BytesMut::from(text)) {
            Ok(Request::UserMessage { line, .. }) => String::from_utf8(line.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_user_message_becomes_one_line_with_its_own_bytes() {
        assert_eq!(
            line(
                "{\"type\":\"user_message\",\"data\":{\"type\":\"user\",\r\n \"message\":{\"role\":\"user\",\"content\":\"a\\n\u{2028}b\"}, \"x\":1.0}\n}"
            ),
            "{\"type\":\"user\",   \"message\":{\"role\":\"user\",\"content\":\"a\\n\u{2028}b\"}, \"x\":1.0}\n"
        );
        assert_eq!(
            line(
                "{\"data\":{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":\"\"}},\"type\":\"user_message\"}"
            ),
            "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":\"\"}}\n"
        );
    }
}
