//! The session: one conversation, whatever comes and goes around it.
//!
//! One actor owns all state. [`Session::next_event`] is the one place that
//! waits, [`Session::on_event`] the one place that acts, and it never waits.
//! Backpressure is the list of conditions in `next_event`:
//!
//! * a line of the agent, of its stdout or its stderr, is taken when the replay
//!   buffer has room for what the client has not got yet,
//! * something waiting for the agent is taken when its stdin is free,
//! * a frame of the client is taken when there is a place for the answer,
//! * everything else is always taken.
//!
//! The one path out: every frame that can be replayed goes into the
//! [`ReplayBuffer`], and the client is a cursor into it.

pub mod capabilities;
pub mod channels;
pub mod replay;
pub mod slot;

mod agent;
mod agent_state;
mod client;
mod configure;
mod control;
mod dispatch;
mod exit;
mod handle;
mod inbox;
mod permissions;
mod redact;
mod restart;
mod status;
#[cfg(test)]
mod tests;

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::{QueryConfig, ServerMessage, envelope};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::agent::protocol::Route;
use crate::process::limiter::Limiter;
use crate::process::lines::{Block, Line};
use crate::process::{Input, Output, ProcessEvent};
use crate::runtime::Runtime;

use agent::Agent;
use capabilities::{Capabilities, Found};
use channels::{ClientEvent, ConnectRequest, PriorityMessage};
use client::Client;
use control::ControlRequests;
use handle::{COMMANDS, Command};
use inbox::Inbox;
use permissions::Permissions;
use replay::ReplayBuffer;
use slot::{ConnectionId, Slot};

pub use configure::{Applies, ConfigureError, Configured};
pub use handle::{SessionClosed, SessionHandle};

/// Every cause of work.
#[derive(Debug)]
enum Event {
    Command(Command),
    /// The client's socket has taken the batch.
    Written(Vec<Bytes>),
    /// The agent said something, or has ended.
    Output(Output),
    /// An event of the process, beside its output.
    Process(ProcessEvent),
    /// The agent's stdin is free.
    StdinFree(mpsc::OwnedPermit<Input>),
    /// The client said something, or has gone.
    Client(Option<ClientEvent>),
    /// Other programs have told what can be done here.
    Found(Found),
    Time,
}

/// All state there is.
pub struct Session {
    runtime: Arc<Runtime>,
    commands: mpsc::Receiver<Command>,
    config: QueryConfig,
    replay: ReplayBuffer,
    slot: Slot,
    /// Those that wait for the outcome of a probe.
    waiting: Vec<ConnectRequest>,
    client: Option<Client>,
    inbox: Inbox,
    agent: Agent,
    controls: ControlRequests,
    permissions: Permissions,
    capabilities: Capabilities,
    /// The connection that waits for them.
    capabilities_waiter: Option<ConnectionId>,
    stray_lines: Limiter,
    /// The id of this life, once a client has connected. Not drawn before: a
    /// sandbox is a copy of a running server's memory.
    stream: Option<String>,
    /// The server is shutting down; when the client is let go at the latest.
    drain_deadline: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    armed: Option<Instant>,
}

impl Session {
    /// A session that waits for its first client, and the handle to it.
    #[must_use]
    pub fn new(runtime: Arc<Runtime>) -> (Self, SessionHandle) {
        let (commands_to, commands) = mpsc::channel(COMMANDS);
        let now = Instant::now();
        let session = Self {
            replay: ReplayBuffer::new(runtime.settings.replay_bytes),
            slot: Slot::new(runtime.settings.slot_timeouts),
            runtime,
            commands,
            config: QueryConfig::default(),
            waiting: Vec::new(),
            client: None,
            inbox: Inbox::default(),
            agent: Agent::default(),
            controls: ControlRequests::default(),
            permissions: Permissions::default(),
            capabilities: Capabilities::default(),
            capabilities_waiter: None,
            stray_lines: Limiter::new(now),
            stream: None,
            drain_deadline: None,
            timer: Box::pin(tokio::time::sleep_until(now.into())),
            armed: None,
        };
        (session, SessionHandle::new(commands_to))
    }

