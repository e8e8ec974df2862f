//! A form of an MCP server, a page that it wants opened, or a dialog of the
//! agent.

use claude_relay_client::{AgentAnswer, AgentRequest, FieldKind, FormField};
use serde_json::{Map, Value};

use super::{Prompt, Step};

/// The most characters of a request that are shown.
const MAX_CHARS: usize = 10_000;

#[derive(Debug)]
pub(crate) enum Form {
    /// Whether to fill it in, and then one field after the other.
    Fields {
        fields: Vec<FormField>,
        /// The place of the field that is asked for; `None` before the first.
        at: Option<usize>,
        values: Map<String, Value>,
    },
    Page,
    /// A dialog that a terminal cannot draw.
    Dialog,
}

impl Form {
    pub(super) fn begin(request: &AgentRequest) -> (Self, Prompt) {
        let Some(form) = request.form() else {
            let text = format!(
                "The agent shows a dialog that cannot be drawn here:\n{}",
                cut(request.request.get())
            );
            return (Self::Dialog, Self::Dialog.choice().with_text(text));
        };
        let server = if form.server.is_empty() { "An MCP server" } else { &form.server };
        let message = cut(&form.message);
        match form.url {
            Some(url) => {
                let text = format!("{server} asks you to open a page: {message}\n  {}", cut(&url));
                (Self::Page, Self::Page.choice().with_text(text))
            }
            None => {
                let text = format!("{server} asks: {message}");
                let fields = Self::Fields { fields: form.fields, at: None, values: Map::new() };
                let prompt = fields.choice().with_text(text);
                (fields, prompt)
            }
        }
    }

    fn choice(&self) -> Prompt {
        Prompt::new(match self {
            Self::Fields { fields, .. } if fields.is_empty() => {
                "Agree? [y]es, [d]ecline, [c]ancel: "
            }
            Self::Fields { .. } => "Fill it in? [y]es, [d]ecline, [c]ancel: ",
            Self::Page => "Have you done that? [y]es, [d]ecline, [c]ancel: ",
            Self::Dialog => "Enter dismisses it: ",
        })
    }

    pub(super) fn answer(&mut self, line: &str) -> Step<AgentAnswer> {
        let line = line.trim();
        match self {
            Self::Dialog => Step::Done(AgentAnswer::dismiss()),
            Self::Fields { fields, at: Some(at), values } => {
                let Some(field) = fields.get(*at) else { return Self::filled(values) };
                match read(field, line) {
                    Ok(value) => values.extend(value.map(|value| (field.name.clone(), value))),
                    Err(text) => return Step::Ask(Prompt { text, ..line_for(field) }),
                }
                *at += 1;
                match fields.get(*at) {
                    Some(next) => Step::Ask(prompt(next)),
                    None => Self::filled(values),
                }
            }
            Self::Fields { at: None, .. } | Self::Page => {
                match line.to_lowercase().as_str() {
                    "y" | "yes" => {}
                    "d" | "decline" | "n" | "no" => return Step::Done(AgentAnswer::decline()),
                    "c" | "cancel" => return Step::Done(AgentAnswer::cancel()),
                    _ => return Step::Ask(self.choice()),
                }
                match self {
                    Self::Fields { fields, at, values } => {
                        *at = Some(0);
                        match fields.first() {
                            Some(first) => Step::Ask(prompt(first)),
                            None => Self::filled(values),
                        }
                    }
                    Self::Page | Self::Dialog => Step::Done(AgentAnswer::opened()),
                }
            }
        }
    }

    fn filled(values: &mut Map<String, Value>) -> Step<AgentAnswer> {
        Step::Done(AgentAnswer::accept(std::mem::take(values)))
    }
}

/// The prompt for a field, with what is said of it.
fn prompt(field: &FormField) -> Prompt {
    let mut text = cut(&field.title);
    if !field.required {
        text.push_str(" (may be empty)");
    }
    if let Some(description) = field.description.as_deref().filter(|text| !text.is_empty()) {
        text.push_str(&format!(": {}", cut(description)));
    }
    if let FieldKind::Choice(choices) | FieldKind::Choices(choices) = &field.kind {
        for (at, choice) in choices.iter().enumerate() {
            text.push_str(&format!("\n  {}. {}", at + 1, choice.title));
        }
    }
    line_for(field).with_text(text)
}

