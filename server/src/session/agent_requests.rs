//! The agent's own control requests that a client answers: dialogs with a
//! person, hooks, tools that the client runs.
//!
//! A request is sent to the client that supports its kind, and again to one
//! that comes back without having seen it. It is answered once.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::text;
use serde_json::json;

use super::Session;
use super::replay::{Feature, Features};
use super::slot::ConnectionId;
use crate::agent::protocol::{AgentRequest, ResponseLine};

/// Maximum number of requests that wait for the client.
const LIMIT: usize = 256;

/// Maximum size of the requests that wait. One alone may be larger.
const LIMIT_BYTES: usize = 64 << 20;

/// Maximum number of characters of a client's text in an error.
const QUOTED_CHARS: usize = 50;

/// Requests of the agent.
#[derive(Debug, Default)]
pub(super) struct AgentRequests {
    open: Vec<Open>,
    /// Size of the frames of the open ones.
    bytes: usize,
    /// Answered requests in the order of the answers: the number of the frame
    /// that carried each last. An entry is removed with its frame.
    answered: VecDeque<(u64, Feature, String)>,
    /// Features of the client, or of the last one while there is none: it may
    /// come back.
    features: Features,
}

#[derive(Debug)]
struct Open {
    id: String,
    feature: Feature,
    frame: String,
    /// Number of the frame that carried it last.
    seq: u64,
    /// A hook has a time limit of its own, which the agent keeps.
    expires: Option<Instant>,
    unsupported: Bytes,
    response: ResponseLine,
}

/// Returns the feature that a client needs for requests of this kind.
fn feature(subtype: &str) -> Option<Feature> {
    match subtype {
        "elicitation" | "request_user_dialog" => Some(Feature::Questions),
        "hook_callback" => Some(Feature::Hooks),
        "mcp_message" => Some(Feature::HostTools),
        _ => None,
    }
}

impl AgentRequests {
    /// Returns true if a request waits for a decision of a person.
    pub(super) fn ask_a_person(&self) -> bool {
        self.open.iter().any(|open| open.feature == Feature::Questions)
    }

    /// Returns the time at which the next request expires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.iter().filter_map(|open| open.expires).min()
    }

    /// Returns the feature for a request that there is a client and room for.
    fn admit(&self, subtype: &str, bytes: usize) -> Option<Feature> {
        let has_room =
            self.open.is_empty() || (self.open.len() < LIMIT && self.bytes + bytes <= LIMIT_BYTES);
        feature(subtype).filter(|feature| self.features.has(*feature) && has_room)
    }

    fn add(&mut self, open: Open) {
        self.bytes += open.frame.len();
        self.open.push(open);
    }

    /// Removes the requests that `is_wanted` returns true for.
    fn take(&mut self, is_wanted: impl Fn(&Open) -> bool) -> Vec<Open> {
        let (taken, left) = std::mem::take(&mut self.open).into_iter().partition(is_wanted);
        self.open = left;
        self.bytes = self.open.iter().map(|open| open.frame.len()).sum();
        taken
    }

    /// Removes a request that is answered. `kept` is the number of the oldest
    /// frame in the replay buffer.
    fn answer(&mut self, id: &str, kept: u64) {
        for open in self.take(|open| open.id == id) {
            self.answered.push_back((open.seq, open.feature, open.id));
        }
        self.answered.retain(|(seq, ..)| *seq >= kept);
    }

    /// Returns the answered requests in a replay from `cursor`, once.
    fn take_answered(&mut self, cursor: u64) -> Vec<(Feature, String)> {
        let (seen, unseen) =
            std::mem::take(&mut self.answered).into_iter().partition(|(seq, ..)| *seq >= cursor);
        self.answered = unseen;
        let seen: VecDeque<(u64, Feature, String)> = seen;
        seen.into_iter().map(|(_, feature, id)| (feature, id)).collect()
    }
}

