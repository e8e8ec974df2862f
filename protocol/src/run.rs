//! Messages of `/agent?run=`: one run of the agent, spoken to by a program that
//! stands in for the CLI. Every message that must not be lost has a number.
//!
//! The lines of both sides are copied, never printed anew.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json::{fields, string};

/// The most bytes of a `start` message.
pub const START_BYTES: usize = 4 << 20;

/// The most bytes of numbered output that may be on their way without an
/// acknowledgement. A longer message goes alone.
pub const CREDIT_BYTES: usize = 8 << 20;

/// The most bytes of an acknowledged output between two acknowledgements.
pub const ACK_BYTES: usize = 1 << 20;

const MIN_ID_BYTES: usize = 16;
const MAX_ID_BYTES: usize = 64;

/// The beginning of the envelope of a line, up to its number.
const LINE_HEAD: &str = r#"{"type":"sdk_message","seq":"#;
/// The envelope between number and line.
const LINE_DATA: &str = r#","data":"#;

/// Whether `id` can name a run: 16 to 64 letters, digits, `-` and `_`.
#[must_use]
pub fn is_run_id(id: &str) -> bool {
    (MIN_ID_BYTES..=MAX_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// What a run is started with, as the program gave it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStart {
    /// The arguments of the CLI.
    pub args: Vec<String>,
    /// Variables for the agent.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The directory of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// A signal that a program sends to its CLI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunSignal {
    /// Terminate.
    Term,
    /// Interrupt.
    Int,
    /// Hang up.
    Hup,
}

impl RunSignal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Term, Self::Int, Self::Hup];

    /// Returns the name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
            Self::Hup => "SIGHUP",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.as_str() == name)
    }
}

/// A message of the client.
#[derive(Debug)]
pub enum RunRequest<'a> {
    /// Starts the agent.
    Start(RunStart),
    /// One line for the agent.
    Stdin {
        /// Its number.
        seq: u64,
        /// The line.
        data: &'a RawValue,
    },
    /// The end of the agent's input.
    StdinEnd {
        /// Its number.
        seq: u64,
    },
    /// A signal for the agent.
    Signal {
        /// Its number.
        seq: u64,
        /// The signal.
        signal: RunSignal,
    },
    /// The client has everything up to this number.
    Ack {
        /// The number.
        seq: u64,
    },
}

/// Reason for which a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid message format: {0}")]
pub struct RunMessageError(String);

impl RunMessageError {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl From<serde_json::Error> for RunMessageError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl<'a> RunRequest<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// Returns an error if it is malformed or of an unknown type.
    pub fn parse(text: &'a str) -> Result<Self, RunMessageError> {
        let [kind, seq, data, signal] = fields(text, ["type", "seq", "data", "signal"])?;
        let kind = kind.and_then(string).ok_or_else(|| RunMessageError::new("type is missing"))?;
        let seq = || {
            let seq = seq.and_then(|seq| serde_json::from_str(seq.get()).ok());
            seq.ok_or_else(|| RunMessageError::new("seq: expected a whole number"))
        };
        Ok(match kind.as_ref() {
            "start" if text.len() > START_BYTES => {
                return Err(RunMessageError::new("start: over the limit of 4 MiB"));
            }
            "start" => Self::Start(serde_json::from_str(text)?),
            "stdin" => {
                let data = data.ok_or_else(|| RunMessageError::new("data is missing"))?;
                Self::Stdin { seq: seq()?, data }
            }
            "stdin_end" => Self::StdinEnd { seq: seq()? },
            "signal" => {
                let signal = signal.and_then(string).and_then(|name| RunSignal::from_name(&name));
                let signal = signal.ok_or_else(|| {
                    RunMessageError::new("signal: expected SIGTERM, SIGINT or SIGHUP")
                })?;
                Self::Signal { seq: seq()?, signal }
            }
            "ack" => Self::Ack { seq: seq()? },
            other => {
                let other: String = other.chars().take(50).collect();
                return Err(RunMessageError::new(format!("unknown type {other}")));
            }
        })
    }
}

impl RunStart {
    /// Returns the `start` message.
    #[must_use]
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Start<'a> {
            r#type: &'static str,
            #[serde(flatten)]
            start: &'a RunStart,
        }
        // Strings cannot fail to serialize.
        serde_json::to_string(&Start { r#type: "start", start: self }).unwrap_or_default()
    }
}

