//! Permission requests of the agents, and their answers.

use claude_relay_client::{Decision, PermissionRequest, RawJson};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::agents::kept;
use super::state::{AgentCommand, Pending, State, new_id};
use super::{CommandError, Hub};
use crate::wire::{AgentStatus, Event, PendingPermission, PermissionAnswer};

/// Maximum number of requests of an agent that wait for an answer.
const MAX_PENDING: usize = 64;

/// Maximum size of their inputs together. They are shown whole: a person must see
/// what is asked.
const MAX_PENDING_BYTES: usize = 1 << 20;

/// Maximum size of a tool's name.
const MAX_TOOL_BYTES: usize = 256;

/// Text for a person whose agent asks faster than it can be refused.
const NOT_REFUSED: &str = "the agent asks for permissions faster than the hub can refuse them: \
                           some have no answer until the relay gives one";

impl Hub {
    pub(crate) fn permissions(&self) -> Vec<PendingPermission> {
        self.state().permissions.values().map(|pending| pending.shown.clone()).collect()
    }

    /// Asks the clients about a request.
    pub(crate) fn ask_permission(&self, id: &str, request: PermissionRequest) {
        let mut state = self.state();
        let known =
            |pending: &Pending| pending.shown.agent_id == id && pending.request.id == request.id;
        // A client that comes back to its relay gets its requests again.
        if state.permissions.values().any(known) {
            return;
        }
        let Ok(agent) = kept(&state, id) else { return };
        let of_agent = state.permissions.values().filter(|pending| pending.shown.agent_id == id);
        let size = |request: &PermissionRequest| request.input.get().len();
        let (count, bytes) = of_agent.fold((0, size(&request)), |(count, bytes), pending| {
            (count + 1, bytes + size(&pending.request))
        });
        let refusal = if count >= MAX_PENDING {
            format!("{MAX_PENDING} requests wait for a person")
        } else if bytes > MAX_PENDING_BYTES {
            format!("a person can be shown {MAX_PENDING_BYTES} bytes of requests at once")
        } else if request.tool.len() > MAX_TOOL_BYTES {
            format!("the name of a tool has at most {MAX_TOOL_BYTES} bytes")
        } else {
            String::new()
        };
        if !refusal.is_empty() {
            let is_first_lost = refuse(&mut state, id, request, refusal);
            drop(state);
            if is_first_lost {
                self.on_error(id, NOT_REFUSED.to_owned());
            }
            return;
        }
        let shown = PendingPermission {
            request_id: new_id("req"),
            agent_id: id.to_owned(),
            workspace_id: agent.workspace_id.clone(),
            tool: request.tool.clone(),
            input: request.input.parse().unwrap_or(Value::Null),
        };
        let pending = Pending { shown: shown.clone(), request };
        state.permissions.insert(shown.request_id.clone(), pending);
        self.set_status_in(&mut state, id, AgentStatus::Waiting);
        let workspace = shown.workspace_id.clone();
        self.tell(&workspace, &Event::PermissionRequest(shown));
    }

    /// The agent has withdrawn a request.
    pub(crate) fn cancel_permission(&self, id: &str, request: &str) {
        let mut state = self.state();
        let found = state
            .permissions
            .iter()
            .find(|(_, pending)| pending.shown.agent_id == id && pending.request.id == request);
        if let Some(request) = found.map(|(request, _)| request.clone()) {
            self.resolve(&mut state, &request, None);
        }
    }

    /// Forgets the requests of an agent that has no process any more.
    pub(crate) fn drop_permissions(&self, state: &mut State, id: &str) {
        let of_agent = state.permissions.values().filter(|pending| pending.shown.agent_id == id);
        let requests: Vec<_> = of_agent.map(|pending| pending.shown.request_id.clone()).collect();
        for request in requests {
            self.resolve(state, &request, None);
        }
    }

    pub(super) async fn answer_permission(
        &self,
        request_id: &str,
        answer: PermissionAnswer,
    ) -> Result<Value, CommandError> {
        let decision = match answer.approved {
            true => Decision::Allow {
                updated_input: answer.updated_input.map(raw).transpose()?,
                updated_permissions: None,
            },
            false => Decision::deny(answer.message.unwrap_or_else(|| "denied".to_owned())),
        };
        let (told, done) = oneshot::channel();
        {
            let mut state = self.state();
            let pending = state.permissions.get(request_id);
            let pending =
                pending.ok_or_else(|| CommandError::not_found("permission request", request_id))?;
            let id = pending.shown.agent_id.clone();
            let live = state.live.get(&id);
            let live = live.ok_or_else(|| CommandError::not_found("agent", &id))?;
            let command = AgentCommand::Answer(Box::new(pending.request.clone()), decision, told);
            live.commands.try_send(command).map_err(|_| {
                CommandError::Unavailable("the agent is busy with other commands".into())
            })?;
            // The first answer counts.
            self.resolve(&mut state, request_id, Some(answer.approved));
        }
        match done.await {
            Ok(true) => Ok(json!({})),
            Ok(false) | Err(_) => {
                Err(CommandError::Conflict("the agent has ended before it could be told".into()))
            }
        }
    }

