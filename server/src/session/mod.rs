//! The session: one conversation, independent of connections and processes.
//!
//! One actor owns all state. [`Session::next_event`] is the only place that
//! waits, and [`Session::on_event`] the only one that acts; it never waits. The
//! conditions in `next_event` implement backpressure:
//!
//! * output of the agent, stdout or stderr, is taken while the replay buffer
//!   has room for what the client has not received,
//! * an entry of the inbox is taken when the agent's stdin is free,
//! * a message of the client is taken when there is room for the answer,
//! * all other events are always taken.
//!
//! There is one path to the client: every frame that can be replayed is
//! appended to the [`ReplayBuffer`], and the client is a cursor into it.

pub mod capabilities;
pub mod channels;
pub mod cli_version;
pub mod replay;
pub mod slot;

mod agent;
mod agent_requests;
mod agent_state;
mod client;
mod configure;
mod control;
mod conversation;
mod dispatch;
mod exit;
mod features;
mod first_message;
mod frames;
mod handle;
mod inbox;
mod late;
mod lines;
mod metrics;
mod owner;
mod permissions;
mod prewarm;
mod record;
mod restart;
mod restore;
mod running;
mod status;
mod store;
#[cfg(test)]
mod tests;
pub(crate) mod timer;
mod turn_timeout;
mod undelivered;
mod waiting;
mod watchers;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::text::counted;
use claude_relay_protocol::{QueryConfig, ServerMessage};
use tokio::sync::mpsc;

use crate::agent::{AgentLine, SpareEvent, SpareKind, Version};
use crate::process::large::{NotSeen, Seen, seen};
use crate::process::limiter::Limiter;
use crate::process::{Input, Output, ProcessEvent};
use crate::recording::Kind;
use crate::runtime::Runtime;
use crate::warnings::Warnings;

use agent::Agent;
use agent_requests::AgentRequests;
use capabilities::{Capabilities, Found};
use channels::{ClientEvent, ConnectRequest, next_client_event, recv, reserve};
use cli_version::CliVersion;
use client::Client;
use control::{ControlRequests, EarlyRequests};
use handle::{COMMAND_CAPACITY, Command};
use inbox::Inbox;
use metrics::Counters;
use permissions::Permissions;
use prewarm::Spares;
use replay::ReplayBuffer;
use restore::RunTimeState;
use slot::{ConnectionId, Slot};
use store::{Keeping, StoreEvent};
use timer::Timer;
use waiting::Notified;
use watchers::{WatcherEvent, Watchers};

pub use configure::{Applies, Change, ConfigureError, Configured, MAX_CONFIG_BYTES, ShownConfig};
pub use handle::{SessionClosed, SessionHandle};

