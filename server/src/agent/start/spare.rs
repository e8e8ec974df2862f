//! A spare agent: started before it is needed, initialized, without a message.
//!
//! It serves a start whose command differs from its own only in what can be said
//! late. Everything else is compared as a whole, so that a warm start and a cold
//! one give the same conversation; the first difference is the reason for a cold
//! start.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::credentials;
use serde_json::json;

use super::{Conversation, StartError};
use crate::agent::claude::{self, version::Version};
use crate::process::{Input, Output, Process, ProcessEvent, SpawnSpec};
use crate::runtime::Runtime;

/// Variables that the CLI takes late, by `apply_flag_settings`.
const LATE_VARIABLES: [&str; 4] =
    [credentials::BASE_URL, "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"];

/// The id of the request that says them.
pub const LATE_SETTINGS: &str = "relay-late-settings";

/// The flag of the conversation's id, which a spare has in any case.
const SESSION_ID: &str = "--session-id=";

/// Files that the CLI reads at its start: below the workspace, and below the home
/// directory.
const READ_AT_START: [&[&str]; 2] = [
    &[
        ".mcp.json",
        "CLAUDE.md",
        "CLAUDE.local.md",
        ".claude",
        ".claude/settings.json",
        ".claude/settings.local.json",
        ".claude/CLAUDE.md",
        ".claude/agents",
        ".claude/commands",
        ".claude/skills",
        ".git/HEAD",
    ],
    &[
        ".claude/settings.json",
        ".claude/CLAUDE.md",
        ".claude/agents",
        ".claude/commands",
        ".claude/skills",
        ".claude/.credentials.json",
    ],
];

/// Most bytes of output that a spare may write before it is used.
const OUTPUT_BYTES: usize = 4 << 20;

/// Most events of a spare that are kept.
const EVENTS: usize = 64;

/// Reason for which a spare does not serve a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cold {
    /// The start goes on with a conversation, which a flag says.
    Resumes,
    /// The program is another one.
    Program,
    /// Flags differ: model, tools, effort, partial messages and others.
    Arguments,
    /// The directory differs.
    Directory,
    /// It has MCP servers, or files of its own.
    Files,
    /// The first request differs: system prompt, agents, hooks, schema.
    FirstRequest,
    /// Variables differ that cannot be said late.
    Variables,
    /// The version of the CLI cannot say anything late, or is not known.
    Version,
    /// Files that the CLI reads at its start have changed.
    Changed,
    /// It has not answered the first request yet, or not any more.
    NotReady,
    /// Another agent.
    Provider,
}

impl fmt::Display for Cold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resumes => "a conversation is resumed",
            Self::Program => "another program",
            Self::Arguments => "flags differ",
            Self::Directory => "another directory",
            Self::Files => "MCP servers or files of its own",
            Self::FirstRequest => "the first request differs",
            Self::Variables => "variables differ that cannot be said late",
            Self::Version => "this version of the CLI cannot be told late",
            Self::Changed => "files that the CLI reads at its start have changed",
            Self::NotReady => "the spare was not ready",
            Self::Provider => "another agent",
        })
    }
}

/// What a file was like.
type Stamp = (PathBuf, Option<(SystemTime, u64)>);

/// What a process has said before it was used.
#[derive(Debug, Default)]
pub struct Early {
    /// Its output.
    pub output: VecDeque<Output>,
    /// Its other events.
    pub events: VecDeque<ProcessEvent>,
    bytes: usize,
}

