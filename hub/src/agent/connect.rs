//! The connection to an agent's relay, wherever that runs.

use std::sync::Arc;

use claude_relay_client::{Client, Configuration};
use serde_json::{Value, json};

use super::relay::Relay;
use super::{AgentError, End, sandbox, tools};
use crate::hub::Hub;
use crate::hub::state::Agent;
use crate::wire::Engine;

/// The place where an agent's relay runs.
#[derive(Debug)]
pub(super) enum Host {
    /// A process of the hub.
    Local(Box<Relay>),
    /// A sandbox.
    Sandbox,
}

impl Host {
    /// Waits until the relay has ended by itself, and says how.
    pub(super) async fn ended(&mut self) -> String {
        match self {
            Self::Local(relay) => match relay.ended().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            },
            // The connection tells of its end.
            Self::Sandbox => std::future::pending().await,
        }
    }

    /// Ends the connection, and the relay in order.
    pub(super) async fn end(
        self,
        hub: &Hub,
        id: &str,
        client: &Client,
        ended: &Result<End, AgentError>,
    ) {
        match self {
            Self::Local(relay) => {
                client.stop().await;
                relay.end().await;
            }
            Self::Sandbox => sandbox::leave(hub, id, client, ended).await,
        }
    }
}

/// Starts the relay of an agent and connects to it; `None` if the agent was
/// removed.
pub(super) async fn connect(
    hub: &Arc<Hub>,
    id: &str,
) -> Result<Option<(Client, Host)>, AgentError> {
    let _permit = hub.starting.acquire().await;
    let agent = hub.state().kept.agents.get(id).cloned();
    let Some(agent) = agent else { return Ok(None) };
    if agent.engine == Engine::E2b {
        return Ok(Some((sandbox::connect(hub, &agent).await?, Host::Sandbox)));
    }
    let workspace = hub.workspace_directory(&agent.workspace_id);
    let log = hub.store.relay_log(id);
    let relay = Relay::start(&hub.settings, &workspace, &agent.directory, &log).await?;
    let builder = Client::builder()
        .connection_url(&relay.url)
        .token(relay.token.clone())
        .environment(false)
        .configuration(configuration(&agent))
        .from_beginning();
    let client = tools::add(builder, hub, id).start().await?;
    Ok(Some((client, Host::Local(Box::new(relay)))))
}

/// What the relay is told of an agent.
pub(super) fn configuration(agent: &Agent) -> Configuration {
    let mut other = agent.config.clone();
    // The tools of the hub ask the hub, and need no permission beside that.
    let allowed = other.entry("allowedTools").or_insert_with(|| json!([]));
    if let Value::Array(allowed) = allowed {
        allowed.extend(tools::NAMES.map(Value::from));
    }
    Configuration { resume: agent.session_id.clone(), other, ..Configuration::default() }
}
