//! Questions to the host, and what becomes of a tool call.

use serde_json::{Value, json};

use super::{Agent, Stop, lines};

/// What the CLI tells the model about a tool that the user did not want.
const REJECTED: &str = "The user doesn't want to proceed with this tool use. The tool use was rejected (eg. if it was a file edit, the new_string was NOT written to the file). STOP what you are doing and wait for the user to tell you how to proceed.";

/// A host's word on a tool.
enum Verdict {
    Allowed(Value),
    Denied(String),
}

impl Agent {
    /// Asks to use `tool` and tells in a message what became of it.
    pub(super) fn ask_and_tell(&mut self, tool: &str) -> Result<(), Stop> {
        self.open_message()?;
        let input = json!({"command": "touch demo.txt", "description": "Ask for permission"});
        self.text_block(0, &format!("May I use {tool}?"), None)?;
        let id = self.tool_block(1, tool, &input)?;
        self.close_message("tool_use")?;
        let verdict = self.ask(tool, &id, &input)?;
        let told = match verdict {
            Verdict::Allowed(input) => {
                self.tool_succeeded(&id, "The demo agent runs nothing.")?;
                format!("permission for {tool}: allow {input}")
            }
            Verdict::Denied(why) => {
                self.denied(tool, &id, &input)?;
                self.tool_failed(&id, &why, &format!("Error: {why}"))?;
                format!("permission for {tool}: deny {why}")
            }
        };
        self.say(&told)
    }

    /// The host's answer to `can_use_tool`, or what the mode decides.
    fn ask(&mut self, tool: &str, tool_use_id: &str, input: &Value) -> Result<Verdict, Stop> {
        if self.permission_mode == "bypassPermissions" {
            return Ok(Verdict::Allowed(input.clone()));
        }
        if !self.options.prompts || self.permission_mode == "dontAsk" {
            return Ok(Verdict::Denied(format!("{tool} was blocked: there is nobody to ask.")));
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
        let failed =
            |why: &str| Ok(Verdict::Denied(format!("Tool permission request failed: {why}")));
        let Some(answer) = answer else {
            return failed("Error: Tool permission stream closed before response received");
        };
        match answer {
            Ok(answer) if answer["behavior"] == "allow" => {
                let updated = answer.get("updatedInput").filter(|input| input.is_object());
                Ok(Verdict::Allowed(updated.unwrap_or(input).clone()))
            }
            Ok(answer) if answer["behavior"] == "deny" && answer["message"].is_string() => {
                if answer["interrupt"] == true {
                    return Err(self.rejected(tool, tool_use_id, input)?);
                }
                Ok(Verdict::Denied(answer["message"].as_str().unwrap_or_default().to_owned()))
            }
            Ok(_) => failed(
                "ZodError: invalid_union: expected behavior \"allow\" or \"deny\" with a message",
            ),
            Err(why) => failed(&format!("Error: {why}")),
        }
    }

    /// Prints what follows on a tool call that the user cut off.
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
