//! The store within the session: the agent's transcript goes into it, and what
//! ends a turn waits until it is there.

use std::fmt;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::config::Provider;
use claude_relay_protocol::json::elements;
use claude_relay_protocol::text::counted;
use claude_relay_protocol::turns::{SessionState, Signal};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Session;
use crate::agent::protocol::TurnEvent;
use crate::agent::{self, provider};
use crate::process::lines::Block;
use crate::runtime::Runtime;
use crate::store::key::Key;
use crate::store::{self, Fetched, Mirror, Progress, StoreError, Wanted};

/// Longest time for which the end of a turn waits.
const HOLD: Duration = Duration::from_secs(10);

/// Time for a conversation to come from the store.
const FETCH: Duration = Duration::from_secs(60);

/// The store as the session uses it.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    mirror: Option<Mirror>,
    /// Where the agent keeps its transcripts.
    projects: Option<PathBuf>,
    held: Option<Held>,
    /// The ends of turns do not wait: one has waited too long.
    is_late: bool,
    /// The conversation that is on its way.
    fetch: Option<Fetch>,
    /// The conversation that has been compared with the store for the next
    /// start.
    ready: Option<Asked>,
    /// What was told of the store last.
    told: Progress,
}

/// Lines that wait.
#[derive(Debug)]
struct Held {
    block: Block,
    /// Number of lines of the block that do not wait.
    handled: usize,
    by: Instant,
}

/// A conversation that the store is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Named(String),
    /// The last one of the working directory.
    Latest,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(session) => write!(f, "the conversation {session}"),
            Self::Latest => f.write_str("the last conversation"),
        }
    }
}

#[derive(Debug)]
struct Fetch {
    asked: Asked,
    answer: oneshot::Receiver<Result<Fetched, StoreError>>,
}

/// Events of the store.
#[derive(Debug)]
pub(super) enum StoreEvent {
    /// Something has been settled, or the store's state has changed.
    Progressed,
    /// The store has answered about a conversation.
    Fetched(Result<Fetched, StoreError>),
}

impl Keeping {
    pub(super) fn new(runtime: &Runtime) -> Self {
        let mirror = runtime.store.as_ref().filter(|_| !runtime.settings.demo);
        Self { mirror: mirror.map(|store| store.mirror()), ..Self::default() }
    }

    /// Waits for the next event; for ever without a store.
    pub(super) async fn event(&mut self) -> StoreEvent {
        let Some(mirror) = &mut self.mirror else { return pending().await };
        let answered = async {
            match &mut self.fetch {
                Some(fetch) => (&mut fetch.answer).await.unwrap_or(Err(StoreError::ShuttingDown)),
                None => pending().await,
            }
        };
        tokio::select! {
            answer = answered => StoreEvent::Fetched(answer),
            () = mirror.progressed() => StoreEvent::Progressed,
        }
    }

    /// A new run writes its transcripts.
    pub(super) fn on_agent_started(&mut self, config: &QueryConfig, runtime: &Runtime) {
        if self.mirror.is_some() {
            let state = agent::configured_claude_directory(&runtime.settings, config);
            self.projects = state.map(|state| state.join("projects"));
        }
    }

    /// Takes lines of a transcript. Returns false if there is no room for them
    /// yet.
    pub(super) fn take(&mut self, file: &str, entries: &RawValue) -> bool {
        let (Some(mirror), Some(projects)) = (&mut self.mirror, &self.projects) else {
            return true;
        };
        let Some(key) = Key::of_file(Path::new(file), projects) else {
            tracing::warn!("a transcript outside of {projects:?} is not stored");
            return true;
        };
        let Ok(entries) = elements(entries) else { return true };
        let bytes = entries.iter().map(|entry| entry.get().len() + 1).sum();
        let mut lines = Vec::with_capacity(bytes);
        for entry in entries {
            lines.extend_from_slice(entry.get().as_bytes());
            lines.push(b'\n');
        }
        lines.is_empty() || mirror.append(key, lines.into())
    }

    /// Returns true if a line ends a turn whose transcript is not settled yet.
    pub(super) fn holds_back(&mut self, event: &TurnEvent<'_>) -> bool {
        let Some(mirror) = &self.mirror else { return false };
        let ends_turn = matches!(
            event,
            TurnEvent::Signal(Signal::Result { .. } | Signal::State(SessionState::Idle))
        );
        if !ends_turn || mirror.is_settled() {
            self.is_late &= !ends_turn;
            return false;
        }
        !self.is_late
    }

    /// Lets the lines of a block from `handled` on wait.
    pub(super) fn hold(&mut self, block: Block, handled: usize, now: Instant) {
        self.held = Some(Held { block, handled, by: now + HOLD });
    }

    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.held.as_ref().map(|held| held.by)
    }

    /// Returns the state as clients are told it; `None` without a store.
    pub(super) fn state(&self) -> Option<Value> {
        let progress = self.mirror.as_ref()?.progress();
        let state = match (&progress.error, progress.waiting) {
            (None, 0) => "ok",
            _ => "behind",
        };
        let mut told = json!({ "state": state });
        if progress.waiting > 0 {
            told["waiting_bytes"] = json!(progress.waiting_bytes);
        }
        if progress.lost > 0 {
            told["lost"] = json!(progress.lost);
        }
        if let Some(error) = progress.error {
            told["error"] = json!(error);
        }
        Some(told)
    }

    /// Settles the last lines when the session ends.
    pub(super) async fn finish(self) {
        if let Some(mirror) = self.mirror {
            mirror.finish().await;
        }
    }
}

