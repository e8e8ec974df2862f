//! Open requests between the program and the server: control requests without
//! an answer, permission requests without a decision.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinSet};

use super::channels::{Outgoing, Purpose};
use crate::error::SendError;
use crate::types::agent_request::{AgentAnswer, AgentRequest};
use crate::types::callbacks::Callbacks;
use crate::types::message::ServerMessage;
use crate::types::permission::{Decision, Handler, PermissionRequest};
use crate::types::raw_json::RawJson;

/// The number of permission requests that may be open at once. The agent asks
/// for a handful; one over the limit is denied, and told why.
const MAX_OPEN_PERMISSIONS: usize = 256;

/// The most bytes of answers that are kept for a server that asks again.
const MAX_ANSWERED_BYTES: usize = 16 << 20;

#[derive(Default)]
pub(super) struct PendingRequests {
    controls: HashMap<String, oneshot::Sender<Result<RawJson, SendError>>>,
    /// Open requests, each with the handler's task, if one decides.
    permissions: HashMap<String, Option<AbortHandle>>,
    handler: Option<Handler>,
    callbacks: Callbacks,
    handlers: JoinSet<Reply>,
    /// The request of each running task.
    requests: HashMap<Id, String>,
    /// Those of them that are for tools and hooks.
    calls: HashSet<String>,
    /// Decisions of handlers that are not written yet.
    decisions: VecDeque<Outgoing>,
    /// Answers of tools and hooks, to be sent again after a break: nothing runs
    /// twice.
    answered: VecDeque<(String, String)>,
    answered_bytes: usize,
}

/// What a task has found.
enum Reply {
    Decision(Decision),
    Answer(AgentAnswer),
}

impl PendingRequests {
    pub(super) fn new(handler: Option<Handler>, callbacks: Callbacks) -> Self {
        Self { handler, callbacks, ..Self::default() }
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
            ServerMessage::AgentRequest(request) if self.call(request) => false,
            ServerMessage::AgentRequest(request) => {
                let is_new = !self.permissions.contains_key(&request.id);
                self.permissions.entry(request.id.clone()).or_default();
                is_new
            }
            _ => true,
        }
    }

    /// Runs a tool or hook of the program. Returns false for a request that is
    /// for none of them.
    fn call(&mut self, request: &AgentRequest) -> bool {
        if self.permissions.contains_key(&request.id) {
            return self.is_run(&request.id);
        }
        if self.answer_again(&request.id) {
            return true;
        }
        let Some(answer) = self.callbacks.answer(request) else { return false };
        let task = match self.permissions.len() < MAX_OPEN_PERMISSIONS {
            true => self.handlers.spawn(async move { Reply::Answer(answer.await) }),
            false => self.handlers.spawn(async {
                Reply::Answer(AgentAnswer::Error("too many requests are open at once".into()))
            }),
        };
        self.requests.insert(task.id(), request.id.clone());
        self.calls.insert(request.id.clone());
        self.permissions.insert(request.id.clone(), Some(task));
        true
    }

    /// The connection broke before the server had certainly read the answer.
    pub(super) fn unconfirmed(&mut self, id: &str) {
        self.permission_closed(id);
        self.answer_again(id);
    }

    /// Queues the answer of a tool or hook that has run. Returns false if none
    /// has.
    fn answer_again(&mut self, id: &str) -> bool {
        let found = self.answered.iter().find(|(answered, _)| answered == id);
        let Some((id, text)) = found.cloned() else { return false };
        self.queue(id, text);
        true
    }

    /// Returns true if a task answers the request.
    fn is_run(&self, id: &str) -> bool {
        self.calls.contains(id)
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
            let task = self.handlers.spawn(async move { Reply::Decision(handler(asked).await) });
            self.requests.insert(task.id(), request.id.clone());
            task
        });
        self.permissions.insert(request.id.clone(), task);
        true
    }

    /// Waits for a handler and queues its decision. One that panics denies.
    /// Cancelling it loses nothing.
    pub(super) async fn decide(&mut self) {
        let (id, reply) = match self.handlers.join_next_with_id().await {
            Some(Ok((task, reply))) => (self.requests.remove(&task), Some(reply)),
            Some(Err(error)) => (self.requests.remove(&error.id()), None),
            None => return std::future::pending().await,
        };
        // A request that was closed meanwhile is not here any more.
        let Some(id) = id else { return };
        match reply {
            Some(Reply::Decision(decision)) => self.decided(id, &decision),
            Some(Reply::Answer(answer)) => self.ran(id, &answer),
            None => self.failed(id),
        }
    }

    /// The task for a request has panicked.
    fn failed(&mut self, id: String) {
        match self.calls.contains(&id) {
            true => self.ran(id, &AgentAnswer::Error("the program that answers failed".into())),
            false => self.decided(id, &Decision::deny("the program that decides failed")),
        }
    }

    fn decided(&mut self, id: String, decision: &Decision) {
        match decision.frame(&id) {
            Ok(text) => self.queue(id, text),
            Err(_) => self.permission_closed(&id),
        }
    }

    /// A tool or hook of the program has run.
    fn ran(&mut self, id: String, answer: &AgentAnswer) {
        // What is written by this program is JSON.
        let Ok(text) = answer.frame(&id) else { return self.permission_closed(&id) };
        self.answered_bytes += text.len();
        self.answered.push_back((id.clone(), text.clone()));
        while self.answered.len() > MAX_OPEN_PERMISSIONS
            || (self.answered_bytes > MAX_ANSWERED_BYTES && self.answered.len() > 1)
        {
            if let Some((_, text)) = self.answered.pop_front() {
                self.answered_bytes -= text.len();
            }
        }
        self.queue(id, text);
    }

    fn queue(&mut self, id: String, text: String) {
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
        self.calls.remove(id);
        if let Some(Some(task)) = self.permissions.remove(id) {
            self.requests.remove(&task.id());
            task.abort();
        }
    }

    /// The server was restarted: its permission requests are void.
    pub(super) fn restarted(&mut self) {
        self.permissions.clear();
        self.requests.clear();
        self.calls.clear();
        self.answered.clear();
        self.answered_bytes = 0;
        self.handlers.abort_all();
        self.decisions.clear();
    }

    /// There will be no other connection.
    pub(super) fn finish(&mut self, error: &SendError) {
        self.fail_controls(error);
        self.restarted();
    }
}
