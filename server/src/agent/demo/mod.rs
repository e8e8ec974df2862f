//! The built-in scripted agent: it implements the stream-json and control
//! protocol of the Claude Code CLI on stdin and stdout, so that the relay
//! cannot tell it from the real CLI. New users can try the relay without a key;
//! tests use it as a double, and benchmarks as a load generator.
//!
//! It runs in a process of its own (`claude-relay-server demo-agent …`),
//! accepts the flags of the CLI and behaves as recorded from CLI 2.1.329:
//! nothing on stdout before there is input, `system/init` at the start of each
//! turn, the `assistant` line before its `content_block_stop`, one `result` per
//! turn, messages that arrive during a turn merged into the next one, an
//! interrupt answered before its effects. `initialize` and `system/init` carry
//! `"demo":true`, and their `claude_code_version` starts with `demo-`.
//!
//! # Replies
//!
//! Plain text gets a short streamed reply; the words `tool`, `permission` and
//! `long` add a tool call, a permission request and a reply that is long enough
//! to interrupt. A message whose whole text is a JSON object is a **script**.
//! Its keys can be combined and are executed in this order:
//!
//! | key | effect |
//! |---|---|
//! | `"sleep_ms":500` | waits, for a day at most |
//! | `"stderr":"text"` | writes a line to stderr |
//! | `"permission":"Bash"` | asks for permission to use the tool and reports the answer, `permission for Bash: …` |
//! | `"echo":true` | answers with the message's text; `"note"` may hold anything |
//! | `"n":1000,"size":300` | emits that many `assistant` lines of `size` bytes each **without** the newline. Their text starts with a number of 12 digits, counted from 1. The minimum size is 225 bytes with a session id of 36; smaller ones are rounded up |
//! | `"rate":100` | limits the lines per second |
//! | `"exit":3` | exits with this code, without a `result` |
//!
//! A script with an unknown key or an invalid value is not executed: its turn
//! ends with `is_error` and the reason. To make the agent ignore SIGTERM, start
//! it through `sh -c "trap '' TERM; exec claude-relay-server demo-agent …"`.
//!
//! # Modules, in reading order
//!
//! * `options`: the flags; `input`: stdin, its thread and its bound
//! * this file: the main loop, the start and the end of a turn
//! * `turn`: the work of a turn; `script`: scripts
//! * `message`: messages of the agent; `permission`: its permission requests
//! * `control`: responses to control requests
//! * `lines`, `result`: the keys of all lines; `output`: stdout; `ids`: uuids

mod control;
mod ids;
mod input;
mod lines;
mod message;
mod options;
mod output;
mod permission;
mod result;
mod script;
mod turn;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use ids::Ids;
use input::{Answer, Inbox, Input, UserMessage};
use lines::Facts;
use options::Options;
use output::Output;
use result::{Figures, Outcome, Tokens};

/// Runs the agent on the standard streams until stdin ends, a script ends it or
/// the input is invalid. `args` are those after `demo-agent`.
///
/// Returns the exit code of the CLI: 0, or 1 if the last result was an error or
/// the input was invalid; or that of a script.
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let outcome =
        Agent::start(Options::parse(args)).map_err(Stop::Io).and_then(|mut agent| agent.serve());
    match outcome {
        Ok(code) | Err(Stop::Exit(code)) => ExitCode::from(code),
        Err(Stop::BadInput(text)) => {
            output::stderr(&text);
            ExitCode::FAILURE
        }
        // The host has closed its end, which is not an error.
        Err(Stop::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(Stop::Io(error)) => {
            output::stderr(&format!("Error: demo agent: {error}"));
            ExitCode::FAILURE
        }
        // A turn handles its own interrupt.
        Err(Stop::Interrupted { .. }) => ExitCode::FAILURE,
    }
}

/// Returns true if the host asked for `session_state_changed` lines, as the SDK
/// does.
fn host_reads_state() -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "the agent's environment is not the server's settings"
    )]
    let value = std::env::var_os("CLAUDE_CODE_SDK_READS_SESSION_STATE");
    value.is_some_and(|value| value == "1")
}

