//! The `agent_state` message: the agent's activity, for clients that enable the
//! feature.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::Session;
use super::replay::Feature;
use claude_relay_listen::ws::frame;

/// Minimum time between two messages to one client.
const INTERVAL: Duration = Duration::from_millis(100);

/// Maximum number of waiting messages that one message names.
const MAX_QUEUED: usize = 1000;

/// The agent's state as one client knows it.
#[derive(Debug, Default)]
pub(super) struct StateFeed {
    /// The state sent last.
    sent: Option<Value>,
    sent_at: Option<Instant>,
    /// Time at which a change may be sent.
    due_at: Option<Instant>,
}

impl StateFeed {
    /// Returns the first message, which follows `connected`.
    pub(super) fn first(&mut self, state: Value, now: Instant) -> String {
        let text = state.to_string();
        self.sent = Some(state);
        self.sent_at = Some(now);
        text
    }

    /// Sends the state once more after a replay.
    pub(super) fn send_again(&mut self) {
        self.sent = None;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due_at
    }

    /// Returns a frame if the interval has passed and the state has changed.
    /// The state is computed at most once per interval.
    pub(super) fn next(&mut self, now: Instant, state: impl FnOnce() -> Value) -> Option<Bytes> {
        let due_at = self.sent_at.map_or(now, |at| at + INTERVAL);
        if now < due_at {
            self.due_at = Some(due_at);
            return None;
        }
        self.due_at = None;
        let state = state();
        (self.sent.as_ref() != Some(&state)).then(|| framed(&self.first(state, now)))
    }
}

/// Returns a complete WebSocket frame.
pub(super) fn framed(text: &str) -> Bytes {
    let (head, head_bytes) = frame::header(frame::TEXT, text.len());
    let mut bytes = BytesMut::with_capacity(head_bytes + text.len());
    bytes.extend_from_slice(&head[..head_bytes]);
    bytes.extend_from_slice(text.as_bytes());
    bytes.freeze()
}

impl Session {
    /// Returns the state as it is sent.
    pub(super) fn agent_state(&self) -> Value {
        let running = self.agent.running.as_ref();
        let turns = running.map(|running| &running.turns);
        let turn = turns.and_then(|turns| turns.current()).map(|turn| {
            let mut sent = json!({ "origin": turn.origin.as_str() });
            if let Some(uuid) = turn.uuid() {
                sent["uuid"] = json!(uuid);
            }
            if turn.uuids.len() > 1 {
                sent["uuids"] = json!(turn.uuids);
            }
            sent
        });
        let sent = turns.into_iter().flat_map(|turns| turns.queued());
        let queued: Vec<_> = sent.chain(self.inbox.uuids()).take(MAX_QUEUED).collect();
        let mut state = json!({
            "type": "agent_state",
            "state": self.state_name(),
            "turn": turn,
            "background_tasks": turns.map_or(0, |turns| turns.background_tasks()),
            "conversation": self.agent.session_id,
            "model": self.agent.model,
            "permission_mode": self.agent.permission_mode,
            "queued": queued,
            "watchers": self.watchers.len(),
        });
        let unnamed = turns.map_or(0, |turns| turns.unnamed()) + self.inbox.unnamed();
        if unnamed > 0 {
            state["unnamed"] = json!(unnamed);
        }
        if let Some(store) = self.store.state() {
            state["store"] = store;
        }
        state
    }

    /// Returns true if a person's answer is waited for.
    pub(super) fn asks_a_person(&self) -> bool {
        self.permissions.len() > 0 || self.agent_requests.ask_a_person()
    }

    pub(super) fn state_name(&self) -> &'static str {
        let Some(running) = &self.agent.running else { return "stopped" };
        if running.is_stopping() {
            "stopping"
        } else if !running.is_ready() {
            "starting"
        } else if self.asks_a_person() || running.turns.is_waiting() {
            "waiting"
        } else if running.turns.is_idle() && self.inbox.messages() == 0 {
            "idle"
        } else {
            "running"
        }
    }

    /// Returns the frame to send after the current batch, if the client's state
    /// is out of date and it has been sent everything else.
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
        let sent = feed.next(now + INTERVAL, || json!(3)).unwrap();
        assert_eq!(frame::payload(&sent), b"3");
        assert_eq!(feed.next(now + INTERVAL, || json!(4)), None);
        assert_eq!(feed.deadline(), Some(now + 2 * INTERVAL));
    }
}
