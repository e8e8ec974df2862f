//! The hub: all agents, and what clients and agents ask of it.
//!
//! Its state is behind one lock, which is held for a moment and never across an
//! await. A command changes the state under it, adds the events, and is
//! answered once the change is in the state file.

mod agents;
mod delegations;
pub(crate) mod log;
mod output;
mod permissions;
mod spawns;
pub(crate) mod state;
pub(crate) mod todos;
mod turns;
mod workspaces;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::Sandboxes;
use crate::feed::Feed;
use crate::settings::Settings;
use crate::store::{Store, StoreError};
use crate::wire::{AgentStatus, Command, Event};
use log::LogChange;
pub(crate) use output::{MAX_EVENT_BYTES, MAX_NAME_BYTES};
use state::State;

/// Maximum number of relays that are being started at once.
const MAX_STARTING: usize = 4;

/// Reason for which a command is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is nothing of this id.
    #[error("there is no {kind} {id:?}")]
    NotFound {
        /// The kind of what is missing.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// A value is wrong.
    #[error("{0}")]
    Invalid(String),
    /// It is too late, or done already.
    #[error("{0}")]
    Conflict(String),
    /// A limit is reached.
    #[error("{0}")]
    Limit(String),
    /// The agent cannot be reached now.
    #[error("{0}")]
    Unavailable(String),
}

impl CommandError {
    pub(crate) fn not_found(kind: &'static str, id: &str) -> Self {
        Self::NotFound { kind, id: crate::cut::cut(id.to_owned(), 64) }
    }

    /// The status of the answer to a request.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Limit(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// All agents behind one endpoint.
#[derive(Debug)]
pub struct Hub {
    pub(crate) settings: Settings,
    pub(crate) store: Store,
    pub(crate) feed: Feed,
    /// `None` for a hub with local agents alone.
    pub(crate) sandboxes: Option<Sandboxes>,
    state: Mutex<State>,
    /// The version of the state that was last changed, and the one in the file.
    changed: watch::Sender<u64>,
    saved: watch::Sender<u64>,
    /// Permits for agents with processes.
    pub(crate) running: Arc<Semaphore>,
    /// Permits for relays that are being started.
    pub(crate) starting: Semaphore,
    pub(crate) stopping: CancellationToken,
    tasks: TaskTracker,
}

impl Hub {
    /// Creates the hub with the state of its directory, and starts the tasks of
    /// its agents.
    ///
    /// # Errors
    ///
    /// The state cannot be read.
    pub fn start(
        settings: Settings,
        store: Store,
        sandboxes: Option<Sandboxes>,
    ) -> Result<Arc<Self>, StoreError> {
        let kept = store.load()?;
        let agents = kept.agents.values().map(|agent| (agent.id.clone(), agent.logged));
        let agents: Vec<_> = agents.collect();
        let hub = Arc::new(Self {
            feed: Feed::new(settings.replay_bytes),
            running: Arc::new(Semaphore::new(settings.max_running)),
            starting: Semaphore::new(MAX_STARTING),
            state: Mutex::new(State { kept, ..State::default() }),
            changed: watch::Sender::new(0),
            saved: watch::Sender::new(0),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
            sandboxes,
            settings,
            store,
        });
        hub.tasks.spawn(Arc::clone(&hub).save_changes());
        for (id, logged) in agents {
            let log = hub.store.load_log(&id, logged);
            let mut state = hub.state();
            hub.bring_up(&mut state, &id, log);
        }
        Ok(hub)
    }

    /// Ends all agents in order and writes what is not written yet.
    pub async fn shut_down(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        if let Some(sandboxes) = &self.sandboxes {
            sandboxes.wait_for_cleanup().await;
        }
    }