    /// Runs until a shutdown is complete.
    pub async fn run(mut self) {
        while !self.is_over() {
            let event = self.next_event().await;
            self.on_event(event, Instant::now());
        }
    }

    /// Waits. Nothing but channels and one timer, so nothing is lost when
    /// another branch wins.
    async fn next_event(&mut self) -> Event {
        let deadline = self.deadline();
        if deadline != self.armed {
            self.armed = deadline;
            if let Some(deadline) = deadline {
                self.timer.as_mut().reset(deadline.into());
            }
        }
        let has_room = self.client.as_ref().is_none_or(|client| client.has_room(&self.replay));
        let (mut spent, mut client_events, mut answers) = (None, None, None);
        if let Some(client) = &mut self.client {
            spent = Some(&mut client.channels.spent);
            client_events = Some(&mut client.channels.events);
            answers = Some(client.channels.priority.clone());
        }
        let (mut output, mut process_events, mut stdin) = (None, None, None);
        if let Some(running) = &mut self.agent.running {
            output = has_room.then_some(&mut running.process.output);
            process_events = has_room.then_some(&mut running.process.events);
            let accepts = running.dialect.accepts();
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
            Some(event) = recv(&mut process_events) => Event::Process(event),
            Ok(permit) = reserve(stdin) => Event::StdinFree(permit),
            heard = next_client_event(answers, &mut client_events) => Event::Client(heard),
            found = self.capabilities.found() => Event::Found(found),
            () = &mut self.timer, if deadline.is_some() => Event::Time,
        }
    }

