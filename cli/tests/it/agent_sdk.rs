//! Programs with the official Agent SDKs, run with the CLI itself and with
//! `claude-relay-agent`: what they tell of it has to be the same.

use claude_relay_testing::relay_process::RelayProcess;
use claude_relay_testing::tools::{self, Cli};
use claude_relay_testing::wait;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinSet;

/// A process that prints its address and ends when its stdin does.
pub(crate) struct Helper {
    pub(crate) address: String,
    _child: Child,
    _stdin: ChildStdin,
}

impl Helper {
    pub(crate) async fn start(script: &str, arguments: &[String]) -> Self {
        let mut child = Command::new("node")
            .arg(file(script))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed");
        let stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = wait::soon(lines.next_line()).await.unwrap().expect("it listens");
        Self { address, _child: child, _stdin: stdin }
    }
}

/// Accepted by the Messages API, as any other.
pub(crate) const KEY: &str = "test-key-0123456789";

/// Claude Code, a Messages API, and a relay.
pub(crate) struct Fixture {
    pub(crate) api: Helper,
    pub(crate) relay: RelayProcess,
    folder: TempDir,
    /// The directory in which programs run.
    cwd: PathBuf,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let (api, folder) = Self::parts().await;
        let home = folder.path().join("home");
        let variables = variables(&api.address, Some(home.to_str().unwrap()));
        let relay = RelayProcess::start(&arguments(&Cli::Newest.path()), &variables).await;
        let cwd = relay.workspace();
        Self { api, relay, folder, cwd }
    }

    /// With a relay that has a home of its own, and for which what belongs to the
    /// programs does not exist: their directories, the SDKs, these tests.
    pub(crate) async fn elsewhere() -> Self {
        let (api, folder) = Self::parts().await;
        let cwd = folder.path().join("program");
        std::fs::create_dir(&cwd).unwrap();
        let python = tools::agent_sdk_python();
        let hidden = [
            folder.path().to_owned(),
            tools::agent_sdk(),
            python.parent().unwrap().parent().unwrap().to_owned(),
            file(".").canonicalize().unwrap(),
        ];
        let hidden = hidden.each_ref().map(PathBuf::as_path);
        let variables = variables(&api.address, None);
        let relay =
            RelayProcess::start_without(&hidden, &arguments(&Cli::Newest.path()), &variables).await;
        Self { api, relay, folder, cwd }
    }

    async fn parts() -> (Helper, TempDir) {
        let api = Helper::start("messages_api.mjs", &[]).await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("home")).unwrap();
        let program = folder.path().join("claude-relay-agent");
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_claude-relay"), program).unwrap();
        (api, folder)
    }

    pub(crate) fn agent(&self) -> PathBuf {
        self.folder.path().join("claude-relay-agent")
    }

    pub(crate) fn typescript(&self, executable: &Path, relay: &str, only: &[&str]) -> Command {
        self.with_sdk(&tools::agent_sdk(), executable, relay, only)
    }

    fn with_sdk(&self, sdk: &Path, executable: &Path, relay: &str, only: &[&str]) -> Command {
        let mut command = Command::new("node");
        command.arg(file("scenarios.mjs")).arg(sdk).arg(executable).args(only);
        self.finish(command, relay)
    }

    pub(crate) fn python(&self, executable: &Path, relay: &str, only: &[&str]) -> Command {
        let mut command = Command::new(tools::agent_sdk_python());
        command.arg(file("scenarios.py")).arg(executable).args(only);
        self.finish(command, relay)
    }

    pub(crate) fn finish(&self, mut command: Command, relay: &str) -> Command {
        command
            .env_clear()
            .env("PATH", env!("PATH"))
            .env("HOME", self.folder.path().join("home"))
            .env("ANTHROPIC_BASE_URL", &self.api.address)
            .env("ANTHROPIC_API_KEY", KEY)
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_TELEMETRY", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("CLAUDE_RELAY_URL", relay)
            .env("RELAY_WORKSPACE", self.relay.workspace())
            .current_dir(&self.cwd)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

fn arguments(claude: &Path) -> [&str; 6] {
    let claude = claude.to_str().unwrap();
    ["--mode", "unrestricted", "--max-runs", "16", "--claude-path", claude]
}

/// The variables of a relay.
fn variables<'a>(api: &'a str, home: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    // Skipping all questions is for sandboxes alone, where root asks for it.
    let fixed = [
        ("IS_SANDBOX", "1"),
        ("ANTHROPIC_BASE_URL", api),
        ("ANTHROPIC_API_KEY", KEY),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ];
    home.map(|home| ("HOME", home)).into_iter().chain(fixed).collect()
}

pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testing/agent-sdk").join(name)
}

/// The outcome of every scenario. Each is bounded by itself.
pub(crate) async fn outcomes(mut command: Command) -> BTreeMap<String, Value> {
    let output = command.output().await.expect("the program runs");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let mut outcome: Value = serde_json::from_str(line).unwrap();
            (outcome["name"].as_str().unwrap().to_owned(), outcome["log"].take())
        })
        .collect()
}

