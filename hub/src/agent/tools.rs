//! The tools by which an agent reaches others. They run in the hub and come
//! through the agent's own relay: there is no token that an agent could use for
//! anything else.

use std::sync::Arc;

use claude_relay_client::ClientBuilder;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::hub::{CommandError, Hub};
use crate::wire::{NewDelegation, WantedAgent};

/// The names under which an agent knows the tools.
pub(super) const NAMES: [&str; 4] =
    ["mcp__host__delegate", "mcp__host__ask_agent", "mcp__host__spawn", "mcp__host__report"];

/// A task for another agent.
#[derive(Debug, Deserialize, JsonSchema)]
struct Task {
    /// The role or name of an agent of this workspace.
    role: String,
    /// The task, with all that the other one must know.
    task: String,
}

impl From<Task> for NewDelegation {
    fn from(Task { role, task }: Task) -> Self {
        Self { role, task }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Wanted {
    /// The agents.
    agents: Vec<WantedAgent>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Report {
    /// The result, whole.
    result: String,
}

/// Gives the tools to an agent.
pub(super) fn add(builder: ClientBuilder, hub: &Arc<Hub>, id: &str) -> ClientBuilder {
    let own = |hub: &Arc<Hub>| (Arc::clone(hub), Arc::<str>::from(id));
    let (for_delegate, for_ask) = (own(hub), own(hub));
    let (for_spawn, for_report) = (own(hub), own(hub));
    builder
        .tool(
            "delegate",
            "Gives a task to another agent of this workspace and returns at once. The result comes as a message.",
            move |task: Task| {
                let (hub, id) = for_delegate.clone();
                async move {
                    let delegation = hub.delegate(&id, &task.into())?;
                    hub.when_saved().await;
                    Ok::<_, CommandError>(format!(
                        "{} was given to {}; its result will come as a message.",
                        delegation.id, delegation.to_role
                    ))
                }
            },
        )
        .tool(
            "ask_agent",
            "Gives a task to another agent of this workspace and waits for its answer.",
            move |task: Task| {
                let (hub, id) = for_ask.clone();
                async move { hub.ask_agent(&id, &task.into()).await }
            },
        )
        .tool(
            "spawn",
            "Asks for more agents in this workspace. A person decides.",
            move |wanted: Wanted| {
                let (hub, id) = for_spawn.clone();
                async move {
                    let told = hub.request_spawn(&id, wanted.agents)?;
                    hub.when_saved().await;
                    Ok::<_, CommandError>(told)
                }
            },
        )
        .tool(
            "report",
            "Sets the result of the task that was delegated to you. Without it your last text is the result.",
            move |report: Report| {
                let (hub, id) = for_report.clone();
                async move {
                    hub.report(&id, report.result)?;
                    Ok::<_, CommandError>("noted".to_owned())
                }
            },
        )
}
