//! The `agent_state` message: what the agent does, for clients that ask for it.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::Session;
use super::replay::Feature;
use crate::ws::frame;

/// The shortest time between two messages to one client.
const INTERVAL: Duration = Duration::from_millis(100);

/// How many names of waiting messages one message holds.
const QUEUED_NAMES: usize = 1000;

/// One client's view of the agent's state.
#[derive(Debug, Default)]
pub(super) struct StateFeed {
    /// What it was told last.
    told: Option<Value>,
    told_at: Option<Instant>,
    /// A change that it has not been told, and when it may be.
    due_at: Option<Instant>,
}

impl StateFeed {
    /// The first message, behind `connected`.
    pub(super) fn first(&mut self, state: Value, now: Instant) -> String {
        let text = state.to_string();
        self.told = Some(state);
        self.told_at = Some(now);
        text
    }

    /// Everything that was to be replayed has been: the state is said again.
    pub(super) fn say_again(&mut self) {
        self.told = None;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due_at
    }

    /// Gives the frame if it is time for one and the state is a new one. The
    /// state is not looked at more often than it may be told.
    fn next(&mut self, now: Instant, state: impl FnOnce() -> Value) -> Option<Bytes> {
        let due_at = self.told_at.map_or(now, |at| at + INTERVAL);
        if now < due_at {
            self.due_at = Some(due_at);
            return None;
        }
        self.due_at = None;
        let state = state();
        (self.told.as_ref() != Some(&state)).then(|| framed(&self.first(state, now)))
    }
}

/// A whole WebSocket frame.
fn framed(text: &str) -> Bytes {
    let (head, head_bytes) = frame::header(frame::TEXT, text.len());
    let mut bytes = BytesMut::with_capacity(head_bytes + text.len());
    bytes.extend_from_slice(&head[..head_bytes]);
    bytes.extend_from_slice(text.as_bytes());
    bytes.freeze()
}

impl Session {
    /// The state as it is told.
    pub(super) fn agent_state(&self) -> Value {
        let running = self.agent.running.as_ref();
        let turns = running.map(|running| &running.turns);
        let turn = turns.and_then(|turns| turns.current()).map(|turn| {
            let mut told = json!({ "origin": turn.origin.as_str() });
            if let Some(uuid) = turn.uuid() {
                told["uuid"] = json!(uuid);
            }
            if turn.uuids.len() > 1 {
                told["uuids"] = json!(turn.uuids);
            }
            told
        });
        let sent = turns.into_iter().flat_map(|turns| turns.queued());
        let queued: Vec<_> = sent.chain(self.inbox.uuids()).take(QUEUED_NAMES).collect();
        json!({
            "type": "agent_state",
            "state": self.state_name(),
            "turn": turn,
            "background_tasks": turns.map_or(0, |turns| turns.background_tasks()),
            "conversation": self.agent.session_id,
            "model": self.agent.model,
            "permission_mode": self.agent.permission_mode,
            "queued": queued,
            "watchers": 0,
        })
    }

    fn state_name(&self) -> &'static str {
        let Some(running) = &self.agent.running else { return "stopped" };
        if running.is_stopping() {
            "stopping"
        } else if !running.is_ready() {
            "starting"
        } else if self.permissions.len() > 0 || running.turns.is_waiting() {
            "waiting"
        } else if running.turns.is_idle() && self.inbox.messages() == 0 {
            "idle"
        } else {
            "running"
        }
    }

    /// The frame to put behind what the client has been handed, if its view is
    /// out of date and it has all that comes before.
    pub(super) fn state_frame(&mut self, now: Instant) -> Option<Bytes> {
        let client = self.client.as_ref()?;
        if !client.features.has(Feature::AgentState) || !client.may_get_state(&self.replay) {
            return None;
        }
        let mut feed = std::mem::take(&mut self.client.as_mut()?.state);
        let frame = feed.next(now, || self.agent_state());
        self.client.as_mut()?.state = feed;
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_state_is_told_after_the_interval() {
        let now = Instant::now();
        let mut feed = StateFeed::default();
        feed.first(json!(1), now);
        assert_eq!(feed.next(now + INTERVAL / 2, || json!(2)), None);
        assert_eq!(feed.deadline(), Some(now + INTERVAL));
        assert_eq!(feed.next(now + INTERVAL, || json!(1)), None, "it is the same");
        assert_eq!(feed.deadline(), None);
        let told = feed.next(now + INTERVAL, || json!(3)).unwrap();
        assert_eq!(frame::payload(&told), b"3");
        assert_eq!(feed.next(now + INTERVAL, || json!(4)), None);
        assert_eq!(feed.deadline(), Some(now + 2 * INTERVAL));
    }
}
