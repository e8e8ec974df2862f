//! Control requests of the client, as far as Codex has equivalents.

use std::time::Instant;

use claude_relay_protocol::config::PermissionMode;
use claude_relay_protocol::json::{fields, string};
use serde_json::json;
use serde_json::value::RawValue;

use super::policy::policy;
use super::{Codex, Phase};
use crate::agent::protocol::{ControlOutcome, ProtocolAction};

impl Codex {
    /// Implements [`crate::agent::Dialect::control_request`].
    pub fn control_request(&mut self, id: &str, request: &str, now: Instant) -> ControlOutcome {
        let done = match self.control(request, now) {
            Ok(()) => json!({ "subtype": "success", "request_id": id, "response": {} }),
            Err(error) => json!({ "subtype": "error", "request_id": id, "error": error }),
        };
        ControlOutcome::Answered(RawValue::from_string(done.to_string()).unwrap_or_default())
    }

    fn control(&mut self, request: &str, now: Instant) -> Result<(), String> {
        let [subtype, model, mode] = fields(request, ["subtype", "model", "mode"])
            .map_err(|error| format!("the request cannot be read: {error}"))?;
        match subtype.and_then(string).as_deref() {
            Some("interrupt") => {
                let line = self.interrupt(now);
                self.actions.extend(line.map(ProtocolAction::Write));
                Ok(())
            }
            Some("set_model") => {
                let model = model
                    .and_then(string)
                    .ok_or("model: expected a name; Codex cannot go back to its default")?;
                self.next_turn.insert("model".into(), json!(model));
                // A new conversation uses it too.
                self.setup.thread.insert("model".into(), json!(model));
                Ok(())
            }
            Some("set_permission_mode") => {
                let mode = mode.and_then(string);
                let mode = mode
                    .and_then(|mode| PermissionMode::from_name(&mode))
                    .ok_or("mode: expected a permission mode")?;
                self.setup.policy = policy(self.setup.mode, Some(mode));
                self.next_turn.extend(self.setup.policy_params());
                Ok(())
            }
            // An extension of the SDK's protocol: Claude Code has the message
            // `/clear` for it, which Codex would treat as text.
            Some("new_conversation") => {
                self.new_conversation = true;
                match self.phase {
                    Phase::Idle => self.enter_idle(now),
                    Phase::TurnRequested { .. } | Phase::Turn => {
                        let line = self.interrupt(now);
                        self.actions.extend(line.map(ProtocolAction::Write));
                    }
                    // It follows.
                    Phase::Opening | Phase::CleanUp => {}
                }
                Ok(())
            }
            other => Err(format!("Codex has no equivalent of {}", other.unwrap_or_default())),
        }
    }
}
