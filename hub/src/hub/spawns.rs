//! Requests of agents for more agents, which a person decides about.

use std::sync::Arc;

use claude_relay_protocol::text::counted;
use serde_json::{Map, Value};

use super::agents::{Spawner, check_config, check_text, kept};
use super::state::{Message, State, new_id, now, oldest_beyond};
use super::workspaces::check_name;
use super::{CommandError, Hub};
use crate::wire::{Event, NewAgent, SpawnInfo, SpawnStatus, WantedAgent};

/// Maximum number of agents in a request.
const MAX_WANTED: usize = 10;

/// Maximum number of agents in the line of those that have spawned an agent.
const MAX_DEPTH: u32 = 3;

/// Maximum number of requests of an agent that wait for a decision.
const MAX_PENDING: usize = 4;

/// Maximum size of the texts of a request.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// Maximum size of the texts of those that were decided about.
const MAX_DECIDED_BYTES: usize = 8 << 20;

/// Number of requests that are kept once they were decided about.
const MAX_DECIDED: usize = 200;

impl Hub {
    pub(super) fn spawn_requests(&self) -> Vec<SpawnInfo> {
        self.state().kept.spawns.values().cloned().collect()
    }

    /// Asks for agents in the name of an agent. Returns what to tell it.
    pub(crate) fn request_spawn(
        self: &Arc<Self>,
        id: &str,
        agents: Vec<WantedAgent>,
    ) -> Result<String, CommandError> {
        if agents.is_empty() || agents.len() > MAX_WANTED {
            return Err(CommandError::Invalid(format!("agents: expected 1 to {MAX_WANTED}")));
        }
        for wanted in &agents {
            check_name("role", &wanted.role)?;
            if let Some(name) = &wanted.name {
                check_name("name", name)?;
            }
            for (kind, text) in [("systemPrompt", &wanted.system_prompt), ("task", &wanted.task)] {
                if let Some(text) = text {
                    check_text(kind, text)?;
                }
            }
            check_config(&configuration(wanted))?;
        }
        let bytes: usize = agents.iter().map(size_of).sum();
        if bytes > MAX_REQUEST_BYTES {
            let error = format!("agents: at most {MAX_REQUEST_BYTES} bytes of texts");
            return Err(CommandError::Invalid(error));
        }
        let mut state = self.state();
        let agent = kept(&state, id)?;
        if agent.depth >= MAX_DEPTH {
            return Err(CommandError::Limit(format!(
                "agents spawn each other at most {MAX_DEPTH} deep"
            )));
        }
        let workspace_id = agent.workspace_id.clone();
        let pending = state
            .kept
            .spawns
            .values()
            .filter(|request| request.agent_id == id && request.status == SpawnStatus::Pending);
        if pending.count() >= MAX_PENDING {
            return Err(CommandError::Limit(format!("{MAX_PENDING} requests wait for a person")));
        }
        let is_allowed = agents.len() <= self.settings.allow_spawn;
        let request = SpawnInfo {
            id: new_id("spawn"),
            workspace_id: workspace_id.clone(),
            agent_id: id.to_owned(),
            agents,
            status: SpawnStatus::Pending,
            created: Vec::new(),
            created_at: now(),
        };
        state.kept.spawns.insert(request.id.clone(), request.clone());
        forget_decided(&mut state);
        self.on_change(&mut state);
        let event = Event::AgentSpawnRequest {
            workspace_id: workspace_id.clone(),
            request: request.clone(),
        };
        self.tell(&workspace_id, &event);
        if is_allowed {
            let request = self.decide_in(&mut state, &request.id, true, false)?;
            return Ok(told_of(&request, &state));
        }
        Ok(format!("{} waits for the approval of a person; you will be told.", request.id))
    }

    pub(super) fn decide_spawn(
        self: &Arc<Self>,
        id: &str,
        approved: bool,
    ) -> Result<SpawnInfo, CommandError> {
        self.decide_in(&mut self.state(), id, approved, true)
    }

    fn decide_in(
        self: &Arc<Self>,
        state: &mut State,
        id: &str,
        approved: bool,
        tells_agent: bool,
    ) -> Result<SpawnInfo, CommandError> {
        let request = state.kept.spawns.get(id).cloned();
        let mut request = request.ok_or_else(|| CommandError::not_found("spawn request", id))?;
        if request.status != SpawnStatus::Pending {
            return Err(CommandError::Conflict("it was decided about before".into()));
        }
        if approved {
            // All of them or none.
            let room = self.settings.max_agents.saturating_sub(state.kept.agents.len());
            if request.agents.len() > room {
                let room = counted(room, "more agent");
                return Err(CommandError::Limit(format!("there is room for {room}")));
            }
            let depth = kept(state, &request.agent_id)?.depth;
            for wanted in &request.agents {
                let new = NewAgent {
                    workspace_id: request.workspace_id.clone(),
                    role: Some(wanted.role.clone()),
                    name: wanted.name.clone(),
                    config: configuration(wanted),
                    message: wanted.task.clone(),
                    ..NewAgent::default()
                };
                let spawner = Spawner { id: request.agent_id.clone(), depth };
                request.created.push(self.create_agent_in(state, new, Some(spawner))?.id);
            }
        }
        request.status = if approved { SpawnStatus::Approved } else { SpawnStatus::Denied };
        state.kept.spawns.insert(id.to_owned(), request.clone());
        self.on_change(state);
        let workspace_id = request.workspace_id.clone();
        let event = Event::SpawnRequestUpdate { workspace_id, request: request.clone() };
        self.tell(&request.workspace_id, &event);
        if tells_agent {
            let text = told_of(&request, state);
            self.enqueue(state, &request.agent_id, Message::new(text, None));
        }
        Ok(request)
    }
}

/// What the agent that asked is told.
fn told_of(request: &SpawnInfo, state: &State) -> String {
    let id = &request.id;
    if request.status != SpawnStatus::Approved {
        return format!("{id} was denied: there will be no new agents for it.");
    }
    let names = request.created.iter().filter_map(|id| state.kept.agents.get(id));
    let names: Vec<_> = names.map(|agent| format!("{} ({})", agent.name, agent.role)).collect();
    format!("{id} was approved. New agents, to whom you can delegate: {}.", names.join(", "))
}

/// The configuration of an agent that is asked for.
fn configuration(wanted: &WantedAgent) -> Map<String, Value> {
    let prompt = wanted.system_prompt.clone();
    prompt.map(|text| ("systemPrompt".to_owned(), text.into())).into_iter().collect()
}

/// The size of the texts of an agent that is asked for.
fn size_of(wanted: &WantedAgent) -> usize {
    let texts = [&wanted.name, &wanted.system_prompt, &wanted.task];
    wanted.role.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
}

/// Forgets the oldest of those that were decided about.
fn forget_decided(state: &mut State) {
    let decided = state.kept.spawns.values();
    let decided = decided.filter(|request| request.status != SpawnStatus::Pending);
    let size = |request: &SpawnInfo| request.agents.iter().map(size_of).sum();
    let decided = decided.map(|one| (one.created_at, one.id.clone(), size(one))).collect();
    for id in oldest_beyond(decided, MAX_DECIDED, MAX_DECIDED_BYTES) {
        state.kept.spawns.remove(&id);
    }
}
