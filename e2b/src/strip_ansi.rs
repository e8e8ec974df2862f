//! Removal of terminal control sequences from a server's text. Pure.

/// Removes escape sequences (colours, cursor movements, titles) and control
/// characters except line breaks and tabs. A carriage return, with which
/// progress bars overwrite themselves, starts a new line.
#[must_use]
pub fn strip_ansi(text: &str) -> String {
    let mut stripped = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '\u{1b}' => match rest.next() {
                // A control sequence ends with a character from @ to ~.
                Some('[') => drop(rest.find(|char| ('@'..='~').contains(char))),
                // A command to the terminal ends with BEL, or with ESC \.
                Some(']' | 'P' | '_' | '^' | 'X') => {
                    let end = rest.find(|char| matches!(char, '\u{7}' | '\u{1b}'));
                    if end == Some('\u{1b}') {
                        rest.next_if_eq(&'\\');
                    }
                }
                _ => {}
            },
            '\r' => {
                if rest.peek() != Some(&'\n') {
                    stripped.push('\n');
                }
            }
            '\n' | '\t' => stripped.push(char),
            char if char.is_control() => {}
            char => stripped.push(char),
        }
    }
    stripped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_left() {
        assert_eq!(strip_ansi("\u{1b}[1;31mred\u{1b}[0m"), "red");
        assert_eq!(strip_ansi("\u{1b}]0;title\u{7}text"), "text");
        assert_eq!(strip_ansi("\u{1b}]8;;http://x\u{1b}\\link"), "link");
        assert_eq!(strip_ansi("10%\r20%\r\nend\u{8}\u{9b}x"), "10%\n20%\nendx");
        assert_eq!(strip_ansi("ä\tb\n"), "ä\tb\n");
    }

    proptest! {
        #[test]
        fn no_control_character_comes_through(text in ".{0,200}") {
            let stripped = strip_ansi(&text);
            prop_assert!(!stripped.chars().any(|char| char.is_control() && !"\n\t".contains(char)));
        }
    }
}