/// Events that the session handles.
#[derive(Debug)]
enum Event {
    Command(Command),
    /// The client's socket has accepted the batch.
    Written(Vec<Bytes>),
    /// Output of the agent, or its end.
    Output(Output),
    /// A large line of the agent has been read on another thread.
    LargeLine(Result<Seen<AgentLine<'static>>, NotSeen>),
    /// An event of the process other than output.
    Process(ProcessEvent),
    /// The agent's stdin is free.
    StdinFree(mpsc::OwnedPermit<Input>),
    /// An event of the client, or its end.
    Client(Option<ClientEvent>),
    /// An event of a watcher.
    Watcher(ConnectionId, WatcherEvent),
    /// The capabilities are known.
    Found(Found),
    /// The CLI has told its version.
    CliVersion(Option<Version>),
    /// An event of a spare agent.
    Spare(SpareKind, SpareEvent),
    /// An event of the store.
    Store(StoreEvent),
    Time,
}

/// The actor, with all its state.
pub struct Session {
    runtime: Arc<Runtime>,
    commands: mpsc::Receiver<Command>,
    config: QueryConfig,
    replay: ReplayBuffer,
    slot: Slot,
    /// Connections that wait for the result of a probe.
    waiting: Vec<ConnectRequest>,
    client: Option<Client>,
    watchers: Watchers,
    inbox: Inbox,
    agent: Agent,
    spares: Spares,
    store: Keeping,
    controls: ControlRequests,
    early: EarlyRequests,
    run_time: RunTimeState,
    permissions: Permissions,
    agent_requests: AgentRequests,
    capabilities: Capabilities,
    cli_version: CliVersion,
    /// The connections that wait for the capabilities.
    capabilities_waiters: Vec<ConnectionId>,
    other_lines: Limiter,
    counters: Counters,
    notified: Notified,
    /// Log of errors, by the place that reports them.
    warnings: Warnings<(&'static str, u32)>,
    /// Id of the stream of frames, drawn when the first client connects. A
    /// sandbox is a copy of a running server's memory, so an earlier id would
    /// not be unique.
    stream: Option<String>,
    /// Deadline for disconnecting the client; set during a shutdown.
    drain_deadline: Option<Instant>,
    timer: Timer,
}

impl Session {
    /// Creates a session without a client, and its handle.
    #[must_use]
    pub fn new(runtime: Arc<Runtime>) -> (Self, SessionHandle) {
        let (commands_to, commands) = mpsc::channel(COMMAND_CAPACITY);
        let now = Instant::now();
        let keeps_raw = runtime.recorder.is_some();
        let session = Self {
            replay: ReplayBuffer::new(runtime.settings.replay_bytes),
            slot: Slot::new(runtime.settings.slot_timeouts),
            commands,
            config: QueryConfig::default(),
            waiting: Vec::new(),
            client: None,
            watchers: Watchers::default(),
            inbox: Inbox::default(),
            agent: Agent::new(runtime.settings.continue_latest),
            store: Keeping::new(&runtime),
            runtime,
            spares: Spares::default(),
            controls: ControlRequests::default(),
            early: EarlyRequests::default(),
            run_time: RunTimeState::default(),
            permissions: Permissions::default(),
            agent_requests: AgentRequests::default(),
            capabilities: Capabilities::default(),
            cli_version: CliVersion::default(),
            capabilities_waiters: Vec::new(),
            other_lines: Limiter::new(now),
            counters: Counters::default(),
            notified: Notified::default(),
            warnings: Warnings::default(),
            stream: None,
            drain_deadline: None,
            timer: Timer::new(now),
        };
        (session, SessionHandle::new(commands_to, keeps_raw))
    }

    /// Runs until a shutdown is complete.
    pub async fn run(mut self) {
        self.start_spares(Instant::now());
        while !self.is_over() {
            let event = self.next_event().await;
            self.on_event(event, Instant::now());
        }
        self.store.finish().await;
        if let Some(recorder) = &self.runtime.recorder {
            recorder.finish().await;
        }
    }

    /// Waits for the next event. All branches are channels and a timer, so they
    /// are cancel-safe.
    async fn next_event(&mut self) -> Event {
        self.timer.set(self.deadline());
        let has_room = self.client.as_ref().is_none_or(|client| client.has_room(&self.replay));
        let (mut spent, mut client_events, mut answers) = (None, None, None);
        if let Some(client) = &mut self.client {
            spent = Some(&mut client.channels.spent);
            client_events = Some(&mut client.channels.events);
            answers = Some(client.channels.priority.clone());
        }
        let (mut output, mut process_events, mut stdin) = (None, None, None);
        let mut large = None;
        if let Some(running) = &mut self.agent.running {
            let reads = has_room && !running.large.is_under_way() && !self.store.is_holding();
            if reads && let Some(event) = running.early.pop() {
                return event;
            }
            let accepts = running.accepts();
            output = reads.then_some(&mut running.process.output);
            large = Some(&mut running.large);
            process_events = has_room.then_some(&mut running.process.events);
            stdin = running.process.stdin.clone().filter(|_| self.inbox.has(accepts));
        }
        tokio::select! {
            biased;
            command = self.commands.recv() => Event::Command(command.unwrap_or(Command::Shutdown)),
            batch = recv(&mut spent) => match batch {
                Some(batch) => Event::Written(batch),
                None => Event::Client(None),
            },
            output = recv(&mut output) => match output {
                Some(output) => Event::Output(output),
                None => Event::Output(Output::Exited(exit::lost_process())),
            },
            read = seen(large) => Event::LargeLine(read),
            Some(event) = recv(&mut process_events) => Event::Process(event),
            Ok(permit) = reserve(stdin) => Event::StdinFree(permit),
            last_activity = next_client_event(answers, &mut client_events) => Event::Client(last_activity),
            found = self.capabilities.found() => Event::Found(found),
            version = self.cli_version.answered() => Event::CliVersion(version),
            (id, event) = self.watchers.next() => Event::Watcher(id, event),
            (kind, event) = self.spares.event() => Event::Spare(kind, event),
            event = self.store.event() => Event::Store(event),
            () = self.timer.wait() => Event::Time,
        }
    }