/// Returns a `stdin` message. `line` is JSON on one line.
#[must_use]
pub fn stdin(seq: u64, line: &str) -> String {
    format!(r#"{{"type":"stdin","seq":{seq},"data":{line}}}"#)
}

/// Returns a `stdin_end` message.
#[must_use]
pub fn stdin_end(seq: u64) -> String {
    format!(r#"{{"type":"stdin_end","seq":{seq}}}"#)
}

/// Returns a `signal` message.
#[must_use]
pub fn signal(seq: u64, signal: RunSignal) -> String {
    format!(r#"{{"type":"signal","seq":{seq},"signal":"{}"}}"#, signal.as_str())
}

/// Returns an `ack` message, which both sides send.
#[must_use]
pub fn ack(seq: u64) -> String {
    format!(r#"{{"type":"ack","seq":{seq}}}"#)
}

/// Returns the first message of a connection.
#[must_use]
pub fn connected(stream: &str, next: u64, received: u64, started: bool) -> String {
    // Left out of the first one of a run.
    let started = if started { r#","started":true"# } else { "" };
    format!(
        r#"{{"type":"connected","stream":"{stream}","next":{next},"received":{received}{started}}}"#
    )
}

/// Returns an `info` message with its number.
#[must_use]
pub fn info(seq: u64, text: &str) -> String {
    let text = serde_json::Value::from(text);
    format!(r#"{{"type":"info","seq":{seq},"data":{text}}}"#)
}

/// Returns the `exit` message.
#[must_use]
pub fn exit(seq: u64, code: Option<i32>, signal: Option<&str>) -> String {
    let (code, signal) = (serde_json::Value::from(code), serde_json::Value::from(signal));
    format!(r#"{{"type":"exit","seq":{seq},"code":{code},"signal":{signal}}}"#)
}

/// The envelope of a line, without the closing brace.
#[must_use]
pub fn line_prefix(seq: u64) -> String {
    format!("{LINE_HEAD}{seq}{LINE_DATA}")
}

/// A message of the server.
#[derive(Debug, PartialEq, Eq)]
pub enum RunMessage<'a> {
    /// The first message of a connection.
    Connected {
        /// The name of the numbers.
        stream: Cow<'a, str>,
        /// The number of the last message of the client that the server has.
        received: u64,
        /// The server has the command line.
        started: bool,
    },
    /// One line of the agent's stdout.
    Line {
        /// Its number.
        seq: u64,
        /// The line.
        data: &'a str,
    },
    /// A line of its stderr, or one of stdout that is no JSON object.
    Info {
        /// Its number.
        seq: u64,
        /// The text.
        data: Cow<'a, str>,
    },
    /// The end of the agent.
    Exit {
        /// Its number.
        seq: u64,
        /// The exit code.
        code: Option<i32>,
        /// The name of the signal that ended it.
        signal: Option<Cow<'a, str>>,
    },
    /// The server has everything up to this number.
    Ack {
        /// The number.
        seq: u64,
    },
    /// A message of the client was not understood.
    Error {
        /// The reason.
        error: Cow<'a, str>,
    },
    /// A message of a later version, with its number.
    Unknown {
        /// The number, if it has one.
        seq: Option<u64>,
    },
}

impl<'a> RunMessage<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// Returns an error if it is malformed.
    pub fn parse(text: &'a str) -> Result<Self, RunMessageError> {
        if let Some(line) = line(text) {
            return Ok(line);
        }
        let [kind, seq, data] = fields(text, ["type", "seq", "data"])?;
        let kind = kind.and_then(string).ok_or_else(|| RunMessageError::new("type is missing"))?;
        let whole = |value: Option<&RawValue>, name: &str| {
            let number = value.and_then(|value| serde_json::from_str(value.get()).ok());
            number.ok_or_else(|| RunMessageError::new(format!("{name}: expected a whole number")))
        };
        let missing = |name: &str| RunMessageError::new(format!("{name} is missing"));
        Ok(match kind.as_ref() {
            "connected" => {
                let names = ["stream", "next", "received", "started"];
                let [stream, next, received, started] = fields(text, names)?;
                let stream = stream.and_then(string).ok_or_else(|| missing("stream"))?;
                let (next, received) = (whole(next, "next")?, whole(received, "received")?);
                // Where something has passed, it was started; a server need not say so.
                let said = started.is_some_and(|started| started.get() == "true");
                Self::Connected { stream, received, started: said || next > 1 || received > 0 }
            }
            "sdk_message" => {
                let data = data.ok_or_else(|| missing("data"))?.get();
                Self::Line { seq: whole(seq, "seq")?, data }
            }
            "info" => {
                let data = data.and_then(string).ok_or_else(|| missing("data"))?;
                Self::Info { seq: whole(seq, "seq")?, data }
            }
            "exit" => {
                let [code, signal] = fields(text, ["code", "signal"])?;
                let code = code.and_then(|code| serde_json::from_str(code.get()).ok()).flatten();
                let signal = signal.and_then(string);
                Self::Exit { seq: whole(seq, "seq")?, code, signal }
            }
            "ack" => Self::Ack { seq: whole(seq, "seq")? },
            "error" => {
                let [error] = fields(text, ["error"])?;
                Self::Error { error: error.and_then(string).unwrap_or_default() }
            }
            _ => Self::Unknown { seq: whole(seq, "seq").ok() },
        })
    }
}

/// Reads the envelope of a line as this server writes it.
fn line(text: &str) -> Option<RunMessage<'_>> {
    let rest = text.strip_prefix(LINE_HEAD)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let seq = rest.get(..digits)?.parse().ok()?;
    let data = rest.get(digits..)?.strip_prefix(LINE_DATA)?.strip_suffix('}')?;
    Some(RunMessage::Line { seq, data })
}

#[cfg(test)]
mod tests;
