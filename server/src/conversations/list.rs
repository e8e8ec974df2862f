//! The list of conversations.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::io::{self, BufReader};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, statat};
use serde::Serialize;

use super::lines::{Line, Lines};
use super::prompt::{Prompt, prompt};
use super::{Conversations, is_id};

/// Maximum number of files that are looked at.
const MAX_FILES: usize = 10_000;

/// Bytes of one file that are read for its turns and its cost.
const FILE_BYTES: u64 = 32 << 20;

/// Bytes of all files that are read for those.
const TOTAL_BYTES: u64 = 256 << 20;

/// Bytes that are read of each further file.
const HEAD_BYTES: u64 = 256 << 10;

/// A place in the order of all conversations, the newest first: that of one which
/// was last said something in at `modified`, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    modified: i64,
    id: String,
}

impl Position {
    /// Reads `MODIFIED.ID`; `None` if the text is nothing like it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (modified, id) = text.split_once('.')?;
        let modified = modified.parse().ok()?;
        is_id(id).then(|| Self { modified, id: id.to_owned() })
    }

    /// Returns true if a conversation is in the list behind this place: it is older.
    pub(crate) fn is_followed_by(&self, modified: i64, id: &str) -> bool {
        order((self.modified, &self.id), (modified, id)).is_lt()
    }
}

/// Compares by the last time that something was said, the newest first, then by id.
pub(crate) fn order((a, a_id): (i64, &str), (b, b_id): (i64, &str)) -> Ordering {
    b.cmp(&a).then_with(|| a_id.cmp(b_id))
}

/// The newest conversations, or those that are older than a place.
#[derive(Debug, Default, Serialize)]
pub struct Listing {
    /// The newest first.
    pub conversations: Vec<Conversation>,
    /// True if there are older ones.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// What is known of a conversation.
#[derive(Debug, PartialEq, Serialize)]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// When something was last said, in milliseconds since 1970.
    pub modified: i64,
    /// When it began, as its first line tells it.
    pub created: Option<String>,
    /// The first words of a person, at most 200 characters.
    pub first_words: String,
    /// A title that a person or the agent has given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Messages of a person; `None` where the file is too large to count them.
    pub turns: Option<u64>,
    /// Cost in US dollars, if the agent has noted it.
    pub cost_usd: Option<f64>,
}

impl Conversations {
    /// Lists at most `limit` conversations, the newest first: all of them, or those
    /// that are older than the place `before`.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub fn list(&self, limit: usize, before: Option<&Position>) -> io::Result<Listing> {
        let mut found = self.found()?;
        found.retain(|(modified, id)| {
            before.is_none_or(|before| before.is_followed_by(*modified, id))
        });
        found.sort_by(|(a, a_id), (b, b_id)| order((*a, a_id), (*b, b_id)));
        let mut listing = Listing { conversations: Vec::new(), more: false };
        let mut left = TOTAL_BYTES;
        for (modified, id) in found {
            // One that has gone or is not for us to read is not listed.
            let Ok(Some(file)) = self.file(&id) else { continue };
            let budget = left.clamp(HEAD_BYTES, FILE_BYTES);
            let mut lines = Lines::new(BufReader::new(file));
            let Some(conversation) = summary(&mut lines, &self.cwd, budget, id, modified)? else {
                left = left.saturating_sub(lines.read);
                continue;
            };
            left = left.saturating_sub(lines.read);
            if listing.conversations.len() == limit {
                listing.more = true;
                break;
            }
            listing.conversations.push(conversation);
        }
        Ok(listing)
    }

    /// Returns the ids of `ids` that are listed, wherever their place is.
    ///
    /// # Errors
    ///
    /// Returns the system's error.
    pub(crate) fn listed<'a>(
        &self,
        ids: impl Iterator<Item = &'a String>,
    ) -> io::Result<HashSet<String>> {
        let mut listed = HashSet::new();
        for id in ids {
            let Ok(Some(file)) = self.file(id) else { continue };
            let mut lines = Lines::new(BufReader::new(file));
            if summary(&mut lines, &self.cwd, HEAD_BYTES, id.clone(), 0)?.is_some() {
                listed.insert(id.clone());
            }
        }
        Ok(listed)
    }

    /// Looks for files that may be conversations: their times and ids.
    fn found(&self) -> io::Result<Vec<(i64, String)>> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.folder)?.take(MAX_FILES) {
            let entry = entry?;
            let name = entry.file_name();
            let Some(id) = name.to_str().ok().and_then(|name| name.strip_suffix(".jsonl")) else {
                continue;
            };
            if !is_id(id) {
                continue;
            }
            let Ok(stat) = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode).is_file() {
                let milliseconds = (stat.st_mtime_nsec / 1_000_000).try_into().unwrap_or_default();
                let modified: i64 = stat.st_mtime.saturating_mul(1000).saturating_add(milliseconds);
                found.push((modified, id.to_owned()));
            }
        }
        Ok(found)
    }
}

