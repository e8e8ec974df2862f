//! A recording that is played in the place of an agent (`--replay`).
//!
//! It has the channels of a process. What the agent wrote is written again, with
//! the pauses of the recording. Where the relay wrote a user message to an agent
//! without a turn, the player waits for one, whatever it says; where it
//! answered a request of the agent, for an answer to that. It waits for nothing
//! else: control requests are answered as recorded, and an interrupt has the
//! rest of the turn follow without pauses.

mod inputs;
mod lines;

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::process::lines::LineBuffer;
use crate::process::{
    ExitReason, Output, Process, ProcessChannels, ProcessCommand, ProcessEvent, ProcessExit,
};
use crate::recording::read::{Entry, Event, ReadError, Reader};
use crate::recording::speed::Speed;
use inputs::{Inputs, Message};
use lines::InputLine;
pub use lines::Protocol;

/// Size of the end of stderr that goes with an exit.
const TAIL_BYTES: usize = 4 << 10;

/// Maximum number of recorded requests that are remembered.
const MAX_REQUESTS: usize = 1024;

/// Time between two looks at whether the session has taken a line of stderr.
const STDERR_CHECK: Duration = Duration::from_millis(1);

/// Longest wait for a request of the relay that opens a conversation of Codex, as
/// the recorded one did.
const OPENING_WAIT: Duration = Duration::from_secs(2);

/// The rest of a recording, of which each agent plays a part.
#[derive(Debug)]
pub struct Replay {
    script: Arc<Mutex<Script>>,
    speed: Speed,
}

#[derive(Debug)]
struct Script {
    entries: mpsc::Receiver<io::Result<Entry>>,
    /// The last recorded answer to each kind of control request.
    answers: HashMap<String, Bytes>,
}

impl Replay {
    /// Opens a recording. A thread reads it as it is played.
    ///
    /// # Errors
    ///
    /// See [`ReadError`].
    pub fn open(path: &Path, speed: Speed) -> Result<Self, ReadError> {
        let mut reader = Reader::open(path)?;
        // An entry can be large, so that few are read ahead.
        let (to, entries) = mpsc::channel(2);
        let thread = std::thread::Builder::new().name("replay".to_owned()).spawn(move || {
            while let Some(entry) = reader.next_entry().transpose() {
                let is_last = entry.is_err();
                if to.blocking_send(entry).is_err() || is_last {
                    return;
                }
            }
        });
        thread.map_err(|source| ReadError::Open { path: path.to_owned(), source })?;
        let script = Script { entries, answers: HashMap::new() };
        Ok(Self { script: Arc::new(Mutex::new(script)), speed })
    }

    /// Starts an agent that plays what is left and speaks `protocol`.
    #[must_use]
    pub fn start(&self, protocol: Protocol) -> Process {
        let (script, speed) = (Arc::clone(&self.script), self.speed);
        Process::with_task(move |channels| async move {
            let mut player = Player::new(protocol, channels, script, speed);
            let _ = player.channels.events.send(ProcessEvent::Started(None)).await;
            let End(reason) = match player.play().await {
                Ok(never) => match never {},
                Err(end) => end,
            };
            let (stderr, unread) = (player.tail, player.inputs.into_unread(&mut player.channels));
            let exit = ProcessExit { reason, stderr, unread };
            // If this fails, the session has dropped the process.
            let _ = player.channels.output.send(Output::Exited(exit)).await;
        })
    }
}

/// The end of this agent.
struct End(ExitReason);

enum Never {}

/// One agent.
struct Player {
    protocol: Protocol,
    channels: ProcessChannels,
    script: Arc<Mutex<Script>>,
    speed: Speed,
    inputs: Inputs,
    out: LineBuffer,
    /// The end of what was written to stderr.
    tail: Vec<u8>,
    /// The recorded time that was reached, and when.
    reached: (Duration, Instant),
    in_turn: bool,
    /// Recorded messages that came within a turn, by their ids.
    queued: VecDeque<Option<String>>,
    /// Recorded ids of messages and those that took their places.
    renamed: VecDeque<(String, String)>,
    /// Recorded control requests of the relay: id and subtype.
    requests: VecDeque<(String, String)>,
    /// The thread of the recorded turn, with Codex.
    thread: Option<String>,
}

impl Player {
    fn new(
        protocol: Protocol,
        channels: ProcessChannels,
        script: Arc<Mutex<Script>>,
        speed: Speed,
    ) -> Self {
        Self {
            protocol,
            channels,
            script,
            speed,
            inputs: Inputs::new(protocol),
            out: LineBuffer::default(),
            tail: Vec::new(),
            reached: (Duration::ZERO, Instant::now()),
            in_turn: false,
            queued: VecDeque::new(),
            renamed: VecDeque::new(),
            requests: VecDeque::new(),
            thread: None,
        }
    }

