use super::*;
use crate::store::location::Location;

#[test]
fn parts_have_whole_lines() {
    let line = |bytes: usize| format!("{}\n", "x".repeat(bytes - 1));
    let split_up = |text: &str| -> Vec<usize> {
        let parts: Vec<Bytes> = split(Bytes::from(text.to_owned())).collect();
        assert_eq!(parts.concat(), text.as_bytes());
        parts.iter().map(Bytes::len).collect()
    };
    assert_eq!(split_up(""), [] as [usize; 0]);
    assert_eq!(split_up("a\nb\n"), [4]);
    assert_eq!(split_up("a\nwithout an end"), [16]);
    assert_eq!(split_up(&"x".repeat(PART_BYTES + 5)), [PART_BYTES + 5]);
    assert_eq!(split_up(&line(PART_BYTES)), [PART_BYTES]);
    assert_eq!(split_up(&line(2 * PART_BYTES)), [2 * PART_BYTES]);
    let (most, two) = (line(PART_BYTES - 1), line(2));
    assert_eq!(split_up(&[&most[..], &two, &two].concat()), [PART_BYTES + 1, 2]);
    assert_eq!(split_up(&[&two[..], &line(PART_BYTES - 2), &two].concat()), [PART_BYTES, 2]);
}

#[test]
fn a_large_part_has_the_time_of_a_slow_line() {
    assert_eq!(attempt_timeout(1000), ATTEMPT);
    assert!(attempt_timeout(PART_BYTES) >= Duration::from_secs(60));
}

/// Nothing is written before the test waits for it, since there is one thread.
#[tokio::test]
async fn what_waits_for_the_store_is_bounded() {
    let place = tempfile::tempdir().unwrap();
    let location = Location::Directory(place.path().join("store"));
    let workspace = place.path().join("workspace");
    let store = Store::open(&location, None, &workspace, None, 0).unwrap();
    let mut mirror = start(Arc::new(store), 10);
    let key = Key { project: "-w".to_owned(), session: "s".to_owned(), subpath: None };
    let takes = |mirror: &mut Mirror, bytes: usize| {
        let line = format!("{}\n", "x".repeat(bytes - 1));
        mirror.append(key.clone(), line.into())
    };
    assert!(takes(&mut mirror, 8));
    assert!(!takes(&mut mirror, 3));
    assert!(takes(&mut mirror, 2));
    assert!(!takes(&mut mirror, 1));
    mirror.settled().await;
    // A single one may be larger; nothing comes beside it.
    assert!(takes(&mut mirror, 11));
    assert!(!takes(&mut mirror, 1));
    mirror.settled().await;
    assert_eq!((mirror.is_settled(), mirror.progress().lost), (true, 0));

    let mut mirror = start(Arc::clone(mirror.store()), u64::MAX);
    for _ in 0..CAPACITY {
        assert!(takes(&mut mirror, 1));
    }
    assert!(!takes(&mut mirror, 1));
}
