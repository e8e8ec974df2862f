//! State of the session in `/health` and the `capabilities` frame.

use std::time::Instant;

use claude_relay_protocol::config::PermissionMode;
use serde_json::{Value, json};

use super::Session;
use super::capabilities::{Capabilities, Found};
use super::control::CONTROL_LIMIT;
use super::inbox::INBOX_BYTES;
use super::permissions::PERMISSION_LIMIT;
use super::replay::Features;
use super::slot::ConnectionId;
use crate::agent;
use crate::process::lines::LINE_LIMIT;
use claude_relay_listen::ws::{MESSAGE_LIMIT, PRIORITY_CAPACITY};

/// The permission modes that a client may request, within the ceiling.
const PERMISSION_MODES: [PermissionMode; 6] = [
    PermissionMode::Default,
    PermissionMode::AcceptEdits,
    PermissionMode::Plan,
    PermissionMode::DontAsk,
    PermissionMode::Auto,
    PermissionMode::BypassPermissions,
];

impl Session {
    pub(super) fn health(&mut self, now: Instant) -> Value {
        // Nothing is started before the first client.
        if self.stream.is_some() {
            self.capabilities.ask(&self.runtime, &self.cli_version.cache);
        }
        let running = self.agent.running.as_ref();
        let mut agent = self.describe_agent();
        extend(
            &mut agent,
            json!({
                "state": self.agent.state(),
                "pid": running.and_then(|running| running.pid),
                "session_id": self.agent.session_id,
                "idle_ms": running.map(|running| now.saturating_duration_since(running.last_activity).as_millis() as u64),
                "in_turn": running.is_some_and(|running| running.in_turn()),
                "turns": self.agent.turns,
                "restarts": self.agent.starts.saturating_sub(1),
                "last_exit": self.agent.last_exit,
                "waiting_messages": self.inbox.messages(),
                "open_permissions": self.permissions.len(),
            }),
        );
        let mut agent_state = self.agent_state();
        if let Some(fields) = agent_state.as_object_mut() {
            fields.shift_remove("type");
        }
        let mut health = json!({
            "agent_state": agent_state,
            "client": if self.client.is_some() { "connected" } else { "none" },
            "watchers": self.watchers.len(),
            "agent": agent,
            "workspace": self.runtime.settings.workspace.to_string_lossy(),
        });
        if let Some(prewarm) = self.spare_health(now) {
            extend(&mut health, json!({ "prewarm": prewarm }));
        }
        if let Some(notifier) = &self.runtime.notifier {
            extend(&mut health, json!({ "on_waiting": notifier.health() }));
        }
        if let Some(recorder) = &self.runtime.recorder {
            extend(&mut health, json!({ "recording": recorder.health() }));
        }
        extend(&mut health, self.abilities());
        health
    }

    /// Handles a request for the capabilities. A repeated request before the
    /// answer is merged with it.
    pub(super) fn on_capabilities_request(&mut self, from: ConnectionId, now: Instant) {
        self.capabilities.ask(&self.runtime, &self.cli_version.cache);
        let client = self.client.as_ref().map(|client| client.id);
        self.capabilities_waiters.retain(|id| client == Some(*id) || self.watchers.has(*id));
        if !self.capabilities_waiters.contains(&from) {
            self.capabilities_waiters.push(from);
        }
        self.answer_capabilities(now);
    }

    pub(super) fn on_found(&mut self, found: Found, now: Instant) {
        self.capabilities = Capabilities::Known(found);
        self.answer_capabilities(now);
    }

    fn answer_capabilities(&mut self, now: Instant) {
        if self.capabilities.known().is_none() {
            return;
        }
        for to in std::mem::take(&mut self.capabilities_waiters) {
            let mut frame = json!({ "type": "capabilities", "version": env!("CARGO_PKG_VERSION") });
            let mut agent = self.describe_agent();
            if let Some(running) = &self.agent.running {
                extend(&mut agent, running.offers.clone());
            }
            extend(&mut frame, json!({ "agent": agent }));
            extend(&mut frame, self.abilities());
            self.answer(to, frame.to_string(), now);
        }
    }

    /// Describes the agent, with its version if it is known.
    fn describe_agent(&self) -> Value {
        agent::describe::describe(&self.runtime.settings, &self.config, self.versions())
    }

    fn versions(&self) -> Option<&agent::describe::Versions> {
        // Facts about another executable would contradict what is installed.
        let found = self.capabilities.known().filter(|found| found.is_current(&self.runtime));
        found.map(|found| &found.versions)
    }

    /// Returns the fields that the frame and `/health` share.
    fn abilities(&self) -> Value {
        let mode = self.runtime.settings.mode;
        let permission_modes = PERMISSION_MODES.into_iter().filter(|other| mode.allows(*other));
        json!({
            "providers": agent::describe::providers(&self.runtime.settings, self.versions()),
            "mode": mode.as_str(),
            "permission_modes": permission_modes.map(PermissionMode::as_str).collect::<Vec<_>>(),
            "workspace_trusted": self.runtime.settings.workspace_is_trusted(),
            "workspace_wants": agent::workspace_wants::read(&self.runtime.settings.workspace),
            "sandbox": {
                "active": self.runtime.sandbox.as_str(),
                "available": self.capabilities.known().map(|found| &found.sandboxes),
            },
            "key_proxy": self.runtime.settings.key_proxy,
            "limits": {
                "message_bytes": MESSAGE_LIMIT,
                "line_bytes": LINE_LIMIT,
                "inbox_bytes": INBOX_BYTES,
                "replay_bytes": self.runtime.settings.replay_bytes,
                "open_control_requests": CONTROL_LIMIT,
                "open_permissions": PERMISSION_LIMIT,
                "unread_answers": PRIORITY_CAPACITY,
                "permission_timeout_ms": self.runtime.settings.permission_timeout.as_millis() as u64,
            },
            "replay": {
                "first": self.replay.number(self.replay.first(), Features::default()),
                "next": self.replay.number(self.replay.next(), Features::default()),
                "bytes": self.replay.bytes(),
                "limit": self.runtime.settings.replay_bytes,
            },
        })
    }
}

/// Adds the fields of one object to another.
fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
