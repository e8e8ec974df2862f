//! Patterns for paths in Docker's syntax: `*` and `?` stop at a slash, `**`
//! does not, `[a-z]` and `[^a-z]` match one character, `\` makes the next
//! character literal. Pure.

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`
    One,
    /// `*`
    Segment,
    /// `**/`: any number of whole directories, including none.
    Directories,
    /// `**` at the end, or before plain text at the start: anything.
    Everything,
    /// `[…]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// A pattern that Docker refuses too.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadPattern {
    /// `[` without `]`, an empty class, or a reversed range.
    #[error("{0:?} has a broken character class")]
    Class(String),
    /// A `\` with nothing after it.
    #[error("{0:?} ends with a backslash")]
    Escape(String),
    /// A `!` with nothing after it.
    #[error("{0:?} excepts nothing")]
    Exception(String),
}

impl Glob {
    pub(crate) fn parse(pattern: &str) -> Result<Self, BadPattern> {
        let mut tokens = Vec::new();
        let mut rest = pattern.chars().peekable();
        while let Some(char) = rest.next() {
            tokens.push(match char {
                '?' => Token::One,
                '*' if rest.peek() == Some(&'*') => {
                    rest.next();
                    let slash = rest.next_if_eq(&'/').is_some();
                    let plain = |text: &str| !text.contains(['*', '?', '[', '\\']);
                    match rest.peek() {
                        None => Token::Everything,
                        // Docker compares only the end of the path here.
                        Some(_) if tokens.is_empty() && !slash && plain(&pattern[2..]) => {
                            Token::Everything
                        }
                        Some(_) => Token::Directories,
                    }
                }
                '*' => Token::Segment,
                '[' => class(&mut rest).ok_or_else(|| BadPattern::Class(pattern.to_owned()))?,
                '\\' => match rest.next() {
                    Some(escaped) => Token::Literal(escaped),
                    None => return Err(BadPattern::Escape(pattern.to_owned())),
                },
                char => Token::Literal(char),
            });
        }
        Ok(Self { tokens })
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        let path: Vec<char> = path.chars().collect();
        // Positions of the path that the tokens so far can have reached. One
        // pass for each token, so no pattern can take exponential time.
        let mut reached = vec![false; path.len() + 1];
        reached[0] = true;
        for token in &self.tokens {
            reached = token.step(&path, &reached);
        }
        reached[path.len()]
    }
}

impl Token {
    fn step(&self, path: &[char], reached: &[bool]) -> Vec<bool> {
        let mut next = vec![false; reached.len()];
        match self {
            Self::Segment | Self::Everything => {
                let mut open = false;
                for place in 0..reached.len() {
                    let crossed = place > 0 && path[place - 1] == '/';
                    open = reached[place] || (open && !(crossed && *self == Self::Segment));
                    next[place] = open;
                }
            }
            Self::Directories => {
                let mut open = false;
                for place in 0..reached.len() {
                    next[place] = reached[place] || (open && path[place - 1] == '/');
                    open |= reached[place];
                }
            }
            Self::Literal(_) | Self::One | Self::Class { .. } => {
                for place in 0..path.len() {
                    next[place + 1] = reached[place] && self.takes(path[place]);
                }
            }
        }
        next
    }

    fn takes(&self, char: char) -> bool {
        match self {
            Self::Literal(literal) => *literal == char,
            Self::One => char != '/',
            Self::Class { negated, ranges } => {
                let inside = ranges.iter().any(|&(from, to)| (from..=to).contains(&char));
                char != '/' && inside != *negated
            }
            Self::Segment | Self::Directories | Self::Everything => false,
        }
    }
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Token> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let from = match rest.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class { negated, ranges }),
            ']' | '-' => return None,
            '\\' => rest.next()?,
            char => char,
        };
        let to = match rest.next_if_eq(&'-') {
            Some(_) => match rest.next()? {
                ']' => return None,
                '\\' => rest.next()?,
                char => char,
            },
            None => from,
        };
        if to < from {
            return None;
        }
        ranges.push((from, to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let glob = Glob::parse(pattern).unwrap();
        for path in yes {
            assert!(glob.matches(path), "{pattern} should match {path}");
        }
        for path in no {
            assert!(!glob.matches(path), "{pattern} should not match {path}");
        }
    }

    #[test]
    fn stars_stop_at_a_slash_and_double_stars_do_not() {
        check("*.rs", &["a.rs", ".rs"], &["a/b.rs", "a.rsx"]);
        check("a/*", &["a/b"], &["a", "a/b/c"]);
        check("**/x", &["x", "a/x", "a/b/x"], &["ax", "a/xb"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["a/xb", "ab"]);
        check("a/**", &["a/b", "a/b/c", "a/"], &["a", "b"]);
        check("**", &["a", "a/b", ""], &[]);
        check("**foo", &["foo", "xfoo", "a/xfoo"], &["foox"]);
        check("a**b", &["ab", "ax/b"], &["axb"]);
        check("?", &["a", "ä"], &["", "/", "ab"]);
    }

    #[test]
    fn classes_and_escapes() {
        check("[a-c]x", &["ax", "cx"], &["dx", "x"]);
        check("[^a]", &["b"], &["a", "/"]);
        check(r"\*", &["*"], &["a"]);
        check("[-]".replace("[-]", r"[\-]").as_str(), &["-"], &["a"]);
        for bad in ["[", "[]", "[a", "[b-a]", "[a-]", "[-a]"] {
            assert!(Glob::parse(bad).is_err(), "{bad}");
        }
        assert!(Glob::parse("a\\").is_err());
    }

    proptest! {
        #[test]
        fn a_path_escaped_matches_itself(path in "[a-z*?\\[\\]^!/.-]{0,20}") {
            let escaped: String = path.chars().flat_map(|char| ['\\', char]).collect();
            prop_assert!(Glob::parse(&escaped).unwrap().matches(&path));
        }

        #[test]
        fn nothing_makes_it_panic_or_hang(pattern in "[ab*?/\\[\\]\\\\^-]{0,40}", path in "[ab/]{0,200}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                glob.matches(&path);
            }
        }
    }
}