/// What a program has seen, in the order of its messages and then of its callbacks:
/// an SDK runs a callback at once, and a program reads its messages when it gets to
/// them, so their order to one another is not told.
fn in_order(outcome: &Value) -> Vec<&Value> {
    let Value::Array(log) = outcome else { return vec![outcome] };
    let is_callback =
        |entry: &&Value| ["hook", "asked", "elicited"].iter().any(|name| entry.get(name).is_some());
    let (callbacks, messages): (Vec<_>, Vec<_>) = log.iter().partition(is_callback);
    [messages, callbacks].concat()
}

/// The most scenarios of a file: they are run by one test, and each has its own limit.
const MOST_SCENARIOS: usize = 24;

pub(crate) fn assert_same(direct: &BTreeMap<String, Value>, relayed: &BTreeMap<String, Value>) {
    assert!((1..=MOST_SCENARIOS).contains(&direct.len()), "{} scenarios", direct.len());
    for (name, outcome) in relayed {
        let same = in_order(outcome) == in_order(&direct[name]);
        assert!(same, "{name}: over the relay {outcome}, and directly {}", direct[name]);
        assert!(!outcome.to_string().contains("took over"), "{name}: {outcome}");
    }
}

/// Runs all scenarios of a file with the CLI itself and over the relay.
async fn typescript_sees_the_same(scenarios: &str) {
    let fixture = Fixture::new().await;
    let relay = &fixture.relay.url;
    let (direct, relayed) = tokio::join!(
        outcomes(fixture.typescript(&Cli::Newest.path(), relay, &[scenarios])),
        outcomes(fixture.typescript(&fixture.agent(), relay, &[scenarios])),
    );
    assert_eq!(direct.len(), relayed.len());
    assert_same(&direct, &relayed);
}

#[tokio::test]
async fn typescript_programs_see_the_same_over_the_relay() {
    typescript_sees_the_same("scenarios").await;
}

#[tokio::test]
async fn options_and_methods_of_typescript_do_the_same_over_the_relay() {
    typescript_sees_the_same("options_and_methods").await;
}

#[tokio::test]
async fn queries_of_typescript_begin_and_end_the_same_over_the_relay() {
    typescript_sees_the_same("beginnings_and_ends").await;
}

#[tokio::test]
async fn callbacks_and_content_of_typescript_are_the_same_over_the_relay() {
    typescript_sees_the_same("callbacks_and_content").await;
}

#[tokio::test]
async fn rules_and_servers_of_typescript_are_the_same_over_the_relay() {
    typescript_sees_the_same("rules_and_servers").await;
}

#[tokio::test]
async fn sessions_and_files_of_typescript_are_the_same_over_the_relay() {
    typescript_sees_the_same("sessions_and_files").await;
}

/// Runs all scenarios of a file with the CLI itself and over a proxy that resets every
/// connection.
async fn python_sees_the_same_over_resets(scenarios: &str) {
    let fixture = Fixture::new().await;
    let relay = &fixture.relay.url;
    let port = fixture.relay.port.to_string();
    let cutting = Helper::start("cutting_proxy.mjs", &[port, "7".to_owned()]).await;
    let (direct, cut) = tokio::join!(
        outcomes(fixture.python(&Cli::Newest.path(), relay, &[scenarios])),
        outcomes(fixture.python(&fixture.agent(), &cutting.address, &[scenarios])),
    );
    assert_eq!(direct.len(), cut.len());
    assert_same(&direct, &cut);
}

#[tokio::test]
async fn python_programs_see_the_same_over_the_relay() {
    let fixture = Fixture::new().await;
    let relay = &fixture.relay.url;
    let (direct, relayed) = tokio::join!(
        outcomes(fixture.python(&Cli::Newest.path(), relay, &["scenarios"])),
        outcomes(fixture.python(&fixture.agent(), relay, &["scenarios"])),
    );
    assert_eq!(direct.len(), relayed.len());
    assert_same(&direct, &relayed);
}

#[tokio::test]
async fn python_programs_see_the_same_over_resets() {
    python_sees_the_same_over_resets("scenarios").await;
}

#[tokio::test]
async fn queries_of_python_begin_and_end_the_same_over_resets() {
    python_sees_the_same_over_resets("beginnings_and_ends").await;
}

#[tokio::test]
async fn callbacks_and_content_of_python_are_the_same_over_resets() {
    python_sees_the_same_over_resets("callbacks_and_content").await;
}

