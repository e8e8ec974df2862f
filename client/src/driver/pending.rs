//! Open requests between the program and the server: control requests without
//! an answer, permission requests without a decision.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinSet};

use super::channels::{Outgoing, Purpose};
use crate::error::SendError;
use crate::types::message::ServerMessage;
use crate::types::permission::{Decision, Handler, PermissionRequest};
use crate::types::raw_json::RawJson;

/// The number of permission requests that may be open at once. The agent asks
/// for a handful; one over the limit is denied, and told why.
const MAX_OPEN_PERMISSIONS: usize = 256;

#[derive(Default)]
pub(super) struct PendingRequests {
    controls: HashMap<String, oneshot::Sender<Result<RawJson, SendError>>>,
    /// Open requests, each with the handler's task, if one decides.
    permissions: HashMap<String, Option<AbortHandle>>,
    handler: Option<Handler>,
    handlers: JoinSet<Decision>,
    /// The permission request of each running task.
    requests: HashMap<Id, String>,
    /// Decisions of handlers that are not written yet.
    decisions: VecDeque<Outgoing>,
}

impl PendingRequests {
    pub(super) fn new(handler: Option<Handler>) -> Self {
        Self { handler, ..Self::default() }
    }

    /// A control request was written.
    pub(super) fn control_sent(
        &mut self,
        id: String,
        answer: oneshot::Sender<Result<RawJson, SendError>>,
    ) {
        // A caller that stopped waiting left its entry behind.
        self.controls.retain(|_, answer| !answer.is_closed());
        self.controls.insert(id, answer);
    }

    /// The answer to a control request has come.
    pub(super) fn control_answered(&mut self, id: &str, response: RawJson) {
        if let Some(answer) = self.controls.remove(id) {
            // A caller that stopped waiting needs no answer, here and below.
            let _ = answer.send(Ok(response));
        }
    }

    /// Answers that were on their way will not be read.
    pub(super) fn fail_controls(&mut self, error: &SendError) {
        for (_, answer) in self.controls.drain() {
            let _ = answer.send(Err(error.clone()));
        }
    }

    /// Returns true while a caller waits for the answer to a control request.
    pub(super) fn is_waiting(&self) -> bool {
        self.controls.values().any(|answer| !answer.is_closed())
    }

    /// A request has come. Returns false for one that is open already.
    pub(super) fn requested(&mut self, message: &ServerMessage) -> bool {
        match message {
            ServerMessage::PermissionRequest(request) => self.permission_requested(request),
            ServerMessage::AgentRequest(request) => {
                let is_new = !self.permissions.contains_key(&request.id);
                self.permissions.entry(request.id.clone()).or_default();
                is_new
            }
            _ => true,
        }
    }

    /// A permission request has come. Returns false for one that is open
    /// already. Starts the handler on it.
    fn permission_requested(&mut self, request: &PermissionRequest) -> bool {
        if self.permissions.contains_key(&request.id) {
            return false;
        }
        if self.permissions.len() >= MAX_OPEN_PERMISSIONS {
            self.permissions.insert(request.id.clone(), None);
            let denied = Decision::deny("too many requests are open at once");
            self.decided(request.id.clone(), &denied);
            return true;
        }
        let task = self.handler.as_ref().map(|handler| {
            let (handler, asked) = (Arc::clone(handler), request.clone());
            let task = self.handlers.spawn(async move { handler(asked).await });
            self.requests.insert(task.id(), request.id.clone());
            task
        });
        self.permissions.insert(request.id.clone(), task);
        true
    }

    /// Waits for a handler and queues its decision. One that panics denies.
    /// Cancelling it loses nothing.
    pub(super) async fn decide(&mut self) {
        let (id, decision) = match self.handlers.join_next_with_id().await {
            Some(Ok((task, decision))) => (self.requests.remove(&task), decision),
            Some(Err(error)) => (
                self.requests.remove(&error.id()),
                Decision::deny("the program that decides failed"),
            ),
            None => return std::future::pending().await,
        };
        // A request that was closed meanwhile is not here any more.
        if let Some(id) = id {
            self.decided(id, &decision);
        }
    }

    fn decided(&mut self, id: String, decision: &Decision) {
        let Ok(text) = decision.frame(&id) else {
            self.permission_closed(&id);
            return;
        };
        let purpose = Purpose::Decision { request_id: id, receipt: None };
        self.decisions.push_back(Outgoing { text, purpose });
    }

    /// The next decision to write.
    pub(super) fn next_decision(&mut self) -> Option<Outgoing> {
        self.decisions.pop_front()
    }

    /// Returns true while so many decisions wait that nothing more is to be
    /// read from the server.
    pub(super) fn is_full(&self) -> bool {
        self.decisions.len() >= MAX_OPEN_PERMISSIONS
    }

    /// A permission request was answered or withdrawn. Ends its handler.
    pub(super) fn permission_closed(&mut self, id: &str) {
        if let Some(Some(task)) = self.permissions.remove(id) {
            self.requests.remove(&task.id());
            task.abort();
        }
    }

    /// The server was restarted: its permission requests are void.
    pub(super) fn restarted(&mut self) {
        self.permissions.clear();
        self.requests.clear();
        self.handlers.abort_all();
        self.decisions.clear();
    }

    /// There will be no other connection.
    pub(super) fn finish(&mut self, error: &SendError) {
        self.fail_controls(error);
        self.restarted();
    }
}
