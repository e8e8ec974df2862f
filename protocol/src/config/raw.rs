//! JSON text looked at without being understood.

/// `text`, which is JSON, without the white space between its tokens. Numbers,
/// escapes and the order of names stay as they are, so that the result is one
/// line and the same value, spelled the same.
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

/// How many arrays and objects lie inside one another in the JSON `text`.
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

/// Whether a string in the JSON `text` holds a NUL, which JSON can only write
/// as an escape.
pub(super) fn holds_nul(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let escape = &rest[at + 1..];
        if escape.starts_with("u0000") {
            return true;
        }
        // The escaped character is skipped: it may be a backslash itself.
        let mut escaped = escape.chars();
        escaped.next();
        rest = escaped.as_str();
    }
    false
}

/// Tells which characters of JSON text belong to a string.
#[derive(Default)]
struct InString {
    inside: bool,
    escaped: bool,
}

impl InString {
    /// Whether `c`, the next character, is inside a string; its quotes are.
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
        assert!(holds_nul(r#""a\u0000""#));
        assert!(holds_nul(r#""\\\u0000""#));
        assert!(!holds_nul(r#""\\u0000""#));
        assert!(!holds_nul(r#""\u00001"#.replace("0000", "0001").as_str()));
    }
}
