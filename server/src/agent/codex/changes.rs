//! File changes under way. The question about one does not hold it.

use std::collections::VecDeque;

use claude_relay_protocol::json::{fields, string};
use serde_json::value::RawValue;

/// How many bytes of file changes are remembered until their item ends, to
/// show them with the question about them. The oldest go first.
pub(super) const CHANGES_BYTES: usize = 64 << 20;

/// File changes under way, oldest first.
#[derive(Debug, Default)]
pub(super) struct Changes(VecDeque<(String, Box<RawValue>)>);

impl Changes {
    pub(super) fn note(&mut self, item: Option<&RawValue>) {
        let found = item.and_then(|item| fields(item.get(), ["type", "id", "changes"]).ok());
        let Some([Some(kind), Some(id), Some(changes)]) = found else { return };
        if string(kind).as_deref() != Some("fileChange") {
            return;
        }
        let Some(id) = string(id) else { return };
        self.0.push_back((id.into_owned(), changes.to_owned()));
        while self.0.iter().map(|(_, changes)| changes.get().len()).sum::<usize>() > CHANGES_BYTES {
            self.0.pop_front();
        }
    }

    pub(super) fn forget(&mut self, item: Option<&RawValue>) {
        if self.0.is_empty() {
            return;
        }
        let id = item.and_then(|item| fields(item.get(), ["id"]).ok()?[0]).and_then(string);
        self.0.retain(|(known, _)| Some(known.as_str()) != id.as_deref());
    }

    pub(super) fn get(&self, item: &str) -> Option<&RawValue> {
        self.0.iter().find(|(id, _)| id == item).map(|(_, changes)| &**changes)
    }
}