impl Listing {
    /// Adds conversations that are not in it, and leaves out what is beyond
    /// `limit`.
    pub fn add(&mut self, others: Self, limit: usize) {
        let known: HashSet<String> =
            self.conversations.iter().map(|conversation| conversation.id.clone()).collect();
        let others_more = others.more;
        let new = others.conversations.into_iter().filter(|other| !known.contains(&other.id));
        self.conversations.extend(new);
        self.conversations.sort_by(|a, b| order((a.modified, &a.id), (b.modified, &b.id)));
        self.more |= others_more || self.conversations.len() > limit;
        self.conversations.truncate(limit);
    }
}

impl Conversation {
    /// Sums up the beginning of a transcript of `cwd`, or all of it; `None` if it
    /// is of another directory, or nobody has said anything.
    #[must_use]
    pub fn of_text(
        text: &[u8],
        is_whole: bool,
        cwd: &Path,
        id: &str,
        modified: i64,
    ) -> Option<Self> {
        // Reading memory does not fail.
        let summary = summary(&mut Lines::new(text), cwd, u64::MAX, id.to_owned(), modified);
        let conversation = summary.ok().flatten()?;
        Some(match is_whole {
            true => conversation,
            false => Self { turns: None, cost_usd: None, ..conversation },
        })
    }
}

/// Sums up a transcript; `None` if it is of another directory, of a sub-agent,
/// or nobody has said anything.
fn summary<R: io::BufRead>(
    lines: &mut Lines<R>,
    cwd: &Path,
    budget: u64,
    id: String,
    modified: i64,
) -> io::Result<Option<Conversation>> {
    let mut is_ours = false;
    let (mut words, mut command) = (None, None);
    let (mut custom_title, mut ai_title) = (None, None);
    let (mut created, mut cost_usd, mut turns, mut is_whole) = (None, None, 0, true);
    loop {
        if lines.read > budget {
            is_whole = false;
            break;
        }
        let begin = lines.read;
        let Some((_, line)) = lines.next()? else { break };
        let Some(line) = Line::parse(line) else { continue };
        if begin == 0 && line.is_sidechain == Some(true) {
            return Ok(None);
        }
        if let Some(directory) = &line.cwd
            && !is_ours
        {
            if Path::new(&**directory) != cwd {
                return Ok(None);
            }
            is_ours = true;
        }
        created = created.or_else(|| line.timestamp.as_deref().map(str::to_owned));
        cost_usd = line.total_cost_usd.or(cost_usd);
        custom_title = line.custom_title.as_deref().map(str::to_owned).or(custom_title);
        ai_title = line.ai_title.as_deref().map(str::to_owned).or(ai_title);
        match prompt(&line) {
            Some(Prompt::Words(said)) => {
                turns += 1;
                words.get_or_insert(said);
            }
            Some(Prompt::Command(name)) => {
                turns += 1;
                command.get_or_insert(name);
            }
            None => {}
        }
    }
    let title = custom_title.or(ai_title).filter(|title| !title.is_empty());
    let first_words = words.or(command);
    if !is_ours || (first_words.is_none() && title.is_none()) {
        return Ok(None);
    }
    Ok(Some(Conversation {
        id,
        modified,
        created,
        first_words: first_words.unwrap_or_default(),
        title,
        turns: is_whole.then_some(turns),
        cost_usd: cost_usd.filter(|_| is_whole),
    }))
}
