//! Agents in sandboxes of E2B. A sandbox holds the agent's files and its
//! conversation: it is paused where a local relay is ended, and left running
//! when the hub ends.

use std::sync::Arc;
use std::time::Duration;

use claude_relay_client::e2b::{
    E2b, Error, NewSandbox, Options, PoolOptions, SandboxId, SandboxPool,
};
use claude_relay_client::{Client, ConnectError, SandboxError};

use super::{AgentError, End, connect, tools};
use crate::hub::Hub;
use crate::hub::state::Agent;

/// The name that marks the sandboxes of hubs.
const POOL: &str = "claude-relay-hub";

/// Time that a sandbox lives without the hub.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Time at the end of the hub for what was being made: an answer that was lost is
/// looked after for half a minute.
const CLEANUP: Duration = Duration::from_secs(40);

/// Number of sandboxes that are started at once.
const MAX_STARTING: usize = 4;

/// The account, and the sandboxes that the hub may have running.
#[derive(Debug, Clone)]
pub struct Sandboxes {
    e2b: E2b,
    pool: SandboxPool,
}

impl Sandboxes {
    /// Opens the account of the environment, for at most `max_size` sandboxes of
    /// a template.
    ///
    /// # Errors
    ///
    /// There is no key, or it is malformed.
    pub fn open(template: &str, max_size: usize) -> Result<Self, Error> {
        let e2b = E2b::new(Options::default().resolve()?)?;
        let mut new = NewSandbox::new(template);
        new.timeout = LIFETIME;
        let options =
            PoolOptions { name: POOL.into(), new, max_size, warm: 0, starting: MAX_STARTING };
        let pool = SandboxPool::open(e2b.clone(), options)?;
        Ok(Self { e2b, pool })
    }

    /// Waits until sandboxes that were being made when their agents were stopped are
    /// ended.
    pub(crate) async fn wait_for_cleanup(&self) {
        if !self.e2b.wait_for_cleanup(CLEANUP).await {
            let ids: Vec<_> = self.e2b.unended().iter().map(ToString::to_string).collect();
            tracing::warn!(sandboxes = ?ids, "a sandbox may be left: see `claude-relay e2b ls`");
        }
    }

    /// Kills the sandbox of an agent that was removed.
    pub(crate) async fn kill(&self, sandbox: &str) {
        let Ok(id) = sandbox.parse::<SandboxId>() else { return };
        if let Err(error) = self.e2b.kill(&id).await {
            tracing::warn!("a sandbox cannot be killed, and ends with its time: {error}");
        }
    }
}

/// Connects to the sandbox of an agent, or to a fresh one.
pub(super) async fn connect(hub: &Arc<Hub>, agent: &Agent) -> Result<Client, AgentError> {
    let sandboxes = hub.sandboxes.as_ref().ok_or(AgentError::NoSandboxes)?;
    if let Some(sandbox) = &agent.sandbox {
        let builder =
            Client::attach(sandbox).e2b(sandboxes.e2b.clone()).environment(false).from_now();
        match tools::add(builder, hub, &agent.id).start().await {
            Err(error) if is_gone(&error) => {
                let text = "the sandbox is gone, and its files and its conversation with it";
                hub.on_error(&agent.id, text.into());
                hub.on_sandbox(&agent.id, None);
            }
            connected => return Ok(connected?),
        }
    }
    let lease = sandboxes.pool.take().await.map_err(SandboxError::from);
    let lease = lease.map_err(ConnectError::from)?;
    // Its conversation would be in another sandbox.
    let fresh = Agent { session_id: None, ..agent.clone() };
    let builder = Client::builder().configuration(connect::configuration(&fresh));
    let client = tools::add(builder, hub, &agent.id).start_in(lease).await?;
    let sandbox = client.sandbox().map(|sandbox| sandbox.id().to_string());
    hub.on_sandbox(&agent.id, sandbox);
    hub.when_saved().await;
    Ok(client)
}

/// Leaves the sandbox as the end of the connection says.
pub(super) async fn leave(hub: &Hub, id: &str, client: &Client, ended: &Result<End, AgentError>) {
    let is_kept = {
        let state = hub.state();
        let agent = state.kept.agents.get(id);
        agent.is_some_and(|agent| agent.sandbox.is_some())
    };
    let left = match ended {
        _ if !is_kept => client.kill().await,
        Ok(End::Idle) => client.pause().await.map(drop),
        _ => client.detach().await.map(drop),
    };
    if let Err(error) = left {
        tracing::warn!(agent = id, "a sandbox was not left in order: {error}");
    }
}

fn is_gone(error: &ConnectError) -> bool {
    match error {
        ConnectError::Sandbox(SandboxError::Expired { .. }) => true,
        ConnectError::Sandbox(SandboxError::Api(error)) => {
            matches!(**error, Error::NotFound(_) | Error::SandboxGone { .. })
        }
        _ => false,
    }
}
