//! The end of a run and its consequences: unread messages, reports to the
//! client, and the restart.

use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;
use tracing::info;

use super::Session;
use super::agent::{Running, StopReason};
use crate::agent::StartError;
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
        let ProcessExit { reason, stderr, unread } = ended;
        info!(?reason, unread = unread.len(), "the agent has ended");
        self.report_dropped_lines();
        self.inbox.put_back(unread);
        self.inbox.put_back(running.dialect.unanswered().into_iter().collect());
        self.inbox.remove_control();
        self.run_time.on_end();
        for (from, frame) in self.controls.fail_all("the agent has ended") {
            self.answer(from, frame, now);
        }
        for frame in self.permissions.withdraw_all() {
            self.push(&frame);
        }
        match running.stop_reason {
            Some(StopReason::ShuttingDown) => {}
            Some(StopReason::Reconfigured) => self.start_agent(now),
            None | Some(StopReason::ClosedStream) => {
                self.on_failure(&running, &reason, &stderr, now)
            }
        }
    }

    /// Handles an unexpected end: reports it, and restarts the agent if
    /// messages wait.
    fn on_failure(&mut self, running: &Running, reason: &ExitReason, stderr: &[u8], now: Instant) {
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
        let unknown_session = running.resumed.clone().filter(|session| {
            !running.initialized
                && matches!(reason, ExitReason::Exited(1..))
                && (stderr.contains(session.as_str())
                    || self.agent.backoff.failures() >= MAX_RESUMES)
        });
        let delay = self.agent.backoff.delay();
        // A turn that runs elsewhere goes on.
        self.agent.rejoin = matches!(reason, ExitReason::Unreachable(_))
            && (running.in_turn() || running.rejoins)
            && self.agent.backoff.failures() < MAX_REJOINS;
        let next = if let Some(session) = &unknown_session {
            format!("The session {session} could not be resumed; a new one is started.")
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
        } else {
            "The next message starts it again and resumes the session.".to_owned()
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
        };
        self.push(&exit.to_json());
        if let Some(session) = unknown_session {
            self.agent.refused_resume = Some(session);
            self.agent.session_id = None;
            self.ensure_agent(now);
        } else if self.agent.rejoin || !self.inbox.is_empty() {
            self.ensure_agent(now);
        }
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
