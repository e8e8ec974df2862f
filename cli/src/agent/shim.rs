//! The loop between the program and the run. Everything that goes either way
//! has a number; what the other side has not acknowledged is sent again over
//! the next connection.

use std::collections::VecDeque;
use std::time::Duration;

use claude_relay_client::e2b::unreachable_variable;
use claude_relay_client::{ConnectionError, MessageForm, RequestError, RunIncoming, RunServer};
use claude_relay_protocol::run::{self as wire, CREDIT_BYTES, RunSignal, RunStart, START_BYTES};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::arguments::Prepared;
use super::end::{End, Failure};
use super::environment;
use super::host::{self, FIRST_LINE_LIMIT, FromHost, ToHost, Written};
use super::link::{Link, Opening, Small, at, has_room, open, read};
use super::reconnect::{FIRST_DELAY, RECONNECT_LIMIT};
use super::sandbox::{Created, Sandbox};
use super::settings::Settings;

/// Time for the version of the CLI.
const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// Time for one attempt.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Silence after which the relay is asked, and after which it is given up.
const PING_AFTER: Duration = Duration::from_secs(15);
const SILENT_LIMIT: Duration = Duration::from_secs(25);

/// Time for the last acknowledgement to be written.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// Time for the run to end once the program has gone.
const GONE_LIMIT: Duration = Duration::from_secs(5);

/// The exit code of the CLI after SIGTERM.
const TERMINATED: i32 = 143;

/// The exit codes of a program that SIGINT and SIGHUP have ended before there was an
/// agent.
const INTERRUPTED: i32 = 130;
const HUNG_UP: i32 = 129;

const NO_RELAY: &str = "no relay is named: set CLAUDE_RELAY_URL (or --relay-url, or a line CLAUDE_RELAY_URL=… in claude-relay-agent.env beside this program) to its address, such as http://127.0.0.1:3000; or CLAUDE_RELAY_E2B_TEMPLATE to a template of E2B";

const NO_SANDBOX: &str =
    "the version is that of the CLI in a sandbox, and none is made to ask for it";

pub(super) enum State {
    /// The next attempt is due.
    Down(Instant),
    Opening(Opening),
    Up(Box<Link>),
}

enum Event {
    Opened(Result<Link, RequestError>),
    Retry,
    Message(Result<RunIncoming, ConnectionError>),
    Host(FromHost),
    Signal(RunSignal),
    /// There is something to send, or to write, and room for it.
    Room,
    Written,
    Time,
}

pub(super) struct Shim {
    pub(super) server: RunServer,
    pub(super) url: String,
    pub(super) id: String,
    pub(super) start: String,
    /// The name of the numbers, once the command line has been sent.
    pub(super) stream: Option<String>,
    /// The server has greeted over this connection.
    pub(super) greeted: bool,
    pub(super) state: State,
    pub(super) down_since: Instant,
    pub(super) up_since: Instant,
    /// The first of the connections in a row that broke before anything came
    /// through.
    pub(super) stuck_since: Option<Instant>,
    pub(super) delay: Duration,
    pub(super) was_up: bool,
    /// Messages for the run that it has not acknowledged.
    pub(super) unacked: VecDeque<(u64, String)>,
    pub(super) unacked_bytes: usize,
    /// How many of them have been sent over this connection.
    pub(super) sent: usize,
    /// Something new came or went over this connection.
    pub(super) progress: bool,
    /// The last connection has brought nothing: messages are sent one by one,
    /// because those before a reset may be lost with it.
    pub(super) paced: bool,
    pub(super) paced_until: Instant,
    /// The form of long messages on the next connection.
    pub(super) form: MessageForm,
    pub(super) next_seq: u64,
    /// The last number that was received.
    pub(super) received: u64,
    pub(super) pending: Vec<ToHost>,
    /// The last number of what was to be written.
    pub(super) last_output: u64,
    pub(super) acked: u64,
    pub(super) acked_bytes: u64,
    pub(super) ack_due: Option<Instant>,
    pub(super) written: watch::Receiver<Written>,
    pub(super) heard_at: Instant,
    pub(super) pinged: bool,
    pub(super) exit: Option<(u64, End)>,
    /// The agent has been told to end.
    pub(super) terminated: bool,
    /// The program has gone, and the run has so long to end.
    pub(super) gone_by: Option<Instant>,
    pub(super) version_only: bool,
}

/// Runs until the agent has ended.
pub(super) fn run((settings, prepared): (Settings, Prepared)) -> Result<End, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::connection(format!("cannot start: {error}")))?;
    let end = runtime.block_on(drive(settings, prepared));
    // A name that is still being looked up is no reason to stay.
    runtime.shutdown_background();
    end
}

