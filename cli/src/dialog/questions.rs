//! The requests that wait for a person, answered one after the other on a
//! console.

use std::collections::VecDeque;

use super::{Answer, Dialog, Prompt, Request, Step};
use crate::console::{Console, Key, LineEditor, Outcome};
use crate::terminal::Terminal;

/// A request and what a person has answered.
pub(crate) type Answered = (Request, Answer);

#[derive(Debug, Default)]
pub(crate) struct Questions {
    waiting: VecDeque<Request>,
    asking: Option<Asking>,
    /// The plan that the agent wrote down last.
    plan: Option<String>,
}

#[derive(Debug)]
struct Asking {
    request: Request,
    dialog: Dialog,
    editor: LineEditor,
}

impl Questions {
    pub(crate) fn add(&mut self, request: Request) {
        // One that is open is sent again after a reconnect.
        let known = self.asking.iter().map(|asking| &asking.request).chain(&self.waiting);
        if !known.into_iter().any(|known| known.id() == request.id()) {
            self.waiting.push_back(request);
        }
    }

    pub(crate) fn note_plan(&mut self, plan: &str) {
        self.plan = Some(plan.to_owned());
    }

    /// Returns true if a question is on the screen.
    pub(crate) fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Shows the next question if none is shown.
    pub(crate) fn ask_next(&mut self, console: &mut Console, terminal: &Terminal) {
        if self.asking.is_some() {
            return;
        }
        let Some(request) = self.waiting.pop_front() else { return };
        let (dialog, prompt) = Dialog::begin(&request, self.plan.as_deref());
        let editor = show(prompt, console, terminal);
        self.asking = Some(Asking { request, dialog, editor });
    }

    /// The agent withdrew a request. Returns true if it was the one on the
    /// screen.
    pub(crate) fn withdraw(
        &mut self,
        id: &str,
        console: &mut Console,
        terminal: &Terminal,
    ) -> bool {
        self.waiting.retain(|request| request.id() != id);
        let Some(mut asking) = self.asking.take_if(|asking| asking.request.id() == id) else {
            return false;
        };
        asking.editor.erase(console);
        terminal.note("the agent withdrew the question");
        true
    }

    /// Takes a key for the question on the screen.
    pub(crate) fn press(
        &mut self,
        key: Key,
        console: &mut Console,
        terminal: &Terminal,
    ) -> Option<Answered> {
        let asking = self.asking.as_mut()?;
        let answer = match asking.editor.press(key, None) {
            Outcome::Typing => {
                asking.editor.draw(console);
                return None;
            }
            Outcome::Eof => {
                asking.editor.leave(console);
                asking.request.nobody("nobody answered")
            }
            Outcome::Line(line) => {
                asking.editor.leave_with(&line, console);
                match asking.dialog.answer(&line) {
                    Step::Done(answer) => answer,
                    Step::Ask(prompt) => {
                        asking.editor = show(prompt, console, terminal);
                        return None;
                    }
                }
            }
        };
        let asking = self.asking.take()?;
        Some((asking.request, answer))
    }

    /// Ctrl-C: the question on the screen is answered with the end of the turn.
    pub(crate) fn stop(&mut self, console: &mut Console) -> Option<Answered> {
        let mut asking = self.asking.take()?;
        asking.editor.leave(console);
        let answer = asking.request.stopped();
        Some((asking.request, answer))
    }

    /// Takes the question off the screen while something else is written.
    pub(crate) fn erase(&mut self, console: &mut Console) {
        if let Some(asking) = &mut self.asking {
            asking.editor.erase(console);
        }
    }

    /// Shows the question again, if it was taken off the screen.
    pub(crate) fn show(&mut self, console: &mut Console) {
        if let Some(asking) = &mut self.asking
            && !asking.editor.is_drawn()
        {
            asking.editor.draw(console);
        }
    }

    /// Draws the question anew, as after the program was stopped.
    pub(crate) fn redraw(&mut self, console: &mut Console) {
        if let Some(asking) = &mut self.asking {
            asking.editor.draw(console);
        }
    }
}

fn show(prompt: Prompt, console: &mut Console, terminal: &Terminal) -> LineEditor {
    if !prompt.text.is_empty() {
        terminal.note(&prompt.text);
    }
    let mut editor = LineEditor::new(prompt.label, &prompt.initial);
    editor.draw(console);
    editor
}
