//! The settings, and the objects that are created from them when the server
//! starts.

use std::path::PathBuf;
use std::sync::Arc;

use claude_relay_protocol::QueryConfig;

use crate::agent::player::Replay;
use crate::isolation::key_proxy::{self, KeyProxy};
use crate::isolation::sandbox::option::SandboxOption;
use crate::isolation::sandbox::{self, Sandbox, Unavailable};
use crate::notify::{Notifier, Setup};
use crate::recording::read::ReadError;
use crate::recording::{RecordError, Recorder};
use crate::redact::Redactor;
use crate::settings::Settings;
use crate::store::{self, Store};
use crate::supervisor::Supervisor;

/// The settings, with the sandbox, the key proxy and the store.
#[derive(Debug)]
pub struct Runtime {
    /// The settings, which never change.
    pub settings: Settings,
    /// The supervisor of all processes.
    pub supervisor: Supervisor,
    /// The sandbox around the agent.
    pub sandbox: Sandbox,
    /// The key proxy, if it is enabled.
    pub key_proxy: Option<KeyProxy>,
    /// The store, if there is one.
    pub store: Option<Arc<Store>>,
    /// Whom to tell that the agent waits, if anybody.
    pub notifier: Option<Notifier>,
    /// The recording, if there is one.
    pub recorder: Option<Recorder>,
    /// The recording that is played as the agent, if there is one.
    pub replay: Option<Replay>,
}

/// Reason for which the server cannot start with its settings.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The requested sandbox is not available.
    #[error(transparent)]
    Sandbox(#[from] Unavailable),
    /// The agent in the sandbox could reach the server's own port.
    #[error(
        "the agent in the sandbox can reach this server's own port, and without a token it could answer its own questions: set --auth-token (RELAY_AUTH_TOKEN), or pass --no-auth to allow it"
    )]
    SandboxWithoutToken,
    /// Anybody on this machine could have the agent use the key.
    #[error(
        "--key-proxy keeps the credential from the agent, and without a token every program on this machine could use it by this server's port: set --auth-token (RELAY_AUTH_TOKEN), or say --no-auth if that is meant"
    )]
    KeyProxyWithoutToken,
    /// There is no key proxy.
    #[error(transparent)]
    KeyProxy(#[from] key_proxy::StartError),
    /// There is no store.
    #[error(transparent)]
    Store(#[from] store::OpenError),
    /// The recording cannot be written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The recording cannot be played.
    #[error(transparent)]
    Replay(#[from] ReadError),
}

impl Runtime {
    /// Detects the sandbox and starts the key proxy, according to `settings`.
    ///
    /// # Errors
    ///
    /// See [`RuntimeError`].
    pub async fn start(settings: Settings) -> Result<Self, RuntimeError> {
        Self::start_with(settings, Supervisor::default()).await
    }

    /// Creates a runtime like [`start`](Self::start), with this supervisor.
    ///
    /// # Errors
    ///
    /// See [`RuntimeError`].
    pub async fn start_with(
        settings: Settings,
        supervisor: Supervisor,
    ) -> Result<Self, RuntimeError> {
        if settings.key_proxy && settings.auth_token.is_none() && !settings.no_auth {
            return Err(RuntimeError::KeyProxyWithoutToken);
        }
        let sandbox = open_sandbox(&settings, &supervisor).await?;
        let key_proxy = if settings.key_proxy { Some(KeyProxy::start().await?) } else { None };
        let store = open_store(&settings)?;
        let recorder = record(&settings)?;
        let notifier = notifier(&settings, &supervisor);
        let open = |path: &PathBuf| Replay::open(path, settings.replay_speed);
        let replay = settings.replay.as_ref().map(open).transpose()?;
        Ok(Self { settings, supervisor, sandbox, key_proxy, store, notifier, recorder, replay })
    }

    /// Creates a runtime with neither sandbox nor key proxy nor store.
    #[must_use]
    pub fn without_isolation(settings: Settings) -> Self {
        let supervisor = Supervisor::default();
        Self {
            settings,
            supervisor,
            sandbox: Sandbox::None,
            key_proxy: None,
            store: None,
            notifier: None,
            recorder: None,
            replay: None,
        }
    }
}

fn open_store(settings: &Settings) -> Result<Option<Arc<Store>>, store::OpenError> {
    let Some(location) = &settings.store else { return Ok(None) };
    let state = settings.state_dir();
    let limit = settings.store_spool_bytes;
    let access = settings.store_access.as_ref();
    Store::open(location, access, &settings.workspace, state.as_deref(), limit)
        .map(|store| Some(Arc::new(store)))
}

fn notifier(settings: &Settings, supervisor: &Supervisor) -> Option<Notifier> {
    settings.on_waiting.clone().map(|target| {
        Notifier::start(Setup {
            target,
            secret: settings.on_waiting_secret.clone(),
            environment: settings.environment.clone(),
            supervisor: supervisor.clone(),
        })
    })
}

/// Starts the recording, if there is to be one.
fn record(settings: &Settings) -> Result<Option<Recorder>, RecordError> {
    let Some(path) = &settings.record else { return Ok(None) };
    let mut redactor = Redactor::new(&QueryConfig::default(), &settings.environment);
    let tokens = [&settings.auth_token, &settings.codex_token, &settings.on_waiting_secret];
    redactor.extend(tokens.into_iter().flatten().cloned());
    if let Some(access) = &settings.store_access {
        redactor
            .extend([Some(&access.secret), access.token.as_ref()].into_iter().flatten().cloned());
    }
    Recorder::start(path, redactor).map(Some)
}

async fn open_sandbox(
    settings: &Settings,
    supervisor: &Supervisor,
) -> Result<Sandbox, RuntimeError> {
    let option = settings.sandbox;
    let found = match sandbox::open(option, settings.variable("PATH"), supervisor).await {
        Err(reason) if option == SandboxOption::Auto => {
            tracing::warn!(
                "THERE IS NO SANDBOX around the agent, as --sandbox auto allows: {reason}"
            );
            Sandbox::None
        }
        found => found?,
    };
    if found.is_active() && settings.auth_token.is_none() && !settings.no_auth {
        if option != SandboxOption::Auto {
            return Err(RuntimeError::SandboxWithoutToken);
        }
        tracing::warn!("{}", RuntimeError::SandboxWithoutToken);
    }
    Ok(found)
}