impl Session {
    /// Handles a request of the agent that only a client can answer.
    pub(super) fn on_agent_request(&mut self, asked: &AgentRequest<'_>, now: Instant) {
        let (id, request) = (json!(asked.id), asked.request.get());
        let frame = format!(r#"{{"type":"agent_request","requestId":{id},"request":{request}}}"#);
        let Some(feature) = self.agent_requests.admit(&asked.subtype, frame.len()) else {
            self.answer_agent(asked.unsupported.clone(), now);
            return;
        };
        let seq = self.replay.next();
        self.push_for(feature, &frame);
        let time_limit = self.runtime.settings.permission_timeout;
        self.agent_requests.add(Open {
            id: asked.id.to_string(),
            feature,
            frame,
            seq,
            expires: (feature != Feature::Hooks).then(|| now + time_limit),
            unsupported: asked.unsupported.clone(),
            response: asked.response,
        });
    }

    /// Passes on the client's answer.
    pub(super) fn on_agent_response(
        &mut self,
        from: ConnectionId,
        id: &str,
        outcome: &Result<String, String>,
        now: Instant,
    ) {
        let open = self.agent_requests.open.iter().find(|open| open.id == id);
        let error = match open.map(|open| self.agent_response_line(open, outcome)) {
            Some(Ok(line)) => {
                self.agent_requests.answer(id, self.replay.first());
                self.answer_agent(line, now);
                return;
            }
            Some(Err(reason)) => format!(
                "The answer to agent request {:?} was not taken, and the request is still open: {reason}",
                text::head(id, QUOTED_CHARS)
            ),
            None => format!(
                "No agent request {:?} is open: it was answered, withdrawn or never made",
                text::head(id, QUOTED_CHARS)
            ),
        };
        self.report_bad_message(from, &error, now);
    }

    /// Returns the line for the agent, or the reason for not taking the answer.
    fn agent_response_line(
        &self,
        open: &Open,
        outcome: &Result<String, String>,
    ) -> Result<Bytes, String> {
        let outcome = outcome.as_deref().map_err(String::as_str);
        if open.feature == Feature::Hooks
            && let Ok(response) = outcome
        {
            self.check_answer(response)?;
        }
        let line = (open.response)(&open.id, outcome);
        if self.inbox.has_room(line.len()) {
            Ok(line)
        } else {
            Err("the agent does not read what waits for it".to_owned())
        }
    }

    /// The agent wants no answer any more.
    pub(super) fn withdraw_agent_request(&mut self, id: &str) {
        self.cancel_agent_requests(|open| open.id == id);
    }

    /// The agent has ended.
    pub(super) fn withdraw_agent_requests(&mut self) {
        self.cancel_agent_requests(|_| true);
    }

    fn cancel_agent_requests(&mut self, is_over: impl Fn(&Open) -> bool) -> Vec<Open> {
        let over = self.agent_requests.take(is_over);
        for open in &over {
            self.push_for(open.feature, &cancelled(&open.id));
        }
        over
    }

    /// Answers expired requests with an error.
    pub(super) fn expire_agent_requests(&mut self, now: Instant) {
        let time_limit = self.runtime.settings.permission_timeout;
        let error = format!("Nobody answered the request within {time_limit:?}");
        for open in self.cancel_agent_requests(|open| open.expires.is_some_and(|at| at <= now)) {
            let line = (open.response)(&open.id, Err(&error));
            self.answer_agent(line, now);
        }
    }

    /// Prepares the open requests for a client with `features` that begins at
    /// `cursor`: sends those again that it has not seen, cancels those that it
    /// would take for open, and answers those that it does not support.
    pub(super) fn repeat_agent_requests(&mut self, cursor: u64, features: Features) {
        self.agent_requests.features = features;
        for open in self.cancel_agent_requests(|open| !features.has(open.feature)) {
            self.inbox.push_control(open.unsupported);
        }
        for (feature, id) in self.agent_requests.take_answered(cursor) {
            self.push_for(feature, &cancelled(&id));
        }
        let mut open = std::mem::take(&mut self.agent_requests.open);
        for open in open.iter_mut().filter(|open| open.seq < cursor) {
            open.seq = self.replay.next();
            self.push_for(open.feature, &open.frame);
        }
        self.agent_requests.open = open;
    }
}

fn cancelled(id: &str) -> String {
    let id = json!(id);
    format!(r#"{{"type":"agent_request_cancelled","requestId":{id}}}"#)
}
