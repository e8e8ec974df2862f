//! The log of an agent: bounded in entries and bytes, kept in a file of lines.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::cut::cut;
use crate::hub::state::now;
use crate::wire::{EntryKind, LogEntry};

/// Maximum number of entries that are kept.
const MAX_ENTRIES: usize = 1000;

/// Maximum size of the entries that are kept.
const MAX_BYTES: usize = 1 << 20;

/// Maximum size of one entry; what is longer is cut.
const MAX_ENTRY_BYTES: usize = 32 << 10;

/// The log of an agent.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: VecDeque<(LogEntry, usize)>,
    bytes: usize,
    next: u64,
    /// Lines that are not in the file yet.
    unsaved: Vec<u8>,
    /// The size of the file.
    file_bytes: usize,
    /// True when the file is to be written anew.
    rewrites: bool,
}

/// What is to be done to the file.
#[derive(Debug)]
pub(crate) enum LogChange {
    Append(Vec<u8>),
    Replace(Vec<u8>),
}

impl Log {
    /// Reads the lines of a file. One that was written in part is left out, and
    /// so are messages from `logged` on: the state does not know them, since the
    /// hub was killed before it was written.
    pub(crate) fn read(text: &[u8], logged: u64) -> Self {
        let mut log = Self::default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if let Ok(entry) = serde_json::from_slice::<LogEntry>(line) {
                log.next = log.next.max(entry.id + 1);
                if entry.kind == EntryKind::User && entry.id >= logged {
                    log.rewrites = true;
                } else {
                    log.push(entry, line.len());
                }
            } else if let Ok(Value::Object(mark)) = serde_json::from_slice(line)
                && let Some(id) = mark.get("hide").and_then(Value::as_u64)
            {
                log.mark_hidden(id);
            }
        }
        // A torn line must not have the next one behind it.
        log.rewrites |= !text.is_empty() && !text.ends_with(b"\n");
        log.file_bytes = text.len();
        log
    }

    pub(crate) fn add(&mut self, kind: EntryKind, tool: Option<&str>, content: Value) {
        let content = bounded(content);
        let tool = tool.map(str::to_owned);
        let entry = LogEntry { id: self.next, kind, tool, content, at: now(), hidden: false };
        self.next += 1;
        let line = json!(entry).to_string();
        self.save(&line);
        self.push(entry, line.len());
    }

    /// Hides an entry. Returns false if there is none of this id.
    pub(crate) fn hide(&mut self, id: u64) -> bool {
        let is_there = self.mark_hidden(id);
        if is_there {
            self.save(&json!({ "hide": id }).to_string());
        }
        is_there
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { next: self.next, rewrites: true, ..Self::default() };
    }

    /// The id of the next entry.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The entries that are not hidden.
    pub(crate) fn shown(&self) -> Vec<LogEntry> {
        let entries = self.entries.iter().map(|(entry, _)| entry);
        entries.filter(|entry| !entry.hidden).cloned().collect()
    }

    /// Takes what is to be written to the file.
    pub(crate) fn take_change(&mut self) -> Option<LogChange> {
        let unsaved = std::mem::take(&mut self.unsaved);
        if self.rewrites || self.file_bytes + unsaved.len() > 2 * MAX_BYTES {
            let mut whole = Vec::new();
            for (entry, _) in &self.entries {
                whole.extend_from_slice(json!(entry).to_string().as_bytes());
                whole.push(b'\n');
            }
            self.rewrites = false;
            self.file_bytes = whole.len();
            return Some(LogChange::Replace(whole));
        }
        self.file_bytes += unsaved.len();
        (!unsaved.is_empty()).then_some(LogChange::Append(unsaved))
    }

    fn save(&mut self, line: &str) {
        // When nothing can be written, memory stays bounded.
        if self.unsaved.len() > MAX_BYTES {
            self.unsaved.clear();
            self.rewrites = true;
        }
        self.unsaved.extend_from_slice(line.as_bytes());
        self.unsaved.push(b'\n');
    }

    fn mark_hidden(&mut self, id: u64) -> bool {
        let found = self.entries.iter_mut().find(|(entry, _)| entry.id == id);
        found.map(|(entry, _)| entry.hidden = true).is_some()
    }

    fn push(&mut self, entry: LogEntry, size: usize) {
        self.bytes += size;
        self.entries.push_back((entry, size));
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some((_, size)) = self.entries.pop_front() else { return };
            self.bytes -= size;
        }
    }
}

/// A content that is not too long for the log.
fn bounded(content: Value) -> Value {
    match content {
        Value::String(text) => Value::String(cut(text, MAX_ENTRY_BYTES)),
        other => {
            let text = other.to_string();
            if text.len() <= MAX_ENTRY_BYTES { other } else { cut(text, MAX_ENTRY_BYTES).into() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved(log: &mut Log, file: &mut Vec<u8>) {
        match log.take_change() {
            Some(LogChange::Append(more)) => file.extend(more),
            Some(LogChange::Replace(whole)) => *file = whole,
            None => {}
        }
    }

    #[test]
    fn a_log_is_read_as_it_was_written() {
        let (mut log, mut file) = (Log::default(), Vec::new());
        log.add(EntryKind::User, None, "hi".into());
        log.add(EntryKind::Tool, Some("Bash"), json!({ "command": "ls" }));
        saved(&mut log, &mut file);
        assert!(log.hide(0) && !log.hide(7));
        saved(&mut log, &mut file);
        // Killed in the middle of a line.
        file.extend_from_slice(b"{\"id\":2,\"ki");
        let mut read = Log::read(&file, u64::MAX);
        assert_eq!(read.shown(), log.shown());
        assert_eq!(read.shown().len(), 1);
        read.add(EntryKind::Text, None, "more".into());
        saved(&mut read, &mut file);
        assert_eq!(Log::read(&file, u64::MAX).shown(), read.shown());
        assert_eq!(read.shown().last().unwrap().id, 2);
    }

    #[test]
    fn a_message_that_the_state_does_not_know_is_left_out_for_good() {
        let (mut log, mut file) = (Log::default(), Vec::new());
        log.add(EntryKind::User, None, "kept".into());
        let logged = log.next();
        log.add(EntryKind::Text, None, "an answer".into());
        log.add(EntryKind::User, None, "torn off".into());
        saved(&mut log, &mut file);
        let mut read = Log::read(&file, logged);
        assert_eq!(read.shown().len(), 2);
        read.add(EntryKind::User, None, "again".into());
        saved(&mut read, &mut file);
        let texts: Vec<_> =
            Log::read(&file, read.next()).shown().into_iter().map(|e| e.content).collect();
        assert_eq!(texts, ["kept", "an answer", "again"]);
    }

    #[test]
    fn a_log_and_its_file_are_bounded() {
        let (mut log, mut file) = (Log::default(), Vec::new());
        for _ in 0..500 {
            log.add(EntryKind::ToolResult, Some("Read"), "ä".repeat(MAX_BYTES).into());
            saved(&mut log, &mut file);
            assert!(file.len() <= 2 * MAX_BYTES + 2 * MAX_ENTRY_BYTES, "{}", file.len());
        }
        assert!(log.bytes <= MAX_BYTES);
        assert!(log.shown()[0].content.as_str().unwrap().contains("cut"));
    }
}
