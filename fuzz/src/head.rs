//! Heads of requests.

use claude_relay_listen::head::{Head, find};

const NAMES: [&str; 3] = ["content-length", "transfer-encoding", "upgrade"];

/// The first byte is the length of the part that comes first. The answer for
/// that part does not change when the rest is there, and a head that passes has
/// one reading only, compared with a simple reader.
pub fn head(data: &[u8]) {
    let Some((&cut, bytes)) = data.split_first() else { return };
    let part = &bytes[..usize::from(cut).min(bytes.len())];
    let (before, after) = (find(part, |_| false), find(bytes, |_| false));
    match before {
        Ok(None) => {}
        Ok(Some(_)) => assert_eq!(after, before),
        Err(_) => assert!(after.is_err(), "{before:?} became {after:?}"),
    }
    if let Ok(Some(head)) = after {
        assert_reads_in_one_way(&head, bytes);
    }
}

fn assert_reads_in_one_way(head: &Head, bytes: &[u8]) {
    let text = String::from_utf8_lossy(&bytes[..head.bytes]);
    let lines = text.strip_suffix("\r\n\r\n").expect("it ends with an empty line");
    // Empty lines before it are skipped by the parser; ours are cut off before.
    let mut lines = lines.trim_start_matches("\r\n").split("\r\n");
    let first: Vec<_> = lines.next().expect("a first line").split(' ').collect();
    assert!(matches!(first[..], [_, _, "HTTP/1.0" | "HTTP/1.1"]), "{first:?}");
    let mut seen = [0; NAMES.len()];
    for line in lines {
        assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        let (name, _) = line.split_once(':').expect("a field has a colon");
        assert!(!name.is_empty() && !name.contains([' ', '\t']), "{line:?}");
        for (seen, known) in seen.iter_mut().zip(NAMES) {
            *seen += usize::from(name.eq_ignore_ascii_case(known));
        }
    }
    let [lengths, encodings, _] = seen;
    assert!(lengths + encodings <= 1, "two ends of a body");
    assert_eq!(head.ends_keep_alive, seen.iter().any(|seen| *seen > 0));
}
