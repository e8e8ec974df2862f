//! The positions of characters on a screen that wraps.

use unicode_width::UnicodeWidthChar as _;

/// A place on the screen, counted from the start of the prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) row: usize,
    pub(super) column: usize,
}

/// Returns the character that stands for `c` on the screen. Control characters
/// must not steer the terminal.
pub(super) fn shown(c: char) -> char {
    match c {
        '\n' => '⏎',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// The place after `text` that begins at `from`.
pub(super) fn after(from: Position, text: impl Iterator<Item = char>, columns: usize) -> Position {
    let columns = columns.max(2);
    let Position { mut row, mut column } = from;
    for c in text {
        let width = shown(c).width().unwrap_or(0);
        if column + width > columns {
            row += 1;
            column = 0;
        }
        column += width;
    }
    if column >= columns {
        row += 1;
        column = 0;
    }
    Position { row, column }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wrap_at_the_edge_and_wide_characters_before_it() {
        let end = |text: &str| {
            let Position { row, column } = after(Position::default(), text.chars(), 4);
            (row, column)
        };
        assert_eq!(end(""), (0, 0));
        assert_eq!(end("abc"), (0, 3));
        assert_eq!(end("abcd"), (1, 0));
        assert_eq!(end("abcde"), (1, 1));
        assert_eq!(end("abc漢"), (1, 2));
        assert_eq!(end("e\u{301}e\u{301}"), (0, 2));
        assert_eq!(end("a\nb"), (0, 3));
    }
}
