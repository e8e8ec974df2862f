//! One run of the agent: its state, from the start of the process to its end.

use std::time::{Duration, Instant};

use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::turns::{QUIET, Turns};
use serde_json::Value;

use super::Event;
use super::late::LateAnswers;
use super::restore::Restoration;
use crate::agent::protocol::Accepts;
use crate::agent::{AgentLine, Dialect, Early, Started};
use crate::process::large::LargeLine;
use crate::process::{Input, Process};

/// State of one run.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) dialect: Dialect,
    pub(super) is_up: bool,
    pub(super) pid: Option<u32>,
    /// The configuration that it was started with.
    pub(super) config: QueryConfig,
    /// The conversation that it was told to resume.
    pub(super) resumed: Option<String>,
    /// The conversation that it has named last, or was told to resume.
    pub(super) session_id: Option<String>,
    pub(super) initialized: bool,
    /// Its commands and models, once it has sent them.
    pub(super) offers: Value,
    /// The run is a reconnection after the connection was lost during a turn.
    pub(super) rejoins: bool,
    pub(super) turns: Turns,
    pub(super) last_activity: Instant,
    pub(super) started_at: Instant,
    /// It has ended a turn.
    pub(super) has_worked: bool,
    /// When the running turn, seen here first, must have ended.
    pub(super) turn_ends_by: Option<Instant>,
    /// The turn has been interrupted because of its time.
    pub(super) timed_out: bool,
    pub(super) stop_reason: Option<StopReason>,
    /// It is stopped for the configuration once its turn has ended.
    pub(super) restart_due: bool,
    /// Latest time to close its stdin.
    pub(super) close_stdin_by: Option<Instant>,
    /// What was set at run time, on its way back.
    pub(super) restoration: Restoration,
    /// What it was told late, as a spare.
    pub(super) late: LateAnswers,
    pub(super) closed_stream: Option<(Instant, String)>,
    /// What it has said before its use, as a spare.
    pub(super) early: EarlyOutput,
    /// Its large line, which is routed on another thread.
    pub(super) large: LargeLine<AgentLine<'static>>,
}

/// What a spare has said before its use.
#[derive(Debug, Default)]
pub(super) struct EarlyOutput(Early);

impl EarlyOutput {
    /// Takes the next event.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.0.events.pop_front().map(Event::Process);
        event.or_else(|| self.0.output.pop_front().map(Event::Output))
    }
}

/// Reason for stopping the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// A process with the new configuration replaces it.
    Reconfigured,
    /// For one that begins a conversation.
    NewConversation,
    /// The server is shutting down.
    ShuttingDown,
    /// It has closed a stream and goes on running.
    ClosedStream,
}

impl Running {
    /// Creates the state of a new run with `config`. `forks` is true if it gives the
    /// conversation that it goes on with another id, `rejoins` if it is
    /// a reconnection after the connection was lost during a turn.
    pub(super) fn new(
        started: Started,
        config: QueryConfig,
        forks: bool,
        rejoins: bool,
        now: Instant,
    ) -> Self {
        let Started { process, dialect, first, late, resumed, early, warmth: _ } = started;
        if let Some(stdin) = &process.stdin
            && !first.is_empty()
        {
            // The channel is empty, so this cannot fail.
            let _ = stdin.try_send(Input::Control(first));
        }
        Self {
            process,
            dialect,
            is_up: false,
            pid: None,
            session_id: resumed.clone().filter(|_| !forks),
            config,
            resumed,
            initialized: false,
            offers: Value::Null,
            rejoins,
            turns: Turns::default(),
            last_activity: now,
            started_at: now,
            has_worked: false,
            turn_ends_by: None,
            timed_out: false,
            restart_due: false,
            stop_reason: None,
            close_stdin_by: None,
            restoration: Restoration::default(),
            late: LateAnswers::new(late, now),
            closed_stream: None,
            early: EarlyOutput(early),
            large: LargeLine::default(),
        }
    }

    /// What can be handed over now.
    pub(super) fn accepts(&self) -> Accepts {
        match self.dialect.accepts() {
            _ if self.restoration.holds() || self.late.holds() => Accepts::Requests,
            // An interrupt is for the turn, or for a message of the next agent.
            Accepts::Anything if self.restart_due && !self.in_turn() => Accepts::Requests,
            Accepts::Anything if self.restart_due => Accepts::NoMessage,
            accepts => accepts,
        }
    }

    /// Records that a message was sent to it.
    pub(super) fn on_message_sent(&mut self, uuid: Option<&str>, now: Instant) {
        self.turns.on_message_sent(uuid);
        self.last_activity = now;
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop_reason.is_some()
    }

    /// Returns true once it has answered the first request, or begun a turn
    /// without answering.
    pub(super) fn is_ready(&self) -> bool {
        self.initialized || self.turns.current().is_some()
    }

    /// Returns true if a turn runs or is about to begin.
    pub(super) fn in_turn(&self) -> bool {
        self.turns.current().is_some() || self.turns.has_sent()
    }

    /// Returns the time at which its silence means that the last turn has no
    /// continuation.
    pub(super) fn quiet_at(&self) -> Option<Instant> {
        (self.initialized && self.turns.wants_quiet()).then(|| self.last_activity + QUIET)
    }

    /// First step of the escalation: interrupts a running turn and then closes
    /// stdin.
    pub(super) fn stop(&mut self, reason: StopReason, grace: Duration, now: Instant) {
        if self.in_turn()
            && let Some(stdin) = &self.process.stdin
            && let Some(line) = self.dialect.interrupt_for_good(now)
        {
            // If the channel is full, the agent does not read its stdin.
            let _ = stdin.try_send(Input::Control(line));
        }
        self.stop_reason = Some(reason);
        self.closed_stream = None;
        self.close_stdin_by = Some(now + grace);
        self.close_stdin(now, grace);
    }

    /// Stops an agent whose turn does not end.
    pub(super) fn stop_for_timeout(&mut self, grace: Duration, now: Instant) {
        if self.stop_reason.is_none() {
            self.stop(StopReason::ClosedStream, grace, now);
        }
    }

    /// Second step: closes stdin, once the interrupt is done or its time is up.
    pub(super) fn close_stdin(&mut self, now: Instant, grace: Duration) {
        if let Some(by) = self.close_stdin_by
            && (!self.dialect.is_interrupting() || now >= by)
        {
            self.close_stdin_by = None;
            self.process.stop(grace);
        }
    }
}
