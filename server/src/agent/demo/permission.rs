//! Permission requests to the host, and the results of tool calls.

use serde_json::{Value, json};

use super::{Agent, Stop, lines};

/// The CLI's text to the model for a tool call that the user rejected.
const REJECTED: &str = "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, the new_string was NOT written to the file). STOP what you are doing and wait for the user to tell you how to proceed.";

/// Decision of the host about a tool call.
enum Decision {
    Allowed(Value),
    Denied(String),
}

impl Agent {
    /// Asks for permission to use `tool` and reports the result in a message.
    pub(super) fn ask_permission(&mut self, tool: &str) -> Result<(), Stop> {
        self.open_message()?;
        let input = json!({"command": "touch demo.txt", "description": "Ask for permission"});
        self.text_block(0, &format!("May I use {tool}?"), None)?;
        let id = self.tool_block(1, tool, &input)?;
        self.close_message("tool_use")?;
        let decision = self.ask(tool, &id, &input)?;
        let report = match decision {
            Decision::Allowed(input) => {
                self.tool_succeeded(&id, "The demo agent runs nothing.")?;
                format!("permission for {tool}: allow {input}")
            }
            Decision::Denied(reason) => {
                self.denied(tool, &id, &input)?;
                self.tool_failed(&id, &reason, &format!("Error: {reason}"))?;
                format!("permission for {tool}: deny {reason}")
            }
        };
        self.say(&report)
    }

    /// Returns the host's answer to `can_use_tool`, or the decision of the
    /// permission mode.
    fn ask(&mut self, tool: &str, tool_use_id: &str, input: &Value) -> Result<Decision, Stop> {
        if self.permission_mode == "bypassPermissions" {
            return Ok(Decision::Allowed(input.clone()));
        }
        if !self.options.prompts || self.permission_mode == "dontAsk" {
            return Ok(Decision::Denied(format!(
                "{tool} was blocked: permission prompts are off."
            )));
        }
        let id = self.ids.uuid();
        self.turn()?.asked = Some(id.clone());
        self.state("requires_action")?;
        self.line(|facts, _| lines::can_use_tool(facts, tool, tool_use_id, input, &id))?;
        let answer = loop {
            let turn = self.turn()?;
            if turn.interrupted {
                self.state("running")?;
                return Err(self.rejected(tool, tool_use_id, input)?);
            }
            if let Some(answer) = turn.answered.take() {
                break Some(answer.response);
            }
            if self.ended && self.incoming.is_empty() {
                self.turn()?.asked = None;
                break None;
            }
            self.wait(None)?;
        };
        self.state("running")?;
        let failed = |reason: &str| {
            Ok(Decision::Denied(format!("Tool permission request failed: {reason}")))
        };
        let Some(answer) = answer else {
            return failed("Error: Tool permission stream closed before response received");
        };
        match answer {
            Ok(answer) if answer["behavior"] == "allow" => {
                let updated = answer.get("updatedInput").filter(|input| input.is_object());
                Ok(Decision::Allowed(updated.unwrap_or(input).clone()))
            }
            Ok(answer) if answer["behavior"] == "deny" && answer["message"].is_string() => {
                if answer["interrupt"] == true {
                    return Err(self.rejected(tool, tool_use_id, input)?);
                }
                Ok(Decision::Denied(answer["message"].as_str().unwrap_or_default().to_owned()))
            }
            Ok(_) => failed(
                "ZodError: invalid_union: expected behavior \"allow\" or \"deny\" with a message",
            ),
            Err(reason) => failed(&format!("Error: {reason}")),
        }
    }

    /// Prints the lines for a tool call that the user rejected.
    fn rejected(&mut self, tool: &str, tool_use_id: &str, input: &Value) -> Result<Stop, Stop> {
        self.denied(tool, tool_use_id, input)?;
        self.turn()?.num_turns += 1;
        let content = tool_result(tool_use_id, REJECTED);
        self.line(|facts, uuid| {
            let mut line = lines::user(facts, content, uuid);
            line["tool_use_result"] = json!("User rejected tool use");
            line["tool_result_meta"] =
                json!([{"id": tool_use_id, "non_execution_kind": "user-rejected"}]);
            line
        })?;
        Ok(Stop::Interrupted { tool: true })
    }

    fn denied(&mut self, tool: &str, tool_use_id: &str, input: &Value) -> Result<(), Stop> {
        self.turn()?.denials.push(json!({
            "tool_name": tool, "tool_use_id": tool_use_id, "tool_input": input,
        }));
        Ok(())
    }

    pub(super) fn tool_succeeded(&mut self, tool_use_id: &str, stdout: &str) -> Result<(), Stop> {
        let content = json!([
            {"tool_use_id": tool_use_id, "type": "tool_result", "content": stdout, "is_error": false},
        ]);
        self.line(|facts, uuid| {
            let mut line = lines::user(facts, content, uuid);
            line["tool_use_result"] = json!({
                "stdout": stdout, "stderr": "", "interrupted": false,
                "isImage": false, "noOutputExpected": false,
            });
            line["tool_result_meta"] = json!([{
                "id": tool_use_id,
                "permission_decision": {"decision": "accept", "source": "user_temporary"},
            }]);
            line
        })
    }

    fn tool_failed(&mut self, tool_use_id: &str, text: &str, result: &str) -> Result<(), Stop> {
        let content = tool_result(tool_use_id, text);
        self.line(|facts, uuid| {
            let mut line = lines::user(facts, content, uuid);
            line["tool_use_result"] = json!(result);
            line["tool_result_meta"] = json!([{
                "id": tool_use_id,
                "non_execution_kind": "permission-rule",
                "permission_decision": {"decision": "reject", "source": "user_reject"},
            }]);
            line
        })
    }
}

fn tool_result(tool_use_id: &str, text: &str) -> Value {
    json!([{"type": "tool_result", "content": text, "is_error": true, "tool_use_id": tool_use_id}])
}
