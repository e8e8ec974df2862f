//! One line under a prompt, being typed.

use unicode_width::UnicodeWidthChar as _;

use super::Console;
use super::history::History;
use super::keys::Key;
use super::layout::{Position, after, shown};

/// The longest line that is taken, in bytes.
const MAX_LINE: usize = 16 << 20;

/// The characters behind a full row: the terminal itself wraps only with the next
/// character.
const WRAP: &str = "\r\n";

/// The effect of a key on a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It goes on.
    Typing,
    /// Enter was pressed: this is the line, and the next one is empty.
    Line(String),
    /// The end of the input, on an empty line.
    Eof,
}

#[derive(Debug, Default)]
pub(crate) struct LineEditor {
    prompt: String,
    text: String,
    /// In bytes, on the start of a character.
    cursor: usize,
    /// The line of the history that is shown.
    recalled: Option<usize>,
    /// The line before one of the history was shown.
    unfinished: String,
    /// The cursor on the screen, if the line is drawn.
    drawn: Option<Position>,
    /// Bytes of the text that are on the screen, as long as the cursor stands at
    /// the end and nothing but more text has come.
    on_screen: Option<usize>,
}

impl LineEditor {
    pub(crate) fn new(prompt: impl Into<String>, initial: &str) -> Self {
        Self {
            prompt: prompt.into(),
            text: initial.to_owned(),
            cursor: initial.len(),
            ..Self::default()
        }
    }

    /// Returns true if the line is on the screen.
    pub(crate) fn is_drawn(&self) -> bool {
        self.drawn.is_some()
    }

    /// Returns true if nothing is typed.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Drops what is typed.
    pub(crate) fn clear(&mut self) {
        self.on_screen = None;
        self.text.clear();
        self.cursor = 0;
        self.recalled = None;
    }

    /// Takes one key. The screen is drawn anew by the caller.
    pub(crate) fn press(&mut self, key: Key, history: Option<&History>) -> Outcome {
        let is_text = matches!(key, Key::Char(_) | Key::Paste(_));
        if !is_text || self.cursor < self.text.len() {
            self.on_screen = None;
        }
        match key {
            Key::Char(c) => self.insert(c.encode_utf8(&mut [0; 4])),
            Key::Paste(text) => self.insert(&text),
            Key::Enter => {
                let line = std::mem::take(&mut self.text);
                self.clear();
                return Outcome::Line(line);
            }
            Key::Closed => return Outcome::Eof,
            Key::Eof if self.text.is_empty() => return Outcome::Eof,
            Key::Delete | Key::Eof => {
                let end = self.next();
                self.text.drain(self.cursor..end);
            }
            Key::Backspace => {
                let start = self.previous();
                self.text.drain(start..self.cursor);
                self.cursor = start;
            }
            Key::Left => self.cursor = self.previous(),
            Key::Right => self.cursor = self.next(),
            Key::WordLeft => self.cursor = self.word_left(),
            Key::WordRight => self.cursor = self.word_right(),
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = self.text.len(),
            Key::DropToStart => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            Key::DropToEnd => self.text.truncate(self.cursor),
            Key::DropWord => {
                let start = self.word_left();
                self.text.drain(start..self.cursor);
                self.cursor = start;
            }
            Key::Up => self.recall(history, true),
            Key::Down => self.recall(history, false),
            Key::Redraw => {}
        }
        Outcome::Typing
    }

    fn insert(&mut self, text: &str) {
        if self.text.len() + text.len() <= MAX_LINE {
            self.text.insert_str(self.cursor, text);
            self.cursor += text.len();
        }
    }

    fn previous(&self) -> usize {
        self.text[..self.cursor].char_indices().next_back().map_or(0, |(at, _)| at)
    }

    fn next(&self) -> usize {
        self.text[self.cursor..].chars().next().map_or(self.cursor, |c| self.cursor + c.len_utf8())
    }

    fn word_left(&self) -> usize {
        let before = self.text[..self.cursor].trim_end();
        before
            .rfind(char::is_whitespace)
            .map_or(0, |at| at + before[at..].chars().next().map_or(0, char::len_utf8))
    }

    fn word_right(&self) -> usize {
        let after = &self.text[self.cursor..];
        let spaces = after.len() - after.trim_start().len();
        let word = after[spaces..].find(char::is_whitespace).unwrap_or(after.len() - spaces);
        self.cursor + spaces + word
    }

    fn recall(&mut self, history: Option<&History>, back: bool) {
        let Some(history) = history else { return };
        let at = match (self.recalled, back) {
            (None, true) if history.len() > 0 => {
                self.unfinished.clone_from(&self.text);
                Some(history.len() - 1)
            }
            (Some(at), true) => Some(at.saturating_sub(1)),
            (Some(at), false) if at + 1 < history.len() => Some(at + 1),
            (Some(_), false) => None,
            (None, _) => return,
        };
        self.recalled = at;
        self.text = match at.and_then(|at| history.get(at)) {
            Some(line) => line.to_owned(),
            None => std::mem::take(&mut self.unfinished),
        };
        self.cursor = self.text.len();
    }

