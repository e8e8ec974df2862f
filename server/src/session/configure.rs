//! Configuration: replacement, check against the ceiling, and display.

use claude_relay_protocol::addresses::AddressError;
use claude_relay_protocol::config::Parsed;
use claude_relay_protocol::{ConfigError, QueryConfig, Secret};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::conversation::Fork;
use super::{Session, SessionClosed};
use crate::agent;
use crate::agent::Ceiling;
use crate::agent::mode::{Exceeds, Mode};
use crate::agent::protocol::PermissionAnswer;

/// Maximum size of a configuration. One with long prompts is much smaller.
pub const MAX_CONFIG_BYTES: usize = claude_relay_listen::body::MAX_BODY_BYTES;

/// Maximum size of what is judged by the ceiling.
const JUDGED_BYTES: usize = 4 << 20;

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

/// Kind of a change to the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `POST`: the body is the whole configuration.
    Replace,
    /// `PATCH`: the body is a JSON Merge Patch (RFC 7396).
    Merge,
}

/// The configuration as it may be shown.
#[derive(Debug)]
pub struct ShownConfig {
    /// Fields without the values of secrets.
    pub config: Value,
    /// Names of the secrets that are set, such as `env.TOKEN`.
    pub secrets: Vec<String>,
}

impl ShownConfig {
    /// Adds `config`, and `secrets` if there are any, to an answer.
    pub fn add_to(self, answer: &mut Map<String, Value>) {
        answer.insert("config".into(), self.config);
        if !self.secrets.is_empty() {
            answer.insert("secrets".into(), self.secrets.into());
        }
    }
}