    /// Carries out a command and returns what its answer holds.
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub async fn execute(self: &Arc<Self>, command: Command) -> Result<Value, CommandError> {
        let answer = match command {
            Command::PermissionResponse { request_id, answer } => {
                return self.answer_permission(&request_id, answer).await;
            }
            // A connection does these itself.
            Command::Subscribe { workspace_id } | Command::Unsubscribe { workspace_id } => {
                return self.workspace(&workspace_id).map(json_of);
            }
            Command::ListWorkspaces => return Ok(json_of(self.workspaces())),
            Command::CreateWorkspace(new) => json_of(self.create_workspace(new)?),
            Command::ResetWorkspace { workspace_id } => {
                self.reset_workspace(&workspace_id)?;
                json!({})
            }
            Command::RemoveWorkspace { workspace_id } => {
                self.remove_workspace(&workspace_id)?;
                json!({})
            }
            Command::ListAgents => return Ok(json_of(self.agents())),
            Command::GetAgent { agent_id } => return self.agent(&agent_id).map(json_of),
            Command::CreateAgent(new) => json_of(self.create_agent(new, None)?),
            Command::ConfigureAgent { agent_id, changes } => {
                json_of(self.configure_agent(&agent_id, changes)?)
            }
            Command::SendMessage { agent_id, message } => {
                json!({ "messageId": self.send_message(&agent_id, message.text)? })
            }
            Command::InterruptAgent { agent_id } => {
                self.send_command(&agent_id, state::AgentCommand::Interrupt)?;
                return Ok(json!({}));
            }
            Command::StopAgent { agent_id } => {
                self.send_command(&agent_id, state::AgentCommand::Stop)?;
                return Ok(json!({}));
            }
            Command::RemoveAgent { agent_id } => {
                self.remove_agent(&agent_id)?;
                json!({})
            }
            Command::GetLog { agent_id } => return self.log(&agent_id).map(json_of),
            Command::HideLogEntry { agent_id, entry_id } => {
                self.hide_log_entry(&agent_id, entry_id)?;
                json!({})
            }
            Command::ListPermissions => return Ok(json_of(self.permissions())),
            Command::Delegate { agent_id, delegation } => {
                json_of(self.delegate(&agent_id, &delegation)?)
            }
            Command::ListDelegations => return Ok(json_of(self.delegations())),
            Command::ListSpawnRequests => return Ok(json_of(self.spawn_requests())),
            Command::SpawnResponse { request_id, decided } => {
                json_of(self.decide_spawn(&request_id, decided.approved)?)
            }
        };
        self.when_saved().await;
        Ok(answer)
    }

    /// The directory of a workspace.
    pub(crate) fn workspace_directory(&self, workspace: &str) -> PathBuf {
        self.settings.directory.join("workspaces").join(workspace)
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A panic under the lock is a defect; what is kept is whole all the same.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that what is kept has changed.
    pub(crate) fn on_change(&self, state: &mut State) {
        state.version += 1;
        self.changed.send_replace(state.version);
    }

    /// Waits until every change so far is in the file.
    pub(crate) async fn when_saved(&self) {
        let version = *self.changed.borrow();
        let mut saved = self.saved.subscribe();
        // The writer lives as long as the hub.
        let _ = saved.wait_for(|saved| *saved >= version).await;
    }

    pub(crate) fn tell(&self, workspace: &str, event: &Event) -> u64 {
        self.feed.push(Some(workspace), event)
    }

    /// Writes changes until the hub ends.
    async fn save_changes(self: Arc<Self>) {
        let mut changed = self.changed.subscribe();
        let mut is_last = false;
        while !is_last {
            tokio::select! {
                _ = changed.changed() => {}
                () = self.agents_ended() => is_last = true,
            }
            self.save().await;
        }
    }

    /// Waits until the hub stops and this task is the last one.
    async fn agents_ended(&self) {
        self.stopping.cancelled().await;
        let mut saved = tokio::time::interval(std::time::Duration::from_millis(20));
        while self.tasks.len() > 1 {
            saved.tick().await;
        }
    }

    async fn save(self: &Arc<Self>) {
        let (version, kept, logs) = {
            let mut state = self.state();
            let logs: Vec<(String, LogChange)> = state
                .live
                .iter_mut()
                .filter_map(|(id, live)| Some((id.clone(), live.log.take_change()?)))
                .collect();
            let version = state.version;
            let kept = (version > *self.saved.borrow()).then(|| state.kept.clone());
            (version, kept, logs)
        };
        let hub = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || {
            for (agent, change) in &logs {
                if let Err(error) = hub.store.save_log(agent, change) {
                    tracing::warn!(agent, "a log cannot be written: {error}");
                }
            }
            kept.map_or(Ok(()), |kept| hub.store.save(&kept))
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("the state cannot be written: {error}"),
            Err(error) => tracing::error!("the state was not written: {error}"),
        }
        // A command is answered even so: the hub goes on without its disk.
        self.saved.send_replace(version);
    }

    /// Wakes the writer for lines of a log.
    pub(crate) fn on_log_change(&self) {
        self.changed.send_modify(|_| {});
    }

    /// Figures for `/health`.
    pub(crate) fn health(&self) -> Value {
        let state = self.state();
        let live = state.live.values();
        let working = live.filter(|live| live.status == AgentStatus::Working).count();
        json!({
            "agents": state.kept.agents.len(),
            "working": working,
            "permissions": state.permissions.len(),
            "running": self.settings.max_running - self.running.available_permits(),
            "next": self.feed.next(),
        })
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

fn json_of(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
