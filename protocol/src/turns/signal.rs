//! Lines of the agent that concern its turns.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::json::{elements, fields, string};

/// Number of names that are read of a list. The agent names at most 64
/// messages.
const NAMES: usize = 256;

/// Text in a line of the agent.
pub type Text<'a> = Cow<'a, str>;

/// One line of the agent, reduced to its meaning for turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal<'a> {
    /// `system/init`: a turn begins.
    Init(Init<'a>),
    /// `result`: a turn has ended.
    Result {
        /// The messages that the turn answered, as far as it names them.
        uuids: Vec<Text<'a>>,
        /// The agent began the turn itself.
        own: bool,
    },
    /// `command_lifecycle`: the state of one message.
    Message {
        /// The message.
        uuid: Text<'a>,
        /// Its new state.
        state: MessageState,
    },
    /// `system/session_state_changed`.
    State(SessionState),
    /// `system/background_tasks_changed`: all background tasks there are.
    Tasks(Vec<Text<'a>>),
    /// `system/task_started`.
    TaskStarted(Text<'a>),
    /// `system/task_notification`: a task has ended.
    TaskEnded {
        /// The task.
        id: Text<'a>,
        /// The agent will report the end in a separate turn.
        reports: bool,
    },
    /// `system/status` with a permission mode.
    PermissionMode(Text<'a>),
}

/// The first line of a turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Init<'a> {
    /// The messages that the turn answers, as far as it names them.
    pub uuids: Vec<Text<'a>>,
    /// The conversation.
    pub session_id: Option<Text<'a>>,
    /// The model of the turn.
    pub model: Option<Text<'a>>,
    /// The permission mode of the turn.
    pub permission_mode: Option<Text<'a>>,
    /// The agent is Claude Code, which tells of the end of a background task before
    /// the turn in which it reports it.
    pub is_claude_code: bool,
}

/// States of a message within the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageState {
    /// The agent has read it.
    Queued,
    /// A turn has taken it.
    Started,
    /// It is done.
    Completed,
    /// It was withdrawn, or its turn was cut short.
    Cancelled,
}

/// State that the agent reports about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// At most background commands run.
    Idle,
    /// A turn or a background agent runs.
    Running,
    /// The agent waits for a person's answer.
    RequiresAction,
}

/// Copies what is borrowed from a line.
fn owned(text: Text<'_>) -> Text<'static> {
    Cow::Owned(text.into_owned())
}

fn all_owned(texts: Vec<Text<'_>>) -> Vec<Text<'static>> {
    texts.into_iter().map(owned).collect()
}

impl Init<'_> {
    fn into_owned(self) -> Init<'static> {
        Init {
            uuids: all_owned(self.uuids),
            session_id: self.session_id.map(owned),
            model: self.model.map(owned),
            permission_mode: self.permission_mode.map(owned),
            is_claude_code: self.is_claude_code,
        }
    }
}

impl Signal<'_> {
    /// Returns the same without a reference to its line.
    #[must_use]
    pub fn into_owned(self) -> Signal<'static> {
        match self {
            Self::Init(init) => Signal::Init(init.into_owned()),
            Self::Result { uuids, own } => Signal::Result { uuids: all_owned(uuids), own },
            Self::Message { uuid, state } => Signal::Message { uuid: owned(uuid), state },
            Self::State(state) => Signal::State(state),
            Self::Tasks(tasks) => Signal::Tasks(all_owned(tasks)),
            Self::TaskStarted(id) => Signal::TaskStarted(owned(id)),
            Self::TaskEnded { id, reports } => Signal::TaskEnded { id: owned(id), reports },
            Self::PermissionMode(mode) => Signal::PermissionMode(owned(mode)),
        }
    }
}

impl<'a> Signal<'a> {
    /// Parses a line whose top-level `type` is `kind`. Only the types `system`,
    /// `result` and `command_lifecycle` are parsed.
    #[must_use]
    pub fn parse(kind: &str, line: &'a str) -> Option<Self> {
        match kind {
            "system" => system(line),
            "result" => {
                let [uuids, uuid, origin] =
                    fields(line, ["user_message_uuids", "user_message_uuid", "origin"]).ok()?;
                let mut uuids = names(uuids);
                if uuids.is_empty() {
                    uuids.extend(uuid.and_then(string));
                }
                Some(Self::Result { uuids, own: origin.is_some_and(is_own) })
            }
            "command_lifecycle" => {
                let [uuid, state] = fields(line, ["command_uuid", "state"]).ok()?;
                let state = match state.and_then(string)?.as_ref() {
                    "queued" => MessageState::Queued,
                    "started" => MessageState::Started,
                    "completed" => MessageState::Completed,
                    "cancelled" => MessageState::Cancelled,
                    _ => return None,
                };
                Some(Self::Message { uuid: uuid.and_then(string)?, state })
            }
            _ => None,
        }
    }
}

