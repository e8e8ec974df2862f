//! The end of a run and its consequences: unread messages, reports to the
//! client, and the restart.

use std::time::{Duration, Instant};

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;
use claude_relay_protocol::turns::TurnEvent;
use tracing::info;

use super::Session;
use super::agent::Agent;
use super::running::{Running, StopReason};
use super::undelivered::HandedBack;
use crate::agent::{self, StartError};
use crate::process::signals;
use crate::process::{ExitReason, ProcessExit};

/// Maximum number of failures in a row for which a turn that runs elsewhere is
/// rejoined.
const MAX_REJOINS: u32 = 6;

/// Number of failures in a row after which a conversation is given up. An agent
/// that does not know the conversation names it on stderr and exits before it
/// has answered the first request. If it does not name it, it may have another
/// reason to exit, and the conversation is kept until this limit.
const MAX_RESUMES: u32 = 5;

/// A run that ends within this time has failed at its start.
const SOON: Duration = Duration::from_secs(10);

/// After so many of those in a row messages are not kept any more.
pub(super) const EARLY_ENDS: u32 = 3;

impl Agent {
    /// The last end in words, for a text in which its start was told of.
    pub(super) fn last_end(&self) -> String {
        let Some(exit) = &self.last_exit else { return String::new() };
        let how = match (exit["code"].as_i64(), exit["signal"].as_str()) {
            (Some(code), _) => format!(", at last with code {code}"),
            (None, Some(signal)) => format!(", at last by signal {signal}"),
            (None, None) => String::new(),
        };
        match exit["stderr"].as_str().unwrap_or_default().trim() {
            "" => how,
            stderr => format!("{how} ({stderr})"),
        }
    }
}

impl Session {
    /// Handles the end of the process, after all its output.
    pub(super) fn on_ended(&mut self, ended: ProcessExit, now: Instant) {
        // Its stderr is reported before its exit.
        while let Some(note) =
            self.agent.running.as_mut().and_then(|running| running.process.events.try_recv().ok())
        {
            self.on_process_event(note, now);
        }
        let Some(mut running) = self.agent.running.take() else { return };
        let runs_on = matches!(ended.reason, ExitReason::Unreachable(_));
        if !runs_on && !agent::keeps_conversation(&running.config) {
            // It has ended with the agent: nothing could resume it.
            self.agent.session_id = None;
        }
        let ProcessExit { reason, stderr, unread } = ended;
        info!(?reason, unread = unread.len(), "the agent has ended");
        self.record_exit(&reason, running.stop_reason.is_some());
        let mut lost = lost_messages(&mut running);
        self.report_dropped_lines();
        let waited = self.inbox.unnamed();
        self.inbox.put_back(unread);
        self.inbox.put_back(running.dialect.unanswered().into_iter().collect());
        let unread = self.inbox.unnamed() - waited;
        self.inbox.remove_control();
        self.run_time.on_end();
        for (from, frame) in self.controls.fail_all("the agent has ended") {
            self.answer(from, frame, now);
        }
        for frame in self.permissions.withdraw_all() {
            self.push(&frame);
        }
        self.withdraw_agent_requests();
        lost.waiting.uuids.retain(|uuid| self.inbox.uuids().all(|waits| waits != uuid));
        lost.waiting.unnamed = lost.waiting.unnamed.saturating_sub(unread);
        match running.stop_reason {
            // They have been handed back.
            Some(StopReason::ShuttingDown) => {}
            Some(StopReason::Reconfigured) => {
                self.undelivered(
                    &lost.waiting,
                    "the agent was started anew with the configuration",
                );
                self.start_agent(now);
            }
            Some(StopReason::NewConversation) => {
                let cause = "a new conversation was begun";
                self.undelivered(&lost.waiting, cause);
                self.start_agent(now);
            }
            None | Some(StopReason::ClosedStream) => {
                self.on_failure(&running, &reason, &stderr, lost, now);
            }
        }
    }

    /// The agent does not know the conversation that it was to resume.
    fn forget_refused(&mut self, session: &str) {
        self.agent.forks = None;
        if self.agent.latest.take().is_some() {
            self.agent.continues = false;
            self.config.continue_latest = None;
        }
        if self.config.resume.as_deref() == Some(session) {
            // Only the configuration asked for it.
            self.config.resume = None;
            self.agent.session_id =
                self.agent.former_session_id.take().filter(|former| former != session);
        } else {
            self.agent.session_id = None;
        }
    }

    /// The agent runs, and does not know the conversation that it was to resume.
    /// Another one takes its place; no message runs in another conversation.
    pub(super) fn on_unknown_session(&mut self, session: &str, reason: &str, now: Instant) {
        let not_run = not_run(self.inbox.messages());
        self.error(&format!("The session {session} could not be resumed: {reason}{not_run}."));
        self.forget_refused(session);
        self.hand_back_messages(&format!("the session {session} could not be resumed"));
        let grace = self.runtime.settings.stop_grace;
        if let Some(running) = &mut self.agent.running
            && running.stop_reason.is_none()
        {
            running.stop(StopReason::NewConversation, grace, now);
        }
    }

