//! Requests for a permission that are questions of the agent to a person.

use claude_relay_protocol::json::{elements, fields};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::types::permission::{Decision, PermissionRequest};
use crate::types::raw_json::{RawJson, text_of};

/// A question of the agent with answers to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The question, which names it in the answers.
    pub question: String,
    /// A word or two to stand above it.
    pub header: Option<String>,
    /// The answers on offer. Another text is an answer, too.
    pub choices: Vec<Choice>,
    /// Several choices may be taken together.
    pub multi_select: bool,
}

/// An answer on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The answer.
    pub label: String,
    /// More about it.
    pub description: Option<String>,
}

impl PermissionRequest {
    /// The questions with choices that the agent asks by this request
    /// (`AskUserQuestion`). Answer them with [`Decision::answers`].
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Decision;
    ///
    /// # fn example(request: claude_relay_client::PermissionRequest) -> Decision {
    /// let Some(questions) = request.questions() else { return Decision::deny("not now") };
    /// let first = questions.iter().filter_map(|question| {
    ///     Some((question.question.clone(), question.choices.first()?.label.clone()))
    /// });
    /// Decision::answers(&request, first)
    /// # }
    /// ```
    #[must_use]
    pub fn questions(&self) -> Option<Vec<Question>> {
        if self.tool != "AskUserQuestion" {
            return None;
        }
        let [questions] = fields(self.input.get(), ["questions"]).ok()?;
        elements(questions?).ok()?.into_iter().map(question).collect()
    }

    /// The plan that the agent wants to carry out (`ExitPlanMode`); empty if it
    /// stands in its messages alone. `None` for a request of another kind.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn example(request: claude_relay_client::PermissionRequest) {
    /// if let Some(plan) = request.plan() {
    ///     println!("{plan}");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn plan(&self) -> Option<String> {
        if self.tool != "ExitPlanMode" {
            return None;
        }
        let [plan] = fields(self.input.get(), ["plan"]).ok()?;
        Some(text_of(plan).unwrap_or_default().into_owned())
    }
}

fn question(raw: &RawValue) -> Option<Question> {
    let names = ["question", "header", "options", "multiSelect"];
    let [question, header, options, multi_select] = fields(raw.get(), names).ok()?;
    let options = options.and_then(|options| elements(options).ok()).unwrap_or_default();
    let choice = |raw: &RawValue| {
        let [label, description] = fields(raw.get(), ["label", "description"]).ok()?;
        Some(Choice {
            label: text_of(label)?.into_owned(),
            description: text_of(description).map(|text| text.into_owned()),
        })
    };
    Some(Question {
        question: text_of(question)?.into_owned(),
        header: text_of(header).map(|text| text.into_owned()),
        choices: options.into_iter().filter_map(choice).collect(),
        multi_select: multi_select.is_some_and(|flag| flag.get() == "true"),
    })
}

impl Decision {
    /// The answers to the questions of `request`: each question with its answer.
    /// Several choices are joined by commas.
    ///
    /// # Examples
    ///
    /// ```
    /// use claude_relay_client::Decision;
    ///
    /// # fn example(request: claude_relay_client::PermissionRequest) -> Decision {
    /// Decision::answers(&request, [("Which one?".to_owned(), "The second".to_owned())])
    /// # }
    /// ```
    #[must_use]
    pub fn answers(
        request: &PermissionRequest,
        answers: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut input: Map<String, Value> =
            serde_json::from_str(request.input.get()).unwrap_or_default();
        let answers: Map<String, Value> =
            answers.into_iter().map(|(question, answer)| (question, answer.into())).collect();
        input.insert("answers".into(), answers.into());
        Self::Allow {
            updated_input: Some(RawJson::from_value(&input.into())),
            updated_permissions: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(tool: &str, input: &str) -> PermissionRequest {
        PermissionRequest {
            id: "r".into(),
            tool: tool.into(),
            input: RawJson::new(input.to_owned()).unwrap(),
            context: RawJson::new("{}").unwrap(),
        }
    }

    #[test]
    fn questions_are_read_and_answered_with_the_input() {
        let asked = request(
            "AskUserQuestion",
            r#"{"questions":[{"question":"Which?","header":"DB","multiSelect":true,"options":[{"label":"A","description":"a"},{"label":"B"}]}],"n":1}"#,
        );
        let questions = asked.questions().unwrap();
        assert!(questions[0].multi_select);
        assert_eq!(questions[0].header.as_deref(), Some("DB"));
        assert_eq!(questions[0].choices[0].description.as_deref(), Some("a"));
        assert_eq!(questions[0].choices[1].label, "B");
        let decision = Decision::answers(&asked, [("Which?".to_owned(), "A, B".to_owned())]);
        let Decision::Allow { updated_input: Some(input), .. } = decision else {
            panic!("{decision:?}");
        };
        let input: Value = serde_json::from_str(input.get()).unwrap();
        assert_eq!((&input["n"], &input["answers"]["Which?"]), (&1.into(), &"A, B".into()));
        assert_eq!(request("AskUserQuestion", r#"{"questions":[1]}"#).questions(), None);
        assert_eq!(request("Bash", r#"{"questions":[]}"#).questions(), None);
    }

    #[test]
    fn a_plan_is_text() {
        assert_eq!(request("ExitPlanMode", r#"{"plan":"1. Go"}"#).plan().as_deref(), Some("1. Go"));
        assert_eq!(request("ExitPlanMode", "{}").plan().as_deref(), Some(""));
        assert_eq!(request("Bash", "{}").plan(), None);
    }
}
