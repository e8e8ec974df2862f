//! One run: an agent, its numbers in both directions, and its client.
//!
//! As in the session, [`Run::next_event`] is the only place that waits. Output
//! of the agent is taken while the replay buffer has room for it; a frame is
//! forgotten when the client has acknowledged it, and not before.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::QueryConfig;
use tokio::sync::{mpsc, oneshot};

use super::client::Client;
use super::input::InputQueue;
use super::request::Message;
use super::start::Prepared;
use crate::agent::Version;
use crate::process::large::{LargeLine, NotSeen, Seen, seen};
use crate::process::{self, ExitReason, Output, Process, ProcessEvent, ProcessExit};
use crate::redact::Redactor;
use crate::runtime::Runtime;
use crate::session::channels::{ClientChannels, ClientEvent, next_client_event, recv, reserve};
use crate::session::cli_version::VersionCache;
use crate::session::replay::ReplayBuffer;
use crate::session::timer::Timer;

/// A connection that asks for a run.
#[derive(Debug)]
pub struct RunConnect {
    /// The last number that it has.
    pub after: u64,
    /// The configuration of a raw connection.
    pub config: Option<Box<QueryConfig>>,
    /// The channels to it.
    pub channels: ClientChannels<Message>,
    /// Receives true if the connection is accepted.
    pub accepted: oneshot::Sender<bool>,
}

/// Commands to a run.
#[derive(Debug)]
pub(super) enum RunCommand {
    Connect(RunConnect),
    Stop,
}

/// The facts of a run that others may know.
#[derive(Debug, Default)]
pub(super) struct RunStatus {
    pub(super) ended: AtomicBool,
    pub(super) connected: AtomicBool,
}

impl RunStatus {
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }
}

/// The life of a run.
#[derive(Debug)]
pub(super) enum Phase {
    /// For its command line.
    Waiting,
    /// For the version of the CLI.
    Preparing(Prepared),
    Running {
        process: Process,
        cwd: PathBuf,
    },
    /// For the last of its stderr.
    Ending {
        process: Process,
        reason: ExitReason,
        until: Instant,
    },
    Ended,
}

/// An end that is told in place of the agent's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct ForcedExit {
    pub(super) code: Option<i32>,
    pub(super) signal: Option<&'static str>,
}

enum Event {
    Command(Option<RunCommand>),
    Written(Option<Vec<Bytes>>),
    Output(Option<Output>),
    /// A large line has been judged on another thread.
    Judged(Result<Seen<bool>, NotSeen>),
    Process(ProcessEvent),
    LastOfProcess(Option<ProcessEvent>),
    StdinFree(mpsc::OwnedPermit<process::Input>),
    Client(Option<ClientEvent<Message>>),
    Version(Option<Version>),
    Time,
}

/// One run.
pub(super) struct Run {
    pub(super) runtime: Arc<Runtime>,
    pub(super) versions: Arc<VersionCache>,
    pub(super) is_raw: bool,
    commands: mpsc::Receiver<RunCommand>,
    pub(super) status: Arc<RunStatus>,
    pub(super) phase: Phase,
    /// The variables that the program has brought along.
    pub(super) own: QueryConfig,
    pub(super) input: InputQueue,
    pub(super) forced_exit: Option<ForcedExit>,
    /// The agent has ended with another code than 0.
    pub(super) failed: bool,
    pub(super) replay: ReplayBuffer,
    pub(super) redactor: Redactor,
    /// A line of the agent that is judged on another thread.
    pub(super) large: LargeLine<bool>,
    pub(super) stream: String,
    /// The last number that the client has acknowledged.
    pub(super) acked: u64,
    /// The last acknowledgement that was sent to it.
    pub(super) ack_sent: u64,
    pub(super) client: Option<Client>,
    pub(super) had_client: bool,
    pub(super) alone_since: Option<Instant>,
    /// Its grace is over and it is being ended.
    pub(super) abandoned: bool,
    pub(super) stopping: bool,
    /// Time for the client to get the end; set when the server stops.
    pub(super) drain_deadline: Option<Instant>,
    pub(super) over: bool,
    timer: Timer,
}

/// Limit of the replay buffer of a run that may take `bytes`. Half of a buffer is
/// for what has not been acknowledged, and here all is that. A part is left for
/// the blocks on their way to it (the one that is taken while there is room, the
/// one behind it, and the one that is being read) and for frames on their way out.
fn replay_limit(bytes: usize) -> usize {
    (bytes - bytes / 4).saturating_mul(2)
}

