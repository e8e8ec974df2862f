use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn redactor(secret: &str) -> Redactor {
    let mut redactor = Redactor::default();
    redactor.extend([Secret::from(secret)]);
    redactor
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn entries_are_written_in_order_with_times_and_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r.jsonl");
    let recorder = Recorder::start(&path, redactor("first-secret")).unwrap();
    recorder.json(Kind::AgentLine(Some(7)), br#"{"a":"first-secret \n"}"#);
    recorder.mask([Secret::from("later-secret")]);
    recorder.text(Kind::AgentStderr, b"later-secret \"x\" \xff");
    recorder.json(Kind::ClientClosed, b"true");
    recorder.finish().await;
    let lines = lines(&path);
    assert_eq!((&lines[0]["recording"], &lines[0]["part"]), (&json!(1), &json!(1)));
    assert_eq!((&lines[1]["dir"], &lines[1]["seq"]), (&json!("agent"), &json!(7)));
    assert_eq!(lines[1]["line"], json!({ "a": "*** \n" }));
    assert_eq!(lines[2]["stderr"], "*** \"x\" \u{fffd}");
    assert_eq!((&lines[3]["dir"], &lines[3]["closed"]), (&json!("client"), &json!(true)));
    let times: Vec<_> = lines[1..].iter().map(|line| line["t"].as_f64().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let health = recorder.health();
    assert_eq!((&health["state"], &health["entries"]), (&json!("recording"), &json!(3)));
}

#[tokio::test]
async fn an_earlier_recording_is_kept_and_another_file_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r.jsonl");
    for _ in 0..KEPT_FILES + 3 {
        Recorder::start(&path, Redactor::default()).unwrap().finish().await;
    }
    let count = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(count, KEPT_FILES as usize + 1);
    let other = directory.path().join("notes");
    std::fs::write(&other, "mine").unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&other, &link, &directory.path().to_owned()] {
        let error = Recorder::start(path, Redactor::default()).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("is no recording"), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "mine");
}

#[tokio::test]
async fn the_files_together_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r.jsonl");
    let mut files = writer::Files::open(path.clone()).unwrap();
    let line = vec![b'x'; 1 << 20];
    // Sparse files do not count here: only the names and the turns of them.
    for _ in 0..FILE_BYTES / line.len() as u64 * 2 {
        files.write(&line).unwrap();
    }
    drop(files);
    for found in std::fs::read_dir(directory.path()).unwrap() {
        assert!(found.unwrap().metadata().unwrap().len() <= FILE_BYTES);
    }
    let first = std::fs::read(&path).unwrap();
    assert!(
        first.starts_with(b"{\"recording\":1,") && first.windows(9).any(|w| w == b"\"part\":3,")
    );
}

#[tokio::test]
async fn a_disk_that_does_not_take_entries_stops_nothing_and_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r.jsonl");
    let recorder = Recorder::start(&path, Redactor::default()).unwrap();
    // The thread waits for the redactor, as it would for a disk.
    let held = recorder.shared.redactor.lock().unwrap();
    let line = serde_json::to_vec(&"x".repeat(1 << 20)).unwrap();
    let entries = 2 * QUEUE_BYTES / line.len();
    for _ in 0..entries {
        recorder.json(Kind::AgentLine(None), &line);
    }
    let lost = recorder.lost();
    assert!(lost >= entries as u64 / 2 - 1, "{lost}");
    assert!(recorder.shared.queued_bytes.load(Ordering::Relaxed) <= QUEUE_BYTES);
    drop(held);
    recorder.finish().await;
    let lines = lines(&path);
    let told: u64 = lines.iter().filter_map(|line| line["lost"].as_u64()).sum();
    assert_eq!(told, lost);
}
