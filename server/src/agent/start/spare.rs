//! A spare agent: started before it is needed, without a message.
//!
//! It has not got the first request either, so that a start says its own. The
//! rest of a command is compared as a whole but for what can be said late, so
//! that a warm start and a cold one give the same conversation; the first
//! difference is the reason for a cold start.

mod early;
mod late;
mod stamps;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Instant;

use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::credentials;
use claude_relay_system as system;

use super::claude_code::ClaudeCommand;
use super::{Conversation, StartError};
use crate::agent::claude::{self, version::Version};
use crate::process::{Input, Output, Process, ProcessEvent, SpawnSpec};
use crate::runtime::Runtime;

pub use early::Early;
use late::Late;
pub use late::LateRequests;
use stamps::{Stamp, stamps};

/// The flag of the conversation's id, which a spare has in any case.
const SESSION_ID: &str = "--session-id=";

/// The id of the request whose answer says that a spare is ready.
const PROBE: &str = "relay-spare";

/// The request: it asks for nothing that a conversation could tell.
const PROBE_REQUEST: &str = r#"{"subtype":"mcp_status"}"#;

/// A kind of spare: what configurations say most often that is fixed at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpareKind {
    /// Whole messages, as clients of claude-agent-server want them.
    Whole,
    /// Messages and their parts as they come, as `claude-relay` shows them.
    Partial,
}

impl SpareKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Whole, Self::Partial];

    /// The only kind that can serve a configuration.
    #[must_use]
    pub fn of(config: &QueryConfig) -> Self {
        match config.include_partial_messages {
            Some(true) => Self::Partial,
            Some(false) | None => Self::Whole,
        }
    }

    /// The configuration that a spare is started with.
    fn config(self) -> QueryConfig {
        QueryConfig {
            include_partial_messages: (self == Self::Partial).then_some(true),
            ..QueryConfig::default()
        }
    }

    /// Returns the name in `/health`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partial => "partial",
        }
    }
}

/// Reason for which a spare does not serve a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cold {
    /// The start goes on with a conversation, which a flag says.
    Resumes,
    /// The program is another one.
    Program,
    /// A flag that cannot be said late.
    Flag(String),
    /// The directory differs.
    Directory,
    /// It has MCP servers. Said late, they would be those of a client.
    McpServers,
    /// It has files of its own.
    Files,
    /// A variable that cannot be said late.
    Variable(String),
    /// The version of the CLI cannot be told late, or is not known.
    Version,
    /// Settings of the machine's administrator count more than what is said late.
    Managed,
    /// Files that the CLI reads at its start have changed.
    Changed,
    /// It does not answer yet.
    NotReady,
    /// A spare has refused what was said late.
    Refused,
    /// There is none yet, or not any more.
    None,
    /// Another agent.
    Provider,
}

impl fmt::Display for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resumes => "a conversation is resumed",
            Self::Program => "another program",
            Self::Flag(name) => return write!(f, "{name} cannot be said late"),
            Self::Directory => "another directory",
            Self::McpServers => "MCP servers",
            Self::Files => "files of its own",
            Self::Variable(name) => return write!(f, "the variable {name} cannot be said late"),
            Self::Version => "this version of the CLI cannot be told late",
            Self::Managed => "settings of the machine count more than what is said late",
            Self::Changed => "files that the CLI reads at its start have changed",
            Self::NotReady => "the spare was not ready",
            Self::Refused => "the CLI has refused what was said late",
            Self::None => "no spare was there",
            Self::Provider => "another agent",
        })
    }
}

/// A spare agent.
#[derive(Debug)]
pub struct Spare {
    process: Process,
    program: OsString,
    args: Vec<OsString>,
    cwd: PathBuf,
    env: BTreeMap<OsString, OsString>,
    session_id: String,
    stamps: Vec<Stamp>,
    early: Early,
    ready: bool,
    pid: Option<u32>,
    started_at: Instant,
}

/// An event of a spare.
#[derive(Debug)]
pub enum SpareEvent {
    /// Its output, or its end.
    Output(Output),
    /// Anything else.
    Process(ProcessEvent),
}

