//! Marks inside a line: emphasis, code, links.

/// The look of a piece of text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) bold: bool,
    pub(super) italic: bool,
    pub(super) strike: bool,
    pub(super) code: bool,
    pub(super) underline: bool,
    pub(super) dim: bool,
}

/// A piece of a line in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) style: Style,
    pub(super) text: String,
}

/// The most levels of marks inside each other. What is deeper stays as it is
/// written.
const MAX_DEPTH: usize = 8;

/// The longest text whose marks are looked for. Each may be compared with all
/// that follow it.
const MAX_TEXT: usize = 16_000;

/// The spans of a text.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) spans: Vec<Span>,
    /// The place of the first mark without its other half.
    open: Option<usize>,
    /// The end of the last space before that, outside all marks.
    pub(super) settled: usize,
    /// The end of the last space outside all marks.
    pub(super) last_space: usize,
}

/// Reads a text whose base style is `style`.
pub(super) fn parse(text: &str, style: Style) -> Parsed {
    let mut parsed = Parsed::default();
    if text.len() > MAX_TEXT {
        push(&mut parsed, style, text);
        (parsed.settled, parsed.last_space) = (text.len(), text.len());
        return parsed;
    }
    read(text, 0, style, MAX_DEPTH, &mut parsed);
    parsed
}

/// Adds a text that is taken as it is.
fn push(parsed: &mut Parsed, style: Style, text: &str) {
    match parsed.spans.last_mut() {
        Some(last) if last.style == style => last.text.push_str(text),
        _ if text.is_empty() => {}
        _ => parsed.spans.push(Span { style, text: text.to_owned() }),
    }
}

fn read(text: &str, offset: usize, style: Style, depth: usize, parsed: &mut Parsed) {
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let at = offset + text.len() - rest.len();
        let taken = match mark(rest, before, depth) {
            Some(Mark::Whole { inner, end, kind }) => {
                let inside = &rest[inner.clone()];
                match kind {
                    Kind::Code => push(parsed, Style { code: true, ..style }, inside),
                    Kind::Link { address } => {
                        let look = Style { underline: true, ..style };
                        read(inside, at + inner.start, look, depth - 1, parsed);
                        let address = &rest[address];
                        if address != inside {
                            push(parsed, style, &format!(" ({address})"));
                        }
                    }
                    Kind::Emphasis(change) => {
                        read(inside, at + inner.start, change(style), depth - 1, parsed);
                    }
                }
                end
            }
            Some(Mark::Escaped(length)) => {
                push(parsed, style, &rest[1..1 + length]);
                1 + length
            }
            Some(Mark::Open(length)) => {
                parsed.open.get_or_insert(at);
                push(parsed, style, &rest[..length]);
                length
            }
            None => {
                if matches!(c, ' ' | '\t') && depth == MAX_DEPTH {
                    parsed.last_space = at + 1;
                    if parsed.open.is_none() {
                        parsed.settled = at + 1;
                    }
                }
                push(parsed, style, &rest[..c.len_utf8()]);
                c.len_utf8()
            }
        };
        before = rest[..taken].chars().next_back();
        rest = &rest[taken..];
    }
}

enum Mark {
    /// A mark with its other half.
    Whole { inner: std::ops::Range<usize>, end: usize, kind: Kind },
    /// A character of this length behind a backslash.
    Escaped(usize),
    /// A mark of this length whose other half is not there.
    Open(usize),
}

enum Kind {
    Code,
    Link { address: std::ops::Range<usize> },
    Emphasis(fn(Style) -> Style),
}

/// The mark at the beginning of `text`; `None` if there is none.
fn mark(text: &str, before: Option<char>, depth: usize) -> Option<Mark> {
    let bytes = text.as_bytes();
    match bytes[0] {
        b'\\' => {
            let escaped = text[1..].chars().next()?;
            escaped.is_ascii_punctuation().then(|| Mark::Escaped(escaped.len_utf8()))
        }
        b'`' => {
            let length = run(text, '`');
            let Some(close) = closing_run(&text[length..], length) else {
                return Some(Mark::Open(length));
            };
            let inner = length..length + close;
            Some(Mark::Whole { end: inner.end + length, inner, kind: Kind::Code })
        }
        _ if depth == 0 => None,
        b'[' => link(text),
        b'*' => {
            let length = run(text, '*').min(3);
            let change: fn(Style) -> Style = match length {
                1 => |style| Style { italic: true, ..style },
                2 => |style| Style { bold: true, ..style },
                _ => |style| Style { bold: true, italic: true, ..style },
            };
            emphasis(text, &"***"[..length], change)
        }
        b'_' if !before.is_some_and(char::is_alphanumeric) => {
            let length = run(text, '_').min(2);
            let change: fn(Style) -> Style = match length {
                1 => |style| Style { italic: true, ..style },
                _ => |style| Style { bold: true, ..style },
            };
            emphasis(text, &"__"[..length], change)
        }
        b'~' if text.starts_with("~~") => {
            emphasis(text, "~~", |style| Style { strike: true, ..style })
        }
        _ => None,
    }
}

/// The number of `c` at the beginning.
fn run(text: &str, c: char) -> usize {
    text.len() - text.trim_start_matches(c).len()
}

/// The place of the next run of exactly so many backquotes.
fn closing_run(text: &str, length: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = text[at..].find('`') {
        let begin = at + found;
        let count = run(&text[begin..], '`');
        if count == length {
            return Some(begin);
        }
        at = begin + count;
    }
    None
}

