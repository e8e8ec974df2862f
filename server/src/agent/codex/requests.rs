//! Requests of the relay to the app-server.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;
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
pub(super) type Outcome<'a> = Result<Cow<'a, RawValue>, String>;

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
    pub(super) fn complete(&mut self, id: u64) -> Option<Request> {
        let at = self.pending.iter().position(|(known, ..)| *known == id)?;
        let (_, request, ..) = self.pending.remove(at);
        Some(request)
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