fn system(line: &str) -> Option<Signal<'_>> {
    let [subtype] = fields(line, ["subtype"]).ok()?;
    match subtype.and_then(string)?.as_ref() {
        "init" => {
            let [uuids, session_id, model, mode, version] = fields(
                line,
                [
                    "user_message_uuids",
                    "session_id",
                    "model",
                    "permissionMode",
                    "claude_code_version",
                ],
            )
            .ok()?;
            Some(Signal::Init(Init {
                uuids: names(uuids),
                session_id: session_id.and_then(string),
                model: model.and_then(string),
                permission_mode: mode.and_then(string),
                is_claude_code: version.is_some(),
            }))
        }
        "status" => {
            let [mode] = fields(line, ["permissionMode"]).ok()?;
            mode.and_then(string).map(Signal::PermissionMode)
        }
        "session_state_changed" => {
            let [state] = fields(line, ["state"]).ok()?;
            Some(Signal::State(match state.and_then(string)?.as_ref() {
                "idle" => SessionState::Idle,
                "running" => SessionState::Running,
                "requires_action" => SessionState::RequiresAction,
                _ => return None,
            }))
        }
        "background_tasks_changed" => {
            let [tasks] = fields(line, ["tasks"]).ok()?;
            Some(Signal::Tasks(elements(tasks?).ok()?.into_iter().filter_map(active).collect()))
        }
        "task_started" => {
            let [id, ambient] = fields(line, ["task_id", "ambient"]).ok()?;
            (!is_true(ambient)).then_some(())?;
            id.and_then(string).map(Signal::TaskStarted)
        }
        "task_notification" => {
            let [id, status] = fields(line, ["task_id", "status"]).ok()?;
            let status = status.and_then(string);
            let reports = matches!(status.as_deref(), Some("completed" | "failed"));
            id.and_then(string).map(|id| Signal::TaskEnded { id, reports })
        }
        _ => None,
    }
}

/// Returns the id of an entry of `tasks`, unless the task is no activity.
fn active(task: &RawValue) -> Option<Text<'_>> {
    let [id, ambient] = fields(task.get(), ["task_id", "ambient"]).ok()?;
    if is_true(ambient) { None } else { id.and_then(string) }
}

fn is_true(value: Option<&RawValue>) -> bool {
    value.is_some_and(|value| value.get() == "true")
}

fn names(list: Option<&RawValue>) -> Vec<Text<'_>> {
    let list = list.and_then(|list| elements(list).ok()).unwrap_or_default();
    list.into_iter().take(NAMES).filter_map(string).collect()
}

/// Returns whether `origin` says that neither a person nor a host wrote the
/// prompt.
fn is_own(origin: &RawValue) -> bool {
    let kind = fields(origin.get(), ["kind"]).ok().and_then(|[kind]| string(kind?));
    kind.is_some_and(|kind| kind != "human")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_init_names_its_messages() {
        let line = r#"{"type":"system","subtype":"init","session_id":"s","model":"m","permissionMode":"plan","user_message_uuids":["a","b"]}"#;
        let Some(Signal::Init(init)) = Signal::parse("system", line) else { panic!() };
        assert_eq!(init.uuids, ["a", "b"]);
        assert_eq!(init.session_id.as_deref(), Some("s"));
        assert_eq!(init.permission_mode.as_deref(), Some("plan"));
        assert!(!init.is_claude_code);
        let line = r#"{"type":"system","subtype":"init","claude_code_version":"2.1.197"}"#;
        let Some(Signal::Init(init)) = Signal::parse("system", line) else { panic!() };
        assert!(init.is_claude_code);
    }

    #[test]
    fn a_result_tells_whose_turn_it_ended() {
        let own = r#"{"subtype":"success","type":"result","origin":{"kind":"task-notification"}}"#;
        assert_eq!(Signal::parse("result", own), Some(Signal::Result { uuids: vec![], own: true }));
        let human = r#"{"type":"result","origin":{"kind":"human"},"user_message_uuid":"u"}"#;
        assert_eq!(
            Signal::parse("result", human),
            Some(Signal::Result { uuids: vec!["u".into()], own: false })
        );
    }

    #[test]
    fn tasks_that_are_no_activity_do_not_count() {
        let line = r#"{"type":"system","subtype":"background_tasks_changed","tasks":[{"task_id":"a","task_type":"local_bash"},{"task_id":"b","ambient":true}]}"#;
        assert_eq!(Signal::parse("system", line), Some(Signal::Tasks(vec!["a".into()])));
    }

    #[test]
    fn a_stopped_task_brings_no_report() {
        let line =
            r#"{"type":"system","subtype":"task_notification","task_id":"t","status":"stopped"}"#;
        assert_eq!(
            Signal::parse("system", line),
            Some(Signal::TaskEnded { id: "t".into(), reports: false })
        );
    }

    #[test]
    fn other_lines_are_not_looked_at() {
        for (kind, line) in [
            ("assistant", r#"{"type":"assistant","user_message_uuids":["a"]}"#),
            ("system", r#"{"type":"system","subtype":"api_retry"}"#),
            ("system", r#"{"type":"system","subtype":"status","status":"requesting"}"#),
            ("command_lifecycle", r#"{"command_uuid":"u","state":"lost"}"#),
            ("result", "no json"),
        ] {
            assert_eq!(Signal::parse(kind, line), None, "{line}");
        }
    }
}
