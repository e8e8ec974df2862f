//! Messages of a run's client, with the line for the agent cut out of them.

use bytes::{Bytes, BytesMut};
use claude_relay_protocol::json::{fields, string};
use claude_relay_protocol::run::{RunRequest, RunSignal, RunStart};

use crate::agent::is_plain;
use crate::json::line::{into_line, place_in};
use crate::json::scan;

/// A message of a client.
#[derive(Debug)]
pub enum Message {
    /// The command line of the run.
    Start(Box<RunStart>),
    /// Input of the agent with its number.
    Numbered(u64, Input),
    /// The client has everything up to this number.
    Ack(u64),
    /// A line without a number, of a raw connection.
    Raw(Bytes, LineKind),
}

/// Kind of a line, found where the message is parsed: a large one keeps nobody
/// waiting there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// A line that every mode of the server allows.
    Plain,
    /// A line that is judged by the ceiling.
    Judged,
}

impl LineKind {
    fn of(line: &str) -> Self {
        match fields(line, ["type"]) {
            Ok([Some(kind)]) if string(kind).is_some_and(|kind| is_plain(&kind)) => Self::Plain,
            _ => Self::Judged,
        }
    }
}

/// Input of the agent.
#[derive(Debug)]
pub enum Input {
    /// A line with its newline.
    Line(Bytes, LineKind),
    /// The end.
    End,
    /// A signal.
    Signal(RunSignal),
}

/// Parses a message of a numbered connection.
///
/// # Errors
///
/// The reason why it is malformed.
pub fn numbered(mut message: BytesMut) -> Result<Message, String> {
    let Ok(text) = simdutf8::basic::from_utf8(&message) else {
        return Err("Invalid message format: not UTF-8".into());
    };
    Ok(match RunRequest::parse(text).map_err(|error| error.to_string())? {
        RunRequest::Start(start) => Message::Start(Box::new(start)),
        RunRequest::Stdin { seq, data } => {
            let place = place_in(text, data.get());
            let kind = LineKind::of(data.get());
            Message::Numbered(seq, Input::Line(into_line(&mut message, place), kind))
        }
        RunRequest::StdinEnd { seq } => Message::Numbered(seq, Input::End),
        RunRequest::Signal { seq, signal } => Message::Numbered(seq, Input::Signal(signal)),
        RunRequest::Ack { seq } => Message::Ack(seq),
    })
}

/// Parses a message of a raw connection: one line.
///
/// # Errors
///
/// The reason why it is malformed.
pub fn raw(mut message: BytesMut) -> Result<Message, String> {
    let Ok(text) = simdutf8::basic::from_utf8(&message) else {
        return Err("Invalid message format: not UTF-8".into());
    };
    if scan::fields(&message, &[]).is_none() {
        return Err("Invalid message format: expected one JSON object".into());
    }
    let (place, kind) = (place_in(text, text.trim()), LineKind::of(text));
    Ok(Message::Raw(into_line(&mut message, place), kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_bytes_and_becomes_one_line() {
        let message = &b"{\"type\":\"stdin\",\"data\":{\"a\" :1.0,\r\n\"b\":1e400},\"seq\":7}"[..];
        let Ok(Message::Numbered(7, Input::Line(line, _))) = numbered(message.into()) else {
            panic!("a line")
        };
        assert_eq!(line, &b"{\"a\" :1.0,  \"b\":1e400}\n"[..]);
    }

    #[test]
    fn a_raw_line_may_bring_its_newline_along() {
        for message in [&b"{\"a\":1}"[..], b" {\"a\":1}\n"] {
            let Ok(Message::Raw(line, LineKind::Judged)) = raw(message.into()) else {
                panic!("a line")
            };
            assert_eq!(line, &b"{\"a\":1}\n"[..]);
        }
        for message in [&b"x"[..], b"{}{}", b"{}\n{}", b"", b"[]", b"\xff"] {
            assert!(raw(message.into()).is_err(), "{message:?}");
        }
    }
}