    fn resolve(&self, state: &mut State, request: &str, approved: Option<bool>) {
        let Some(Pending { shown, .. }) = state.permissions.remove(request) else { return };
        let is_last =
            !state.permissions.values().any(|other| other.shown.agent_id == shown.agent_id);
        let is_waiting = state.live.get(&shown.agent_id).map(|live| live.status);
        if is_last && is_waiting == Some(AgentStatus::Waiting) {
            self.set_status_in(state, &shown.agent_id, AgentStatus::Working);
        }
        self.tell(
            &shown.workspace_id,
            &Event::PermissionResolved {
                request_id: request.to_owned(),
                agent_id: shown.agent_id,
                workspace_id: shown.workspace_id.clone(),
                approved,
            },
        );
    }
}

/// Refuses a request in the place of a person. Returns true if that was not possible
/// for the first time since the agent has had all its commands.
fn refuse(state: &mut State, id: &str, request: PermissionRequest, refusal: String) -> bool {
    let Some(live) = state.live.get_mut(id) else { return false };
    if live.commands.capacity() == live.commands.max_capacity() {
        live.lost_refusal = false;
    }
    let (told, _) = oneshot::channel();
    let decision = Decision::deny(refusal);
    let command = AgentCommand::Answer(Box::new(request), decision, told);
    let is_lost = live.commands.try_send(command).is_err();
    if is_lost {
        tracing::warn!(agent = id, "a permission request is not answered: too many");
    }
    is_lost && !std::mem::replace(&mut live.lost_refusal, true)
}

fn raw(input: serde_json::Map<String, Value>) -> Result<RawJson, CommandError> {
    RawJson::new(Value::Object(input).to_string())
        .map_err(|error| CommandError::Invalid(format!("updatedInput: {error}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use tokio::sync::mpsc;

    use super::*;
    use crate::settings::{Args, Settings};
    use crate::store::Store;
    use crate::wire::{EntryKind, NewAgent, NewWorkspace};

    fn request(number: usize) -> PermissionRequest {
        let empty = || RawJson::new("{}".to_owned()).unwrap();
        let (id, tool) = (format!("r{number}"), "Bash".to_owned());
        PermissionRequest { id, tool, input: empty(), context: empty() }
    }

    #[tokio::test]
    async fn a_person_is_told_once_that_requests_are_not_refused() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().to_str().unwrap();
        let relay = std::env::current_exe().unwrap();
        let arguments = ["hub", "--directory", directory, "--relay-path", relay.to_str().unwrap()];
        let settings = Settings::new(Args::parse_from(arguments)).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let hub = Hub::start(settings, store, None).unwrap();
        let workspace = hub.create_workspace(NewWorkspace { name: "w".into() }).unwrap();
        let new = NewAgent { workspace_id: workspace.id, ..NewAgent::default() };
        let agent = hub.create_agent(new, None).unwrap().id;
        // Its task ends without its channel; the test takes its commands.
        let (commands, mut received) = mpsc::channel(4);
        hub.state().live.get_mut(&agent).unwrap().commands = commands;
        let told = || {
            let log = hub.log(&agent).unwrap();
            log.iter().filter(|entry| entry.kind == EntryKind::Error).count()
        };
        let mut numbers = 0..;
        for burst in 0..3 {
            // The first ones wait for a person, or for the channel.
            let room = 4 + if burst == 0 { MAX_PENDING } else { 0 };
            for number in numbers.by_ref().take(room) {
                hub.ask_permission(&agent, request(number));
            }
            assert_eq!(told(), burst, "all have an answer or wait for a person");
            for number in numbers.by_ref().take(10) {
                hub.ask_permission(&agent, request(number));
            }
            assert_eq!(told(), burst + 1);
            // Room for one more is no end of the burst.
            received.try_recv().unwrap();
            for number in numbers.by_ref().take(10) {
                hub.ask_permission(&agent, request(number));
            }
            assert_eq!(told(), burst + 1);
            while received.try_recv().is_ok() {}
        }
        hub.shut_down().await;
    }
}
