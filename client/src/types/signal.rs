//! The part of an agent's line in the life of turns.

use std::borrow::Cow;

use claude_relay_protocol::json::{fields, string};
use claude_relay_protocol::turns::{MessageState, Signal};

use super::message::SdkMessage;
use super::view::View;

/// The openings of lines that are no signals, which are most.
const NO_SIGNAL: [&str; 3] =
    [r#"{"type":"assistant""#, r#"{"type":"stream_event""#, r#"{"type":"user""#];

/// Each signal holds one of these. Notifications of Codex have a `method`.
const WORDS: [&str; 4] = [r#""system""#, r#""result""#, r#""command_lifecycle""#, r#""method":"#];

impl SdkMessage {
    /// Calls `f` with what the line says about turns, if it says anything.
    pub(crate) fn with_signal<R>(&self, f: impl FnOnce(&Signal<'_>) -> R) -> Option<R> {
        let frame: &str = self.frame();
        let opening = frame.split_once(r#""data":"#).map_or("", |(_, data)| data);
        if NO_SIGNAL.iter().any(|start| opening.starts_with(start)) {
            return None;
        }
        // Long lines are searched before they are parsed.
        if !WORDS.iter().any(|word| opening.contains(word)) {
            return None;
        }
        let line = self.json().ok()?.get();
        let [kind] = fields(line, ["type"]).ok()?;
        match kind.and_then(string) {
            Some(kind) => Signal::parse(&kind, line).map(|signal| f(&signal)),
            None => codex(&self.views()).map(|signal| f(&signal)),
        }
    }
}

/// A notification of Codex, which has a `method` and no `type`.
fn codex<'a>(views: &[View<'a>]) -> Option<Signal<'a>> {
    match views.first()? {
        View::MessageProgress { message_id, state } if state == "started" => {
            Some(Signal::Message { uuid: message_id.clone(), state: MessageState::Started })
        }
        View::TurnFinished(_) => {
            Some(Signal::Result { uuids: Vec::<Cow<'_, str>>::new(), own: false })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::types::frame::Frame;
    use crate::types::message::ServerMessage;

    fn signal(line: &str) -> Option<String> {
        let frame = format!(r#"{{"type":"sdk_message","seq":1,"data":{line}}}"#);
        match Frame::read(frame.into()).unwrap() {
            Frame::Message(_, ServerMessage::Sdk(message)) => {
                message.with_signal(|signal| format!("{signal:?}"))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ends_and_beginnings_are_signals_and_other_lines_are_not() {
        assert!(signal(r#"{"type":"result","user_message_uuid":"u"}"#).unwrap().contains("\"u\""));
        assert!(signal(r#"{"subtype":"init","type":"system"}"#).unwrap().contains("Init"));
        assert_eq!(signal(r#"{"type":"assistant","message":{}}"#), None);
        assert_eq!(signal(r#"{"message":{},"type":"assistant"}"#), None);
        let codex = r#"{"method":"turn/completed","params":{"threadId":"t","turn":{"status":"completed"}}}"#;
        assert!(signal(codex).unwrap().contains("Result"));
    }
}
