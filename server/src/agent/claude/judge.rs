//! Lines of a program for its agent under the ceiling: an allow-list, with a look
//! into the requests that bring permissions along.

use claude_relay_protocol::json::{Entries, elements, entries, fields, string};
use serde_json::json;
use serde_json::value::RawValue;

use super::run_launch::{check_field, check_settings};
use crate::agent::controls::Ceiling;
use crate::agent::mode::Mode;

/// The outcome for a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It is passed on as it is.
    Pass,
    /// This line is passed on in its place.
    Replace(String),
    /// It is left out, and this is the agent's answer.
    Answer(String),
    /// It is left out for this reason.
    LeaveOut(String),
    /// The run ends for this reason.
    End(String),
}

/// Types of lines that need no look.
const PLAIN: [&str; 3] = ["user", "keep_alive", "control_cancel_request"];

/// Returns true for the type of a line that needs no look.
#[must_use]
pub fn is_plain(kind: &str) -> bool {
    PLAIN.contains(&kind)
}

/// Maximum size of a line that is judged. It is read more than once.
const JUDGED_BYTES: usize = 16 << 20;

/// Maximum size of a part of an answer that is looked into. Data of a tool is
/// not.
const PART_BYTES: usize = 1 << 20;

/// Fields of `initialize` and `claim_session` that are words for the model, or about
/// the conversation.
const TEXT: [&str; 10] = [
    "appendSubagentSystemPrompt",
    "appendSystemPrompt",
    "append_system_prompt",
    "jsonSchema",
    "json_schema",
    "planModeInstructions",
    "systemPrompt",
    "systemPromptSnapshot",
    "system_prompt",
    "title",
];

/// Those that are numbers or the program's own callbacks, tools and servers: they
/// refer to no credential of the server.
const FREE: [&str; 26] = [
    "subtype",
    "additional_directories",
    "agentProgressSummaries",
    "agent_progress_summaries",
    "codeRunningMcpTools",
    "excludeDynamicSections",
    "exclude_dynamic_sections",
    "forwardNestedSubagentToolCalls",
    "forwardSubagentText",
    "hooks",
    "include_initialize",
    "mcpServers",
    "mcp_servers",
    "perTaskStopAffordance",
    "plugins",
    "promptSuggestions",
    "rapidFollowupPreempt",
    "sdkMcpServerConfigs",
    "sdkMcpServerManifests",
    "sdkMcpServers",
    "sdk_mcp_server_manifests",
    "sdk_mcp_servers",
    "skills",
    "supportedDialogKinds",
    "toolAliases",
    "webSearchIsolationExemptMcpServers",
];

/// Parts of an answer that are data of a tool.
const TOOL_DATA: [&str; 4] =
    ["mcp_response", "updatedInput", "updatedMCPToolOutput", "updatedToolOutput"];

/// The depth to which an answer is looked into.
const MAX_DEPTH: usize = 8;

