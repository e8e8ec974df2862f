//! Frames as they come off the socket.

use bytestring::ByteString;
use claude_relay_protocol::json::{elements, fields};
use claude_relay_protocol::server_message::ServerMessageError;

use crate::types::agent_request::AgentRequest;
use crate::types::config::Configured;
use crate::types::message::{Exit, SdkMessage, ServerMessage};
use crate::types::permission::PermissionRequest;
use crate::types::raw_json::{RawJson, text_of};

/// One frame as it came off the socket, sorted.
#[derive(Debug)]
pub(crate) enum Frame {
    /// For the program, with its number.
    Message(Option<u64>, ServerMessage),
    /// The first frame of a connection.
    Connected(Greeting),
    /// The server no longer keeps these.
    Gap { from: u64, to: u64 },
    /// The answer to a configuration.
    Configured(Configured),
    /// The answer to a control request.
    ControlResponse { request_id: String, response: RawJson },
}

/// The greeting of a server that numbers its frames.
#[derive(Debug)]
pub(crate) struct Greeting {
    /// The id of the stream, which lasts as long as the server process.
    pub(crate) stream: Option<String>,
    /// The number of the first frame that is not from before.
    pub(crate) next: Option<u64>,
}

impl Frame {
    /// Sorts one frame.
    ///
    /// # Errors
    ///
    /// It is no JSON object with a `type`.
    pub(crate) fn read(text: ByteString) -> Result<Self, ServerMessageError> {
        use claude_relay_protocol::ServerMessage as Wire;

        if let Some(seq) = sdk_message_seq(&text) {
            return Ok(Self::Message(seq, ServerMessage::Sdk(SdkMessage::new(text, seq))));
        }
        let message = match Wire::parse(&text) {
            Ok(message) => message,
            // A known kind in a shape that is not known: another version's.
            Err(ServerMessageError::Malformed { kind, .. }) => {
                let unknown =
                    ServerMessage::Unknown { kind: kind.to_owned(), frame: RawJson::proven(text) };
                return Ok(Self::Message(None, unknown));
            }
            Err(error @ ServerMessageError::NotAFrame(_)) => return Err(error),
        };
        let seq = message.seq();
        let message = match message {
            Wire::Connected { stream, next } => {
                return Ok(Self::Connected(Greeting { stream: stream.map(Into::into), next }));
            }
            Wire::Gap { from, to } => return Ok(Self::Gap { from, to }),
            Wire::ControlResponse { request_id, response } => {
                let (request_id, response) = (request_id.into(), RawJson::from_raw(&response));
                return Ok(Self::ControlResponse { request_id, response });
            }
            Wire::SdkMessage { .. } => ServerMessage::Sdk(SdkMessage::new(text.clone(), seq)),
            Wire::Error { error, .. } => ServerMessage::Error { text: error.into(), seq },
            Wire::Info { data, .. } => ServerMessage::Info(data.into()),
            Wire::PermissionRequest { request_id, tool, input, context, .. } => {
                ServerMessage::PermissionRequest(Box::new(PermissionRequest {
                    id: request_id.into(),
                    tool: tool.into(),
                    input: RawJson::from_raw(&input),
                    context: RawJson::from_raw(&context),
                }))
            }
            Wire::PermissionCancelled { request_id, .. } => {
                ServerMessage::PermissionCancelled(request_id.into())
            }
            Wire::Exit { code, signal, stderr, .. } => ServerMessage::Exit(Exit {
                code,
                signal: signal.map(Into::into),
                stderr: stderr.into(),
                waiting: texts(&text, "waiting"),
                dropped: texts(&text, "dropped"),
                seq,
            }),
            Wire::Capabilities(raw) => ServerMessage::Capabilities(RawJson::from_raw(&raw)),
            Wire::Unknown { kind, .. } => {
                if kind == "configured"
                    && let Some(configured) = Configured::read(&text)
                {
                    return Ok(Self::Configured(configured));
                }
                let seq = numbered(&text);
                let kind = kind.into_owned();
                return Ok(Self::Message(seq, added(kind, text)));
            }
        };
        Ok(Self::Message(seq, message))
    }
}

/// A message that not every server sends.
fn added(kind: String, text: ByteString) -> ServerMessage {
    if kind == "agent_state"
        && let Ok(state) = serde_json::from_str(&text)
    {
        return ServerMessage::AgentState(Box::new(state));
    }
    if kind == "undelivered"
        && let Ok([Some(reason), unnamed]) = fields(&text, ["reason", "unnamed"])
        && let Some(reason) = text_of(Some(reason))
    {
        let reason = reason.into_owned();
        let unnamed = unnamed.and_then(|count| count.get().parse().ok()).unwrap_or_default();
        return ServerMessage::Undelivered { uuids: texts(&text, "uuids"), unnamed, reason };
    }
    match kind.as_str() {
        "agent_request" => {
            if let Some(request) = agent_request(&text) {
                return ServerMessage::AgentRequest(Box::new(request));
            }
        }
        "input" => {
            if let Ok([Some(data)]) = fields(&text, ["data"]) {
                return ServerMessage::Input(RawJson::from_raw(data));
            }
        }
        "agent_request_cancelled" => {
            if let Ok([Some(id)]) = fields(&text, ["requestId"])
                && let Some(id) = text_of(Some(id))
            {
                return ServerMessage::AgentRequestCancelled(id.into_owned());
            }
        }
        _ => {}
    }
    ServerMessage::Unknown { kind, frame: RawJson::proven(text) }
}

