//! Agents: their creation, their changes, their messages, their end.

use std::path::{Component, Path};
use std::sync::Arc;

use claude_relay_client::Client;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};

use super::log::Log;
use super::state::{Agent, AgentCommand, Live, Message, State, new_id, now};
use super::todos::TodoList;
use super::workspaces::check_name;
use super::{CommandError, Hub};
use crate::agent;
use crate::wire::{
    AgentChanges, AgentInfo, AgentStatus, Engine, EntryKind, Event, LogEntry, MAX_TEXT_BYTES,
    NewAgent,
};

/// Maximum number of messages that wait for an agent.
const MAX_QUEUED: usize = 64;

/// Maximum size of their texts. Results of what an agent has given to others come
/// even so: their number is bounded.
const MAX_QUEUED_BYTES: usize = 4 << 20;

/// Maximum size of an agent's configuration.
const MAX_CONFIG_BYTES: usize = 256 << 10;

/// Orders that wait for the task of an agent.
const COMMAND_CAPACITY: usize = 32;

/// Fields of a relay's configuration that an agent may have: none of them holds
/// a secret, and none leads out of the workspace.
const CONFIG_FIELDS: [&str; 15] = [
    "agents",
    "allowedTools",
    "disallowedTools",
    "effort",
    "fallbackModel",
    "maxBudgetUsd",
    "maxThinkingTokens",
    "maxTurns",
    "model",
    "outputFormat",
    "permissionMode",
    "provider",
    "settingSources",
    "systemPrompt",
    "tools",
];

/// The agent that asks for another one.
#[derive(Debug)]
pub(super) struct Spawner {
    pub(super) id: String,
    pub(super) depth: u32,
}

impl Hub {
    pub(super) fn agents(&self) -> Vec<AgentInfo> {
        let state = self.state();
        state.kept.agents.values().map(|agent| state.info(agent)).collect()
    }

    pub(super) fn agent(&self, id: &str) -> Result<AgentInfo, CommandError> {
        let state = self.state();
        Ok(state.info(kept(&state, id)?))
    }

    pub(super) fn create_agent(
        self: &Arc<Self>,
        new: NewAgent,
        spawner: Option<Spawner>,
    ) -> Result<AgentInfo, CommandError> {
        let mut state = self.state();
        self.create_agent_in(&mut state, new, spawner)
    }

    pub(super) fn create_agent_in(
        self: &Arc<Self>,
        state: &mut State,
        new: NewAgent,
        spawner: Option<Spawner>,
    ) -> Result<AgentInfo, CommandError> {
        let workspace = new.workspace_id;
        if !state.kept.workspaces.contains_key(&workspace) {
            return Err(CommandError::not_found("workspace", &workspace));
        }
        if state.kept.agents.len() >= self.settings.max_agents {
            let limit = self.settings.max_agents;
            return Err(CommandError::Limit(format!("there are {limit} agents (--max-agents)")));
        }
        let role = new.role.unwrap_or_else(|| "agent".to_owned());
        check_name("role", &role)?;
        let name = new.name.unwrap_or_else(|| role.clone());
        check_name("name", &name)?;
        let engine = new.engine.unwrap_or_default();
        if engine == Engine::E2b && self.sandboxes.is_none() {
            return Err(CommandError::Invalid("engine: this hub has no sandboxes".into()));
        }
        let directory = new.directory.unwrap_or_default();
        check_directory(&directory)?;
        check_config(&new.config)?;
        if let Some(text) = &new.message {
            check_text("message", text)?;
        }
        let agent = Agent {
            id: new_id("agent"),
            workspace_id: workspace.clone(),
            name,
            role,
            engine,
            directory,
            config: new.config,
            session_id: None,
            spawned_by: spawner.as_ref().map(|spawner| spawner.id.clone()),
            depth: spawner.map_or(0, |spawner| spawner.depth + 1),
            cost: 0.0,
            created_at: now(),
            inbox: Default::default(),
            sandbox: None,
            logged: 0,
        };
        let id = agent.id.clone();
        let spawned_by = agent.spawned_by.clone();
        state.kept.agents.insert(id.clone(), agent);
        self.bring_up(state, &id, Log::default());
        self.on_change(state);
        let info = state.info(kept(state, &id)?);
        let event = Event::AgentCreated {
            agent: info.clone(),
            workspace_id: workspace.clone(),
            spawned_by,
        };
        self.tell(&workspace, &event);
        if let Some(text) = new.message {
            self.enqueue(state, &id, Message::new(text, None));
        }
        Ok(info)
    }

