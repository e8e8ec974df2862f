//! Requests of the app-server (approvals, user input), and the responses to
//! them.

use std::borrow::Cow;

use bytes::Bytes;
use claude_relay_protocol::json::{entries, string};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::requests::line;
use crate::agent::protocol::{
    Permission, PermissionAnswer, PermissionOutcome, PermissionReply, Route,
};

/// Name of a file change for the client.
const FILE_CHANGE: &str = "fileChange";

/// JSON-RPC error code for an unknown method.
const METHOD_NOT_FOUND: i32 = -32601;

/// Builds the response to one request.
#[derive(Debug)]
struct Reply {
    /// Id of the request, with its JSON type: a response with an id of another
    /// type is not matched, and the turn hangs.
    id: Box<RawValue>,
    kind: Kind,
}

/// Kind of the answer to a request.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Approval of a command or a file change.
    Decision,
    /// Request for more permissions than the sandbox gives.
    Permissions,
    /// Questions of the model to the user.
    UserInput,
    /// Elicitation by an MCP server.
    Elicitation,
}

/// Returns the id under which a client sees a request. The app-server counts
/// from 0 in every process, so the id includes the run: otherwise a late answer
/// to an old request would decide a new one.
pub(super) fn request_id(run: u64, id: &RawValue) -> String {
    format!("codex-{run}-{}", id.get())
}

/// Members of an object.
#[derive(Debug, Default)]
pub struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// Returns the object. The values are copied and not read again, since they may
    /// be large.
    fn to_object(&self) -> Box<RawValue> {
        to_raw_value(self).unwrap_or_default()
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// A request of the app-server that has been read.
#[derive(Debug)]
pub enum Asked {
    /// A question for the client.
    Question {
        /// Id of the request.
        id: Box<RawValue>,
        /// Kind of the answer.
        kind: Kind,
        /// Name for the client.
        tool: &'static str,
        /// What is asked about: the members of an object.
        input: Members,
        /// All else.
        context: Box<RawValue>,
        /// The item, if it is a file change.
        file_change: Option<String>,
    },
    /// A request that no client can answer, with the relay's response.
    Refused(Bytes),
}

impl Asked {
    /// Reads a request.
    pub(super) fn read(method: &str, id: &RawValue, params: Option<&RawValue>) -> Self {
        let (kind, tool, about): (_, _, &[&str]) = match method {
            "item/commandExecution/requestApproval" => {
                (Kind::Decision, "commandExecution", &["command", "cwd"])
            }
            "item/fileChange/requestApproval" => (Kind::Decision, FILE_CHANGE, &["grantRoot"]),
            "item/permissions/requestApproval" => {
                (Kind::Permissions, "permissions", &["permissions", "cwd"])
            }
            "item/tool/requestUserInput" => (Kind::UserInput, "requestUserInput", &["questions"]),
            "mcpServer/elicitation/request" => (
                Kind::Elicitation,
                "mcpElicitation",
                &["serverName", "mode", "message", "requestedSchema", "url", "elicitationId"],
            ),
            // The relay offers no tools to the model.
            "item/tool/call" => {
                let text = "claude-relay has no tools of its own";
                let content = json!([{ "type": "inputText", "text": text }]);
                let failed = json!({ "contentItems": content, "success": false });
                return Self::Refused(result(id, &failed));
            }
            _ => {
                return Self::Refused(refusal(
                    id,
                    &format!("claude-relay does not answer {method}"),
                ));
            }
        };
        let params = params.and_then(|params| entries(params.get()).ok()).unwrap_or_default();
        let mut input = Members::default();
        let mut context = format!("{{\"method\":{}", json!(method));
        for (name, value) in &params {
            if about.contains(&&**name) {
                input.0.push((name.to_string(), RawValue::to_owned(value)));
            } else {
                context.push_str(&format!(",{}:{}", json!(name), value.get()));
            }
        }
        context.push('}');
        let item = params.iter().find(|(name, _)| name == "itemId");
        let item = item.filter(|_| tool == FILE_CHANGE).and_then(|(_, id)| string(id));
        Self::Question {
            id: id.to_owned(),
            kind,
            tool,
            input,
            context: RawValue::from_string(context).unwrap_or_default(),
            file_change: item.map(Cow::into_owned),
        }
    }

    /// Routes the request. `changes` returns the changes of a file change by its
    /// item, because the request does not contain them.
    pub(super) fn route<'a, 'c>(
        self,
        run: u64,
        denies_all: bool,
        changes: impl Fn(&str) -> Option<&'c RawValue>,
    ) -> Route<'a> {
        let (id, kind, tool, mut input, context, file_change) = match self {
            Self::Refused(line) => return Route::Refuse(line),
            Self::Question { id, kind, tool, input, context, file_change } => {
                (id, kind, tool, input, context, file_change)
            }
        };
        if let Some(changes) = file_change.and_then(|item| changes(&item)) {
            input.0.push(("changes".to_owned(), changes.to_owned()));
        }
        let input = input.to_object();
        let shown = request_id(run, &id);
        let reply = Reply { id, kind };
        if denies_all {
            let deny = PermissionAnswer::Deny { message: None, interrupt: false };
            return Route::Refuse(reply.answer(&deny, input.get()).line);
        }
        Route::Permission(Permission {
            id: shown.into(),
            tool: tool.into(),
            input: Cow::Owned(input),
            context,
            reply: Box::new(reply),
        })
    }
}

