//! Requests of clients, and writing to the agent.

use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::text;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::Session;
use super::channels::Request;
use super::control;
use super::exit::EARLY_ENDS;
use super::inbox::Waiting;
use super::restore::{Change, Part};
use super::running::StopReason;
use super::slot::ConnectionId;
use super::undelivered::not_taken;
use crate::agent::protocol::{ControlOutcome, PermissionOutcome};
use crate::agent::{Dialect, provider};
use crate::process::Input;
use crate::recording::Kind;
use claude_relay_protocol::config::Provider;

/// Maximum number of characters of a client's text in an error.
const QUOTED_CHARS: usize = 50;

/// Maximum number of characters of a reason that can quote a client's text.
const REASON_CHARS: usize = 500;

/// Control requests that only the relay sends.
const OWN_REQUESTS: [&str; 1] = ["initialize"];

/// The beginning of an `input` message.
const INPUT_PREFIX: &[u8] = br#"{"type":"input","data":"#;

/// The error for a configuration at another time.
const NOT_FIRST: &str = "Invalid message format: configure is the first message of a connection that was opened with configure=true";

/// The relay's own control request: for Claude Code it is carried out here.
const NEW_CONVERSATION: &str = "new_conversation";

impl Session {
    pub(super) fn on_request(&mut self, from: ConnectionId, request: Request, now: Instant) {
        match request {
            // A message must not do anything by itself.
            Request::UserMessage { other: Some(name), .. }
                if self.runtime.settings.mode.asks_nobody() =>
            {
                let error = format!(
                    "The message was not taken: mode {} of the server does not allow the field {:?} in it",
                    self.runtime.settings.mode,
                    text::head(&name, QUOTED_CHARS)
                );
                self.report_bad_message(from, &error, now);
            }
            Request::UserMessage { line, uuid, .. } => {
                self.counters.messages += 1;
                self.counters.message_bytes += line.len() as u64;
                if self.inbox.push_message(line, uuid).is_err() {
                    let error = format!(
                        "The message was not taken: {} messages wait for the agent, which does not read them. Send it again later, or interrupt",
                        self.inbox.messages()
                    );
                    self.report_bad_message(from, &error, now);
                } else if let Some(reason) = self.no_agent_soon(now) {
                    self.error(&format!("{reason}{}", not_taken(self.inbox.messages())));
                    self.hand_back_messages(&reason);
                } else {
                    self.ensure_agent(now);
                }
            }
            Request::Interrupt => {
                if self.agent.is_running() || !self.inbox.is_empty() {
                    self.inbox.push_interrupt();
                }
            }
            Request::Permission { request_id, answer } => {
                if let Err(reason) = self.check_updates(&answer) {
                    let id = text::head(&request_id, QUOTED_CHARS);
                    let error = format!(
                        "The answer to permission request {id:?} was not taken, and the request is still open: {}",
                        text::cut(&reason, REASON_CHARS)
                    );
                    return self.report_bad_message(from, &error, now);
                }
                let change = answer.updates().and_then(Change::of_updates);
                match self.permissions.answer(&request_id, answer, self.replay.first()) {
                    Some(PermissionOutcome { line, notice }) => {
                        self.answer_agent(line, now);
                        if let Some(change) = change {
                            self.run_time.keep(change);
                        }
                        if let Some(notice) = notice {
                            self.report_bad_message(from, notice, now);
                        }
                    }
                    None => {
                        let id = text::head(&request_id, QUOTED_CHARS);
                        let error = format!(
                            "No permission request {id:?} is open: it was answered, withdrawn or never made"
                        );
                        self.report_bad_message(from, &error, now);
                    }
                }
            }
            Request::Control { request_id, subtype, request } => {
                self.on_control_request(from, request_id, &subtype, &request, now);
            }
            Request::AgentResponse { request_id, outcome } => {
                self.on_agent_response(from, &request_id, &outcome, now);
            }
            Request::Configure { .. } => self.report_bad_message(from, NOT_FIRST, now),
            Request::Capabilities => self.on_capabilities_request(from, now),
        }
    }

