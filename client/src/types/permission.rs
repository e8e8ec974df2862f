//! The agent asks, the program decides.

use std::pin::Pin;
use std::sync::Arc;

use claude_relay_protocol::json::fields;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::types::raw_json::{RawJson, text_of};

/// The agent wants to use a tool and waits for the answer.
///
/// Answer with [`Client::respond`](crate::Client::respond), or let a handler
/// do it: [`ClientBuilder::on_permission`](crate::ClientBuilder::on_permission).
/// Nothing is approved without an answer; in the end the server denies it.
#[derive(Debug, Clone)]
pub struct PermissionRequest {
    /// Names it in the answer.
    pub id: String,
    /// The tool.
    pub tool: String,
    /// The arguments of the call.
    pub input: RawJson,
    /// The rest of the agent's request: suggestions for rules, a description, the
    /// path that is blocked, the id of the tool call.
    pub context: RawJson,
}

impl PermissionRequest {
    /// The meaning of "always allow": the rule or mode that the agent suggests
    /// first, for [`Decision::Allow`]'s `updated_permissions`. The agent writes
    /// a rule into the settings that it names, which count from its next start
    /// and only where they are read at all, so it is added for the session,
    /// too. `None` when nothing is suggested.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Decision;
    ///
    /// # fn example(request: claude_relay_client::PermissionRequest) -> claude_relay_client::Decision {
    /// Decision::Allow { updated_input: None, updated_permissions: request.always() }
    /// # }
    /// ```
    #[must_use]
    pub fn always(&self) -> Option<RawJson> {
        let suggestions: Vec<Value> = serde_json::from_str(self.suggestions()?.get()).ok()?;
        let first = suggestions.into_iter().next().filter(Value::is_object)?;
        let mut rules = vec![first.clone()];
        if first["destination"] != "session" {
            let mut now = first;
            now["destination"] = "session".into();
            rules.push(now);
        }
        Some(RawJson::from_value(&Value::from(rules)))
    }

    /// Everything the agent suggests to add, as a JSON array: rules, modes,
    /// directories. All of it together is often more than a user means by
    /// "always": see [`always`](Self::always).
    ///
    /// Codex knows no rules and suggests none; where it can go without asking
    /// for the rest of the session, what is given here says so.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Decision;
    ///
    /// # fn example(request: claude_relay_client::PermissionRequest) -> claude_relay_client::Decision {
    /// if let Some(suggestions) = request.suggestions() {
    ///     println!("{}", suggestions.get());
    /// }
    /// Decision::allow()
    /// # }
    /// ```
    #[must_use]
    pub fn suggestions(&self) -> Option<RawJson> {
        let names = ["permission_suggestions", "method", "_meta"];
        let [found, method, meta] = fields(self.context.get(), names).ok()?;
        if let Some(rules) = found.filter(|value| value.get().starts_with('[')) {
            return Some(RawJson::from_raw(rules));
        }
        let persists =
            |meta: &RawValue| fields(meta.get(), ["persist"]).is_ok_and(|[how]| how.is_some());
        let of_codex = text_of(method).is_some_and(|method| method.ends_with("/requestApproval"))
            || meta.is_some_and(persists);
        of_codex.then(|| RawJson::from_value(&json!([{ "destination": "session" }])))
    }
}

/// The answer to a [`PermissionRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The tool may run.
    Allow {
        /// The input to run it with instead of the asked one, a JSON object.
        updated_input: Option<RawJson>,
        /// Rules to add, a JSON array, so that the agent need not ask again.
        updated_permissions: Option<RawJson>,
    },
    /// The tool may not run.
    Deny {
        /// The reason; the agent reads it.
        message: String,
        /// End the turn too.
        interrupt: bool,
    },
}

impl Decision {
    /// The tool may run, as asked.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Decision;
    ///
    /// let decision = Decision::allow();
    /// assert!(matches!(decision, Decision::Allow { updated_input: None, .. }));
    /// ```
    #[must_use]
    pub fn allow() -> Self {
        Self::Allow { updated_input: None, updated_permissions: None }
    }

    /// The tool may not run; the turn goes on.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Decision;
    ///
    /// let decision = Decision::deny("only look, do not touch");
    /// assert!(matches!(decision, Decision::Deny { interrupt: false, .. }));
    /// ```
    #[must_use]
    pub fn deny(message: impl Into<String>) -> Self {
        Self::Deny { message: message.into(), interrupt: false }
    }