/// Result of a configuration.
#[derive(Debug)]
pub struct Configured {
    /// The new configuration.
    pub shown: ShownConfig,
    /// Time at which it takes effect.
    pub applies: Applies,
    /// Fields without effect.
    pub ignored: Vec<String>,
    /// The known names that unknown fields were probably meant to be.
    pub hints: Vec<(String, &'static str)>,
    /// Why options of the SDK have no effect.
    pub reasons: Vec<(String, &'static str)>,
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
    /// It would send a credential of the server elsewhere.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Its working directory is outside of the workspace.
    #[error(transparent)]
    Workspace(#[from] agent::workspace::WorkspaceError),
    /// The server is shutting down.
    #[error(transparent)]
    SessionClosed(#[from] SessionClosed),
}

impl Session {
    pub(super) fn configure(
        &mut self,
        body: &[u8],
        change: Change,
    ) -> Result<Configured, ConfigureError> {
        let Parsed { config, mut ignored, hints, reasons, auth_token } = match change {
            Change::Replace => QueryConfig::parse(body, &self.config)?,
            Change::Merge => QueryConfig::patch(body, &self.config)?,
        };
        // The built-in agent sends nothing anywhere.
        if !self.runtime.settings.demo {
            config.check_addresses()?;
        }
        self.runtime.settings.mode.check(&config)?;
        if let Some(cwd) = &config.cwd {
            agent::workspace::check_inside(cwd, &self.runtime.settings.workspace)?;
        }
        ignored.extend(agent::describe::ignored(&self.runtime.settings, &config));
        if self.asks_for_another_conversation(&config) {
            let forks = self.forked(&config);
            let running = self.running_conversation(&config);
            self.reset_conversation();
            self.agent.forks = forks.map(|of| Fork { of, draws_id: false });
            self.agent.session_id = running;
        }
        if !config.is_equivalent(&self.config) {
            self.run_time.reconfigure(&self.config, &config);
        }
        self.config = config;
        self.record_configuration(auth_token.as_ref());
        let applies = match &self.agent.running {
            Some(running) if !running.config.is_equivalent(&self.config) => Applies::NextStart,
            _ => Applies::Now,
        };
        Ok(Configured { shown: self.config_shown(), applies, ignored, hints, reasons, auth_token })
    }

    /// Whether `config` names another conversation than the one that goes on.
    /// What it does not say any more changes none.
    fn asks_for_another_conversation(&self, config: &QueryConfig) -> bool {
        let begins = |new: Option<bool>, old: Option<bool>| new == Some(true) && old != new;
        let resume = config.resume.as_ref();
        let resumes = resume.is_some()
            && resume != self.config.resume.as_ref()
            && resume != self.agent.session_id.as_ref();
        config.provider != self.config.provider
            || config.cwd != self.config.cwd
            || resumes
            || begins(config.continue_latest, self.config.continue_latest)
            || begins(config.fork_session, self.config.fork_session)
    }

    /// Returns the conversation of the running agent if `config` goes back to its place:
    /// it has not been started anew in between, and goes on with it.
    fn running_conversation(&self, config: &QueryConfig) -> Option<String> {
        let running = self.agent.running.as_ref().filter(|running| !running.is_stopping())?;
        let is_in = |place: &QueryConfig| {
            place.provider == running.config.provider && place.cwd == running.config.cwd
        };
        let names_one = config.resume != running.config.resume
            || config.continue_latest != running.config.continue_latest
            || config.fork_session != running.config.fork_session;
        let returns = is_in(config) && !is_in(&self.config) && !names_one;
        running.session_id.clone().filter(|_| returns)
    }

    /// Returns the conversation that goes on if `config` forks it: a fork that
    /// names none is one of this.
    fn forked(&self, config: &QueryConfig) -> Option<String> {
        let is_its_own = config.fork_session == Some(true)
            && config.resume.is_none()
            && config.continue_latest != Some(true)
            && config.provider == self.config.provider
            && config.cwd == self.config.cwd;
        self.agent.session_id.clone().filter(|_| is_its_own)
    }

    pub(super) fn config_shown(&self) -> ShownConfig {
        ShownConfig {
            // Serializing strings and numbers cannot fail.
            config: serde_json::to_value(self.config.echo()).unwrap_or_default(),
            secrets: self.config.secret_names(),
        }
    }

    /// Judges a control request by the ceiling.
    pub(super) fn check_control(&self, subtype: &str, request: &str) -> Result<(), String> {
        self.check_size(request, "a control request")?;
        if subtype == agent::controls::MCP_SET_SERVERS && request.len() > JUDGED_BYTES {
            return Err(format!("servers of over {} MiB", JUDGED_BYTES >> 20));
        }
        self.with_ceiling(|ceiling| ceiling.check_control(subtype, request))
    }

    /// The configuration of the running agent, or the next one's.
    fn config_in_effect(&self) -> &QueryConfig {
        self.agent.running.as_ref().map_or(&self.config, |running| &running.config)
    }

    /// Judges the rules that come with an approval by the ceiling.
    pub(super) fn check_updates(&self, answer: &PermissionAnswer) -> Result<(), String> {
        let Some(updates) = answer.updates() else { return Ok(()) };
        self.check_size(updates.get(), "rules")?;
        self.check_permission_updates(updates)
    }

    /// Judges permission rules, an array, by the ceiling.
    pub(super) fn check_permission_updates(&self, updates: &RawValue) -> Result<(), String> {
        self.with_ceiling(|ceiling| ceiling.check_updates(updates))
    }

    /// Judges an answer to the agent by the ceiling: the permission rules in it,
    /// wherever they stand.
    pub(super) fn check_answer(&self, answer: &str) -> Result<(), String> {
        if self.runtime.settings.mode == Mode::Unrestricted {
            return Ok(());
        }
        self.check_size(answer, "an answer")?;
        let answer: &RawValue =
            serde_json::from_str(answer).map_err(|error| format!("it cannot be read: {error}"))?;
        self.with_ceiling(|ceiling| ceiling.check_answer(answer))
    }

    /// Bounds what is judged on the thread of the session.
    fn check_size(&self, text: &str, name: &str) -> Result<(), String> {
        let mode = self.runtime.settings.mode;
        if mode == Mode::Unrestricted || text.len() <= JUDGED_BYTES {
            return Ok(());
        }
        let limit = JUDGED_BYTES >> 20;
        Err(format!("mode {mode} of the server does not allow {name} of over {limit} MiB"))
    }

    fn with_ceiling<T>(&self, judge: impl FnOnce(&Ceiling<'_>) -> T) -> T {
        let settings = &self.runtime.settings;
        let cwd = self.config_in_effect().cwd.as_deref().unwrap_or_default();
        let cwd = settings.workspace.join(cwd);
        judge(&Ceiling {
            mode: settings.mode,
            trusted: settings.workspace_is_trusted(),
            workspace: &settings.workspace,
            cwd: &cwd,
            own: self.config_in_effect(),
        })
    }
}
