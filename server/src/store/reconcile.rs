//! The transcripts of this machine against those of the store: what one of them
//! lacks it gets from the other.

use std::io;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value, json};

use super::fetch::TRANSCRIPT_BYTES;
use super::local::Folder;
use super::{compare, damage};

/// Type of the line by which the SDK describes a sub-agent. The CLI has a file for
/// it.
const DESCRIPTION: &str = "agent_metadata";

/// The outcome for a transcript.
#[derive(Debug, Default)]
pub(super) struct Reconciled {
    /// The lines that this machine has and the store has not.
    pub(super) missing: Option<Bytes>,
    /// Sentences for the client.
    pub(super) told: Vec<String>,
    /// The end of it has come from the store.
    is_fetched: bool,
}

/// Brings the transcript of a conversation up to date.
pub(super) fn conversation(
    folder: &Folder,
    session: &str,
    stored: &[u8],
) -> io::Result<Reconciled> {
    let mut reconciled = transcript(folder, session, &format!("conversation {session}"), stored)?;
    if reconciled.is_fetched && compare::unfinished(stored) {
        reconciled.told.push(format!(
            "The conversation {session} comes from the store and ends in the middle of a turn: the machine that it ran on was lost before the turn was over."
        ));
    }
    Ok(reconciled)
}

/// Brings the transcript of a sub-agent up to date, and what describes it.
pub(super) fn sub_agent(
    folder: &Folder,
    session: &str,
    subpath: &str,
    stored: &[u8],
) -> io::Result<Reconciled> {
    let mut above: Vec<&str> = subpath.split('/').collect();
    let Some(last) = above.pop() else { return Ok(Reconciled::default()) };
    let folder = folder.below(&[&[session], &above[..]].concat())?;
    let (descriptions, lines): (Vec<&[u8]>, Vec<&[u8]>) =
        stored.split_inclusive(|byte| *byte == b'\n').partition(|line| is_description(line));
    let title = format!("sub-agent {last} of the conversation {session}");
    let mut reconciled = transcript(&folder, last, &title, &lines.concat())?;
    let name = format!("{last}.meta.json");
    match (folder.read(&name, TRANSCRIPT_BYTES)?, descriptions.last()) {
        (None, Some(description)) => {
            let mut fields: Map<String, Value> = serde_json::from_slice(description)?;
            fields.shift_remove("type");
            folder.write(&name, serde_json::to_string(&fields)?.as_bytes())?;
        }
        (Some(local), None) => {
            // A file that the CLI has not written whole is none.
            if let Ok(local) = serde_json::from_slice::<Map<String, Value>>(&local) {
                let mut fields = Map::from_iter([("type".to_owned(), json!(DESCRIPTION))]);
                fields.extend(local);
                let line = format!("{}\n", serde_json::to_string(&fields)?);
                let missing = reconciled.missing.take().unwrap_or_default();
                reconciled.missing = Some([&missing[..], line.as_bytes()].concat().into());
            }
        }
        _ => {}
    }
    Ok(reconciled)
}

/// The type of a line.
#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    _rest: IgnoredAny,
}

fn is_description(line: &[u8]) -> bool {
    serde_json::from_slice::<Typed>(line).is_ok_and(|line| line.kind == DESCRIPTION)
}

/// Compares a file of the CLI with the store, and writes the longer one where the
/// other one is.
fn transcript(folder: &Folder, stem: &str, title: &str, stored: &[u8]) -> io::Result<Reconciled> {
    let name = format!("{stem}.jsonl");
    let local = folder.read(&name, TRANSCRIPT_BYTES)?;
    let checked = damage::check(stored);
    let mut reconciled = Reconciled::default();
    match compare::compare(local.as_deref().unwrap_or_default(), &checked.text) {
        compare::Outcome::Same => {}
        compare::Outcome::StoreLacks(missing) => reconciled.missing = Some(missing.into()),
        compare::Outcome::StoreHasGaps => reconciled.told.push(format!(
            "The store lacks a part of the {title} that this machine has. Elsewhere it would go on without it."
        )),
        compare::Outcome::LocalLacks => {
            folder.write(&name, &checked.text)?;
            reconciled.is_fetched = true;
        }
        compare::Outcome::Differ => {
            let aside = format!("{name}.before-{}", claude_relay_random::hexadecimal::<4>());
            folder.keep_aside(&name, &aside)?;
            folder.write(&name, &checked.text)?;
            reconciled.told.push(format!(
                "The {title} has gone on elsewhere, and what this machine had of it differs: the store's goes on, the other is kept as {aside} beside it."
            ));
            reconciled.is_fetched = true;
        }
    }
    if reconciled.is_fetched {
        reconciled.told.extend(checked.told(title));
    }
    Ok(reconciled)
}

#[cfg(test)]
mod tests;
