//! The end of a run, and what follows from it: what is taken back, what is
//! said, whether there is another one.

use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::ServerMessage;
use tracing::info;

use super::Session;
use super::agent::{Running, StopReason};
use crate::agent::StartError;
use crate::process::signals;
use crate::process::{ExitReason, ProcessExit};

/// How many failures in a row it takes to give up a turn that runs elsewhere.
const REJOINS: u32 = 6;

/// An agent that is told to resume what it does not know names it on stderr and
/// exits before it has answered the first request. One that says nothing of it
/// may have other reasons, and a conversation is not given up for those; only
/// after so many failures in a row, because it would otherwise never end.
const RESUMES: u32 = 5;

impl Session {
    /// It is over, and everything it said before has been dealt with.
    pub(super) fn on_ended(&mut self, ended: ProcessExit, now: Instant) {
        // What it wrote to stderr comes before its end.
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
        self.inbox.forget_control();
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

    /// It ended by itself: says so, and starts it again if something waits.
    fn on_failure(&mut self, running: &Running, reason: &ExitReason, stderr: &[u8], now: Instant) {
        let stderr = self.agent.redact(String::from_utf8_lossy(stderr).into_owned());
        let (words, code, signal) = match reason {
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
                && (stderr.contains(session.as_str()) || self.agent.backoff.failures() >= RESUMES)
        });
        let delay = self.agent.backoff.delay();
        // Where it runs, its turn goes on.
        self.agent.rejoin = matches!(reason, ExitReason::Unreachable(_))
            && (running.in_turn() || running.rejoins)
            && self.agent.backoff.failures() < REJOINS;
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
            said => format!(" Its last words on stderr: {said}"),
        };
        self.error(&format!("The agent {words}. {next}{tail}"));
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

/// The end of a process whose tasks are gone, which a defect of theirs brings
/// about, or a shutdown of the whole runtime.
pub(super) fn lost_process() -> ProcessExit {
    ProcessExit { reason: ExitReason::Lost, stderr: Vec::new(), unread: Vec::<Bytes>::new() }
}
