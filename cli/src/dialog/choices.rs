//! Questions with choices: `AskUserQuestion`, and Codex's `requestUserInput`.

use claude_relay_client::{Decision, PermissionRequest, RawJson};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Prompt, Step};

#[derive(Debug)]
pub(crate) struct Choices {
    input: Map<String, Value>,
    questions: Vec<Question>,
    answers: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    question: String,
    /// Codex names its questions by this.
    id: Option<String>,
    header: Option<String>,
    #[serde(default)]
    options: Option<Vec<Choice>>,
    #[serde(default)]
    multi_select: bool,
}

#[derive(Debug, Deserialize)]
struct Choice {
    label: String,
    description: Option<String>,
    preview: Option<String>,
}

impl Choices {
    /// `None` if the request has not the form of questions.
    pub(super) fn begin(request: &PermissionRequest) -> Option<(Self, Prompt)> {
        let input: Map<String, Value> = serde_json::from_str(request.input.get()).ok()?;
        let questions: Vec<Question> =
            serde_json::from_value(input.get("questions")?.clone()).ok()?;
        let first = questions.first()?.prompt();
        Some((Self { input, questions, answers: Map::new() }, first))
    }

    pub(super) fn answer(&mut self, line: &str) -> Step<Decision> {
        let Some(question) = self.questions.get(self.answers.len()) else {
            return self.done();
        };
        match question.read(line.trim()) {
            Ok(answer) => {
                let name = question.id.clone().unwrap_or_else(|| question.question.clone());
                // Two questions with the same words have one answer.
                let name = if self.answers.contains_key(&name) {
                    format!("{name} ({})", self.answers.len() + 1)
                } else {
                    name
                };
                self.answers.insert(name, Value::from(answer));
            }
            Err(text) => return Step::Ask(question.line().with_text(text)),
        }
        match self.questions.get(self.answers.len()) {
            Some(next) => Step::Ask(next.prompt()),
            None => self.done(),
        }
    }

    fn done(&mut self) -> Step<Decision> {
        self.input.insert("answers".to_owned(), Value::Object(std::mem::take(&mut self.answers)));
        let input = RawJson::new(Value::Object(std::mem::take(&mut self.input)).to_string()).ok();
        Step::Done(Decision::Allow { updated_input: input, updated_permissions: None })
    }
}

impl Question {
    fn options(&self) -> &[Choice] {
        self.options.as_deref().unwrap_or_default()
    }

    fn prompt(&self) -> Prompt {
        let mut text = match &self.header {
            Some(header) if !header.is_empty() => format!("[{header}] {}", self.question),
            _ => self.question.clone(),
        };
        for (at, option) in self.options().iter().enumerate() {
            text.push_str(&format!("\n  {}. {}", at + 1, option.label));
            if let Some(description) = option.description.as_deref().filter(|d| !d.is_empty()) {
                text.push_str(&format!(": {description}"));
            }
            for line in option.preview.iter().flat_map(|preview| preview.lines()) {
                text.push_str(&format!("\n       {line}"));
            }
        }
        self.line().with_text(text)
    }

    fn line(&self) -> Prompt {
        Prompt::new(match (self.options().is_empty(), self.multi_select) {
            (true, _) => "Your answer: ",
            (false, false) => "A number, or your own words: ",
            (false, true) => "Numbers such as 1,2, or your own words: ",
        })
    }

