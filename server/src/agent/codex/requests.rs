//! Requests of the relay to the app-server.

use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::json::{fields, string};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::REQUEST_TIMEOUT;

/// Kind of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    Initialize,
    /// `config/read`, before a thread is opened with restrictions.
    ReadConfig,
    /// `skills/list`, before the thread is opened; the one to resume, if any.
    ListSkills {
        resume: Option<String>,
    },
    /// Opening of a thread; the one to resume, if any.
    Open {
        resume: Option<String>,
    },
    StartTurn,
    Interrupt,
    CleanUp,
}

/// The result, or the error message.
pub(super) type Outcome = Result<Box<RawValue>, String>;

/// Requests without a response. There are only a few: each kind is sent only
/// when the one before is done.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pending: Vec<(u64, Request, &'static str, Instant)>,
    count: u64,
}

impl Requests {
    /// Records a request and returns its line.
    pub(super) fn make(
        &mut self,
        request: Request,
        method: &'static str,
        params: &Value,
        now: Instant,
    ) -> Bytes {
        self.count += 1;
        self.pending.push((self.count, request, method, now + REQUEST_TIMEOUT));
        line(&json!({ "id": self.count, "method": method, "params": params }))
    }

    /// Matches a response with its request.
    pub(super) fn complete(&mut self, id: &RawValue, reply: &str) -> Option<(Request, Outcome)> {
        let id: u64 = id.get().parse().ok()?;
        let at = self.pending.iter().position(|(known, ..)| *known == id)?;
        let (_, request, ..) = self.pending.remove(at);
        let [result, error] = fields(reply, ["result", "error"]).ok()?;
        let outcome = match (error, result) {
            (None, Some(result)) => Ok(result.to_owned()),
            (Some(error), _) => Err(fields(error.get(), ["message"])
                .ok()
                .and_then(|[message]| string(message?))
                .map_or_else(|| error.get().to_owned(), std::borrow::Cow::into_owned)),
            (None, None) => Err("a response without a result".into()),
        };
        Some((request, outcome))
    }

    /// Removes a request that was not sent after all.
    pub(super) fn remove(&mut self, request: &Request) {
        self.pending.retain(|(_, pending, ..)| pending != request);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pending.iter().map(|(.., by)| *by).min()
    }

    /// Returns the method of a request whose deadline has passed.
    pub(super) fn late(&self, now: Instant) -> Option<&'static str> {
        self.pending.iter().find(|(.., by)| now >= *by).map(|(_, _, method, _)| *method)
    }
}

pub(super) fn notification(method: &str) -> Bytes {
    line(&json!({ "method": method }))
}

/// Formats an object as one line.
pub(super) fn line(object: &Value) -> Bytes {
    let mut line = object.to_string();
    line.push('\n');
    line.into()
}