impl PermissionReply for Reply {
    fn answer(&self, answer: &PermissionAnswer, input: &str) -> PermissionOutcome {
        let given = match answer {
            // The same bytes are the same input.
            PermissionAnswer::Allow { input: Some(changed), .. } if *changed != input => {
                parsed(changed)
            }
            _ => Value::Null,
        };
        let mut notice = None;
        let object = match self.kind {
            Kind::Decision => {
                let decision = match answer {
                    // Approving runs the original command. If the user has
                    // changed the input, the approval must not run the
                    // original.
                    PermissionAnswer::Allow { .. }
                        if !given.is_null() && given != parsed(input) =>
                    {
                        notice = Some(
                            "Codex cannot run a changed input, so the answer counts as a denial",
                        );
                        "decline"
                    }
                    PermissionAnswer::Allow { permissions: Some(rules), .. }
                        if rules.get() != "[]" =>
                    {
                        "acceptForSession"
                    }
                    PermissionAnswer::Allow { .. } => "accept",
                    PermissionAnswer::Deny { interrupt: true, .. } => "cancel",
                    PermissionAnswer::Deny { .. } => "decline",
                };
                json!({ "decision": decision })
            }
            Kind::Permissions => match answer {
                PermissionAnswer::Allow { permissions, .. } => {
                    let asked = parsed(input);
                    let granted = given.get("permissions").or(asked.get("permissions"));
                    let for_session = permissions.as_ref().is_some_and(|rules| rules.get() != "[]");
                    let scope = if for_session { "session" } else { "turn" };
                    json!({ "permissions": granted, "scope": scope })
                }
                PermissionAnswer::Deny { .. } => json!({ "permissions": {}, "scope": "turn" }),
            },
            Kind::UserInput => json!({ "answers": answers(&given) }),
            Kind::Elicitation => match answer {
                PermissionAnswer::Allow { permissions, .. } => {
                    let content = given.get("content").cloned().unwrap_or_else(|| json!({}));
                    let mut accept = json!({ "action": "accept", "content": content });
                    if permissions.as_ref().is_some_and(|rules| rules.get() != "[]") {
                        // Useful if the request asks for permission to run a
                        // tool.
                        accept["_meta"] = json!({ "persist": "session" });
                    }
                    accept
                }
                PermissionAnswer::Deny { interrupt: true, .. } => json!({ "action": "cancel" }),
                PermissionAnswer::Deny { .. } => json!({ "action": "decline" }),
            },
        };
        PermissionOutcome { line: result(&self.id, &object), notice }
    }

    fn refuse(&self, _reason: &str) -> Bytes {
        // An error would fail the turn's item without telling the model.
        self.answer(&PermissionAnswer::Deny { message: None, interrupt: false }, "").line
    }
}

fn parsed(input: &str) -> Value {
    serde_json::from_str(input).unwrap_or_default()
}

/// Returns the answers by question: each a text, an array of texts, or the
/// app-server's own object.
fn answers(given: &Value) -> Map<String, Value> {
    let given = given.get("answers").and_then(Value::as_object);
    let to_answer = |answer: &Value| match answer {
        Value::Object(_) => answer.clone(),
        Value::Array(_) => json!({ "answers": answer }),
        one => json!({ "answers": [one] }),
    };
    given
        .into_iter()
        .flatten()
        .map(|(question, answer)| (question.clone(), to_answer(answer)))
        .collect()
}

fn result(id: &RawValue, result: &Value) -> Bytes {
    line(&json!({ "id": id, "result": result }))
}