async fn drive(settings: Settings, prepared: Prepared) -> Result<End, Failure> {
    for note in &prepared.notes {
        host::say(note);
    }
    let cwd = settings.cwd.clone().or_else(|| {
        std::env::current_dir().ok().and_then(|path| path.into_os_string().into_string().ok())
    });
    let mut env = environment::of_agent(&settings.env);
    let cannot = |error: std::io::Error| Failure::connection(format!("cannot start: {error}"));
    let (host_to, host_from) = mpsc::channel(1);
    let (output, output_from) = mpsc::channel(1);
    let (written_to, written) = watch::channel(Written::default());
    if !prepared.is_version {
        host::read_stdin(host_to.clone()).map_err(cannot)?;
    }
    host::watch_stdout(host_to).map_err(cannot)?;
    host::write_output(output_from, written_to).map_err(cannot)?;
    let listen = |kind| signal(kind).map_err(cannot);
    let mut signals = [
        (RunSignal::Term, listen(SignalKind::terminate())?),
        (RunSignal::Int, listen(SignalKind::interrupt())?),
        (RunSignal::Hup, listen(SignalKind::hangup())?),
    ];
    let (sandbox, server, url) = match (&settings.url, &settings.e2b_template) {
        (Some(url), _) => {
            let token = settings.token.as_ref();
            let server = RunServer::new(url, token, CONNECT_LIMIT, settings.allow_plaintext)
                .map_err(|error| Failure::of(&error, url))?;
            (None, server, url.clone())
        }
        (None, Some(_)) if prepared.is_version => return Err(Failure::usage(NO_SANDBOX)),
        (None, Some(template)) => {
            if let Some(name) = unreachable_variable(&env)
                && !settings.env.iter().any(|named| named == name)
            {
                return Err(Failure::usage(format!(
                    "{name} is this machine, which a sandbox does not reach: its own localhost \
                     is another one. Name an address that it reaches, or unset the variable; \
                     --relay-env {name} sends it all the same"
                )));
            }
            let [(_, term), (_, int), (_, hup)] = &mut signals;
            let stop = async {
                tokio::select! {
                    _ = term.recv() => TERMINATED,
                    _ = int.recv() => INTERRUPTED,
                    _ = hup.recv() => HUNG_UP,
                }
            };
            let sandbox = match Sandbox::create(template, &mut env, stop).await? {
                Created::Sandbox(sandbox) => *sandbox,
                Created::Stopped(code) => return Ok(End::Code(code)),
            };
            let (server, name) = (sandbox.server(), sandbox.name());
            (Some(sandbox), server, name)
        }
        (None, None) => return Err(Failure::usage(NO_RELAY)),
    };
    let start = RunStart { args: prepared.args, env, cwd };
    let now = Instant::now();
    let shim = Shim {
        server,
        url,
        id: id(),
        start: start.to_json(),
        stream: None,
        greeted: false,
        state: State::Down(now),
        down_since: now,
        up_since: now,
        stuck_since: None,
        delay: FIRST_DELAY,
        was_up: false,
        unacked: VecDeque::new(),
        unacked_bytes: 0,
        sent: 0,
        progress: true,
        paced: false,
        paced_until: now,
        form: MessageForm::default(),
        next_seq: 1,
        received: 0,
        pending: Vec::new(),
        last_output: 0,
        acked: 0,
        acked_bytes: 0,
        ack_due: None,
        written,
        heard_at: now,
        pinged: false,
        exit: None,
        terminated: false,
        gone_by: None,
        version_only: prepared.is_version,
    };
    let limit = if shim.version_only { Some(now + VERSION_LIMIT) } else { None };
    let name = shim.url.clone();
    let end = tokio::select! {
        end = shim.serve(host_from, output, signals) => end,
        () = at(limit) => Err(Failure::connection(format!(
            "the relay at {name} has not told the version of its CLI within {VERSION_LIMIT:?}"
        ))),
    };
    if let Some(sandbox) = sandbox {
        sandbox.kill().await;
    }
    end
}

fn id() -> String {
    claude_relay_random::hexadecimal::<16>()
}

impl Shim {
    async fn serve(
        mut self,
        mut host: mpsc::Receiver<FromHost>,
        output: mpsc::Sender<Vec<ToHost>>,
        [mut term, mut int, mut hup]: [(RunSignal, Signal); 3],
    ) -> Result<End, Failure> {
        if self.start.len() > START_BYTES {
            return Err(Failure::usage(format!(
                "the arguments, variables and the files that they name are {} bytes, over the limit of {START_BYTES}",
                self.start.len()
            )));
        }
        let mut written = self.written.clone();
        loop {
            let may_read = self.unacked_bytes < CREDIT_BYTES;
            let has_unsent = self.has_unsent() && Instant::now() >= self.pause();
            let has_output = !self.pending.is_empty();
            let deadline = self.deadline();
            let (mut retry_at, mut opening, mut reader, mut room) = (None, None, None, None);
            match &mut self.state {
                State::Down(at) => retry_at = Some(*at),
                State::Opening(future) => opening = Some(future),
                State::Up(link) => {
                    let (reading, sending) = link.halves();
                    reader = Some(reading);
                    room = Some(sending).filter(|_| has_unsent);
                }
            }
            let event = tokio::select! {
                biased;
                _ = term.1.recv() => Event::Signal(term.0),
                _ = int.1.recv() => Event::Signal(int.0),
                _ = hup.1.recv() => Event::Signal(hup.0),
                Ok(()) = written.changed() => Event::Written,
                Ok(permit) = output.reserve(), if has_output => {
                    permit.send(std::mem::take(&mut self.pending));
                    Event::Room
                }
                message = read(&mut reader) => Event::Message(message),
                opened = open(&mut opening) => Event::Opened(opened),
                () = at(retry_at) => Event::Retry,
                () = has_room(room) => Event::Room,
                Some(input) = host.recv(), if may_read => Event::Host(input),
                () = at(deadline) => Event::Time,
            };
            let ended = self.on_event(event).transpose();
            let Some(ended) = ended else { continue };
            if self.next_seq == 1 && !matches!(ended, Ok(End::Code(0))) {
                let _ = tokio::time::timeout(FIRST_LINE_LIMIT, host.recv()).await;
            }
            return Ok(self.leave(ended?).await);
        }
    }

