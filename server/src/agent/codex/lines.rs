//! The contents of a line of the app-server, as far as they matter here. Reading
//! needs no state of the run, so that a large line can be read on another thread.

use std::borrow::Cow;

use claude_relay_protocol::json::{fields, string};
use serde_json::value::RawValue;

use super::approval::Asked;
use crate::agent::protocol::owned;

/// One line.
#[derive(Debug)]
pub enum CodexLine<'a> {
    /// No JSON object.
    NotJson,
    /// A notification, and the thread that it is about.
    Notification {
        /// Its kind.
        kind: Notification<'a>,
        /// Id of the thread, where the kind makes it count.
        thread: Option<Cow<'a, str>>,
    },
    /// A request of the app-server.
    Request(Box<Asked>),
    /// A response to a request of the relay.
    Response {
        /// Id of the request.
        id: Option<u64>,
        /// The result, or the error message.
        outcome: Result<Cow<'a, RawValue>, String>,
    },
    /// Any other object.
    Other,
}

/// Kind of a notification.
#[derive(Debug)]
pub enum Notification<'a> {
    /// `turn/started`.
    TurnStarted,
    /// `turn/completed`.
    TurnCompleted {
        /// True if the turn was interrupted.
        interrupted: bool,
    },
    /// `item/started`, with the id and the changes of a file change.
    ItemStarted(Option<(Cow<'a, str>, Cow<'a, RawValue>)>),
    /// `item/completed`, with the id of the item.
    ItemCompleted(Option<Cow<'a, str>>),
    /// Any other that shows output of the model.
    Item,
    /// `error`.
    Error {
        /// True if the model's API is tried again.
        retries: bool,
    },
    /// `serverRequest/resolved`, with the id of the request.
    Resolved(Option<Cow<'a, RawValue>>),
    /// `thread/status/changed`.
    StatusChanged,
    /// One without a meaning here.
    Other,
}

impl<'a> CodexLine<'a> {
    /// Reads a line.
    #[must_use]
    pub fn read(line: &'a [u8]) -> Self {
        let Ok(text) = simdutf8::basic::from_utf8(line) else {
            return Self::NotJson;
        };
        let Ok([method, id, params]) = fields(text, ["method", "id", "params"]) else {
            return Self::NotJson;
        };
        match (method.and_then(string), id) {
            (Some(method), None) => notification(&method, params),
            (Some(method), Some(id)) => Self::Request(Box::new(Asked::read(&method, id, params))),
            (None, Some(id)) => {
                Self::Response { id: id.get().parse().ok(), outcome: outcome(text) }
            }
            (None, None) => Self::Other,
        }
    }

    /// Returns the same without a reference to the line.
    #[must_use]
    pub fn into_owned(self) -> CodexLine<'static> {
        match self {
            Self::NotJson => CodexLine::NotJson,
            Self::Notification { kind, thread } => {
                CodexLine::Notification { kind: kind.into_owned(), thread: thread.map(owned) }
            }
            Self::Request(asked) => CodexLine::Request(asked),
            Self::Response { id, outcome } => {
                CodexLine::Response { id, outcome: outcome.map(owned) }
            }
            Self::Other => CodexLine::Other,
        }
    }
}

impl Notification<'_> {
    fn into_owned(self) -> Notification<'static> {
        match self {
            Self::TurnStarted => Notification::TurnStarted,
            Self::TurnCompleted { interrupted } => Notification::TurnCompleted { interrupted },
            Self::ItemStarted(change) => {
                Notification::ItemStarted(change.map(|(id, changes)| (owned(id), owned(changes))))
            }
            Self::ItemCompleted(id) => Notification::ItemCompleted(id.map(owned)),
            Self::Item => Notification::Item,
            Self::Error { retries } => Notification::Error { retries },
            Self::Resolved(id) => Notification::Resolved(id.map(owned)),
            Self::StatusChanged => Notification::StatusChanged,
            Self::Other => Notification::Other,
        }
    }
}

/// Returns a member of an object that may be missing.
fn member<'a>(object: Option<&'a RawValue>, name: &str) -> Option<&'a RawValue> {
    object.and_then(|object| fields(object.get(), [name]).ok()?[0])
}

fn notification<'a>(method: &str, params: Option<&'a RawValue>) -> CodexLine<'a> {
    let text = |name| member(params, name).and_then(string);
    let kind = match method {
        "turn/started" => Notification::TurnStarted,
        "turn/completed" => {
            let status = member(member(params, "turn"), "status").and_then(string);
            let interrupted = status.as_deref() == Some("interrupted");
            Notification::TurnCompleted { interrupted }
        }
        "item/started" => Notification::ItemStarted(file_change(member(params, "item"))),
        "item/completed" => {
            Notification::ItemCompleted(member(member(params, "item"), "id").and_then(string))
        }
        "error" => {
            let retries = member(params, "willRetry").map(RawValue::get) == Some("true");
            Notification::Error { retries }
        }
        "serverRequest/resolved" => {
            Notification::Resolved(member(params, "requestId").map(Cow::Borrowed))
        }
        "thread/status/changed" => Notification::StatusChanged,
        method if method.starts_with("item/") => Notification::Item,
        _ => Notification::Other,
    };
    let is_about_a_thread = matches!(
        kind,
        Notification::TurnStarted
            | Notification::TurnCompleted { .. }
            | Notification::Error { .. }
            | Notification::StatusChanged
    );
    let thread = if is_about_a_thread { text("threadId") } else { None };
    CodexLine::Notification { kind, thread }
}

/// Returns the id and the changes of an item that is a file change.
fn file_change(item: Option<&RawValue>) -> Option<(Cow<'_, str>, Cow<'_, RawValue>)> {
    let [kind, id, changes] = fields(item?.get(), ["type", "id", "changes"]).ok()?;
    let is_change = kind.and_then(string).as_deref() == Some("fileChange");
    is_change.then_some((string(id?)?, Cow::Borrowed(changes?)))
}

fn outcome(response: &str) -> Result<Cow<'_, RawValue>, String> {
    let [result, error] = fields(response, ["result", "error"]).unwrap_or_default();
    match (error, result) {
        (None, Some(result)) => Ok(Cow::Borrowed(result)),
        (Some(error), _) => Err(member(Some(error), "message")
            .and_then(string)
            .map_or_else(|| error.get().to_owned(), Cow::into_owned)),
        (None, None) => Err("a response without a result".into()),
    }
}