    pub(super) fn configure_agent(
        &self,
        id: &str,
        changes: AgentChanges,
    ) -> Result<AgentInfo, CommandError> {
        let mut state = self.state();
        let agent = kept(&state, id)?;
        let mut config = agent.config.clone();
        for (field, value) in changes.config {
            match value {
                Value::Null => config.remove(&field),
                value => config.insert(field, value),
            };
        }
        check_config(&config)?;
        for (kind, name) in [("role", &changes.role), ("name", &changes.name)] {
            if let Some(name) = name {
                check_name(kind, name)?;
            }
        }
        let Some(agent) = state.kept.agents.get_mut(id) else {
            return Err(CommandError::not_found("agent", id));
        };
        let is_configured = agent.config != config;
        agent.config = config;
        if let Some(role) = changes.role {
            agent.role = role;
        }
        if let Some(name) = changes.name {
            agent.name = name;
        }
        if is_configured && let Some(live) = state.live.get(id) {
            send(live, AgentCommand::Configure)?;
        }
        self.on_change(&mut state);
        let info = state.info(kept(&state, id)?);
        self.tell(
            &info.workspace_id,
            &Event::AgentUpdated {
                agent_id: id.to_owned(),
                agent: info.clone(),
                workspace_id: info.workspace_id.clone(),
            },
        );
        Ok(info)
    }

    pub(super) fn send_message(&self, id: &str, text: String) -> Result<String, CommandError> {
        check_text("text", &text)?;
        let mut state = self.state();
        check_room(kept(&state, id)?, text.len())?;
        let message = Message::new(text, None);
        let uuid = message.uuid.clone();
        self.enqueue(&mut state, id, message);
        Ok(uuid)
    }

    /// Puts a message into the inbox of an agent, and into its log.
    pub(super) fn enqueue(&self, state: &mut State, id: &str, message: Message) {
        let Some(agent) = state.kept.agents.get_mut(id) else { return };
        let text = message.text.clone();
        agent.inbox.push_back(message);
        let workspace_id = agent.workspace_id.clone();
        self.add_to_log(state, id, EntryKind::User, None, Value::String(text.clone()));
        if let Some(live) = state.live.get(id)
            && let Some(agent) = state.kept.agents.get_mut(id)
        {
            agent.logged = live.log.next();
        }
        self.on_change(state);
        let agent_id = id.to_owned();
        let event = Event::AgentUserMessage { agent_id, workspace_id: workspace_id.clone(), text };
        self.tell(&workspace_id, &event);
        if let Some(live) = state.live.get(id) {
            // With commands that wait the task looks at its inbox anyway.
            let _ = live.commands.try_send(AgentCommand::Wake);
        }
    }

    pub(super) fn send_command(&self, id: &str, command: AgentCommand) -> Result<(), CommandError> {
        let state = self.state();
        let live = state.live.get(id).ok_or_else(|| CommandError::not_found("agent", id))?;
        send(live, command)
    }

    pub(super) fn remove_agent(self: &Arc<Self>, id: &str) -> Result<(), CommandError> {
        let mut state = self.state();
        kept(&state, id)?;
        self.remove(&mut state, id);
        self.on_change(&mut state);
        Ok(())
    }

    pub(super) fn remove(&self, state: &mut State, id: &str) {
        self.cancel_work(state, id, "the agent was removed");
        self.take_down(state, id);
        self.fail_delegations_of(state, id);
        self.kill_sandbox(state, id);
        let Some(agent) = state.kept.agents.remove(id) else { return };
        self.tell(
            &agent.workspace_id,
            &Event::AgentRemoved {
                agent_id: id.to_owned(),
                workspace_id: agent.workspace_id.clone(),
            },
        );
    }

    /// Kills the sandbox of an agent, with its files and its conversation.
    pub(super) fn kill_sandbox(&self, state: &mut State, id: &str) {
        let agent = state.kept.agents.get_mut(id);
        if let Some(sandbox) = agent.and_then(|agent| agent.sandbox.take())
            && let Some(sandboxes) = self.sandboxes.clone()
        {
            self.spawn(async move { sandboxes.kill(&sandbox).await });
        }
    }

    /// An agent is in another sandbox than before.
    #[cfg_attr(not(feature = "e2b"), expect(dead_code, reason = "there is none"))]
    pub(crate) fn on_sandbox(&self, id: &str, sandbox: Option<String>) {
        let mut state = self.state();
        let Some(agent) = state.kept.agents.get_mut(id) else { return };
        if sandbox.is_none() {
            agent.session_id = None;
        }
        agent.sandbox = sandbox;
        self.on_change(&mut state);
    }

    /// Starts the task of an agent.
    pub(super) fn bring_up(self: &Arc<Self>, state: &mut State, id: &str, log: Log) {
        let (commands, receiver) = mpsc::channel(COMMAND_CAPACITY);
        let live = Live {
            commands,
            status: AgentStatus::Stopped,
            log,
            client: watch::Sender::new(None),
            reported: None,
            lost_refusal: false,
            todos: TodoList::default(),
        };
        state.live.insert(id.to_owned(), live);
        self.spawn(agent::run(Arc::clone(self), id.to_owned(), receiver));
    }

