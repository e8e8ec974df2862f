//! The relay's own requests to the app-server.

use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::json::{fields, string};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::REQUEST_TIMEOUT;

/// What was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Initialize,
    /// The configuration is to be told, before a thread is opened with less than that.
    ReadConfig,
    /// A thread is to be opened; which one, if it is to be an old one.
    Open {
        resume: Option<String>,
    },
    StartTurn,
    Interrupt,
    Clear,
}

/// The result, or the words of the error.
pub(super) type Outcome = Result<Box<RawValue>, String>;

/// Requests that have not been answered. A handful at most: each kind is made
/// only when the one before is over.
#[derive(Debug, Default)]
pub(super) struct Requests {
    open: Vec<(u64, Request, &'static str, Instant)>,
    count: u64,
}

impl Requests {
    /// Takes a request and gives its line.
    pub(super) fn make(
        &mut self,
        request: Request,
        method: &'static str,
        params: &Value,
        now: Instant,
    ) -> Bytes {
        self.count += 1;
        self.open.push((self.count, request, method, now + REQUEST_TIMEOUT));
        line(&json!({ "id": self.count, "method": method, "params": params }))
    }

    /// The request of this id is answered by `reply`.
    pub(super) fn complete(&mut self, id: &RawValue, reply: &str) -> Option<(Request, Outcome)> {
        let id: u64 = id.get().parse().ok()?;
        let at = self.open.iter().position(|(known, ..)| *known == id)?;
        let (_, request, ..) = self.open.remove(at);
        let [result, error] = fields(reply, ["result", "error"]).ok()?;
        let outcome = match (error, result) {
            (None, Some(result)) => Ok(result.to_owned()),
            (Some(error), _) => Err(fields(error.get(), ["message"])
                .ok()
                .and_then(|[message]| string(message?))
                .map_or_else(|| error.get().to_owned(), std::borrow::Cow::into_owned)),
            (None, None) => Err("an answer without a result".into()),
        };
        Some((request, outcome))
    }

    /// The request was not sent after all.
    pub(super) fn forget(&mut self, request: &Request) {
        self.open.retain(|(_, open, ..)| open != request);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().map(|(.., by)| *by).min()
    }

    /// The method of one that should have been answered by now.
    pub(super) fn late(&self, now: Instant) -> Option<&'static str> {
        self.open.iter().find(|(.., by)| now >= *by).map(|(_, _, method, _)| *method)
    }
}

pub(super) fn notification(method: &str) -> Bytes {
    line(&json!({ "method": method }))
}

/// An object on a line of its own.
pub(super) fn line(object: &Value) -> Bytes {
    let mut line = object.to_string();
    line.push('\n');
    line.into()
}
