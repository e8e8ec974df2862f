//! The `--sandbox` option.

use std::fmt;
use std::str::FromStr;

/// What the operator asks for: `--sandbox`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// None.
    #[default]
    None,
    /// The system's own if it works, else none, with a warning.
    Auto,
    /// The system's own; without it the server does not start.
    Os,
    /// Bubblewrap, on Linux.
    Bwrap,
    /// `sandbox-exec`, on macOS.
    Seatbelt,
}

impl Choice {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::None, Self::Auto, Self::Os, Self::Bwrap, Self::Seatbelt];

    /// The name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Auto => "auto",
            Self::Os => "os",
            Self::Bwrap => "bwrap",
            Self::Seatbelt => "seatbelt",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Choice {
    type Err = UnknownChoice;

    fn from_str(text: &str) -> Result<Self, UnknownChoice> {
        Self::ALL.into_iter().find(|choice| choice.as_str() == text).ok_or(UnknownChoice)
    }
}

/// A sandbox that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected none, auto, os, bwrap or seatbelt")]
pub struct UnknownChoice;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_written() {
        for choice in Choice::ALL {
            assert_eq!(choice.to_string().parse(), Ok(choice));
        }
        assert_eq!("OS".parse::<Choice>(), Err(UnknownChoice));
    }
}
