//! State that clients set at run time: permission mode, model, thinking,
//! settings, MCP servers. A new process of the agent does not know it, so it
//! is said again before the first message. A message waits until that is done;
//! where a restriction cannot be restored, it goes on waiting.

use std::time::{Duration, Instant};

use claude_relay_protocol::QueryConfig;
use claude_relay_protocol::json::{elements, fields, string};
use serde_json::json;
use serde_json::value::RawValue;

/// The beginning of the ids of the requests that restore it.
const RESTORE: &str = "relay-restore-";

/// How long the agent may take to answer them.
const RESTORE_TIMEOUT: Duration = Duration::from_secs(30);

/// How many requests are kept of a part whose requests add to the ones before:
/// settings, and the state of single MCP servers.
const CHANGES_LIMIT: usize = 64;

/// How many bytes one request may have that is kept.
const REQUEST_BYTES: usize = 1 << 20;

/// A part of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    PermissionMode,
    Model,
    Thinking,
    Settings,
    McpServers,
    McpServer,
}

impl Part {
    /// The part that a control request sets.
    pub(super) fn set_by(subtype: &str) -> Option<Self> {
        Some(match subtype {
            "set_permission_mode" => Self::PermissionMode,
            "set_model" => Self::Model,
            "set_max_thinking_tokens" => Self::Thinking,
            "apply_flag_settings" => Self::Settings,
            "mcp_set_servers" => Self::McpServers,
            "mcp_toggle" | "set_mcp_permission_mode_override" => Self::McpServer,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::PermissionMode => "the permission mode",
            Self::Model => "the model",
            Self::Thinking => "the thinking tokens",
            Self::Settings => "the settings",
            Self::McpServers => "the MCP servers",
            Self::McpServer => "the state of an MCP server",
        }
    }
}

/// A control request that set a part of the state: its object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) part: Part,
    pub(super) request: String,
}

impl Change {
    /// The change that a control request makes once it is acknowledged.
    pub(super) fn of(subtype: &str, request: &str) -> Option<Self> {
        Some(Self { part: Part::set_by(subtype)?, request: request.to_owned() })
    }

    /// The change of the permission mode that an approval brings along.
    pub(super) fn of_updates(updates: &RawValue) -> Option<Self> {
        let mode = elements(updates).ok()?.into_iter().rev().find_map(|update| {
            let [kind, mode] = fields(update.get(), ["type", "mode"]).ok()?;
            (string(kind?)? == "setMode").then_some(string(mode?)?.into_owned())
        })?;
        let request = json!({ "subtype": "set_permission_mode", "mode": mode }).to_string();
        Some(Self { part: Part::PermissionMode, request })
    }

    /// Whether it may hold a right back that the configuration gives.
    fn restricts(&self) -> bool {
        let gives_rights = ["bypassPermissions", "acceptEdits", "auto"]
            .iter()
            .any(|mode| self.request.contains(&format!("\"{mode}\"")));
        match self.part {
            Part::PermissionMode => !gives_rights,
            Part::McpServer => {
                let enabled = fields(&self.request, ["enabled"]).ok().and_then(|[value]| value);
                !gives_rights && enabled.is_none_or(|value| value.get() != "true")
            }
            Part::Settings => self.request.contains("permissions"),
            Part::Model | Part::Thinking | Part::McpServers => false,
        }
    }
}

/// Everything that was set and acknowledged, in the order for a new process.
#[derive(Debug, Default)]
pub(super) struct RunTimeState {
    /// Requests that the agent has not acknowledged, with their ids.
    asked: Vec<(String, Change)>,
    changes: Vec<Change>,
    /// Something was set that is too much to be kept.
    incomplete: bool,
}

impl RunTimeState {
    /// A control request is under way.
    pub(super) fn ask(&mut self, id: &str, subtype: &str, request: &str) {
        if let Some(change) = Change::of(subtype, request) {
            self.asked.push((id.to_owned(), change));
        }
    }

    /// The agent has answered a request; the part that it has set.
    pub(super) fn on_answer(&mut self, id: &str, response: &RawValue) -> Option<Part> {
        let at = self.asked.iter().position(|(asked, _)| asked == id)?;
        let (_, change) = self.asked.remove(at);
        let part = change.part;
        is_success(response).then(|| self.keep(change))?;
        Some(part)
    }

    /// The agent has ended: what it has not answered it will not.
    pub(super) fn on_end(&mut self) {
        self.asked.clear();
    }