    /// Handles an unexpected end: reports it, and restarts the agent if
    /// messages wait.
    fn on_failure(
        &mut self,
        running: &Running,
        reason: &ExitReason,
        stderr: &[u8],
        lost: LostMessages,
        now: Instant,
    ) {
        let stderr = self.agent.redact(String::from_utf8_lossy(stderr).into_owned());
        let (description, code, signal) = match reason {
            ExitReason::Exited(code) => (format!("exited with code {code}"), Some(*code), None),
            ExitReason::Signalled(number) => {
                let name = signals::name(*number);
                (format!("was ended by signal {name}"), None, Some(name))
            }
            ExitReason::Unreachable(reason) => (format!("cannot be reached: {reason}"), None, None),
            ExitReason::Lost => {
                ("was killed together with its supervisor".to_owned(), None, Some("SIGKILL".into()))
            }
            ExitReason::NotStarted(reason) => {
                let error = StartError::of_program(&self.runtime.settings, &running.config, reason);
                return self.not_started(&error);
            }
        };
        self.agent.backoff.failed(now);
        let soon = now.saturating_duration_since(running.started_at) < SOON && !running.has_worked;
        self.agent.early_ends = if soon { self.agent.early_ends + 1 } else { 0 };
        let unknown_session = running.resumed.clone().filter(|session| {
            !running.initialized
                && matches!(reason, ExitReason::Exited(1..))
                && (stderr.contains(session.as_str())
                    || self.agent.backoff.failures() >= MAX_RESUMES)
        });
        let delay = self.agent.backoff.delay();
        // A turn that runs elsewhere goes on.
        self.agent.rejoin = matches!(reason, ExitReason::Unreachable(_))
            && (lost.in_turn || running.rejoins)
            && self.agent.backoff.failures() < MAX_REJOINS;
        let gives_up = unknown_session.is_none() && self.agent.early_ends >= EARLY_ENDS;
        let next = if let Some(session) = &unknown_session {
            let not_run = not_run(self.inbox.messages() + lost.waiting.len());
            format!("The session {session} could not be resumed{not_run}.")
        } else if gives_up {
            format!(
                "It has ended {} times in a row soon after its start: it is not started again before {} s have passed{}.",
                self.agent.early_ends,
                delay.as_secs(),
                not_run(self.inbox.messages()),
            )
        } else if !delay.is_zero() {
            format!(
                "That was the {} failure in a row: it is not started again before {} s have passed.",
                ordinal(self.agent.backoff.failures()),
                delay.as_secs()
            )
        } else if self.agent.rejoin {
            "It is connected to again, to go on with its turn.".to_owned()
        } else if !self.inbox.is_empty() {
            "It is started again for the messages that wait.".to_owned()
        } else if agent::keeps_conversation(&running.config) {
            "The next message starts it again and resumes the session.".to_owned()
        } else {
            "The next message starts it again in a new conversation: `persistSession` is off."
                .to_owned()
        };
        let tail = match stderr.trim() {
            "" => String::new(),
            text => format!(" The end of its stderr: {text}"),
        };
        self.error(&format!("The agent {description}. {next}{tail}"));
        self.agent.last_exit = Some(serde_json::json!({
            "code": code, "signal": signal, "stderr": stderr,
        }));
        let exit = ServerMessage::Exit {
            seq: None,
            code,
            signal: signal.map(Into::into),
            stderr: stderr.as_str().into(),
            waiting: self.inbox.uuids().map(|uuid| uuid.to_owned().into()).collect(),
            dropped: lost
                .running
                .iter()
                .chain(&lost.waiting.uuids)
                .map(|uuid| uuid.into())
                .collect(),
        };
        self.push(&exit.to_json());
        let reason = match &unknown_session {
            Some(session) => format!("the session {session} could not be resumed"),
            None => format!("the agent {description}"),
        };
        self.undelivered(&lost.waiting, &reason);
        if let Some(session) = unknown_session {
            self.forget_refused(&session);
            self.hand_back_messages(&reason);
        } else if gives_up {
            self.hand_back_messages(&reason);
        } else if self.agent.rejoin || !self.inbox.is_empty() {
            self.ensure_agent(now);
        }
    }
}

/// The messages of a run that has ended.
#[derive(Debug, Default)]
struct LostMessages {
    /// Those of the turn that was cut short.
    running: Vec<String>,
    /// Those that no turn had taken.
    waiting: HandedBack,
    /// A turn was running or about to begin.
    in_turn: bool,
}

fn lost_messages(running: &mut Running) -> LostMessages {
    let mut lost = LostMessages { in_turn: running.in_turn(), ..LostMessages::default() };
    lost.waiting.unnamed = running.turns.unnamed();
    for event in running.turns.on_agent_ended() {
        match event {
            TurnEvent::Ended { turn, .. } => lost.running.extend(turn.uuids),
            TurnEvent::Finished { uuid, .. } => lost.waiting.uuids.push(uuid),
            TurnEvent::Began(_) => {}
        }
    }
    lost
}

fn not_run(messages: usize) -> String {
    match messages {
        0 => String::new(),
        1 => "; the message that waited was not run".to_owned(),
        more => format!("; the {more} messages that waited were not run"),
    }
}

fn ordinal(number: u32) -> String {
    match number {
        1 => "first".into(),
        2 => "second".into(),
        3 => "third".into(),
        more => format!("{more}th"),
    }
}

/// Returns the exit of a process whose tasks have ended, by a panic or a
/// shutdown of the runtime.
pub(super) fn lost_process() -> ProcessExit {
    ProcessExit { reason: ExitReason::Lost, stderr: Vec::new(), unread: Vec::<Bytes>::new() }
}
