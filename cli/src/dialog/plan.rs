//! Shall the agent's plan be carried out?

use claude_relay_client::{Decision, PermissionRequest, RawJson};
use serde_json::Value;

use super::permission::describe;
use super::{Prompt, Step, stopped};

#[derive(Debug)]
pub(crate) struct Plan {
    always: Option<RawJson>,
    asks_for_reason: bool,
}

impl Plan {
    /// The plan is in the request, or else what the agent has last written
    /// down as one.
    pub(super) fn begin(request: &PermissionRequest, written: Option<&str>) -> (Self, Prompt) {
        let input: Value = serde_json::from_str(request.input.get()).unwrap_or_default();
        let plan = input["plan"].as_str().filter(|plan| !plan.trim().is_empty()).or(written);
        let always = request.always();
        let mut text = match plan {
            Some(plan) => format!("The agent's plan:\n\n{}\n", plan.trim_end()),
            None => "The agent has a plan; it is in its last messages.".to_owned(),
        };
        if let Some(rule) = always.as_ref().and_then(describe) {
            text.push_str(&format!("\n  always: {rule}"));
        }
        let plan = Self { always, asks_for_reason: false };
        let prompt = plan.choice().with_text(text);
        (plan, prompt)
    }

    fn choice(&self) -> Prompt {
        Prompt::new(format!(
            "Carry it out? [y]es, {}[n]o, go on planning, [s]top the turn: ",
            if self.always.is_some() { "[a]lways, " } else { "" }
        ))
    }

    pub(super) fn answer(&mut self, line: &str) -> Step<Decision> {
        let line = line.trim();
        if self.asks_for_reason {
            let reason = if line.is_empty() { "the user wants another plan" } else { line };
            return Step::Done(Decision::deny(reason));
        }
        match (line.to_lowercase().as_str(), &self.always) {
            ("y" | "yes", _) => Step::Done(Decision::allow()),
            ("a" | "always", Some(rules)) => Step::Done(Decision::Allow {
                updated_input: None,
                updated_permissions: Some(rules.clone()),
            }),
            ("n" | "no", _) => {
                self.asks_for_reason = true;
                Step::Ask(Prompt::new("What is to be changed (the agent reads it): "))
            }
            ("s" | "stop", _) => Step::Done(stopped()),
            _ => Step::Ask(self.choice()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::tests::{done, request};

    #[test]
    fn the_plan_is_shown_as_text_wherever_it_is() {
        let with_plan = request("ExitPlanMode", r##"{"plan":"# Plan\n1. Go"}"##, "{}");
        let (_, prompt) = Plan::begin(&with_plan, Some("another"));
        assert!(prompt.text.contains("# Plan\n1. Go") && !prompt.text.contains("another"));
        let without = request("ExitPlanMode", "{}", "{}");
        assert!(Plan::begin(&without, Some("written down")).1.text.contains("written down"));
        assert!(Plan::begin(&without, None).1.text.contains("last messages"));
    }

    #[test]
    fn no_goes_on_planning_with_what_was_typed() {
        let (mut plan, _) = Plan::begin(&request("ExitPlanMode", "{}", "{}"), None);
        assert!(matches!(plan.answer("no"), Step::Ask(_)));
        assert_eq!(done(plan.answer("smaller steps")), Decision::deny("smaller steps"));
        let (mut plan, _) = Plan::begin(&request("ExitPlanMode", "{}", "{}"), None);
        assert_eq!(done(plan.answer("y")), Decision::allow());
    }
}
