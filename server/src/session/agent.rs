//! The agent within the session: its state, its start, its stop.

use std::time::{Duration, Instant};

use claude_relay_protocol::turns::{Init, Signal};
use serde_json::Value;
use serde_json::value::RawValue;
use tracing::info;

use super::Session;
use super::cli_version::Answer;
use super::conversation::Fork;
use super::restart::Backoff;
use super::running::{Running, StopReason};
use super::undelivered::not_taken;
use crate::agent::Version;
use crate::agent::protocol::{ControlOutcome, ProtocolAction, TurnEvent};
use crate::agent::{self, Conversation, StartError};
use crate::redact::Redactor;

/// Time for an agent to exit after it has closed one of its streams, which
/// usually means that it is about to.
const CLOSED_STREAM_TIMEOUT: Duration = Duration::from_secs(1);

/// State of the agent, running or not.
#[derive(Debug, Default)]
pub(super) struct Agent {
    pub(super) running: Option<Running>,
    /// The conversation to resume.
    pub(super) session_id: Option<String>,
    /// The conversation before the one that the configuration asks for.
    pub(super) former_session_id: Option<String>,
    /// The conversation that the next start forks, where no other is named.
    pub(super) forks: Option<Fork>,
    /// The next start goes on with the conversation under an id of its own.
    pub(super) changes_id: bool,
    /// The id of a conversation that the next start begins, whatever the
    /// configuration says.
    pub(super) begins: Option<String>,
    /// The next start goes on with the last conversation of the workspace.
    pub(super) continues: bool,
    /// The last conversation of the workspace, as the store has found it.
    pub(super) latest: Option<String>,
    /// How many runs in a row have ended by themselves soon after their start.
    pub(super) early_ends: u32,
    pub(super) backoff: Backoff,
    /// The next start continues a turn that runs elsewhere.
    pub(super) rejoin: bool,
    /// Time of the next start.
    pub(super) start_at: Option<Instant>,
    /// Model and permission mode of the last turn.
    pub(super) model: Option<String>,
    pub(super) permission_mode: Option<String>,
    /// Its start waits for the version of the CLI.
    pub(super) waits_for_version: bool,
    /// Its start waits for the store.
    pub(super) waits_for_store: bool,
    pub(super) turns: u64,
    /// Number of starts.
    pub(super) starts: u64,
    pub(super) last_exit: Option<serde_json::Value>,
    redactor: Redactor,
}

impl Agent {
    /// One that has not been started. `continues`: it goes on with the last
    /// conversation of the workspace.
    pub(super) fn new(continues: bool) -> Self {
        Self { continues, ..Self::default() }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Returns `starting`, `running`, `stopping`, `backing_off` or `stopped`.
    pub(super) fn state(&self) -> &'static str {
        match &self.running {
            Some(running) if running.stop_reason.is_some() => "stopping",
            Some(running) if !running.is_up => "starting",
            Some(_) => "running",
            None if self.waits_for_version || self.waits_for_store => "starting",
            None if self.start_at.is_some() => "backing_off",
            None => "stopped",
        }
    }