impl Session {
    /// Asks the store about the conversation of the next start, unless it has
    /// answered. Returns true if the start has to wait.
    pub(super) fn asks_store(&mut self, config: &QueryConfig, session: Option<&str>) -> bool {
        let settings = &self.runtime.settings;
        let ready = self.store.ready.take();
        let asked = match session {
            Some(session) => Asked::Named(session.to_owned()),
            None if config.continue_latest == Some(true) => Asked::Latest,
            None => return false,
        };
        let Some(mirror) = &self.store.mirror else { return false };
        if ready.as_ref() == Some(&asked) || provider(settings, config) != Provider::Claude {
            return false;
        }
        let state = agent::configured_claude_directory(settings, config);
        // What is wrong with the directory is told by the start.
        let cwd = agent::workspace::directory(config.cwd.as_deref(), &settings.workspace);
        let (Some(state), Ok(cwd)) = (state, cwd) else { return false };
        let session = match &asked {
            Asked::Named(session) => Some(session.clone()),
            Asked::Latest => None,
        };
        let wanted = Wanted { session, state, cwd };
        let (to, answer) = oneshot::channel();
        let (store, settled) = (Arc::clone(mirror.store()), mirror.settled());
        tokio::spawn(async move {
            let fetch = async {
                settled.await;
                store.fetch(&wanted).await
            };
            let fetched = timeout(FETCH, fetch).await;
            // With the session gone nobody wants to know any more.
            let _ = to.send(fetched.unwrap_or(Err(StoreError::Timeout(FETCH))));
        });
        self.store.fetch = Some(Fetch { asked, answer });
        true
    }

    pub(super) fn on_store(&mut self, event: StoreEvent, now: Instant) {
        match event {
            StoreEvent::Progressed => {
                self.tell_store();
                if self.store.mirror.as_ref().is_some_and(Mirror::is_settled) {
                    self.release_held(now);
                }
            }
            StoreEvent::Fetched(fetched) => self.on_fetched(fetched, now),
        }
    }

    pub(super) fn on_store_time(&mut self, now: Instant) {
        if self.store.deadline().is_some_and(|by| now >= by) {
            self.store.is_late = true;
            self.error(&format!(
                "The end of a turn has waited {} s for the store, and is told without it",
                HOLD.as_secs()
            ));
            self.release_held(now);
        }
    }

    /// Handles the lines that have waited.
    fn release_held(&mut self, now: Instant) {
        if let Some(Held { block, handled, .. }) = self.store.held.take() {
            self.on_lines(block, handled, now);
        }
    }

    fn on_fetched(&mut self, fetched: Result<Fetched, StoreError>, now: Instant) {
        let Some(Fetch { mut asked, .. }) = self.store.fetch.take() else { return };
        match fetched {
            Ok(Fetched { session, home, missing, told }) => {
                if let Some(session) = session {
                    if let (Some(mirror), Some((project, after))) = (&mut self.store.mirror, &home)
                    {
                        let _ = mirror.set_home(&session, project, *after);
                    }
                    if asked == Asked::Latest {
                        self.agent.latest = Some(session.clone());
                        asked = Asked::Named(session);
                    }
                }
                self.add_to_store(missing);
                told.iter().for_each(|told| self.info(told));
            }
            Err(reason) => self.error(&format!(
                "The store could not be asked for {asked}: {reason}. The agent goes on with what this machine has of it"
            )),
        }
        self.store.ready = Some(asked);
        if std::mem::take(&mut self.agent.waits_for_store) {
            self.ensure_agent(now);
            self.on_early_requests(now);
        }
    }

    /// Adds what this machine has of a conversation and the store has not.
    fn add_to_store(&mut self, missing: Vec<(Key, bytes::Bytes)>) {
        let Some(mirror) = &mut self.store.mirror else { return };
        for (key, lines) in missing {
            for part in store::split(lines) {
                if !mirror.append(key.clone(), part) {
                    return self.error(&format!(
                        "The store lacks a part of the conversation {}, which was too large to be added at once; it is added when the conversation is resumed again",
                        key.session
                    ));
                }
            }
        }
    }

    /// Tells the client that the store is down, or up again, or has lost lines.
    fn tell_store(&mut self) {
        let Some(mirror) = &self.store.mirror else { return };
        let progress = mirror.progress();
        let told = std::mem::replace(&mut self.store.told, progress.clone());
        let place = mirror.store().location().to_string();
        if progress.lost > told.lost {
            let error = progress.error.clone().unwrap_or_default();
            self.error(&format!(
                "The conversation is not whole in the store {place}: {} parts of it are lost to it ({error})",
                progress.lost
            ));
        } else if let (Some(error), None) = (&progress.error, &told.error) {
            self.error(&format!(
                "The store {place} takes nothing: {error}. The conversation goes on; what the store lacks waits on this machine and is written later"
            ));
        } else if progress.error.is_none() && told.error.is_some() && progress.waiting == 0 {
            self.info(&match progress.lost {
                0 => format!("The store {place} has everything again"),
                lost => {
                    let lost = counted(lost, "part");
                    format!(
                        "The store {place} takes lines again; of the conversation it lacks {lost}"
                    )
                }
            });
        }
        if progress.error.is_none() && progress.waiting > 0 {
            // Not told yet that it is whole again.
            self.store.told.error = told.error;
        }
    }
}
