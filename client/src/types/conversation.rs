//! Conversations that the server has kept.

use std::cmp::Reverse;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::file::time;

/// A conversation that can be gone on with: its id is that of
/// [`Configuration::resume`](crate::Configuration::resume).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// When something was last said.
    pub modified: SystemTime,
    /// When it began, as the agent has noted it.
    pub created: Option<String>,
    /// The first words of a person, at most 200 characters.
    pub first_words: String,
    /// A title that a person or the agent has given.
    pub title: Option<String>,
    /// Messages of a person; `None` if the server has not counted them.
    pub turns: Option<u64>,
    /// Cost in US dollars, if the agent has noted it.
    pub cost_usd: Option<f64>,
}

#[derive(Deserialize)]
struct Raw {
    id: String,
    modified: i64,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    first_words: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    turns: Option<u64>,
    #[serde(default)]
    cost_usd: Option<f64>,
}

#[derive(Deserialize)]
pub(crate) struct RawConversations {
    conversations: Vec<Raw>,
    #[serde(default)]
    more: bool,
}

/// A place in the list of all conversations, which is in ascending order: the
/// newest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    modified: Reverse<i64>,
    id: String,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.modified.0, self.id)
    }
}

impl Conversation {
    /// Its place in the list.
    pub(crate) fn position(&self) -> Position {
        let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let modified = match self.modified.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => milliseconds(after),
            Err(before) => -milliseconds(before.duration()),
        };
        Position { modified: Reverse(modified), id: self.id.clone() }
    }
}

impl RawConversations {
    /// The conversations, and true if there are older ones.
    pub(crate) fn conversations(self) -> (Vec<Conversation>, bool) {
        let conversation = |raw: Raw| Conversation {
            id: raw.id,
            modified: time(raw.modified),
            created: raw.created,
            first_words: raw.first_words,
            title: raw.title,
            turns: raw.turns,
            cost_usd: raw.cost_usd,
        };
        (self.conversations.into_iter().map(conversation).collect(), self.more)
    }
}
