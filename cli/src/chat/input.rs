//! The lines of a chat: typed at the prompt or piped in, kept in their order
//! until they are used.

use std::collections::VecDeque;

use crate::console::{Console, History, Key, LineEditor, Outcome};

const PROMPT: &str = "> ";

/// The most lines that wait while the agent works. Beyond that nothing is read, and
/// the terminal or the pipe keeps the rest.
const MAX_WAITING: usize = 256;

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Line(String),
    /// A line that is not on the screen yet.
    TypedAhead(String),
    /// The end of the input.
    End,
}

pub(super) struct Input {
    /// The source of lines that are not typed at the terminal.
    pipe: Option<Console>,
    editor: LineEditor,
    history: History,
    waiting: VecDeque<Entry>,
}

impl Input {
    pub(super) fn new(pipe: Option<Console>, history: History) -> Self {
        Self { pipe, editor: LineEditor::new(PROMPT, ""), history, waiting: VecDeque::new() }
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn is_piped(&self) -> bool {
        self.pipe.is_some()
    }

    /// Returns true if there is room for more lines.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    /// The next key of a pipe; waits for ever where lines are typed.
    pub(super) async fn piped_key(&mut self) -> Key {
        match &mut self.pipe {
            Some(pipe) => pipe.next().await,
            None => std::future::pending().await,
        }
    }

    /// Takes a key. `console` is where the line is drawn, if it is.
    pub(super) fn press(&mut self, key: Key, console: Option<&mut Console>) {
        match (self.editor.press(key, Some(&self.history)), console) {
            (Outcome::Typing, Some(console)) if self.editor.is_drawn() => self.editor.draw(console),
            (Outcome::Typing, _) => {}
            (Outcome::Line(line), console) => {
                let is_shown = self.editor.is_drawn() || self.is_piped();
                if let Some(console) = console {
                    self.editor.leave_with(&line, console);
                }
                if !line.trim().is_empty() {
                    self.history.add(&line);
                    let entry = if is_shown { Entry::Line } else { Entry::TypedAhead };
                    self.waiting.push_back(entry(line));
                }
            }
            (Outcome::Eof, console) => {
                if let Some(console) = console {
                    self.editor.leave(console);
                }
                self.waiting.push_back(Entry::End);
            }
        }
    }

    /// Takes keys that were typed before a question appeared. They are dropped
    /// where lines come from a pipe.
    pub(super) fn type_ahead(&mut self, keys: Vec<Key>) {
        if !self.is_piped() {
            for key in keys {
                self.press(key, None);
            }
        }
    }

    /// Shows a line that was typed ahead, now that it is used.
    pub(super) fn show_line(line: &str, console: &mut Console) {
        let mut editor = LineEditor::new(PROMPT, line);
        editor.draw(console);
        editor.leave(console);
    }

    pub(super) fn next(&mut self) -> Option<Entry> {
        self.waiting.pop_front()
    }

    /// Draws the prompt and what is typed behind it.
    pub(super) fn show(&mut self, console: &mut Console) {
        if !self.editor.is_drawn() {
            self.editor.draw(console);
        }
    }

    /// Takes the prompt off the screen while something else is written.
    pub(super) fn hide(&mut self, console: &mut Console) {
        self.editor.erase(console);
    }

    /// Draws the line anew, as after the program was stopped.
    pub(super) fn redraw(&mut self, console: &mut Console) {
        if self.editor.is_drawn() {
            self.editor.draw(console);
        }
    }

    /// Drops the line that is being typed. Returns false if there is none.
    pub(super) fn drop_line(&mut self, console: Option<&mut Console>) -> bool {
        if self.editor.is_empty() {
            return false;
        }
        if let Some(console) = console {
            self.editor.leave(console);
        }
        self.editor.clear();
        true
    }

    /// Drops the lines that wait, and says how many there were.
    pub(super) fn drop_waiting(&mut self) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|entry| *entry == Entry::End);
        before - self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_burst_are_kept_in_order_and_empty_ones_dropped() {
        let mut input = Input::new(None, History::default());
        for c in "one\n\n  \ntwo\nrest".chars() {
            input.press(if c == '\n' { Key::Enter } else { Key::Char(c) }, None);
        }
        assert_eq!(input.next(), Some(Entry::TypedAhead("one".into())));
        assert_eq!(input.next(), Some(Entry::TypedAhead("two".into())));
        assert_eq!(input.next(), None);
        input.press(Key::Enter, None);
        input.press(Key::Closed, None);
        assert_eq!(input.next(), Some(Entry::TypedAhead("rest".into())));
        assert_eq!(input.next(), Some(Entry::End));
    }

    #[test]
    fn there_is_a_bound_to_what_waits_and_an_interrupt_drops_it() {
        let mut input = Input::new(None, History::default());
        let mut count = 0;
        while input.has_room() {
            input.press(Key::Char('x'), None);
            input.press(Key::Enter, None);
            count += 1;
        }
        assert_eq!((count, input.drop_waiting()), (MAX_WAITING, MAX_WAITING));
        assert_eq!(input.next(), None);
    }
}
