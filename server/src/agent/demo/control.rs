//! Responses to the host's control requests, in the format of CLI 2.1.329.

use serde_json::{Value, json};

use super::input::Control;
use super::{Agent, Stop, lines};

/// Permission modes of the CLI.
const MODES: [&str; 6] = ["acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "plan"];

/// An error response: its text and its code.
struct Refusal(String, Option<&'static str>);

impl Agent {
    /// Answers a control request at once, even during a turn.
    pub(super) fn control(&mut self, control: Control) -> Result<(), Stop> {
        if control.subtype == "interrupt" {
            return self.interrupt(&control);
        }
        let answer = self.answer(&control);
        let changed_model = control.subtype == "set_model" && self.results > 0;
        if changed_model {
            self.line(lines::model_changed)?;
        }
        let changed_mode = control.subtype == "set_permission_mode" && answer.is_ok();
        self.respond(&control, answer)?;
        if changed_mode {
            self.line(lines::mode_changed)?;
        }
        Ok(())
    }

    fn interrupt(&mut self, control: &Control) -> Result<(), Stop> {
        // An open permission request is cancelled before the response.
        if let Some(turn) = &mut self.turn {
            turn.interrupted = true;
            if let Some(asked) = turn.asked.take() {
                self.out.line(&json!({"type": "control_cancel_request", "request_id": asked}))?;
            }
        }
        let mut answer = json!({});
        if control.body["cancel_queued"] == true {
            let mut cancelled = Vec::new();
            for message in std::mem::take(&mut self.queue) {
                self.inbox.release(message.bytes);
                if let Some(uuid) = message.uuid {
                    self.lifecycle(&uuid, "cancelled")?;
                    cancelled.push(uuid);
                }
            }
            answer["still_queued"] = json!([]);
            answer["cancelled"] = json!(cancelled);
        } else {
            let queued: Vec<_> =
                self.queue.iter().filter_map(|message| message.uuid.as_ref()).collect();
            answer["still_queued"] = json!(queued);
        }
        self.respond(control, Ok(Some(answer)))
    }

    /// Returns the response to a request other than `interrupt`; `None` is a
    /// success without a `response`.
    fn answer(&mut self, control: &Control) -> Result<Option<Value>, Refusal> {
        let body = &control.body;
        Ok(Some(match control.subtype.as_str() {
            "initialize" => lines::initialize(&self.facts(), self.turn.is_some()),
            "set_model" => {
                let model = body["model"].as_str().unwrap_or(&self.options.model);
                self.model = model.to_owned();
                json!({"model": self.model})
            }
            "set_permission_mode" => {
                let mode = body["mode"].as_str().unwrap_or_default();
                if !MODES.contains(&mode) {
                    let known = MODES.join(", ");
                    let text = format!("Cannot set permission mode: must be one of {known}");
                    return Err(Refusal(text, Some("invalid_mode")));
                }
                if mode == "bypassPermissions" && !self.options.may_bypass {
                    return Err(Refusal(
                        "Cannot set permission mode to bypassPermissions because the session was not launched with --dangerously-skip-permissions".to_owned(),
                        None,
                    ));
                }
                self.permission_mode = mode.to_owned();
                json!({"mode": mode})
            }
            "set_max_thinking_tokens" | "apply_flag_settings" => return Ok(None),
            "mcp_status" => json!({"mcpServers": []}),
            "mcp_set_servers" => json!({"added": [], "removed": [], "errors": {}}),
            "mcp_reconnect" | "mcp_toggle" => {
                let server = body["serverName"].as_str().unwrap_or("undefined");
                return Err(Refusal(format!("Server not found: {server}"), None));
            }
            "rewind_files" => {
                return Err(Refusal("File rewinding is not enabled.".to_owned(), None));
            }
            "stop_task" => json!({}),
            "cancel_async_message" => json!({"cancelled": false}),
            "get_settings" => json!({
                "effective": {},
                "sources": [],
                "applied": {"model": self.model, "effort": "high"},
            }),
            "reload_plugins" => json!({
                "commands": [], "agents": [], "plugins": [], "mcpServers": [], "error_count": 0,
            }),
            "get_context_usage" => self.context_usage(),
            unknown => {
                return Err(Refusal(
                    format!("Unsupported control request subtype: {unknown}"),
                    Some("unsupported_request"),
                ));
            }
        }))
    }

    fn context_usage(&self) -> Value {
        let (used, size) = (self.total.input + self.total.output, 1_000_000);
        json!({
            "categories": [
                {"id": "messages", "name": "Messages", "tokens": used,
                 "color": "purple_FOR_SUBAGENTS_ONLY", "kind": "used"},
                {"id": "free_space", "name": "Free space", "tokens": u64::saturating_sub(size, used),
                 "color": "promptBorder", "kind": "free"},
            ],
            "totalTokens": used,
            "maxTokens": size,
            "rawMaxTokens": size,
            "percentage": used * 100 / size,
            "gridRows": [],
            "model": self.model,
            "memoryFiles": [],
            "mcpTools": [],
            "agents": [],
            "isAutoCompactEnabled": false,
            "apiUsage": null,
        })
    }

    /// Prints a `control_response`. A request without an id gets one without an
    /// id.
    fn respond(
        &mut self,
        control: &Control,
        answer: Result<Option<Value>, Refusal>,
    ) -> Result<(), Stop> {
        let mut response = json!({"subtype": if answer.is_ok() { "success" } else { "error" }});
        if let Some(id) = &control.id {
            response["request_id"] = id.clone();
        }
        match answer {
            Ok(Some(body)) => response["response"] = body,
            Ok(None) => {}
            Err(Refusal(text, code)) => {
                response["error"] = json!(text);
                if let Some(code) = code {
                    response["error_code"] = json!(code);
                }
            }
        }
        if control.subtype == "initialize" {
            response["pending_permission_requests"] = json!([]);
            response["pending_user_dialog_requests"] = json!([]);
        }
        self.out.line(&json!({"type": "control_response", "response": response}))?;
        Ok(self.out.flush()?)
    }
}