/// Reason for stopping the current work.
enum Stop {
    /// The host interrupted, or denied with `interrupt`. `tool` is true for a
    /// tool call.
    Interrupted { tool: bool },
    /// A script ends the process.
    Exit(u8),
    /// Invalid input, with the CLI's message.
    BadInput(String),
    /// stdout is closed or a system call failed.
    Io(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The agent. The main thread owns it; the reader thread has only the inbox.
struct Agent {
    options: Options,
    model: String,
    permission_mode: String,
    cwd: String,
    reports_state: bool,
    session_id: Option<String>,
    ids: Ids,
    out: Output,
    inbox: Arc<Inbox>,
    /// Input taken from the inbox and not yet handled.
    incoming: VecDeque<Input>,
    /// Messages for the next turn. Their size still counts in the inbox.
    queue: VecDeque<UserMessage>,
    ended: bool,
    turn: Option<Turn>,
    messages: u64,
    total: Tokens,
    busy: Duration,
    results: u64,
    last_was_error: bool,
}

/// State of a turn.
struct Turn {
    started: Instant,
    user_uuids: Vec<String>,
    tokens: Tokens,
    num_turns: u64,
    /// Last text of the agent, for the result.
    last_text: String,
    failed: bool,
    interrupted: bool,
    /// Id of the open `can_use_tool`, and the answer once it has arrived.
    asked: Option<String>,
    answered: Option<Answer>,
    denials: Vec<Value>,
}

impl Agent {
    fn start(options: Options) -> io::Result<Self> {
        let inbox = Arc::new(Inbox::new());
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        std::thread::Builder::new().name("stdin".to_owned()).spawn({
            let inbox = Arc::clone(&inbox);
            move || input::read_lines(stdin, &inbox)
        })?;
        Ok(Self {
            model: options.model.clone(),
            permission_mode: options.permission_mode.clone(),
            cwd: std::env::current_dir()?.to_string_lossy().into_owned(),
            reports_state: host_reads_state(),
            session_id: options.session_id.clone(),
            options,
            ids: Ids::default(),
            out: Output::stdout()?,
            inbox,
            incoming: VecDeque::new(),
            queue: VecDeque::new(),
            ended: false,
            turn: None,
            messages: 0,
            total: Tokens::default(),
            busy: Duration::ZERO,
            results: 0,
            last_was_error: false,
        })
    }

    /// Works until the input ends. The first message of an idle agent is a turn
    /// of its own; all that arrive meanwhile form the next one.
    fn serve(&mut self) -> Result<u8, Stop> {
        while let Some(first) = self.next_message()? {
            self.state("running")?;
            self.report_queued(&first)?;
            let mut batch = vec![first];
            while !batch.is_empty() {
                self.run_turn(batch)?;
                self.take_input()?;
                batch = self.queue.drain(..).collect();
            }
            self.state("idle")?;
        }
        self.out.flush()?;
        Ok(u8::from(self.last_was_error))
    }

    /// Waits for a message, and handles control requests. Returns `None` at the
    /// end of input.
    fn next_message(&mut self) -> Result<Option<UserMessage>, Stop> {
        loop {
            match self.incoming.pop_front() {
                // Input after the message is handled once its turn has begun:
                // an interrupt right behind a message interrupts that message.
                Some(Input::User(message)) => return Ok(Some(message)),
                Some(input) => self.handle(input)?,
                None if self.ended => return Ok(None),
                None => {
                    self.out.flush()?;
                    (self.incoming, self.ended) = self.inbox.wait(None);
                }
            }
        }
    }

    /// Handles all available input without waiting.
    fn take_input(&mut self) -> Result<(), Stop> {
        self.incoming.extend(self.inbox.take());
        while let Some(input) = self.incoming.pop_front() {
            self.handle(input)?;
        }
        Ok(())
    }

    fn handle(&mut self, input: Input) -> Result<(), Stop> {
        match input {
            Input::User(message) => {
                self.report_queued(&message)?;
                self.queue.push_back(message);
            }
            Input::Control(control) => self.control(control)?,
            Input::Answer(answer) => {
                if let Some(turn) = &mut self.turn
                    && turn.asked.as_ref() == Some(&answer.id)
                {
                    turn.asked = None;
                    turn.answered = Some(answer);
                }
            }
            Input::Bad(text) => {
                self.out.flush()?;
                return Err(Stop::BadInput(text));
            }
        }
        Ok(())
    }

    /// Runs one turn for all messages of `batch`, with one result.
    fn run_turn(&mut self, batch: Vec<UserMessage>) -> Result<(), Stop> {
        let user_uuids: Vec<String> =
            batch.iter().filter_map(|message| message.uuid.clone()).collect();
        for uuid in &user_uuids {
            self.lifecycle(uuid, "started")?;
        }
        self.inbox.release(batch.iter().map(|message| message.bytes).sum());
        self.turn = Some(Turn {
            started: Instant::now(),
            user_uuids,
            tokens: Tokens::default(),
            num_turns: 0,
            last_text: String::new(),
            failed: false,
            interrupted: false,
            asked: None,
            answered: None,
            denials: Vec::new(),
        });
        let aborted = match self.answer_messages(batch) {
            Ok(()) => None,
            Err(Stop::Interrupted { tool }) => Some(tool),
            Err(stop) => return Err(stop),
        };
        self.end_turn(aborted)
    }

    fn end_turn(&mut self, aborted: Option<bool>) -> Result<(), Stop> {
        if let Some(tool) = aborted {
            let text = if tool {
                "[Request interrupted by user for tool use]"
            } else {
                "[Request interrupted by user]"
            };
            let content = serde_json::json!([{"type": "text", "text": text}]);
            self.line(|facts, uuid| lines::user(facts, content, uuid))?;
        }
        let Some(turn) = self.turn.take() else { return Ok(()) };
        let duration = turn.started.elapsed();
        self.busy += duration;
        self.total.input += turn.tokens.input;
        self.total.output += turn.tokens.output;
        let outcome = match aborted {
            Some(tool) => Outcome::Aborted { tool },
            None if turn.failed => Outcome::Failure(&turn.last_text),
            None => Outcome::Success(&turn.last_text),
        };
        self.last_was_error = !matches!(outcome, Outcome::Success(_));
        let figures = Figures {
            turn: turn.tokens,
            total: self.total,
            duration,
            total_duration: self.busy,
            // The CLI counts the note of an interrupt, and a call not yet made.
            num_turns: if aborted.is_some() { turn.num_turns.max(1) + 1 } else { turn.num_turns },
            result_index: self.results,
        };
        self.results += 1;
        self.line(|facts, uuid| {
            result::result(facts, &outcome, &figures, &turn.denials, &turn.user_uuids, uuid)
        })?;
        for uuid in &turn.user_uuids {
            self.lifecycle(uuid, if aborted.is_some() { "cancelled" } else { "completed" })?;
        }
        Ok(())
    }

    /// Prints a line that contains the facts of the session and a uuid.
    fn line(&mut self, build: impl FnOnce(&Facts<'_>, &str) -> Value) -> Result<(), Stop> {
        if self.session_id.is_none() {
            self.session_id = Some(self.ids.uuid());
        }
        let uuid = self.ids.uuid();
        let line = build(&self.facts(), &uuid);
        Ok(self.out.line(&line)?)
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            session_id: self.session_id.as_deref().unwrap_or_default(),
            model: &self.model,
            permission_mode: &self.permission_mode,
            cwd: &self.cwd,
        }
    }

    fn state(&mut self, state: &str) -> Result<(), Stop> {
        if self.reports_state {
            self.line(|facts, uuid| lines::state(facts, state, uuid))?;
        }
        Ok(())
    }

    fn lifecycle(&mut self, command: &str, state: &str) -> Result<(), Stop> {
        self.line(|facts, uuid| lines::lifecycle(facts, command, state, uuid))
    }

    fn report_queued(&mut self, message: &UserMessage) -> Result<(), Stop> {
        match &message.uuid {
            Some(uuid) => self.lifecycle(uuid, "queued"),
            None => Ok(()),
        }
    }
}
