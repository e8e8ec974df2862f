//! A summary of what an agent reports beside its answer, by the names that
//! codex_ws_client gives it.

use claude_relay_client::{SdkMessage, ServerMessage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The most entries of each kind. Those behind them are left out.
const MAX_ENTRIES: usize = 200;

#[derive(Debug, Default, Serialize)]
pub(super) struct Notifications {
    thread_status_updates: Vec<Value>,
    /// Characters by item.
    command_output: Vec<Output>,
    command_terminal_interactions: Vec<Value>,
    file_change_output: Vec<Output>,
    errors: Vec<Value>,
    deprecations: Vec<Value>,
    config_warnings: Vec<Value>,
}

#[derive(Debug, Serialize)]
struct Output {
    item_id: Option<String>,
    chars: usize,
}

/// A notification of Codex.
#[derive(Deserialize)]
struct Line {
    method: String,
    #[serde(default)]
    params: Value,
}

impl Notifications {
    pub(super) fn is_empty(&self) -> bool {
        self.thread_status_updates.is_empty()
            && self.command_output.is_empty()
            && self.command_terminal_interactions.is_empty()
            && self.file_change_output.is_empty()
            && self.errors.is_empty()
            && self.deprecations.is_empty()
            && self.config_warnings.is_empty()
    }

    pub(super) fn add(&mut self, message: &ServerMessage) {
        match message {
            ServerMessage::Sdk(message) => self.line(message),
            ServerMessage::Error { text, .. } => push(&mut self.errors, json!({ "message": text })),
            _ => {}
        }
    }

    fn line(&mut self, message: &SdkMessage) {
        let is_one = message.json().is_ok_and(|line| line.get().contains("\"method\""));
        let Some(Line { method, params }) = is_one.then(|| message.parse().ok()).flatten() else {
            return;
        };
        let text = |value: &Value| json!({ "message": message_of(value) });
        match method.as_str() {
            "thread/status/changed" => {
                let status = &params["status"];
                let name = if status.is_object() { &status["type"] } else { status };
                let flags = status.get("activeFlags").cloned().unwrap_or_else(|| json!([]));
                let thread = &params["threadId"];
                let entry = json!({ "thread_id": thread, "status": name, "active_flags": flags });
                push(&mut self.thread_status_updates, entry);
            }
            "item/commandExecution/outputDelta" => count(&mut self.command_output, &params),
            "item/fileChange/outputDelta" => count(&mut self.file_change_output, &params),
            "item/commandExecution/terminalInteraction" => {
                let kind = &params["interaction"]["type"];
                let entry = json!({ "item_id": params["itemId"], "type": kind });
                push(&mut self.command_terminal_interactions, entry);
            }
            "error" => push(&mut self.errors, text(&params)),
            "deprecationNotice" => push(&mut self.deprecations, text(&params)),
            "configWarning" => push(&mut self.config_warnings, text(&params)),
            _ => {}
        }
    }
}

/// The text of a notice, which newer versions give other names.
fn message_of(params: &Value) -> &Value {
    let candidates = [&params["message"], &params["error"]["message"], &params["summary"]];
    candidates.into_iter().find(|value| value.is_string()).unwrap_or(&Value::Null)
}

fn push<T>(entries: &mut Vec<T>, entry: T) {
    if entries.len() < MAX_ENTRIES {
        entries.push(entry);
    }
}

/// Adds the characters of a delta to those of its item.
fn count(outputs: &mut Vec<Output>, params: &Value) {
    let item = params["itemId"].as_str();
    let chars = params["delta"].as_str().map_or(0, |delta| delta.chars().count());
    match outputs.iter_mut().rev().find(|output| output.item_id.as_deref() == item) {
        Some(output) => output.chars += chars,
        None => push(outputs, Output { item_id: item.map(str::to_owned), chars }),
    }
}
