//! May a tool run?

use claude_relay_client::{Decision, PermissionRequest, RawJson};
use serde_json::Value;

use super::{Prompt, Step, stopped};

#[derive(Debug)]
pub(crate) struct Permission {
    tool: String,
    input: RawJson,
    /// The rules that "always" adds, if it is on offer.
    always: Option<RawJson>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Choice,
    Input,
    Reason,
}

impl Permission {
    pub(super) fn begin(request: &PermissionRequest) -> (Self, Prompt) {
        let always = request.always();
        let rule = always.as_ref().and_then(describe);
        let permission = Self {
            tool: request.tool.clone(),
            input: request.input.clone(),
            always,
            stage: Stage::Choice,
        };
        let text = rule
            .map(|rule| format!("  always: {}", rule.replace(['\n', '\t'], "\u{fffd}")))
            .unwrap_or_default();
        let prompt = permission.choice().with_text(text);
        (permission, prompt)
    }

    fn choice(&self) -> Prompt {
        Prompt::new(format!(
            "Allow {}? [y]es, {}[e]dit the input, [n]o, [s]top the turn: ",
            self.tool.escape_debug(),
            if self.always.is_some() { "[a]lways, " } else { "" }
        ))
    }

    pub(super) fn answer(&mut self, line: &str) -> Step<Decision> {
        let line = line.trim();
        match self.stage {
            Stage::Choice => match (line.to_lowercase().as_str(), &self.always) {
                ("y" | "yes", _) => Step::Done(Decision::allow()),
                ("a" | "always", Some(rules)) => Step::Done(Decision::Allow {
                    updated_input: None,
                    updated_permissions: Some(rules.clone()),
                }),
                ("e" | "edit", _) => {
                    self.stage = Stage::Input;
                    let initial = self.input.get().to_owned();
                    Step::Ask(Prompt { initial, ..Prompt::new("Input: ") })
                }
                ("n" | "no", _) => {
                    self.stage = Stage::Reason;
                    Step::Ask(Prompt::new("Why (the agent reads it; may be empty): "))
                }
                ("s" | "stop", _) => Step::Done(stopped()),
                _ => Step::Ask(self.choice()),
            },
            Stage::Input => match object(line) {
                Some(input) => Step::Done(Decision::Allow {
                    updated_input: Some(input),
                    updated_permissions: None,
                }),
                None => {
                    self.stage = Stage::Choice;
                    Step::Ask(self.choice().with_text("  that is not a JSON object"))
                }
            },
            Stage::Reason => {
                Step::Done(Decision::deny(if line.is_empty() { "the user said no" } else { line }))
            }
        }
    }
}

fn object(line: &str) -> Option<RawJson> {
    RawJson::new(line.to_owned()).ok().filter(|json| json.get().trim().starts_with('{'))
}

/// Describes in a few words the change that "always" would make.
pub(super) fn describe(always: &RawJson) -> Option<String> {
    let rules: Vec<Value> = serde_json::from_str(always.get()).ok()?;
    let first = rules.first()?;
    match first["type"].as_str() {
        Some("addRules") => {
            let rules = first["rules"].as_array()?.iter().map(|rule| {
                let tool = rule["toolName"].as_str().unwrap_or("?");
                match rule["ruleContent"].as_str() {
                    Some(content) => format!("{tool}({content})"),
                    None => format!("every use of {tool}"),
                }
            });
            let verb = first["behavior"].as_str().unwrap_or("allow");
            Some(format!("{verb} {}", rules.collect::<Vec<_>>().join(", ")))
        }
        Some("setMode") => Some(format!("switch to the mode {}", first["mode"].as_str()?)),
        _ => Some(first.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::tests::{done, request};

    const SUGGESTION: &str = r#"{"permission_suggestions":[{"type":"addRules","rules":[{"toolName":"Bash","ruleContent":"ls"}],"behavior":"allow","destination":"session"}]}"#;

    fn begin(context: &str) -> (Permission, Prompt) {
        Permission::begin(&request("Bash", r#"{"command":"ls"}"#, context))
    }

    #[test]
    fn yes_is_as_asked_and_always_adds_the_rule_that_was_shown() {
        assert_eq!(done(begin("{}").0.answer(" Y ")), Decision::allow());
        let (mut permission, prompt) = begin(SUGGESTION);
        assert_eq!(prompt.text, "  always: allow Bash(ls)");
        assert!(prompt.label.contains("[a]lways"));
        let Decision::Allow { updated_permissions: Some(rules), .. } =
            done(permission.answer("always"))
        else {
            panic!("it is not added");
        };
        assert!(rules.get().contains("addRules"));
    }

    #[test]
    fn an_invalid_answer_is_asked_again_and_always_needs_a_suggestion() {
        let (mut permission, _) = begin("{}");
        for line in ["", "what", "a"] {
            assert!(matches!(permission.answer(line), Step::Ask(_)), "{line}");
        }
    }

    #[test]
    fn the_input_is_edited_and_what_is_no_object_is_refused() {
        let (mut permission, _) = begin("{}");
        let Step::Ask(prompt) = permission.answer("e") else { panic!("nothing to edit") };
        assert_eq!(prompt.initial, r#"{"command":"ls"}"#);
        assert!(matches!(permission.answer("[1]"), Step::Ask(_)));
        permission.answer("e");
        let Decision::Allow { updated_input: Some(input), .. } =
            done(permission.answer(r#"{"command":"pwd"}"#))
        else {
            panic!("it is not sent");
        };
        assert_eq!(input.get(), r#"{"command":"pwd"}"#);
    }

    #[test]
    fn no_has_a_reason_and_stop_ends_the_turn() {
        let (mut permission, _) = begin("{}");
        permission.answer("n");
        assert_eq!(done(permission.answer(" too risky ")), Decision::deny("too risky"));
        assert_eq!(done(begin("{}").0.answer("s")), stopped());
    }
}