    pub(super) fn touch(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            running.last_activity = now;
        }
    }

    pub(super) fn started(&mut self, pid: Option<u32>) {
        info!(pid, "the agent runs");
        if let Some(running) = &mut self.running {
            running.is_up = true;
            running.pid = pid;
        }
    }

    pub(super) fn on_turn_event(&mut self, event: TurnEvent<'_>) {
        match event {
            TurnEvent::None => {}
            TurnEvent::TurnStarted(session_id) => {
                self.on_signal(&Signal::Init(Init { session_id, ..Init::default() }));
            }
            TurnEvent::TurnEnded => {
                self.on_signal(&Signal::Result { uuids: Vec::new(), own: false })
            }
            TurnEvent::Signal(signal) => self.on_signal(&signal),
        }
    }

    fn on_signal(&mut self, signal: &Signal<'_>) {
        match signal {
            Signal::Init(init) => {
                update(&mut self.session_id, init.session_id.as_deref());
                self.begins = None;
                // A fork that has begun has an id, under which it goes on.
                self.forks = None;
                self.continues = false;
                self.latest = None;
                update(&mut self.model, init.model.as_deref());
                update(&mut self.permission_mode, init.permission_mode.as_deref());
            }
            Signal::PermissionMode(mode) => update(&mut self.permission_mode, Some(mode)),
            Signal::Result { .. } => {
                self.turns += 1;
                self.early_ends = 0;
                self.backoff.succeeded();
            }
            _ => {}
        }
        if let Some(running) = &mut self.running {
            if let Signal::Init(init) = signal {
                update(&mut running.session_id, init.session_id.as_deref());
            }
            // The consequences are read from the model.
            let _ = running.turns.on_signal(signal);
            running.has_worked |= matches!(signal, Signal::Result { .. });
        }
    }

    pub(super) fn on_stream_closed(&mut self, stream: &'static str, now: Instant) {
        if let Some(running) = &mut self.running
            && running.stop_reason.is_none()
        {
            let reason = format!("it has closed its {stream} and still runs");
            running.closed_stream.get_or_insert((now + CLOSED_STREAM_TIMEOUT, reason));
        }
    }

    /// Returns a piece of what the agent has written to stderr without its secrets.
    pub(super) fn redact(&self, text: String) -> String {
        self.redactor.redact_piece(text)
    }

    pub(super) fn kill(&mut self) {
        if let Some(running) = &mut self.running {
            running.large.give_up();
            running.process.kill();
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let running = self.running.as_ref();
        let closed_stream = running.and_then(|running| Some(running.closed_stream.as_ref()?.0));
        let dialect = running.and_then(|running| running.dialect.deadline());
        let close_stdin_by = running.and_then(|running| running.close_stdin_by);
        let quiet = running.and_then(Running::quiet_at);
        let restored = running.and_then(|running| running.restoration.deadline());
        let turn = running.and_then(|running| running.turn_ends_by);
        let late = running.and_then(|running| running.late.deadline());
        [self.start_at, closed_stream, dialect, close_stdin_by, quiet, restored, turn, late]
            .into_iter()
            .flatten()
            .min()
    }
}

/// Updates a name, without an allocation if it is unchanged.
fn update(name: &mut Option<String>, new: Option<&str>) {
    if let Some(new) = new
        && name.as_deref() != Some(new)
    {
        *name = Some(new.to_owned());
    }
}

impl Session {
    /// Handles a new client: starts the agent, with the current configuration.
    pub(super) fn on_client_connected(&mut self, now: Instant) {
        let grace = self.runtime.settings.stop_grace;
        match &mut self.agent.running {
            Some(running)
                if running.stop_reason.is_none() && !running.config.is_equivalent(&self.config) =>
            {
                if running.in_turn() {
                    info!(
                        "the configuration has changed; the agent is started anew after its turn"
                    );
                    running.restart_due = true;
                } else {
                    info!("the configuration has changed; the agent is started anew");
                    running.stop(StopReason::Reconfigured, grace, now);
                }
            }
            Some(_) => {}
            None => self.ensure_agent(now),
        }
    }

    /// Handles the response to the first request: the agent can work.
    pub(super) fn on_ready(&mut self, offers: Value) {
        let Some(running) = &mut self.agent.running else { return };
        running.initialized = true;
        running.offers = offers;
        if std::mem::take(&mut running.rejoins) && !running.in_turn() {
            self.error("The turn has ended while the agent could not be reached; its end is lost");
        }
    }