/// Text between two `mark`s, which stand at a word's edges.
fn emphasis(text: &str, mark: &str, change: fn(Style) -> Style) -> Option<Mark> {
    let inside = &text[mark.len()..];
    match inside.chars().next() {
        // It may be the beginning of a mark whose rest is still to come.
        None => return Some(Mark::Open(mark.len())),
        Some(c) if c.is_whitespace() => return None,
        Some(_) => {}
    }
    let mut at = 0;
    while let Some(found) = inside[at..].find(mark) {
        let close = at + found;
        let before = inside[..close].chars().next_back();
        let after = inside[close + mark.len()..].chars().next();
        let of_word = mark.starts_with('_') && after.is_some_and(char::is_alphanumeric);
        let longer = after.is_some_and(|c| mark.starts_with(c));
        let shorter = before.is_some_and(|c| mark.starts_with(c));
        if close > 0 && !before.is_some_and(char::is_whitespace) && !of_word && !longer && !shorter
        {
            let inner = mark.len()..mark.len() + close;
            let end = inner.end + mark.len();
            return Some(Mark::Whole { inner, end, kind: Kind::Emphasis(change) });
        }
        at = close + run(&inside[close..], mark.chars().next()?);
    }
    Some(Mark::Open(mark.len()))
}

/// `[text](address)`.
fn link(text: &str) -> Option<Mark> {
    let Some(close) = text.find(']') else { return Some(Mark::Open(1)) };
    let Some(after) = text[close + 1..].chars().next() else { return Some(Mark::Open(1)) };
    if after != '(' {
        return None;
    }
    let begin = close + 2;
    let Some(length) = text[begin..].find(')') else { return Some(Mark::Open(1)) };
    let target = text[begin..begin + length].split_whitespace().next().unwrap_or_default();
    let start = begin + text[begin..].find(target).unwrap_or_default();
    let address = start..start + target.len();
    Some(Mark::Whole { inner: 1..close, end: begin + length + 1, kind: Kind::Link { address } })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The spans with their styles as letters.
    fn look(text: &str) -> String {
        let look = |Span { style, text }: &Span| {
            let mut letters = String::new();
            for (is, letter) in [
                (style.bold, 'b'),
                (style.italic, 'i'),
                (style.strike, 's'),
                (style.code, 'c'),
                (style.underline, 'u'),
            ] {
                letters.extend(is.then_some(letter));
            }
            if letters.is_empty() { text.clone() } else { format!("<{letters}:{text}>") }
        };
        parse(text, Style::default()).spans.iter().map(look).collect()
    }

    #[test]
    fn marks_become_styles() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a **b** c", "a <b:b> c"),
            ("*i* and _i_", "<i:i> and <i:i>"),
            ("***both***", "<bi:both>"),
            ("**bold with `code`**", "<b:bold with ><bc:code>"),
            ("**a *b* c**", "<b:a ><bi:b><b: c>"),
            ("~~gone~~", "<s:gone>"),
            ("`a * b`", "<c:a * b>"),
            ("``a ` b``", "<c:a ` b>"),
            ("[text](https://a.test)", "<u:text> (https://a.test)"),
            ("[https://a.test](https://a.test)", "<u:https://a.test>"),
            ("[text](https://a.test \"title\")", "<u:text> (https://a.test)"),
            (r"\*no\*", "*no*"),
            ("snake_case_name", "snake_case_name"),
            ("2 * 3 * 4", "2 * 3 * 4"),
            ("a[0] and b", "a[0] and b"),
            ("**open", "**open"),
            ("`open", "`open"),
            ("é**ü**ñ", "é<b:ü>ñ"),
        ] {
            assert_eq!(look(text), expected, "{text}");
        }
    }

    #[test]
    fn an_open_mark_is_told_with_its_place() {
        for (text, open) in [
            ("a b", None),
            ("a **b", Some(2)),
            ("a **b**", None),
            ("é `c", Some(3)),
            ("a **b c**", None),
            ("[a](b", Some(0)),
            ("a [b", Some(2)),
            ("a *", Some(2)),
            ("a * b", None),
        ] {
            assert_eq!(parse(text, Style::default()).open, open, "{text}");
        }
    }

    #[test]
    fn spaces_inside_marks_settle_nothing() {
        for (text, settled) in [
            ("a b", 2),
            ("a **b c**", 2),
            ("a **b c** d", 10),
            ("a **b c", 2),
            ("`a b`", 0),
            ("", 0),
        ] {
            assert_eq!(parse(text, Style::default()).settled, settled, "{text}");
        }
    }

    #[test]
    fn no_text_is_lost_or_made_however_odd_the_marks() {
        let alphabet = ["*", "_", "`", "~", "[", "]", "(", ")", "\\", " ", "a", "é"];
        let mut state = 7_usize;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
                text.push_str(alphabet[(state >> 33) % alphabet.len()]);
            }
            let letters = |text: &str| text.chars().filter(|c| "aé".contains(*c)).count();
            let shown: String =
                parse(&text, Style::default()).spans.into_iter().map(|span| span.text).collect();
            // The address of a link is left out where it is its text.
            assert!(letters(&shown) == letters(&text) || text.contains("]("), "{text}: {shown}");
        }
    }
}