    /// Ends the task of an agent: without its channel it has nothing to wait
    /// for.
    pub(super) fn take_down(&self, state: &mut State, id: &str) {
        state.live.remove(id);
        self.drop_permissions(state, id);
    }

    pub(super) fn log(&self, id: &str) -> Result<Vec<LogEntry>, CommandError> {
        let state = self.state();
        let live = state.live.get(id).ok_or_else(|| CommandError::not_found("agent", id))?;
        Ok(live.log.shown())
    }

    pub(super) fn hide_log_entry(&self, id: &str, entry: u64) -> Result<(), CommandError> {
        let mut state = self.state();
        let workspace_id = kept(&state, id)?.workspace_id.clone();
        let live = state.live.get_mut(id);
        let live = live.ok_or_else(|| CommandError::not_found("agent", id))?;
        if !live.log.hide(entry) {
            return Err(CommandError::not_found("log entry", &entry.to_string()));
        }
        let log = live.log.shown();
        self.on_change(&mut state);
        let agent_id = id.to_owned();
        let event = Event::AgentLogUpdated { agent_id, workspace_id: workspace_id.clone(), log };
        self.tell(&workspace_id, &event);
        Ok(())
    }

    /// Waits for the connection to an agent's relay, and starts the relay where
    /// it does not run.
    pub(crate) async fn client_of(&self, id: &str) -> Result<Client, CommandError> {
        let mut client: watch::Receiver<Option<Client>> = {
            let state = self.state();
            let live = state.live.get(id).ok_or_else(|| CommandError::not_found("agent", id))?;
            if live.client.borrow().is_none() {
                send(live, AgentCommand::Wake)?;
            }
            live.client.subscribe()
        };
        let ready = tokio::time::timeout(agent::START_TIMEOUT, client.wait_for(Option::is_some));
        match ready.await {
            Ok(Ok(client)) => client
                .clone()
                .ok_or_else(|| CommandError::Unavailable("the agent has ended".into())),
            Ok(Err(_)) => Err(CommandError::not_found("agent", id)),
            Err(_) => Err(CommandError::Unavailable("the agent does not start".into())),
        }
    }
}

pub(super) fn kept<'a>(state: &'a State, id: &str) -> Result<&'a Agent, CommandError> {
    state.kept.agents.get(id).ok_or_else(|| CommandError::not_found("agent", id))
}

fn send(live: &Live, command: AgentCommand) -> Result<(), CommandError> {
    live.commands
        .try_send(command)
        .map_err(|_| CommandError::Unavailable("the agent is busy with other commands".into()))
}

/// Checks that an agent's inbox has room for a text of this size.
pub(super) fn check_room(agent: &Agent, size: usize) -> Result<(), CommandError> {
    if agent.inbox.len() >= MAX_QUEUED {
        return Err(CommandError::Limit(format!("{MAX_QUEUED} messages wait for the agent")));
    }
    let waiting: usize = agent.inbox.iter().map(|message| message.text.len()).sum();
    if waiting + size > MAX_QUEUED_BYTES {
        let error = format!("{MAX_QUEUED_BYTES} bytes of messages may wait for an agent");
        return Err(CommandError::Limit(error));
    }
    Ok(())
}

pub(super) fn check_text(kind: &str, text: &str) -> Result<(), CommandError> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        let message = format!("{kind}: expected 1 to {MAX_TEXT_BYTES} bytes");
        return Err(CommandError::Invalid(message));
    }
    Ok(())
}

fn check_directory(directory: &str) -> Result<(), CommandError> {
    let is_inside =
        Path::new(directory).components().all(|part| matches!(part, Component::Normal(_)));
    if !is_inside || directory.len() > 1024 || directory.contains('\0') {
        return Err(CommandError::Invalid(
            "directory: expected a path inside of the workspace".into(),
        ));
    }
    Ok(())
}

pub(super) fn check_config(config: &Map<String, Value>) -> Result<(), CommandError> {
    if let Some(field) = config.keys().find(|field| !CONFIG_FIELDS.contains(&field.as_str())) {
        let field = crate::cut::cut(field.clone(), 64);
        return Err(CommandError::Invalid(format!(
            "config.{field}: an agent has none of it; expected one of {}",
            CONFIG_FIELDS.join(", ")
        )));
    }
    let size = serde_json::to_string(config).map_or(0, |text| text.len());
    if size > MAX_CONFIG_BYTES {
        return Err(CommandError::Invalid(format!("config: at most {MAX_CONFIG_BYTES} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
