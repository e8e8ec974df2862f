//! Delegations: a task of one agent for another, whose result comes back.

use std::time::Duration;

use tokio::sync::oneshot;

use super::agents::{check_room, check_text, kept};
use super::state::{Message, State, new_id, now, oldest_beyond};
use super::{CommandError, Hub};
use crate::wire::{
    AgentStatus, DelegationInfo, DelegationStatus, Event, MAX_TEXT_BYTES, NewDelegation,
};

/// Maximum number of delegations within each other.
const MAX_DEPTH: u32 = 4;

/// Maximum number of delegations of an agent that have not ended.
const MAX_OPEN: usize = 16;

/// Number of ended delegations that are kept.
const MAX_ENDED: usize = 500;

/// Maximum size of their tasks and results.
const MAX_ENDED_BYTES: usize = 8 << 20;

/// Time that a call of `ask_agent` waits; the result comes as a message after
/// that. A relay gives up an answer after ten minutes.
const ASK_TIMEOUT: Duration = Duration::from_secs(5 * 60);

impl Hub {
    pub(super) fn delegations(&self) -> Vec<DelegationInfo> {
        self.state().kept.delegations.values().cloned().collect()
    }

    pub(crate) fn delegate(
        &self,
        id: &str,
        wanted: &NewDelegation,
    ) -> Result<DelegationInfo, CommandError> {
        self.delegate_in(&mut self.state(), id, wanted)
    }

    /// Gives a task to another agent and waits for its result.
    pub(crate) async fn ask_agent(
        &self,
        id: &str,
        wanted: &NewDelegation,
    ) -> Result<String, CommandError> {
        let (delegation, result) = {
            let mut state = self.state();
            let delegation = self.delegate_in(&mut state, id, wanted)?;
            let (done, result) = oneshot::channel();
            state.waiting.insert(delegation.id.clone(), done);
            (delegation, result)
        };
        match tokio::time::timeout(ASK_TIMEOUT, result).await {
            Ok(Ok(Ok(result))) => Ok(result),
            Ok(Ok(Err(reason))) => Err(CommandError::Unavailable(reason)),
            Ok(Err(_)) | Err(_) => {
                self.state().waiting.remove(&delegation.id);
                let id = delegation.id;
                Ok(format!("{id} takes longer; its result will come as a message."))
            }
        }
    }

    fn delegate_in(
        &self,
        state: &mut State,
        id: &str,
        wanted: &NewDelegation,
    ) -> Result<DelegationInfo, CommandError> {
        check_text("task", &wanted.task)?;
        let giver = kept(state, id)?.clone();
        let open = state.kept.delegations.values();
        let open = open.filter(|other| other.agent_id == id && !other.status.is_over()).count();
        if open >= MAX_OPEN {
            return Err(CommandError::Limit(format!("{MAX_OPEN} delegations have not ended")));
        }
        let parent = giver.inbox.front().and_then(|message| message.delegation.clone());
        let parent = parent.and_then(|parent| state.kept.delegations.get(&parent)).cloned();
        let depth = parent.as_ref().map_or(0, |parent| parent.depth + 1);
        if depth >= MAX_DEPTH {
            return Err(CommandError::Limit(format!(
                "delegations lie within each other at most {MAX_DEPTH} deep"
            )));
        }
        let busy = givers(state, parent.as_ref());
        let target = self.find_target(state, &giver.workspace_id, id, &wanted.role, &busy)?;
        check_room(kept(state, &target.0)?, wanted.task.len())?;
        let delegation = DelegationInfo {
            id: new_id("del"),
            workspace_id: giver.workspace_id.clone(),
            agent_id: id.to_owned(),
            to_agent_id: target.0.clone(),
            to_role: target.1,
            task: wanted.task.clone(),
            status: DelegationStatus::Pending,
            result: None,
            parent: parent.map(|parent| parent.id),
            depth,
            created_at: now(),
        };
        state.kept.delegations.insert(delegation.id.clone(), delegation.clone());
        forget_ended(state);
        self.tell_delegation(&delegation);
        let text = format!("Task from {} ({}):\n\n{}", giver.name, giver.role, wanted.task);
        self.enqueue(state, &target.0, Message::new(text, Some(delegation.id.clone())));
        Ok(delegation)
    }