    /// Keeps what has been acknowledged.
    pub(super) fn keep(&mut self, change: Change) {
        if change.request.len() > REQUEST_BYTES {
            self.incomplete = true;
            return;
        }
        if !matches!(change.part, Part::Settings | Part::McpServer) {
            self.forget(change.part);
        } else {
            if self.changes.last() == Some(&change) {
                return;
            }
            let kept = self.changes.iter().filter(|kept| kept.part == change.part);
            if kept.count() >= CHANGES_LIMIT {
                self.incomplete = true;
                return;
            }
        }
        self.changes.push(change);
    }

    fn forget(&mut self, part: Part) {
        self.changes.retain(|kept| kept.part != part);
    }

    /// Forgets what a new configuration says otherwise.
    pub(super) fn reconfigure(&mut self, old: &QueryConfig, new: &QueryConfig) {
        if old.provider != new.provider {
            *self = Self::default();
        }
        for (part, changed) in [
            (Part::PermissionMode, old.permission_mode != new.permission_mode),
            (Part::Model, old.model != new.model),
            (Part::Thinking, old.max_thinking_tokens != new.max_thinking_tokens),
            (Part::McpServers, old.mcp_servers != new.mcp_servers),
            (Part::McpServer, old.mcp_servers != new.mcp_servers),
        ] {
            if changed {
                self.forget(part);
            }
        }
    }

    /// What a new process is to be told.
    pub(super) fn restoration(&self, now: Instant) -> Restoration {
        let id = |n| format!("{RESTORE}{n}");
        let open = self.changes.iter().enumerate().map(|(n, change)| (id(n), change.clone()));
        let lost = self.incomplete.then(|| {
            "Not everything that was set at run time can be said again to the new agent: it was too much to be kept".to_owned()
        });
        Restoration { open: open.collect(), held: None, lost, by: Some(now + RESTORE_TIMEOUT) }
    }
}

/// The state of one process on its way back.
#[derive(Debug, Default)]
pub(super) struct Restoration {
    /// Requests that are not answered, with their ids.
    open: Vec<(String, Change)>,
    /// The reason why messages are kept back.
    held: Option<String>,
    /// What is to be said of what is lost.
    lost: Option<String>,
    by: Option<Instant>,
}

impl Restoration {
    /// The requests to make, with their ids.
    pub(super) fn requests(&self) -> Vec<(String, String)> {
        self.open.iter().map(|(id, change)| (id.clone(), change.request.clone())).collect()
    }

    /// What is to be said of what is lost; once.
    pub(super) fn take_lost(&mut self) -> Option<String> {
        self.lost.take()
    }

    /// Whether messages wait.
    pub(super) fn holds(&self) -> bool {
        !self.open.is_empty() || self.held.is_some()
    }

    /// The agent has answered; what the client is to be told of it.
    pub(super) fn on_answer(&mut self, id: &str, response: &RawValue) -> Option<String> {
        let at = self.open.iter().position(|(open, _)| open == id)?;
        let (_, change) = self.open.remove(at);
        if is_success(response) {
            return None;
        }
        let [error] = fields(response.get(), ["error"]).unwrap_or_default();
        let reason = error.and_then(string).unwrap_or_else(|| "no reason was given".into());
        Some(self.failed(&change, &reason))
    }

    /// When the answers are late.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.by.filter(|_| !self.open.is_empty())
    }

    /// Gives up what was not answered in time; what the client is to be told.
    pub(super) fn on_time(&mut self, now: Instant) -> Vec<String> {
        if self.by.is_none_or(|by| now < by) {
            return Vec::new();
        }
        let late = std::mem::take(&mut self.open);
        late.iter().map(|(_, change)| self.failed(change, "it did not answer in time")).collect()
    }

    fn failed(&mut self, change: &Change, reason: &str) -> String {
        let part = change.part.name();
        let text = format!(
            "{part} that was set at run time could not be said again to the new agent: {reason}"
        );
        if change.restricts() {
            self.held = Some(text.clone());
            return format!(
                "{text}. It would have fewer restrictions, so messages are kept back until a permission mode is set"
            );
        }
        text
    }

    /// The client has set a permission mode: what it was to be kept from is
    /// its own decision.
    pub(super) fn release(&mut self) {
        self.held = None;
    }
}