    /// Starts the agent because there is work for it: at once, or after the
    /// backoff of its failures.
    pub(super) fn ensure_agent(&mut self, now: Instant) {
        let agent = &self.agent;
        let starts = agent.start_at.is_some() || agent.waits_for_version || agent.waits_for_store;
        if agent.is_running() || starts || self.drain_deadline.is_some() {
            return;
        }
        let delay = self.agent.backoff.remaining(now);
        if delay.is_zero() {
            self.start_agent(now);
        } else {
            self.agent.start_at = Some(now + delay);
        }
    }

    pub(super) fn start_agent(&mut self, now: Instant) {
        self.agent.start_at = None;
        self.fork_if_due();
        let resume = self.agent.session_id.clone();
        let mut begins = self.agent.begins.clone();
        let mut config = self.config.clone();
        if begins.is_some() {
            (config.resume, config.continue_latest, config.fork_session) = (None, None, None);
        } else if let Some(fork) = &self.agent.forks {
            begins = fork.apply(&mut config);
        } else if self.agent.continues && config.resume.is_none() {
            config.continue_latest = Some(true);
        }
        if config.continue_latest == Some(true)
            && config.resume.is_none()
            && let Some(latest) = &self.agent.latest
        {
            (config.resume, config.continue_latest) = (Some(latest.clone()), None);
        }
        let begins = begins.or_else(|| self.drawn_id(&config));
        let conversation = match (&resume, &begins) {
            (Some(id), _) => Conversation::Resumed(id),
            (None, Some(id)) => Conversation::New(id),
            (None, None) => Conversation::Configured,
        };
        if self.asks_store(&config, conversation.id(&config)) {
            self.agent.waits_for_store = true;
            return;
        }
        let run = self.agent.starts;
        let has_spare = self.spares.has_any() && !self.runtime.settings.demo;
        let version = if has_spare || agent::needs_version(&self.runtime.settings, &config) {
            match self.cli_version.get(&self.runtime) {
                Answer::Known(version) => version,
                Answer::Asked => {
                    self.agent.waits_for_version = true;
                    return;
                }
            }
        } else {
            None
        };
        let mut spare = self.spares.take(&config);
        let started = agent::start(&self.runtime, &config, conversation, run, version, &mut spare);
        let started = match started {
            Ok(started) => started,
            Err(error) => {
                self.spares.put_back(&config, spare);
                return self.not_started(&error);
            }
        };
        self.on_start_with_spare(&config, spare, started.warmth.clone(), now);
        self.agent.starts += 1;
        self.store.on_agent_started(&config, &self.runtime);
        self.agent.redactor = Redactor::new(&config, &self.runtime.settings.environment);
        self.record_start(&config, &started.first);
        let rejoins = std::mem::take(&mut self.agent.rejoin);
        let forks = config.fork_session == Some(true);
        self.agent.running = Some(Running::new(started, self.config.clone(), forks, rejoins, now));
        self.restore(now);
    }

    /// Says again to a new process what was set at run time.
    fn restore(&mut self, now: Instant) {
        let Some(running) = &mut self.agent.running else { return };
        running.restoration = self.run_time.restoration(now);
        let lost = running.restoration.take_lost();
        let mut answered = Vec::new();
        for (id, request) in running.restoration.requests() {
            match running.dialect.control_request(&id, &request, now) {
                ControlOutcome::Write(line) => self.inbox.push_control(line),
                ControlOutcome::Answered(response) => answered.push((id, response)),
            }
        }
        for (id, response) in answered {
            self.on_restored(&id, &response);
        }
        if let Some(lost) = lost {
            self.error(&lost);
        }
    }

    /// The agent has answered what was said again.
    pub(super) fn on_restored(&mut self, id: &str, response: &RawValue) {
        let Some(running) = &mut self.agent.running else { return };
        if let Some(told) = running.restoration.on_answer(id, response) {
            self.error(&told);
        }
    }

    /// The executable has told its version: the start goes on.
    pub(super) fn on_cli_version(&mut self, version: Option<Version>, now: Instant) {
        self.cli_version.learn(version);
        if std::mem::take(&mut self.agent.waits_for_version) {
            self.ensure_agent(now);
            self.on_early_requests(now);
        }
        self.on_version_for_spares(now);
    }

