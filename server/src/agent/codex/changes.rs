//! Changes of pending file changes. The approval request does not contain them.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde_json::value::RawValue;

/// Maximum size of stored file changes. The oldest are evicted.
pub(super) const MAX_CHANGES_BYTES: usize = 64 << 20;

/// Pending file changes by their items, oldest first.
#[derive(Debug, Default)]
pub(super) struct Changes(VecDeque<(String, Box<RawValue>)>);

impl Changes {
    pub(super) fn insert(&mut self, item: Cow<'_, str>, changes: Cow<'_, RawValue>) {
        self.0.push_back((item.into_owned(), changes.into_owned()));
        while self.0.iter().map(|(_, changes)| changes.get().len()).sum::<usize>()
            > MAX_CHANGES_BYTES
        {
            self.0.pop_front();
        }
    }

    pub(super) fn remove(&mut self, item: &str) {
        self.0.retain(|(known, _)| known != item);
    }

    pub(super) fn get(&self, item: &str) -> Option<&RawValue> {
        self.0.iter().find(|(id, _)| id == item).map(|(_, changes)| &**changes)
    }
}