fn is_success(response: &RawValue) -> bool {
    let subtype = fields(response.get(), ["subtype"]).ok().and_then(|[subtype]| string(subtype?));
    subtype.as_deref() == Some("success")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(subtype: &str, request: &str) -> Change {
        Change::of(subtype, request).unwrap()
    }

    fn mode(mode: &str) -> Change {
        change(
            "set_permission_mode",
            &format!(r#"{{"subtype":"set_permission_mode","mode":"{mode}"}}"#),
        )
    }

    fn answer(subtype: &str) -> Box<RawValue> {
        RawValue::from_string(format!(r#"{{"subtype":"{subtype}","error":"no"}}"#)).unwrap()
    }

    #[test]
    fn the_last_of_each_part_is_said_again_and_settings_in_their_order() {
        let mut state = RunTimeState::default();
        let settings = |n| change("apply_flag_settings", &format!(r#"{{"settings":{{"a":{n}}}}}"#));
        for set in [
            mode("plan"),
            change("set_model", "m1"),
            settings(1),
            settings(1),
            settings(2),
            mode("default"),
            change("set_model", "m2"),
        ] {
            state.keep(set);
        }
        let requests = state.restoration(Instant::now()).requests();
        let requests: Vec<_> = requests.iter().map(|(_, request)| request.as_str()).collect();
        assert_eq!(
            requests,
            [
                r#"{"settings":{"a":1}}"#,
                r#"{"settings":{"a":2}}"#,
                r#"{"subtype":"set_permission_mode","mode":"default"}"#,
                "m2"
            ]
        );
        assert_eq!(Change::of("mcp_status", "{}"), None);
    }

    #[test]
    fn the_state_of_each_mcp_server_is_said_again_and_a_lost_restriction_keeps_messages_back() {
        for (subtype, request, restricts) in [
            ("mcp_toggle", r#"{"serverName":"true","enabled":false}"#, true),
            ("mcp_toggle", r#"{"serverName":"a","enabled":true}"#, false),
            ("set_mcp_permission_mode_override", r#"{"serverName":"a","mode":"default"}"#, true),
            ("set_mcp_permission_mode_override", r#"{"serverName":"a","mode":"auto"}"#, false),
        ] {
            let mut state = RunTimeState::default();
            state.keep(change(subtype, r#"{"serverName":"other","enabled":true}"#));
            state.keep(change(subtype, request));
            let mut restoration = state.restoration(Instant::now());
            assert_eq!(restoration.requests().len(), 2, "{request}");
            assert_eq!(restoration.on_answer("relay-restore-0", &answer("success")), None);
            assert!(restoration.on_answer("relay-restore-1", &answer("error")).is_some());
            assert_eq!(restoration.holds(), restricts, "{request}");
        }
    }

    #[test]
    fn messages_wait_for_the_answers_and_for_a_restriction_that_failed() {
        let now = Instant::now();
        let mut state = RunTimeState::default();
        state.keep(mode("plan"));
        state.keep(change("set_model", "m"));
        let mut restoration = state.restoration(now);
        assert!(restoration.holds());
        assert!(
            restoration.on_answer("relay-restore-1", &answer("error")).unwrap().contains("model")
        );
        assert_eq!(restoration.on_answer("relay-restore-0", &answer("success")), None);
        assert!(!restoration.holds() && restoration.deadline().is_none());

        let mut restoration = state.restoration(now);
        let told = restoration.on_answer("relay-restore-0", &answer("error")).unwrap();
        assert!(told.contains("kept back"), "{told}");
        assert_eq!(restoration.on_time(now), Vec::<String>::new());
        assert_eq!(restoration.on_time(now + RESTORE_TIMEOUT).len(), 1);
        assert!(restoration.holds());
        restoration.release();
        assert!(!restoration.holds());
    }

    #[test]
    fn what_gives_rights_and_fails_keeps_nothing_back() {
        let mut state = RunTimeState::default();
        state.keep(mode("bypassPermissions"));
        let mut restoration = state.restoration(Instant::now());
        assert!(restoration.on_answer("relay-restore-0", &answer("error")).is_some());
        assert!(!restoration.holds());
    }

    #[test]
    fn a_new_configuration_counts_more() {
        let parse = |body: &str| {
            QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap().config
        };
        let (old, new) = (parse("{}"), parse(r#"{"permissionMode":"default"}"#));
        let mut state = RunTimeState::default();
        state.keep(mode("plan"));
        state.keep(change("set_model", "m"));
        state.reconfigure(&old, &old);
        assert_eq!(state.changes.len(), 2);
        state.reconfigure(&old, &new);
        assert_eq!(state.changes.len(), 1);
    }

    #[test]
    fn an_approval_can_set_the_mode_and_what_is_too_long_is_told() {
        let updates = r#"[{"type":"addRules"},{"type":"setMode","mode":"acceptEdits"}]"#;
        let of = |updates| Change::of_updates(serde_json::from_str(updates).unwrap());
        assert!(of(updates).unwrap().request.contains("acceptEdits"));
        assert_eq!(of("[]"), None);
        let mut state = RunTimeState::default();
        state.keep(change("set_model", &"x".repeat(REQUEST_BYTES + 1)));
        assert!(state.restoration(Instant::now()).take_lost().is_some());
    }
}
