//! Markdown on a terminal, shown while it comes.
//!
//! A line is shown word by word; only a mark whose other half is still to come,
//! a line of code and a table wait for more.

mod inline;
mod table;
mod wrap;

use self::inline::{Style, parse};
use self::table::Table;
use self::wrap::{Wrap, paint};

/// A mark whose other half does not come within this many bytes is text.
const MAX_HELD: usize = 2_000;

/// A line of code or of a table that is longer is shown in parts.
const MAX_LINE: usize = 16_000;

/// One block of text on its way to the screen.
#[derive(Debug)]
pub(crate) struct Markdown {
    wrap: Wrap,
    /// What has come and is not shown.
    held: String,
    line: Line,
    /// The marks that end the code.
    fence: Option<String>,
    table: Table,
    columns: usize,
}

/// The line that is being shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Nothing of it is known.
    New,
    /// Words in this style.
    Words(Style),
    /// A line of code that is shown in parts.
    Code,
}

impl Markdown {
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            wrap: Wrap::new(columns),
            held: String::new(),
            line: Line::New,
            fence: None,
            table: Table::default(),
            columns,
        }
    }

    /// The screen has another width.
    pub(crate) fn resize(&mut self, columns: usize) {
        self.columns = columns;
        self.wrap.resize(columns);
    }

    /// Takes more text, and gives what can be shown, with its escape sequences.
    /// The text must hold none.
    pub(crate) fn push(&mut self, text: &str) -> String {
        let mut out = String::new();
        self.held.push_str(text);
        while let Some(end) = self.held.find('\n') {
            let rest = self.held.split_off(end + 1);
            let mut line = std::mem::replace(&mut self.held, rest);
            line.pop();
            self.end_line(&line, &mut out);
        }
        self.show_words(&mut out);
        out
    }

    /// The end of the text: gives what was held back, and begins anew.
    pub(crate) fn finish(&mut self) -> String {
        let mut out = String::new();
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() || self.line != Line::New {
            self.end_line(&held, &mut out);
            // The end of the last line is the business of whoever writes next.
            if self.table.is_empty() && out.ends_with('\n') {
                out.pop();
            }
        }
        self.table.finish(&mut out);
        self.fence = None;
        out
    }

    /// The rest of a line and its end.
    fn end_line(&mut self, text: &str, out: &mut String) {
        match self.line {
            Line::Code => {
                paint(text, CODE, out);
                out.push('\n');
            }
            Line::Words(style) => {
                self.wrap.write(&parse(text, style).spans, out);
                self.wrap.end(out);
            }
            Line::New if self.fence.is_some() => self.code(text, out),
            Line::New => self.whole_line(text, out),
        }
        self.line = Line::New;
    }

    /// A line of code, or the mark that ends it.
    fn code(&mut self, text: &str, out: &mut String) {
        let mark = text.trim();
        let ends = self.fence.as_ref().is_some_and(|fence| {
            mark.starts_with(fence.as_str()) && mark.chars().all(|c| fence.starts_with(c))
        });
        if ends {
            self.fence = None;
        } else {
            paint(text, CODE, out);
            out.push('\n');
        }
    }

    fn whole_line(&mut self, text: &str, out: &mut String) {
        if text.trim_start().starts_with('|') {
            self.table.add(text);
            if self.table.is_full() {
                self.table.finish(out);
            }
            return;
        }
        self.table.finish(out);
        if let Some(fence) = fence(text) {
            self.fence = Some(fence);
        } else if is_rule(text) {
            paint(&"─".repeat(self.columns.min(40)), DIM, out);
            out.push('\n');
        } else {
            let (rest, style) = self.begin_line(text, out);
            self.wrap.write(&parse(rest, style).spans, out);
            self.wrap.end(out);
        }
    }

    /// Shows what can be of a line whose end is still to come.
    fn show_words(&mut self, out: &mut String) {
        if self.line == Line::Code
            || (self.held.len() > MAX_LINE && self.line == Line::New && self.is_held_whole())
        {
            self.line = Line::Code;
            paint(&std::mem::take(&mut self.held), CODE, out);
            return;
        }
        if self.line == Line::New {
            if self.is_held_whole() || !begins_with_a_word(&self.held) {
                return;
            }
            self.table.finish(out);
            let held = std::mem::take(&mut self.held);
            let (rest, style) = self.begin_line(&held, out);
            self.held = rest.to_owned();
            self.line = Line::Words(style);
        }
        let Line::Words(style) = self.line else { return };
        let parsed = parse(&self.held, style);
        let end = if self.held.len() < MAX_HELD { parsed.settled } else { parsed.last_space };
        if end == 0 {
            return;
        }
        let rest = self.held.split_off(end);
        let words = std::mem::replace(&mut self.held, rest);
        self.wrap.write(&parse(&words, style).spans, out);
    }

    /// Returns true if the line is shown only when it is whole.
    fn is_held_whole(&self) -> bool {
        let text = self.held.trim_start();
        self.fence.is_some() || text.starts_with(['|', '~']) || text.starts_with("``")
    }

    /// Shows what a line begins with, and gives the rest with its style.
    fn begin_line<'a>(&mut self, text: &'a str, out: &mut String) -> (&'a str, Style) {
        let mut rest = text;
        let mut style = Style::default();
        let mut first = String::new();
        while let Some(quoted) = rest.trim_start().strip_prefix('>') {
            first.push_str("│ ");
            rest = quoted.strip_prefix(' ').unwrap_or(quoted);
            style.dim = true;
        }
        let mut indent = first.clone();
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        first.push_str(&rest[..spaces]);
        indent.push_str(&rest[..spaces]);
        rest = &rest[spaces..];
        if let Some(heading) = heading(rest) {
            style.bold = true;
            rest = heading;
        } else if let Some((marker, item)) = item(rest) {
            indent.push_str(&" ".repeat(marker.chars().count()));
            first.push_str(&marker);
            rest = item;
        }
        self.wrap.begin(&first, &indent, Style { dim: style.dim, ..Style::default() }, out);
        (rest, style)
    }
}

