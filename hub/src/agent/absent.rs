//! A hub that was built without sandboxes.

use std::future::Ready;
use std::sync::Arc;

use claude_relay_client::Client;

use super::{AgentError, End};
use crate::hub::Hub;
use crate::hub::state::Agent;

/// Sandboxes, of which there are none.
#[derive(Debug, Clone)]
pub enum Sandboxes {}

impl Sandboxes {
    /// Does nothing: there is none.
    pub(crate) fn wait_for_cleanup(&self) -> Ready<()> {
        match *self {}
    }

    /// Does nothing: there is none.
    pub(crate) fn kill(&self, _sandbox: &str) -> Ready<()> {
        match *self {}
    }
}

/// Fails: there is none.
pub(super) async fn connect(hub: &Arc<Hub>, _agent: &Agent) -> Result<Client, AgentError> {
    match hub.sandboxes {
        Some(ref sandboxes) => match *sandboxes {},
        None => Err(AgentError::NoSandboxes),
    }
}

/// Does nothing: there is none.
pub(super) async fn leave(
    _hub: &Hub,
    _id: &str,
    _client: &Client,
    _ended: &Result<End, AgentError>,
) {
}