    /// The frame that says so.
    pub(crate) fn frame(&self, request_id: &str) -> Result<String, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Frame<'a> {
            r#type: &'static str,
            request_id: &'a str,
            approved: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            updated_input: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            updated_permissions: Option<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            message: Option<&'a str>,
            #[serde(skip_serializing_if = "std::ops::Not::not")]
            interrupt: bool,
        }

        let mut frame = Frame {
            r#type: "permission_response",
            request_id,
            approved: false,
            updated_input: None,
            updated_permissions: None,
            message: None,
            interrupt: false,
        };
        match self {
            Self::Allow { updated_input, updated_permissions } => {
                frame.approved = true;
                frame.updated_input = updated_input.as_ref().map(RawJson::parse).transpose()?;
                frame.updated_permissions =
                    updated_permissions.as_ref().map(RawJson::parse).transpose()?;
            }
            Self::Deny { message, interrupt } => {
                frame.message = Some(message);
                frame.interrupt = *interrupt;
            }
        }
        serde_json::to_string(&frame)
    }
}

/// The function that decides: see
/// [`ClientBuilder::on_permission`](crate::ClientBuilder::on_permission).
pub(crate) type Handler =
    Arc<dyn Fn(PermissionRequest) -> Pin<Box<dyn Future<Output = Decision> + Send>> + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn always_is_on_offer_where_the_agent_can_do_it() {
        for (context, offered) in [
            (r#"{"permission_suggestions":[{"a":1}]}"#, Some(r#"[{"a":1}]"#)),
            (r#"{"permission_suggestions":null}"#, None),
            (
                r#"{"method":"item/commandExecution/requestApproval"}"#,
                Some(r#"[{"destination":"session"}]"#),
            ),
            (
                r#"{"method":"mcpServer/elicitation/request","_meta":{"persist":["session"]}}"#,
                Some(r#"[{"destination":"session"}]"#),
            ),
            (r#"{"method":"mcpServer/elicitation/request","_meta":null}"#, None),
            (r#"{"method":"item/tool/requestUserInput"}"#, None),
        ] {
            let request = PermissionRequest {
                id: "r".into(),
                tool: "t".into(),
                input: RawJson::new("{}").unwrap(),
                context: RawJson::new(context).unwrap(),
            };
            assert_eq!(request.suggestions().as_ref().map(RawJson::get), offered, "{context}");
        }
    }

    #[test]
    fn always_is_the_first_suggestion_and_counts_at_once() {
        let request = |suggestions: &str| PermissionRequest {
            id: "r".to_owned(),
            tool: "Bash".to_owned(),
            input: RawJson::new("{}").unwrap(),
            context: RawJson::new(format!(r#"{{"permission_suggestions":{suggestions}}}"#))
                .unwrap(),
        };
        let always =
            |suggestions: &str| request(suggestions).always().map(|rules| rules.get().to_owned());
        assert_eq!(
            always(r#"[{"type":"addRules","destination":"localSettings"},{"type":"setMode"}]"#)
                .as_deref(),
            Some(
                r#"[{"type":"addRules","destination":"localSettings"},{"type":"addRules","destination":"session"}]"#
            )
        );
        assert_eq!(
            always(r#"[{"type":"setMode","mode":"acceptEdits","destination":"session"}]"#)
                .as_deref(),
            Some(r#"[{"type":"setMode","mode":"acceptEdits","destination":"session"}]"#)
        );
        for nothing in ["[]", "[7]", "{}", "null"] {
            assert_eq!(always(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn decisions_are_written_as_the_server_reads_them() {
        let json = |text: &str| Some(RawJson::new(text.to_owned()).unwrap());
        for (decision, frame) in [
            (
                Decision::allow(),
                r#"{"type":"permission_response","requestId":"r","approved":true}"#,
            ),
            (
                Decision::Allow {
                    updated_input: json(r#"{"a":1.0}"#),
                    updated_permissions: json("[]"),
                },
                r#"{"type":"permission_response","requestId":"r","approved":true,"updatedInput":{"a":1.0},"updatedPermissions":[]}"#,
            ),
            (
                Decision::deny("no"),
                r#"{"type":"permission_response","requestId":"r","approved":false,"message":"no"}"#,
            ),
            (
                Decision::Deny { message: "stop".into(), interrupt: true },
                r#"{"type":"permission_response","requestId":"r","approved":false,"message":"stop","interrupt":true}"#,
            ),
        ] {
            let written = decision.frame("r").unwrap();
            assert_eq!(written, frame);
            claude_relay_protocol::ClientMessage::parse(&written).unwrap();
        }
    }
}