fn agent_request(text: &str) -> Option<AgentRequest> {
    let [id, request] = fields(text, ["requestId", "request"]).ok()?;
    let [subtype] = fields(request?.get(), ["subtype"]).ok()?;
    Some(AgentRequest {
        id: text_of(id)?.into_owned(),
        subtype: text_of(subtype)?.into_owned(),
        request: RawJson::from_raw(request?),
    })
}

fn numbered(text: &str) -> Option<u64> {
    let [seq] = fields(text, ["seq"]).ok()?;
    serde_json::from_str(seq?.get()).ok()
}

/// The texts in the list `name`; none if it is missing.
fn texts(text: &str, name: &str) -> Vec<String> {
    let Ok([Some(list)]) = fields(text, [name]) else { return Vec::new() };
    let list = elements(list).unwrap_or_default();
    list.into_iter().filter_map(|text| text_of(Some(text)).map(Into::into)).collect()
}

/// The number of a `sdk_message` frame that opens as relays write it, without
/// reading the line in it: this is the hot path. `None` for everything else,
/// which is parsed in full.
fn sdk_message_seq(text: &str) -> Option<Option<u64>> {
    let rest = text.strip_prefix(r#"{"type":"sdk_message","#)?;
    if rest.starts_with(r#""data":"#) {
        return Some(None);
    }
    let rest = rest.strip_prefix(r#""seq":"#)?;
    let end = rest.bytes().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = rest.split_at(end);
    let seq = digits.parse().ok()?;
    rest.starts_with(r#","data":"#).then_some(Some(seq))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::message::MalformedMessage;

    fn sdk(text: &str) -> SdkMessage {
        match Frame::read(text.into()).unwrap() {
            Frame::Message(_, ServerMessage::Sdk(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_line_keeps_its_bytes_however_its_frame_is_written() {
        let data = "{ \"b\":1.0,\"a\":1e400,\"a\":12345678901234567890 }";
        for (frame, seq) in [
            (format!(r#"{{"type":"sdk_message","data":{data}}}"#), None),
            (format!(r#"{{"type":"sdk_message","seq":7,"data":{data}}}"#), Some(7)),
            (format!(r#"{{"seq":8,"data":{data},"type":"sdk_message"}}"#), Some(8)),
            (format!(r#"{{"type":"sdk_message","data":{data},"seq":9}}"#), None),
            (format!(r#"{{"type":"sdk_message","seq":10,"data":{data},"later":[1]}}"#), Some(10)),
            (
                format!("{{ \"type\" : \"sdk_message\" , \"seq\" : 11, \"data\" : {data} }}"),
                Some(11),
            ),
        ] {
            let message = sdk(&frame);
            assert_eq!(message.json().unwrap().get(), data, "{frame}");
            assert_eq!(message.seq(), seq, "{frame}");
            assert_eq!(&**message.frame(), frame);
        }
    }

    #[test]
    fn a_broken_line_is_an_error_and_has_no_views() {
        let message = sdk(r#"{"type":"sdk_message","seq":1,"data":{oops}}"#);
        assert!(matches!(message.json(), Err(MalformedMessage::NotJson(_))));
        assert!(message.views().is_empty());
        let message = sdk(r#"{"type":"sdk_message","seq":1,"data":5}"#);
        assert!(message.views().is_empty());
    }

    #[test]
    fn unknown_messages_are_kept_whole() {
        for (text, name) in [
            (r#"{"type":"from_the_future","x":1.50}"#, "from_the_future"),
            (r#"{"type":"error","error":{"code":5}}"#, "error"),
        ] {
            let Frame::Message(None, ServerMessage::Unknown { kind, frame }) =
                Frame::read(text.into()).unwrap()
            else {
                panic!("{text}");
            };
            assert_eq!((kind.as_str(), frame.get()), (name, text));
        }
    }

    #[test]
    fn text_that_is_no_frame_is_refused() {
        for text in ["", "5", "[]", "{}", "<html>", r#"{"type":7}"#, "{\"type\":\"connected\""] {
            assert!(Frame::read(text.into()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_short_cut_agrees_with_the_parser(seq in any::<Option<u64>>(), text in ".*") {
            let data = serde_json::to_string(&serde_json::json!({ "type": "x", "text": text })).unwrap();
            let mut frame = Vec::new();
            claude_relay_protocol::envelope::push_sdk_message(&mut frame, data.as_bytes());
            if let Some(seq) = seq {
                let mut numbered = Vec::new();
                claude_relay_protocol::envelope::push_sequenced(&mut numbered, &frame, seq);
                frame = numbered;
            }
            let frame = String::from_utf8(frame).unwrap();
            let parsed = claude_relay_protocol::ServerMessage::parse(&frame).unwrap();
            let message = sdk(&frame);
            prop_assert_eq!(sdk_message_seq(&frame), Some(parsed.seq()));
            prop_assert_eq!(message.seq(), seq);
            prop_assert_eq!(message.json().unwrap().get(), data);
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = Frame::read(text.clone().into());
            let _ = Frame::read(format!(r#"{{"type":"sdk_message","seq":{text}"#).into());
            if let Ok(Frame::Message(_, ServerMessage::Sdk(message))) =
                Frame::read(format!(r#"{{"type":"sdk_message","data":{text}}}"#).into())
            {
                let _ = message.views();
            }
        }
    }
}
