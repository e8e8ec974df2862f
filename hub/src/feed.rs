//! The feed: all events in one order, kept within a bound in bytes. Each client
//! is a cursor into it, so that none can hold up another, or an agent.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use claude_relay_listen::ws::frame;
use tokio::sync::watch;

use crate::wire::Event;

/// Maximum size of the events that a client is sent at once.
const BATCH_BYTES: usize = 64 << 10;

/// Share of memory that one event is taken to need beside its text.
const EVENT_OVERHEAD_BYTES: usize = 128;

/// All events, the oldest of which are forgotten.
#[derive(Debug)]
pub struct Feed {
    kept: Mutex<Kept>,
    next: watch::Sender<u64>,
    stream: String,
    limit_bytes: usize,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Numbered>,
    bytes: usize,
    /// The number of the first one in `events`.
    first: u64,
}

/// An event with its frame. Its number is its place.
#[derive(Debug)]
struct Numbered {
    /// `None` for one that belongs to no workspace.
    workspace: Option<String>,
    frame: Bytes,
    is_additional: bool,
}

impl Numbered {
    fn size(&self) -> usize {
        self.frame.len() + EVENT_OVERHEAD_BYTES
    }
}

/// What a client wants to see.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The workspaces; all of them when there are none.
    pub workspaces: BTreeSet<String>,
    /// True for a client that knows numbers and additional events.
    pub is_numbered: bool,
}

impl Filter {
    fn admits(&self, event: &Numbered) -> bool {
        let is_wanted = match &event.workspace {
            Some(workspace) => self.workspaces.is_empty() || self.workspaces.contains(workspace),
            None => true,
        };
        is_wanted && (self.is_numbered || !event.is_additional)
    }
}

/// The place of a client: the number of the next event that it has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(pub u64);

impl Feed {
    /// Creates an empty feed that keeps events of this size.
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let kept = Kept { first: 1, ..Kept::default() };
        let stream = claude_relay_random::uuid();
        Self { kept: Mutex::new(kept), next: watch::Sender::new(1), stream, limit_bytes }
    }

    /// The id of this life of the feed.
    #[must_use]
    pub fn stream(&self) -> &str {
        &self.stream
    }

    /// The number of the next event, and every change of it.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// The number of the next event.
    #[must_use]
    pub fn next(&self) -> u64 {
        *self.next.borrow()
    }

    /// Adds an event about something in `workspace`. Returns its number.
    pub fn push(&self, workspace: Option<&str>, event: &Event) -> u64 {
        let frame = match serde_json::to_string(event) {
            Ok(json) => text_frame(&json),
            // Every map in an event has strings for keys.
            Err(error) => {
                tracing::error!("an event cannot be written: {error}");
                return self.next();
            }
        };
        let is_additional = event.is_additional();
        let event = Numbered { workspace: workspace.map(str::to_owned), frame, is_additional };
        let mut kept = self.kept();
        kept.bytes += event.size();
        kept.events.push_back(event);
        while kept.bytes > self.limit_bytes && kept.events.len() > 1 {
            if let Some(evicted) = kept.events.pop_front() {
                kept.bytes -= evicted.size();
                kept.first += 1;
            }
        }
        let next = kept.first + kept.events.len() as u64;
        self.next.send_replace(next);
        next - 1
    }

    /// Puts the next frames for a client at `cursor` into `batch`.
    pub fn take(&self, cursor: &mut Cursor, filter: &Filter, batch: &mut Vec<Bytes>) {
        let kept = self.kept();
        if cursor.0 < kept.first {
            let (from, to) = (cursor.0, kept.first - 1);
            batch.push(text_frame(&format!(r#"{{"type":"gap","from":{from},"to":{to}}}"#)));
            cursor.0 = kept.first;
        }
        let mut bytes = 0;
        let skipped = usize::try_from(cursor.0 - kept.first).unwrap_or(usize::MAX);
        for event in kept.events.iter().skip(skipped) {
            if bytes >= BATCH_BYTES {
                break;
            }
            let seq = cursor.0;
            cursor.0 += 1;
            if filter.admits(event) {
                bytes += event.frame.len();
                batch.push(match filter.is_numbered {
                    true => numbered_frame(&event.frame, seq),
                    false => event.frame.clone(),
                });
            }
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing that is done under the lock panics.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Encodes a text frame.
#[must_use]
pub fn text_frame(json: &str) -> Bytes {
    let (head, used) = frame::header(frame::TEXT, json.len());
    [&head[..used], json.as_bytes()].concat().into()
}

/// The same event with its number as its first field.
fn numbered_frame(plain: &Bytes, seq: u64) -> Bytes {
    let json = frame::payload(plain);
    let start = format!(r#"{{"seq":{seq},"#);
    let rest = json.get(1..).unwrap_or_default();
    let (head, used) = frame::header(frame::TEXT, start.len() + rest.len());
    [&head[..used], start.as_bytes(), rest].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(agent: &str, size: usize) -> Event {
        Event::AgentText {
            agent_id: agent.into(),
            workspace_id: "w".into(),
            text: "x".repeat(size),
        }
    }

    fn taken(feed: &Feed, cursor: &mut Cursor, filter: &Filter) -> Vec<serde_json::Value> {
        let mut batch = Vec::new();
        feed.take(cursor, filter, &mut batch);
        batch.iter().map(|frame| serde_json::from_slice(frame::payload(frame)).unwrap()).collect()
    }

    #[test]
    fn a_client_that_is_too_far_behind_is_told_of_the_gap() {
        let feed = Feed::new(4096);
        for _ in 0..10 {
            feed.push(Some("w"), &text("a", 1000));
        }
        let mut cursor = Cursor(3);
        let filter = Filter { is_numbered: true, ..Filter::default() };
        let seen = taken(&feed, &mut cursor, &filter);
        assert_eq!(seen[0]["type"], "gap");
        assert_eq!((&seen[0]["from"], &seen[0]["to"]), (&3.into(), &7.into()));
        let numbers: Vec<_> =
            seen[1..].iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert_eq!(numbers, [8, 9, 10]);
        assert!(taken(&feed, &mut cursor, &filter).is_empty());
    }

    #[test]
    fn a_client_sees_the_workspaces_that_it_has_named() {
        let feed = Feed::new(1 << 20);
        for workspace in ["a", "b", "a", "c"] {
            feed.push(Some(workspace), &text(workspace, 1));
        }
        feed.push(Some("a"), &Event::WorkspaceRemoved { workspace_id: "a".into() });
        let ids = |filter: &Filter| {
            let seen = taken(&feed, &mut Cursor(1), filter);
            seen.iter().map(|e| e["agentId"].as_str().unwrap_or("-").to_owned()).collect::<String>()
        };
        assert_eq!(ids(&Filter::default()), "abac");
        let workspaces = BTreeSet::from(["a".to_owned()]);
        assert_eq!(ids(&Filter { workspaces: workspaces.clone(), is_numbered: false }), "aa");
        assert_eq!(ids(&Filter { workspaces, is_numbered: true }), "aa-");
    }
}