impl Ceiling<'_> {
    /// Judges one line: a JSON value.
    #[must_use]
    pub fn judge(&self, line: &str) -> Judgement {
        if self.mode == Mode::Unrestricted {
            return Judgement::Pass;
        }
        if line.len() > JUDGED_BYTES {
            return Judgement::End(format!(
                "mode {} of the server judges lines of at most {} MiB, and this one has {} bytes",
                self.mode,
                JUDGED_BYTES >> 20,
                line.len()
            ));
        }
        let Ok([kind, id, request, response]) =
            fields(line, ["type", "request_id", "request", "response"])
        else {
            return Judgement::LeaveOut("a line that is no object".to_owned());
        };
        let kind = kind.and_then(string).unwrap_or_default();
        match (kind.as_ref(), request, response) {
            (kind, ..) if is_plain(kind) => Judgement::Pass,
            ("control_request", Some(request), _) => self.judge_request(id, request),
            ("control_response", _, Some(response)) => judge_response(self, response),
            (kind, ..) => Judgement::LeaveOut(format!(
                "mode {} of the server does not allow lines of the type {kind:.50?}",
                self.mode
            )),
        }
    }

    fn judge_request(&self, id: Option<&RawValue>, request: &RawValue) -> Judgement {
        let subtype =
            fields(request.get(), ["subtype"]).ok().and_then(|[subtype]| string(subtype?));
        let subtype = subtype.unwrap_or_default();
        let begins = matches!(subtype.as_ref(), "initialize" | "claim_session");
        let judged = match begins {
            true => self.check_beginning(request).map_err(|reason| {
                format!("mode {} of the server does not allow {reason} ({subtype})", self.mode)
            }),
            false => self.check_control(&subtype, request.get()),
        };
        match (judged, id) {
            (Ok(()), _) => Judgement::Pass,
            // An SDK goes on after an error, without its hooks.
            (Err(reason), _) if subtype == "initialize" => Judgement::End(reason),
            (Err(reason), Some(id)) => Judgement::Answer(error_response(id, &reason)),
            (Err(reason), None) => Judgement::LeaveOut(reason),
        }
    }

    /// Judges `initialize` and `claim_session`.
    fn check_beginning(&self, request: &RawValue) -> Result<(), String> {
        for (name, value) in read(request)? {
            if value.get() == "null" {
                continue;
            }
            match name.as_ref() {
                name if TEXT.contains(&name) => {}
                name if FREE.contains(&name) => self.check_references(value.get())?,
                "agents" => {
                    self.mode.check_sub_agents(value.get()).map_err(str::to_owned)?;
                    self.own
                        .check_agents("agents", value.get())
                        .map_err(|error| error.to_string())?;
                }
                "settings" | "managedSettings" | "managed_settings" => match string(value) {
                    Some(text) => check_settings(&text, self.mode, self.own)?,
                    None => check_settings(value.get(), self.mode, self.own)?,
                },
                "disallowedTools" | "disallowed_tools" => {
                    check_field("disallowedTools", value, self.mode)?;
                }
                "permission_mode" => self.mode.check_permission_mode(value)?,
                "cwd" => {
                    let request = format!(r#"{{"subtype":"set_cwd","path":{}}}"#, value.get());
                    self.check_control("set_cwd", &request)?;
                }
                "env" => check_field("env", value, self.mode)?,
                "workspaceTrust" if self.trusted => {}
                name => return Err(format!("the field {name:.50?}")),
            }
        }
        Ok(())
    }

    fn check_references(&self, text: &str) -> Result<(), String> {
        self.own.check_references("a field", text).map_err(|error| error.to_string())
    }

    /// Judges an answer: the rules that it brings along, wherever they stand.
    ///
    /// # Errors
    ///
    /// Returns the reason for which it exceeds the ceiling.
    pub fn check_answer(&self, answer: &RawValue) -> Result<(), String> {
        match self.mode {
            Mode::Unrestricted => Ok(()),
            Mode::Safe | Mode::Ask | Mode::Agentic => self.check_part(answer, 0),
        }
    }

    fn check_part(&self, answer: &RawValue, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("an answer that is nested so deep".to_owned());
        }
        if depth > 0 && answer.get().len() > PART_BYTES {
            return Err("an answer with a part over 1 MiB that is no data of a tool".to_owned());
        }
        if answer.get().starts_with('[') {
            let items = elements(answer).map_err(|error| error.to_string())?;
            return items.into_iter().try_for_each(|item| self.check_part(item, depth + 1));
        }
        if !answer.get().starts_with('{') {
            return Ok(());
        }
        for (name, value) in read(answer)? {
            match name.as_ref() {
                name if TOOL_DATA.contains(&name) => {}
                "updatedPermissions" if value.get() != "null" => self.check_updates(value)?,
                _ => self.check_part(value, depth + 1)?,
            }
        }
        Ok(())
    }
}

fn judge_response(ceiling: &Ceiling<'_>, response: &RawValue) -> Judgement {
    let [id, body] = fields(response.get(), ["request_id", "response"]).unwrap_or_default();
    let Some(body) = body else { return Judgement::Pass };
    match (ceiling.check_answer(body), id) {
        (Ok(()), _) => Judgement::Pass,
        (Err(reason), Some(id)) => Judgement::Replace(error_response(id, &reason)),
        (Err(reason), None) => Judgement::LeaveOut(reason),
    }
}

