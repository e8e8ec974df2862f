//! A disk without room for what the store is given.

use super::down::{store_state, until_state};
use super::{Machine, parts, texts};
use crate::support::relay::{Launch, unshared};
use claude_relay_testing::tools::Cli;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// Mounts a small disk in the server's own namespace, and fills most of it.
const MOUNT: &str = "mount -t tmpfs -o size=1m none \"$DISK\" && \
                     head -c 700k /dev/zero > \"$DISK/ballast\" && exec \"$0\" \"$@\"";

/// Size of an answer that needs more room than there is, and less than there is
/// without what fills the disk.
const LARGE: usize = 400_000;

fn with_disk(launch: Launch, disk: &Path) -> Launch {
    let wrapper = [&unshared("--mount")[..], &["sh", "-c", MOUNT]].concat();
    let store = disk.join("store");
    let launch = launch.within(&wrapper).variable("DISK", disk.to_str().expect("text"));
    launch.argument("--store").argument(store)
}

/// The disk as the server sees it.
fn inside(machine: &Machine, disk: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", machine.relay.pid()));
    root.join(disk.strip_prefix("/").expect("an absolute path"))
}

/// All files below a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Every file is a part, and each has whole lines of JSON.
fn assert_whole(store: &Path) {
    for file in files(store) {
        let name = file.file_name().expect("a name").to_string_lossy();
        assert!(name.starts_with("part-") && name.ends_with(".jsonl"), "{file:?}");
        let text = fs::read_to_string(&file).expect("text");
        assert!(text.ends_with('\n'), "{file:?}");
        for line in text.lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {file:?}"));
        }
    }
}

#[tokio::test]
async fn a_full_disk_of_the_store_stops_nothing_and_gets_all_once_it_has_room() {
    let disk = tempfile::tempdir().unwrap();
    let mut machine =
        Machine::launched(Cli::Newest, json!({}), |launch| with_disk(launch, disk.path())).await;
    let inside = inside(&machine, disk.path());
    let id = machine.turn("One?", "One.").await["session_id"].as_str().unwrap().to_owned();
    assert_eq!(store_state(&machine).await, json!({ "state": "ok" }));

    let large = "x".repeat(LARGE);
    machine.turn("Two?", &large).await;
    let told = store_state(&machine).await;
    assert_eq!((&told["state"], &told["lost"]), (&json!("behind"), &Value::Null), "{told}");
    assert!(told["waiting_bytes"].as_u64() > Some(LARGE as u64), "{told}");
    assert!(told["error"].as_str().unwrap().contains("No space left on device"), "{told}");
    machine.turn("Three?", "Three.").await;
    assert_whole(&inside.join("store"));
    machine.until_told("takes nothing").await;
    machine.until_told("\"state\":\"behind\"").await;

    fs::remove_file(inside.join("ballast")).unwrap();
    until_state(&machine, "ok").await;
    assert_whole(&inside.join("store"));
    let (store, target) = (tempfile::tempdir().unwrap(), "project");
    fs::create_dir_all(store.path().join(target).join(&id)).unwrap();
    for part in parts(&inside.join("store"), &id) {
        let name = part.file_name().unwrap();
        fs::copy(&part, store.path().join(target).join(&id).join(name)).unwrap();
    }
    machine.lose();

    let mut second = Machine::resuming(Cli::Newest, store.path(), &id).await;
    second.turn("Four?", "Four.").await;
    let sent = second.api.turn(1).await.body["messages"].to_string();
    let said = ["One?", "One.", "Two?", &large, "Three?", "Three.", "Four?"];
    let places: Vec<_> = said.map(|text| sent.find(text)).into();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}");
    second.end().await;
}

#[tokio::test]
async fn what_has_no_room_anywhere_is_told_to_be_lost_and_later_turns_are_stored() {
    let disk = tempfile::tempdir().unwrap();
    let mut machine = Machine::launched(Cli::Newest, json!({}), |launch| {
        let state = disk.path().join("state");
        with_disk(launch, disk.path()).variable("XDG_STATE_HOME", state.to_str().unwrap())
    })
    .await;
    let inside = inside(&machine, disk.path());
    let id = machine.turn("One?", "One.").await["session_id"].as_str().unwrap().to_owned();
    machine.turn("Two?", &"x".repeat(LARGE)).await;
    let told = store_state(&machine).await;
    assert!(told["lost"].as_u64() > Some(0), "{told}");
    assert!(told["error"].as_str().unwrap().contains("No space left on device"), "{told}");
    assert_whole(&inside.join("store"));

    fs::remove_file(inside.join("ballast")).unwrap();
    machine.turn("Three?", "Three.").await;
    let told = until_state(&machine, "ok").await;
    assert!(told["lost"].as_u64() > Some(0) && told.get("error").is_none(), "{told}");
    assert!(texts(&parts(&inside.join("store"), &id)).contains("Three."));
    machine.until_told("are lost to it").await;
    machine.until_told("takes lines again").await;
    let frames = machine.client.frames().join("\n");
    assert!(!frames.contains("has everything again"), "{frames:.10000}");
    machine.end().await;
}
