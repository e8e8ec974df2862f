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
use crate::process::{Input, Note, Output};
use crate::runtime::Runtime;

use agent::Agent;
use capabilities::{Capabilities, Found};
use channels::{Control, Newcomer, News};
use client::Client;
use control::ControlRequests;
use handle::{COMMANDS, Command};
use inbox::Inbox;
use permissions::Permissions;
use replay::ReplayBuffer;
use slot::{ConnectionId, Slot};

pub use configure::{Applies, ConfigureError, Configured};
pub use handle::{Over, SessionHandle};

/// Every cause of work.
#[derive(Debug)]
enum Event {
    Command(Command),
    /// The client's socket has taken the batch.
    Written(Vec<Bytes>),
    /// The agent said something, or has ended.
    Output(Output),
    /// News of the agent beside its output.
    Note(Note),
    /// The agent's stdin is free.
    StdinFree(mpsc::OwnedPermit<Input>),
    /// The client said something, or has gone.
    News(Option<News>),
    /// Other programs have told what can be done here.
    Found(Found),
    Time,
}

/// All state there is.
pub struct Session {
    runtime: Arc<Runtime>,
    commands: mpsc::Receiver<Command>,
    config: QueryConfig,
    log: ReplayBuffer,
    slot: Slot,
    /// Those that wait for the outcome of a probe.
    newcomers: Vec<Newcomer>,
    client: Option<Client>,
    inbox: Inbox,
    agent: Agent,
    controls: ControlRequests,
    permissions: Permissions,
    capabilities: Capabilities,
    /// The connection that waits for them.
    curious: Option<ConnectionId>,
    noise: Limiter,
    /// The id of this life, once a client has connected. Not drawn before: a
    /// sandbox is a copy of a running server's memory.
    stream: Option<String>,
    /// The server is shutting down; when the client is let go at the latest.
    farewell: Option<Instant>,
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
            log: ReplayBuffer::new(runtime.settings.replay_bytes),
            slot: Slot::new(runtime.settings.patience),
            runtime,
            commands,
            config: QueryConfig::default(),
            newcomers: Vec::new(),
            client: None,
            inbox: Inbox::default(),
            agent: Agent::default(),
            controls: ControlRequests::default(),
            permissions: Permissions::default(),
            capabilities: Capabilities::default(),
            curious: None,
            noise: Limiter::new(now),
            stream: None,
            farewell: None,
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
        let has_room = self.client.as_ref().is_none_or(|client| client.has_room(&self.log));
        let (mut ready, mut news, mut answers) = (None, None, None);
        if let Some(client) = &mut self.client {
            ready = Some(&mut client.port.ready);
            news = Some(&mut client.port.news);
            answers = Some(client.port.control.clone());
        }
        let (mut output, mut notes, mut stdin) = (None, None, None);
        if let Some(running) = &mut self.agent.running {
            output = has_room.then_some(&mut running.process.output);
            notes = has_room.then_some(&mut running.process.notes);
            let takes = running.dialect.takes();
            stdin = running.process.stdin.clone().filter(|_| self.inbox.has(takes));
        }
        tokio::select! {
            biased;
            command = self.commands.recv() => Event::Command(command.unwrap_or(Command::Shutdown)),
            batch = recv(&mut ready) => match batch {
                Some(batch) => Event::Written(batch),
                None => Event::News(None),
            },
            output = recv(&mut output) => match output {
                Some(output) => Event::Output(output),
                None => Event::Output(Output::Ended(exit::lost())),
            },
            Some(note) = recv(&mut notes) => Event::Note(note),
            Ok(permit) = reserve(stdin) => Event::StdinFree(permit),
            heard = hear(answers, &mut news) => Event::News(heard),
            found = self.capabilities.found() => Event::Found(found),
            () = &mut self.timer, if deadline.is_some() => Event::Time,
        }
    }

    /// Acts, and gives the client what it is owed.
    fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Command(command) => self.on_command(command, now),
            Event::Written(hull) => self.on_written(hull),
            Event::Output(Output::Lines(block)) => self.on_lines(&block, now),
            Event::Output(Output::Ended(ended)) => self.on_ended(ended, now),
            Event::Note(note) => self.on_note(note, now),
            Event::StdinFree(permit) => self.feed(permit, now),
            Event::News(news) => self.on_news(news, now),
            Event::Found(found) => self.on_found(found, now),
            Event::Time => {
                self.armed = None;
                self.on_time(now);
            }
        }
        self.attend(now);
        self.deliver();
        self.log.forget(self.keeps_from());
        if self.farewell.is_some() {
            self.say_goodbye(now);
        }
    }

    fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Connect(newcomer) => self.on_newcomer(newcomer, now),
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
            self.log.forget(keep_from);
            let Some(running) = &mut self.agent.running else { return };
            match line {
                Line::Whole(line) => match running.dialect.classify(line, now) {
                    Route::Forward(mark) => {
                        self.log.push([
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
                let patience = self.runtime.settings.permission_timeout;
                match self.permissions.ask(asked, self.log.next(), now, patience) {
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
            Route::Noise => self.noise(&String::from_utf8_lossy(line), now),
        }
    }

    /// A line of stdout that is no JSON object.
    fn noise(&mut self, text: &str, now: Instant) {
        if self.noise.admit(text.len(), now) {
            self.report_dropped_noise();
            self.push(&ServerMessage::info(text).to_json());
        }
    }

    fn report_dropped_noise(&mut self) {
        let dropped = self.noise.take_dropped();
        if dropped > 0 {
            self.info(&format!(
                "[{dropped} lines of the agent's output that are no JSON were left out]"
            ));
        }
    }

    fn on_note(&mut self, note: Note, now: Instant) {
        match note {
            Note::Started(pid) => self.agent.started(pid),
            Note::Stderr(line) => {
                let line = self.agent.redact(line);
                self.push(&ServerMessage::info(line).to_json());
            }
            Note::StderrDropped(lines) => {
                self.info(&format!("[{lines} lines of the agent's stderr were left out]"));
            }
            Note::StdoutClosed => self.agent.mistrust("standard output", now),
            Note::StdinClosed => self.agent.mistrust("standard input", now),
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
        let farewell = self.farewell.filter(|_| self.client.is_some());
        [self.slot.deadline(), self.permissions.deadline(), self.agent.deadline(), farewell]
            .into_iter()
            .flatten()
            .min()
    }

    /// Appends a frame to what clients are owed.
    fn push(&mut self, frame: &str) {
        self.log.push([frame.as_bytes(), &[], &[]]);
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
async fn hear(
    answers: Option<mpsc::Sender<Control>>,
    news: &mut Option<&mut mpsc::Receiver<News>>,
) -> Option<News> {
    let (Some(answers), Some(news)) = (answers, news) else {
        return pending().await;
    };
    let place = answers.reserve().await;
    if place.is_err() {
        return None;
    }
    news.recv().await
}
