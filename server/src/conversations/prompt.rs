//! The words of a person in a transcript.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lines::Line;

/// Longest text that is shown of a message.
const SHOWN_CHARS: usize = 200;

/// What a person has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Prompt {
    Words(String),
    /// A command by its name, which is shown when there are no words.
    Command(String),
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    text: Option<Cow<'a, str>>,
}

/// Returns what a person has said in this line, if it is one of theirs.
pub(super) fn prompt(line: &Line<'_>) -> Option<Prompt> {
    let is_theirs = line.kind.as_deref() == Some("user")
        && line.is_message()
        && line.is_compact_summary != Some(true);
    let message = line.message.filter(|_| is_theirs)?;
    let content = serde_json::from_str::<Message<'_>>(message.get()).ok()?.content?.get();
    let texts: Vec<Cow<'_, str>> = if content.starts_with('[') {
        let blocks: Vec<Block<'_>> = serde_json::from_str(content).ok()?;
        if blocks.iter().any(|block| block.kind == "tool_result") {
            return None;
        }
        blocks.into_iter().filter_map(|block| block.text).collect()
    } else {
        vec![Cow::Owned(serde_json::from_str(content).ok()?)]
    };
    let mut command = None;
    for text in texts {
        let text = text.replace('\n', " ");
        let text = text.trim();
        if let Some(name) = between(text, "<command-name>", "</command-name>") {
            command.get_or_insert_with(|| Prompt::Command(name.to_owned()));
        } else if let Some(typed) = between(text, "<bash-input>", "</bash-input>") {
            return Some(Prompt::Words(format!("! {}", typed.trim())));
        } else if !text.is_empty() && !is_of_the_program(text) {
            return Some(Prompt::Words(cut(text)));
        }
    }
    command
}

/// Returns true for a line with words of a person.
pub(crate) fn is_prompt(line: &Line<'_>) -> bool {
    prompt(line).is_some()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

/// Returns true for a text that begins with a tag, such as the output of a
/// command, and for the note of an interrupt.
fn is_of_the_program(text: &str) -> bool {
    if text.starts_with("[Request interrupted by user") {
        return true;
    }
    let Some(tag) = text.strip_prefix('<') else { return false };
    let name = tag.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || "_-".contains(c));
    tag.starts_with(|c: char| c.is_ascii_lowercase())
        && name.starts_with(|c: char| c == '>' || c.is_whitespace())
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
        None => text.to_owned(),
    }
}