    /// Reads a typed line: numbers and labels are choices, anything else is an
    /// answer in the person's own words.
    fn read(&self, line: &str) -> Result<String, String> {
        if line.is_empty() {
            return Err("  an answer is needed; Ctrl-C stops the turn".to_owned());
        }
        if !self.multi_select {
            return Ok(self.choice(line)?.unwrap_or(line).to_owned());
        }
        let parts: Vec<&str> =
            line.split([',', ' ']).map(str::trim).filter(|part| !part.is_empty()).collect();
        if parts.iter().all(|part| part.parse::<usize>().is_ok()) {
            let mut labels = Vec::new();
            for part in parts {
                if let Some(label) = self.choice(part)?
                    && !labels.contains(&label)
                {
                    labels.push(label);
                }
            }
            return Ok(labels.join(", "));
        }
        let mut labels = Vec::new();
        for part in line.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            labels.push(self.choice(part)?.unwrap_or(part));
        }
        Ok(labels.join(", "))
    }

    /// The choice that a number or a label names.
    fn choice(&self, text: &str) -> Result<Option<&str>, String> {
        let options = self.options();
        if let (Ok(number), false) = (text.parse::<usize>(), options.is_empty()) {
            let option = number.checked_sub(1).and_then(|at| options.get(at));
            return match option {
                Some(option) => Ok(Some(&option.label)),
                None => Err(format!("  there are {} choices", options.len())),
            };
        }
        let same = |option: &&Choice| option.label.to_lowercase() == text.to_lowercase();
        Ok(options.iter().find(same).map(|option| option.label.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialog::tests::{done, request};

    const TWO: &str = r#"{"questions":[
        {"question":"Which database?","header":"DB","multiSelect":false,"options":[
            {"label":"SQLite","description":"a file"},{"label":"Postgres","description":"a server"}]},
        {"question":"Which parts?","header":"Parts","multiSelect":true,"options":[
            {"label":"Reads","description":""},{"label":"Writes","description":"","preview":"W\n!"}]}]}"#;

    fn begin(input: &str) -> (Choices, Prompt) {
        Choices::begin(&request("AskUserQuestion", input, "{}")).unwrap()
    }

    fn answers(lines: &[&str]) -> Value {
        let (mut choices, _) = begin(TWO);
        let mut last = None;
        for line in lines {
            last = Some(choices.answer(line));
        }
        let Decision::Allow { updated_input: Some(input), .. } = done(last.unwrap()) else {
            panic!("not answered");
        };
        let input: Value = serde_json::from_str(input.get()).unwrap();
        assert_eq!(input["questions"][0]["header"], "DB");
        input["answers"].clone()
    }

    #[test]
    fn the_choices_are_shown_with_numbers() {
        let (mut choices, prompt) = begin(TWO);
        assert_eq!(
            prompt.text,
            "[DB] Which database?\n  1. SQLite: a file\n  2. Postgres: a server"
        );
        let Step::Ask(prompt) = choices.answer("1") else { panic!("the second is not asked") };
        assert!(prompt.text.ends_with("2. Writes\n       W\n       !"), "{}", prompt.text);
        assert!(prompt.label.contains("1,2"));
    }

    #[test]
    fn numbers_labels_and_own_words_are_answers() {
        let of = |database: &str, parts: &str| {
            let answers = answers(&[database, parts]);
            let text = |name: &str| answers[name].as_str().unwrap().to_owned();
            (text("Which database?"), text("Which parts?"))
        };
        let expect = |one: &str, two: &str| (one.to_owned(), two.to_owned());
        assert_eq!(of("2", "1,2"), expect("Postgres", "Reads, Writes"));
        assert_eq!(of("sqlite", "2 2"), expect("SQLite", "Writes"));
        assert_eq!(
            of("a graph, please", "writes, and logs"),
            expect("a graph, please", "Writes, and logs")
        );
    }

    #[test]
    fn no_answer_and_a_number_too_high_are_asked_again() {
        let (mut choices, _) = begin(TWO);
        for line in ["", "3", "0"] {
            let Step::Ask(prompt) = choices.answer(line) else { panic!("{line} is taken") };
            assert!(!prompt.text.is_empty());
        }
    }

    #[test]
    fn a_question_of_codex_is_answered_under_its_id() {
        let input = r#"{"questions":[{"id":"q1","header":"H","question":"Why?","options":null}]}"#;
        let (mut choices, prompt) = begin(input);
        assert_eq!(prompt.label, "Your answer: ");
        let Decision::Allow { updated_input: Some(input), .. } = done(choices.answer("7")) else {
            panic!("not answered");
        };
        assert!(input.get().contains(r#""answers":{"q1":"7"}"#), "{}", input.get());
    }

    #[test]
    fn input_of_another_form_is_no_question() {
        for input in ["{}", r#"{"questions":[]}"#, r#"{"questions":[{"x":1}]}"#, "[]"] {
            assert!(Choices::begin(&request("AskUserQuestion", input, "{}")).is_none(), "{input}");
        }
    }
}