const CODE: Style =
    Style { code: true, bold: false, italic: false, strike: false, underline: false, dim: false };
const DIM: Style = Style { dim: true, code: false, ..CODE };

/// Returns true if what the line begins with is there whole: a mark or a word
/// and what follows it.
fn begins_with_a_word(text: &str) -> bool {
    let mut words = text.split_inclusive([' ', '\t']).filter(|word| !word.trim().is_empty());
    match words.next() {
        Some(first) if first.ends_with([' ', '\t']) => {
            let is_mark = !first.trim().contains(char::is_alphabetic);
            // A box or another mark may follow a mark.
            !is_mark || words.next().is_some_and(|second| second.ends_with([' ', '\t']))
        }
        _ => false,
    }
}

/// The marks of a line that begins code.
fn fence(text: &str) -> Option<String> {
    let text = text.trim_start();
    let mark = text.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let length = text.len() - text.trim_start_matches(mark).len();
    (length >= 3 && !text[length..].contains('`')).then(|| text[..length].to_owned())
}

fn is_rule(text: &str) -> bool {
    let mut marks = text.chars().filter(|c| !c.is_whitespace());
    let Some(first) = marks.next().filter(|c| matches!(c, '-' | '*' | '_')) else { return false };
    let others = marks.try_fold(0, |count, c| (c == first).then_some(count + 1));
    others.is_some_and(|others| others >= 2)
}

/// The text of a heading.
fn heading(text: &str) -> Option<&str> {
    let level = text.len() - text.trim_start_matches('#').len();
    let title = text[level..].strip_prefix(' ').filter(|_| (1..=6).contains(&level))?;
    Some(title.trim_start())
}

