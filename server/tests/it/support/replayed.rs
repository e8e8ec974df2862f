//! A recording, played: the frames that come of it are those that it holds. Every
//! server with the real CLI that a test stops is recorded and played. One that it
//! kills is not: the last entries of its recording are lost with it.
//!
//! Compared are all frames with a number, in order, byte for byte; `input` frames
//! among themselves, since they are there when the client has sent them. Left out
//! is what has no number: `agent_state`, which tells the last state at most ten
//! times a second, and the answers to a client's own requests.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use claude_relay_testing::wait;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::http;
use super::relay::{Launch, Relay};
use super::ws::Client;

/// Tests of which a recording plays to other frames, each with the reason. What is
/// named here has to.
pub(crate) const OTHERWISE: [(&str, &str); 7] = [
    (
        "capabilities::a_cli_that_is_replaced_under_the_server_is_asked_for_its_version_again",
        "the relay itself refuses a field that the CLI does not know; the CLI of a replay is the \
         last one from the beginning",
    ),
    (
        "page_permissions::questions_survive_a_reconnect_and_answered_ones_do_not",
        "the page comes back to a place of its own, which no recording holds, and is asked once \
         more what it was asked before that place",
    ),
    (
        "real_cli_faults::newest_cli::nowhere_to_write",
        "an agent that was resumed ended before it had answered the first request, by which the \
         relay tells that it has refused; a player answers at once, so that the end has other words",
    ),
    ("real_cli_faults::oldest_cli::nowhere_to_write", "as with the newest one"),
    (
        "store::damaged::nothing_runs_where_the_store_of_the_conversation_is_down",
        "as the two above",
    ),
    (
        "turns::owner::newest_cli::the_cli_goes_on_with_what_was_said",
        "the server is claimed and gets another token, neither of which a recording holds",
    ),
    ("turns::owner::oldest_cli::the_cli_goes_on_with_what_was_said", "as with the newest one"),
];

/// Time after which such a recording counts as one that plays to other frames.
const OTHERWISE_DEADLINE: Duration = Duration::from_secs(5);

/// A recording that is being made, to be played at the end.
pub(crate) struct Recorded {
    /// The same server once more.
    launch: Launch,
    directory: TempDir,
    /// The test that makes it.
    test: String,
}

impl Recorded {
    /// One of a server like `launch`.
    pub(crate) fn new(launch: Launch) -> Self {
        let directory = tempfile::tempdir().expect("a temp directory");
        if let Some(user) = launch.runs_as() {
            chown(directory.path(), Some(user), None).expect("a directory of the test");
        }
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        Self { launch: launch.port(0), directory, test }
    }

    /// The file.
    pub(crate) fn recording(&self) -> PathBuf {
        self.directory.path().join("recording.jsonl")
    }

    /// Plays it to clients that open `paths`, and compares the frames.
    pub(crate) fn assert_replays(self, paths: &[String]) {
        let recording = self.recording();
        if entries(&recording).iter().all(|entry| entry.get("seq").is_none()) {
            return;
        }
        let launch = self.launch;
        let otherwise = OTHERWISE.iter().find(|(test, _)| *test == self.test);
        let deadline = otherwise.map_or(Duration::MAX, |_| OTHERWISE_DEADLINE);
        // The caller may be within a runtime, in which nothing can wait for this.
        let played = std::thread::scope(|scope| {
            let played = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(async {
                    let playing = assert_same(launch, &recording, paths);
                    tokio::time::timeout(deadline, playing).await.expect("its frames in time");
                });
            });
            played.join()
        });
        match (played, otherwise) {
            (Ok(()), None) | (Err(_), Some(_)) => {}
            (Ok(()), Some((test, _))) => panic!("{test} plays to the same frames"),
            (Err(panic), None) => std::panic::resume_unwind(panic),
        }
    }
}

/// The lines of a recording behind its header.
fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("the recording");
    text.lines().skip(1).map(str::to_owned).collect()
}

