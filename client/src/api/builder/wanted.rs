//! The sandbox that a builder is to start in.

use std::sync::Arc;
use std::time::Duration;

use claude_relay_e2b::{E2b, NewSandbox, Options};

use crate::error::SandboxError;
use crate::types::Secret;

/// The time that a server may take until it answers in its sandbox, by default.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The sandbox that is wanted.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) which: Option<Which>,
    pub(super) e2b: Option<E2b>,
    pub(super) api_key: Option<Secret>,
    pub(super) time: Duration,
    pub(super) changes: Vec<Change>,
    pub(super) start_timeout: Duration,
    /// The only hosts that the agent may reach, if they are named.
    pub(super) allowed: Option<Vec<String>>,
    /// The key is sent inside.
    pub(super) key_inside: bool,
}

#[derive(Clone)]
pub(super) enum Which {
    /// A fresh one of this template.
    New(String),
    /// The one of this id.
    Old(String),
}

pub(super) type Change = Arc<dyn Fn(&mut NewSandbox) + Send + Sync>;

impl Default for Wanted {
    fn default() -> Self {
        Self {
            which: None,
            e2b: None,
            api_key: None,
            time: claude_relay_e2b::sandbox::DEFAULT_TIMEOUT,
            changes: Vec::new(),
            start_timeout: START_TIMEOUT,
            allowed: None,
            key_inside: false,
        }
    }
}

impl Wanted {
    pub(super) fn is_some(&self) -> bool {
        self.which.is_some()
    }

    /// The account.
    pub(super) fn e2b(&self, roots: &[Vec<u8>]) -> Result<E2b, SandboxError> {
        if let Some(e2b) = &self.e2b {
            return Ok(e2b.clone());
        }
        let api_key = self.api_key.as_ref().map(|key| key.expose().to_owned().into());
        let root_certificates = roots.to_vec();
        let settings = Options { api_key, root_certificates, ..Options::default() }.resolve();
        settings.map_err(Into::into).and_then(E2b::new).map_err(SandboxError::from)
    }
}
