//! Faults of a transcript of the store: lines that were cut, messages that it
//! lacks, a conversation that two machines have gone on with at once.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use serde::de::IgnoredAny;

use crate::conversations::{Line, is_prompt};

/// A transcript without the lines that cannot be read, and what is wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) text: Vec<u8>,
    /// Lines that are no JSON.
    unreadable: usize,
    /// Messages that follow one that is missing.
    cut_off: usize,
    /// A message has been answered by two prompts of a person.
    is_forked: bool,
}

/// The type of a line that names the message with which the CLI goes on. What follows
/// that message is found from it, message by message.
const GOES_ON_WITH: &str = "last-prompt";

/// Leaves out what cannot be read, and what would make the CLI go on with a message
/// from before a gap, without those behind it.
pub(super) fn check(stored: &[u8]) -> Checked {
    let mut checked = Checked { text: Vec::with_capacity(stored.len()), ..Checked::default() };
    let (mut known, mut parents, mut answered) = (HashSet::new(), Vec::new(), HashSet::new());
    let mut names_message = Vec::new();
    for line in stored.split_inclusive(|byte| *byte == b'\n') {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let Some(parsed) = Line::parse(line) else {
            match serde_json::from_slice::<IgnoredAny>(line) {
                Ok(_) => checked.text.extend_from_slice(line),
                Err(_) => checked.unreadable += 1,
            }
            continue;
        };
        let start = checked.text.len();
        checked.text.extend_from_slice(line);
        if parsed.kind.as_deref() == Some(GOES_ON_WITH) {
            names_message.push(start..checked.text.len());
        }
        let (is_prompt, is_message) = (is_prompt(&parsed), parsed.is_message());
        if let Some(parent) = parsed.parent_uuid.filter(|_| is_message) {
            checked.is_forked |= is_prompt && !answered.insert(parent.clone());
            parents.push((parent, start));
        }
        known.extend(parsed.uuid);
    }
    parents.retain(|(parent, _): &(Cow<'_, str>, usize)| !known.contains(parent));
    checked.cut_off = parents.len();
    let gap = parents.last().map_or(0, |(_, gap)| *gap);
    names_message.retain(|line: &Range<usize>| line.end <= gap);
    if !names_message.is_empty() {
        checked.text = without(&checked.text, &names_message);
    }
    checked
}

fn without(text: &[u8], ranges: &[Range<usize>]) -> Vec<u8> {
    let starts = std::iter::once(0).chain(ranges.iter().map(|range| range.end));
    let ends = ranges.iter().map(|range| range.start).chain([text.len()]);
    starts.zip(ends).flat_map(|(start, end)| &text[start..end]).copied().collect()
}

impl Checked {
    /// Returns sentences for the client about `title`.
    pub(super) fn told(&self, title: &str) -> Vec<String> {
        let Self { unreadable, cut_off, is_forked, .. } = self;
        let mut told = Vec::new();
        if *unreadable > 0 {
            told.push(format!(
                "The {title} is damaged in the store. Lines that cannot be read and are left out: {unreadable}."
            ));
        }
        if *cut_off > 0 {
            told.push(format!(
                "The store has lost a part of the {title}, and the agent may not see what was before it. Messages that follow one that is missing: {cut_off}."
            ));
        }
        if *is_forked {
            told.push(format!(
                "The {title} has two continuations, as of two machines that went on with it at the same time. The store has all of it; the agent goes on with one of them."
            ));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(kind: &str, uuid: &str, parent: Option<&str>, content: &str) -> String {
        let parent = parent.map_or("null".to_owned(), |parent| format!("\"{parent}\""));
        format!(
            "{{\"type\":\"{kind}\",\"uuid\":\"{uuid}\",\"parentUuid\":{parent},\"message\":{{\"content\":{content}}}}}\n"
        )
    }

    /// The faults of lines: unreadable, cut off, forked.
    fn found(lines: &[String]) -> (usize, usize, bool) {
        let checked = check(lines.concat().as_bytes());
        assert_eq!(
            checked.told("conversation x").len(),
            usize::from(checked.unreadable > 0)
                + usize::from(checked.cut_off > 0)
                + usize::from(checked.is_forked)
        );
        (checked.unreadable, checked.cut_off, checked.is_forked)
    }

    #[test]
    fn what_a_transcript_lacks_is_found() {
        let first = line("user", "1", None, "\"One?\"");
        let said = line("assistant", "2", Some("1"), "[]");
        let second = line("user", "3", Some("2"), "\"Two?\"");
        let other = line("user", "4", Some("2"), "\"Three?\"");
        let result = line("user", "5", Some("2"), r#"[{"type":"tool_result"}]"#);
        let note = "{\"type\":\"summary\",\"leafUuid\":\"9\"}\n".to_owned();
        let cut = |line: &str| format!("{}\n", &line[..line.len() / 2]);
        let all = |lines: &[&String]| lines.iter().map(|line| (*line).clone()).collect::<Vec<_>>();
        assert_eq!(found(&[]), (0, 0, false));
        assert_eq!(found(&all(&[&first, &said, &note, &second, &result])), (0, 0, false));
        assert_eq!(found(&all(&[&first, &cut(&said), &second])), (1, 1, false));
        assert_eq!(found(&all(&[&first, &said, &cut(&second)])), (1, 0, false));
        assert_eq!(found(&all(&[&said, &second])), (0, 1, false));
        assert_eq!(found(&all(&[&first, &said, &second, &other])), (0, 0, true));
        assert_eq!(found(&all(&[&first, &"\n".to_owned(), &said])), (0, 0, false));
        // Only messages are missed, not what the CLI says between them.
        let between = line("progress", "6", Some("9"), "[]");
        assert_eq!(found(&all(&[&first, &said, &between])), (0, 0, false));
    }

    #[test]
    fn nothing_holds_the_agent_before_a_gap() {
        let first = line("user", "1", None, "\"One?\"");
        let (said, second) =
            (line("assistant", "2", Some("1"), "[]"), line("user", "3", Some("2"), "\"Two?\""));
        let named = |uuid: &str| format!("{{\"type\":\"last-prompt\",\"leafUuid\":\"{uuid}\"}}\n");
        let whole = [&*first, &named("1"), &said, &named("2"), &second, &named("3")].concat();
        assert_eq!(check(whole.as_bytes()).text, whole.as_bytes());
        let lost = [&*first, &named("1"), &named("2"), &second, &named("3")].concat();
        let left = [&*first, &second, &named("3")].concat();
        assert_eq!(check(lost.as_bytes()).text, left.as_bytes());
    }

    #[test]
    fn only_what_cannot_be_read_is_left_out() {
        let kept = "{\"type\":7}\n[1]\n{\"a\":\"\u{e9}\"}\n";
        let damaged = format!("{kept}\0\0\n{{\"a\":\n\n");
        let checked = check(damaged.as_bytes());
        assert_eq!((checked.text, checked.unreadable), (kept.as_bytes().to_vec(), 2));
    }
}