fn refusal(id: &RawValue, reason: &str) -> Bytes {
    line(&json!({ "id": id, "error": { "code": METHOD_NOT_FOUND, "message": reason } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn ask<T>(method: &str, params: &str, then: impl FnOnce(Route<'_>) -> T) -> T {
        let (id, params) = (raw("7"), raw(params));
        let changes = raw(r#"[ {"path":"a","diff":"+b"} ]"#);
        let asked = Asked::read(method, &id, Some(&params));
        then(asked.route(2, false, |item| (item == "i").then_some(&*changes)))
    }

    type Answer = Box<dyn Fn(&PermissionAnswer) -> PermissionOutcome>;

    fn permission(method: &str, params: &str) -> (String, Answer) {
        ask(method, params, |route| match route {
            Route::Permission(Permission { id, tool, input, context, reply }) => {
                let frame = format!("{id} {tool} {input} {context}");
                let input = input.into_owned();
                (
                    frame,
                    Box::new(move |answer: &PermissionAnswer| reply.answer(answer, input.get()))
                        as Answer,
                )
            }
            other => panic!("{other:?}"),
        })
    }

    fn answered(reply: &Answer, answer: &PermissionAnswer) -> String {
        String::from_utf8(reply(answer).line.to_vec()).unwrap().trim_end().to_owned()
    }

    fn allow(input: Option<&str>, permissions: Option<&str>) -> PermissionAnswer {
        PermissionAnswer::Allow { input: input.map(Into::into), permissions: permissions.map(raw) }
    }

    fn deny(interrupt: bool) -> PermissionAnswer {
        PermissionAnswer::Deny { message: None, interrupt }
    }

    #[test]
    fn a_command_is_asked_about_and_decided() {
        let (frame, reply) = permission(
            "item/commandExecution/requestApproval",
            r#"{"threadId":"t","command":"ls","cwd":"/w","availableDecisions":[ "accept" ]}"#,
        );
        assert_eq!(
            frame,
            r#"codex-2-7 commandExecution {"command":"ls","cwd":"/w"} {"method":"item/commandExecution/requestApproval","threadId":"t","availableDecisions":[ "accept" ]}"#
        );
        for (answer, decision) in [
            (allow(None, None), "accept"),
            (allow(Some(r#"{"cwd":"/w","command":"ls"}"#), Some("[]")), "accept"),
            (allow(None, Some(r#"[{"a":1}]"#)), "acceptForSession"),
            (allow(Some(r#"{"command":"ls -l","cwd":"/w"}"#), None), "decline"),
            (deny(false), "decline"),
            (deny(true), "cancel"),
        ] {
            let line = format!(r#"{{"id":7,"result":{{"decision":"{decision}"}}}}"#);
            assert_eq!(answered(&reply, &answer), line);
        }
        assert!(reply(&allow(Some("{}"), None)).notice.is_some());
        assert!(reply(&allow(None, None)).notice.is_none());
    }

    #[test]
    fn a_file_change_comes_with_its_diff() {
        let params = r#"{"itemId":"i","reason":null,"grantRoot":null}"#;
        let (frame, _) = permission("item/fileChange/requestApproval", params);
        assert_eq!(
            frame,
            r#"codex-2-7 fileChange {"grantRoot":null,"changes":[ {"path":"a","diff":"+b"} ]} {"method":"item/fileChange/requestApproval","itemId":"i","reason":null}"#
        );
        let (frame, _) = permission("item/fileChange/requestApproval", r#"{"itemId":"other"}"#);
        assert!(frame.starts_with("codex-2-7 fileChange {} {"), "{frame}");
    }

    #[test]
    fn other_requests_are_answered_in_their_own_format() {
        let (_, reply) = permission(
            "item/permissions/requestApproval",
            r#"{"permissions":{"network":{"enabled":true}},"cwd":"/w"}"#,
        );
        assert_eq!(
            answered(&reply, &allow(None, None)),
            r#"{"id":7,"result":{"permissions":{"network":{"enabled":true}},"scope":"turn"}}"#
        );
        assert_eq!(
            answered(&reply, &deny(false)),
            r#"{"id":7,"result":{"permissions":{},"scope":"turn"}}"#
        );
        let (_, reply) = permission("item/tool/requestUserInput", r#"{"questions":[]}"#);
        assert_eq!(
            answered(&reply, &allow(Some(r#"{"answers":{"q":"a","r":["b","c"]}}"#), None)),
            r#"{"id":7,"result":{"answers":{"q":{"answers":["a"]},"r":{"answers":["b","c"]}}}}"#
        );
        assert_eq!(answered(&reply, &deny(false)), r#"{"id":7,"result":{"answers":{}}}"#);
        let (_, reply) = permission("mcpServer/elicitation/request", r#"{"mode":"form"}"#);
        assert_eq!(
            answered(&reply, &allow(Some(r#"{"content":{"a":1}}"#), None)),
            r#"{"id":7,"result":{"action":"accept","content":{"a":1}}}"#
        );
        assert_eq!(
            answered(&reply, &allow(None, Some(r#"[{"a":1}]"#))),
            r#"{"id":7,"result":{"action":"accept","content":{},"_meta":{"persist":"session"}}}"#
        );
        assert_eq!(answered(&reply, &deny(true)), r#"{"id":7,"result":{"action":"cancel"}}"#);
    }

    #[test]
    fn an_unknown_request_is_refused_at_once() {
        let refused = |method| {
            ask(method, "{}", |route| match route {
                Route::Refuse(line) => String::from_utf8(line.to_vec()).unwrap(),
                other => panic!("{other:?}"),
            })
        };
        assert!(refused("item/tool/call").contains(r#""success":false"#));
        assert!(refused("brand/new").starts_with(r#"{"id":7,"error":{"code":-32601,"#));
    }

    #[test]
    fn a_narrow_mode_denies_every_request() {
        let (id, params) = (raw("\"x\""), raw("{}"));
        let method = "item/commandExecution/requestApproval";
        let route = Asked::read(method, &id, Some(&params)).route(1, true, |_| None);
        let Route::Refuse(line) = route else { panic!("{route:?}") };
        assert_eq!(&line[..], b"{\"id\":\"x\",\"result\":{\"decision\":\"decline\"}}\n");
    }
}
