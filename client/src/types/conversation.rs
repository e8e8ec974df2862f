//! Conversations that the server has kept.

use std::time::SystemTime;

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
}

impl RawConversations {
    pub(crate) fn conversations(self) -> Vec<Conversation> {
        let conversation = |raw: Raw| Conversation {
            id: raw.id,
            modified: time(raw.modified),
            created: raw.created,
            first_words: raw.first_words,
            title: raw.title,
            turns: raw.turns,
            cost_usd: raw.cost_usd,
        };
        self.conversations.into_iter().map(conversation).collect()
    }
}
