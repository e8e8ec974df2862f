//! Asking the person at the terminal whether a tool may run.

use std::collections::VecDeque;

use claude_relay_client::{Decision, PermissionRequest, RawJson};
use rustyline::config::Behavior;
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::connect::NOBODY_TO_ASK;
use crate::terminal::Terminal;

/// The requests of a turn, asked one after the other.
#[derive(Default)]
pub(crate) struct Approvals {
    waiting: VecDeque<PermissionRequest>,
    asking: Option<(PermissionRequest, JoinHandle<Decision>)>,
}

impl Approvals {
    pub(crate) fn add(&mut self, request: PermissionRequest, terminal: &Terminal) {
        self.waiting.push_back(request);
        self.ask_next(terminal);
    }

    /// The agent no longer wants to know.
    pub(crate) fn withdraw(&mut self, id: &str, terminal: &Terminal) {
        self.waiting.retain(|request| request.id != id);
        // A line that is being read cannot be taken back; its answer is not sent.
        if self.asking.as_ref().is_some_and(|(request, _)| request.id == id) {
            terminal.note("the agent withdrew the question; press Enter");
        }
    }

    /// Whether a question is on the terminal.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Waits for the next decision; for ever if nothing is asked.
    pub(crate) async fn decided(&mut self, terminal: &Terminal) -> (PermissionRequest, Decision) {
        let decision = match &mut self.asking {
            Some((_, asking)) => {
                asking.await.unwrap_or_else(|_| Decision::deny("the question could not be asked"))
            }
            None => std::future::pending().await,
        };
        match self.asking.take() {
            Some((request, _)) => {
                self.ask_next(terminal);
                (request, decision)
            }
            None => std::future::pending().await,
        }
    }

    fn ask_next(&mut self, terminal: &Terminal) {
        if self.asking.is_none()
            && let Some(request) = self.waiting.pop_front()
        {
            terminal.clear();
            if let Some(rule) = always(&request) {
                terminal.note(&format!("  always: {rule}"));
            }
            let asked = request.clone();
            let asking = tokio::task::spawn_blocking(move || ask(&asked));
            self.asking = Some((request, asking));
        }
    }
}

/// Asks until there is an answer. No answer is no.
fn ask(request: &PermissionRequest) -> Decision {
    // The terminal itself, also when stdin is a file.
    let config = Config::builder().behavior(Behavior::PreferTerm).build();
    let Ok(mut editor) = DefaultEditor::with_config(config) else {
        return Decision::deny(NOBODY_TO_ASK);
    };
    let always = request.always();
    let question = format!(
        "Allow {}? [y]es, {}[e]dit the input, [n]o, [s]top the turn: ",
        request.tool.escape_debug(),
        if always.is_some() { "[a]lways, " } else { "" }
    );
    loop {
        let answer = match editor.readline(&question) {
            Ok(answer) => answer,
            Err(ReadlineError::Interrupted) => {
                return Decision::Deny {
                    message: "the user stopped the turn".into(),
                    interrupt: true,
                };
            }
            Err(_) => return Decision::deny("nobody answered"),
        };
        match (answer.trim().to_lowercase().as_str(), &always) {
            ("y" | "yes", _) => return Decision::allow(),
            ("a" | "always", Some(rules)) => {
                return Decision::Allow {
                    updated_input: None,
                    updated_permissions: Some(rules.clone()),
                };
            }
            ("e" | "edit", _) => {
                if let Some(decision) = edit(&mut editor, request) {
                    return decision;
                }
            }
            ("n" | "no", _) => {
                let reason = editor.readline("Why (the agent reads it; may be empty): ");
                let reason = reason.unwrap_or_default();
                let reason = reason.trim();
                return Decision::deny(if reason.is_empty() { "the user said no" } else { reason });
            }
            ("s" | "stop", _) => {
                return Decision::Deny {
                    message: "the user stopped the turn".into(),
                    interrupt: true,
                };
            }
            _ => {}
        }
    }
}

/// What "always" would change, in a few words.
fn always(request: &PermissionRequest) -> Option<String> {
    let rules: Vec<Value> = serde_json::from_str(request.always()?.get()).ok()?;
    let [first, ..] = &rules[..] else { return None };
    let words = match first["type"].as_str() {
        Some("addRules") => {
            let rules = first["rules"].as_array()?.iter().map(|rule| {
                let tool = rule["toolName"].as_str().unwrap_or("?");
                match rule["ruleContent"].as_str() {
                    Some(content) => format!("{tool}({content})"),
                    None => format!("every use of {tool}"),
                }
            });
            let verb = first["behavior"].as_str().unwrap_or("allow");
            format!("{verb} {}", rules.collect::<Vec<_>>().join(", "))
        }
        Some("setMode") => format!("switch to the mode {}", first["mode"].as_str()?),
        _ => first.to_string(),
    };
    Some(words)
}

/// The input, changed by hand; `None` if it is no JSON object.
fn edit(editor: &mut DefaultEditor, request: &PermissionRequest) -> Option<Decision> {
    let edited = editor.readline_with_initial("Input: ", (request.input.get(), "")).ok()?;
    let object = RawJson::new(edited).ok().filter(|json| json.get().trim().starts_with('{'))?;
    Some(Decision::Allow { updated_input: Some(object), updated_permissions: None })
}