    /// Finds an agent of the workspace by its role, name or id: one that is free
    /// if there are several. One that waits for the giver could never answer.
    fn find_target(
        &self,
        state: &State,
        workspace: &str,
        giver: &str,
        wanted: &str,
        busy: &[String],
    ) -> Result<(String, String), CommandError> {
        let matching: Vec<_> = state
            .kept
            .agents
            .values()
            .filter(|agent| agent.workspace_id == workspace && agent.id != giver)
            .filter(|agent| {
                [&agent.role, &agent.name, &agent.id].iter().any(|name| *name == wanted)
            })
            .collect();
        if matching.is_empty() {
            let roles: Vec<_> = state
                .kept
                .agents
                .values()
                .filter(|agent| agent.workspace_id == workspace && agent.id != giver)
                .map(|agent| agent.role.as_str())
                .collect();
            let wanted = crate::cut::cut(wanted.to_owned(), 64);
            return Err(CommandError::Invalid(format!(
                "role: no other agent of this workspace is {wanted:?}; there are: {}",
                crate::cut::cut(roles.join(", "), 1000)
            )));
        }
        let free = matching.into_iter().filter(|agent| !busy.contains(&agent.id));
        let target = free.min_by_key(|agent| {
            let failed = state.live.get(&agent.id).map(|live| live.status);
            (failed == Some(AgentStatus::Failed), agent.inbox.len())
        });
        let target = target.ok_or_else(|| {
            CommandError::Conflict("that agent waits for the end of this very task".into())
        })?;
        Ok((target.id.clone(), target.role.clone()))
    }

    /// Notes the result of the delegation that an agent works on.
    pub(crate) fn report(&self, id: &str, result: String) -> Result<(), CommandError> {
        check_text("result", &result)?;
        let mut state = self.state();
        let first = kept(&state, id)?.inbox.front();
        if first.and_then(|message| message.delegation.as_ref()).is_none() {
            return Err(CommandError::Conflict("this turn answers no delegation".into()));
        }
        if let Some(live) = state.live.get_mut(id) {
            live.reported = Some(result);
        }
        Ok(())
    }

    pub(super) fn set_delegation(
        &self,
        state: &mut State,
        id: &str,
        status: DelegationStatus,
        result: Option<String>,
    ) -> Option<DelegationInfo> {
        let delegation = state.kept.delegations.get_mut(id)?;
        if delegation.status.is_over() || delegation.status == status {
            return None;
        }
        delegation.status = status;
        delegation.result = result;
        let delegation = delegation.clone();
        self.tell_delegation(&delegation);
        Some(delegation)
    }

    /// Ends a delegation, and gives its result to the agent that waits for it.
    pub(super) fn finish_delegation(
        &self,
        state: &mut State,
        id: &str,
        outcome: Result<String, String>,
    ) {
        let (status, text) = match &outcome {
            Ok(result) => (DelegationStatus::Done, result.clone()),
            Err(reason) => (DelegationStatus::Failed, reason.clone()),
        };
        let text = crate::cut::cut(text, MAX_TEXT_BYTES / 2);
        let Some(delegation) = self.set_delegation(state, id, status, Some(text.clone())) else {
            return;
        };
        if let Some(waiting) = state.waiting.remove(id)
            && waiting.send(outcome).is_ok()
        {
            return;
        }
        let DelegationInfo { agent_id, to_role, .. } = delegation;
        let text = match status {
            DelegationStatus::Done => format!("Result of {id} from {to_role}:\n\n{text}"),
            _ => format!("{id} for {to_role} has failed: {text}"),
        };
        self.enqueue(state, &agent_id, Message::new(text, None));
    }

    /// Ends what an agent that is removed has given to others.
    pub(super) fn fail_delegations_of(&self, state: &mut State, id: &str) {
        let of_agent = state.kept.delegations.values().filter(|delegation| {
            (delegation.agent_id == id || delegation.to_agent_id == id)
                && !delegation.status.is_over()
        });
        let ids: Vec<_> = of_agent.map(|delegation| delegation.id.clone()).collect();
        for delegation in ids {
            self.finish_delegation(state, &delegation, Err("an agent of it was removed".into()));
        }
    }

    fn tell_delegation(&self, delegation: &DelegationInfo) {
        let event = Event::DelegationUpdate {
            agent_id: delegation.agent_id.clone(),
            workspace_id: delegation.workspace_id.clone(),
            delegation_id: delegation.id.clone(),
            status: delegation.status,
            to_role: delegation.to_role.clone(),
        };
        self.tell(&delegation.workspace_id, &event);
    }
}

/// The agents that wait for the end of a delegation, directly or not.
fn givers(state: &State, delegation: Option<&DelegationInfo>) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = delegation;
    while let Some(delegation) = next {
        found.push(delegation.agent_id.clone());
        let parent = delegation.parent.as_ref();
        next = parent.and_then(|parent| state.kept.delegations.get(parent));
    }
    found
}

/// Forgets the oldest of those that have ended.
fn forget_ended(state: &mut State) {
    let ended = state.kept.delegations.values().filter(|delegation| delegation.status.is_over());
    let ended = ended.map(|one| (one.created_at, one.id.clone(), size_of(one))).collect();
    for id in oldest_beyond(ended, MAX_ENDED, MAX_ENDED_BYTES) {
        state.kept.delegations.remove(&id);
    }
}

fn size_of(delegation: &DelegationInfo) -> usize {
    delegation.task.len() + delegation.result.as_ref().map_or(0, String::len)
}
