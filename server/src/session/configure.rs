//! Configuration: how it is replaced, checked against the mode, and shown.

use claude_relay_protocol::config::Parsed;
use claude_relay_protocol::{ConfigError, QueryConfig, Secret};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Session, SessionClosed};
use crate::agent;
use crate::agent::mode::Exceeds;
use crate::agent::protocol::PermissionAnswer;

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
        // An object of strings and numbers has no way to fail.
        serde_json::to_value(self.config.echo()).unwrap_or_default()
    }

    /// Whether the mode forbids a control request, and why.
    pub(super) fn refuse_by_mode(&self, subtype: &str, request: &str) -> Option<String> {
        self.runtime.settings.mode.refuse_control(subtype, request)
    }

    /// Whether the mode forbids the rules that come with an approval, and why.
    pub(super) fn refuse_updates_by_mode(&self, answer: &PermissionAnswer) -> Option<String> {
        let PermissionAnswer::Allow { permissions: Some(updates), .. } = answer else {
            return None;
        };
        let updates: &RawValue = serde_json::from_str(updates).ok()?;
        self.runtime.settings.mode.refuse_updates(updates)
    }
}
