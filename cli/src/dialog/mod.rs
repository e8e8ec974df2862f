//! Requests of the agent to a person, as sequences of prompts and typed lines.
//!
//! A [`Dialog`] knows no terminal: it says what to prompt for, takes a line and
//! says what comes next.

mod choices;
mod form;
mod permission;
mod plan;
mod questions;

use claude_relay_client::{
    AgentAnswer, AgentRequest, Client, Decision, PermissionRequest, SendError,
};

use self::choices::Choices;
use self::form::Form;
use self::permission::Permission;
use self::plan::Plan;
pub(crate) use self::questions::Questions;

/// A prompt for one line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Prompt {
    /// Lines above it; may be empty.
    pub(crate) text: String,
    /// Stands before what is typed.
    pub(crate) label: String,
    /// The line as it is at first.
    pub(crate) initial: String,
}

impl Prompt {
    fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    fn with_text(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }
}

/// The next step after a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<A> {
    Ask(Prompt),
    Done(A),
}

/// A request of the agent to a person.
#[derive(Debug)]
pub(crate) enum Request {
    Permission(PermissionRequest),
    /// A form of an MCP server, or a dialog.
    Agent(AgentRequest),
}

/// The answer of a person.
#[derive(Debug)]
pub(crate) enum Answer {
    Decision(Decision),
    Agent(AgentAnswer),
}

impl Request {
    fn id(&self) -> &str {
        match self {
            Self::Permission(request) => &request.id,
            Self::Agent(request) => &request.id,
        }
    }

    /// The answer of somebody who pressed Ctrl-C.
    fn stopped(&self) -> Answer {
        match self {
            Self::Permission(_) => Answer::Decision(stopped()),
            Self::Agent(request) => Answer::Agent(unanswered(request)),
        }
    }

    /// The answer where the terminal has ended, for this reason.
    pub(crate) fn nobody(&self, reason: &str) -> Answer {
        match self {
            Self::Permission(_) => Answer::Decision(Decision::deny(reason)),
            Self::Agent(request) => Answer::Agent(unanswered(request)),
        }
    }

    /// Sends the answer.
    pub(crate) async fn reply(self, answer: Answer, client: &Client) -> Result<(), SendError> {
        match (self, answer) {
            (Self::Permission(request), Answer::Decision(decision)) => {
                client.respond(&request, &decision).await
            }
            (Self::Agent(request), Answer::Agent(answer)) => client.answer(&request, &answer).await,
            // A dialog answers in the kind of its request.
            (Self::Permission(_), Answer::Agent(_)) | (Self::Agent(_), Answer::Decision(_)) => {
                Ok(())
            }
        }
    }
}

/// One request of the agent being answered.
#[derive(Debug)]
pub(crate) enum Dialog {
    Permission(Permission),
    Choices(Choices),
    Plan(Plan),
    Form(Form),
}

impl Dialog {
    /// Begins it. `plan` is what the agent last wrote as its plan, for a
    /// request that does not hold it.
    pub(crate) fn begin(request: &Request, plan: Option<&str>) -> (Self, Prompt) {
        let request = match request {
            Request::Permission(request) => request,
            Request::Agent(request) => {
                let (form, prompt) = Form::begin(request);
                return (Self::Form(form), prompt);
            }
        };
        if is_question(request)
            && let Some((choices, prompt)) = Choices::begin(request)
        {
            return (Self::Choices(choices), prompt);
        }
        if request.tool == "ExitPlanMode" {
            let (plan, prompt) = Plan::begin(request, plan);
            return (Self::Plan(plan), prompt);
        }
        let (permission, prompt) = Permission::begin(request);
        (Self::Permission(permission), prompt)
    }

    pub(crate) fn answer(&mut self, line: &str) -> Step<Answer> {
        let step = match self {
            Self::Permission(permission) => permission.answer(line),
            Self::Choices(choices) => choices.answer(line),
            Self::Plan(plan) => plan.answer(line),
            Self::Form(form) => {
                return match form.answer(line) {
                    Step::Ask(prompt) => Step::Ask(prompt),
                    Step::Done(answer) => Step::Done(Answer::Agent(answer)),
                };
            }
        };
        match step {
            Step::Ask(prompt) => Step::Ask(prompt),
            Step::Done(decision) => Step::Done(Answer::Decision(decision)),
        }
    }
}

/// Returns true for the agent's questions with choices.
fn is_question(request: &PermissionRequest) -> bool {
    matches!(&*request.tool, "AskUserQuestion" | "requestUserInput")
}

/// Returns true if the dialog shows all that the request holds, so that the
/// input need not be shown beside it.
pub(crate) fn shows_itself(request: &PermissionRequest) -> bool {
    is_question(request) || request.tool == "ExitPlanMode"
}

/// The answer of somebody who pressed Ctrl-C.
fn stopped() -> Decision {
    Decision::Deny { message: "the user stopped the turn".into(), interrupt: true }
}

/// The answer to a form, or to a dialog, that nobody has answered.
fn unanswered(request: &AgentRequest) -> AgentAnswer {
    match request.form() {
        Some(_) => AgentAnswer::cancel(),
        None => AgentAnswer::dismiss(),
    }
}

#[cfg(test)]
mod tests {
    use claude_relay_client::RawJson;

    use super::*;

    pub(super) fn request(tool: &str, input: &str, context: &str) -> PermissionRequest {
        PermissionRequest {
            id: "r".to_owned(),
            tool: tool.to_owned(),
            input: RawJson::new(input).unwrap(),
            context: RawJson::new(context).unwrap(),
        }
    }

    pub(super) fn done<A>(step: Step<A>) -> A {
        match step {
            Step::Done(answer) => answer,
            Step::Ask(prompt) => panic!("it asks again: {prompt:?}"),
        }
    }

    #[test]
    fn each_tool_has_its_dialog_and_what_is_malformed_is_a_plain_permission() {
        for (tool, input, label) in [
            ("Bash", "{}", "Allow Bash?"),
            ("ExitPlanMode", "{}", "Carry it out?"),
            ("AskUserQuestion", r#"{"questions":[{"question":"Why?"}]}"#, "Your answer"),
            ("AskUserQuestion", "{}", "Allow AskUserQuestion?"),
        ] {
            let request = Request::Permission(request(tool, input, "{}"));
            let (_, prompt) = Dialog::begin(&request, None);
            assert!(prompt.label.starts_with(label), "{prompt:?}");
        }
    }
}