    /// Reports that the agent could not be started. The next message or client
    /// causes another attempt.
    pub(super) fn not_started(&mut self, error: &StartError) {
        let reason = format!("The agent could not be started: {error}");
        self.agent.last_exit = Some(serde_json::json!({ "error": error.to_string() }));
        if error.may_heal() {
            let hint = match self.inbox.messages() {
                0 => String::new(),
                1 => ". Your message is kept and handed over once it runs".to_owned(),
                more => format!(". {more} messages are kept and handed over once it runs"),
            };
            return self.error(&format!("{reason}{hint}"));
        }
        let hint = not_taken(self.inbox.messages());
        self.error(&format!("{reason}{hint}"));
        self.hand_back_messages(&reason);
    }

    pub(super) fn on_agent_time(&mut self, now: Instant) {
        if self.agent.start_at.is_some_and(|at| now >= at) {
            self.start_agent(now);
        }
        let grace = self.runtime.settings.stop_grace;
        let Some(running) = &mut self.agent.running else { return };
        running.dialect.on_time(now);
        if running.turn_ends_by.is_some_and(|by| now >= by) {
            return self.on_turn_timeout(now);
        }
        if running.quiet_at().is_some_and(|at| now >= at) {
            let _ = running.turns.on_quiet();
        }
        let late = running.restoration.on_time(now);
        if let Some((_, reason)) = running.closed_stream.take_if(|(at, _)| now >= *at)
            && running.stop_reason.is_none()
        {
            running.stop(StopReason::ClosedStream, grace, now);
            self.error(&format!("The agent is being stopped: {reason}"));
        }
        for told in late {
            self.error(&told);
        }
    }

    /// Executes the pending actions of the agent's protocol.
    pub(super) fn run_protocol_actions(&mut self, now: Instant) {
        while let Some(running) = &mut self.agent.running
            && let Some(action) = running.dialect.next_action()
        {
            match action {
                ProtocolAction::Write(line) => self.inbox.push_control(line),
                ProtocolAction::Inform(text) => self.error(&text),
                ProtocolAction::UnknownSession { session, reason } => {
                    self.on_unknown_session(&session, &reason, now);
                }
                ProtocolAction::TurnRefused(reason) => {
                    running.turns.on_message_refused();
                    self.error(&format!("The message was not taken: {reason}"));
                }
                ProtocolAction::Broken(reason) => {
                    // The agent would not answer further requests in time.
                    running.closed_stream = Some((now, reason));
                    self.on_agent_time(now);
                }
            }
        }
        let grace = self.runtime.settings.stop_grace;
        if let Some(running) = &mut self.agent.running {
            if running.restart_due && running.stop_reason.is_none() && !running.in_turn() {
                running.stop(StopReason::Reconfigured, grace, now);
            }
            running.close_stdin(now, grace);
        }
    }

    /// Tells that an agent, which another one is to replace, does not go.
    pub(super) fn on_escalated(&mut self, signal: &str) {
        let reason = self.agent.running.as_ref().and_then(|running| running.stop_reason);
        if let Some(StopReason::Reconfigured | StopReason::NewConversation) = reason {
            let text = format!(
                "The agent does not end by itself and gets {signal}; messages wait for the next one."
            );
            self.info(&text);
        }
    }

    pub(super) fn stop_for_shutdown(&mut self, now: Instant) {
        let grace = self.runtime.settings.stop_grace;
        self.agent.start_at = None;
        self.spares.kill_all();
        if let Some(running) = &mut self.agent.running {
            running.large.stop(grace);
            match running.stop_reason {
                None => running.stop(StopReason::ShuttingDown, grace, now),
                Some(_) => running.stop_reason = Some(StopReason::ShuttingDown),
            }
        }
    }
}