/// The mark of an entry of a list as it is shown, and its text.
fn item(text: &str) -> Option<(String, &str)> {
    let (mark, rest) = text.split_once(' ')?;
    let number = mark.strip_suffix(['.', ')']).filter(|digits| {
        (1..=9).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    let marker = match mark {
        "-" | "*" | "+" => "• ".to_owned(),
        _ if number.is_some() => format!("{mark} "),
        _ => return None,
    };
    let rest = rest.trim_start();
    for (box_, shown) in [("[ ] ", "☐ "), ("[x] ", "☑ "), ("[X] ", "☑ ")] {
        if let Some(task) = rest.strip_prefix(box_) {
            return Some((shown.to_owned(), task));
        }
    }
    Some((marker, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut markdown = Markdown::new(40);
        let mut out = markdown.push(text);
        out += &markdown.finish();
        out
    }

    /// Without its escape sequences.
    fn plain(text: &str) -> String {
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('\x1b') {
            plain.push_str(&rest[..at]);
            rest = rest[at..].split_once('m').map_or("", |(_, rest)| rest);
        }
        plain + rest
    }

    #[test]
    fn blocks_look_as_people_know_them() {
        for (text, expected) in [
            ("# Title\n\ntext", "Title\n\ntext"),
            ("- a\n* b\n  + c\n12. d", "• a\n• b\n  • c\n12. d"),
            ("- [ ] todo\n- [x] done", "☐ todo\n☑ done"),
            ("> said\n> > twice", "│ said\n│ │ twice"),
            ("before\n---\nafter", &format!("before\n{}\nafter", "─".repeat(40))),
            ("```rust\nlet a = *b;\n# no title\n```\nend", "let a = *b;\n# no title\nend"),
            ("~~~\n```\n~~~\nend", "```\nend"),
            ("| a | b |\n|---|---|\n| c | d |\nend", "a │ b\n──┼──\nc │ d\nend"),
            ("| a | b |\n|---|---|\n| c | d |", "a │ b\n──┼──\nc │ d\n"),
            ("#hashtag and -5 and 3.5", "#hashtag and -5 and 3.5"),
            ("**bold** and `code`", "bold and code"),
            ("", ""),
            ("\n\n", "\n\n"),
        ] {
            assert_eq!(plain(&shown(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn long_lines_wrap_at_words_below_where_they_begin() {
        let text = "- one two three four five six seven eight nine ten";
        assert_eq!(plain(&shown(text)), "• one two three four five six seven\n  eight nine ten");
        let code = format!("```\n{}\n```", "x ".repeat(60));
        assert_eq!(plain(&shown(&code)).matches('\n').count(), 1);
    }

    #[test]
    fn text_in_pieces_looks_as_in_one() {
        let text = "# A *title*\n\nSome **bold words** with `code` and [a link](https://a.test/b) that go \
                    on for more than a line.\n\n1. one\n2. two **x**\n\n```sh\nls *\n\nps\n```\n> quoted text \
                    here\n\n| a | b |\n|---|---|\n| 1 | `2` |\n\n***\nAn *open mark and the end";
        let whole = shown(text);
        for size in [1, 2, 3, 7, 20] {
            let mut markdown = Markdown::new(40);
            let mut out = String::new();
            let characters: Vec<char> = text.chars().collect();
            for piece in characters.chunks(size) {
                out += &markdown.push(&piece.iter().collect::<String>());
            }
            out += &markdown.finish();
            assert_eq!(plain(&out), plain(&whole), "{size}");
        }
    }

    #[test]
    fn words_are_shown_before_their_line_has_ended() {
        let mut markdown = Markdown::new(40);
        assert_eq!(markdown.push("Hello my"), "Hello");
        assert_eq!(markdown.push(" friend and **bo"), " my friend and");
        assert_eq!(plain(&markdown.push("ld** x")), " bold");
        assert_eq!(markdown.finish(), " x");
        // A mark that never closes does not hold the rest back for ever.
        let out = markdown.push(&format!("so **{}", "word ".repeat(1_000)));
        assert!(out.len() > 2_000, "{}", out.len());
    }
}