/// A spare agent.
#[derive(Debug)]
pub struct Spare {
    process: Process,
    program: OsString,
    args: Vec<OsString>,
    cwd: PathBuf,
    env: BTreeMap<OsString, OsString>,
    first: Bytes,
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
        version: Option<Version>,
        now: Instant,
    ) -> Result<Self, StartError> {
        let session_id = claude_relay_random::uuid();
        let config = QueryConfig::default();
        let conversation = Conversation::New(&session_id);
        let mut command =
            super::claude_code::command(runtime, &config, conversation, version, true)?;
        let stamps = stamps(runtime);
        let first = claude::initialize(&command.initialize);
        let (program, args) = (command.spec.program.clone(), command.spec.args.clone());
        let (cwd, env) = (command.spec.cwd.clone(), variables(&command.spec));
        command.spec.scratch.clear();
        let process = Process::spawn(command.spec)?;
        if let Some(stdin) = &process.stdin {
            // The channel is empty, so this cannot fail.
            let _ = stdin.try_send(Input::Control(first.clone()));
        }
        Ok(Self {
            process,
            program,
            args,
            cwd,
            env,
            first,
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
                for line in block.lines() {
                    if let crate::process::lines::Line::Whole(line) = line {
                        self.early.bytes += line.len();
                        self.ready |= claude::is_ready(line);
                    }
                }
                self.early.output.push_back(Output::Lines(block));
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
        self.early.bytes <= OUTPUT_BYTES && self.early.events.len() <= EVENTS
    }

    /// The id of the conversation that it would begin.
    #[must_use]
    pub fn session_id(&self) -> &str {
        &self.session_id
    }

    /// Whether it has answered the first request.
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
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib << 10)
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Returns what has to be said late, or why a start cannot use this one.
    pub(super) fn fits(
        &self,
        runtime: &Runtime,
        spec: &SpawnSpec,
        first: &Bytes,
        conversation: Conversation<'_>,
        version: Option<Version>,
    ) -> Result<Bytes, Cold> {
        let is_its_own = |id: &str| id == self.session_id;
        match conversation {
            Conversation::Resumed(_) => return Err(Cold::Resumes),
            Conversation::New(id) if !is_its_own(id) => return Err(Cold::Arguments),
            Conversation::New(_) | Conversation::Configured => {}
        }
        if !spec.scratch.is_empty() || !spec.reserved_paths.is_empty() {
            return Err(Cold::Files);
        }
        if spec.program != self.program {
            return Err(Cold::Program);
        }
        let own = format!("{SESSION_ID}{}", self.session_id);
        let rest = |args: &[OsString]| -> Vec<OsString> {
            args.iter().filter(|argument| **argument != *own).cloned().collect()
        };
        if rest(&spec.args) != rest(&self.args) {
            return Err(Cold::Arguments);
        }
        if spec.cwd != self.cwd {
            return Err(Cold::Directory);
        }
        if *first != self.first {
            return Err(Cold::FirstRequest);
        }
        if stamps(runtime) != self.stamps {
            return Err(Cold::Changed);
        }
        if !self.ready {
            return Err(Cold::NotReady);
        }
        self.late(&variables(spec), version)
    }

    /// Returns the request that makes its environment that of a cold start.
    fn late(
        &self,
        wanted: &BTreeMap<OsString, OsString>,
        version: Option<Version>,
    ) -> Result<Bytes, Cold> {
        if self.env.keys().any(|name| !wanted.contains_key(name)) {
            return Err(Cold::Variables);
        }
        let mut late = serde_json::Map::new();
        for (name, value) in wanted {
            if self.env.get(name) == Some(value) {
                continue;
            }
            match (name.to_str(), value.to_str()) {
                (Some(name), Some(value)) if LATE_VARIABLES.contains(&name) => {
                    late.insert(name.to_owned(), value.into());
                }
                _ => return Err(Cold::Variables),
            }
        }
        if late.is_empty() {
            return Ok(Bytes::new());
        }
        if !claude::version::Capability::LateSettings.is_in(version) {
            return Err(Cold::Version);
        }
        let request = json!({ "subtype": "apply_flag_settings", "settings": { "env": late } });
        Ok(claude::control_request(LATE_SETTINGS, &request.to_string()))
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

/// The files that the CLI reads at its start, as they are now.
fn stamps(runtime: &Runtime) -> Vec<Stamp> {
    let settings = &runtime.settings;
    let home = settings.variable("HOME").map(PathBuf::from).unwrap_or_default();
    let stamp = |path: PathBuf| {
        let found = path.metadata().ok();
        let found = found.and_then(|found| Some((found.modified().ok()?, found.len())));
        (path, found)
    };
    let below = |directory: &Path, names: &[&str]| -> Vec<PathBuf> {
        names.iter().map(|name| directory.join(name)).collect()
    };
    let [of_workspace, of_home] = READ_AT_START;
    let program = settings.claude().and_then(|path| path.canonicalize().ok());
    let paths = [below(&settings.workspace, of_workspace), below(&home, of_home)];
    program.into_iter().chain(paths.into_iter().flatten()).map(stamp).collect()
}