/// The entries of a recording.
pub(crate) fn entries(path: &Path) -> Vec<Value> {
    lines(path).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Words of the last frame of a server that is stopped.
const END: &str = "Server is shutting down";

/// Words of the answer to a message after the end: one without an id that the
/// agent had taken into a running turn begins one in a replay.
const AFTER: &str = "The recording has ended";

/// The path that the page opens, which is no client of the test's own.
const OF_THE_PAGE: &str = "/ws?after=0&supports=agent_state,input,questions";

/// Returns true for a frame in which the relay itself tells something.
fn is_told(entry: &Value) -> bool {
    entry["dir"] == "to_client"
        && (entry["frame"]["type"] == "info" || entry["frame"]["type"] == "error")
}

/// The frames with a number, without their times and numbers: what comes of the
/// agent, and the messages of clients among them, whose places are a matter of
/// the client's time. Without what the relay tells, if `is_stored`.
fn frames(path: &Path, is_stored: bool) -> (Vec<String>, Vec<String>) {
    let numbered = lines(path).into_iter().filter_map(|line| {
        let (before, rest) = line.split_once(",\"seq\":")?;
        if is_stored && is_told(&serde_json::from_str(&line).expect("JSON")) {
            return None;
        }
        let direction = before.split_once(',')?.1;
        Some(format!("{direction}{}", rest.split_once(',')?.1))
    });
    let of_the_recording = numbered.filter(|frame| !frame.contains(END) && !frame.contains(AFTER));
    of_the_recording.partition(|frame| !frame.contains("\"frame\":{\"type\":\"input\""))
}

/// Plays `recording` in a server like `launch` to clients that open `paths`, and
/// compares the frames. It has no store: what a relay tells of its own depends on
/// what is in it and on the machine, and is left out where the recording has one.
pub(crate) async fn assert_same(mut launch: Launch, recording: &Path, paths: &[String]) {
    let again = again(recording);
    let is_stored = launch.take("--store").is_some();
    let authorization = format!("Bearer {}", launch.token().unwrap_or_default());
    let headers = match launch.token() {
        Some(_) => vec![("Authorization", authorization.as_str())],
        None => Vec::new(),
    };
    let relay = launch
        .argument("--replay")
        .argument(recording)
        .argument("--replay-speed=max")
        .argument("--record")
        .argument(&again)
        .start();
    let mut paths = paths.iter().filter(|path| !path.contains("watch=true"));
    let mut client: Option<Client> = None;
    // `/health` counts the frames of a client that does not ask for inputs.
    let (mut seq, mut left_out, mut is_stopped) = (0, 0, false);
    for entry in entries(recording) {
        if let Some(number) = entry["seq"].as_u64() {
            if entry["frame"]["error"] == END {
                // What the agent says at its end comes of the stop.
                reached(&relay, &headers, seq).await;
                relay.signal(Signal::TERM);
                is_stopped = true;
                break;
            }
            left_out +=
                u64::from(entry["frame"]["type"] == "input" || (is_stored && is_told(&entry)));
            seq = number - left_out;
        }
        match (entry["dir"].as_str().unwrap_or_default(), &entry["frame"]) {
            ("client", frame) if entry["closed"] == true => {
                assert!(frame.is_null());
                // What the client was asked before it went is asked of the next one.
                reached(&relay, &headers, seq).await;
                if let Some(client) = client.take() {
                    client.close().await;
                }
            }
            ("client", frame) => {
                assert!(frame.is_object() && frame["left_out"].is_null(), "not recorded: {entry}");
                reached(&relay, &headers, seq).await;
                client.as_mut().expect("a client").send(frame).await;
            }
            ("to_client", frame) if frame["type"] == "connected" => {
                let path = paths.next().map_or(OF_THE_PAGE, String::as_str);
                client = Some(Client::open(relay.address(), path).await);
            }
            ("relay", _) if entry.get("config").is_some() => {
                let mut config = entry["config"].clone();
                // A masked text is not in the recording.
                let fields = config.as_object_mut().expect("a configuration");
                fields.retain(|_, value| !value.to_string().contains("\"***\""));
                let (address, config) = (relay.address(), config.to_string());
                let json = ("Content-Type", "application/json");
                let headers = [&headers[..], &[json]].concat();
                let answer = http::request(address, "POST", "/config", &headers, &config).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            _ => {}
        }
    }
    if is_stopped {
        if let Some(client) = &mut client {
            client.closed().await;
        }
        assert_eq!(relay.end().code(), Some(0));
    } else {
        reached(&relay, &headers, seq).await;
        drop(client);
        relay.stop();
    }
    assert_eq!(frames(&again, is_stored), frames(recording, is_stored));
}

fn again(recording: &Path) -> PathBuf {
    recording.with_extension("again")
}

async fn reached(relay: &Relay, headers: &[(&str, &str)], seq: u64) {
    wait::until_async(&format!("frame {seq}"), async || {
        let health = http::request(relay.address(), "GET", "/health", headers, "").await.json();
        health["replay"]["next"].as_u64().is_some_and(|next| next > seq)
    })
    .await;
}
