//! Changes of pending file changes. The approval request does not contain them.

use std::collections::VecDeque;

use claude_relay_protocol::json::{fields, string};
use serde_json::value::RawValue;

/// Maximum size of stored file changes. The oldest are evicted.
pub(super) const MAX_CHANGES_BYTES: usize = 64 << 20;

/// Pending file changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Changes(VecDeque<(String, Box<RawValue>)>);

impl Changes {
    pub(super) fn insert(&mut self, item: Option<&RawValue>) {
        let found = item.and_then(|item| fields(item.get(), ["type", "id", "changes"]).ok());
        let Some([Some(kind), Some(id), Some(changes)]) = found else { return };
        if string(kind).as_deref() != Some("fileChange") {
            return;
        }
        let Some(id) = string(id) else { return };
        self.0.push_back((id.into_owned(), changes.to_owned()));
        while self.0.iter().map(|(_, changes)| changes.get().len()).sum::<usize>()
            > MAX_CHANGES_BYTES
        {
            self.0.pop_front();
        }
    }

    pub(super) fn remove(&mut self, item: Option<&RawValue>) {
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
