//! Words on lines that fit the screen.

use unicode_width::UnicodeWidthStr as _;

use super::inline::{Span, Style};

/// The least width that lines are wrapped at.
const MIN_COLUMNS: usize = 20;

/// Writes words, and begins a new line where the next one does not fit.
#[derive(Debug)]
pub(super) struct Wrap {
    columns: usize,
    column: usize,
    /// What stands at the beginning of each line but the first.
    indent: String,
    /// The spaces before the next word.
    gap: String,
    /// Nothing but the indent is on the line.
    is_empty: bool,
}

impl Wrap {
    pub(super) fn new(columns: usize) -> Self {
        Self {
            columns: columns.max(MIN_COLUMNS),
            column: 0,
            indent: String::new(),
            gap: String::new(),
            is_empty: true,
        }
    }

    pub(super) fn resize(&mut self, columns: usize) {
        self.columns = columns.max(MIN_COLUMNS);
    }

    /// Begins a line with `first`, whose continuations begin with `indent`.
    pub(super) fn begin(&mut self, first: &str, indent: &str, style: Style, out: &mut String) {
        paint(first, style, out);
        self.column = first.width();
        indent.clone_into(&mut self.indent);
        self.gap.clear();
        self.is_empty = true;
    }

    /// Ends the line.
    pub(super) fn end(&mut self, out: &mut String) {
        out.push('\n');
        self.column = 0;
        self.gap.clear();
        self.is_empty = true;
    }

    /// Writes spans. A word is whole: it does not go on in the next call unless
    /// spaces are between.
    pub(super) fn write(&mut self, spans: &[Span], out: &mut String) {
        let mut word: Vec<(Style, &str)> = Vec::new();
        for Span { style, text } in spans {
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let end = rest.find([' ', '\t']).unwrap_or(rest.len());
                if end > 0 {
                    word.push((*style, &rest[..end]));
                }
                rest = &rest[end..];
                if !rest.is_empty() {
                    self.word(&mut word, out);
                    let spaces = rest.len() - rest.trim_start_matches([' ', '\t']).len();
                    self.gap.push_str(&rest[..spaces].replace('\t', "    "));
                    rest = &rest[spaces..];
                }
            }
        }
        self.word(&mut word, out);
    }

    fn word(&mut self, word: &mut Vec<(Style, &str)>, out: &mut String) {
        if word.is_empty() {
            return;
        }
        let width: usize = word.iter().map(|(_, text)| text.width()).sum();
        if !self.is_empty && self.column + self.gap.len() + width > self.columns {
            out.push('\n');
            out.push_str(&self.indent);
            self.column = self.indent.width();
        } else {
            out.push_str(&self.gap);
            self.column += self.gap.len();
        }
        self.gap.clear();
        self.is_empty = false;
        for (style, text) in word.drain(..) {
            paint(text, style, out);
        }
        self.column += width;
        if self.column > self.columns {
            // The terminal itself breaks a word that no line can hold.
            self.column %= self.columns;
        }
    }
}

/// Text between the sequences that turn its style on and off.
pub(super) fn paint(text: &str, style: Style, out: &mut String) {
    let codes: Vec<&str> = [
        (style.bold, "1"),
        (style.dim, "2"),
        (style.italic, "3"),
        (style.underline, "4"),
        (style.strike, "9"),
        (style.code, "36"),
    ]
    .into_iter()
    .filter_map(|(is, code)| is.then_some(code))
    .collect();
    if codes.is_empty() || text.is_empty() {
        out.push_str(text);
    } else {
        out.push_str(&format!("\x1b[{}m{text}\x1b[0m", codes.join(";")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Vec<Span> {
        vec![Span { style: Style::default(), text: text.to_owned() }]
    }

    #[test]
    fn words_go_to_the_next_line_whole_and_below_the_first() {
        let mut wrap = Wrap::new(20);
        let mut out = String::new();
        wrap.begin("• ", "  ", Style::default(), &mut out);
        wrap.write(&plain("the quick brown fox jumps over"), &mut out);
        wrap.end(&mut out);
        assert_eq!(out, "• the quick brown\n  fox jumps over\n");
    }

    #[test]
    fn wide_characters_count_twice_and_a_word_of_two_styles_is_one() {
        let mut wrap = Wrap::new(20);
        let mut out = String::new();
        wrap.begin("", "", Style::default(), &mut out);
        let bold = Style { bold: true, ..Style::default() };
        let spans = [
            Span { style: Style::default(), text: "漢字漢字漢字漢 ab".to_owned() },
            Span { style: bold, text: "cde".to_owned() },
        ];
        wrap.write(&spans, &mut out);
        assert_eq!(out, "漢字漢字漢字漢 ab\u{1b}[1mcde\u{1b}[0m");
        wrap.write(&plain(" x"), &mut out);
        assert!(out.ends_with("\nx"), "{out:?}");
    }

    #[test]
    fn a_word_that_no_line_holds_is_written_all_the_same() {
        let mut wrap = Wrap::new(20);
        let mut out = String::new();
        wrap.begin("", "", Style::default(), &mut out);
        wrap.write(&plain(&"x".repeat(50)), &mut out);
        assert_eq!(out, "x".repeat(50));
    }
}
