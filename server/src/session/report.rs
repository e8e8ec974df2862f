//! What the session tells of itself, and how it is configured.

use std::time::Instant;

use claude_relay_protocol::config::Parsed;
use claude_relay_protocol::{ConfigError, QueryConfig, Secret};
use serde_json::{Value, json};

use super::{Over, Session};
use crate::agent;
use crate::agent::mode::Exceeds;
use crate::connection::CONTROL_LANE;

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

    pub(super) fn health(&self, now: Instant) -> Value {
        let running = self.agent.running.as_ref();
        let mut agent = agent::describe(&self.settings, &self.config);
        let details = json!({
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
        });
        if let (Value::Object(agent), Value::Object(details)) = (&mut agent, details) {
            agent.extend(details);
        }
        json!({
            "client": if self.client.is_some() { "connected" } else { "none" },
            "agent": agent,
            "replay": {
                "first": self.log.first(),
                "next": self.log.next(),
                "bytes": self.log.bytes(),
                "limit": self.settings.replay_bytes,
            },
            "mode": self.settings.mode.as_str(),
        })
    }

    pub(super) fn capabilities(&self) -> Value {
        json!({
            "type": "capabilities",
            "version": env!("CARGO_PKG_VERSION"),
            "agent": agent::describe(&self.settings, &self.config),
            "providers": agent::providers(&self.settings),
            "mode": self.settings.mode.as_str(),
            "limits": {
                "message_bytes": crate::connection::MESSAGE_LIMIT,
                "line_bytes": crate::lines::LINE_LIMIT,
                "inbox_bytes": super::inbox::INBOX_BYTES,
                "replay_bytes": self.settings.replay_bytes,
                "open_control_requests": super::requests::CONTROL_LIMIT,
                "unread_answers": CONTROL_LANE,
            },
        })
    }
}
