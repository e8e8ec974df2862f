//! Workspaces.

use std::sync::Arc;

use super::state::{State, new_id, now};
use super::{CommandError, Hub};
use crate::wire::{Event, NewWorkspace, WorkspaceInfo};

/// Maximum number of workspaces.
const MAX_WORKSPACES: usize = 1024;

/// Maximum size of a name.
pub(super) const MAX_NAME_BYTES: usize = 200;

/// Checks a name, of whatever.
pub(super) fn check_name(kind: &str, name: &str) -> Result<(), CommandError> {
    if name.trim().is_empty() || name.len() > MAX_NAME_BYTES || name.contains(char::is_control) {
        let message = format!("{kind}: expected 1 to {MAX_NAME_BYTES} bytes in one line");
        return Err(CommandError::Invalid(message));
    }
    Ok(())
}

impl Hub {
    pub(super) fn workspaces(&self) -> Vec<WorkspaceInfo> {
        self.state().kept.workspaces.values().cloned().collect()
    }

    pub(crate) fn workspace(&self, id: &str) -> Result<WorkspaceInfo, CommandError> {
        let state = self.state();
        let found = state.kept.workspaces.get(id).cloned();
        found.ok_or_else(|| CommandError::not_found("workspace", id))
    }

    pub(super) fn create_workspace(
        &self,
        new: NewWorkspace,
    ) -> Result<WorkspaceInfo, CommandError> {
        check_name("name", &new.name)?;
        let workspace = WorkspaceInfo { id: new_id("ws"), name: new.name, created_at: now() };
        let directory = self.workspace_directory(&workspace.id);
        std::fs::create_dir_all(&directory).map_err(|error| {
            CommandError::Unavailable(format!("the directory cannot be created: {error}"))
        })?;
        let mut state = self.state();
        if state.kept.workspaces.len() >= MAX_WORKSPACES {
            return Err(CommandError::Limit(format!("there are {MAX_WORKSPACES} workspaces")));
        }
        state.kept.workspaces.insert(workspace.id.clone(), workspace.clone());
        self.on_change(&mut state);
        let workspace_id = workspace.id.clone();
        let event = Event::WorkspaceCreated { workspace_id, workspace: workspace.clone() };
        self.tell(&workspace.id, &event);
        Ok(workspace)
    }

    pub(super) fn reset_workspace(self: &Arc<Self>, id: &str) -> Result<(), CommandError> {
        let mut state = self.state();
        let agents = agents_of(&state, id)?;
        for agent in &agents {
            self.cancel_work(&mut state, agent, "the workspace was reset");
            let live = state.live.get_mut(agent);
            let mut log = live.map(|live| std::mem::take(&mut live.log)).unwrap_or_default();
            self.take_down(&mut state, agent);
            self.kill_sandbox(&mut state, agent);
            if let Some(agent) = state.kept.agents.get_mut(agent) {
                agent.session_id = None;
            }
            log.clear();
            self.bring_up(&mut state, agent, log);
        }
        self.on_change(&mut state);
        self.tell(id, &Event::WorkspaceReset { workspace_id: id.to_owned() });
        Ok(())
    }

    pub(super) fn remove_workspace(self: &Arc<Self>, id: &str) -> Result<(), CommandError> {
        let mut state = self.state();
        for agent in agents_of(&state, id)? {
            self.remove(&mut state, &agent);
        }
        state.kept.workspaces.remove(id);
        state.kept.delegations.retain(|_, delegation| delegation.workspace_id != id);
        state.kept.spawns.retain(|_, request| request.workspace_id != id);
        self.on_change(&mut state);
        self.tell(id, &Event::WorkspaceRemoved { workspace_id: id.to_owned() });
        Ok(())
    }
}

/// The ids of the agents of a workspace.
fn agents_of(state: &State, workspace: &str) -> Result<Vec<String>, CommandError> {
    if !state.kept.workspaces.contains_key(workspace) {
        return Err(CommandError::not_found("workspace", workspace));
    }
    let agents = state.kept.agents.values().filter(|agent| agent.workspace_id == workspace);
    Ok(agents.map(|agent| agent.id.clone()).collect())
}
