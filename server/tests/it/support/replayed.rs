//! A recording, played: the frames that come of it are those that it holds.
//!
//! Compared are all frames with a number, in order, byte for byte; `input` frames
//! among themselves, since they are there when the client has sent them. Left out
//! is what has no number: `agent_state`, which tells the last state at most ten
//! times a second, and the answers to a client's own requests.

use std::path::{Path, PathBuf};

use claude_relay_testing::wait;
use serde_json::Value;

use super::http;
use super::relay::{Launch, Relay};
use super::ws::Client;

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

/// The frames with a number, without their times and numbers: what comes of the
/// agent, and the messages of clients among them, whose places are a matter of
/// the client's time.
fn frames(path: &Path) -> (Vec<String>, Vec<String>) {
    let numbered = lines(path).into_iter().filter_map(|line| {
        let (before, rest) = line.split_once(",\"seq\":")?;
        let direction = before.split_once(',')?.1;
        Some(format!("{direction}{}", rest.split_once(',')?.1))
    });
    let of_the_recording = numbered.filter(|frame| !frame.contains(END) && !frame.contains(AFTER));
    of_the_recording.partition(|frame| !frame.contains("\"frame\":{\"type\":\"input\""))
}

/// Plays `recording` in a server like `launch` to clients that open `path`, and
/// compares the frames. Returns false where a message of the client is not in the
/// recording.
pub(crate) async fn assert_same(launch: Launch, recording: &Path, path: &str) -> bool {
    let again = again(recording);
    let relay = launch
        .argument("--replay")
        .argument(recording)
        .argument("--replay-speed=max")
        .argument("--record")
        .argument(&again)
        .start();
    let mut client: Option<Client> = None;
    // `/health` counts the frames of a client that does not ask for inputs.
    let (mut seq, mut inputs) = (0, 0);
    for entry in entries(recording) {
        if let Some(number) = entry["seq"].as_u64()
            && entry["frame"]["error"] != END
        {
            inputs += u64::from(entry["frame"]["type"] == "input");
            seq = number - inputs;
        }
        match (entry["dir"].as_str().unwrap_or_default(), &entry["frame"]) {
            ("client", frame) if entry["closed"] == true => {
                assert!(frame.is_null());
                if let Some(client) = client.take() {
                    client.close().await;
                }
            }
            ("client", frame) if frame.is_null() || frame["left_out"] == true => return false,
            ("client", frame) => {
                reached(&relay, seq).await;
                client.as_mut().expect("a client").send(frame).await;
            }
            ("to_client", frame) if frame["type"] == "connected" => {
                client = Some(Client::open(relay.address(), path).await);
            }
            ("relay", _) if entry.get("config").is_some() => {
                let mut config = entry["config"].clone();
                // A masked text is not in the recording.
                let fields = config.as_object_mut().expect("a configuration");
                fields.retain(|_, value| !value.to_string().contains("\"***\""));
                let answer = http::post(relay.address(), "/config", &config.to_string()).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
            _ => {}
        }
    }
    reached(&relay, seq).await;
    drop(client);
    relay.stop();
    assert_eq!(frames(&again), frames(recording));
    true
}

fn again(recording: &Path) -> PathBuf {
    recording.with_extension("again")
}

async fn reached(relay: &Relay, seq: u64) {
    wait::until_async(&format!("frame {seq}"), async || {
        let health = http::get(relay.address(), "/health").await.json();
        health["replay"]["next"].as_u64().is_some_and(|next| next > seq)
    })
    .await;
}
