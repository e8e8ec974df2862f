//! SIGKILL of the program, of `claude-relay-agent`, of the relay and of Claude
//! Code at every stage of a query: nothing is left, and the program is told.

use claude_relay_testing::process::{Process, descendants, signal};
use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::tools::{self, Cli};
use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::agent_sdk::{Helper, KEY, file};

/// Cells at the same time.
const AT_ONCE: usize = 4;

/// Longest time to the end of a query: the shim tries for 60 s to come back.
const END_TIMEOUT: Duration = Duration::from_secs(100);

const STAGES: [&str; 7] =
    ["start", "before_initialize", "hook", "tool", "stream", "result", "end_of_input"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Program,
    Shim,
    Relay,
    Agent,
}

const VICTIMS: [Victim; 4] = [Victim::Program, Victim::Shim, Victim::Relay, Victim::Agent];

/// The processes of one query, and their places.
struct Query {
    relay: Option<RelayProcess>,
    workspace: PathBuf,
    program: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: tempfile::TempDir,
    claude: PathBuf,
}

impl Query {
    async fn start(api: &str, stage: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shim = folder.path().join("claude-relay-agent");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_claude-relay"), &shim).unwrap();
        let claude = Cli::Newest.path();
        let relay = Self::relay(0, &claude, api, folder.path()).await;
        let stage = if stage == "before_initialize" { "start" } else { stage };
        let mut program = Command::new("node")
            .arg(file("killed.mjs"))
            .arg(tools::agent_sdk())
            .args([&shim, Path::new(stage)])
            .env_clear()
            .env("PATH", env!("PATH"))
            .env("HOME", folder.path())
            .env("ANTHROPIC_BASE_URL", api)
            .env("ANTHROPIC_API_KEY", KEY)
            .env("CLAUDE_RELAY_URL", &relay.url)
            .current_dir(relay.workspace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(program.stdout.take().unwrap()).lines();
        let workspace = relay.workspace();
        Self { relay: Some(relay), workspace, program, lines, folder, claude }
    }

    async fn relay(port: u16, claude: &Path, api: &str, home: &Path) -> RelayProcess {
        let arguments = ["--mode", "unrestricted", "--run-grace", "2s", "--stop-grace", "1s"];
        let arguments = [&arguments[..], &["--claude-path", claude.to_str().unwrap()]].concat();
        let variables = [
            ("HOME", home.to_str().unwrap()),
            ("IS_SANDBOX", "1"),
            ("ANTHROPIC_BASE_URL", api),
            ("ANTHROPIC_API_KEY", KEY),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ];
        RelayProcess::start_on(port, &arguments, &variables).await
    }

    fn relay_id(&self) -> u32 {
        self.relay.as_ref().unwrap().id()
    }

    /// A process below `parent` with these words in its command line.
    async fn process(&self, parent: u32, words: [&str; 2]) -> i32 {
        let parent = i32::try_from(parent).unwrap();
        let is_it = |process: &Process| {
            process.command.starts_with(words[0]) && process.command.contains(words[1])
        };
        wait::until("a process", || Some(descendants(parent).into_iter().find(is_it)?.pid)).await
    }

    async fn agent(&self) -> i32 {
        self.process(self.relay_id(), [self.claude.to_str().unwrap(), "stream-json"]).await
    }

    async fn shim(&self) -> i32 {
        let shim = self.folder.path().join("claude-relay-agent");
        self.process(self.program.id().unwrap(), [shim.to_str().unwrap(), ""]).await
    }

    /// Waits until the query has come to `stage`.
    async fn comes_to(&mut self, stage: &str, cell: &str) {
        let told = match stage {
            "before_initialize" => "start",
            "tool" | "end_of_input" => "stream",
            stage => stage,
        };
        loop {
            let line = wait::within(&format!("the stage ({cell})"), self.lines.next_line()).await;
            let line = line.unwrap().expect("a stage");
            if line == format!("{told:?}") {
                break;
            }
            assert!(!line.contains("end"), "{line}");
        }
        match stage {
            "before_initialize" => drop(self.agent().await),
            "tool" | "end_of_input" => {
                self.process(self.relay_id(), ["tail -f /dev/null", ""]).await;
            }
            _ => {}
        }
    }

    /// What the program says of its end.
    async fn end(&mut self, cell: &str) -> String {
        loop {
            let line = tokio::time::timeout(END_TIMEOUT, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("no end ({cell})"));
            let line = line.unwrap().expect("an end");
            let told: Value = serde_json::from_str(&line).unwrap();
            if let Some(end) = told["end"].as_str() {
                return end.to_owned();
            }
        }
    }
}

/// Processes that run in `workspace`.
fn left_in(workspace: &Path) -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let inside = |pid: &i32| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(workspace))
    };
    pids.filter(inside).filter_map(Process::read).collect()
}

async fn killed(api: Arc<Helper>, stage: &'static str, victim: Victim) {
    let api = &api.address;
    let mut query = Query::start(api, stage).await;
    let cell = format!("{stage}, {victim:?}");
    query.comes_to(stage, &cell).await;
    let pid = match victim {
        Victim::Program => i32::try_from(query.program.id().unwrap()).unwrap(),
        Victim::Shim => query.shim().await,
        Victim::Agent => query.agent().await,
        Victim::Relay => i32::try_from(query.relay_id()).unwrap(),
    };
    let (mut end, mut again) = (None, None);
    if victim == Victim::Relay {
        // Its workspace stays for the next one, as that of a service does.
        let relay = query.relay.take().unwrap();
        let port = relay.port;
        let gone = relay.kill_and_keep().await;
        let relay = Query::relay(port, &query.claude, api, query.folder.path()).await;
        again = Some((relay, gone));
    } else {
        signal(pid, Signal::KILL);
    }
    if victim != Victim::Program {
        end = Some(query.end(&cell).await);
    }
    let expected = match victim {
        Victim::Program => None,
        Victim::Shim | Victim::Agent => Some("signal SIGKILL"),
        // Nothing had been sent yet: the query is that of the next relay.
        Victim::Relay if stage == "start" => end.is_some().then_some(""),
        Victim::Relay => Some("the run of the agent is lost with the relay at http://127.0.0.1"),
    };
    if let Some(expected) = expected {
        let end = end.unwrap_or_default();
        assert!(end.contains(expected), "{cell}: {end}");
    }
    wait::soon(query.program.wait()).await.unwrap();
    let nothing = wait::until("the end of all processes", || {
        left_in(&query.workspace).is_empty().then_some(())
    });
    if tokio::time::timeout(Duration::from_secs(30), nothing).await.is_err() {
        panic!("{cell}: left: {:#?}", left_in(&query.workspace));
    }
    drop(again);
}

#[tokio::test]
async fn whoever_is_killed_at_whatever_stage_nothing_is_left_and_the_program_is_told() {
    let api = Helper::start("messages_api.mjs", &[]).await;
    let cells = STAGES.into_iter().flat_map(|stage| VICTIMS.map(|victim| (stage, victim)));
    // Before the agent is there, it cannot be killed.
    let cells = cells.filter(|cell| *cell != ("start", Victim::Agent));
    let cells: Vec<_> = cells.collect();
    assert_eq!(cells.len(), 27);
    let (api, places) = (Arc::new(api), Arc::new(Semaphore::new(AT_ONCE)));
    let mut under_way = JoinSet::new();
    for (stage, victim) in cells {
        let (api, places) = (Arc::clone(&api), Arc::clone(&places));
        under_way.spawn(async move {
            let _place = places.acquire().await;
            killed(api, stage, victim).await;
        });
    }
    under_way.join_all().await;
}
