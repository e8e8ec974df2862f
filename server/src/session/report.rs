//! What the session tells of itself, and how it is configured.

use std::time::Instant;

use claude_relay_protocol::config::{Parsed, PermissionMode};
use claude_relay_protocol::{ConfigError, QueryConfig, Secret};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Over, Session};
use crate::agent;
use crate::agent::dialect::PermissionAnswer;
use crate::agent::mode::Exceeds;
use crate::capabilities::{Capabilities, Found};
use crate::session::channels::CONTROL_LANE;
use crate::slot::ConnectionId;

/// The modes of the agent that a client may ask for, if the ceiling lets it.
const PERMISSION_MODES: [PermissionMode; 6] = [
    PermissionMode::Default,
    PermissionMode::AcceptEdits,
    PermissionMode::Plan,
    PermissionMode::DontAsk,
    PermissionMode::Auto,
    PermissionMode::BypassPermissions,
];

/// When a configuration takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// There is no process that was started with another one.
    Now,
    /// The next client to connect gets a process that is started with it.
    NextStart,
}

impl Applies {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::NextStart => "next_start",
        }
    }
}

/// A configuration was taken.
#[derive(Debug)]
pub struct Configured {
    /// What it is now, without its secrets.
    pub config: Value,
    /// When it takes effect.
    pub applies: Applies,
    /// Fields that mean nothing here.
    pub ignored: Vec<String>,
    /// A token for a server that has none.
    pub auth_token: Option<Secret>,
}

/// Why a configuration was not taken. The one before stands.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// It is no configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It asks for more than the operator allows.
    #[error(transparent)]
    Exceeds(#[from] Exceeds),
    /// The server is shutting down.
    #[error(transparent)]
    Over(#[from] Over),
}

impl Session {
    pub(super) fn configure(&mut self, body: &[u8]) -> Result<Configured, ConfigureError> {
        let Parsed { config, mut ignored, auth_token } = QueryConfig::parse(body, &self.config)?;
        self.settings.mode.check(&config)?;
        ignored.extend(agent::ignored(&self.settings, &config));
        let conversation = |config: &QueryConfig| {
            (config.provider, config.resume.clone(), config.continue_latest, config.fork_session)
        };
        if conversation(&config) != conversation(&self.config) {
            self.forget_conversation();
        }
        self.config = config;
        let applies = match &self.agent.running {
            Some(running) if running.config != self.config => Applies::NextStart,
            _ => Applies::Now,
        };
        Ok(Configured { config: self.config_shown(), applies, ignored, auth_token })
    }

    pub(super) fn config_shown(&self) -> Value {
        // An object of strings and numbers has no way to fail.
        serde_json::to_value(self.config.echo()).unwrap_or_default()
    }

    /// Whether the mode forbids a control request, and why.
    pub(super) fn refuse_by_mode(&self, subtype: &str, request: &str) -> Option<String> {
        self.settings.mode.refuse_control(subtype, request)
    }

    /// Whether the mode forbids the rules that come with an approval, and why.
    pub(super) fn refuse_updates_by_mode(&self, answer: &PermissionAnswer) -> Option<String> {
        let PermissionAnswer::Allow { permissions: Some(updates), .. } = answer else {
            return None;
        };
        let updates: &RawValue = serde_json::from_str(updates).ok()?;
        self.settings.mode.refuse_updates(updates)
    }

    pub(super) fn health(&mut self, now: Instant) -> Value {
        // Nothing is started for a server that nobody has used.
        if self.stream.is_some() {
            self.capabilities.ask(&self.settings);
        }
        let running = self.agent.running.as_ref();
        let mut agent = self.describe_agent();
        extend(
            &mut agent,
            json!({
                "state": self.agent.state(),
                "pid": running.and_then(|running| running.pid),
                "session_id": self.agent.session_id,
                "idle_ms": running.map(|running| now.saturating_duration_since(running.heard).as_millis() as u64),
                "in_turn": running.is_some_and(|running| running.in_turn),
                "turns": self.agent.turns,
                "restarts": self.agent.starts.saturating_sub(1),
                "last_exit": self.agent.last_exit,
                "waiting_messages": self.inbox.messages(),
                "open_permissions": self.permissions.len(),
            }),
        );
        let mut health = json!({
            "client": if self.client.is_some() { "connected" } else { "none" },
            "agent": agent,
        });
        extend(&mut health, self.abilities());
        health
    }

    /// A client asks what can be done here. Asking again before the answer has
    /// come is the same question.
    pub(super) fn on_curious(&mut self, from: ConnectionId, now: Instant) {
        self.capabilities.ask(&self.settings);
        self.curious = Some(from);
        self.satisfy(now);
    }

    pub(super) fn on_found(&mut self, found: Found, now: Instant) {
        self.capabilities = Capabilities::Known(found);
        self.satisfy(now);
    }

    fn satisfy(&mut self, now: Instant) {
        if self.capabilities.known().is_some()
            && let Some(to) = self.curious.take()
        {
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

    /// What is known of the agent, its version included once it is.
    fn describe_agent(&self) -> Value {
        agent::describe(&self.settings, &self.config, self.versions())
    }

    fn versions(&self) -> Option<&agent::Versions> {
        self.capabilities.known().map(|found| &found.versions)
    }

    /// What the frame and `/health` have in common.
    fn abilities(&self) -> Value {
        let mode = self.settings.mode;
        let permission_modes = PERMISSION_MODES.into_iter().filter(|other| mode.allows(*other));
        json!({
            "providers": agent::providers(&self.settings, self.versions()),
            "mode": mode.as_str(),
            "permission_modes": permission_modes.map(PermissionMode::as_str).collect::<Vec<_>>(),
            "sandbox": {
                "active": self.settings.sandbox.as_str(),
                "available": self.capabilities.known().map(|found| &found.sandboxes),
            },
            "key_proxy": self.settings.key_proxy,
            "limits": {
                "message_bytes": crate::session::channels::MESSAGE_LIMIT,
                "line_bytes": crate::process::lines::LINE_LIMIT,
                "inbox_bytes": super::inbox::INBOX_BYTES,
                "replay_bytes": self.settings.replay_bytes,
                "open_control_requests": super::requests::CONTROL_LIMIT,
                "open_permissions": super::requests::PERMISSION_LIMIT,
                "unread_answers": CONTROL_LANE,
                "permission_timeout_ms": self.settings.permission_timeout.as_millis() as u64,
            },
            "replay": {
                "first": self.log.first(),
                "next": self.log.next(),
                "bytes": self.log.bytes(),
                "limit": self.settings.replay_bytes,
            },
        })
    }
}

/// Lays the fields of one object over another's.
fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}
