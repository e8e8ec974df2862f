//! Configuration: replacement, check against the ceiling, and display.

use claude_relay_protocol::config::Parsed;
use claude_relay_protocol::{ConfigError, QueryConfig, Secret};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Session, SessionClosed};
use crate::agent;
use crate::agent::mode::Exceeds;
use crate::agent::protocol::PermissionAnswer;

/// Time at which a configuration takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// Now, because no process runs with another configuration.
    Now,
    /// When the next client connects, which restarts the process.
    NextStart,
}

impl Applies {
    /// Returns the name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::NextStart => "next_start",
        }
    }
}

/// Result of a configuration.
#[derive(Debug)]
pub struct Configured {
    /// The new configuration, without its secrets.
    pub config: Value,
    /// Time at which it takes effect.
    pub applies: Applies,
    /// Fields without effect.
    pub ignored: Vec<String>,
    /// Token that claims the server.
    pub auth_token: Option<Secret>,
}

/// Reason for refusing a configuration. The previous one stays in effect.
#[derive(Debug, thiserror::Error)]
pub enum ConfigureError {
    /// The configuration is malformed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration exceeds the ceiling.
    #[error(transparent)]
    Exceeds(#[from] Exceeds),
    /// The server is shutting down.
    #[error(transparent)]
    SessionClosed(#[from] SessionClosed),
}

impl Session {
    pub(super) fn configure(&mut self, body: &[u8]) -> Result<Configured, ConfigureError> {
        let Parsed { config, mut ignored, auth_token } = QueryConfig::parse(body, &self.config)?;
        self.runtime.settings.mode.check(&config)?;
        ignored.extend(agent::describe::ignored(&self.runtime.settings, &config));
        let conversation = |config: &QueryConfig| {
            (config.provider, config.resume.clone(), config.continue_latest, config.fork_session)
        };
        if conversation(&config) != conversation(&self.config) {
            self.reset_conversation();
        }
        self.config = config;
        let applies = match &self.agent.running {
            Some(running) if running.config != self.config => Applies::NextStart,
            _ => Applies::Now,
        };
        Ok(Configured { config: self.config_shown(), applies, ignored, auth_token })
    }

    pub(super) fn config_shown(&self) -> Value {
        // Serializing strings and numbers cannot fail.
        serde_json::to_value(self.config.echo()).unwrap_or_default()
    }

    /// Returns the reason if the mode forbids a control request.
    pub(super) fn refuse_by_mode(&self, subtype: &str, request: &str) -> Option<String> {
        self.runtime.settings.mode.refuse_control(subtype, request)
    }

    /// Returns the reason if the mode forbids the rules of an approval.
    pub(super) fn refuse_updates_by_mode(&self, answer: &PermissionAnswer) -> Option<String> {
        let PermissionAnswer::Allow { permissions: Some(updates), .. } = answer else {
            return None;
        };
        let updates: &RawValue = serde_json::from_str(updates).ok()?;
        self.runtime.settings.mode.refuse_updates(updates)
    }
}