    /// Handles an event, and sends the client its pending frames.
    fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Command(command) => self.on_command(command, now),
            Event::Written(spent_batch) => self.on_written(spent_batch),
            Event::Output(Output::Lines(block)) => self.on_block(block, now),
            Event::LargeLine(read) => self.on_read(read, now),
            Event::Output(Output::Exited(ended)) => self.on_ended(ended, now),
            Event::Process(event) => self.on_process_event(event, now),
            Event::StdinFree(permit) => self.write_to_agent(permit, now),
            Event::Client(events) => self.on_client_event(events, now),
            Event::Watcher(id, event) => self.on_watcher_event(id, event, now),
            Event::Found(found) => self.on_found(found, now),
            Event::CliVersion(version) => self.on_cli_version(version, now),
            Event::Spare(kind, event) => self.on_spare(kind, event, now),
            Event::Store(event) => self.on_store(event, now),
            Event::Time => self.on_time(now),
        }
        self.run_protocol_actions(now);
        self.watch_turn(now);
        self.count_turns(now);
        self.notify_person();
        self.deliver(now);
        self.deliver_to_watchers(now);
        self.replay.evict(self.keeps_from());
        if self.drain_deadline.is_some() {
            self.finish_drain(now);
        }
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Connect(request) => self.on_connect_request(request, now),
            Command::Configure(body, change, reply) => {
                // The requester may have disconnected; the configuration stays
                // in effect.
                let configured = self.configure(&body, change);
                if configured.is_ok() {
                    self.on_configured_early(now);
                }
                let _ = reply.send(configured);
            }
            Command::ChangeOwner(reply) => {
                self.change_owner(now);
                let _ = reply.send(());
            }
            Command::Config(reply) => {
                let _ = reply.send(self.config_shown());
            }
            Command::Configuration(reply) => {
                let _ = reply.send(self.config.clone());
            }
            Command::Health(reply) => {
                let _ = reply.send(self.health(now));
            }
            Command::Ready(reply) => {
                let _ = reply.send(self.drain_deadline.is_none());
            }
            Command::Metrics(reply) => {
                let _ = reply.send(self.metrics());
            }
            Command::Shutdown => self.shut_down(now),
        }
    }

    /// Returns the number of the first frame that must be kept.
    fn keeps_from(&self) -> u64 {
        self.client.as_ref().map_or(u64::MAX, Client::keeps_from)
    }

    fn on_process_event(&mut self, event: ProcessEvent, now: Instant) {
        match event {
            ProcessEvent::Started(pid) => self.agent.started(pid),
            ProcessEvent::Stderr(line) => {
                let line = self.agent.redact(line);
                self.record_text(Kind::AgentStderr, line.as_bytes());
                self.push(&ServerMessage::info(line).to_json());
            }
            ProcessEvent::StderrDropped(lines) => {
                let were = if lines == 1 { "was" } else { "were" };
                let lines = counted(lines, "line");
                self.info(&format!("[{lines} of the agent's stderr {were} left out]"));
            }
            ProcessEvent::StdoutClosed => self.agent.on_stream_closed("standard output", now),
            ProcessEvent::StdinClosed => self.agent.on_stream_closed("standard input", now),
            ProcessEvent::Escalated(signal) => self.on_escalated(signal),
        }
    }

    fn on_time(&mut self, now: Instant) {
        let decisions = self.slot.on_time(now);
        self.decide(decisions, now);
        for (line, frame) in self.permissions.expire(now, self.runtime.settings.permission_timeout)
        {
            self.answer_agent(line, now);
            self.push(&frame);
        }
        self.expire_agent_requests(now);
        self.refuse_late_configuration(now);
        self.on_watcher_time(now);
        self.on_agent_time(now);
        self.on_late_time(now);
        self.on_spare_time(now);
        self.on_store_time(now);
    }

    /// Returns the time of the next scheduled work.
    fn deadline(&self) -> Option<Instant> {
        let client = self.client.as_ref();
        let state = client.and_then(|client| client.state.deadline());
        let configuration = client.and_then(|client| client.configures_by);
        let drain_deadline =
            self.drain_deadline.filter(|_| self.client.is_some() || !self.watchers.is_empty());
        [
            self.slot.deadline(),
            self.permissions.deadline(),
            self.agent_requests.deadline(),
            configuration,
            self.agent.deadline(),
            self.spares.deadline(),
            self.store.deadline(),
            drain_deadline,
            state,
            self.watchers.deadline(self.runtime.settings.slot_timeouts),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