    /// Handles an event. Returns the end once all of it is done.
    fn on_event(&mut self, event: Event) -> Result<Option<End>, Failure> {
        let now = Instant::now();
        match event {
            Event::Retry => {
                let after = self.has();
                let opening = Link::open(self.server.clone(), self.id.clone(), after, self.form);
                self.state = State::Opening(Box::pin(opening));
            }
            Event::Opened(Ok(link)) => {
                self.state = State::Up(Box::new(link));
                (self.greeted, self.progress, self.up_since) = (false, false, now);
                self.paced_until = now;
                self.sent = 0;
                self.acked = self.has();
                self.ack_due = None;
                (self.heard_at, self.pinged) = (now, false);
            }
            Event::Opened(Err(error)) => self.not_opened(error, now)?,
            Event::Message(Ok(message)) => self.on_incoming(message, now)?,
            Event::Message(Err(_)) => self.disconnected(now),
            Event::Host(FromHost::Line(line)) => {
                let seq = self.next_seq;
                self.push(wire::stdin(seq, &line));
            }
            Event::Host(FromHost::End) => self.push(wire::stdin_end(self.next_seq)),
            Event::Host(FromHost::Bad(reason)) => return Err(Failure::usage(reason)),
            Event::Host(FromHost::Gone) => self.on_gone(now),
            Event::Signal(signal) => {
                if signal == RunSignal::Term {
                    self.terminated = true;
                }
                self.push(wire::signal(self.next_seq, signal));
            }
            Event::Written => {
                if self.written.borrow().failed {
                    self.on_gone(now);
                }
            }
            Event::Room | Event::Time => {}
        }
        let is_up = self.greeted && matches!(self.state, State::Up(_));
        if self.terminated && !is_up && self.exit.is_none() {
            // The relay ends the run by its grace.
            return Ok(Some(End::Code(TERMINATED)));
        }
        self.send_unsent();
        self.send_ack(now);
        self.keep_alive(now);
        if let Some(by) = self.gone_by
            && (now >= by || !is_up || self.exit.is_some())
        {
            return Err(Failure::connection("the program that started the agent has gone"));
        }
        if let Some(lost) = self.lost_for_good(is_up, now)
            && self.exit.is_none()
        {
            return Err(Failure::connection(format!(
                "the connection to the relay at {} {lost} within {RECONNECT_LIMIT:?}: the agent is ended there",
                self.url
            )));
        }
        let is_drained = self.has() == self.received;
        Ok(self.exit.as_ref().filter(|_| is_drained).map(|(_, end)| end.clone()))
    }

    fn keep_alive(&mut self, now: Instant) {
        let State::Up(link) = &self.state else { return };
        if now >= self.heard_at + SILENT_LIMIT {
            self.disconnected(now);
        } else if now >= self.heard_at + PING_AFTER && !self.pinged {
            link.send_small(Small::Ping);
            self.pinged = true;
        }
    }

    /// Nobody reads stdout any more.
    fn on_gone(&mut self, now: Instant) {
        if self.gone_by.is_none() {
            self.gone_by = Some(now + GONE_LIMIT);
            self.pending.clear();
            self.push(wire::signal(self.next_seq, RunSignal::Term));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let mut deadlines: Vec<Instant> = self.gone_by.into_iter().collect();
        if let State::Up(_) = &self.state {
            deadlines.extend(self.ack_due);
            let silent = if self.pinged { SILENT_LIMIT } else { PING_AFTER };
            deadlines.push(self.heard_at + silent);
            let is_paused = |at: &Instant| self.has_unsent() && *at > Instant::now();
            deadlines.extend(Some(self.pause()).filter(is_paused));
        } else {
            deadlines.push(self.down_since + RECONNECT_LIMIT);
            deadlines.extend(self.stuck_since.map(|since| since + RECONNECT_LIMIT));
        }
        deadlines.into_iter().min()
    }

    /// Tells the relay that the end has arrived, so that it can forget the run.
    async fn leave(self, end: End) -> End {
        if let State::Up(link) = self.state
            && let Some((seq, _)) = self.exit
        {
            link.send_small(Small::Ack(wire::ack(seq)));
            link.close(CLOSE_TIMEOUT).await;
        }
        end
    }
}
