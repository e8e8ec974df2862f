//! What a program receives.
//!
//! Nearly every frame is a line of the agent. Such a frame is recognised by
//! its opening bytes, shared and not copied, and looked into only when the
//! program asks: see [`SdkMessage`].

use bytestring::ByteString;
use claude_relay_protocol::json::{elements, fields};
use claude_relay_protocol::server_message::ServerMessageError;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::types::agent_state::AgentState;
use crate::types::permission::PermissionRequest;
use crate::types::raw_json::{RawJson, text_of};
use crate::types::view::{View, views};

/// One message of the server.
///
/// New kinds may come with new servers; what this version does not know, or
/// finds in another shape than it knows, is kept whole as
/// [`ServerMessage::Unknown`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ServerMessage {
    /// A line of the agent.
    Sdk(SdkMessage),
    /// The server reports a failure.
    Error {
        /// In words.
        text: String,
        /// Its number in the stream, if it is news of the agent. Without one it
        /// answers something that this client sent (an original server numbers
        /// nothing).
        seq: Option<u64>,
    },
    /// The agent's stderr, or what it wrote to stdout that is not JSON.
    Info(String),
    /// The agent asks whether it may use a tool. Nothing is approved without
    /// an answer: see [`Client::respond`](crate::Client::respond).
    PermissionRequest(Box<PermissionRequest>),
    /// The agent withdrew the permission request of this id.
    PermissionCancelled(String),
    /// The agent process ended by itself. The next message starts a new one.
    Exit(Exit),
    /// Messages are missing here. Never silent, never implied.
    Gap(Gap),
    /// The server was restarted: what follows is of another stream, whose
    /// numbers begin anew. Turns and permission requests of the former stream
    /// are over, and what it had left to say is lost.
    Restarted {
        /// The id of the new stream, if the server says it.
        stream: Option<String>,
    },
    /// What server and agent can do, as JSON: the answer to
    /// [`Client::request_capabilities`](crate::Client::request_capabilities).
    Capabilities(RawJson),
    /// The agent's state, from a server that tells it.
    AgentState(Box<AgentState>),
    /// Messages that the server took and that will not be run.
    Undelivered {
        /// Their ids.
        uuids: Vec<String>,
        /// The cause, in words.
        reason: String,
    },
    /// A frame that this version does not know, kept whole.
    Unknown {
        /// Its `type`.
        kind: String,
        /// The frame.
        frame: RawJson,
    },
}

/// The end of an agent process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The name of the signal that ended it, such as `SIGKILL`.
    pub signal: Option<String>,
    /// The end of what it wrote to stderr.
    pub stderr: String,
    /// The ids of messages that wait for the next process, which will run them.
    pub waiting: Vec<String>,
    /// The ids of messages that the process had and will not be run again.
    pub dropped: Vec<String>,
    /// Its number in the server's stream, if the server numbers its frames.
    pub seq: Option<u64>,
}

/// Messages that this client will not see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The number of the first one; `None` if the server does not number its
    /// frames, so that only the fact is known.
    pub from: Option<u64>,
    /// The number of the last one.
    pub to: Option<u64>,
}

/// One line of the agent, in the frame it came in. Cheap to clone: the bytes
/// are shared.
///
/// Receiving one reads no more than the opening of its frame. Looking into it
/// is up to the program: [`views`](Self::views) for what it means,
/// [`json`](Self::json) for the line as the agent wrote it,
/// [`frame`](Self::frame) to pass it on as it is.
#[derive(Debug, Clone)]
pub struct SdkMessage {
    frame: ByteString,
    seq: Option<u64>,
}

impl SdkMessage {
    /// Its number in the server's stream, if the server numbers its frames.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{:?}", message.seq());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn seq(&self) -> Option<u64> {
        self.seq
    }

    /// The whole frame, `{"type":"sdk_message",…}`, byte for byte.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("data: {}\n", message.frame());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn frame(&self) -> &ByteString {
        &self.frame
    }

    /// The line of the agent, byte for byte: key order, the spelling of
    /// numbers and unknown fields are as they came. Checks the frame, so keep
    /// the result rather than asking twice.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// println!("{}", message.json()?.get());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When the frame is not JSON or holds no line. A relay sends no such.
    pub fn json(&self) -> Result<&RawValue, MalformedMessage> {
        let [data] = fields(&self.frame, ["data"]).map_err(MalformedMessage::NotJson)?;
        data.ok_or(MalformedMessage::Empty)
    }

    /// Reads the line as a type of the caller's choice.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// #[derive(serde::Deserialize)]
    /// struct Line {
    ///     r#type: String,
    /// }
    ///
    /// println!("{}", message.parse::<Line>()?.r#type);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`json`](Self::json), or when the line does not have that
    /// type's shape.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, MalformedMessage> {
        serde_json::from_str(self.json()?.get()).map_err(MalformedMessage::Shape)
    }

    /// What the line means: the texts, tool calls, results and so on that are
    /// in it, in their order. Empty for a line this version has no view of.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::View;
    ///
    /// # async fn example(message: claude_relay_client::SdkMessage) -> Result<(), Box<dyn std::error::Error>> {
    /// for view in message.views() {
    ///     if let View::Text { text, .. } = view {
    ///         println!("{text}");
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn views(&self) -> Vec<View<'_>> {
        self.json().map(views).unwrap_or_default()
    }
}

/// Why a line of the agent could not be read.
#[derive(Debug, thiserror::Error)]
pub enum MalformedMessage {
    /// The frame is not JSON.
    #[error("the frame is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// The frame has no `data`.
    #[error("the frame holds no line of the agent")]
    Empty,
    /// The line has another shape than was asked for.
    #[error("the line has another shape: {0}")]
    Shape(serde_json::Error),
}

/// One frame as it came off the socket, sorted.
#[derive(Debug)]
pub(crate) enum Frame {
    /// For the program, with its number.
    Message(Option<u64>, ServerMessage),
    /// The first frame of a connection.
    Connected(Greeting),
    /// The server no longer keeps these.
    Gap { from: u64, to: u64 },
    /// The answer to a control request.
    ControlResponse { request_id: String, response: RawJson },
}

/// What a server that numbers its frames says at the beginning.
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
    /// When it is no JSON object with a `type`.
    pub(crate) fn read(text: ByteString) -> Result<Self, ServerMessageError> {
        use claude_relay_protocol::ServerMessage as Wire;

        if let Some(seq) = sdk_message_seq(&text) {
            return Ok(Self::Message(seq, ServerMessage::Sdk(SdkMessage { frame: text, seq })));
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
            Wire::SdkMessage { .. } => ServerMessage::Sdk(SdkMessage { frame: text.clone(), seq }),
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
        && let Ok([Some(reason)]) = fields(&text, ["reason"])
        && let Some(reason) = text_of(Some(reason))
    {
        let reason = reason.into_owned();
        return ServerMessage::Undelivered { uuids: texts(&text, "uuids"), reason };
    }
    ServerMessage::Unknown { kind, frame: RawJson::proven(text) }
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
