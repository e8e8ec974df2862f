//! What a spare agent was told late: no message is handed over before it has
//! taken that, and one that does not is replaced by a cold start.

use std::time::{Duration, Instant};

use claude_relay_protocol::json::{fields, string};
use serde_json::value::RawValue;
use tracing::warn;

use super::Session;
use super::running::StopReason;
use crate::agent::LateRequests;
use crate::redact::Redactor;

/// Time for the agent to take it.
const LATE_TIMEOUT: Duration = Duration::from_secs(10);

/// The requests that are not answered.
#[derive(Debug, Default)]
pub(super) struct LateAnswers {
    open: Vec<String>,
    by: Option<Instant>,
    /// Masks what was said late in the agent's answers.
    redactor: Redactor,
}

impl LateAnswers {
    pub(super) fn new(requests: LateRequests, now: Instant) -> Self {
        let mut redactor = Redactor::default();
        redactor.extend(requests.secrets);
        Self { open: requests.ids, by: Some(now + LATE_TIMEOUT), redactor }
    }

    /// Whether messages wait.
    pub(super) fn holds(&self) -> bool {
        !self.open.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.by.filter(|_| self.holds())
    }

    /// Returns an answer of the agent without what was said late: a cold start
    /// has it in its environment, not in its settings.
    pub(super) fn redact(&self, answer: String) -> String {
        if self.redactor.finds(&answer) { self.redactor.redact_plain(answer) } else { answer }
    }

    /// Takes an answer. Returns the reason of a refusal, or `None` for the answer
    /// to another request.
    fn on_answer(&mut self, id: &str, response: &RawValue) -> Option<Result<(), String>> {
        let at = self.open.iter().position(|open| open == id)?;
        self.open.remove(at);
        let [subtype, error] = fields(response.get(), ["subtype", "error"]).unwrap_or_default();
        if subtype.and_then(string).as_deref() == Some("success") {
            return Some(Ok(()));
        }
        let reason = error.and_then(string).unwrap_or_else(|| "no reason was given".into());
        Some(Err(reason.into_owned()))
    }
}

impl Session {
    /// Takes the answer to what was said late. Returns false for another one.
    pub(super) fn on_late_answer(&mut self, id: &str, response: &RawValue, now: Instant) -> bool {
        let Some(running) = &mut self.agent.running else { return false };
        match running.late.on_answer(id, response) {
            None => return false,
            Some(Ok(())) => {}
            Some(Err(reason)) => self.on_late_refused(&reason, now),
        }
        true
    }

    /// Gives up an agent that has not answered in time.
    pub(super) fn on_late_time(&mut self, now: Instant) {
        let running = self.agent.running.as_ref();
        if running.and_then(|running| running.late.deadline()).is_some_and(|by| now >= by) {
            self.on_late_refused("it did not answer in time", now);
        }
    }

    /// Starts the agent anew, cold. Its messages have waited.
    fn on_late_refused(&mut self, reason: &str, now: Instant) {
        warn!("the agent has not taken late what a cold start says: {reason}");
        self.refuse_spares();
        let grace = self.runtime.settings.stop_grace;
        if let Some(running) = &mut self.agent.running {
            running.late.by = None;
            if running.stop_reason.is_none() {
                running.stop(StopReason::Reconfigured, grace, now);
            }
        }
    }
}