/// How a connection is broken: after how many messages, of which direction, how
/// long it is held in each direction, and how soon the reset comes.
type Cut = (u16, &'static str, u16, u16);

const CUTS_AT_ONCE: usize = 2;

/// A link with round trips of 150 ms.
const SLOW_LINK: Cut = (0, "both", 75, 20);

/// Programs of TypeScript, by their file.
const TYPESCRIPT: [&str; 6] = [
    "scenarios",
    "options_and_methods",
    "beginnings_and_ends",
    "callbacks_and_content",
    "rules_and_servers",
    "sessions_and_files",
];

/// Lets every file of programs meet a slow link and resets after each number of
/// messages up to this one, which takes some minutes a number.
const ALL_RESETS_VARIABLE: &str = "RELAY_TEST_ALL_RESETS";

#[allow(clippy::disallowed_methods, reason = "the number of resets is told to the tests")]
fn all_resets() -> Option<u16> {
    std::env::var(ALL_RESETS_VARIABLE).ok().map(|told| told.parse().expect("a number of messages"))
}

#[tokio::test]
async fn resets_after_any_number_of_messages_and_slow_links_change_nothing() {
    if let Some(most) = all_resets() {
        // The first message is the server's `connected`.
        let numbers = (2..=most).map(|messages| (messages, "both", 0, 20));
        let cuts: Vec<Cut> = numbers.chain([(1, "up", 0, 20), SLOW_LINK]).collect();
        for file in TYPESCRIPT {
            cuts_change_nothing(&[file], &cuts).await;
        }
        return;
    }
    let cuts = [
        (1, "up", 0, 20),
        (2, "both", 0, 0),
        (2, "down", 0, 20),
        (3, "both", 0, 20),
        (5, "both", 0, 0),
        (20, "random", 0, 20),
        SLOW_LINK,
    ];
    cuts_change_nothing(&["tool_allowed", "hooks", "host_tools"], &cuts).await;
}

/// Runs these scenarios with the CLI itself, and over a proxy for each of the cuts.
async fn cuts_change_nothing(scenarios: &[&str], cuts: &[Cut]) {
    let fixture = Fixture::new().await;
    let direct =
        outcomes(fixture.typescript(&Cli::Newest.path(), &fixture.relay.url, scenarios)).await;
    let mut under_way = JoinSet::new();
    for &(messages, counted, delay, after) in cuts {
        let numbers = [fixture.relay.port, messages, delay].map(|number| number.to_string());
        let arguments = [&numbers[..], &[counted.to_owned(), after.to_string()]].concat();
        let proxy = Helper::start("cutting_proxy.mjs", &arguments).await;
        let command = fixture.typescript(&fixture.agent(), &proxy.address, scenarios);
        let direct = direct.clone();
        under_way.spawn(async move {
            let relayed = outcomes(command).await;
            assert_eq!(relayed.len(), direct.len());
            // A failure tells which it was.
            let named = |outcomes: BTreeMap<String, Value>| {
                let name = |name| format!("{name}, reset after {messages} of {counted}");
                outcomes.into_iter().map(|(each, outcome)| (name(each), outcome)).collect()
            };
            assert_same(&named(direct), &named(relayed));
            drop(proxy);
        });
        if under_way.len() == CUTS_AT_ONCE {
            under_way.join_next().await.expect("one is under way").unwrap();
        }
    }
    under_way.join_all().await;
}

#[tokio::test]
async fn an_early_sdk_sees_the_same_over_the_relay() {
    const SCENARIOS: [&str; 6] =
        ["text", "tool_allowed", "tool_denied", "hooks", "partial_messages", "interrupt"];
    let fixture = Fixture::new().await;
    let (sdk, relay) = (tools::agent_sdk_oldest(), &fixture.relay.url);
    let (direct, relayed) = tokio::join!(
        outcomes(fixture.with_sdk(&sdk, &Cli::Newest.path(), relay, &SCENARIOS)),
        outcomes(fixture.with_sdk(&sdk, &fixture.agent(), relay, &SCENARIOS)),
    );
    assert_eq!(direct.len(), SCENARIOS.len());
    assert_same(&direct, &relayed);
    assert!(direct["text"].to_string().contains("one from"), "{}", direct["text"]);
}

#[tokio::test]
async fn the_sdk_for_browsers_speaks_to_a_relay_by_itself() {
    let fixture = Fixture::new().await;
    let url = fixture.relay.url.replace("http:", "ws:");
    let mut command = Command::new("node");
    command.args(["--no-warnings", "--experimental-websocket"]);
    command.arg(file("browser.mjs")).arg(tools::agent_sdk()).arg(url);
    let outcome = outcomes(fixture.finish(command, "")).await;
    let expected = serde_json::json!([
        "one from claude-opus-5-5",
        "hook Bash",
        "asked Bash",
        "the tool said: changed",
        "hook mcp__host__echo",
        "asked mcp__host__echo",
        "the tool said: echo: two",
    ]);
    assert_eq!(outcome["browser"], expected);
}

#[tokio::test]
async fn every_option_and_method_of_the_sdk_has_a_scenario_and_its_place_in_the_document() {
    let mut typescript = Command::new("node");
    typescript.arg(file("scenarios.mjs")).arg(tools::agent_sdk());
    let mut python = Command::new(tools::agent_sdk_python());
    python.arg(file("scenarios.py"));
    for mut command in [typescript, python] {
        let output = command.arg("--coverage").output().await.expect("it is installed");
        let missing = String::from_utf8(output.stdout).unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && missing.is_empty(), "{missing}{told}");
    }
}
