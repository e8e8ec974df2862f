//! Start of a conversation: `initialize`, the configuration if needed, and the
//! thread that is started or resumed.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;
use claude_relay_protocol::json::{fields, string};
use serde_json::{Value, json};

use super::confine::Skills;
use super::requests::{Outcome, Request, Requests};
use super::{Codex, Phase, confine, requests};
use crate::agent::protocol::{ProtocolAction, Route, TurnEvent};

/// Returns the first line of a run.
pub(super) fn initialize(requests: &mut Requests, now: Instant) -> Bytes {
    let params = json!({
        "clientInfo": {
            "name": "claude-relay",
            "title": "claude-relay",
            "version": env!("CARGO_PKG_VERSION"),
        },
        // Needed for `excludeTurns` and `thread/backgroundTerminals/clean`.
        "capabilities": { "experimentalApi": true },
    });
    requests.make(Request::Initialize, "initialize", &params, now)
}

impl Codex {
    /// Handles the response to `initialize`.
    pub(super) fn initialized(&mut self, outcome: Outcome<'_>, now: Instant) {
        if let Err(error) = outcome {
            return self.broken(format!("it refused the first request: {error}"));
        }
        self.actions.push_back(ProtocolAction::Write(requests::notification("initialized")));
        if self.setup.mode.asks_nobody() {
            self.read_config(now);
        } else {
            self.begin(self.setup.resume.clone(), now);
        }
    }

    /// Reads the MCP servers of Codex's own configuration, because they can
    /// only be disabled by name.
    fn read_config(&mut self, now: Instant) {
        // The directory may have a configuration of its own.
        let params = json!({ "cwd": self.setup.thread.get("cwd"), "includeLayers": false });
        let line = self.requests.make(Request::ReadConfig, "config/read", &params, now);
        self.actions.push_back(ProtocolAction::Write(line));
    }

    /// Handles the response to `config/read`.
    pub(super) fn config_read(&mut self, outcome: Outcome<'_>, now: Instant) {
        let result = match outcome {
            Ok(result) => result,
            // Without the names of the servers, they cannot be disabled.
            Err(error) => {
                return self.broken(format!("it did not return its configuration: {error}"));
            }
        };
        match confine::without_servers(&result) {
            Some(servers) => {
                let overrides = self.setup.thread.entry("config").or_insert_with(|| json!({}));
                overrides["mcp_servers"] = servers.into();
                self.begin(self.setup.resume.clone(), now);
            }
            None => self.broken("it returned an invalid configuration".into()),
        }
    }

    /// Begins a conversation, or goes on with the thread of this id. Skills
    /// load in an untrusted workspace, too, and are switched off first.
    pub(super) fn begin(&mut self, resume: Option<String>, now: Instant) {
        if self.setup.skills == Skills::All {
            return self.open(resume, now);
        }
        let cwd = self.setup.thread.get("cwd");
        let params = json!({ "cwds": cwd.into_iter().collect::<Vec<_>>(), "forceReload": true });
        let request = Request::ListSkills { resume };
        let line = self.requests.make(request, "skills/list", &params, now);
        self.actions.push_back(ProtocolAction::Write(line));
    }

    /// Handles the response to `skills/list`.
    pub(super) fn skills_listed(
        &mut self,
        outcome: Outcome<'_>,
        resume: Option<String>,
        now: Instant,
    ) {
        let result = match outcome {
            Ok(result) => result,
            // Without their paths, they cannot be disabled.
            Err(error) => return self.broken(format!("it did not list its skills: {error}")),
        };
        match confine::without_skills(&result, self.setup.skills) {
            Some(skills) => {
                let overrides = self.setup.thread.entry("config").or_insert_with(|| json!({}));
                overrides["skills.config"] = skills;
                self.open(resume, now);
            }
            None => self.broken("it returned an invalid list of skills".into()),
        }
    }

    /// Starts a thread, or resumes the one with this id.
    fn open(&mut self, resume: Option<String>, now: Instant) {
        let mut params = self.setup.opening();
        let method = match &resume {
            None => {
                if self.setup.is_ephemeral {
                    params.insert("ephemeral".into(), json!(true));
                }
                "thread/start"
            }
            Some(id) => {
                params.insert("threadId".into(), json!(id));
                // Otherwise the response would hold the whole history in one
                // line.
                params.insert("excludeTurns".into(), json!(true));
                "thread/resume"
            }
        };
        let line = self.requests.make(Request::Open { resume }, method, &params.into(), now);
        self.actions.push_back(ProtocolAction::Write(line));
    }

    /// Handles the response to `thread/start` and `thread/resume`.
    pub(super) fn opened<'a>(
        &mut self,
        outcome: Outcome<'_>,
        resumed: Option<String>,
        now: Instant,
    ) -> Route<'a> {
        let result = match (outcome, &resumed) {
            (Ok(result), _) => result,
            (Err(reason), Some(id)) if is_unknown_thread(&reason) => {
                let session = id.clone();
                self.actions.push_back(ProtocolAction::UnknownSession { session, reason });
                return Route::Hidden(TurnEvent::None);
            }
            (Err(error), _) => {
                self.broken(format!("it could not open the conversation: {error}"));
                return Route::Hidden(TurnEvent::None);
            }
        };
        let names = ["thread", "approvalPolicy", "sandbox"];
        let [thread, approval, sandbox] = fields(result.get(), names).unwrap_or_default();
        let found = thread.and_then(|thread| fields(thread.get(), ["id", "status"]).ok());
        let Some([Some(id), status]) = found else {
            self.broken("it opened a conversation without an id".into());
            return Route::Hidden(TurnEvent::None);
        };
        if let Some(old) = &resumed
            && !self.setup.has_policy(approval, sandbox)
        {
            // Another client has the thread open with its own policy, and
            // parameters that are only read on opening had no effect.
            if self.setup.mode.asks_nobody() {
                self.actions.push_back(ProtocolAction::Inform(format!(
                    "The session {old} is open elsewhere with other rights than those of this server; a new one is started."
                )));
                self.open(None, now);
                return Route::Hidden(TurnEvent::None);
            }
            self.next_turn.extend(self.setup.policy_params());
        } else if resumed.is_none()
            && self.setup.mode.asks_nobody()
            && !self.setup.has_policy(approval, sandbox)
        {
            self.broken("it opened a conversation with other rights than those asked for".into());
            return Route::Hidden(TurnEvent::None);
        }
        self.thread = string(id).map(Cow::into_owned);
        let is_active = status
            .and_then(|status| fields(status.get(), ["type"]).ok()?[0])
            .and_then(string)
            .is_some_and(|kind| kind == "active");
        if !is_active {
            self.enter_idle(now);
            return Route::Ready { offers: Value::Null };
        }
        // The turn went on without a connection.
        self.phase = Phase::Turn;
        Route::Hidden(TurnEvent::TurnStarted(self.thread.clone().map(Cow::Owned)))
    }
}

/// Returns true if the app-server does not know the thread, so that a retry
/// would fail too.
fn is_unknown_thread(error: &str) -> bool {
    ["no rollout found", "invalid session id", "thread not found"]
        .iter()
        .any(|text| error.contains(text))
}