    /// Draws the line, over what was drawn of it.
    pub(crate) fn draw(&mut self, console: &mut Console) {
        if !console.draws() {
            // The terminal echoes what is typed; only the prompt is ours.
            if self.drawn.is_none() {
                let prompt = std::mem::take(&mut self.prompt);
                console.write(&prompt);
                self.prompt = prompt;
                self.drawn = Some(Position::default());
            }
            return;
        }
        let columns = console.columns();
        if let (Some(drawn), Some(more)) = (self.drawn, self.appended()) {
            // The usual case: one more character at the end.
            let end = after(drawn, more.chars(), columns);
            let mut screen: String = more.chars().map(shown).collect();
            if end.column == 0 && end.row > drawn.row {
                screen.push_str(WRAP);
            }
            console.write(&screen);
            self.drawn = Some(end);
            self.on_screen = Some(self.text.len());
            return;
        }
        let mut screen = self.erasure();
        let from = after(Position::default(), self.prompt.chars(), columns);
        let cursor = after(from, self.text[..self.cursor].chars(), columns);
        let end = after(from, self.text.chars(), columns);
        screen.extend(self.prompt.chars().map(shown));
        screen.extend(self.text.chars().map(shown));
        if end.column == 0 && end.row > 0 {
            screen.push_str(WRAP);
        }
        if cursor != end {
            if end.row > cursor.row {
                screen.push_str(&format!("\x1b[{}A", end.row - cursor.row));
            }
            screen.push('\r');
            if cursor.column > 0 {
                screen.push_str(&format!("\x1b[{}C", cursor.column));
            }
        }
        console.write(&screen);
        self.drawn = Some(cursor);
        self.on_screen = (self.cursor == self.text.len()).then_some(self.text.len());
    }

    /// Returns the text that follows the one on the screen, if that is all that
    /// has changed.
    fn appended(&self) -> Option<&str> {
        let more = self.text.get(self.on_screen?..)?;
        // A mark stands on the character before it, which may be in the row above.
        let is_base = more.chars().next()?.width().unwrap_or(0) > 0;
        is_base.then_some(more)
    }

    /// Takes the line off the screen, so that something else can be written.
    pub(crate) fn erase(&mut self, console: &mut Console) {
        if self.drawn.is_some() {
            let screen = if console.draws() { self.erasure() } else { "\n".to_owned() };
            console.write(&screen);
            self.drawn = None;
        }
    }

    /// Leaves the line on the screen as it is and goes to the next one.
    pub(crate) fn leave(&mut self, console: &mut Console) {
        if self.drawn.is_some() && console.draws() {
            let cursor = std::mem::replace(&mut self.cursor, self.text.len());
            self.draw(console);
            self.cursor = cursor;
            console.write("\r\n");
        }
        self.drawn = None;
    }

    /// Draws the line as it was before Enter took it, and goes to the next.
    pub(crate) fn leave_with(&mut self, line: &str, console: &mut Console) {
        if self.drawn.is_some() {
            let text = std::mem::replace(&mut self.text, line.to_owned());
            self.leave(console);
            self.text = text;
            self.cursor = self.text.len();
        }
    }

    fn erasure(&self) -> String {
        match self.drawn {
            None => String::new(),
            Some(Position { row: 0, .. }) => "\r\x1b[J".to_owned(),
            Some(Position { row, .. }) => format!("\x1b[{row}A\r\x1b[J"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(editor: &mut LineEditor, keys: impl IntoIterator<Item = Key>) -> Vec<String> {
        let mut lines = Vec::new();
        for key in keys {
            if let Outcome::Line(line) = editor.press(key, None) {
                lines.push(line);
            }
        }
        lines
    }

    fn chars(text: &str) -> Vec<Key> {
        text.chars().map(Key::Char).collect()
    }

    #[test]
    fn a_line_is_edited_in_its_middle() {
        let mut editor = LineEditor::new("> ", "héllo wrld");
        let mut keys = vec![Key::Left, Key::Left, Key::Left, Key::Char('o')];
        keys.extend([Key::Home, Key::Delete, Key::Char('H'), Key::End, Key::Char('!')]);
        keys.push(Key::Enter);
        assert_eq!(typed(&mut editor, keys), ["Héllo world!"]);
        assert_eq!(editor.text, "");
    }

    #[test]
    fn words_and_ends_are_dropped() {
        let mut editor = LineEditor::new("> ", "one two  three");
        typed(&mut editor, [Key::DropWord, Key::DropWord]);
        assert_eq!(editor.text, "one ");
        typed(&mut editor, [Key::WordLeft, Key::DropToEnd]);
        assert_eq!(editor.text, "");
        typed(&mut editor, chars("日本 b"));
        typed(&mut editor, [Key::WordLeft, Key::WordLeft, Key::WordRight, Key::DropToStart]);
        assert_eq!(editor.text, " b");
    }

    #[test]
    fn the_history_is_walked_and_the_unfinished_line_comes_back() {
        let mut history = History::default();
        history.add("first");
        history.add("second");
        let mut editor = LineEditor::new("> ", "new");
        let mut press = |key| {
            editor.press(key, Some(&history));
            editor.text.clone()
        };
        assert_eq!(press(Key::Up), "second");
        assert_eq!(press(Key::Up), "first");
        assert_eq!(press(Key::Up), "first");
        assert_eq!(press(Key::Down), "second");
        assert_eq!(press(Key::Down), "new");
        assert_eq!(press(Key::Down), "new");
    }

    #[test]
    fn the_end_of_input_ends_an_empty_line_alone() {
        let mut editor = LineEditor::new("> ", "ab");
        assert_eq!(editor.press(Key::Eof, None), Outcome::Typing);
        editor.clear();
        assert_eq!(editor.press(Key::Eof, None), Outcome::Eof);
    }
}