    /// Acts, and gives the client what it is owed.
    fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Command(command) => self.on_command(command, now),
            Event::Written(spent_batch) => self.on_written(spent_batch),
            Event::Output(Output::Lines(block)) => self.on_lines(&block, now),
            Event::Output(Output::Exited(ended)) => self.on_ended(ended, now),
            Event::Process(event) => self.on_process_event(event, now),
            Event::StdinFree(permit) => self.write_to_agent(permit, now),
            Event::Client(events) => self.on_client_event(events, now),
            Event::Found(found) => self.on_found(found, now),
            Event::Time => {
                self.armed = None;
                self.on_time(now);
            }
        }
        self.run_protocol_actions(now);
        self.deliver(now);
        self.replay.evict(self.keeps_from());
        if self.drain_deadline.is_some() {
            self.finish_drain(now);
        }
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Connect(request) => self.on_connect_request(request, now),
            Command::Configure(body, reply) => {
                // Whoever asked may have gone; the configuration stands.
                let _ = reply.send(self.configure(&body));
            }
            Command::Config(reply) => {
                let _ = reply.send(self.config_shown());
            }
            Command::Health(reply) => {
                let _ = reply.send(self.health(now));
            }
            Command::Shutdown => self.shut_down(now),
        }
    }

    /// Frames from this number on must be kept.
    fn keeps_from(&self) -> u64 {
        self.client.as_ref().map_or(u64::MAX, Client::keeps_from)
    }

    /// The agent's lines: the hot path. Each is looked at once, and pasted
    /// into its envelope behind the ones before.
    fn on_lines(&mut self, block: &Block, now: Instant) {
        self.agent.heard(now);
        let keep_from = self.keeps_from();
        for line in block.lines() {
            // Line by line, so that what goes makes place for what comes.
            self.replay.evict(keep_from);
            let Some(running) = &mut self.agent.running else { return };
            match line {
                Line::Whole(line) => match running.dialect.classify(line, now) {
                    Route::Forward(mark) => {
                        self.replay.push([
                            envelope::SDK_MESSAGE_PREFIX,
                            line,
                            envelope::SDK_MESSAGE_SUFFIX,
                        ]);
                        self.agent.mark(mark);
                    }
                    Route::Hidden(mark) => self.agent.mark(mark),
                    other => self.on_other_line(line, other, now),
                },
                Line::TooLong(bytes) => self.error(&format!(
                    "The agent wrote a line of {bytes} bytes, which is over the limit of {}; it was left out",
                    crate::process::lines::LINE_LIMIT
                )),
            }
        }
    }

    /// The lines that are not for the client as they are.
    fn on_other_line(&mut self, line: &[u8], route: Route<'_>, now: Instant) {
        match route {
            Route::Forward(_) | Route::Hidden(_) => {}
            Route::Ready { offers } => self.on_ready(offers),
            Route::Answer { id, response } => self.on_answer(&id, &response, now),
            Route::Permission(asked) => {
                let time_limit = self.runtime.settings.permission_timeout;
                match self.permissions.ask(asked, self.replay.next(), now, time_limit) {
                    Ok(frame) => self.push(&frame),
                    Err(line) => self.inbox.push_control(line),
                }
            }
            Route::Withdrawn { id } => {
                if let Some(frame) = self.permissions.withdraw(&id) {
                    self.push(&frame);
                }
            }
            Route::Refuse(line) => self.inbox.push_control(line),
            Route::NotJson => self.forward_stray_line(&String::from_utf8_lossy(line), now),
        }
    }

    /// A line of stdout that is no JSON object.
    fn forward_stray_line(&mut self, text: &str, now: Instant) {
        if self.stray_lines.admit(text.len(), now) {
            self.report_dropped_lines();
            self.push(&ServerMessage::info(text).to_json());
        }
    }

    fn report_dropped_lines(&mut self) {
        let dropped = self.stray_lines.take_dropped();
        if dropped > 0 {
            self.info(&format!(
                "[{dropped} lines of the agent's output that are no JSON were left out]"
            ));
        }
    }

    fn on_process_event(&mut self, event: ProcessEvent, now: Instant) {
        match event {
            ProcessEvent::Started(pid) => self.agent.started(pid),
            ProcessEvent::Stderr(line) => {
                let line = self.agent.redact(line);
                self.push(&ServerMessage::info(line).to_json());
            }
            ProcessEvent::StderrDropped(lines) => {
                self.info(&format!("[{lines} lines of the agent's stderr were left out]"));
            }
            ProcessEvent::StdoutClosed => self.agent.on_stream_closed("standard output", now),
            ProcessEvent::StdinClosed => self.agent.on_stream_closed("standard input", now),
        }
    }

    fn on_time(&mut self, now: Instant) {
        let decisions = self.slot.on_time(now);
        self.decide(decisions, now);
        for (line, frame) in self.permissions.expire(now, self.runtime.settings.permission_timeout)
        {
            self.inbox.push_control(line);
            self.push(&frame);
        }
        self.on_agent_time(now);
    }

    /// When something is to be done next.
    fn deadline(&self) -> Option<Instant> {
        let state = self.client.as_ref().and_then(|client| client.state.deadline());
        let drain_deadline = self.drain_deadline.filter(|_| self.client.is_some());
        [
            self.slot.deadline(),
            self.permissions.deadline(),
            self.agent.deadline(),
            drain_deadline,
            state,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Appends a frame to what clients are owed.
    fn push(&mut self, frame: &str) {
        self.replay.push([frame.as_bytes(), &[], &[]]);
    }

    fn error(&mut self, text: &str) {
        tracing::warn!("{text}");
        self.push(&ServerMessage::error(text).to_json());
    }

    fn info(&mut self, text: &str) {
        self.push(&ServerMessage::info(text).to_json());
    }
}

/// Receives, or waits for ever when there is nothing to receive from.
async fn recv<T>(from: &mut Option<&mut mpsc::Receiver<T>>) -> Option<T> {
    match from {
        Some(from) => from.recv().await,
        None => pending().await,
    }
}

async fn reserve(
    stdin: Option<mpsc::Sender<Input>>,
) -> Result<mpsc::OwnedPermit<Input>, mpsc::error::SendError<()>> {
    match stdin {
        Some(stdin) => stdin.reserve_owned().await,
        None => pending().await,
    }
}

/// Takes a frame of the client once there is a place for an answer to it: a
/// client that asks and does not read is not asked on.
async fn next_client_event(
    answers: Option<mpsc::Sender<PriorityMessage>>,
    events: &mut Option<&mut mpsc::Receiver<ClientEvent>>,
) -> Option<ClientEvent> {
    let (Some(answers), Some(events)) = (answers, events) else {
        return pending().await;
    };
    let place = answers.reserve().await;
    if place.is_err() {
        return None;
    }
    events.recv().await
}