impl Run {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        versions: Arc<VersionCache>,
        commands: mpsc::Receiver<RunCommand>,
        status: Arc<RunStatus>,
        is_raw: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            replay: ReplayBuffer::new(replay_limit(runtime.settings.replay_bytes)),
            large: LargeLine::default(),
            redactor: Redactor::new(&QueryConfig::default(), &runtime.settings.environment),
            runtime,
            versions,
            is_raw,
            commands,
            status,
            phase: Phase::Waiting,
            own: QueryConfig::default(),
            input: InputQueue::default(),
            forced_exit: None,
            failed: false,
            stream: claude_relay_random::hexadecimal::<16>(),
            acked: 0,
            ack_sent: 0,
            client: None,
            had_client: false,
            alone_since: Some(now),
            abandoned: false,
            stopping: false,
            drain_deadline: None,
            over: false,
            timer: Timer::new(now),
        }
    }

    /// Runs until nobody can want to know of it any more.
    pub(super) async fn run(mut self) {
        while !self.over {
            let event = self.next_event().await;
            self.on_event(event, Instant::now());
        }
    }

    /// Waits for the next event. All branches are cancel-safe.
    async fn next_event(&mut self) -> Event {
        self.timer.set(self.deadline());
        // A run that is being ended takes all, and keeps what there is room for:
        // its end comes behind its output.
        let has_room = self.has_room() || self.abandoned || self.stopping;
        let (mut spent, mut client_events, mut answers) = (None, None, None);
        if let Some(client) = &mut self.client {
            spent = Some(&mut client.channels.spent);
            client_events = Some(&mut client.channels.events);
            answers = Some(client.channels.priority.clone());
        }
        let (mut output, mut process_events, mut stdin) = (None, None, None);
        let (mut last_events, mut prepared) = (None, None);
        match &mut self.phase {
            Phase::Running { process, .. } => {
                let reads = has_room && !self.large.is_under_way();
                output = reads.then_some(&mut process.output);
                process_events = has_room.then_some(&mut process.events);
                stdin = process.stdin.clone().filter(|_| self.input.has_line());
            }
            Phase::Ending { process, .. } => {
                last_events = has_room.then_some(&mut process.events);
            }
            Phase::Preparing(waiting) => prepared = Some(waiting),
            Phase::Waiting | Phase::Ended => {}
        }
        tokio::select! {
            biased;
            command = self.commands.recv() => Event::Command(command),
            batch = recv(&mut spent) => Event::Written(batch),
            Some(event) = recv(&mut process_events) => Event::Process(event),
            event = recv(&mut last_events) => Event::LastOfProcess(event),
            version = Prepared::version(&mut prepared) => Event::Version(version),
            output = recv(&mut output) => Event::Output(output),
            judged = seen(Some(&mut self.large)) => Event::Judged(judged),
            Ok(permit) = reserve(stdin) => Event::StdinFree(permit),
            event = next_client_event(answers, &mut client_events) => Event::Client(event),
            () = self.timer.wait() => Event::Time,
        }
    }

    /// Returns true if there is room for more output.
    pub(super) fn has_room(&self) -> bool {
        self.replay.has_room(self.acked + 1)
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Command(Some(RunCommand::Connect(request))) => self.on_connect(request, now),
            Event::Command(Some(RunCommand::Stop) | None) => self.on_stop(now),
            Event::Written(Some(batch)) => self.on_written(batch),
            Event::Written(None) | Event::Client(None) => self.on_disconnected(now),
            Event::Output(Some(Output::Lines(block))) => self.on_block(block),
            Event::Judged(judged) => self.on_judged(judged),
            Event::Output(Some(Output::Exited(exit))) => self.on_exited(exit, now),
            Event::Output(None) => {
                let reason = ExitReason::Lost;
                self.on_exited(ProcessExit { reason, stderr: Vec::new(), unread: Vec::new() }, now);
            }
            Event::Process(event) => self.on_process_event(event),
            Event::LastOfProcess(Some(event)) => self.on_process_event(event),
            Event::LastOfProcess(None) => self.end(),
            Event::StdinFree(permit) => self.write(permit),
            Event::Client(Some(event)) => self.on_client_event(event, now),
            Event::Version(version) => self.on_version(version),
            Event::Time => self.on_time(now),
        }
        self.acknowledge();
        self.deliver();
        self.finish(now);
    }
}