impl Spare {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// As for a start.
    pub fn start(
        runtime: &Runtime,
        kind: SpareKind,
        version: Option<Version>,
        now: Instant,
    ) -> Result<Self, StartError> {
        let session_id = claude_relay_random::uuid();
        let conversation = Conversation::New(&session_id);
        let mut command =
            super::claude_code::command(runtime, &kind.config(), conversation, version, true)?;
        let stamps = stamps(runtime);
        let (program, args) = (command.spec.program.clone(), command.spec.args.clone());
        let (cwd, env) = (command.spec.cwd.clone(), variables(&command.spec));
        command.spec.scratch.clear();
        let process = Process::spawn(command.spec)?;
        if let Some(stdin) = &process.stdin {
            // The channel is empty, so this cannot fail.
            let _ = stdin.try_send(Input::Control(claude::control_request(PROBE, PROBE_REQUEST)));
        }
        Ok(Self {
            process,
            program,
            args,
            cwd,
            env,
            session_id,
            stamps,
            early: Early::default(),
            ready: false,
            pid: None,
            started_at: now,
        })
    }

    /// Waits for its next event. Nothing is lost when the wait is given up.
    pub async fn event(&mut self) -> SpareEvent {
        let Process { output, events, .. } = &mut self.process;
        tokio::select! {
            biased;
            Some(event) = events.recv() => SpareEvent::Process(event),
            Some(output) = output.recv() => SpareEvent::Output(output),
            else => std::future::pending().await,
        }
    }

    /// Keeps an event for the session that will use it. Returns false when the
    /// spare is of no use any more.
    pub fn keep(&mut self, event: SpareEvent) -> bool {
        match event {
            SpareEvent::Output(Output::Exited(_)) => return false,
            SpareEvent::Output(Output::Lines(block)) => {
                self.ready |= self.early.keep_lines(block, PROBE);
            }
            SpareEvent::Process(ProcessEvent::StdoutClosed | ProcessEvent::StdinClosed) => {
                return false;
            }
            SpareEvent::Process(event) => {
                if let ProcessEvent::Started(pid) = event {
                    self.pid = pid;
                }
                self.early.events.push_back(event);
            }
        }
        self.early.is_within_bounds()
    }

    /// The id of the conversation that it would begin.
    #[must_use]
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// Whether it answers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// The time of its start.
    #[must_use]
    pub fn started_at(&self) -> Instant {
        self.started_at
    }

    /// The memory that it holds, in bytes, where the system tells it.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        system::memory_bytes(self.pid?)
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Returns what has to be said late, or why a start cannot use this one.
    pub(super) fn fits(
        &self,
        runtime: &Runtime,
        command: &ClaudeCommand,
        conversation: Conversation<'_>,
        version: Option<Version>,
    ) -> Result<Late, Cold> {
        let spec = &command.spec;
        match conversation {
            Conversation::Resumed(_) => return Err(Cold::Resumes),
            Conversation::New(id) if id != self.session_id => {
                return Err(Cold::Flag("--session-id".into()));
            }
            Conversation::New(_) | Conversation::Configured => {}
        }
        if !spec.scratch.is_empty() {
            return Err(Cold::McpServers);
        }
        if !spec.reserved_paths.is_empty() {
            return Err(Cold::Files);
        }
        if spec.program != self.program {
            return Err(Cold::Program);
        }
        let mut late = Late::default();
        let id = format!("{SESSION_ID}{}", self.session_id);
        late.take_flags(&self.args, &spec.args, &id)?;
        if spec.cwd != self.cwd {
            return Err(Cold::Directory);
        }
        late.take_variables(&self.env, &variables(spec))?;
        late.check(version)?;
        if stamps(runtime) != self.stamps {
            return Err(Cold::Changed);
        }
        if !self.ready {
            return Err(Cold::NotReady);
        }
        Ok(late)
    }

    /// Gives the process away, with what it has said.
    pub(super) fn into_parts(self) -> (Process, Early) {
        (self.process, self.early)
    }
}

fn variables(spec: &SpawnSpec) -> BTreeMap<OsString, OsString> {
    spec.env.iter().cloned().collect()
}

/// The environment of a spare behind the key proxy: the real credentials stay
/// away, and the placeholders come late.
pub(super) fn without_credentials(env: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let is_credential = |name: &OsStr| {
        str::from_utf8(name.as_bytes()).is_ok_and(|name| credentials::by_variable(name).is_some())
    };
    env.into_iter().filter(|(name, _)| !is_credential(name)).collect()
}