    fn on_control_request(
        &mut self,
        from: ConnectionId,
        id: String,
        subtype: &str,
        request: &str,
        now: Instant,
    ) {
        if subtype == NEW_CONVERSATION && !self.is_codex() {
            let conversation = self.begin_conversation(now);
            let response = serde_json::json!({ "session_id": conversation });
            return self.answer(from, control::succeeded(&id, &response), now);
        }
        if self.agent.waits_for_version && self.early.push(from, &id, subtype, request) {
            return;
        }
        let ceiling = self.check_control(subtype, request);
        if subtype == NEW_CONVERSATION && ceiling.is_ok() {
            // They were meant for the conversation that ends.
            self.hand_back_messages("a new conversation was begun");
        }
        let refusal = match &mut self.agent.running {
            _ if OWN_REQUESTS.contains(&subtype) => {
                format!("{subtype} is made by the relay itself")
            }
            None => "the agent is not running".to_owned(),
            Some(running) => match ceiling {
                Err(reason) => reason,
                Ok(()) if !self.inbox.has_room_for_request(request.len()) => {
                    "too many bytes of control requests wait for the agent".to_owned()
                }
                Ok(()) => match self.controls.register(from, id.clone()) {
                    Some(own) => {
                        self.run_time.ask(&own, subtype, request);
                        match running.dialect.control_request(&own, request, now) {
                            ControlOutcome::Write(line) => self.inbox.push_request(line),
                            ControlOutcome::Answered(response) => {
                                self.on_answer(&own, &response, now)
                            }
                        }
                        return;
                    }
                    None => "too many control requests are open".to_owned(),
                },
            },
        };
        self.answer(from, control::failed(&id, &refusal), now);
    }

    /// Reports a message that cannot be handed over, to whoever is connected.
    fn refuse_message(&mut self, error: &str, now: Instant) {
        match self.client.as_ref().map(|client| client.id) {
            Some(id) => self.report_bad_message(id, error, now),
            None => self.error(error),
        }
    }

    /// Answers a request of the agent. One that makes requests and leaves the
    /// answers unread is stopped.
    pub(super) fn answer_agent(&mut self, line: Bytes, now: Instant) {
        if self.inbox.push_answer(line).is_ok() {
            return;
        }
        let grace = self.runtime.settings.stop_grace;
        let Some(running) = &mut self.agent.running else { return };
        if !running.is_stopping() {
            running.stop(StopReason::ClosedStream, grace, now);
            self.error("The agent makes requests and does not read the answers; it is stopped");
        }
    }

    /// Judges the requests that came before the agent was started.
    pub(super) fn on_early_requests(&mut self, now: Instant) {
        for early in self.early.take() {
            self.on_control_request(early.from, early.id, &early.subtype, &early.request, now);
        }
    }

    /// Passes on the response to a control request.
    pub(super) fn on_answer(&mut self, id: &str, response: &RawValue, now: Instant) {
        if self.run_time.on_answer(id, response) == Some(Part::PermissionMode)
            && let Some(running) = &mut self.agent.running
        {
            running.restoration.release();
        }
        if let Some((from, frame)) = self.controls.complete(id, response) {
            let running = self.agent.running.as_ref();
            let frame = match running {
                Some(running) => running.late.redact(frame),
                None => frame,
            };
            self.answer(from, frame, now);
        } else {
            self.on_restored(id, response);
        }
    }

    /// The reason for which the agent cannot be waited for.
    fn no_agent_soon(&self, now: Instant) -> Option<String> {
        let left = self.agent.backoff.remaining(now);
        (!self.agent.is_running() && self.agent.early_ends >= EARLY_ENDS && !left.is_zero())
            .then(|| {
                format!(
                    "The agent has ended {} times in a row soon after its start{}; it is not started again before {} s have passed",
                    self.agent.early_ends,
                    self.agent.last_end(),
                    left.as_secs() + 1
                )
            })
    }

    pub(super) fn is_codex(&self) -> bool {
        match &self.agent.running {
            Some(running) => matches!(running.dialect, Dialect::Codex(_)),
            None => provider(&self.runtime.settings, &self.config) == Provider::Codex,
        }
    }

    /// Writes the next entry of the inbox to the agent, whose stdin is free.
    pub(super) fn write_to_agent(&mut self, permit: mpsc::OwnedPermit<Input>, now: Instant) {
        let Some(running) = &mut self.agent.running else { return };
        let input = match self.inbox.pop(running.accepts()) {
            None => None,
            Some(Waiting::Control(line) | Waiting::Request(line) | Waiting::Answer(line)) => {
                Some(Input::Control(line))
            }
            Some(Waiting::Interrupt) => running.dialect.interrupt(now).map(Input::Control),
            Some(Waiting::Message { line, uuid, again }) => {
                match running.dialect.message(line.clone(), now) {
                    Ok(input) => {
                        running.on_message_sent(uuid.as_deref(), now);
                        if !again {
                            let data = line.trim_ascii_end();
                            let frame = [INPUT_PREFIX, data, b"}"];
                            let seq = self.replay.next();
                            self.replay.push_input(frame);
                            if self.replay.next() > seq {
                                self.record(Kind::ToClient(Some(seq)), &frame.concat());
                            }
                        }
                        Some(input)
                    }
                    Err(error) => {
                        self.refuse_message(&format!("The message was not taken: {error}"), now);
                        None
                    }
                }
            }
        };
        if let Some(input) = input {
            self.record_input(&input);
            permit.send(input);
        }
    }
}
