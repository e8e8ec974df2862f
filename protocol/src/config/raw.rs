//! Scans of JSON text without parsing it.

/// Reason for refusing a string with a lone surrogate: it is not text.
pub(super) const HALF_A_PAIR: &str = "holds half of a surrogate pair, which is no character";

/// Returns the JSON `text` without the white space between its tokens. Numbers,
/// escapes and the order of names stay unchanged, so the result is one line and
/// the same value in the same spelling.
pub(super) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut string = InString::default();
    for c in text.chars() {
        if string.step(c) || !matches!(c, ' ' | '\t' | '\n' | '\r') {
            out.push(c);
        }
    }
    out
}

/// Returns the nesting depth of arrays and objects in the JSON `text`.
pub(super) fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut string = InString::default();
    for c in text.chars() {
        if string.step(c) {
            continue;
        }
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Describes the part of the JSON strings in `text` that some parsers cannot
/// read; JSON can write it only as an escape.
pub(super) fn unreadable(text: &str) -> Option<&'static str> {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at + 1..];
        rest = match unit(escape) {
            Some(0) => return Some("holds a NUL character"),
            Some(0xD800..=0xDBFF) => {
                let second = escape[5..].strip_prefix('\\');
                match second.and_then(|second| Some((second, unit(second)?))) {
                    Some((second, 0xDC00..=0xDFFF)) => &second[5..],
                    _ => return Some(HALF_A_PAIR),
                }
            }
            Some(0xDC00..=0xDFFF) => return Some(HALF_A_PAIR),
            Some(_) => &escape[5..],
            // The escaped character is skipped: it may be a backslash too.
            None => &escape[1..],
        };
    }
    None
}

/// Parses the UTF-16 unit of an escape `uXXXX`.
fn unit(escape: &str) -> Option<u16> {
    u16::from_str_radix(escape.strip_prefix('u')?.get(..4)?, 16).ok()
}

/// Tracks which characters of JSON text belong to a string.
#[derive(Default)]
struct InString {
    inside: bool,
    escaped: bool,
}

impl InString {
    /// Returns whether `c`, the next character, is inside a string; its quotes
    /// are.
    fn step(&mut self, c: char) -> bool {
        let inside = self.inside;
        match c {
            _ if self.escaped => self.escaped = false,
            '\\' if inside => self.escaped = true,
            '"' => self.inside = !inside,
            _ => {}
        }
        inside || self.inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compact_keeps_everything_but_white_space_between_tokens() {
        let text = "{ \"a \\\" b\\\\\" : [ 1.0 ,\r\n 1e400,\t\"\\u2028 x\" ] }";
        assert_eq!(compact(text), r#"{"a \" b\\":[1.0,1e400,"\u2028 x"]}"#);
    }

    #[test]
    fn brackets_in_strings_have_no_depth() {
        assert_eq!(depth(r#"{"[[[\"[":[{}],"b":"\\"}"#), 3);
        assert_eq!(depth("5"), 0);
    }

    #[test]
    fn a_nul_is_found_and_an_escaped_backslash_is_none() {
        let nul = Some("holds a NUL character");
        assert_eq!(unreadable(r#""a\u0000""#), nul);
        assert_eq!(unreadable(r#""\\\u0000""#), nul);
        assert_eq!(unreadable(r#""\\u0000""#), None);
        assert_eq!(unreadable(r#""\u00010000\"""#), None);
    }

    #[test]
    fn half_a_surrogate_pair_is_found_and_a_whole_one_is_fine() {
        for half in
            [r"\ud800", r"\uDBFFx", r"\udc00", r"\ud83d\n", r"\ud83d\u0041", r"\ud83d\ud83d"]
        {
            assert_eq!(unreadable(&format!("{{\"a\":\"{half}\"}}")), Some(HALF_A_PAIR), "{half}");
        }
        for fine in [r"\ud83d\ude00", r"\uD83D\uDE00\n\u0041", r"\\ud800", "\u{1F600}\\\\"] {
            assert_eq!(unreadable(&format!("[\"{fine}\"]")), None, "{fine}");
        }
    }
}
