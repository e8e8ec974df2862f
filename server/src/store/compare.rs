//! The transcript of this machine against that of the store. Both are made of
//! the same lines, byte for byte, but for what the CLI notes for itself and gives
//! to no store (`api-request`, `cost-state` and others): lines without a `uuid`.

use std::collections::{HashMap, HashSet};

use crate::conversations::Line;

/// What the CLI writes at the end of a turn that was interrupted.
const INTERRUPTED: &str = "[Request interrupted by user";

/// Which of the two has more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Neither.
    Same,
    /// The store lacks these lines, the last ones of what this machine has.
    StoreLacks(Vec<u8>),
    /// The store lacks lines in the middle.
    StoreHasGaps,
    /// This machine lacks the end, or all of it.
    LocalLacks,
    /// Each has what the other has not.
    Differ,
}

pub(super) fn compare(local: &[u8], stored: &[u8]) -> Outcome {
    // A line that a kill has cut short is none.
    let whole = memchr::memrchr(b'\n', local).map_or(0, |end| end + 1);
    let local = &local[..whole];
    match compare_lines(local, stored) {
        Outcome::StoreHasGaps | Outcome::Differ => {
            compare_lines(&without_notes(local, stored), stored)
        }
        outcome => outcome,
    }
}

fn compare_lines(local: &[u8], stored: &[u8]) -> Outcome {
    if local == stored {
        Outcome::Same
    } else if local.starts_with(stored) {
        Outcome::StoreLacks(local[stored.len()..].to_vec())
    } else if stored.starts_with(local) {
        Outcome::LocalLacks
    } else if has_all(local, stored) {
        Outcome::StoreHasGaps
    } else if has_all(stored, local) {
        Outcome::LocalLacks
    } else {
        Outcome::Differ
    }
}

/// Returns the local lines without those that the CLI has noted for itself.
fn without_notes(local: &[u8], stored: &[u8]) -> Vec<u8> {
    let known: HashSet<&[u8]> = stored.split_inclusive(|byte| *byte == b'\n').collect();
    let is_note = |line: &[u8]| Line::parse(line).is_some_and(|line| line.uuid.is_none());
    let lines = local.split_inclusive(|byte| *byte == b'\n');
    lines.filter(|line| known.contains(line) || !is_note(line)).collect::<Vec<_>>().concat()
}

/// Returns true if each line of `part` is in `whole`, as often.
fn has_all(whole: &[u8], part: &[u8]) -> bool {
    let mut lines: HashMap<&[u8], usize> = HashMap::new();
    for line in whole.split(|byte| *byte == b'\n') {
        *lines.entry(line).or_default() += 1;
    }
    part.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).all(|line| {
        match lines.get_mut(line) {
            Some(left @ 1..) => {
                *left -= 1;
                true
            }
            _ => false,
        }
    })
}

/// Returns true if a transcript ends in the middle of a turn: with what a person
/// or a tool has said, or with a tool call.
pub(super) fn unfinished(text: &[u8]) -> bool {
    let lines = text.split(|byte| *byte == b'\n').rev();
    let last = lines.filter_map(Line::parse).find(Line::is_message);
    last.is_some_and(|line| match line.kind.as_deref() {
        Some("user") => !line.message.is_some_and(|message| message.get().contains(INTERRUPTED)),
        _ => line.message.is_some_and(|message| message.get().contains(r#""type":"tool_use""#)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_one_is_found() {
        for (local, stored, outcome) in [
            ("", "", Outcome::Same),
            ("a\nb\n", "a\nb\n", Outcome::Same),
            ("a\nb\ncut", "a\nb\n", Outcome::Same),
            ("a\nb\n", "a\n", Outcome::StoreLacks(b"b\n".to_vec())),
            ("a\nb\ncut", "a\n", Outcome::StoreLacks(b"b\n".to_vec())),
            ("a\n", "", Outcome::StoreLacks(b"a\n".to_vec())),
            ("", "a\n", Outcome::LocalLacks),
            ("a\n", "a\nb\n", Outcome::LocalLacks),
            ("a\ncu", "a\ncut\n", Outcome::LocalLacks),
            ("a\nb\nc\n", "a\nc\n", Outcome::StoreHasGaps),
            ("a\nc\n", "a\nb\nc\n", Outcome::LocalLacks),
            ("a\nb\n", "a\nc\n", Outcome::Differ),
            ("a\na\nb\n", "a\nb\nb\n", Outcome::Differ),
        ] {
            assert_eq!(
                compare(local.as_bytes(), stored.as_bytes()),
                outcome,
                "{local:?} {stored:?}"
            );
        }
    }

    #[test]
    fn what_the_cli_notes_for_itself_is_no_difference() {
        let [one, two, three] =
            ["1", "2", "3"].map(|id| format!("{{\"type\":\"user\",\"uuid\":\"{id}\"}}\n"));
        let note = "{\"type\":\"api-request\",\"sessionId\":\"s\"}\n";
        for (local, stored, outcome) in [
            (format!("{one}{note}{two}"), format!("{one}{two}"), Outcome::Same),
            (format!("{one}{note}{two}{note}"), format!("{one}{two}"), Outcome::Same),
            (format!("{one}{note}"), format!("{one}{two}"), Outcome::LocalLacks),
            (
                format!("{one}{note}{two}{three}"),
                format!("{one}{two}"),
                Outcome::StoreLacks(three.clone().into()),
            ),
            (format!("{one}{note}{two}{three}"), format!("{one}{three}"), Outcome::StoreHasGaps),
            (format!("{one}{note}{two}"), format!("{one}{three}"), Outcome::Differ),
            (format!("{one}{note}{two}"), format!("{one}{note}{two}"), Outcome::Same),
        ] {
            assert_eq!(compare(local.as_bytes(), stored.as_bytes()), outcome, "{local} {stored}");
        }
    }

    #[test]
    fn an_end_in_the_middle_of_a_turn_is_seen() {
        let user = r#"{"type":"user","message":{"content":"Hi"}}"#;
        let interrupted = r#"{"type":"user","message":{"content":[{"type":"text","text":"[Request interrupted by user]"}]}}"#;
        let meta = r#"{"type":"last-prompt"}"#;
        let tool = r#"{"type":"assistant","message":{"content":[{"type":"tool_use"}]}}"#;
        let said = r#"{"type":"assistant","message":{"content":[{"type":"text"}]}}"#;
        for (lines, is_unfinished) in [
            (&[][..], false),
            (&[user], true),
            (&[user, said], false),
            (&[user, said, meta], false),
            (&[user, interrupted], false),
            (&[user, tool], true),
            (&[user, tool, user, meta], true),
        ] {
            let text = format!("{}\n", lines.join("\n"));
            assert_eq!(unfinished(text.as_bytes()), is_unfinished, "{text}");
        }
    }
}
