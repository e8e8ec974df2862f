//! Text for people: cut to a bounded length where its source is not trusted, and
//! numbers of things.

use std::borrow::Cow;
use std::fmt::Display;

/// Returns a number of things, such as `1 line` and `2 lines`.
#[must_use]
pub fn counted(count: impl Display + PartialEq + From<u8>, thing: &str) -> String {
    let plural = if count == 1.into() { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

/// Returns the first `chars` characters of `text`.
#[must_use]
pub fn head(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

/// Returns the first `chars` characters of `text`, followed by `…` if something
/// was cut.
#[must_use]
pub fn cut(text: &str, chars: usize) -> Cow<'_, str> {
    let head = head(text, chars);
    if head.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(format!("{head}…")) }
}

/// Returns as many whole characters from the start of `text` as fit into
/// `bytes`.
#[must_use]
pub fn head_bytes(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Returns as many whole characters from the end of `text` as fit into
/// `bytes`.
#[must_use]
pub fn tail_bytes(text: &str, bytes: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_has_no_plural() {
        assert_eq!(counted(0_u64, "line"), "0 lines");
        assert_eq!(counted(1_usize, "line"), "1 line");
        assert_eq!(counted(12_u32, "MCP server"), "12 MCP servers");
    }

    #[test]
    fn a_cut_is_marked_and_falls_between_characters() {
        assert_eq!(cut("häuser", 6), "häuser");
        assert_eq!(cut("häuser", 2), "hä…");
        assert_eq!(head("häuser", 2), "hä");
        assert_eq!(head("", 2), "");
        assert_eq!(cut("x", 0), "…");
    }

    #[test]
    fn bytes_are_cut_to_whole_characters() {
        assert_eq!(head_bytes("häuser", 2), "h");
        assert_eq!(head_bytes("häuser", 3), "hä");
        assert_eq!(head_bytes("häuser", 100), "häuser");
        assert_eq!(tail_bytes("häuser", 5), "user");
        assert_eq!(tail_bytes("häuser", 6), "äuser");
        assert_eq!(tail_bytes("häuser", 0), "");
    }
}