fn read(object: &RawValue) -> Result<Entries<'_>, String> {
    entries(object.get()).map_err(|error| format!("what cannot be read: {error}"))
}

/// An answer that refuses a request, as the CLI and an SDK write it.
fn error_response(id: &RawValue, reason: &str) -> String {
    let reason = json!(reason);
    format!(
        r#"{{"type":"control_response","response":{{"subtype":"error","request_id":{},"error":{reason}}}}}"#,
        id.get()
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use claude_relay_protocol::QueryConfig;

    use super::*;

    fn judge(line: &str) -> Judgement {
        let workspace = Path::new("/");
        let own = QueryConfig::parse(br#"{"env":{"OWN":"x"}}"#, &QueryConfig::default());
        let own = own.unwrap().config;
        Ceiling { mode: Mode::Ask, trusted: false, workspace, cwd: workspace, own: &own }
            .judge(line)
    }

    fn request(request: &str) -> String {
        format!(r#"{{"type":"control_request","request_id":"r","request":{request}}}"#)
    }

    fn response(body: &str) -> String {
        format!(
            r#"{{"type":"control_response","response":{{"subtype":"success","request_id":"r","response":{body}}}}}"#
        )
    }

    #[test]
    fn what_a_program_says_in_order_passes() {
        for line in [
            r#"{"type":"user","message":{"role":"user","content":"x"}}"#.to_owned(),
            r#"{"type":"control_cancel_request","request_id":"r"}"#.to_owned(),
            request(r#"{"subtype":"interrupt"}"#),
            request(r#"{"subtype":"set_permission_mode","mode":"acceptEdits"}"#),
            request(r#"{"subtype":"initialize","hooks":null,"agents":{"a":{"prompt":"p"}}}"#),
            request(r#"{"subtype":"initialize","settings":"{\"permissions\":{\"defaultMode\":\"plan\"}}"}"#),
            request(r#"{"subtype":"claim_session","cwd":"/","permission_mode":"plan","env":{"A":"b"}}"#),
            request(r#"{"subtype":"initialize","systemPrompt":"${ANTHROPIC_API_KEY}","agents":{"a":{"prompt":"${x.y}"}},"mcpServers":{"s":{"type":"http","url":"http://h/${OWN}"}}}"#),
            request(r#"{"subtype":"mcp_set_servers","servers":{"s":{"type":"http","url":"http://h/${OWN:-x}"}}}"#),
            response(r#"{"behavior":"allow","updatedInput":{"updatedPermissions":"x"}}"#),
            response(r#"{"behavior":"allow","updatedPermissions":[{"type":"setMode","mode":"plan","destination":"session"}]}"#),
            response(r#"{"mcp_response":{"result":{"updatedPermissions":[{"type":"setMode","mode":"auto"}]}}}"#),
            r#"{"type":"control_response","response":{"subtype":"error","request_id":"r","error":"e"}}"#.to_owned(),
        ] {
            assert_eq!(judge(&line), Judgement::Pass, "{line}");
        }
    }

    #[test]
    fn an_initialize_beyond_the_ceiling_ends_the_run() {
        for fields in [
            r#""agents":{"a":{"prompt":"p","permissionMode":"auto"}}"#,
            r#""settings":"{\"permissions\":{\"defaultMode\":\"bypassPermissions\"}}""#,
            r#""settings":{"permissions":{"defaultMode":"auto"}}"#,
            r#""settings":{"env":{"ANTHROPIC_BASE_URL":"http://h"}}"#,
            r#""settings":{"env":{"HTTPS_PROXY":"http://h"}}"#,
            r#""settings":{"permissions":{"deny":["Edit(!**)"]}}"#,
            r#""managedSettings":{"permissions":{"defaultMode":"auto"}}"#,
            r#""managed_settings":"{\"env\":{\"ANTHROPIC_BASE_URL\":\"http://h\"}}""#,
            r#""disallowedTools":["Edit(!**)"]"#,
            r#""workspaceTrust":{"accepted":true,"directory":"/"}"#,
            r#""brandNew":1"#,
            r#""mcpServers":{"s":{"type":"http","url":"http://h/${ANTHROPIC_API_KEY}"}}"#,
            r#""sdkMcpServerConfigs":{"s":{"headers":{"x":"${NOPE:-$}{ANTHROPIC_API_KEY}"}}}"#,
            r#""agents":{"a":{"prompt":"p","mcpServers":[{"s":{"url":"http://${OPENAI_API_KEY}"}}]}}"#,
            r#""settings":{"hooks":{"Stop":[{"hooks":[{"type":"http","url":"http://h","allowedEnvVars":["ANTHROPIC_API_KEY"]}]}]}}"#,
            r#""settings":"{\"httpHookAllowedEnvVars\":[\"ANTHROPIC_API_KEY\"]}""#,
            r#""env":{"A":"$"}"#,
        ] {
            let line = request(&format!(r#"{{"subtype":"initialize",{fields}}}"#));
            assert!(matches!(judge(&line), Judgement::End(_)), "{line}");
        }
    }

    #[test]
    fn a_request_beyond_the_ceiling_is_answered_with_an_error() {
        for body in [
            r#"{"subtype":"set_permission_mode","mode":"bypassPermissions"}"#,
            r#"{"subtype":"apply_flag_settings","settings":{"permissions":{"defaultMode":"auto"}}}"#,
            r#"{"subtype":"claim_session","cwd":"/nowhere/else"}"#,
            r#"{"subtype":"claim_session","cwd":"/","permission_mode":"auto"}"#,
            r#"{"subtype":"claim_session","cwd":"/","env":{"LD_PRELOAD":"x"}}"#,
            r#"{"subtype":"claim_session","cwd":"/","env":{"ANTHROPIC_BASE_URL":"http://h"}}"#,
            r#"{"subtype":"claim_session","cwd":"/","disallowed_tools":["Edit(!**)"]}"#,
            r#"{"subtype":"apply_flag_settings","settings":{"permissions":{"ask":["Read(!**)"]}}}"#,
            r#"{"subtype":"mcp_set_servers","servers":{"s":{"type":"http","url":"http://h/${ANTHROPIC_API_KEY}"}}}"#,
            r#"{"subtype":"mcp_set_servers","servers":{"s":{"x":"\ud800","url":"http://h/${ANTHROPIC_API_KEY}"}}}"#,
            r#"{"subtype":"brand_new"}"#,
            r#"{"subtype":7}"#,
        ] {
            let Judgement::Answer(answer) = judge(&request(body)) else { panic!("{body}") };
            assert!(answer.contains(r#""subtype":"error","request_id":"r""#), "{answer}");
        }
    }

    #[test]
    fn an_approval_that_turns_the_questions_off_becomes_an_error() {
        let update = r#"[{"type":"setMode","mode":"bypassPermissions","destination":"session"}]"#;
        for body in [
            format!(r#"{{"behavior":"allow","updatedPermissions":{update}}}"#),
            format!(
                r#"{{"hookSpecificOutput":{{"decision":{{"behavior":"allow","updatedPermissions":{update}}}}}}}"#
            ),
            format!(r#"{{"new":[{{"updatedPermissions":{update}}}]}}"#),
            r#"{"updatedPermissions":[{"type":"addRules","behavior":"deny","destination":"session","rules":[{"toolName":"Edit","ruleContent":"!**"}]}]}"#.to_owned(),
        ] {
            let Judgement::Replace(line) = judge(&response(&body)) else { panic!("{body}") };
            assert!(line.contains(r#""subtype":"error","request_id":"r""#), "{line}");
        }
    }

    #[test]
    fn lines_of_other_types_are_left_out() {
        for line in [
            r#"{"type":"bash_command","command":"id"}"#,
            r#"{"type":"update_environment_variables","variables":{}}"#,
            r#"{"type":"control_request"}"#,
            "[]",
            "7",
        ] {
            assert!(matches!(judge(line), Judgement::LeaveOut(_)), "{line}");
        }
    }
}