    async fn play(&mut self) -> Result<Never, End> {
        loop {
            match self.next_entry().await? {
                Some(Ok(Entry { at, event })) => self.on_event(at, event).await?,
                None => return self.refuse_all("The recording has ended").await,
                Some(Err(error)) => {
                    let reason = format!("The recording cannot be read on: {error}");
                    return self.refuse_all(&reason).await;
                }
            }
        }
    }

    /// Reads the next entry, and meanwhile what comes from the relay.
    async fn next_entry(&mut self) -> Result<Option<io::Result<Entry>>, End> {
        let script = Arc::clone(&self.script);
        let mut next = std::pin::pin!(poll_fn(move |cx| {
            script.lock().unwrap_or_else(PoisonError::into_inner).entries.poll_recv(cx)
        }));
        loop {
            tokio::select! {
                biased;
                entry = &mut next => return Ok(entry),
                taken = take_input(&mut self.channels, &mut self.inputs) => taken?,
            }
        }
    }

    async fn on_event(&mut self, at: Duration, event: Event) -> Result<(), End> {
        match event {
            Event::Start { is_claude } => {
                self.reached = (at, Instant::now());
                self.in_turn = false;
                self.queued.clear();
                if is_claude != (self.protocol == Protocol::Claude) {
                    let (agent, provider) = match is_claude {
                        true => ("Claude Code", "claude"),
                        false => ("Codex", "codex"),
                    };
                    let reason = format!(
                        "The rest of the recording is of {agent}: start the server again and configure provider \"{provider}\""
                    );
                    return self.refuse_all(&reason).await.map(|never| match never {});
                }
            }
            Event::Input(line) => self.on_recorded_input(at, &line).await?,
            Event::Line(line) => self.on_line(at, line).await?,
            Event::Stderr(line) => {
                self.pause(at).await?;
                self.tail.extend_from_slice(line.as_bytes());
                self.tail.push(b'\n');
                self.tail.drain(..self.tail.len().saturating_sub(TAIL_BYTES));
                let _ = self.channels.events.send(ProcessEvent::Stderr(line)).await;
                // The session takes output first.
                let events = &self.channels.events;
                while events.capacity() < events.max_capacity() && !events.is_closed() {
                    sleep(STDERR_CHECK).await;
                }
            }
            Event::Exit { code, signal } => {
                self.pause(at).await?;
                return Err(End(match (code, signal) {
                    (Some(code), _) => ExitReason::Exited(code),
                    (None, Some(signal)) => ExitReason::Signalled(signal),
                    (None, None) => ExitReason::Lost,
                }));
            }
            Event::Stopped => self.in_turn = false,
        }
        Ok(())
    }

    async fn on_recorded_input(&mut self, at: Duration, line: &[u8]) -> Result<(), End> {
        match InputLine::parse(self.protocol, line) {
            InputLine::User { uuid, .. } if self.in_turn => match self.inputs.take_message() {
                Some(other) => self.rename(uuid, other.uuid),
                None => self.queued.push_back(uuid),
            },
            InputLine::User { uuid, request } => {
                // The agent has taken them into the turn that is over.
                self.inputs.ignored.extend(self.queued.drain(..).flatten());
                self.thread = lines::thread(line);
                let message = self.begin_turn(uuid, at).await?;
                if let (Some(recorded), Some(request)) = (request, message.request) {
                    self.recorded_request(recorded, "turn/start".to_owned());
                    self.inputs.requests.push_back((request, "turn/start".to_owned()));
                }
            }
            InputLine::Request { id, subtype } => {
                self.await_request(&subtype).await?;
                self.recorded_request(id, subtype);
            }
            InputLine::Answer { id, .. } => {
                while !self.inputs.answered.remove(&id) {
                    take_input(&mut self.channels, &mut self.inputs).await?;
                }
                self.reached = (at, Instant::now());
            }
            InputLine::Other => {}
        }
        Ok(())
    }

    fn recorded_request(&mut self, id: String, subtype: String) {
        self.requests.push_back((id, subtype));
        if self.requests.len() > MAX_REQUESTS {
            self.requests.pop_front();
        }
    }

    /// Waits for a request of the relay that opens a conversation, so that what
    /// follows from it in the recording follows from it here.
    async fn await_request(&mut self, subtype: &str) -> Result<(), End> {
        let by = Instant::now() + OPENING_WAIT;
        while self.protocol == Protocol::Codex
            && !self.in_turn
            && !lines::is_interrupt(subtype)
            && !self.inputs.has_request(subtype)
            && Instant::now() < by
        {
            tokio::select! {
                () = sleep_until(by) => {}
                taken = take_input(&mut self.channels, &mut self.inputs) => taken?,
            }
        }
        Ok(())
    }

    /// Waits for a user message, which takes the place of the recorded one.
    async fn begin_turn(&mut self, recorded: Option<String>, at: Duration) -> Result<Message, End> {
        let other = loop {
            self.answer_requests().await?;
            if let Some(other) = self.inputs.take_message() {
                break other;
            }
            take_input(&mut self.channels, &mut self.inputs).await?;
        };
        self.rename(recorded, other.uuid.clone());
        self.in_turn = true;
        self.inputs.is_interrupted = false;
        self.reached = (at, Instant::now());
        Ok(other)
    }

