//! The `--sandbox` option.

use std::fmt;
use std::str::FromStr;

/// What the operator asks for: `--sandbox`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SandboxOption {
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

impl SandboxOption {
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

impl fmt::Display for SandboxOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SandboxOption {
    type Err = UnknownSandbox;

    fn from_str(text: &str) -> Result<Self, UnknownSandbox> {
        Self::ALL.into_iter().find(|option| option.as_str() == text).ok_or(UnknownSandbox)
    }
}

/// A sandbox that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected none, auto, os or bwrap")]
pub struct UnknownSandbox;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_are_written() {
        for option in SandboxOption::ALL {
            assert_eq!(option.to_string().parse(), Ok(option));
        }
        assert_eq!("OS".parse::<SandboxOption>(), Err(UnknownSandbox));
    }
}