fn line_for(field: &FormField) -> Prompt {
    let label = match &field.kind {
        FieldKind::Text => "Text: ",
        FieldKind::Number => "A number: ",
        FieldKind::Integer => "A whole number: ",
        FieldKind::Boolean => "[y]es or [n]o: ",
        FieldKind::Choice(_) => "A number of the list: ",
        FieldKind::Choices(_) => "Numbers such as 1,2: ",
        _ => "JSON: ",
    };
    let initial = match (&field.default, &field.kind) {
        (None, _) => String::new(),
        (Some(Value::Bool(default)), _) => if *default { "yes" } else { "no" }.to_owned(),
        (Some(Value::String(default)), _) => default.clone(),
        (Some(Value::Array(default)), FieldKind::Choices(_)) => {
            default.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        (Some(default), _) => default.to_string(),
    };
    let initial = initial.chars().filter(|c| !c.is_control()).collect();
    Prompt { initial, ..Prompt::new(label) }
}

/// The value that a line gives to a field; none for one that is left out.
fn read(field: &FormField, line: &str) -> Result<Option<Value>, String> {
    if line.is_empty() {
        return if field.required {
            Err("  an answer is needed; Ctrl-C cancels the form".to_owned())
        } else {
            Ok(None)
        };
    }
    match field.read(line) {
        Some(value) => Ok(Some(value)),
        None => Err(match &field.kind {
            FieldKind::Choice(choices) | FieldKind::Choices(choices) => {
                format!("  there are {} choices", choices.len())
            }
            FieldKind::Other(schema) => {
                format!("  it has to be JSON of this schema: {}", cut(schema))
            }
            _ => "  the field does not take that".to_owned(),
        }),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((at, _)) => format!("{}… (cut)", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use claude_relay_client::RawJson;

    use super::*;
    use crate::dialog::tests::done;

    fn begin(subtype: &str, request: &str) -> (Form, Prompt) {
        Form::begin(&AgentRequest {
            id: "r".into(),
            subtype: subtype.into(),
            request: RawJson::new(request.to_owned()).unwrap(),
        })
    }

    const BOOKING: &str = r#"{"mcp_server_name":"booking","message":"Where to?","requested_schema":{"properties":{
        "name":{"type":"string","title":"Name"},"n":{"type":"integer","default":2},
        "class":{"type":"string","enum":["first","second"]},
        "extras":{"type":"array","items":{"enum":["meal","bike"]}},
        "window":{"type":"boolean"}},"required":["name"]}}"#;

    fn ask(step: Step<AgentAnswer>) -> Prompt {
        match step {
            Step::Ask(prompt) => prompt,
            Step::Done(answer) => panic!("it is over: {answer:?}"),
        }
    }

    #[test]
    fn a_form_is_asked_field_by_field_and_what_does_not_fit_again() {
        let (mut form, prompt) = begin("elicitation", BOOKING);
        assert_eq!(prompt.text, "booking asks: Where to?");
        assert_eq!(ask(form.answer("y")).text, "Name");
        assert!(ask(form.answer("")).text.contains("needed"));
        let number = ask(form.answer("Ada"));
        assert_eq!((&*number.text, &*number.initial), ("n (may be empty)", "2"));
        assert!(ask(form.answer("two")).text.contains("does not take"));
        assert_eq!(ask(form.answer("3")).text, "class (may be empty)\n  1. first\n  2. second");
        assert!(ask(form.answer("9")).text.contains("2 choices"));
        ask(form.answer("2"));
        ask(form.answer("meal, 2"));
        let extras = serde_json::json!(["meal", "bike"]);
        assert_eq!(
            done(form.answer("")),
            AgentAnswer::accept([
                ("name".to_owned(), "Ada".into()),
                ("n".to_owned(), 3.into()),
                ("class".to_owned(), "second".into()),
                ("extras".to_owned(), extras),
            ])
        );
    }

    #[test]
    fn a_form_and_a_page_can_be_declined_and_cancelled() {
        let page =
            r#"{"mcp_server_name":"booking","mode":"url","url":"https://a/","message":"Log in"}"#;
        for request in [BOOKING, page] {
            for (line, answer) in [("d", AgentAnswer::decline()), ("c", AgentAnswer::cancel())] {
                let (mut form, _) = begin("elicitation", request);
                assert_eq!(form.answer("perhaps"), Step::Ask(form.choice()));
                assert_eq!(done(form.answer(line)), answer);
            }
        }
        let (mut form, prompt) = begin("elicitation", page);
        assert!(prompt.text.ends_with("Log in\n  https://a/"), "{prompt:?}");
        assert_eq!(done(form.answer("y")), AgentAnswer::opened());
    }

    #[test]
    fn a_dialog_is_shown_and_dismissed() {
        let (mut dialog, prompt) = begin("request_user_dialog", r#"{"dialog_kind":"new"}"#);
        assert!(prompt.text.contains("new"), "{prompt:?}");
        assert_eq!(done(dialog.answer("")), AgentAnswer::dismiss());
    }
}