    fn rename(&mut self, recorded: Option<String>, other: Option<String>) {
        if let (Some(recorded), Some(other)) = (recorded, other)
            && recorded != other
        {
            self.renamed.push_back((recorded, other));
            self.renamed.truncate(inputs::MAX_WAITING);
        }
    }

    async fn on_line(&mut self, at: Duration, line: Bytes) -> Result<(), End> {
        if let InputLine::Answer { id, response } = InputLine::parse(self.protocol, &line) {
            return self.on_recorded_answer(&id, response).await;
        }
        self.pause(at).await?;
        if !self.in_turn
            && lines::begins_turn(self.protocol, &line)
            && let Some(uuid) = self.queued.pop_front()
        {
            self.begin_turn(uuid, at).await?;
        }
        let ends_turn = lines::ends_turn(self.protocol, &line)
            && (self.thread.is_none() || lines::thread(&line) == self.thread);
        let line = lines::rename(line, &self.renamed);
        self.write(&line).await?;
        if ends_turn {
            self.in_turn = false;
            self.inputs.is_interrupted = false;
            self.answer_requests().await?;
        }
        Ok(())
    }

    /// Keeps the recorded answer, and gives it to a request that waits for it.
    async fn on_recorded_answer(&mut self, id: &str, response: Bytes) -> Result<(), End> {
        let at = self.requests.iter().position(|(recorded, _)| recorded == id);
        let Some((_, subtype)) = at.and_then(|at| self.requests.remove(at)) else { return Ok(()) };
        if let Some(id) = self.inputs.take_request(&subtype) {
            self.write(&lines::answer(self.protocol, &id, &response)).await?;
        }
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        if script.answers.len() < MAX_REQUESTS || script.answers.contains_key(&subtype) {
            script.answers.insert(subtype, response);
        }
        Ok(())
    }

    /// Answers what waits as it was last answered in the recording, or with
    /// success.
    async fn answer_requests(&mut self) -> Result<(), End> {
        while let Some((id, subtype)) = self.inputs.requests.pop_front() {
            let known = self.recorded_answer(&subtype);
            let response = known.unwrap_or_else(|| lines::unknown_answer(self.protocol));
            self.write(&lines::answer(self.protocol, &id, &response)).await?;
        }
        Ok(())
    }

    fn recorded_answer(&self, subtype: &str) -> Option<Bytes> {
        let script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.answers.get(subtype).cloned()
    }

    /// Waits until the entry's time has come.
    async fn pause(&mut self, at: Duration) -> Result<(), End> {
        let (from, since) = self.reached;
        let until = since + self.speed.pause(at.saturating_sub(from));
        while !self.inputs.is_interrupted && Instant::now() < until {
            tokio::select! {
                () = sleep_until(until) => {}
                taken = take_input(&mut self.channels, &mut self.inputs) => taken?,
            }
        }
        Ok(())
    }

    async fn write(&mut self, line: &[u8]) -> Result<(), End> {
        let bytes = self.out.spare();
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(b"\n");
        let Some(block) = self.out.take() else { return Ok(()) };
        let Self { channels: ProcessChannels { output, commands, .. }, .. } = self;
        tokio::select! {
            sent = output.send(Output::Lines(block)) => sent.map_err(|_| stopped()),
            end = end_by(commands) => Err(end),
        }
    }

    /// Answers every message from now on with an error.
    async fn refuse_all(&mut self, reason: &str) -> Result<Never, End> {
        loop {
            self.answer_requests().await?;
            match self.inputs.take_message() {
                Some(Message { request: Some(id), .. }) => {
                    self.write(&lines::refused_request(reason, &id)).await?;
                }
                Some(Message { uuid, .. }) => {
                    self.write(&lines::refused(reason, uuid.as_deref())).await?;
                }
                None => take_input(&mut self.channels, &mut self.inputs).await?,
            }
        }
    }
}

/// Takes the next line or command of the relay. Cancel-safe.
async fn take_input(channels: &mut ProcessChannels, inputs: &mut Inputs) -> Result<(), End> {
    let ProcessChannels { stdin, commands, .. } = channels;
    tokio::select! {
        input = stdin.recv(), if inputs.has_room() => match input {
            Some(input) => {
                inputs.on_input(input);
                Ok(())
            }
            None => Err(stopped()),
        },
        end = end_by(commands) => Err(end),
    }
}

/// Waits for a command that ends the agent.
async fn end_by(commands: &mut mpsc::Receiver<ProcessCommand>) -> End {
    while let Some(ProcessCommand::Signal(_) | ProcessCommand::Stop(_)) = commands.recv().await {}
    stopped()
}

fn stopped() -> End {
    End(ExitReason::Exited(0))
}
